"""How alike two maps are, and maps for the eye."""

from __future__ import annotations

from itertools import product
from typing import Sequence

import numpy as np
from scipy import stats

from wel.errors import WelError, invalid, one_of

SSIM_WINDOW = 5
HOG_CELL = 16  # places along a side, as Adebayo et al. have it
REDUCTIONS = {
    "sum": lambda maps: maps.sum(axis=-1),
    "mean": lambda maps: maps.mean(axis=-1),
    "max_abs": lambda maps: np.abs(maps).max(axis=-1),
}
SSIM_RANGE = {"paper": 2.0, "corrected": 1.0}  # scikit-image 0.16.2 takes floats to lie in [-1, 1], wherever they do lie


def reduce_channels(maps: np.ndarray, reduction: str) -> np.ndarray:
    """One value per location: maps (…, channels) to (…), as `wel.methods.registry.Method.reduction` says.

    reduction: "sum" or "mean" over the channels, or "max_abs", the largest absolute value.
    Raises WelError for another reduction.
    """
    if reduction not in REDUCTIONS:
        raise invalid("reduction", reduction, one_of(REDUCTIONS))
    return REDUCTIONS[reduction](maps)


def heats(maps: np.ndarray, reduction: str) -> np.ndarray:
    """One value for every place of maps, (n, *places): of inputs that are one vector each, (n, values), the maps themselves."""
    return maps if maps.ndim == 2 else reduce_channels(maps, reduction)


def ssim(a: np.ndarray, b: np.ndarray, semantics: str = "paper", percentile: float = 99.5) -> float:
    """How alike two maps (height, width) are: structural similarity of the scaled maps, at most 1.

    With p the percentile and q = 100 − p its mirror, a map m is scaled to s(m) = (m − m_q) / (m_p − m_q), cut to [0, 1]; SSIM over
    windows of 5 × 5. A map may flip its sign, which SSIM of scaled maps tells differently for one map and for the other, so

        paper       max(SSIM(s(a), s(b)), SSIM(s(a), s(−b))): b is flipped, as the paper's authors flip the untouched network's map;
        corrected   the largest over both signs of both maps, which does not change when maps change places.

    `paper`: the two ends of the scale are swapped, 1 − s, and constants are for data of range 2; `corrected`: as written, range 1.
    NaN where a map holds NaN or has no spread between its percentiles.
    Source: Wang, Bovik, Sheikh & Simoncelli (2004), by scikit-image; Sixt, Granz & Landgraf (2020) for the scaling.
    Raises WelError for maps that are not two-dimensional, of one shape and at least 5 × 5, and for unknown semantics.
    """
    from skimage.metrics import structural_similarity  # takes a second to import

    if semantics not in SSIM_RANGE:
        raise invalid("semantics", semantics, "'paper' or 'corrected'")
    a, b = np.asarray(a, dtype="float64"), np.asarray(b, dtype="float64")
    if a.shape != b.shape or a.ndim != 2 or min(a.shape) < SSIM_WINDOW:
        raise WelError(f"Invalid value for `a` and `b`: maps of shapes {a.shape} and {b.shape}. Expected two of one shape, 5 × 5 or more.")
    flips = ((1, 1), (1, -1)) if semantics == "paper" else product((1, -1), repeat=2)
    settings = {"win_size": SSIM_WINDOW, "data_range": SSIM_RANGE[semantics]}
    pairs = [[_scaled(sign * heatmap, semantics, percentile) for sign, heatmap in zip(signs, (a, b))] for signs in flips]
    return float(np.max([structural_similarity(*pair, **settings) for pair in pairs]))


def _scaled(heatmap: np.ndarray, semantics: str, percentile: float) -> np.ndarray:
    low, high = np.percentile(heatmap, [100 - percentile, percentile])
    if semantics == "paper":
        low, high = high, low
    return np.clip((heatmap - low) / (high - low), 0, 1) if high != low else np.full_like(heatmap, np.nan)


def normalised(heatmap: np.ndarray, percentile: float = 99.5) -> np.ndarray:
    """A map for the eye, in [−1, 1]: m / max(P_p, |P_(100−p)|), cut; float32, NaN where m is.

    Percentiles are those of the map's finite values. Where both are 0, whatever is not 0 lies beyond them: it becomes ±1.

    Args:
        heatmap: (height, width).
        percentile: p, from 50 to 100.
    """
    low, high = _ends(heatmap, percentile)
    return _cut(heatmap, max(high, -low)).astype("float32")


def absolute(heatmap: np.ndarray, percentile: float = 99.5) -> np.ndarray:
    """The strength of a map, in [0, 1]: positive values / P_p, negative ones / P_(100−p), cut; float32, NaN where m is.

    A value beyond a percentile that lies on the other side of 0, or on it, becomes 1.
    Arguments as for `normalised`. Source: Sixt, Granz & Landgraf (2020), the maps of two classes.
    """
    low, high = _ends(heatmap, percentile)
    return np.abs(np.where(heatmap > 0, _cut(heatmap, high), _cut(heatmap, -low))).astype("float32")


def class_distance(one: np.ndarray, other: np.ndarray, percentile: float = 99.5) -> float:
    """L1 = mean |a − b| over the locations of two maps (height, width), a and b their `absolute`; in [0, 1].

    NaN where a map holds NaN, or nothing but 0: two empty maps are equal, but say nothing of the classes.
    """
    if not (one.any() and other.any()):
        return np.nan
    difference = absolute(one, percentile).astype("float64") - absolute(other, percentile)
    return float(np.abs(difference).mean())


def _ends(heatmap: np.ndarray, percentile: float) -> tuple[float, float]:
    finite = heatmap[np.isfinite(heatmap)].astype("float64")
    return tuple(np.percentile(finite, [100 - percentile, percentile])) if finite.size else (0.0, 0.0)


def _cut(heatmap: np.ndarray, scale: float) -> np.ndarray:
    return np.clip(heatmap.astype("float64") / scale, -1, 1) if scale > 0 else np.sign(heatmap)


def similarity(one: np.ndarray, other: np.ndarray, reduction: str, percentile: float, semantics: str) -> np.ndarray:
    """SSIM (n,) of maps (n, height, width, channels), image by image, their channels reduced (`reduce_channels`); NaN where undefined."""
    pairs = zip(reduce_channels(one, reduction), reduce_channels(other, reduction))
    return np.array([ssim(a, b, semantics, percentile) for a, b in pairs])


def is_picture(shape: Sequence[int]) -> bool:
    """Whether maps of that shape, (height, width, channels), can be compared by SSIM."""
    return len(shape) == 3 and min(shape[:2]) >= SSIM_WINDOW


def whole_cosines(one: np.ndarray, other: np.ndarray) -> np.ndarray:
    """|cos| (n,) between maps (n, ...) as a whole, image by image; NaN where one of them is zero or not finite."""
    return np.abs(_cosines(one, other))


def correlations(one: np.ndarray, other: np.ndarray) -> np.ndarray:
    """Pearson's correlation (n,) of the values of arrays (n, ...), image by image; NaN where one is constant or not finite."""
    with np.errstate(invalid="ignore"):
        return _cosines(*(_centred(values.reshape(len(values), -1).astype("float64")) for values in (one, other)))


def _centred(rows: np.ndarray) -> np.ndarray:
    """Rows minus their means; NaN where one is constant, of which the mean may be rounded."""
    return np.where(np.ptp(rows, axis=1, keepdims=True) > 0, rows - rows.mean(axis=1, keepdims=True), np.nan)


def rank_correlations(one: np.ndarray, other: np.ndarray) -> np.ndarray:
    """|ρ| (n,), Spearman's rank correlation of the values of maps (n, ...), image by image; NaN where a map is constant or not finite."""
    ranks = [stats.rankdata(maps.reshape(len(maps), -1), axis=1, nan_policy="propagate") for maps in (one, other)]
    return np.abs(correlations(*ranks))


def _cosines(one: np.ndarray, other: np.ndarray) -> np.ndarray:
    one, other = (maps.reshape(len(maps), -1).astype("float64") for maps in (one, other))
    with np.errstate(invalid="ignore", divide="ignore"):
        return (one * other).sum(axis=1) / (np.linalg.norm(one, axis=1) * np.linalg.norm(other, axis=1))


def hog_correlation(a: np.ndarray, b: np.ndarray, percentile: float = 99.5) -> float:
    """Pearson's correlation of the histograms of oriented gradients of two maps (height, width), each as for the eye (`normalised`).

    9 orientations without sign, cells of 16 × 16 places, or of a quarter of the shortest side where that is less, blocks of 3 × 3 cells.
    NaN where a map is not finite or has no gradient.
    Source: Dalal & Triggs (2005), by scikit-image; Adebayo et al. (2018) for maps.
    """
    from skimage.feature import hog  # takes a second to import

    if not (np.isfinite(a).all() and np.isfinite(b).all()):
        return np.nan
    cell = min(HOG_CELL, max(1, min(a.shape) // 4))
    settings = {"orientations": 9, "pixels_per_cell": (cell, cell), "cells_per_block": (3, 3), "block_norm": "L2-Hys"}
    one, other = (hog(normalised(heatmap, percentile), **settings) for heatmap in (a, b))
    return float(correlations(one[None], other[None])[0])
