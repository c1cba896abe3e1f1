"""Medians over images, with their intervals."""

from __future__ import annotations

import numpy as np
from scipy import stats

RESAMPLES, LEVEL = 10_000, 0.99
RESAMPLES_AT_ONCE = 500


def median_interval(values: np.ndarray, seed: int) -> tuple[float, float]:
    """The bootstrap interval of the median: 0.5 % and 99.5 % quantiles over 10,000 resamples with replacement (percentile method).

    NaN for fewer than two values.
    """
    if len(values) < 2:
        return np.nan, np.nan
    found = stats.bootstrap(
        (values,),
        np.median,
        n_resamples=RESAMPLES,
        batch=RESAMPLES_AT_ONCE,
        confidence_level=LEVEL,
        method="percentile",
        random_state=np.random.default_rng(seed),
    )
    low, high = found.confidence_interval
    return float(low), float(high)


def summary(values: np.ndarray, seed: int) -> dict[str, float]:
    """images, values (those that are numbers), nan_fraction, median, mean, and the median's ci_low, ci_high; NaN without values."""
    kept = values[~np.isnan(values)]
    low, high = median_interval(kept, seed)
    median, mean = (float(np.median(kept)), float(np.mean(kept))) if len(kept) else (np.nan, np.nan)
    counts = {"images": len(values), "values": len(kept), "nan_fraction": 1 - len(kept) / len(values)}
    return {**counts, "median": median, "mean": mean, "ci_low": low, "ci_high": high}
