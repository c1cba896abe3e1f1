"""How complex a map is: the entropy of the histogram of its values."""

from __future__ import annotations

import numpy as np
from scipy import stats

FEWEST_BINS, MOST_BINS = 10, 200  # as Quantus has it


def complexity(values: np.ndarray, bins: int) -> float:
    """Entropy −Σ p_b ln p_b, in nats, p_b the share of the values in bin b of so many equal ones from the least to the largest.

    0 for a constant map, NaN for one that is not finite.
    Source: Hedström et al. (2024).
    """
    if not np.isfinite(values).all():
        return np.nan
    return float(stats.entropy(np.histogram(values.astype("float64"), bins)[0]))


def histogram_bins(values: np.ndarray) -> int:
    """The range of n values in bins of width 2 (Q₇₅ − Q₂₅) / ∛n, at least 10 and at most 200 of them; 200 where the quartiles are equal.

    Source: Freedman & Diaconis (1981).
    """
    low, first, third, high = np.percentile(values.astype("float64"), (0, 25, 75, 100))
    width = 2 * (third - first) / np.cbrt(values.size)
    return int(np.clip(np.ceil((high - low) / width), FEWEST_BINS, MOST_BINS)) if width > 0 else MOST_BINS


def complexity_rises(randomised: np.ndarray, trained: np.ndarray, bins: int | None = None) -> np.ndarray:
    """(c_random − c_trained) / c_trained (n,) of maps (n, ...), image by image; NaN where the trained network's is constant.

    c is the `complexity` of all values of a map, with `bins` bins, or with those that the trained network's map of the image gets by
    `histogram_bins`: the same number for both maps, as more bins have more entropy.
    Source: Hedström et al. (2024), eMPRT.
    """
    return np.array([_rise(one, other, bins) for one, other in zip(randomised, trained)])


def _rise(randomised: np.ndarray, trained: np.ndarray, bins: int | None) -> float:
    if not np.isfinite(trained).all() or np.ptp(trained) == 0:
        return np.nan
    bins = bins or histogram_bins(trained)
    before = complexity(trained, bins)
    return (complexity(randomised, bins) - before) / before
