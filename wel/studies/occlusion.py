"""Occlusion: how far the class's logit falls when a patch of the image is hidden."""

from __future__ import annotations

from itertools import product
from typing import Iterator

import numpy as np

from wel.measures.places import places, spread
from wel.networks.network import PREDICTED_AT_ONCE
from wel.studies.query import Query

# a patch: where it lies along every axis
Patch = tuple[slice, ...]


def occlusion(query: Query) -> np.ndarray:
    """R = mean of y(x) − y(x with the patch as the baseline has it) over the patches that a place lies in, (n, *input shape).

    The last patch of a row ends at the image's edge, however far it has moved, so that every place lies in one.
    Source: Zeiler & Fergus (2014), section 4.2.
    """
    shape = query.net.input_shape
    patches = patches_of(places(shape), query.options["patch"], query.options["stride"])
    # one image at a time: memory does not grow with their number, nor does rounding depend on the others
    maps = [_map(query, index, patches) for index in range(len(query.images))]
    return spread(np.stack(maps), shape)


def patches_of(sizes: tuple[int, ...], side: int, stride: int) -> list[Patch]:
    """The patches of images with so many places along every axis."""
    begins = [sorted({*range(0, size - side + 1, stride), size - side}) for size in sizes]
    return [tuple(slice(begin, begin + side) for begin in corner) for corner in product(*begins)]


def _map(query: Query, index: int, patches: list[Patch]) -> np.ndarray:
    from wel.backends.native.scores import fast_logits  # imports TensorFlow

    image, head = query.images[index], query.head[index].astype("float64")
    scores = np.concatenate([fast_logits(query.net, batch) @ head for batch in _hidden(image, query.options["baseline"], patches)])
    total, count = np.zeros((2, *places(image.shape)))
    for patch, score in zip(patches, scores[1:]):
        total[patch] += scores[0] - score
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
