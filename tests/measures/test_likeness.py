"""By what maps are compared: against SciPy, scikit-image and by hand, with signs and without, and how they refuse."""

from __future__ import annotations

import numpy as np
import pytest
from scipy import stats
from skimage.feature import hog

from wel.errors import WelError
from wel.measures.complexity import complexity_rises
from wel.measures.likeness import MEASURES, Likeness, Look, likeness
from wel.measures.similarity import correlations, hog_correlation, normalised, similarity

LOOK = Look("sum", 99.5, "paper")


@pytest.fixture
def maps():
    """Two stacks of three maps of both signs, alike to some degree."""
    one, noise = np.random.default_rng(0).standard_normal((2, 3, 20, 24, 3))
    return one, 0.7 * one - noise


def of(measure: str, one: np.ndarray, other: np.ndarray, look: Look = LOOK, **settings) -> np.ndarray:
    return likeness(True, measure, **settings).of(one, other, look)[measure]


@pytest.mark.parametrize("absolute", [False, True])
def test_cosines_and_rank_correlations_are_of_all_values(maps, absolute):
    signed = np.abs if absolute else np.asarray
    for number, (a, b) in enumerate(zip(*(signed(one).reshape(3, -1) for one in maps))):
        assert of("cosine", *maps, absolute=absolute)[number] == pytest.approx(abs(a @ b) / np.sqrt((a @ a) * (b @ b)), rel=1e-12)
        found = of("rank_correlation", *maps, absolute=absolute)[number]
        assert found == pytest.approx(abs(stats.spearmanr(a, b)[0]), rel=1e-12)


@pytest.mark.parametrize("absolute", [False, True])
def test_ssim_and_hog_are_of_reduced_maps(maps, absolute):
    signed = np.abs if absolute else np.asarray
    reduced = [signed(one.sum(-1)) for one in maps]
    expected = similarity(reduced[0][..., None], reduced[1][..., None], "sum", 99.5, "paper")
    np.testing.assert_array_equal(of("ssim", *maps, absolute=absolute), expected)
    assert of("hog", *maps, absolute=absolute) == pytest.approx([hog_correlation(a, b) for a, b in zip(*reduced)], rel=1e-12)
    # the largest absolute value has no sign to lose
    gradient = Look("max_abs", 99.5, "corrected")
    np.testing.assert_array_equal(of("ssim", *maps, gradient, absolute=absolute), similarity(*maps, "max_abs", 99.5, "corrected"))


def test_hog_is_pearsons_correlation_of_scikit_images_features():
    a, b = np.random.default_rng(1).random((2, 96, 80))
    # cells of 16, of which a quarter of 80 is more; blocks of 3 × 3 of 6 × 5 cells: 4 · 3 · 9 · 9 numbers
    features = [hog(normalised(one), 9, (16, 16), (3, 3), "L2-Hys") for one in (a, b)]
    assert features[0].shape == (4 * 3 * 81,)
    assert hog_correlation(a, b) == pytest.approx(np.corrcoef(*features)[0, 1], rel=1e-6)


def test_hog_sees_directions_and_neither_scale_nor_sign():
    across, down = np.meshgrid(*[np.sin(np.arange(32.0))] * 2)
    assert hog_correlation(across, down) < 0 < 0.9 < hog_correlation(across, 3 * across)
    noise = np.random.default_rng(0).standard_normal((32, 32))
    assert hog_correlation(noise, noise) == pytest.approx(1) == hog_correlation(noise, -noise)
    assert hog_correlation(noise, across) == pytest.approx(hog_correlation(1e-9 * noise, across), abs=1e-6)
    for undefined in (np.zeros((32, 32)), np.where(np.eye(32), np.nan, noise), np.where(np.eye(32), np.inf, noise)):
        assert np.isnan(hog_correlation(noise, undefined)) and np.isnan(hog_correlation(undefined, noise))


@pytest.mark.parametrize("shape", [(5, 5), (8, 8), (5, 300), (7, 9)])
def test_small_maps_have_histograms_too(shape):
    a, b = np.random.default_rng(0).random((2, *shape))
    assert hog_correlation(a, a) == pytest.approx(1) and abs(hog_correlation(a, b)) < 0.9


def test_correlations_are_pearsons():
    one, other = np.random.default_rng(0).random((2, 3, 4, 5), dtype="float32")
    expected = [np.corrcoef(a.ravel(), b.ravel())[0, 1] for a, b in zip(one, other)]
    np.testing.assert_allclose(correlations(one, other), expected, rtol=1e-5)
    assert correlations(one, -2 * one) == pytest.approx([-1] * 3)
    # the mean of a constant is rounded
    assert np.isnan(correlations(one, np.full_like(one, 0.1))).all()


def test_a_map_against_itself_and_against_nothing(maps):
    one = maps[0]
    for measure, expected in {"ssim": 1, "cosine": 1, "rank_correlation": 1, "hog": 1, "complexity_rise": 0}.items():
        assert of(measure, one, one) == pytest.approx([expected] * 3, abs=1e-12)
        assert np.isnan(of(measure, one, 0 * one)).all() and np.isnan(of(measure, one, np.nan * one)).all()
    assert set(MEASURES) == {"ssim", "cosine", "rank_correlation", "hog", "complexity_rise"}


def test_the_rise_takes_bins_and_signs(maps):
    np.testing.assert_array_equal(of("complexity_rise", *maps, bins=30), complexity_rises(*maps, 30))
    np.testing.assert_array_equal(of("complexity_rise", *maps, absolute=True), complexity_rises(*map(np.abs, maps)))


def test_defaults():
    assert likeness(True) == Likeness(("ssim",)) and likeness(False) == Likeness(("cosine", "rank_correlation"))
    assert likeness(False, ["complexity_rise", "cosine", "cosine"]).measures == ("complexity_rise", "cosine")


@pytest.mark.parametrize(
    ("settings", "sentence"),
    [
        (
            {"measures": "mse"},
            "^Invalid value for `measures`: 'mse'. Expected one of ssim, cosine, rank_correlation, hog, complexity_rise.$",
        ),
        ({"measures": []}, r"^Invalid value for `measures`: \[\]. Expected one or more measures.$"),
        ({"drawn": False, "measures": ["cosine", "hog"]}, "^Invalid value for `measures`: 'hog'. Expected one of cosine, .* no pictures.$"),
        ({"bins": 1, "measures": "complexity_rise"}, "^Invalid value for `bins`: 1. Expected a whole number from 2 on.$"),
        ({"bins": 20}, "^Invalid value for `bins`: 20. Expected none without the measure 'complexity_rise'.$"),
    ],
)
def test_mistakes(settings, sentence):
    with pytest.raises(WelError, match=sentence):
        likeness(**{"drawn": True, **settings})
