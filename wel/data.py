"""Images: from a directory, a list of files or the bundled sets, as the network takes them."""
from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Callable, Iterable, Sequence

import numpy as np
import pandas as pd
from PIL import Image, ImageOps

from wel.errors import WelError, check_whole, invalid
from wel.network import Network
from wel.paths import models_folder

CAFFE_MEAN = (103.939, 116.779, 123.68)  # blue, green, red

PREPROCESSINGS: dict[str, Callable[[np.ndarray], np.ndarray]] = {
    "0-1": lambda pixels: pixels / np.float32(255),
    "caffe": lambda pixels: pixels[..., ::-1] - np.asarray(CAFFE_MEAN, "float32"),
}
BUNDLED_CLASSES = {"cifar10": 10, "imagenet": 1000}
SUFFIXES = (".jpg", ".jpeg", ".png", ".bmp", ".gif", ".tif", ".tiff", ".webp")


def preprocess(pixels: np.ndarray, name: str) -> np.ndarray:
    """uint8 RGB pixels (n, h, w, 3) as inputs, float32: `0-1` divides by 255, `caffe` is BGR minus the ImageNet mean."""
    return PREPROCESSINGS[name](pixels.astype("float32"))


@dataclass(frozen=True)
class ImageSet:
    """Images for a study.

    Attributes:
        names: one per image.
        pixels: (n, height, width, 3) uint8 RGB, at the network's size.
        inputs: (n, height, width, 3) float32, as the network takes them.
        labels: true class of each image, None where it is not known.
        source: where they come from, in words.
    """

    names: list[str]
    pixels: np.ndarray
    inputs: np.ndarray
    labels: list[int | None]
    source: str


def load_images(net: Network, source: Path | None = None, labels: Path | None = None, limit: int | None = None) -> ImageSet:
    """Loads images for a network: from a directory (class-named folders or flat), else the bundled ones that suit it.

    Images are cut to the network's aspect ratio around the centre and resized (bicubic); EXIF orientation is applied,
    transparent pixels are laid on white. Hidden files and folders are left out.

    Args:
        net: gives size and preprocessing; a network that wel does not know gets pixels in [0, 1].
        source: directory; None for the bundled images.
        labels: CSV with columns `file` (name relative to the directory) and `label` (index of the logit).
        limit: how many images at most, in name order.

    Raises:
        WelError: when there is no such directory or file, no image in it, an image cannot be read, or the CSV holds
            other columns, labels that are no class of the network, or none of the images.
    """
    if limit is not None:
        check_whole("limit", limit, 1)
    if len(net.input_shape) != 3 or net.input_shape[2] != 3:
        message = f"Invalid value for `model`: '{net.name}' takes inputs of shape {net.input_shape}."
        raise WelError(f"{message} Expected (height, width, 3) for images.")
    names, pixels, classes, words = _bundled(net, limit) if source is None else _from_folder(net, Path(source), limit)
    if labels is not None:
        classes = _labels_from_csv(Path(labels), names)
        _check_labels(Path(labels), classes, net)
    preprocessing = net.architecture.preprocessing if net.architecture else "0-1"
    return ImageSet(names, pixels, preprocess(pixels, preprocessing), classes, f"{words}, preprocessing {preprocessing}")


def _classes(net: Network) -> int:
    return net.graph[net.graph.output].shape[-1]


def _bundled(net: Network, limit: int | None):
    samples = net.architecture.samples if net.architecture else ("cifar10" if max(net.input_shape[:2]) <= 64 else "imagenet")
    names, pixels, labels, words = (_bundled_imagenet if samples == "imagenet" else _bundled_cifar10)(net, limit)
    if _classes(net) != BUNDLED_CLASSES[samples]:
        labels = [None] * len(names)
    return names, pixels, labels, words


def _bundled_imagenet(net: Network, limit: int | None):
    folder = models_folder() / "data" / "imagenet"
    names, pixels, _, _ = _from_folder(net, folder, limit)
    return names, pixels, _labels_from_csv(folder / "labels.csv", names), "bundled pictures"


def _bundled_cifar10(net: Network, limit: int | None):
    with np.load(models_folder() / "data" / "cifar10" / "images.npz") as data:
        pixels, labels, index = (data[key][:limit] for key in ("images", "labels", "index"))
    images = (Image.fromarray(image) for image in pixels)
    return [f"cifar10-test-{i:05d}" for i in index], _fitted(images, net), labels.tolist(), "bundled CIFAR-10 test images"


def _from_folder(net: Network, folder: Path, limit: int | None):
    if not folder.is_dir():
        raise invalid("images", str(folder), "an existing directory")
    files = [path.relative_to(folder) for path in sorted(folder.rglob("*")) if path.suffix.lower() in SUFFIXES and not path.is_dir()]
    files = [path for path in files if not any(part.startswith(".") for part in path.parts)]
    if not files:
        raise invalid("images", str(folder), f"a directory with images ({', '.join(SUFFIXES)})")
    labels = _labels_from_folders(folder, files)[:limit]
    pixels = _fitted((_read(folder / path) for path in files[:limit]), net)
    return [path.as_posix() for path in files[:limit]], pixels, labels, f"directory {folder}"


def _read(path: Path) -> Image.Image:
    try:
        with Image.open(path) as image:
            return _rgb(ImageOps.exif_transpose(image))
    except Exception as error:  # Pillow's decoders raise whatever a broken file makes them stumble over
        raise WelError(f"Invalid image '{path}': it cannot be read ({' '.join(str(error).split())}).") from error


def _rgb(image: Image.Image) -> Image.Image:
    if image.mode == "F" or image.mode.startswith("I"):
        raise WelError("it has more than 8 bits per channel, expected 8")
    opaque = Image.new("RGBA", image.size, "white")
    opaque.alpha_composite(image.convert("RGBA"))
    return opaque.convert("RGB")


def _fitted(images: Iterable[Image.Image], net: Network) -> np.ndarray:
    height, width = net.input_shape[:2]
    return np.stack([np.asarray(ImageOps.fit(image, (width, height), Image.Resampling.BICUBIC)) for image in images])


def _labels_from_folders(folder: Path, files: Sequence[Path]) -> list[int | None]:
    """Class-named folders count in the order of their names, as in Keras; no labels for any other layout."""
    if any(len(path.parts) != 2 for path in files):
        return [None] * len(files)
    classes = sorted(path.name for path in folder.iterdir() if path.is_dir() and not path.name.startswith("."))
    return [classes.index(path.parts[0]) for path in files]


def _labels_from_csv(path: Path, names: Sequence[str]) -> list[int | None]:
    if not path.is_file():
        raise invalid("labels", str(path), "an existing CSV file with the columns file and label")
    try:
        table = pd.read_csv(path, dtype={"file": str, "label": "int64"})
        known = dict(zip(table["file"], table["label"].tolist()))
    except (KeyError, ValueError, OverflowError) as error:
        raise WelError(f"Invalid file '{path}'. Expected the columns file and label, label a whole number.") from error
    return [known.get(name) for name in names]


def _check_labels(path: Path, labels: Sequence[int | None], net: Network) -> None:
    known = [label for label in labels if label is not None]
    classes = _classes(net)
    if not known:
        raise WelError(f"Invalid file '{path}'. Expected labels of the images: its column file names none of them.")
    if min(known) < 0 or max(known) >= classes:
        raise WelError(f"Invalid file '{path}'. Expected labels from 0 to {classes - 1}. Received {min(known)} to {max(known)}.")
