"""wel.measures.vectors: every vector depends on its own key only, and is drawn from N(0, I)."""

from __future__ import annotations

import numpy as np
import pytest
from scipy import stats

from wel.measures.vectors import random_vectors

SHAPE = (4, 3, 2)


def test_shape_and_type():
    vectors = random_vectors(0, "conv", [0, 7], 5, SHAPE)
    assert vectors.shape == (2, 5, *SHAPE) and vectors.dtype == np.float32
    assert random_vectors(0, "fc", range(3), 2, (10,)).shape == (3, 2, 10)


def test_same_key_same_vectors():
    np.testing.assert_array_equal(random_vectors(3, "conv", [0, 1], 4, SHAPE), random_vectors(3, "conv", [0, 1], 4, SHAPE))


def test_batches_and_order_do_not_matter():
    together = random_vectors(3, "conv", [0, 1, 2, 3, 4], 4, SHAPE)
    for order in ([4], [2, 0], [3, 4, 1], [1, 1]):
        np.testing.assert_array_equal(random_vectors(3, "conv", order, 4, SHAPE), together[order])
    np.testing.assert_array_equal(random_vectors(3, "conv", np.array([2, 0]), 4, SHAPE), together[[2, 0]])


def test_number_of_vectors_does_not_matter():
    np.testing.assert_array_equal(random_vectors(3, "conv", [5], 2, SHAPE), random_vectors(3, "conv", [5], 9, SHAPE)[:, :2])


def test_every_part_of_the_key_matters():
    keys = [(seed, start, image) for seed in (0, 1) for start in ("conv", "conv#2", "fc") for image in (0, 1)]
    vectors = np.concatenate([random_vectors(seed, start, [image], 2, (500,))[0] for seed, start, image in keys])
    correlation = np.corrcoef(vectors) - np.eye(len(vectors))
    # 276 pairs, each with standard deviation 1/√500 = 0.045; five of them are passed once in 6000 runs
    assert len(vectors) == 24 and abs(correlation).max() < 5 / np.sqrt(500)


def test_numbers_do_not_run_into_each_other():
    """(seed 1, image 0) and (seed 0, image 1) are different keys, and so are large ones."""
    first = [random_vectors(seed, "conv", [image], 1, (8,)).tobytes() for seed, image in ((0, 1), (1, 0), (2**32, 0), (2**40, 1))]
    assert len(set(first)) == 4


def test_the_callers_generator_is_untouched():
    np.random.seed(1)
    expected = np.random.random()
    np.random.seed(1)
    random_vectors(0, "conv", [0], 3, SHAPE)
    assert np.random.random() == expected


@pytest.mark.parametrize("start", ["conv", "block/conv#2"])
def test_standard_normal(start):
    values = random_vectors(0, start, range(10), 5, (40, 50)).ravel().astype("float64")
    n = len(values)  # 100,000
    # standard errors: mean 1/√n, variance √(2/n), skewness √(6/n), kurtosis √(24/n); four of each
    assert abs(values.mean()) < 4 / np.sqrt(n)
    assert abs(values.var() - 1) < 4 * np.sqrt(2 / n)
    assert abs(stats.skew(values)) < 4 * np.sqrt(6 / n)
    assert abs(stats.kurtosis(values)) < 4 * np.sqrt(24 / n)
    assert stats.kstest(values, "norm").pvalue > 1e-3
