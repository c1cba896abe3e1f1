"""Bundles the images that wel ships into models/data: 200 CIFAR-10 test images and four of scikit-image's samples.

CIFAR-10: the first 20 test images of each class in test order, classes interleaved (airplane, automobile, …, truck,
airplane, …), so that every multiple of ten images from the start is class-balanced too.
"""

from __future__ import annotations

from pathlib import Path

import numpy as np
from PIL import Image, ImageOps
from skimage import data

from wel.images.cifar10 import Split, load_cifar10
from wel.networks.zoo import CIFAR10_CLASSES
from wel.system.files import written_whole

BUNDLE = Path(__file__).resolve().parent.parent / "models" / "data"
PER_CLASS = 20
SAMPLES = ("astronaut", "chelsea", "coffee", "rocket")


def balanced_index(labels: np.ndarray, per_class: int) -> np.ndarray:
    """Indices of the first `per_class` images of each class, interleaved: (per_class · classes,) int64."""
    first = [np.flatnonzero(labels == label)[:per_class] for label in range(len(CIFAR10_CLASSES))]
    return np.stack(first, axis=1).ravel()


def bundle_cifar10(test: Split, folder: Path) -> None:
    """Writes `images.npz`: images (200, 32, 32, 3) uint8, labels (200,) int64, index (200,) int64 into the test set."""
    index = balanced_index(test.labels, PER_CLASS)
    folder.mkdir(parents=True, exist_ok=True)
    with written_whole(folder / "images.npz") as path:
        np.savez_compressed(path, images=test.images[index], labels=test.labels[index], index=index)


def bundle_samples(folder: Path) -> None:
    """Writes scikit-image's sample pictures, centre-cropped to a square and resized to 224×224."""
    folder.mkdir(parents=True, exist_ok=True)
    for name in SAMPLES:
        picture = Image.fromarray(getattr(data, name)())
        with written_whole(folder / f"{name}_224.jpg") as path:
            ImageOps.fit(picture, (224, 224), Image.Resampling.LANCZOS).save(path, quality=95)


if __name__ == "__main__":
    bundle_cifar10(load_cifar10().test, BUNDLE / "cifar10")
    bundle_samples(BUNDLE / "imagenet")
