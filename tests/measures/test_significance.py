"""Means of few numbers: intervals and Welch's test by hand, and against scipy's."""

from __future__ import annotations

import numpy as np
import pytest
from scipy import stats

from wel.measures.significance import larger_than_all, mean_interval, welch


def test_welch_by_hand():
    # means 2 and 5, variances 1 and 20/3: squared errors 1/3 and 5/3, t = −3/√2
    t, p = welch(np.array([1.0, 2.0, 3.0]), np.array([2.0, 4.0, 6.0, 8.0]))
    assert t == pytest.approx(-3 / np.sqrt(2))
    # 2² / ((1/3)²/2 + (5/3)²/3) degrees of freedom
    assert p == pytest.approx(2 * stats.t.sf(3 / np.sqrt(2), 4 / (1 / 18 + 25 / 27)))


def test_welch_is_scipys():
    rng = np.random.default_rng(0)
    for _ in range(20):
        one, other = rng.random(7), rng.normal(0.3, 2, 12)
        assert welch(one, other) == pytest.approx(tuple(stats.ttest_ind(one, other, equal_var=False)), rel=1e-12)


def test_numbers_without_spread():
    ones, zeros = np.ones(5), np.zeros(5)
    assert welch(ones, zeros) == (np.inf, 0) and welch(zeros, ones) == (-np.inf, 0) and welch(ones, ones) == (0, 1)
    # of 0, 0, 1, 1: mean ½, s² = 4 · ¼ / 3, squared error 1/12
    assert welch(ones, np.array([0.0, 0, 1, 1]))[0] == pytest.approx(0.5 / np.sqrt(1 / 12))


def test_interval_by_hand():
    # mean 2, s = 1, n = 3: 2 ± 4.3027 / √3
    assert mean_interval(np.array([1.0, 2.0, 3.0])) == pytest.approx((2 - 4.302653 / np.sqrt(3), 2 + 4.302653 / np.sqrt(3)), rel=1e-6)
    assert mean_interval(np.ones(4)) == (1, 1)


def test_larger_than_all_by_hand():
    # of 1, 2, 3: mean 2, s = 1; t = (5 − 2) / √(1 + 1/3) with 2 degrees of freedom
    others = np.array([1.0, 2.0, 3.0])
    assert larger_than_all(5, others) == pytest.approx(stats.t.sf(3 / np.sqrt(4 / 3), 2))
    # each made from half of all there is: s² of independent ones is twice as large
    assert larger_than_all(5, others, 0.5) == pytest.approx(stats.t.sf(3 / np.sqrt(8 / 3), 2))
    assert larger_than_all(2, others) == 0.5
    assert [larger_than_all(value, np.ones(4)) for value in (2, 1, 0)] == [0, 1, 1]


def test_larger_than_all_is_as_rare_as_it_says():
    """Of sets of 20 numbers, drawn from 40, means are compared with the mean of 20 others: p is uniform."""
    found = []
    for seed in range(1000):
        rng = np.random.default_rng(seed)
        pool = rng.standard_normal(40)
        others = np.array([rng.permutation(pool)[:20].mean() for _ in range(200)]) - pool.mean()
        found.append(larger_than_all(rng.standard_normal(20).mean(), others, 20 / 40))
    assert [np.mean(np.array(found) < level) for level in (0.05, 0.5)] == pytest.approx([0.05, 0.5], abs=0.03)
