"""Images: from a directory, a list of files or the bundled sets, as the network takes them."""
from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Callable, Sequence

import numpy as np
import pandas as pd
from PIL import Image, ImageOps, UnidentifiedImageError

from wel.errors import WelError, invalid
from wel.network import Network
from wel.paths import models_folder

CAFFE_MEAN = (103.939, 116.779, 123.68)  # blue, green, red

PREPROCESSINGS: dict[str, Callable[[np.ndarray], np.ndarray]] = {
    "0-1": lambda pixels: pixels / np.float32(255),
    "caffe": lambda pixels: pixels[..., ::-1] - np.asarray(CAFFE_MEAN, "float32"),
}
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

    Images are cut to the network's aspect ratio around the centre and resized (bicubic); EXIF orientation is applied.

    Args:
        net: gives size and preprocessing; a network that wel does not know gets pixels in [0, 1].
        source: directory; None for the bundled images.
        labels: CSV with columns `file` and `label`.
        limit: how many images at most, in name order.

    Raises:
        WelError: when there is no such directory or file, no image in it, or an image cannot be read.
    """
    if limit is not None and limit < 1:
        raise invalid("limit", limit, "a whole number from 1 on")
    if len(net.input_shape) != 3 or net.input_shape[2] != 3:
        raise WelError(f"Invalid value for `model`: '{net.name}' takes inputs of shape {net.input_shape}. Expected (height, width, 3) for images.")
    names, pixels, classes, words = _bundled(net, limit) if source is None else _from_folder(net, Path(source), limit)
    if labels is not None:
        classes = _labels_from_csv(Path(labels), names)
    preprocessing = net.architecture.preprocessing if net.architecture else "0-1"
    return ImageSet(names, pixels, preprocess(pixels, preprocessing), classes, f"{words}, preprocessing {preprocessing}")


def _bundled(net: Network, limit: int | None):
    samples = net.architecture.samples if net.architecture else ("cifar10" if max(net.input_shape[:2]) <= 64 else "imagenet")
    folder = models_folder() / "data" / samples
    if samples == "imagenet":
        names, pixels, _, _ = _from_folder(net, folder, limit)
        return names, pixels, _labels_from_csv(folder / "labels.csv", names), "bundled pictures"
    with np.load(folder / "images.npz") as data:
        pixels, labels, index = (data[key][:limit] for key in ("images", "labels", "index"))
    images = [Image.fromarray(image) for image in pixels]
    return [f"cifar10-test-{i:05d}" for i in index], _fitted(images, net), labels.tolist(), "bundled CIFAR-10 test images"


def _from_folder(net: Network, folder: Path, limit: int | None):
    if not folder.is_dir():
        raise invalid("images", str(folder), "an existing directory")
    files = sorted(path for path in folder.rglob("*") if path.suffix.lower() in SUFFIXES)
    if not files:
        raise invalid("images", str(folder), f"a directory with images ({', '.join(SUFFIXES)})")
    images = [_read(path) for path in files[:limit]]
    names = [str(path.relative_to(folder)) for path in files[:limit]]
    return names, _fitted(images, net), _labels_from_folders(folder, files[:limit]), f"directory {folder}"


def _read(path: Path) -> Image.Image:
    try:
        with Image.open(path) as image:
            return ImageOps.exif_transpose(image).convert("RGB")
    except (OSError, UnidentifiedImageError, Image.DecompressionBombError) as error:
        raise WelError(f"Invalid image '{path}': it cannot be read ({error}).") from error


def _fitted(images: Sequence[Image.Image], net: Network) -> np.ndarray:
    height, width = net.input_shape[:2]
    return np.stack([np.asarray(ImageOps.fit(image, (width, height), Image.Resampling.BICUBIC)) for image in images])


def _labels_from_folders(folder: Path, files: Sequence[Path]) -> list[int | None]:
    """Class-named folders count in the order of their names, as in Keras; no labels for a flat directory."""
    classes = sorted(path.name for path in folder.iterdir() if path.is_dir())
    if any(path.parent.parent != folder for path in files):
        return [None] * len(files)
    return [classes.index(path.parent.name) for path in files]


def _labels_from_csv(path: Path, names: Sequence[str]) -> list[int | None]:
    if not path.is_file():
        raise invalid("labels", str(path), "an existing CSV file with the columns file and label")
    try:
        table = pd.read_csv(path)
        known = dict(zip(table["file"].astype(str), table["label"].astype(int)))
    except (KeyError, ValueError, UnicodeDecodeError) as error:
        raise WelError(f"Invalid file '{path}'. Expected the columns file and label, label a whole number.") from error
    return [known.get(name) for name in names]
