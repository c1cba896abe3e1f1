"""The networks that figures are made of, and their pictures."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
from PIL import Image
from trained import FOLDER, trained

import wel
from wel.images.load import ImageSet, load_images
from wel.images.preprocessing import parse_preprocessing
from wel.methods.fitting import fit_patterns
from wel.methods.registry import METHODS
from wel.networks.network import Network
from wel.system.files import models_folder
from wel.system.progress import bar_steps

BUNDLED = {"vgg16": "cifar10", "resnet50": "resnet20"}  # trained networks of the same kind, small
REAL = {"vgg16": ("vgg16_mri",), "resnet50": ("resnet50_nsfw", "efficientnet_lite0")}  # larger ones, from `make real`
MANY_CLASSES = "efficientnet_lite0"  # a network for what needs classes
TWO_CLASSES = {
    "vgg16": (283, 156),
    "resnet50": (283, 156),
    "efficientnet_lite0": (283, 156),  # cat and dog, on pictures with both
    "vgg16_mri": (1, 2),  # of natural pictures its two most likely ones
    "resnet50_nsfw": (0, 1),
    "cifar10": (3, 5),
    "resnet20": (3, 5),  # cat and dog, on any picture
}
LEARNED = tuple(name for name, method in METHODS.items() if "patterns" in method.options)
SMALL = (96, 96, 3)  # what networks with random weights take
TRAINED, RANDOM = "trained", "random"
ENLARGED = 40  # pictures of CIFAR-10 that patterns are fitted on, beside the bundled larger ones


@dataclass(frozen=True)
class Subject:
    """A network and its pictures; `weights` says whether it is "trained" or "random", `options` are those of methods."""

    net: Network
    pictures: ImageSet
    weights: str
    options: dict[str, dict] = field(default_factory=dict)

    @property
    def inputs(self) -> np.ndarray:
        """Images as the network takes them."""
        return self.pictures.inputs

    @property
    def labels(self) -> list[int | None]:
        """The images' true classes."""
        return self.pictures.labels

    @property
    def patterns(self) -> str | None:
        """Their file, where they are not bundled with the network."""
        return next((options["patterns"] for options in self.options.values()), None)


def subject(name: str, weights: str | None, images: Path | None, limit: int | None) -> Subject:
    """A network of the zoo and its pictures.

    Args:
        name: of the zoo.
        weights: a file, "imagenet", "random", or None for the bundled ones.
        images: directory, None for the bundled ones.
        limit: how many images at most.
    """
    net = wel.load(name, weights, input_shape=SMALL if weights == RANDOM else None)
    return Subject(net, load_images(net, images, limit=limit), RANDOM if weights == RANDOM else TRAINED)


def subjects(name: str, weights: str | None, images: Path | None, limit: int, bundled: int = 0) -> list[Subject]:
    """The networks of a figure: the paper's with given weights, else those of its kind that were really trained, and the bundled one.

    Args:
        name: "vgg16" or "resnet50".
        weights: of it; a file or "imagenet".
        images: directory, None for the bundled ones.
        limit: how many images at most.
        bundled: how many for the bundled network; 0 where it has a figure of its own, and then random weights will do if there is
            nothing else.
    """
    found = [subject(name, weights, images, limit)] if weights else [of for of in (_real(one, images, limit) for one in REAL[name]) if of]
    if bundled and not weights:
        found.append(subject(BUNDLED[name], None, None, bundled))
    return found or [subject(name, RANDOM, images, limit)]


def _real(name: str, images: Path | None, limit: int) -> Subject | None:
    net = trained(name)
    if net is None:
        return None
    learned = LEARNED if name in REAL["vgg16"] else ()  # which residual networks are not defined for
    options = {method: {"patterns": str(_patterns(net))} for method in learned}
    return Subject(net, load_images(net, images, limit=limit), TRAINED, options)


def _patterns(net: Network) -> Path:
    """A file with patterns of a network, fitted on the bundled pictures and on enlarged ones of CIFAR-10; made where it is not there."""
    path = FOLDER / f"{net.name}_patterns.npz"
    if not path.is_file():
        images = np.concatenate([load_images(net).inputs, enlarged(net, ENLARGED)])
        with bar_steps(f"patterns of {net.name}") as steps:
            fit_patterns(net, images, steps=steps).save(path)
    return path


def enlarged(net: Network, count: int) -> np.ndarray:
    """Bundled pictures of CIFAR-10 at a network's size, as it takes them, (count, height, width, 3)."""
    height, width, channels = net.input_shape
    with np.load(models_folder() / "data" / "cifar10" / "images.npz") as data:
        pictures = [Image.fromarray(picture).resize((width, height), Image.Resampling.BICUBIC) for picture in data["images"][:count]]
    pixels = np.array([np.asarray(picture) for picture in pictures], "uint8").reshape(-1, height, width, channels)
    return parse_preprocessing(net.architecture.preprocessing)(pixels)
