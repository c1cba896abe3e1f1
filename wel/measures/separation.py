"""Linear classifiers between two sets of examples, by the inner products of these alone, however many values an example has.

The classifier is scikit-learn's `LogisticRegression` (L2, C = 1, Newton's method) of values from which their mean is taken off, and
which are divided by one number, so that their mean square is 1. Its direction lies in the span of the examples, v = Σ a_i x_i, so
coordinates in that span are all that it has to know.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from scipy.linalg import eigh

HELD_OUT = 3  # one example of so many, which the classifier does not see
VALUES_AT_ONCE = 4096
NOTHING = 1e-10  # of the largest variance along a direction: what is rounding


class Separation(NamedTuple):
    """What a classifier has learned.

    Attributes:
        rows: (k,) of the examples that it has seen.
        weights: (k,), a with v = Σ a_i x_i of length 1, which points to the positive ones; 0 where all examples are the same.
        accuracy: share of the examples that it has not seen and tells right, positive and negative ones being as many.
    """

    rows: np.ndarray
    weights: np.ndarray
    accuracy: float


def inner_products(one: np.ndarray, other: np.ndarray) -> np.ndarray:
    """one otherᵀ in float64, (m, n), of (m, values) and (n, values)."""
    found = np.zeros((len(one), len(other)))
    for first in range(0, one.shape[1], VALUES_AT_ONCE):
        some = one[:, first : first + VALUES_AT_ONCE].astype("float64")
        # of an array with itself BLAS computes half
        found += some @ (some if one is other else other[:, first : first + VALUES_AT_ONCE].astype("float64")).T
    return found


def separated(products: np.ndarray, values: int, positive: np.ndarray, negative: np.ndarray) -> Separation:
    """A classifier that has seen the first two thirds of each set.

    Args:
        products: (n, n) inner products of all examples.
        values: how many an example has.
        positive, negative: rows of the examples, as many of each, three or more.
    """
    seen = len(positive) - len(positive) // HELD_OUT
    rows, held = (np.concatenate([positive[part], negative[part]]) for part in (slice(seen), slice(seen, None)))
    own = products[np.ix_(rows, rows)]
    means = own.mean(axis=0)
    spread = np.trace(own) / len(rows) - means.mean()
    if spread <= NOTHING * own.max():
        return Separation(rows, np.zeros(len(rows)), 0.5)
    square = spread / values
    weights, bias = _learned((own - means - means[:, None] + means.mean()) / square)
    told = (products[np.ix_(held, rows)] @ weights - means @ weights) / square + bias > 0
    right = told == (np.arange(len(held)) < len(held) // 2)
    return Separation(rows, weights / np.sqrt(weights @ own @ weights), float(right.mean()))


def _learned(products: np.ndarray) -> tuple[np.ndarray, float]:
    """a, which sums to 0, and the bias, of centred examples, the first half of which is positive."""
    from sklearn.linear_model import LogisticRegression  # takes a second to import

    variances, directions = eigh(products)
    kept = variances > NOTHING * variances[-1]
    lengths = np.sqrt(variances[kept])
    labels = np.arange(len(products)) < len(products) // 2
    model = LogisticRegression(solver="newton-cholesky").fit(directions[:, kept] * lengths, labels)
    weights = directions[:, kept] @ (model.coef_[0] / lengths)
    return weights - weights.mean(), float(model.intercept_[0])
