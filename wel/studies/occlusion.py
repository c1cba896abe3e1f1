"""Occlusion: how far the class's logit falls when a patch of the image is hidden."""

from __future__ import annotations

from itertools import product
from typing import Any, Callable, Iterator, Mapping, Sequence

import numpy as np

from wel.measures.places import places, spread
from wel.networks.network import PREDICTED_AT_ONCE
from wel.studies.query import Query

# a patch: where it lies along every axis
Patch = tuple[slice, ...]
# of a batch of images, the logits of each of several networks
Logits = Callable[[np.ndarray], Sequence[np.ndarray]]


def occlusion(query: Query) -> np.ndarray:
    """R = mean of y(x) − y(x with the patch as the baseline has it) over the patches that a place lies in, (n, *input shape).

    The last patch of a row ends at the image's edge, however far it has moved, so that every place lies in one.
    Source: Zeiler & Fergus (2014), section 4.2.
    """
    from wel.backends.native.scores import fast_logits  # imports TensorFlow

    return occluded(query.images, query.options, [query.head[:, None]], lambda batch: [fast_logits(query.net, batch)])[0][:, 0]


def occluded(
    images: np.ndarray, options: Mapping[str, Any], heads: Sequence[np.ndarray], logits: Logits, times_logit: bool = False
) -> list[np.ndarray]:
    """Maps of several networks, (n, V, *input shape) each.

    Args:
        options: of the method.
        heads: of each network, (n, V, classes): y is the sum of the logits times these.
        logits: function of a batch of images that gives the logits of each network.
        times_logit: whether `heads` are multiplied with the logits of the untouched image.
    """
    sizes = places(images.shape[1:])
    patches = patches_of(sizes, options["patch"], options["stride"])
    # one image at a time: memory does not grow with their number, nor does rounding depend on the others
    several = [
        _maps(image, options["baseline"], patches, [head[i] for head in heads], logits, times_logit) for i, image in enumerate(images)
    ]
    return [np.stack([spread(maps, images.shape[1:]) for maps in of_one]) for of_one in zip(*several)]


def patches_of(sizes: tuple[int, ...], side: int, stride: int) -> list[Patch]:
    """The patches of images with so many places along every axis."""
    begins = [sorted({*range(0, size - side + 1, stride), size - side}) for size in sizes]
    return [tuple(slice(begin, begin + side) for begin in corner) for corner in product(*begins)]


def _maps(
    image: np.ndarray, baseline: np.ndarray, patches: list[Patch], heads: list[np.ndarray], logits: Logits, times_logit: bool
) -> list[np.ndarray]:
    """Of an image, (V, *places) for each network."""
    found = zip(*map(logits, _hidden(image, baseline, patches)))
    maps = []
    for several, head in zip(map(np.concatenate, found), heads):
        vectors = head.astype("float64") * (several[0] if times_logit else 1)
        maps.append(_falls(several @ vectors.T, patches, places(image.shape)))
    return maps


def _falls(scores: np.ndarray, patches: list[Patch], sizes: tuple[int, ...]) -> np.ndarray:
    """Means of how far scores (1 + patches, V) fall from the first, (V, *sizes)."""
    total, count = np.zeros((scores.shape[1], *sizes)), np.zeros(sizes)
    for patch, fall in zip(patches, scores[0] - scores[1:]):
        total[(slice(None), *patch)] += fall.reshape(-1, *[1] * len(sizes))
        count[patch] += 1
    return total / count


def _hidden(image: np.ndarray, baseline: np.ndarray, patches: list[Patch]) -> Iterator[np.ndarray]:
    """Batches of the image: as it is, then with each patch hidden."""
    hidden: list[Patch | None] = [None, *patches]
    for first in range(0, len(hidden), PREDICTED_AT_ONCE):
        several = hidden[first : first + PREDICTED_AT_ONCE]
        batch = np.repeat(image[None], len(several), axis=0)
        for one, patch in zip(batch, several):
            if patch is not None:
                one[patch] = baseline[patch]
        yield batch
