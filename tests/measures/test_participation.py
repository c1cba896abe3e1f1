"""Participation ratios: by hand, against numpy one location at a time, and against what random vectors must give on average."""

from __future__ import annotations

import numpy as np
import pytest
from replicas import ratio

from wel.errors import WelError
from wel.measures.participation import participation
from wel.studies.effective_rank import jackknife


def numbers(relevance):
    return [tensor.numpy() for tensor in participation(np.asarray(relevance))]


def test_three_vectors_by_hand():
    locations, layer = numbers(np.array([[[1, 0], [1, 1], [0, 2]]], "float32"))
    # |R|² = 1, 2, 4; R·R' = 1, 0, 2: (1·2 + 1·4 + 2·4) / (1 + 0 + 4) = 14/5; without the first 8/4, the second 4/0, the third 2/1
    np.testing.assert_allclose(layer, [[2.8, 2, np.inf, 2]], rtol=1e-15)
    np.testing.assert_array_equal(locations, layer[:, None])


@pytest.mark.parametrize("dtype, scale", [("float32", 1e-17), ("float32", 1.0), ("float64", 1e30)])
def test_every_location_and_the_whole_layer_are_what_numpy_gives(dtype, scale):
    relevance = (np.random.default_rng(0).standard_normal((2, 5, 3, 4, 6)) * scale).astype(dtype)
    locations, layer = numbers(relevance)
    assert locations.shape == (2, 12, 6) and layer.shape == (2, 6)
    for image in range(2):
        for column in range(6):
            kept = np.delete(relevance[image], column - 1, axis=0) if column else relevance[image]
            np.testing.assert_allclose(layer[image, column], ratio(kept), rtol=1e-11)
            at_locations = [ratio(kept[:, y, x]) for y in range(3) for x in range(4)]
            np.testing.assert_allclose(locations[image, :, column], at_locations, rtol=1e-11)


def test_an_images_numbers_do_not_depend_on_the_others():
    relevance = np.random.default_rng(1).standard_normal((4, 5, 7, 2)).astype("float32")
    for all_at_once, alone in zip(numbers(relevance), numbers(relevance[2:3])):
        np.testing.assert_array_equal(all_at_once[2:3], alone)


def test_rank_one_gives_one():
    rng = np.random.default_rng(2)
    # c_v times one direction: exact in powers of two, to rounding else; c may even be one of a location
    exact = 2.0 ** rng.integers(-3, 4, (1, 8, 5, 1)) * rng.integers(-4, 5, (1, 1, 1, 6))
    np.testing.assert_array_equal(numbers(exact)[0], 1)
    rounded = rng.standard_normal((1, 8, 5, 1)) * rng.standard_normal((1, 1, 1, 6))
    np.testing.assert_allclose(numbers(rounded)[0], 1, atol=1e-14)
    np.testing.assert_allclose(numbers(rounded.astype("float32"))[0], 1, atol=1e-13)
    assert numbers(rounded)[1].min() > 1.5  # the whole layer is not: its 5 locations go their own ways


def test_what_has_no_direction_has_no_rank():
    relevance = np.ones((1, 4, 3, 2), "float32")
    relevance[0, 1:, 0] = 0  # one vector is left, and no pair
    relevance[0, 2, 1, 0] = np.inf
    relevance[0, 3, 2, 1] = np.nan
    locations, layer = numbers(relevance)
    assert np.isnan(locations[0, 0]).all() and np.isnan(layer[0, 0])
    assert np.isnan(locations[0, 1:]).all()


def test_both_sums_are_unbiased_and_the_ratio_is_nearly():
    # S = diag(4, 2, 1, 1): p = 8² / (16 + 4 + 1 + 1) = 64/22
    results = np.random.default_rng(3).standard_normal((20000, 6, 4)) * np.sqrt([4, 2, 1, 1])
    gram = results @ results.transpose(0, 2, 1)
    off = ~np.eye(6, dtype=bool)
    norms = np.diagonal(gram, axis1=1, axis2=2)
    above, below = (norms[:, :, None] * norms[:, None])[:, off].mean(1), (gram**2)[:, off].mean(1)
    for sums, expected in ((above, 64), (below, 22)):
        assert abs(sums.mean() - expected) < 4 * sums.std() / np.sqrt(len(sums))
    np.testing.assert_allclose(numbers(results)[1][:, 0], above / below, rtol=1e-9)
    # tr S³ = 64 + 8 + 1 + 1, tr S⁴ = 256 + 16 + 1 + 1; the relative error of one is about 0.12, that of their mean a 40th
    many = numbers(np.random.default_rng(4).standard_normal((1600, 48, 4)) * np.sqrt([4, 2, 1, 1]))[1][:, 0]
    assert abs(many.mean() / (64 / 22) - (1 + 8 / 48 * (274 / 22**2 - 74 / (8 * 22)))) < 0.012


@pytest.mark.parametrize("vectors", [16, 32])
def test_the_number_of_vectors_does_not_limit_it_but_its_error_does(vectors):
    found = numbers(np.random.default_rng(5).standard_normal((600, vectors, 200)))[1]
    estimates = found[:, 0]
    # E[x²] = 1, Var[x²] = 2 for x ~ N(0, 1): over V(V−1)/2 pairs the denominator has a relative variance of 4/(V(V−1))
    spread = np.sqrt(4 / vectors / (vectors - 1))
    assert abs(estimates.mean() / 200 - (1 + spread**2)) < 0.04 and vectors < estimates.min()
    assert abs(estimates.std() / 200 / spread - 1) < 0.25
    jackknifed = np.sqrt(np.mean([jackknife(found[image : image + 1])[1] ** 2 for image in range(600)]))
    assert 1 < jackknifed / estimates.std() < 1.6  # flat spectrum: √2


def test_the_jackknife_tells_the_error_where_one_direction_dominates():
    found = numbers(np.random.default_rng(6).standard_normal((600, 16, 5)) * [3, 1, 1, 1, 1])[1]
    jackknifed = np.sqrt(np.mean([jackknife(found[image : image + 1])[1] ** 2 for image in range(600)]))
    assert 0.9 < jackknifed / found[:, 0].std() < 1.5


def test_two_vectors_are_refused():
    with pytest.raises(WelError, match=r"three or more vectors V"):
        participation(np.ones((1, 2, 3), "float32"))
