"""wel.measures.cosine: cosines by hand, against exact arithmetic, at the limits of float32; SSIM by hand and against scikit-image."""

from __future__ import annotations

import tracemalloc
from decimal import Decimal, localcontext
from fractions import Fraction
from itertools import combinations
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from wel.errors import WelError
from wel.measures import cosine as metrics
from wel.measures.cosine import chance_level, pairwise_abs_cosine
from wel.measures.similarity import SSIM_RANGE, SSIM_WINDOW, is_picture, rank_correlations, reduce_channels, ssim, whole_cosines

pytestmark = pytest.mark.filterwarnings("error")


def normal(*shape: int, seed: int = 0) -> np.ndarray:
    return np.random.default_rng(seed).standard_normal(shape).astype(np.float32)


def exact_distance(one: np.ndarray, other: np.ndarray) -> float:
    """1 - |cos| of two float32 vectors, in rational arithmetic up to the last square root, which has 60 digits."""
    one, other = [Fraction(float(x)) for x in one], [Fraction(float(x)) for x in other]
    dot = sum(a * b for a, b in zip(one, other))
    square = dot * dot / (sum(a * a for a in one) * sum(b * b for b in other))
    with localcontext() as context:
        context.prec = 60
        return float(1 - (Decimal(square.numerator) / Decimal(square.denominator)).sqrt())


def test_cosines_by_hand():
    # |(1, 0)| = 1, |(1, 1)| = √2, |(3, -4)| = 5; dot products 1, 3 and 3 - 4 = -1
    cosines = pairwise_abs_cosine(np.array([[1, 0], [1, 1], [3, -4]], np.float32))
    assert cosines.dtype == np.float64
    np.testing.assert_allclose(cosines, [[1 / np.sqrt(2), 3 / 5, 1 / (5 * np.sqrt(2))]], rtol=4e-16)


@pytest.mark.parametrize("spatial", [(), (7,), (2, 3), (2, 3, 4)])
def test_every_location_and_pair_in_order(spatial):
    relevance = normal(4, *spatial, 6)
    located = relevance.reshape(4, -1, 6).astype(float)
    expected = [
        [abs(a @ b) / np.linalg.norm(a) / np.linalg.norm(b) for a, b in combinations(located[:, place], 2)]
        for place in range(located.shape[1])
    ]
    np.testing.assert_allclose(pairwise_abs_cosine(relevance), expected, rtol=0, atol=1e-15)


def test_one_vector_has_no_pairs():
    assert pairwise_abs_cosine(normal(1, 2, 3, 4)).shape == (6, 0)


def test_one_channel_is_always_parallel():
    np.testing.assert_array_equal(pairwise_abs_cosine(np.float32([[[2], [-3]], [[-5], [7]]])), [[1], [1]])


@pytest.mark.parametrize("bad", [np.zeros(3), [np.inf, 1, 1], [-np.inf, 0, 0], [np.nan, 1, 1], [np.inf, -np.inf, 0]])
def test_a_vector_without_direction_makes_its_own_pairs_nan_only(bad):
    relevance = normal(3, 5, 3)
    expected = pairwise_abs_cosine(relevance)
    relevance[1, 2] = bad
    expected[2, [0, 2]] = np.nan  # the pairs (0, 1) and (1, 2) at location 2; (0, 2) stays
    np.testing.assert_array_equal(pairwise_abs_cosine(relevance), expected)


@pytest.mark.parametrize("exponents", [(-100, -100, -100), (100, 100, 100), (-100, 100, 0)])
def test_scale_does_not_matter(exponents):
    # 2^±100 is 1e±30; a power of two changes no digit, so the mantissas, hence the cosines to the last few bits, stay
    relevance = normal(3, 4, 8)
    scaled = np.ldexp(relevance, np.array(exponents)[:, None, None])
    assert scaled.dtype == np.float32
    np.testing.assert_allclose(pairwise_abs_cosine(scaled), pairwise_abs_cosine(relevance), rtol=0, atol=2.3e-16)


def test_the_ends_of_float32():
    tiny, huge = np.finfo(np.float32).smallest_subnormal, np.finfo(np.float32).max
    cosines = pairwise_abs_cosine(np.array([[tiny, 0], [huge, huge], [0, 3 * tiny]], np.float32))
    np.testing.assert_allclose(cosines, [[np.sqrt(0.5), 0, np.sqrt(0.5)]], rtol=4e-16)


@pytest.mark.parametrize("channels", [3, 64, 4096])
@pytest.mark.parametrize("noise", [1e-1, 1e-3, 1e-5, 1e-7, 0])
def test_accurate_next_to_one(channels, noise):
    base = np.abs(normal(channels))
    relevance = np.stack([base, np.float32(-0.3) * (base + noise * normal(channels, seed=1)).astype(np.float32)])
    distance = exact_distance(*relevance)
    # half a unit in the last place below 1 for the rounding of the result, as much again for the arithmetic
    assert abs((1 - pairwise_abs_cosine(relevance)[0, 0]) - distance) <= 1.2e-16 + 1e-13 * distance


def test_parallel_vectors_give_exactly_one():
    base = normal(6, 500)
    np.testing.assert_array_equal(pairwise_abs_cosine(np.stack([base, -base, 2 * base, base / 1024])), np.ones((6, 6)))


@given(hnp.arrays(np.float32, st.tuples(st.integers(2, 4), st.integers(1, 3), st.integers(1, 5)), elements=st.floats(width=32)))
def test_always_in_the_unit_interval_or_nan(relevance):
    cosines = pairwise_abs_cosine(relevance)
    usable = np.isfinite(relevance).all(axis=-1) & (relevance != 0).any(axis=-1)
    pairs = np.stack([usable[a] & usable[b] for a, b in combinations(range(len(relevance)), 2)], axis=1)
    np.testing.assert_array_equal(np.isfinite(cosines), pairs)
    assert ((cosines[pairs] >= 0) & (cosines[pairs] <= 1)).all()


@pytest.mark.parametrize("channels", [1, 3, 64, 67])
def test_chunks_and_memory_layout_change_no_bit(channels, monkeypatch):
    relevance = normal(5, 6, 7, channels)
    relevance[2] = relevance[1] + np.float32(1e-4) * relevance[2]
    expected = pairwise_abs_cosine(relevance)
    channels_first = np.ascontiguousarray(np.moveaxis(relevance, -1, 1))
    np.testing.assert_array_equal(pairwise_abs_cosine(np.moveaxis(channels_first, 1, -1)), expected)
    for values in (1, 4 * 5 * channels, 41 * 5 * channels):  # chunks of one, four and 41 of the 42 locations
        monkeypatch.setattr(metrics, "CHUNK_VALUES", values)
        np.testing.assert_array_equal(pairwise_abs_cosine(relevance), expected)


def test_memory_is_bounded():
    relevance = np.ones((5, 128, 128, 32), np.float32)  # 21 MB in float64
    tracemalloc.start()
    cosines = pairwise_abs_cosine(relevance)
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert peak - cosines.nbytes < 5 * 8 * metrics.CHUNK_VALUES


def test_chance_level_in_closed_form():
    assert chance_level(1) == 1
    assert chance_level(2) == pytest.approx(np.cos(np.pi / 4), rel=1e-12)  # the angle is uniform in [0, π/2]
    assert chance_level(3) == pytest.approx(0.5, rel=1e-12)  # on the sphere one coordinate is uniform in [-1, 1] (Archimedes)
    # √c·cos tends to N(0, 1), whose median absolute value is 0.67449
    assert chance_level(10**6) == pytest.approx(0.67449e-3, rel=1e-5)


@pytest.mark.parametrize("channels, rounded", [(64, 0.085), (512, 0.030)])
def test_chance_level_of_the_papers_layers(channels, rounded):
    assert round(chance_level(channels), 3) == rounded
    # 40,000 draws: the median's standard error is 1 / (2 f √n) with density f = 0.6356 √c at the median, so 0.0039 / √c
    median = np.median(pairwise_abs_cosine(normal(2, 40_000, channels)))
    assert abs(median - chance_level(channels)) < 4 * 0.0039 / np.sqrt(channels)


def test_chance_level_needs_a_channel():
    with pytest.raises(WelError, match=r"^Invalid value for `channels`: 0\. Expected at least 1\.$"):
        chance_level(0)


@pytest.fixture(scope="module")
def golden() -> dict[str, np.ndarray]:
    with np.load(Path(__file__).parents[1] / "golden" / "ssim.npz") as file:
        return {name: file[name] for name in file.files}


def test_ssim_of_the_original_stack(golden):
    found = [ssim(*pair, "paper", percentile) for pair, percentile in zip(golden["maps"], golden["percentiles"])]
    np.testing.assert_allclose(found, golden["paper"], rtol=0, atol=1e-6)


def test_scikit_image_0_16_2s_default_for_floats(golden):
    from skimage.metrics import structural_similarity

    settings = {"win_size": SSIM_WINDOW, "data_range": SSIM_RANGE["paper"]}
    found = [structural_similarity(*pair.astype("float64"), **settings) for pair in golden["maps"]]
    np.testing.assert_allclose(found, golden["plain"], rtol=0, atol=1e-6)


@pytest.mark.parametrize("semantics, top, span", [("paper", 0, 2), ("corrected", 1, 1)])
def test_ssim_by_hand(semantics, top, span):
    # 5 × 5 is one window: the mean over it is the formula itself, with the sample covariance over 25 values.
    # Percentile 100 scales a to min 0, max 1 (swapped in `paper`); b = a + 0.3·noise is nearer to a than −b is.
    a = normal(5, 5, seed=1).astype("float64")
    b = a + 0.3 * normal(5, 5, seed=2)
    x, y = ((m - m.min()) / (m.max() - m.min()) for m in (a, b))
    x, y = (x, y) if top else (1 - x, 1 - y)
    expected = window_ssim(x, y, span)
    if semantics == "corrected":
        expected = max(expected, window_ssim(1 - x, 1 - y, span))
    assert ssim(a, b, semantics, percentile=100) == pytest.approx(expected, abs=1e-12)


def window_ssim(x: np.ndarray, y: np.ndarray, span: float) -> float:
    """SSIM of one window, by its formula."""
    (vx, vxy), (_, vy) = np.cov(x.ravel(), y.ravel())
    c1, c2 = (0.01 * span) ** 2, (0.03 * span) ** 2
    return (2 * x.mean() * y.mean() + c1) * (2 * vxy + c2) / ((x.mean() ** 2 + y.mean() ** 2 + c1) * (vx + vy + c2))


def test_a_flip_of_one_map_is_not_a_flip_of_the_other():
    # maps of opposite sign; scaled to [0, 1] and swapped, a flipped map is 1 minus the other, so the means differ, and SSIM with them
    a = np.exp(normal(5, 5, seed=2).astype("float64"))  # lopsided, so that the means lie far from 1/2
    b = -a + 0.3 * normal(5, 5, seed=9)
    x, y = ((m - m.min()) / (m.max() - m.min()) for m in (a, b))
    assert ssim(a, b, "paper", 100) == pytest.approx(window_ssim(1 - x, y, 2), abs=1e-12)
    assert ssim(b, a, "paper", 100) == pytest.approx(window_ssim(1 - y, x, 2), abs=1e-12)
    assert abs(ssim(a, b, "paper", 100) - ssim(b, a, "paper", 100)) > 0.01
    largest = max(window_ssim(1 - x, y, 1), window_ssim(x, 1 - y, 1))
    assert ssim(a, b, "corrected", 100) == pytest.approx(largest, abs=1e-12)


def test_corrected_ssim_does_not_see_which_map_comes_first_nor_any_sign():
    a, b = normal(2, 9, 12)
    values = [ssim(*pair, "corrected") for pair in ((a, b), (b, a), (-a, b), (a, -b), (-b, -a))]
    assert values == pytest.approx([values[0]] * 5, abs=1e-12)


@pytest.mark.parametrize("semantics", ["paper", "corrected"])
def test_ssim_does_not_see_scale_shift_or_sign(semantics):
    a, b = normal(2, 9, 12)
    assert ssim(a, a, semantics) == pytest.approx(1, abs=1e-12)
    assert ssim(a, -a, semantics) == pytest.approx(1, abs=1e-12)
    # powers of two leave every float32 as exact as it was
    assert ssim(a, b, semantics) == pytest.approx(ssim(4 * a, b / 8, semantics), abs=1e-12)
    assert ssim(a, b, semantics) == ssim(a, -b, semantics) < 0.9


def test_ssim_cuts_what_lies_beyond_the_percentiles():
    a, b = normal(2, 30, 40)
    a[3, 4], b[5, 6] = 1e6, -1e6  # one of 1200 pixels is beyond the 99.5th percentile, or its mirror
    assert ssim(a, b) < 0.5 < ssim(a, b, percentile=100)


def test_ssim_is_not_defined_for_maps_without_spread():
    a = normal(6, 6)
    holed = np.where(np.arange(6) == 2, np.nan, a)
    assert np.isnan([ssim(a, np.zeros((6, 6))), ssim(np.ones((6, 6)), a, "corrected"), ssim(a, holed), ssim(holed, a)]).all()


@pytest.mark.parametrize(
    "a, b, settings, sentence",
    [
        (np.ones((4, 9)), np.ones((4, 9)), {}, r"^Invalid value for `a` and `b`: maps of shapes \(4, 9\) and \(4, 9\)\. "),
        (np.ones((5, 5)), np.ones((5, 6)), {}, r"\. Expected two of one shape, 5 × 5 or more\.$"),
        (np.ones((5, 5, 3)), np.ones((5, 5, 3)), {}, "^Invalid value for `a` and `b`: "),
        (np.ones((5, 5)), np.ones((5, 5)), {"semantics": "both"}, "^Invalid value for `semantics`: 'both'. Expected 'paper' or "),
    ],
)
def test_maps_that_ssim_cannot_compare(a, b, settings, sentence):
    with pytest.raises(WelError, match=sentence):
        ssim(a, b, **settings)


def test_channels_become_one():
    maps = np.array([[[1, -4, 2], [0, 3, -3]]])
    np.testing.assert_array_equal(reduce_channels(maps, "sum"), [[-1, 0]])
    np.testing.assert_array_equal(reduce_channels(maps, "max_abs"), [[4, 3]])
    np.testing.assert_allclose(reduce_channels(maps, "mean"), [[-1 / 3, 0]])
    with pytest.raises(WelError, match="^Invalid value for `reduction`: 'max'. Expected one of sum, mean, max_abs.$"):
        reduce_channels(maps, "max")


def test_rank_correlation_by_hand():
    # ranks of (1, 5, 3, 9) are 1, 3, 2, 4 and of (-2, -9, -7, -1) are 3, 1, 2, 4: d = (-2, 2, 0, 0), rho = 1 - 6 * 8 / (4 * 15) = 0.2
    one = np.array([[1.0, 5, 3, 9], [1, 2, 3, 4], [1, 2, 3, 4], [1, 2, np.nan, 4]])
    # the opposite order is as alike as the same one; a constant map has no ranks
    other = np.array([[-2.0, -9, -7, -1], [8, 6, 4, 2], [5, 5, 5, 5], [1, 2, 3, 4]])
    np.testing.assert_allclose(rank_correlations(one, other), [0.2, 1, np.nan, np.nan], atol=1e-12)


def test_maps_of_no_picture_are_compared_by_their_cosine():
    # rows (3, 4, 0) and (4, 3, 0): |cos| = 24/25; against (0, 0, 1): 0; zero has none
    one = np.array([[3.0, 4, 0], [3, 4, 0], [0, 0, 0]])
    other = np.array([[-4.0, -3, 0], [0, 0, 1], [1, 1, 1]])
    np.testing.assert_allclose(whole_cosines(one, other), [0.96, 0, np.nan])
    assert is_picture((5, 5, 1)) and not is_picture((4, 5, 3)) and not is_picture((12,))
