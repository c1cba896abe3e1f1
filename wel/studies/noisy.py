"""Maps of noisy images, averaged, in which less of the difference between two networks is noise of the maps."""

from __future__ import annotations

from numbers import Real
from typing import NamedTuple

import numpy as np

from wel.errors import check_whole, invalid
from wel.measures import vectors
from wel.networks.network import Network
from wel.studies.map_study import Explainer

SCALE = 0.1  # by default, as Hedström et al. have it for ImageNet


class Noise(NamedTuple):
    """How images are made noisy: in how many samples, by how much, in ranges of an image, and the seed."""

    samples: int
    scale: float
    seed: int

    def of(self, index: int, image: np.ndarray) -> np.ndarray:
        """What is added to an image, (samples, *input shape); `wel.measures.vectors.noise`."""
        return vectors.noise(self.seed, "noisy", index, image, self.samples, self.scale)

    def averaged(self, explain: Explainer, first: int = 0) -> Explainer:
        """mean_k m(x + σ ε_k, class), image by image, of maps m; `first` is the number of the first image.

        Source: Hedström et al. (2024), sMPRT.
        """

        def explain_noisy(net: Network, images: np.ndarray, classes: np.ndarray) -> np.ndarray:
            maps = (
                explain(net, image + self.of(index, image), np.full(self.samples, chosen))
                for index, (image, chosen) in enumerate(zip(images, classes), first)
            )
            return np.stack([several.mean(axis=0, dtype="float64") for several in maps]).astype("float32")

        return explain_noisy


def noise(samples: int | None, scale: float | None, seed: int) -> Noise | None:
    """The noise that was asked for; none without samples.

    Raises:
        WelError: for a number of samples or a scale that cannot be, or a scale without samples.
    """
    if samples is None:
        if scale is not None:
            raise invalid("noise_scale", scale, "none without `samples`")
        return None
    check_whole("samples", samples, 1)
    scale = SCALE if scale is None else scale
    if not isinstance(scale, Real) or not 0 <= scale < np.inf:
        raise invalid("noise_scale", scale, "a number from 0 on")
    return Noise(int(samples), float(scale), seed)
