"""Model files: what lies in a .h5, .hdf5, .keras or .json file, read within bounds, with nothing built or run."""

from __future__ import annotations

from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Iterator

from wel.errors import WelError, invalid
from wel.modelfiles import archive, hdf5
from wel.modelfiles.configuration import LONGEST, for_inference, parsed

WEIGHTS_SUFFIXES = (".h5", ".hdf5", ".keras")
MODEL_SUFFIXES = (*WEIGHTS_SUFFIXES, ".json")
KINDS = {".h5": "HDF5 file", ".keras": "archive", ".json": "architecture"}
HDF5_SIGNATURE = b"\x89HDF\r\n\x1a\n"


@dataclass(frozen=True)
class Weights:
    """The weights in a file.

    Attributes:
        file: the open HDF5 file.
        keras_version: that wrote it, None where it does not say.
        backend: that Keras ran on, None where the file does not say.
    """

    file: Any
    keras_version: str | None
    backend: str | None

    @property
    def numbers(self) -> int:
        """How many numbers the file holds."""
        return hdf5.numbers_in(self.file)


@dataclass(frozen=True)
class ModelFile:
    """A model file that is open to be read.

    Attributes:
        kind: in words, such as "Keras 2.2.4 HDF5 file".
        configuration: of the model, without what concerns its training.
        weights: None for a .json file.
    """

    kind: str
    configuration: dict
    keras_version: str | None
    backend: str | None
    weights: Weights | None


@contextmanager
def opened(path: Path) -> Iterator[ModelFile]:
    """Opens a model file.

    Raises:
        WelError: when it is no such file, in sentences that do not name it.
    """
    form = _form(path)
    read = {".keras": _archive, ".json": _architecture, ".h5": _hdf5}[form]
    with ExitStack() as stack:
        configuration, version, backend, weights = read(path, stack)
        kind = " ".join(filter(None, ("Keras", version and version[:20], KINDS[form])))
        yield ModelFile(kind, for_inference(configuration), version, backend, weights)


@contextmanager
def opened_weights(path: Path) -> Iterator[Weights]:
    """Opens a file for its weights only: a weights file, or a whole model.

    Raises:
        WelError: as `opened`.
    """
    if _form(path) == ".keras":
        with archive.opened_weights(path) as file:
            yield Weights(file, None, None)
    else:
        with hdf5.opened(path, path.stat().st_size) as file:
            yield _weights(file)


def _form(path: Path) -> str:
    """What a file is, as the suffix that such files have; a .keras file that tf.keras saved before 2.12 is HDF5."""
    if path.suffix == ".keras":
        with open(path, "rb") as file:
            return ".h5" if file.read(len(HDF5_SIGNATURE)) == HDF5_SIGNATURE else ".keras"
    return ".json" if path.suffix == ".json" else ".h5"


def check_weights_path(path: Path) -> None:
    """Raises WelError unless there is such a file, of a kind that holds weights."""
    if not path.is_file() or path.suffix not in WEIGHTS_SUFFIXES:
        raise invalid("weights", str(path), f"an existing file ({', '.join(WEIGHTS_SUFFIXES)}), or 'random' for a network of the zoo")


def _hdf5(path: Path, stack: ExitStack) -> tuple[dict, str | None, str | None, Weights]:
    file = stack.enter_context(hdf5.opened(path, path.stat().st_size))
    text, weights = hdf5.text(file, "model_config"), _weights(file)
    if text is None:
        raise WelError("It holds no architecture. Expected a whole model; or the weights with `--weights`, of a zoo name or a .json file.")
    if "model_weights" not in file:
        raise WelError("It holds no weights.")
    return parsed(text), weights.keras_version, weights.backend, weights


def _weights(file: Any) -> Weights:
    root = file if "keras_version" in file.attrs else file.get("model_weights", file)
    return Weights(file, hdf5.text(root, "keras_version"), hdf5.text(root, "backend"))


def _archive(path: Path, stack: ExitStack) -> tuple[dict, str | None, str | None, Weights]:
    content = stack.enter_context(archive.opened(path))
    return content.configuration, content.keras_version, None, Weights(content.weights, content.keras_version, None)


def _architecture(path: Path, stack: ExitStack) -> tuple[dict, str | None, str | None, None]:
    with open(path, "rb") as file:
        configuration = parsed(file.read(LONGEST + 1))
    version, backend = configuration.get("keras_version"), configuration.get("backend")
    if not isinstance(version, (str, type(None))) or not isinstance(backend, (str, type(None))):
        raise WelError("Its keras_version or backend is no text.")
    return configuration, version, backend, None


@dataclass(frozen=True)
class Origin:
    """Where a network comes from, in words and hashes that a report can print.

    Attributes:
        kind: such as "Keras 2.2.4 HDF5 file", "Keras 3.4.1 archive", "SavedModel" or "zoo network".
        path: the file or directory as the user named it, None for a network without one.
        sha256: of that file; of a directory, over the names and contents of all of its files.
        weights: the file of weights where it is another one.
        weights_sha256: of that file.
        keras_version: as the file has it, None where it has none.
        backend: "tensorflow", "theano", …, as the file has it, None where it has none.
        notes: sentences on what was converted or taken off.
        random: layers that the file has no weights for, and whose weights are random beside those of the others.
    """

    kind: str
    path: str | None = None
    sha256: str | None = None
    weights: str | None = None
    weights_sha256: str | None = None
    keras_version: str | None = None
    backend: str | None = None
    notes: tuple[str, ...] = ()
    random: tuple[str, ...] = ()
