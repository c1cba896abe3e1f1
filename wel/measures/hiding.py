"""Ways to hide places of an image: what stands there instead.

mean    the mean of the image, channel by channel
blur    the image, blurred by a Gaussian as wide as a region
linear  values that each are the mean of their eight neighbours, 1/6 of every one beside and 1/12 of every one at a corner (beyond
        the edge there are none, and the others count the more), and noise of 1 % of the image's standard deviation. What is hidden
        cannot be told from its being hidden, as by a grey patch (Rong et al. 2022, ROAD).
"""

from __future__ import annotations

from itertools import product
from typing import Callable, Sequence

import numpy as np
from scipy import ndimage, sparse
from scipy.sparse.linalg import spsolve

from wel.measures.places import places

BESIDE, CORNER = 1 / 6, 1 / 12
NOISE = 0.01  # of the image's standard deviation


def hidden(image: np.ndarray, masks: np.ndarray, way: str, side: int, rng: np.random.Generator) -> np.ndarray:
    """The image (*shape) once for each mask (m, *places), hidden where it is true: (m, *shape) float32.

    Args:
        way: key of `WAYS`.
        side: of a region, in places.
        rng: draws the noise.
    """
    channels = image.reshape(*places(image.shape), -1).astype("float64")
    found = WAYS[way](channels, masks, side, rng)
    return found.reshape(len(masks), *image.shape).astype("float32")


def _mean(image: np.ndarray, masks: np.ndarray, side: int, rng: np.random.Generator) -> np.ndarray:
    return np.where(masks[..., None], image.mean(axis=tuple(range(image.ndim - 1))), image)


def _blur(image: np.ndarray, masks: np.ndarray, side: int, rng: np.random.Generator) -> np.ndarray:
    return np.where(masks[..., None], ndimage.gaussian_filter(image, [*[side] * (image.ndim - 1), 0]), image)


def _linear(image: np.ndarray, masks: np.ndarray, side: int, rng: np.random.Generator) -> np.ndarray:
    return np.stack([_imputed(image, mask, rng) for mask in masks])


def _imputed(image: np.ndarray, mask: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    if mask.all() or not mask.any():
        return _mean(image, mask[None], 0, rng)[0]
    matrix, known = neighbours(mask.shape), ~mask.ravel()
    flat = image.reshape(mask.size, -1).copy()
    left = sparse.identity((~known).sum(), format="csc") - matrix[~known][:, ~known]
    solved = spsolve(left.tocsc(), matrix[~known][:, known] @ flat[known]).reshape(-1, flat.shape[1])
    flat[~known] = solved + NOISE * image.std() * rng.standard_normal(solved.shape)
    return flat.reshape(image.shape)


def neighbours(sizes: Sequence[int]) -> sparse.csr_matrix:
    """Weights (places, places), flattened, of the neighbours whose mean a place is."""
    index = np.arange(np.prod(sizes)).reshape(sizes)
    rows, columns, weights = [], [], []
    for shift in product((-1, 0, 1), repeat=len(sizes)):
        if any(shift):
            here = tuple(slice(max(0, -step), size - max(0, step)) for step, size in zip(shift, sizes))
            there = tuple(slice(max(0, step), size - max(0, -step)) for step, size in zip(shift, sizes))
            rows.append(index[here].ravel())
            columns.append(index[there].ravel())
            weights.append(np.full(rows[-1].size, BESIDE if np.abs(shift).sum() == 1 else CORNER))
    matrix = sparse.csr_matrix((np.concatenate(weights), (np.concatenate(rows), np.concatenate(columns))))
    return sparse.diags(1 / np.asarray(matrix.sum(axis=1)).ravel()) @ matrix


# way -> function (image (*places, channels), masks, side, generator) -> (m, *places, channels)
WAYS: dict[str, Callable[[np.ndarray, np.ndarray, int, np.random.Generator], np.ndarray]] = {
    "mean": _mean,
    "blur": _blur,
    "linear": _linear,
}
