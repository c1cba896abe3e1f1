"""Means of few numbers: their intervals, and whether two of them differ."""

from __future__ import annotations

import numpy as np
from scipy import stats

LEVEL = 0.05  # of errors, as in Kim et al. (2018)


def mean_interval(values: np.ndarray) -> tuple[float, float]:
    """The 95 % interval of the mean, x̄ ± t s/√n, t from Student's distribution with n − 1 degrees of freedom.

    values: (n,), two or more.
    """
    mean, error = np.mean(values), np.std(values, ddof=1) / np.sqrt(len(values))
    reach = stats.t.ppf(1 - LEVEL / 2, len(values) - 1) * error
    return float(mean - reach), float(mean + reach)


def larger_than_all(value: float, others: np.ndarray, drawn: float = 0.0) -> float:
    """The one-sided p that a number is no larger than others of its kind are, by t = (x − ȳ)/(s √(1 + 1/n)) with n − 1 degrees of freedom.

    Args:
        others: (n,), two or more; where they have no spread, p is 0 for a larger number, else 1.
        drawn: the share of all there is that each of the others was made from: those overlap, and their s² is 1 − `drawn` of what it was.
    """
    spread = np.std(others, ddof=1) * np.sqrt((1 + 1 / len(others)) / (1 - drawn))
    if not spread:
        return float(value <= np.mean(others))
    return float(stats.t.sf((value - np.mean(others)) / spread, len(others) - 1))


def welch(one: np.ndarray, other: np.ndarray) -> tuple[float, float]:
    """t and the two-sided p of Welch's test, t = (x̄ − ȳ)/√(s²/n + r²/m), of two or more numbers each, whose spreads may differ.

    Where neither has any spread, t is infinite and p 0, or 0 and 1 if they are the same number.
    Source: Welch (1947), Biometrika 34.
    """
    numbers = [(float(np.mean(values)), float(np.std(values, ddof=1)), len(values)) for values in (one, other)]
    if not any(deviation for _, deviation, _ in numbers):
        difference = numbers[0][0] - numbers[1][0]
        return (float(np.copysign(np.inf, difference)), 0.0) if difference else (0.0, 1.0)
    t, p = stats.ttest_ind_from_stats(*numbers[0], *numbers[1], equal_var=False)
    return float(t), float(p)
