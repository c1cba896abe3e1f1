"""wel.measures.counts: the grid, its edges and its error; counts that merge; percentiles and bootstrap against numpy on the raw values."""

from __future__ import annotations

import io
import math
from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from wel.errors import WelError
from wel.measures import counts as statistics
from wel.measures.counts import BINS, CENTRES, FINE, FINE_EDGES, HISTOGRAM_EDGES, LINEAR_EDGES, LOG_EDGES, CosineCounts, bin_indices

pytestmark = pytest.mark.filterwarnings("error")

PERCENTS = [0, 1, 5, 10, 20, 50, 80, 95, 99, 100]
KEYS = ["values", "nan_fraction", "median", "mean", *(f"p{p}" for p in PERCENTS), "ci_low", "ci_high"]
ULP = 2.0**-53  # the step of float64 between 1/2 and 1


def bound(cosines):
    """The grid's error, 1e-4 in |cos| and 1 % of 1 - |cos|; half a step for the rounding of |cos|, one for the test's arithmetic."""
    return np.minimum(1e-4, 0.01 * (1 - np.asarray(cosines))) + 1.5 * ULP


def draws(kind: str, shape: tuple, seed: int = 0) -> np.ndarray:
    rng = np.random.default_rng(seed)
    return {
        "chance": lambda: np.sqrt(rng.beta(0.5, 31.5, shape)),
        "uniform": lambda: rng.uniform(0, 1, shape),
        "high": lambda: rng.beta(30, 0.5, shape),
        "converged": lambda: 1 - 1e-9 * rng.exponential(1, shape),
        "exact": lambda: 1 - rng.integers(0, 200, shape) * ULP,
        "mixed": lambda: 1 - 10 ** rng.uniform(-17, 0, shape),
    }[kind]()


KINDS = ["chance", "uniform", "high", "converged", "exact", "mixed"]


def counted(values) -> CosineCounts:
    """One image per row; the rows may differ in length."""
    return CosineCounts.merged(CosineCounts.of(image, row) for image, row in enumerate(values))


def assert_same(one: CosineCounts, other: CosineCounts) -> None:
    one, other = one.to_arrays(), other.to_arrays()
    assert list(one) == list(other)
    for name, array in one.items():
        assert array.dtype == other[name].dtype and array.tobytes() == other[name].tobytes(), name


# the grid


def test_the_grid():
    assert BINS == 4950 + 14 * 116 + 1 == len(CENTRES)
    np.testing.assert_allclose(np.diff(LINEAR_EDGES), 2e-4, rtol=0, atol=1.2e-16)
    np.testing.assert_allclose(LOG_EDGES[1:] / LOG_EDGES[:-1], 10 ** (-1 / 116), rtol=1e-12)
    assert LOG_EDGES[0] == 0.99 - 1 and LOG_EDGES[-1] == pytest.approx(-1e-16, rel=1e-12)
    assert (np.diff(CENTRES) >= 0).all() and CENTRES[-1] == 1


def test_a_bin_holds_its_lower_edge_and_not_its_upper():
    below = np.nextafter(LINEAR_EDGES[1:], 0)
    np.testing.assert_array_equal(bin_indices(LINEAR_EDGES), np.arange(4951))
    np.testing.assert_array_equal(bin_indices(below), np.arange(4950))


@pytest.mark.parametrize("kind", KINDS)
def test_bins_are_those_of_a_binary_search(kind):
    near = 1 + LOG_EDGES
    cosines = np.concatenate([draws(kind, 5000), LINEAR_EDGES, near, np.nextafter(near, 0), np.minimum(1, np.nextafter(near, 2))])
    linear = np.searchsorted(LINEAR_EDGES, cosines, side="right") - 1
    logarithmic = 4950 + np.searchsorted(LOG_EDGES, cosines - 1, side="right") - 1
    np.testing.assert_array_equal(bin_indices(cosines), np.where(cosines < 0.99, linear, logarithmic))


@pytest.mark.parametrize("kind", KINDS)
def test_parts_of_bins_are_those_of_a_binary_search(kind):
    assert len(FINE_EDGES) == BINS * FINE and (np.diff(FINE_EDGES) >= 0).all()
    np.testing.assert_array_equal(FINE_EDGES[: 4951 * FINE : FINE], LINEAR_EDGES)
    cosines = np.concatenate([draws(kind, 5000), FINE_EDGES, np.nextafter(FINE_EDGES, 0), np.minimum(1, np.nextafter(FINE_EDGES, 2))])
    counts, parts = CosineCounts.of(0, cosines), np.searchsorted(FINE_EDGES, cosines, side="right") - 1
    np.testing.assert_array_equal(np.repeat(counts.fine_bins, counts.fine_counts), np.sort(parts))
    np.testing.assert_array_equal(counts.pooled(), np.bincount(bin_indices(cosines), minlength=BINS))


def test_the_papers_edges_are_edges_of_the_grid():
    assert bin_indices([0, 1]).tolist() == [0, BINS - 1]
    inner = HISTOGRAM_EDGES[1:-1]
    np.testing.assert_array_equal(bin_indices(inner) - bin_indices(np.nextafter(inner, 0)), 1)


@settings(max_examples=10 * settings().max_examples)
@given(st.one_of(st.floats(0, 1), st.floats(-16, 0).map(lambda e: 1 - 10**e), st.integers(0, 5000).map(lambda k: 1 - k * ULP)))
def test_the_representative_value_is_close(cosine):
    error = abs(CENTRES[bin_indices(np.array([cosine]))[0]] - cosine)
    assert error <= min(1e-4, 0.01 * (1 - cosine)) + ULP


def test_below_fifty_float_steps_from_one_the_representative_is_exact():
    # two multiples of 2^-53 below the fiftieth are more than 2 % apart, so no bin holds two of them
    cosines = 1 - np.arange(50) * ULP
    np.testing.assert_array_equal(CENTRES[bin_indices(cosines)], cosines)


# histograms


@pytest.mark.parametrize("kind", KINDS)
def test_histograms_are_exact(kind):
    edges = np.concatenate([HISTOGRAM_EDGES, np.nextafter(HISTOGRAM_EDGES, 0), np.minimum(1, np.nextafter(HISTOGRAM_EDGES, 2))])
    values = np.concatenate([draws(kind, 3000), edges])
    np.testing.assert_array_equal(CosineCounts.of(0, values).histogram(), np.histogram(values, HISTOGRAM_EDGES)[0])


def test_each_edge_falls_into_the_bar_above_it():
    # 14 edges, 13 bars: 0 … 0.9999 open their own bar, and 1 closes the last
    assert CosineCounts.of(0, HISTOGRAM_EDGES).histogram().tolist() == [1] * 12 + [2]


def test_pooled_counts_do_not_overflow_the_small_integers_of_the_images():
    counts = counted(np.full((3, 200), 0.5))
    assert counts.counts.dtype == np.uint8
    assert counts.pooled()[2500] == 600 == counts.pooled().sum() and len(counts.pooled()) == BINS
    assert counts.histogram()[5] == 600


# percentiles and mean


def test_summary_by_hand():
    # sorted: 0.1 0.5 0.9. p20 lies at position 0.2 · 2 = 0.4: 0.1 + 0.4 · 0.4 = 0.26; p80 at 1.6: 0.5 + 0.6 · 0.4 = 0.74
    summary = counted(np.array([[0.5, 0.1], [np.nan, 0.9]])).summary(seed=0)
    assert list(summary) == KEYS
    assert (summary["values"], summary["nan_fraction"], summary["p0"], summary["p100"]) == (3, 0.25, 0.1, 0.9)
    assert summary["mean"] == pytest.approx(0.5, rel=1e-15)  # (0.6 + 0.9) / 3
    assert summary["median"] == summary["p50"] == pytest.approx(0.5, abs=1e-4)
    assert [summary["p20"], summary["p80"]] == pytest.approx([0.26, 0.74], abs=1e-4)


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("shape", [(1, 1), (1, 10), (2, 10), (7, 10), (30, 10), (4, 1001), (20, 3000)])
def test_percentiles_are_numpys(kind, shape):
    values = draws(kind, shape)
    summary = counted(values).summary(seed=0, resamples=2)
    expected = np.percentile(values, PERCENTS)
    received = np.array([summary[f"p{p}"] for p in PERCENTS])
    assert (np.abs(received - expected) <= bound(expected)).all()
    assert (received[0], received[-1]) == (values.min(), values.max()) and (np.diff(received) >= 0).all()
    assert summary["mean"] == pytest.approx(math.fsum(values.ravel()) / values.size, rel=1e-15)


def test_equal_values_give_that_value():
    summary = counted(np.full((3, 4), 0.3141592)).summary(seed=0)
    assert {summary[key] for key in KEYS if key not in ("values", "nan_fraction", "mean")} == {0.3141592}


# nothing to count


def test_no_values_at_all():
    summary = counted(np.full((2, 3), np.nan)).summary(seed=0)
    assert (summary.pop("values"), summary.pop("nan_fraction")) == (0, 1)
    assert all(math.isnan(value) for value in summary.values())


def test_no_cosines_at_all():
    counts = CosineCounts.of(4, np.empty((6, 0)))
    summary = counts.summary(seed=0)
    assert summary.pop("values") == 0 == counts.histogram().sum()
    assert all(math.isnan(value) for value in summary.values())


def test_an_image_without_values_changes_only_the_nan_fraction():
    values = draws("uniform", (6, 50))
    full, holed = counted(values), counted(np.vstack([values[:3], np.full(50, np.nan), values[3:]]))
    expected = {**full.summary(seed=1), "nan_fraction": 1 / 7}
    assert holed.summary(seed=1) == expected
    assert holed.dropped.tolist() == [0, 0, 0, 50, 0, 0, 0] and np.isnan(holed.minimum).tolist() == [False] * 3 + [True] + [False] * 3


@pytest.mark.parametrize("values", [[0.5, -1e-3], [0.5, 1 + 1e-12], [np.inf]])
def test_what_is_no_absolute_cosine_is_refused(values):
    with pytest.raises(WelError, match=r"^Invalid value for `cosines`: \[.*\]\. Expected absolute cosines in \[0, 1\] or NaN\.$"):
        CosineCounts.of(0, np.array(values))


def test_counts_from_bins():
    # part 2500 · 40 opens the bin at 0.5, and 2500 · 40 + 39 ends it; the last part of all holds 1; image 4 has no values
    bins, counts, parts, numbers = [2500, BINS - 1, 2500], [3, 200, 1], [2500 * FINE, 2500 * FINE + 39, BINS * FINE - 1], [3, 1, 200]
    arrays = np.array(bins), np.array(counts), np.array(parts), np.array(numbers)
    received = CosineCounts.from_bins([3, 4, 7], [2, 0, 1], *arrays, [0.5, np.nan, 0.5], [1, np.nan, 0.5], [201.500199, 0, 0.5], [4, 2, 0])
    values = [[1.0] * 200 + [0.5, 0.5, 0.500199, *[math.nan] * 4], [math.nan] * 2, [0.5]]
    expected = CosineCounts.merged(CosineCounts.of(image, row) for image, row in zip([3, 4, 7], values))
    assert_same(received, replace(expected, total=received.total))


# merging and storing


@settings(max_examples=settings().max_examples // 4)
@given(st.permutations(range(8)), st.lists(st.integers(0, 8), max_size=4))
def test_any_batching_and_order_give_the_same_bits(order, cuts):
    sizes = [3, 400, 0, 10, 70000, 1, 256, 10]  # counts of one and of several bytes, and an image without values
    values = [np.append(draws(KINDS[image % 6], size, seed=image), np.nan) for image, size in enumerate(sizes)]
    values[4][:] = np.tile([0.25, 1.0], 35001)[:70001]
    expected = CosineCounts.merged(CosineCounts.of(image, values[image]) for image in range(8))
    batches = [batch for batch in np.split(np.array(order), sorted(cuts)) if len(batch)]
    merged = CosineCounts.merged(CosineCounts.merged(CosineCounts.of(image, values[image]) for image in batch) for batch in batches)
    assert merged.images.tolist() == list(range(8))
    assert_same(merged, expected)
    # repr tells every bit of a float, and NaN equals NaN in it
    assert repr(merged.summary(seed=3, resamples=50)) == repr(expected.summary(seed=3, resamples=50))


def test_an_image_counts_once():
    parts = [CosineCounts.of(image, np.array([0.5])) for image in (7, 2, 7)]
    with pytest.raises(WelError, match=r"`parts`: 'image 7 twice'\. Expected every image in one part only\."):
        CosineCounts.merged(parts)


@pytest.mark.parametrize("rows", [1, 5])
def test_roundtrip_through_an_npz_file(rows):
    values = draws("mixed", (rows, 300))
    values[0, :7] = np.nan
    counts = counted(values)
    file = io.BytesIO()
    np.savez_compressed(file, **counts.to_arrays())
    file.seek(0)
    restored = CosineCounts.from_arrays(np.load(file, allow_pickle=False))
    assert_same(restored, counts)
    more = CosineCounts.of(99, values[0])
    assert_same(CosineCounts.merged([restored, more]), CosineCounts.merged([counts, more]))
    assert repr(restored.summary(seed=0)) == repr(counts.summary(seed=0))


def test_stored_arrays_are_small():
    arrays = counted(draws("uniform", (20, 1000))).to_arrays()
    assert [arrays[name].dtype for name in ("counts", "bins", "indptr", "fine_counts")] == [np.uint8, np.uint16, np.uint16, np.uint8]
    assert arrays["counts"].sum() == 20_000 and (arrays["counts"] > 0).all()


# the bootstrap


def naive_interval(images: list, seed: int, resamples: int, level: float) -> np.ndarray:
    weights = np.random.default_rng(seed).multinomial(len(images), [1 / len(images)] * len(images), size=resamples)
    medians = [np.median(np.concatenate([np.tile(values, weight) for values, weight in zip(images, row)])) for row in weights]
    return np.percentile(medians, [50 * (1 - level), 50 * (1 + level)])


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("images, size, level", [(2, 1, 0.99), (8, 10, 0.9), (25, 301, 0.99)])
def test_bootstrap_is_the_naive_one(kind, images, size, level, monkeypatch):
    monkeypatch.setattr(statistics, "_IMAGE_BLOCK", 7)
    monkeypatch.setattr(statistics, "_ALONE", 100)  # products of a few rows, which do not divide 150
    # images of different sizes, and some of them better converged than others
    values = [draws(kind, size + image % 3, seed=image) ** (1 + image % 4) for image in range(images)]
    summary = counted(values).summary(seed=5, resamples=150, level=level)
    received = [summary["ci_low"], summary["ci_high"]]
    expected = naive_interval(values, 5, 150, level)
    assert (np.abs(received - expected) <= bound(expected)).all()
    everything = np.concatenate(values)
    gridded = [np.clip(CENTRES[bin_indices(row)], everything.min(), everything.max()) for row in values]
    np.testing.assert_allclose(received, naive_interval(gridded, 5, 150, level), rtol=0, atol=ULP)


def test_bootstrap_by_hand():
    # two images of one value each: a resample's median is 0.2, 0.6 or, with one of each, 0.4, at 1/4, 1/4 and 1/2
    counts = counted(np.array([[0.2], [0.6]]))
    wide, narrow = (counts.summary(seed=0, level=level) for level in (0.99, 0.4))
    assert [wide["ci_low"], wide["ci_high"]] == pytest.approx([0.2, 0.6], abs=bound(0.2))
    assert [narrow["ci_low"], narrow["ci_high"]] == pytest.approx([0.4, 0.4], abs=bound(0.4))


def test_the_interval_depends_on_the_seed_and_holds_the_median():
    counts = counted(np.random.default_rng(0).beta(2, 5, (40, 20)) * np.linspace(0.5, 1, 40)[:, None])
    first, again, other = (counts.summary(seed=seed) for seed in (0, 0, 1))
    assert first == again
    assert (first["ci_low"], first["ci_high"]) != (other["ci_low"], other["ci_high"])
    assert first["ci_low"] < first["median"] < first["ci_high"]


def test_one_image_has_no_interval():
    summary = counted(np.vstack([draws("uniform", (1, 30)), np.full((1, 30), np.nan)])).summary(seed=0)
    assert math.isnan(summary["ci_low"]) and math.isnan(summary["ci_high"]) and 0 < summary["median"] < 1


@pytest.mark.parametrize("shape", [(0.5, 2.0), (2.0, 0.5), (5.0, 0.01)])
def test_percentiles_are_near_numpys_and_do_not_jump_with_rounding(shape):
    rng = np.random.default_rng(3)
    cosines = rng.beta(*shape, 5000)
    keys = [f"p{p}" for p in statistics.PERCENTILES]
    found = CosineCounts.of(0, cosines).summary(0)
    np.testing.assert_allclose([found[key] for key in keys], np.percentile(cosines, statistics.PERCENTILES), rtol=0, atol=2.5e-6 + 1e-12)
    rounded = CosineCounts.of(0, np.clip(cosines + 1e-8 * rng.standard_normal(5000), 0, 1)).summary(0)
    assert max(abs(found[key] - rounded[key]) for key in keys) <= 1e-5


def test_pooled_parts_merge_to_the_same_in_any_order():
    rng = np.random.default_rng(4)
    parts = [CosineCounts.of(image, rng.random(300)) for image in range(6)]
    one, other = CosineCounts.merged(parts), CosineCounts.merged([CosineCounts.merged(parts[3:]), *reversed(parts[:3])])
    np.testing.assert_array_equal(one.fine_bins, other.fine_bins)
    np.testing.assert_array_equal(one.fine_counts, other.fine_counts)
    assert one.fine_counts.sum() == 1800
