"""wel.measures.counting: |cos| counted in a graph, on both ways to count, against wel.measures.counts of the same relevances."""

from __future__ import annotations

import gc
from dataclasses import replace

import numpy as np
import pytest
import tensorflow as tf
from tensorflow.python.ops import script_ops

from wel.errors import WelError
from wel.measures import counting, fast_counting
from wel.measures.counting import count_cosines
from wel.measures.counts import BINS, CENTRES, FINE, FINE_EDGES, CosineCounts, bin_indices

pytestmark = pytest.mark.filterwarnings("error")

ROUNDING = 2e-15  # of |cos|, whatever the number of channels here
SHAPES = [(1, 5, 12, 9, 64), (3, 2, 4, 5, 3), (4, 5, 1000), (2, 3, 7, 2048), (2, 4, 2, 3, 2, 10), (1, 2, 1), (5, 3, 1, 1, 16)]


@pytest.fixture(params=["compiled for CPUs", "in TensorFlow"], autouse=True)
def route(request, monkeypatch):
    """Both ways to count must do all of this, on whatever this machine computes."""
    monkeypatch.setattr(counting, "_on_gpu", lambda: request.param == "in TensorFlow")
    return request.param


def relevances(shape: tuple, seed: int = 0, dtype: str = "float32") -> np.ndarray:
    """From independent to nearly parallel vectors, location by location."""
    rng = np.random.default_rng(seed)
    own, shared = rng.standard_normal(shape), rng.standard_normal((shape[0], 1, *shape[2:]))
    return (own + 10 ** rng.uniform(-2, 4, (*shape[:1], 1, *shape[2:-1], 1)) * shared).astype(dtype)


def exact_cosines(relevance: np.ndarray) -> np.ndarray:
    """|cos| of all pairs of vectors, from sums in extended precision: at 1000 channels those of wel.measures.cosine are off by 2e-15."""
    vectors = relevance.reshape(len(relevance), -1, relevance.shape[-1]).astype(np.longdouble)
    gram = np.einsum("vlc,wlc->vwl", vectors, vectors)
    first, second = np.triu_indices(len(relevance), 1)
    cosines = abs(gram[first, second]) / np.sqrt(gram[first, first] * gram[second, second])
    return np.minimum(cosines, 1).astype(np.float64)


def expected(relevance: np.ndarray) -> list[CosineCounts]:
    return [CosineCounts.of(row, exact_cosines(one)) for row, one in enumerate(relevance)]


def received(relevance: np.ndarray, count=count_cosines) -> list[CosineCounts]:
    counts = count(tf.constant(relevance), len(relevance))
    return [replace(one, images=np.array([row])) for row, one in enumerate(counts.of([0]))]


def ranks(counts: CosineCounts) -> np.ndarray:
    return np.repeat(counts.fine_bins.astype(np.int64), counts.fine_counts)


def assert_alike(one: CosineCounts, other: CosineCounts) -> None:
    """The same counts, where an edge is not within rounding: sorted values differ by at most one part, and that at an edge."""
    assert (one.values[0], one.dropped[0], one.images[0]) == (other.values[0], other.dropped[0], other.images[0])
    np.testing.assert_allclose([one.minimum, one.maximum], [other.minimum, other.maximum], rtol=0, atol=ROUNDING)
    np.testing.assert_allclose(one.total, other.total, rtol=ROUNDING)
    lower, upper = np.sort([ranks(one), ranks(other)], axis=0)
    assert (FINE_EDGES[upper] - FINE_EDGES[np.minimum(lower + 1, len(FINE_EDGES) - 1)] <= ROUNDING).all()


def assert_same(one: CosineCounts, other: CosineCounts) -> None:
    one, other = one.to_arrays(), other.to_arrays()
    for name, array in one.items():
        assert array.dtype == other[name].dtype and array.tobytes() == other[name].tobytes(), name


def in_graph(signature: tf.TensorSpec):
    function = tf.function(count_cosines, input_signature=[signature, tf.TensorSpec((), tf.int32)], autograph=False)
    return lambda relevance, groups: counting.GraphCounts(*function(relevance, groups))


# the same as outside of a graph


@pytest.mark.parametrize("dtype", ["float32", "float64"])
@pytest.mark.parametrize("shape", SHAPES)
def test_counts_are_those_of_the_cosines(shape, dtype):
    relevance = relevances(shape, dtype=dtype)
    for one, other in zip(received(relevance), expected(relevance)):
        assert_alike(one, other)


def test_parts_are_equal_but_for_a_few_at_an_edge():
    relevance = relevances((1, 5, 60, 50, 64))
    (one,), (other,) = received(relevance), expected(relevance)
    differing = ranks(one) != ranks(other)
    assert len(differing) == 30000 and differing.sum() <= 300
    # the values next to 1 are within rounding of edges, those below 1 - 1e-9, where a part is 5e-13 wide or more, are not
    assert not differing[FINE_EDGES[ranks(other)] < 1 - 1e-9].any()


@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_an_outer_function_with_unknown_sizes(dtype):
    count = in_graph(tf.TensorSpec((None, 5, None, None, None), dtype))
    for shape in [(1, 5, 3, 4, 64), (7, 5, 2, 2, 10)]:
        relevance = relevances(shape, dtype=dtype)
        for one, other in zip(received(relevance, count), received(relevance)):
            assert_same(one, other)


def test_layers_of_one_graph_share_a_function():
    @tf.function(input_signature=[tf.TensorSpec((None, 3, 8, 8, 4))], autograph=False)
    def count(relevance):
        return [count_cosines(one, 2) for one in (relevance, relevance[:, :, 0], relevance[:, :, 0, 0])]

    relevance = relevances((2, 3, 8, 8, 4))
    for counts, one in zip(count(relevance), [relevance, relevance[:, :, 0], relevance[:, :, 0, 0]]):
        assert_same(counting.GraphCounts(*counts).of([1])[1], received(one)[1])
    calls = [node for node in count.get_concrete_function().graph.as_graph_def().node if "PartitionedCall" in node.op]
    assert len(calls) == 3 and len({node.attr["f"].func.name for node in calls}) == 1


def test_groups_are_counted_apart():
    relevance = relevances((12, 3, 5, 4, 16))
    relevance[4, 0] = 0  # image 1 of group 1 has one pair at each of 20 locations
    alone, together = received(relevance), count_cosines(tf.constant(relevance), 3)
    for group, counts in enumerate(together.of([2, 5, 6, 9])):
        merged = CosineCounts.merged(replace(one, images=np.array([image])) for one, image in zip(alone[group::3], [2, 5, 6, 9]))
        assert_same(counts, merged)
    assert together.values.numpy().tolist() == [[60] * 4, [60, 20, 60, 60], [60] * 4]


def test_a_layer_more_leaves_nothing_behind(route):
    relevance = relevances((2, 3, 4, 5))
    signature = tf.TensorSpec((None, 3, None, None))
    before = received(relevance, in_graph(signature))
    functions = script_ops._py_funcs.size()
    tf.keras.backend.clear_session()  # and with it the graph that TensorFlow ties functions to
    gc.collect()
    for _ in range(3):
        for one, other in zip(received(relevance, in_graph(signature)), before):
            assert_same(one, other)
    assert script_ops._py_funcs.size() <= functions


# cases by hand


def cosines_of(first, second, dtype="float64") -> CosineCounts:
    return received(np.array([[first, second]], dtype))[0]


@pytest.mark.parametrize("dtype", ["float32", "float64"])
@pytest.mark.parametrize(
    "second, cosine",
    [
        ([0, 2, 0, 0, 0], 0.0),
        ([1, 7, 7, 1, 0], 0.1),  # norm √(1 + 49 + 49 + 1) = 10
        ([-3, 4, 0, 0, 0], 0.6),
        ([9, 3, 3, 1, 0], 0.9),  # 81 + 9 + 9 + 1 = 100
        ([99, 10, 9, 3, 3], 0.99),  # 9801 + 100 + 81 + 9 + 9 = 10000
        ([-8, 0, 0, 0, 0], 1.0),
    ],
)
def test_cosines_on_an_edge(second, cosine, dtype):
    counts = cosines_of([4, 0, 0, 0, 0], second, dtype)
    assert counts.minimum == counts.maximum == counts.total == cosine
    assert_same(counts, CosineCounts.of(0, [cosine]))


def test_every_edge_and_the_floats_around_it():
    edges = np.concatenate([FINE_EDGES, np.nextafter(FINE_EDGES, 0), np.minimum(1, np.nextafter(FINE_EDGES, 2))])
    cosines = np.concatenate([edges, np.random.default_rng(0).random(10**5), 1 - 10 ** np.random.default_rng(1).uniform(-17, 0, 10**5)])
    parts = tf.function(counting._parts, autograph=False)(tf.constant(cosines), tf.constant(FINE_EDGES)).numpy()
    np.testing.assert_array_equal(parts, np.searchsorted(FINE_EDGES, cosines, side="right") - 1)
    np.testing.assert_array_equal(parts // FINE, bin_indices(cosines))
    np.testing.assert_array_equal([fast_counting._part(cosine, *fast_counting._GRID) for cosine in cosines.tolist()], parts)


def test_sums_by_hand():
    # 3-4-5 triangles: |cos| 0.6, 0.8 and, between the two others, (3·4 + 4·3) / 25 = 0.96
    counts = received(np.array([[[1, 0], [3, 4], [4, 3]]], "float32"))[0]
    assert (counts.minimum[0], counts.maximum[0], counts.values[0], counts.dropped[0]) == (0.6, 0.96, 3, 0)
    assert counts.total == pytest.approx(2.36, rel=1e-15)
    assert np.flatnonzero(counts.pooled()).tolist() == [3000, 4000, 4800]


@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_vectors_without_a_direction(dtype):
    relevance = np.ones((2, 3, 4, 2), dtype)
    relevance[0, 0, 0] = 0
    relevance[0, 1, 1, 0] = np.nan
    relevance[0, 2, 2, 1] = -np.inf
    relevance[0, :2, 3] = [[np.inf, -np.inf], [np.nan, 0]]
    counts = count_cosines(tf.constant(relevance), 2)
    # of 3 pairs at each of 4 locations, two are lost with one vector and all with two; zero is not broken
    assert counts.values.numpy().tolist() == [[3], [12]] and counts.dropped.numpy().tolist() == [[9], [0]]
    assert counts.broken.numpy().tolist() == [[4], [0]]
    assert counts.of([0])[0].values[0] == 3 == counts.of([0])[0].fine_counts.sum()
    nothing = count_cosines(tf.constant(relevance[:1, :, 3:]))
    assert_same(nothing.of([5])[0], CosineCounts.of(5, np.full(3, np.nan)))


@pytest.mark.parametrize("dtype, magnitudes", [("float32", [1e-30, 1, 1e30, 3e37]), ("float64", [1e-290, 1e-160, 1, 1e160, 1e300])])
def test_any_magnitude(dtype, magnitudes):
    relevance = relevances((1, 2, 50, 16), dtype="float64") / 1e4
    reference = received(relevance)[0]
    for first in magnitudes:
        for second in magnitudes:
            scaled = (relevance * np.array([first, second])[:, None, None]).astype(dtype)
            counts = received(scaled)[0]
            assert counts.values == 50
            np.testing.assert_allclose([counts.minimum, counts.maximum], [reference.minimum, reference.maximum], rtol=1e-6)
            np.testing.assert_allclose(counts.total, reference.total, rtol=1e-6)


def test_what_is_not_a_normal_number_is_zero():
    relevance = np.array([[[1e-40, 0], [1, 1]]], "float32")
    counts = count_cosines(tf.constant(relevance))
    assert (counts.dropped.numpy(), counts.broken.numpy()) == (1, 0)


@pytest.mark.parametrize("distance", [1e-3, 1e-6, 1e-9, 1e-12])
def test_float64_resolves_nearly_parallel_vectors(distance):
    # cos φ = 1 - d for φ = 2 asin √(d / 2); the bin is within 1 % of d
    angle = 2 * np.arcsin(np.sqrt(distance / 2))
    rng = np.random.default_rng(0)
    basis = np.linalg.qr(rng.standard_normal((512, 2)))[0].T
    counts = cosines_of(3 * basis[0], -0.1 * (np.cos(angle) * basis[0] + np.sin(angle) * basis[1]))
    assert 1 - counts.minimum[0] == pytest.approx(distance, rel=0, abs=ROUNDING)
    assert 1 - CENTRES[np.flatnonzero(counts.pooled())[0]] == pytest.approx(distance, rel=0.012)


@pytest.mark.parametrize("channels", [3, 64, 512, 2048, 4096])
def test_parallel_vectors_are_at_one_but_for_rounding(channels):
    direction = np.random.default_rng(channels).standard_normal((1, 1, 40, channels))
    counts = received(direction * np.array([1, -2, 0.1, 1 / 3, 1e5])[:, None, None])[0]
    assert 1 - counts.minimum[0] <= ROUNDING and counts.maximum == 1 and counts.pooled()[BINS - 1] > 0


# nothing depends on how it is divided


@pytest.mark.parametrize("shape", [(5, 3, 8, 6, 16), (6, 5, 400), (3, 2, 11, 700), (200, 2, 10)])
def test_batches_and_chunks_change_nothing(shape, monkeypatch):
    relevance = relevances(shape)
    relevance[1, 0, ..., 0] = np.nan
    whole = received(relevance)
    alone = [counts for one in relevance for counts in received(one[None])]
    for chunk, parallel in [(1, 1), (3 * 16 * 7, 2), (10**4, 3)]:
        monkeypatch.setattr(counting, "CHUNK_VALUES", chunk)
        monkeypatch.setattr(counting, "PARALLEL", parallel)
        monkeypatch.setattr(fast_counting, "TASK_VALUES", chunk)
        monkeypatch.setattr(fast_counting, "_threads", lambda: parallel)
        counting._counter.cache_clear()
        for one, other in zip(received(relevance), whole):
            assert_same(one, other)
    counting._counter.cache_clear()
    for one, other in zip(alone, whole):
        one.images[:] = other.images
        assert_same(one, other)


# what cannot be counted


@pytest.mark.parametrize("shape, dtype", [((1, 1, 4, 4, 3), "float32"), ((2, 3, 4), "float16"), ((2, 3, 4), "int32")])
def test_other_relevances_are_refused(shape, dtype):
    with pytest.raises(WelError, match="^Invalid value for `relevance`: .* Expected "):
        count_cosines(tf.zeros(shape, dtype))


def test_an_unknown_number_of_vectors_is_refused():
    with pytest.raises(WelError, match="two or more vectors"):
        in_graph(tf.TensorSpec((None, None, 4), "float32"))(tf.zeros((1, 2, 4)), 1)
