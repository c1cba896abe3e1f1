"""|cos| counted inside a TensorFlow graph, in the grid of wel.measures.counts, so that no relevance map leaves it.

The same numbers as CosineCounts.of(image, pairwise_abs_cosine(relevance)), up to the rounding of |cos|: about 1e-15 here, next to 1
too, since |cos| comes from sums over the channels; a float32 relevance is itself off by that much in 1 - |cos|.
A value that is not a normal number of its dtype (below 1e-38 in float32) counts as zero, as in all of TensorFlow on a CPU.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from functools import lru_cache
from itertools import combinations
from typing import NamedTuple, Sequence

import numpy as np
import tensorflow as tf

from wel.errors import invalid
from wel.measures.cosine import pairwise_abs_cosine
from wel.measures.counts import BINS, FINE, FINE_EDGES, LINEAR_EDGES, PER_DECADE, PER_UNIT, CosineCounts

CHUNK_VALUES = 2**19  # relevances in a chunk, 4 MB in float64: the fastest of 2^16 … 2^22
PARALLEL = 2  # chunks in work at a time
_NO_PART = len(FINE_EDGES)  # where NaN is counted
_SPLIT = 2.0**30
_EXPONENT = 0x7FF0000000000000  # its bits in a float64


class GraphCounts(NamedTuple):
    """|cos| of n images at one layer, in S groups (start layers) that are counted apart: tensors, or arrays of their values.

    bins: (any, 2) int32: bin as in wel.measures.counts and count, in ascending order for each image, group after group.
    sizes: (S, n) int32, how many of `bins` belong to each image.
    fine: (any, 2) int32: part of a bin and count over all images of a group, in ascending order, group after group.
    fine_sizes: (S,) int32, how many of `fine` belong to each group.
    minimum, maximum, total: (S, n) float64; the first two NaN for an image without values.
    values, dropped: (S, n) int64, how many |cos| were numbers and how many NaN, of a vector with norm zero or one that is broken.
    broken: (S, n) int64, how many vectors, over all locations, have an entry that is not finite.
    """

    bins: tf.Tensor
    sizes: tf.Tensor
    fine: tf.Tensor
    fine_sizes: tf.Tensor
    minimum: tf.Tensor
    maximum: tf.Tensor
    total: tf.Tensor
    values: tf.Tensor
    dropped: tf.Tensor
    broken: tf.Tensor

    def of(self, images: Sequence[int]) -> list[CosineCounts]:
        """What was counted in each group, as the counts of these images, in ascending order."""
        arrays = GraphCounts(*map(np.asarray, self))
        bins = np.split(arrays.bins, np.cumsum(arrays.sizes.sum(axis=1))[:-1])
        fine = np.split(arrays.fine, np.cumsum(arrays.fine_sizes)[:-1])
        return [
            CosineCounts.from_bins(images, sizes, *one.T, *parts.T, *per_image)
            for sizes, one, parts, *per_image in zip(arrays.sizes, bins, fine, *arrays[4:7], arrays.dropped)
        ]


class Counted(NamedTuple):
    """|cos| at one layer, of images numbered from 0, and how many vectors, over all locations, have an entry that is not finite."""

    counts: CosineCounts
    broken: int


@dataclass(frozen=True)
class Cosines:
    """Measures |cos| between the vectors of an image, `Counted`; as `wel.backends.request.Measure` says."""

    def read(self, name: str, relevance: tf.Tensor) -> GraphCounts:
        """Counts inside a sweep: relevance (n, starts, V, *shape)."""
        return count_cosines(tf.reshape(relevance, [-1, *relevance.shape[2:]]), groups=relevance.shape[1])

    def of_starts(self, kept: GraphCounts, starts: int) -> list[Counted]:
        """What was counted for each start layer."""
        broken = np.asarray(kept.broken)
        return [Counted(counts, int(many.sum())) for counts, many in zip(kept.of(range(broken.shape[1])), broken)]

    def of(self, relevance: np.ndarray) -> Counted:
        """The same of relevance (n, V, *shape) that has left the graph."""
        counts = [CosineCounts.of(number, pairwise_abs_cosine(one)) for number, one in enumerate(relevance)]
        return Counted(CosineCounts.merged(counts), int((~np.isfinite(relevance)).any(axis=-1).sum()))


def count_cosines(relevance: tf.Tensor, groups: int = 1) -> GraphCounts:
    """Counts |cos| between the V relevance vectors of every feature-map location, over the channels, in float64.

    relevance: (B, V, *spatial, channels), or (B, V, channels) for a dense layer; float32 or float64 of any magnitude;
    V, at least 2, must be known. B = n · groups, with the groups of an image next to each other.
    Works eagerly and in a tf.function, where every layer calls one function that is traced once.
    |cos| = |G_ij| / √(G_ii G_jj), cut to 1, with the Gram matrix G of a location. The counts do not depend on B. Memory beyond
    the relevance: 4 bytes per |cos|, 8 per distinct bin or part, a table of all parts (1 MB) per group; on a GPU also a few chunks of
    CHUNK_VALUES and a table of all bins (26 kB) per row.
    Raises WelError for another dtype and for less than two vectors.
    Source: Sixt, Granz & Landgraf (2020), cosine similarity convergence.
    """
    if relevance.dtype not in (tf.float32, tf.float64):
        raise invalid("relevance", relevance.dtype.name, "float32 or float64")
    if (relevance.shape[1] or 0) < 2:
        raise invalid("relevance", relevance.shape.as_list(), "(B, V, ..., channels) with two or more vectors V")
    counter = _counter if _on_gpu() else _cpu_counter
    return GraphCounts(*counter(relevance.dtype, relevance.shape[1])(relevance, groups))


def _on_gpu() -> bool:
    return bool(tf.config.get_visible_devices("GPU"))


@lru_cache(maxsize=None)
def _cpu_counter(dtype: tf.DType, vectors: int):
    from wel.measures.fast_counting import count_located  # takes half a second to import

    def compute(relevance, groups):
        return count_located(relevance.reshape(len(relevance), vectors, -1, relevance.shape[-1]), int(groups))

    # One for all layers, as TensorFlow never forgets a function of numpy's.
    @tf.function(input_signature=_signature(dtype), autograph=False)
    def count(relevance, groups):
        dtypes = [tf.int32] * 4 + [tf.float64] * 3 + [tf.int64] * 3
        return tf.numpy_function(compute, [relevance, groups], dtypes, stateful=False)

    return count


@lru_cache(maxsize=None)
def _counter(dtype: tf.DType, vectors: int):
    with tf.init_scope():
        edges = tf.constant(FINE_EDGES)  # captured, so that the 2 MB are in no graph

    # Not inlined: 200 layers would be 200 copies of the loops in the caller's graph.
    @tf.function(input_signature=_signature(dtype), autograph=False, experimental_attributes={"_noinline": True})
    def count(relevance, groups):
        shape = tf.shape(relevance)
        return _count(tf.reshape(relevance, [shape[0], vectors, -1, shape[-1]]), groups, edges)

    return count


def _signature(dtype):
    return [tf.TensorSpec(None, dtype), tf.TensorSpec((), tf.int32)]


def _count(located, groups, edges):
    rows, vectors, locations, channels = tf.unstack(tf.shape(located))
    width = tf.clip_by_value(CHUNK_VALUES // (vectors * channels), 1, locations)
    height = tf.clip_by_value(CHUNK_VALUES // (vectors * channels * locations), 1, rows)  # above 1 where whole images fit in
    across = -(-locations // width)

    def chunk(index):
        row, column = index // across * height, index % across * width
        return _counted_chunk(located[row : row + height, :, column : column + width], edges)

    chunks = -(-rows // height) * across
    parts, extremes, sums = _joined(chunk, chunks, [((None,), tf.int32), ((None, 2), tf.float64), ((None, 4), tf.int64)])
    minimum, maximum = tf.unstack(tf.reduce_min(tf.reshape(extremes, [rows, across, 2]), axis=1) * [1, -1], axis=-1)
    high, low, values, broken = tf.unstack(tf.reduce_sum(tf.reshape(sums, [rows, across, 4]), axis=1), axis=-1)
    total = (tf.cast(high, tf.float64) + tf.cast(low, tf.float64) / _SPLIT) / _SPLIT
    without = tf.where(values > 0, tf.constant(0, tf.float64), np.nan)
    parts = tf.transpose(tf.reshape(parts, [rows // groups, groups, -1]), [1, 0, 2])
    dropped = tf.shape(parts, tf.int64)[2] - values
    bins, sizes = _occupied(tf.reshape(parts // FINE, [rows, -1]), BINS)
    fine, fine_sizes = _occupied(tf.reshape(parts, [groups, -1]), BINS * FINE)
    per_row = (minimum + without, maximum + without, total, values, dropped, broken)
    grouped = [tf.transpose(tf.reshape(field, [-1, groups])) for field in per_row]
    return bins, tf.reshape(sizes, [groups, -1]), fine, fine_sizes, *grouped


def _occupied(bins, size):
    """Per row of `bins` those below `size`, once and in order, and their counts; how many there are in each row."""
    counts = tf.raw_ops.DenseBincount(input=bins, size=size, weights=tf.zeros([0], tf.int32))
    where = tf.where(counts > 0)
    found = tf.stack([tf.cast(where[:, 1], tf.int32), tf.gather_nd(counts, where)], axis=1)
    return found, tf.math.count_nonzero(counts, axis=1, dtype=tf.int32)


def _joined(compute, times, kinds):
    """What compute(0) … compute(times - 1) return, tensors of these shapes and dtypes, each joined along the first axis."""
    arrays = [tf.TensorArray(dtype, times, infer_shape=False, element_shape=shape) for shape, dtype in kinds]

    def step(index, *arrays):
        return index + 1, *(array.write(index, value) for array, value in zip(arrays, compute(index)))

    _, *arrays = tf.while_loop(lambda index, *_: index < times, step, [0, *arrays], parallel_iterations=PARALLEL)
    return [array.concat() for array in arrays]


def _counted_chunk(chunk, edges):
    """Per |cos| its part; per image minimum and -maximum; per image the sum of |cos|, as two integers, values and broken vectors."""
    norms, dots, norm_products = _products(chunk)
    known = tf.math.is_finite(norm_products) & (norm_products > 0)
    # The selection also keeps TensorFlow from making a product with a less exact 1 / sqrt of this quotient.
    cosines = tf.minimum(tf.abs(dots) / tf.where(known, tf.sqrt(norm_products), 1), 1)
    cosines = tf.where(known, cosines, 0)
    parts = tf.where(known, _parts(cosines, edges), _NO_PART)
    extremes = [tf.reduce_min(tf.where(known, cosines, np.inf), axis=1), tf.reduce_min(-cosines, axis=1)]
    # Sums of integers are the same in any order; |cos| is cut at 2^-60.
    high = tf.floor(cosines * _SPLIT)
    low = (cosines * _SPLIT - high) * _SPLIT
    broken = ~tf.math.is_finite(norms)
    sums = [tf.reduce_sum(tf.cast(values, tf.int64), axis=1) for values in (high, low, known, broken)]
    return tf.reshape(parts, [-1]), tf.stack(extremes, axis=1), tf.stack(sums, axis=1)


def _products(chunk):
    """(images, V · locations): G_ii; (images, pairs · locations): G_ij and G_ii G_jj; of the scaled vectors in float64."""
    vectors = chunk.shape[1]
    images, _, locations, channels = tf.unstack(tf.shape(chunk))
    first, second = np.transpose(list(combinations(range(vectors), 2)))
    located = tf.cast(tf.transpose(chunk, [0, 2, 1, 3]), tf.float64)
    if chunk.dtype == tf.float64:  # which does not hold its own squares; those of float32, from 1e-90 to 1e77, it does
        located /= _power_of_two(tf.reduce_max(tf.abs(located), axis=-1, keepdims=True))
    # With fewer channels TensorFlow sums the only product of a batch in another order than one of several.
    located = tf.pad(located, [[0, 0], [0, 0], [0, 0], [0, tf.maximum(16 - channels, 0)]])
    gram = tf.matmul(located, located, transpose_b=True)
    gram = tf.transpose(tf.reshape(gram, [images, locations, vectors**2]), [0, 2, 1])
    norms = tf.gather(gram, np.arange(vectors) * (vectors + 1), axis=1)
    dots = tf.gather(gram, first * vectors + second, axis=1)
    norm_products = tf.gather(norms, first, axis=1) * tf.gather(norms, second, axis=1)
    return [tf.reshape(values, [images, -1]) for values in (norms, dots, norm_products)]


def _power_of_two(largest):
    """The largest power of two that is not above a value, 1 for zero; division by it rounds nothing."""
    exponent = tf.bitwise.bitwise_and(tf.bitcast(largest, tf.int64), _EXPONENT)
    return tf.where(largest > 0, tf.bitcast(exponent, tf.float64), 1)


def _parts(cosines, edges):
    """The part of a bin that each |cos| lies in. A guess that is right or one less, and a comparison with the next edge."""
    # Parts divide d = 1 - |cos| within a bin evenly and not log d, which is up to 0.1 parts behind; 0.01 is for rounding.
    decades = tf.math.log(tf.maximum(1 - cosines, 1e-17)) / -math.log(10) - 2
    bins = tf.where(cosines < 0.99, cosines * PER_UNIT, decades * PER_DECADE + (len(LINEAR_EDGES) - 1))
    guess = tf.minimum(tf.cast(bins * FINE - 0.01, tf.int32), _NO_PART - 2)
    return guess + tf.cast(cosines >= tf.gather(edges, guess + 1), tf.int32)
