"""Complexity of maps: entropy and numbers of bins by hand, and the rise as Quantus has it."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from wel.measures.complexity import complexity, complexity_rises, histogram_bins


@pytest.fixture
def rng():
    return np.random.default_rng(0)


def test_entropy_by_hand():
    # in bins [0, 1), [1, 2), [2, 3), [3, 4]: 2, 1, 0 and 1 of 4 values: ½ ln 2 + 2 · ¼ ln 4 = 1.5 ln 2
    assert complexity(np.array([[0.0, 0.9], [1.0, 4.0]]), 4) == pytest.approx(1.5 * np.log(2), rel=1e-14)
    assert complexity(np.full((3, 3), 0.1), 7) == 0
    assert complexity(np.arange(50.0), 50) == pytest.approx(np.log(50))
    assert np.isnan(complexity(np.array([1.0, np.nan]), 4)) and np.isnan(complexity(np.array([1.0, np.inf]), 4))


def test_entropy_knows_no_scale_and_no_sign(rng):
    values = rng.standard_normal((6, 6, 3))
    assert complexity(8 * values, 20) == complexity(values, 20) == pytest.approx(complexity(-values, 20), rel=1e-12)


def test_bins_by_hand():
    # 0 … 1000: quartiles 250 and 750, width 2 · 500 / ∛1001 = 99.97, 1000 / 99.97 = 10.003 → 11
    assert histogram_bins(np.arange(1001.0)) == 11
    # of 27 values 0 … 26 quartiles 6.5 and 19.5, width 26/3, 3 bins: at least 10
    assert histogram_bins(np.arange(27.0).reshape(3, 9)) == 10
    # one value far away: 1e6 / 99.97 is more than 200
    assert histogram_bins(np.append(np.arange(1000.0), 1e6)) == 200
    # most values are 0, so that both quartiles are
    assert histogram_bins(np.eye(20)) == 200


def test_bins_are_those_of_numpy_between_the_bounds(rng):
    for size in (400, 3000, 20000):
        values = rng.standard_normal(size)
        assert histogram_bins(values) == len(np.histogram_bin_edges(values, "fd")) - 1


def test_a_rise_by_hand():
    # two bins: of 0, 0, 0, 1 the entropy is ¾ ln 4/3 + ¼ ln 4; of 0, 0, 1, 1 it is ln 2
    before, after = np.array([[0.0, 0, 0, 1]]), np.array([[5.0, 5, 9, 9]])
    entropy = 0.75 * np.log(4 / 3) + 0.25 * np.log(4)
    assert complexity_rises(after, before, 2) == pytest.approx([np.log(2) / entropy - 1])
    assert complexity_rises(before, before) == [0] and complexity_rises(0 * before, before) == [-1]
    assert np.isnan(complexity_rises(before, 0 * before)).all() and np.isnan(complexity_rises(before * np.nan, before)).all()


def test_both_maps_have_the_bins_of_the_trained_networks_one(rng):
    trained, random = rng.standard_normal((1, 500)), rng.standard_normal((1, 500)) ** 9
    assert histogram_bins(trained) != histogram_bins(random)
    assert complexity_rises(random, trained) == complexity_rises(random, trained, histogram_bins(trained))


def test_an_image_does_not_depend_on_the_others(rng):
    trained, random = rng.standard_normal((2, 4, 8, 8, 3))
    whole = complexity_rises(random, trained)
    np.testing.assert_array_equal(np.concatenate([complexity_rises(random[i : i + 1], trained[i : i + 1]) for i in range(4)]), whole)


def quantus_bins(maps: np.ndarray) -> int:
    """Freedman & Diaconis by Quantus 0.6: over all maps together, n being how many axes one map has, (channels, height, width)."""
    width = 2 * np.subtract(*np.percentile(maps, (75, 25))) / np.cbrt(3)
    return int(np.clip(int(np.ptp(maps) / width), 10, 200))


def test_quantus_counts_axes_where_values_are_meant(mprt_maps, mprt):
    trained, random = mprt_maps
    assert quantus_bins(trained) == mprt["bins/Freedman Diaconis"] == 10
    assert [histogram_bins(one) for one in trained] == [len(np.histogram_bin_edges(one, "fd")) - 1 for one in trained]


@pytest.mark.parametrize("rule", ["default", "Freedman Diaconis"])
def test_quantus_finds_the_same_rise_with_as_many_bins(mprt_maps, mprt, rule):
    trained, random = mprt_maps
    np.testing.assert_allclose(complexity_rises(random, trained, int(mprt[f"bins/{rule}"])), mprt[f"emprt/{rule}"], rtol=0, atol=1e-6)


@pytest.fixture(scope="module")
def mprt():
    with np.load(Path(__file__).parents[1] / "golden" / "mprt.npz") as file:
        return dict(file)


@pytest.fixture(scope="module")
def mprt_maps(mprt):
    """Gradients of the trained and of the fully random network of tests/golden/make_mprt.py."""
    return mprt["maps/trained"], mprt["maps/random"]
