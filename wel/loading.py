"""From what a user names (a zoo name, a file, a live Keras model) to a Network that ends in logits."""
from __future__ import annotations

import builtins
import json
import os
import random
import zipfile
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Iterator

from wel.errors import WelError, check_whole, invalid
from wel.imagenet import imagenet_file, load_by_name
from wel.initialization import initialize
from wel.logits import without_final_activation
from wel.network import Network
from wel.paths import file_sha256, models_folder
from wel.zoo import ZOO, Architecture

MODEL_SUFFIXES = (".h5", ".hdf5", ".keras")

# what runs code or arbitrary operations that a file names, while it is being loaded or later
CODE = frozenset({"Lambda", "__lambda__", "TensorFlowOpLayer", "ClassMethod", "InstanceMethod", "InstanceProperty"})
# the TensorFlow functions that a file may call: arithmetic and shapes, nothing that reads, writes or loads
FUNCTION_GROUPS = ("math.", "nn.", "linalg.", "image.", "__operators__.")
FUNCTIONS = frozenset(
    "boolean_mask broadcast_to cast clip_by_value concat convert_to_tensor einsum expand_dims fill gather gather_nd identity "
    "norm one_hot ones_like pad rank repeat reshape reverse roll shape size slice split squeeze stack stop_gradient strided_slice "
    "tensordot tile transpose unstack where zeros_like".split()
)


def load(
    model: Any,
    weights: str | Path | None = None,
    input_shape: tuple[int, int, int] | None = None,
    classes: int | None = None,
    seed: int = 0,
) -> Network:
    """Loads a network: by zoo name, from a .h5, .hdf5 or .keras file, from .json and weights, or a live Keras model.

    A softmax or sigmoid at the end is taken off, so that the network ends in logits; then the model is a copy.

    Args:
        model: zoo name, path, or Keras model.
        weights: for the zoo "random", "imagenet" (vgg16, resnet50) or a file; by default the trained weights.
            For a .json file the weights file.
        input_shape: (height, width, channels), for a zoo network with random weights.
        classes: number of logits, for a zoo network with random weights.
        seed: of random weights. The caller's own random generators stay as they are.

    Raises:
        WelError: when there is no such network or file, the file is no Keras model or carries code, or weights are not finite.
    """
    with _random_state_kept():
        if str(model) in ZOO:
            return _from_zoo(ZOO[str(model)], weights, input_shape, classes, seed)
        _refuse_settings(input_shape=input_shape, classes=classes)
        if isinstance(model, (str, Path)):
            return Network(without_final_activation(_from_file(Path(model), weights)), Path(model).stem)
        _refuse_settings(weights=weights)
        return Network(without_final_activation(model), getattr(model, "name", "model"))


@contextmanager
def _random_state_kept() -> Iterator[None]:
    """Puts back the generators from which Keras draws a seed for every layer that it builds: Python's, or its own when one was set."""
    from keras.src import backend

    generators = [random, getattr(backend._SEED_GENERATOR, "generator", None) or random]
    states = [generator.getstate() for generator in generators]
    try:
        yield
    finally:
        for generator, state in zip(generators, states):
            generator.setstate(state)


def _refuse_settings(**settings: Any) -> None:
    for name, value in settings.items():
        if value is not None:
            raise invalid(name, value, f"nothing: it is for networks of the zoo ({', '.join(ZOO)}), and weights for a .json file too")


def _from_zoo(arch: Architecture, weights, input_shape, classes, seed: int) -> Network:
    if weights == "random":
        check_whole("seed", seed, 0)
        model = _built(arch, input_shape, classes)
        initialize(model, seed)
        return Network(model, arch.name, arch)
    if input_shape is not None or classes is not None:
        message = "Invalid value for `input_shape` or `classes`: trained weights fit one shape only."
        raise WelError(f"{message} Expected weights='random' with them.")
    return Network(_trained(arch, weights), arch.name, arch)


def _built(arch: Architecture, input_shape, classes):
    if classes is not None:
        check_whole("classes", classes, 1)
    try:
        return arch.build(tuple(input_shape or arch.input_shape), classes or arch.classes)
    except (ValueError, TypeError) as error:
        expected = f"(height, width, channels), large enough for the pooling layers of {arch.name}"
        raise invalid("input_shape", input_shape, expected) from error


def _trained(arch: Architecture, weights):
    if arch.trained == "imagenet":
        path = imagenet_file(arch.name) if weights in (None, "imagenet") else Path(weights)
        model = arch.build(arch.input_shape, arch.classes)
        load_by_name(model, path)
        return model
    path = _bundled_weights(arch) if weights is None else Path(weights)
    model = arch.build(arch.input_shape, arch.classes)
    _load_weights_file(model, path)
    return model


def _bundled_weights(arch: Architecture) -> Path:
    folder = models_folder() / arch.name
    path = folder / f"{arch.name}.h5"
    if not (path.is_file() and (folder / "card.json").is_file()):
        expected = f"Expected `--weights random`, `--weights FILE`, or '{path}' with its card.json"
        raise WelError(f"The trained weights of {arch.name} are not in this checkout. {expected}.")
    card = json.loads((folder / "card.json").read_text())
    if file_sha256(path) != card["sha256"]:
        raise WelError(f"Invalid file '{path}'. Expected the bundled weights with sha256 {card['sha256']}. Received other contents.")
    return path


def _load_weights_file(model, path: Path) -> None:
    if not path.is_file() or path.suffix not in MODEL_SUFFIXES:
        raise invalid("weights", str(path), f"an existing file ({', '.join(MODEL_SUFFIXES)}), or 'random' for a network of the zoo")
    with _refused("weights", path, "does not fit the network"):
        model.load_weights(path)


def _from_file(path: Path, weights):
    from tensorflow import keras

    if not os.path.exists(path):
        files = f"an existing file ({', '.join(MODEL_SUFFIXES)} or .json with weights)"
        raise invalid("model", str(path), f"one of {', '.join(ZOO)}, or {files}")
    if path.suffix not in (*MODEL_SUFFIXES, ".json") or not path.is_file():
        raise invalid("model", str(path), f"a file that ends in {', '.join(MODEL_SUFFIXES)} or .json")
    if path.suffix == ".json":
        return _from_json(path, weights)
    _refuse_settings(weights=weights)
    _refuse_code(_configuration(path), path)
    with _refused("model", path, "cannot be read as a Keras model"):
        return keras.models.load_model(path, compile=False)


def _from_json(path: Path, weights):
    from tensorflow import keras

    if weights is None:
        raise WelError(f"Invalid value for `weights`: None. Expected the weights file that belongs to '{path}'.")
    with _refused("model", path, "is not a Keras architecture"):
        text = path.read_text(encoding="utf-8")
        configuration = json.loads(text)
    _refuse_code(configuration, path)
    with _refused("model", path, "is not a Keras architecture"):
        model = keras.models.model_from_json(text)
        if not isinstance(model, keras.Model):
            raise WelError("Expected a whole model in it.")
    _load_weights_file(model, Path(weights))
    return model


def _configuration(path: Path) -> Any:
    import h5py

    with _refused("model", path, "is not a Keras model file"):
        if path.suffix == ".keras":
            return _archived_configuration(path)
        with h5py.File(path, "r") as file:
            if "model_config" not in file.attrs:
                raise WelError("It holds no architecture. Expected a whole model, or a zoo name with `weights`.")
            return json.loads(file.attrs["model_config"])


def _archived_configuration(path: Path) -> Any:
    with zipfile.ZipFile(path) as archive:
        names = archive.namelist()
        if "config.json" not in names:
            raise WelError("It holds no config.json.")
        if any(name.endswith(".npz") for name in names):
            raise WelError("It keeps its weights as pickles, which can carry code. Expected model.weights.h5 in it.")
        return json.loads(archive.read("config.json"))


@contextmanager
def _refused(argument: str, path: Path, problem: str) -> Iterator[None]:
    """Whatever Keras and the readers of the file raise becomes one sentence that names the file."""
    try:
        yield
    except Exception as error:
        raise WelError(f"Invalid value for `{argument}`: '{path}' {problem}. {_first_line(error)}") from error


def _refuse_code(configuration: Any, path: Path) -> None:
    pending = [configuration]
    while pending:
        part = pending.pop()
        if isinstance(part, dict):
            code = _code_in(part)
            if code:
                raise WelError(f"Invalid value for `model`: '{path}' carries code of its own ({code}), which wel does not run.")
            pending.extend(part.values())
        elif isinstance(part, list):
            pending.extend(part)


def _code_in(part: dict) -> str | None:
    """What Keras would run or import for one object of a configuration, None for an object of Keras's own."""
    names = {str(part.get(key)).replace(">", ".").split(".")[-1] for key in ("class_name", "registered_name")}
    if names & CODE:
        return f"a layer of the class {min(names & CODE)}"
    if names & {"TFOpLambda", "SlicingOpLambda"}:
        return _refused_function(part.get("config"))
    return _foreign(part)


def _refused_function(config: Any) -> str | None:
    function = str(config.get("function") if isinstance(config, dict) else config).replace("compat.v1.", "")
    return None if function in FUNCTIONS or function.startswith(FUNCTION_GROUPS) else f"the TensorFlow function {function}"


def _foreign(part: dict) -> str | None:
    """The module that Keras would import for an object, unless it is Keras's or the caller has registered the class."""
    from tensorflow import keras

    module, name, config = str(part.get("module") or "keras"), str(part.get("registered_name")), part.get("config")
    if module == "builtins":
        return f"the function {config}" if isinstance(config, str) and hasattr(builtins, config) else None
    registered = part.get("class_name") != "function" and keras.saving.get_registered_object(name)
    if module.split(".")[0] == "keras" or registered:
        return None
    return f"an object of the module {module}"


def _first_line(error: Exception) -> str:
    lines = str(error).strip().splitlines()
    return lines[0][:200] if lines else type(error).__name__
