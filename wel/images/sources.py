"""Where images come from: directories, picture files, lists, arrays and the bundled sets, as pixels at a network's size."""

from __future__ import annotations

import hashlib
import os
from dataclasses import dataclass, field, replace
from math import prod
from pathlib import Path
from typing import Callable, Iterable, Iterator, Mapping, Sequence, Union

import numpy as np
import psutil
from PIL import Image

from wel.errors import WelError, invalid
from wel.images import arrays
from wel.images.arrays import Stored, stored_arrays
from wel.images.labels import labels_from_array, labels_from_folders, read_list
from wel.images.pictures import SUFFIXES, PictureError, fitted, from_pixels, read_picture
from wel.networks.network import Network
from wel.system.files import file_sha256, models_folder

Source = Union[str, Path, Sequence[Union[str, Path]]]
BUNDLED_CLASSES = {"cifar10": 10, "imagenet": 1000}
LIST_SUFFIX = ".csv"
IMAGE_KEYS, LABEL_KEYS, NAME_KEYS = ("images", "inputs", "x", "x_test"), ("labels", "y", "y_test"), ("names",)
LARGEST_PICTURE = 10**8  # pixels


@dataclass(frozen=True)
class Found:
    """What a source holds.

    Attributes:
        names: one per image, all different.
        values: (n, *input_shape), uint8 pixels or float32 inputs.
        labels: true class of each image, None where it is not known.
        source: where they come from, in words.
        sha256: of each picture's file, or of the bytes of an array's row.
        left_out: what was not used, by name, and why.
    """

    names: list[str]
    values: np.ndarray
    labels: list[int | None]
    source: str
    sha256: list[str]
    left_out: dict[str, str] = field(default_factory=dict)


def find_images(net: Network, source: Source | None, limit: int | None, keep_going: bool) -> Found:
    """The images of a source, None for the bundled ones; see `wel.images.load.load_images`."""
    if source is None:
        return _bundled(net, limit)
    if not isinstance(source, (str, Path)):
        return _from_files(net, _named(source), limit, keep_going, f"{len(source)} files")
    path = Path(source)
    if path.is_dir():
        return _from_folder(net, path, limit, keep_going)
    if not os.path.lexists(path):
        raise invalid("images", str(path), "an existing directory or file")
    if path.suffix.lower() in arrays.SUFFIXES:
        return _from_arrays(net, path, limit)
    if path.suffix.lower() == LIST_SUFFIX:
        return _from_list(net, path, limit, keep_going)
    return _from_files(net, _named([path]), limit, keep_going, f"file {path}")


def classes_of(net: Network) -> int:
    """How many logits a network has."""
    return net.output_shape[-1]


def pixel_shape(net: Network) -> tuple[int, ...]:
    """The shape of an input with its channels last, which (height, width) lacks."""
    return (*net.input_shape, 1) if len(net.input_shape) == 2 else net.input_shape


def takes_pictures(net: Network) -> bool:
    """Whether inputs are (height, width, 3), (height, width, 1) or (height, width)."""
    return len(pixel_shape(net)) == 3 and pixel_shape(net)[-1] in (1, 3)


def _check_takes_pictures(net: Network) -> None:
    if not takes_pictures(net):
        message = f"Invalid value for `model`: '{net.name}' takes inputs of shape {net.input_shape}."
        raise WelError(f"{message} Expected (height, width, 3) or (height, width, 1) for pictures; others take a .npy or .npz file.")


def _check_memory(net: Network, count: int) -> None:
    """Raises WelError when so many images, as pixels and as inputs, are more than what is free."""
    each = prod(net.input_shape) * (np.dtype("float32").itemsize + 2)
    most = psutil.virtual_memory().available // each
    if count > most:
        raise invalid("images", f"{count} images of shape {net.input_shape}", f"no more than fit into memory, {most}; say so with `limit`")


# --- bundled ----------------------------------------------------------------------------------------------------------


def _bundled(net: Network, limit: int | None) -> Found:
    _check_takes_pictures(net)
    if len(net.input_shape) == 2:  # which may be anything
        raise invalid("images", None, f"images for '{net.name}', which takes inputs of shape {net.input_shape}")
    samples = net.architecture.samples if net.architecture else ("cifar10" if max(net.input_shape[:2]) <= 64 else "imagenet")
    found = (_bundled_imagenet if samples == "imagenet" else _bundled_cifar10)(net, limit)
    fitting = classes_of(net) == BUNDLED_CLASSES[samples] and net.input_shape[-1] == 3
    return found if fitting else replace(found, labels=[None] * len(found.names))


def _bundled_imagenet(net: Network, limit: int | None) -> Found:
    folder = models_folder() / "data" / "imagenet"
    found = _from_folder(net, folder, limit, keep_going=False)
    known = read_list(folder / "labels.csv", BUNDLED_CLASSES["imagenet"])
    return replace(found, labels=[known.get(name) for name in found.names], source="bundled pictures", left_out={})


def _bundled_cifar10(net: Network, limit: int | None) -> Found:
    with np.load(models_folder() / "data" / "cifar10" / "images.npz") as data:
        pixels, labels, index = (data[key][:limit] for key in ("images", "labels", "index"))
    values = np.stack([fitted(Image.fromarray(image), net.input_shape) for image in pixels])
    names = [f"cifar10-test-{i:05d}" for i in index]
    return Found(names, values, labels.tolist(), "bundled CIFAR-10 test images", list(map(_sha256, pixels)))


def _sha256(row: np.ndarray) -> str:
    return hashlib.sha256(row.tobytes()).hexdigest()


# --- picture files ----------------------------------------------------------------------------------------------------


def _from_folder(net: Network, folder: Path, limit: int | None, keep_going: bool) -> Found:
    try:
        paths = sorted(_walk(folder, set()))
        folders = [path.name for path in folder.iterdir() if path.is_dir() and not path.name.startswith(".")]
    except OSError as error:
        raise invalid("images", str(folder), f"a directory that can be read ({error.strerror}: {error.filename})") from error
    files = [path.relative_to(folder) for path in paths if path.suffix.lower() in SUFFIXES]
    if not files:
        raise invalid("images", str(folder), f"a directory with images ({', '.join(SUFFIXES)})")
    labels = dict(zip(map(_printable, files), labels_from_folders(folders, files, classes_of(net))))
    found = _from_files(net, {_printable(path): folder / path for path in files}, limit, keep_going, f"directory {folder}")
    others = [_printable(path.relative_to(folder)) for path in paths if path.suffix.lower() not in SUFFIXES]
    left_out = {**dict.fromkeys(others, "by its name it is no picture"), **found.left_out}
    return replace(found, labels=[labels[name] for name in found.names], left_out=left_out)


def _walk(folder: Path, seen: set[Path]) -> Iterator[Path]:
    """The files in a directory and those below it, links to directories included, each directory once; no hidden ones."""
    seen.update([folder.resolve(), *(folder.resolve().parents if not seen else ())])
    for path in folder.iterdir():
        if path.name.startswith("."):
            continue
        if not path.is_dir():
            yield path
        elif path.resolve() not in seen:
            yield from _walk(path, seen)


def _from_list(net: Network, path: Path, limit: int | None, keep_going: bool) -> Found:
    _check_takes_pictures(net)  # before a table of numbers is said to have other columns than a list
    listed = read_list(path, classes_of(net))
    found = _from_files(net, {name: path.parent / name for name in listed}, limit, keep_going, f"list {path}")
    return replace(found, labels=[listed[name] for name in found.names])


def _named(files: Sequence[str | Path]) -> dict[str, Path]:
    """Files by their names relative to the directory that holds them all."""
    if not len(files):
        raise invalid("images", list(files), "one file or more")
    paths = [Path(path).absolute() for path in files]
    folder = os.path.commonpath([path.parent for path in paths])
    return {_printable(path.relative_to(folder)): path for path in paths}


def _printable(path: Path) -> str:
    """A name that can be written down, whatever bytes the file system has for it."""
    return os.fsencode(path.as_posix()).decode("utf-8", "backslashreplace")


def _from_files(net: Network, files: Mapping[str, Path], limit: int | None, keep_going: bool, words: str) -> Found:
    _check_takes_pictures(net)
    _check_memory(net, min(len(files), limit or len(files)))
    names, values, sha256, left_out = [], [], [], {}
    for name, path in files.items():
        if len(names) == limit:
            break
        try:
            values.append(fitted(read_picture(path), pixel_shape(net)))
        except PictureError as error:
            if not keep_going:
                raise
            left_out[name] = error.reason
        else:
            names.append(name)
            sha256.append(file_sha256(path))
    if not names:
        name, reason = next(iter(left_out.items()))
        raise invalid("images", words, f"a picture that can be read among {len(left_out)}; of '{name}': {reason}")
    return Found(names, _stacked(net, values), [None] * len(names), words, sha256, left_out)


def _stacked(net: Network, values: Iterable[np.ndarray]) -> np.ndarray:
    return np.stack([value.reshape(net.input_shape) for value in values])


# --- arrays -----------------------------------------------------------------------------------------------------------


def _from_arrays(net: Network, path: Path, limit: int | None) -> Found:
    stored = stored_arrays(path)
    images = _images(path, stored)
    count = min(images.shape[0], limit or images.shape[0])
    convert = _conversion(net, images)
    _check_memory(net, count)
    sha256: list[str] = []

    def converted() -> Iterator[np.ndarray]:
        for row in images.rows(count):
            sha256.append(_sha256(row))
            yield convert(row)

    values = _stacked(net, converted())
    if not np.isfinite(values).all():
        raise WelError(f"Invalid file '{path}': its inputs hold NaN or infinite values. Expected finite numbers.")
    labels = _beside(path, stored, LABEL_KEYS, images, count)
    classes = [None] * count if labels is None else labels_from_array(path, labels, classes_of(net))
    return Found(_row_names(path, stored, images, count), values, classes, f"array {path}", sha256)


def _images(path: Path, stored: Mapping[str, Stored]) -> Stored:
    others = [key for key in stored if key not in (*LABEL_KEYS, *NAME_KEYS)]
    named = [key for key in IMAGE_KEYS if key in stored] or others
    if not named or (named is others and len(others) > 1):
        raise WelError(f"Invalid file '{path}': it holds {list(stored)}. Expected one of {', '.join(IMAGE_KEYS)}, or a single array.")
    if not stored[named[0]].shape[0]:
        raise WelError(f"Invalid file '{path}': it holds no images. Expected one or more.")
    return stored[named[0]]


def _conversion(net: Network, images: Stored) -> Callable[[np.ndarray], np.ndarray]:
    """What makes a row, uint8 pixels of any size or float inputs, as large as the network's inputs.

    Raises:
        WelError: when there is no such thing.
    """
    shape = images.shape[1:]
    if images.dtype == np.uint8 and takes_pictures(net) and _is_picture(shape):
        return lambda row: fitted(from_pixels(row), pixel_shape(net))
    if _same(shape, net.input_shape) and images.dtype == np.uint8 and not takes_pictures(net):
        return lambda row: row
    if _same(shape, net.input_shape) and images.dtype.kind == "f":
        return _as_float32
    pixels = "uint8 pixels (n, height, width, 3) or (n, height, width)" if takes_pictures(net) else "uint8 pixels"
    received = f"Invalid file '{images.path}': it holds {images.dtype} of shape {images.shape}."
    raise WelError(f"{received} Expected {pixels}, or floats as the network takes them, (n, {', '.join(map(str, net.input_shape))}).")


def _is_picture(shape: tuple[int, ...]) -> bool:
    # (n, height, 3) is rather one picture that lacks the first axis
    layout = len(shape) == 2 and shape[1] not in (1, 3, 4) or len(shape) == 3 and shape[2] in (1, 3, 4)
    return layout and 0 < prod(shape[:2]) <= LARGEST_PICTURE


def _same(shape: tuple[int, ...], wanted: tuple[int, ...]) -> bool:
    """Whether rows are inputs, but perhaps for a last axis of length 1, or to be flattened."""
    plain, other = (found[:-1] if len(found) > 1 and found[-1] == 1 else found for found in (shape, wanted))
    return plain == other or (len(wanted) == 1 and prod(shape) == wanted[0])


def _as_float32(row: np.ndarray) -> np.ndarray:
    with np.errstate(over="ignore"):  # infinity is refused later on
        return row.astype("float32")


def _beside(path: Path, stored: Mapping[str, Stored], keys: Sequence[str], images: Stored, count: int) -> np.ndarray | None:
    """The rows of an array that goes with the images, None if there is none."""
    key = next((key for key in keys if key in stored), None)
    if key is None:
        return None
    if stored[key].shape[0] != images.shape[0]:
        raise WelError(f"Invalid file '{path}': {images.shape[0]} images and {stored[key].shape[0]} {key}. Expected one each.")
    return np.stack(list(stored[key].rows(count)))


def _row_names(path: Path, stored: Mapping[str, Stored], images: Stored, count: int) -> list[str]:
    names = _beside(path, stored, NAME_KEYS, images, count)
    if names is None:
        return [f"{path.stem}-{i:05d}" for i in range(count)]
    if names.dtype.kind != "U" or names.ndim != 1 or len(set(names.tolist())) != count:
        raise WelError(f"Invalid file '{path}'. Expected names as text, a different one for each image.")
    return names.tolist()
