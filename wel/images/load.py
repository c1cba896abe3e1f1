"""Images: from a directory, files, arrays, a list or the bundled sets, as the network takes them."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any, Callable

import numpy as np

from wel.errors import check_whole, invalid
from wel.images.labels import labels_from_csv
from wel.images.preprocessing import Preprocessing, guess_preprocessing, parse_preprocessing
from wel.images.sources import Source, classes_of, find_images, pixel_shape, takes_pictures
from wel.networks.network import Network

AS_GIVEN = "none (given as inputs)"


@dataclass(frozen=True)
class ImageSet:
    """Images for a study.

    Attributes:
        names: one per image, all different.
        pixels: (n, height, width, 3) uint8 RGB, at the network's size, to be looked at; of inputs that were given as they are,
            these stretched to 0..255; (n, 0, 0, 3) for a network that takes no pictures.
        inputs: (n, *input_shape) float32, as the network takes them.
        labels: true class of each image, None where it is not known.
        source: where they come from, in words.
        preprocessing: what made inputs of pixels.
        left_out: what was not used, by name, and why.
        sha256: of each picture's file; for arrays of the bytes of its row.
    """

    names: list[str]
    pixels: np.ndarray
    inputs: np.ndarray
    labels: list[int | None]
    source: str
    preprocessing: Preprocessing
    left_out: dict[str, str]
    sha256: list[str]

    def record(self, net: Network) -> dict[str, Any]:
        """What a run keeps of its images, and of the layers of the network that takes them."""
        return {
            "images": self.names,
            "images_source": self.source,
            "preprocessing": self.preprocessing.formula,
            "preprocessing_guess": self.preprocessing.guess,
            "labels": self.labels,
            "layers": [net.shown(name) for name in net.layers],
        }


def load_images(
    net: Network,
    source: Source | None = None,
    labels: Path | None = None,
    limit: int | None = None,
    preprocessing: Preprocessing | str | None = None,
    keep_going: bool = False,
) -> ImageSet:
    """Loads images for a network.

    Pictures are cut to the network's aspect ratio around the centre and resized (bicubic); EXIF orientation is applied,
    transparent pixels are laid on white, colour profiles ignored; a network with one channel gets luminance. Hidden files and
    folders are left out.

    Args:
        net: gives size and preprocessing. Pictures are for inputs (height, width, 3), (height, width, 1) or (height, width);
            other networks take arrays only.
        source: a directory (class-named folders or flat); one picture file or a sequence of them; a .csv file with the columns
            `file` (relative to it) and perhaps `label`; or an array, .npy or .npz with `images`, `inputs`, `x`, `x_test` or a
            single array, and perhaps `labels`, `y` or `y_test`, and `names`. In arrays uint8 are pixels from 0 to 255, resized
            and preprocessed like pictures; floats are inputs as the network takes them. None for the bundled images.
        labels: CSV with columns `file` (an image's name: for a directory relative to it) and `label` (index of the logit).
            Without it, labels come with the source: those of a list or a .npz file, or class-named folders, see
            `wel.images.labels.labels_from_folders`.
        limit: how many images at most, in name order, in a file's own order for arrays and lists.
        preprocessing: itself or its `wel.images.preprocessing.parse_preprocessing` text; None for the zoo's, else a guess.
        keep_going: whether pictures that cannot be read are left out, with the reason in `left_out`, instead of refused.

    Raises:
        WelError: when there is no such directory or file, no image in it, an image cannot be read (with `keep_going`: none
            can), an array does not fit the network or the memory, the preprocessing is none or for other channels, or a CSV
            holds other columns, labels that are no class of the network, or none of the images.
    """
    if limit is not None:
        check_whole("limit", limit, 1)
    chosen = _chosen(net, preprocessing)
    found = find_images(net, source, limit, keep_going)
    classes, left_out = found.labels, found.left_out
    if labels is not None:
        classes = labels_from_csv(Path(labels), found.names, classes_of(net))
        left_out = {name: reason for name, reason in left_out.items() if name != Path(labels).name}
    if found.values.dtype == np.uint8:
        inputs = _preprocessed(net, chosen, found.values)
    else:
        inputs, chosen = found.values, _as_given(preprocessing)
    words = f"{found.source}, preprocessing {chosen.spec}"
    return ImageSet(found.names, _shown(net, found.values), inputs, classes, words, chosen, left_out, found.sha256)


def repainted(net: Network, images: ImageSet, paint: Callable[[np.ndarray], np.ndarray], argument: str = "images") -> np.ndarray:
    """Inputs (m, *input_shape) for what a function makes of the pictures' pixels, (n, height, width, 3) uint8 to (m, height, width, 3).

    Raises:
        WelError: for images that are no pictures, or were given as inputs; it names the argument.
    """
    if images.preprocessing.formula == AS_GIVEN or not takes_pictures(net):
        raise invalid(argument, images.source, "pictures, for something to be drawn on them")
    channels = pixel_shape(net)[-1]
    return _preprocessed(net, images.preprocessing, paint(images.pixels)[..., :channels])


def _preprocessed(net: Network, preprocessing: Preprocessing, pixels: np.ndarray) -> np.ndarray:
    return preprocessing(pixels.reshape(-1, *pixel_shape(net))).reshape(-1, *net.input_shape)


def _chosen(net: Network, preprocessing: Preprocessing | str | None) -> Preprocessing:
    if preprocessing is None:
        return guess_preprocessing(net)
    return preprocessing if isinstance(preprocessing, Preprocessing) else parse_preprocessing(preprocessing)


def _as_given(preprocessing: Preprocessing | str | None) -> Preprocessing:
    spec = getattr(preprocessing, "spec", preprocessing)
    if spec not in (None, "none"):
        raise invalid("preprocess", spec, "none: an array of floats holds inputs as the network takes them; pixels are uint8")
    return Preprocessing("none", AS_GIVEN)


def _shown(net: Network, values: np.ndarray) -> np.ndarray:
    """Pixels or inputs (n, *input_shape) as RGB pictures, inputs stretched to 0..255."""
    if not takes_pictures(net):
        return np.zeros((len(values), 0, 0, 3), "uint8")
    values = values.reshape(-1, *pixel_shape(net))
    if values.dtype != np.uint8:
        low, high = (bound(values, axis=(1, 2, 3), keepdims=True) for bound in (np.min, np.max))
        span = np.where(high > low, high - low, 1)
        values = (255 * ((values - low) / span)).astype("uint8")
    return values if values.shape[-1] == 3 else values.repeat(3, axis=-1)
