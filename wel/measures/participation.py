"""The participation ratio, an effective rank, of relevance vectors; computed inside a TensorFlow graph, so that no relevance map leaves it.

For results R_v = f(v) of independent v ~ N(0, I), with S = E[R Rᵀ] and its eigenvalues λ,

    p = tr(S)² / tr(S²) = (Σλ)² / Σλ².

It is 1 exactly where all results lie on one line, and n for n equal eigenvalues. Where f is linear, R = Jv, S is JJᵀ and λ are the
squared singular values of J: p is an effective rank of J. Where it is not, p is an effective dimension of the results.

Estimate from V vectors: p̂ = Σ |R_v|² |R_w|² / Σ (R_v · R_w)² over all pairs v ≠ w. Both sums are unbiased, since E |R_v|² |R_w|² =
tr(S)² and E (R_v · R_w)² = tr(S²), so p̂ is not limited by V, as one from the eigenvalues of the Gram matrix would be. Of their ratio
the relative error is about 2/V for a flat spectrum. It is a little too large, where f is linear by the share
8/V (tr S⁴/tr(S²)² − tr S³/(tr S tr S²)) + O(1/V²): at V = 16 some 2 % for a flat spectrum, 15 % for λ_k = 1/k.
1/p̂ is the mean of cos² over the pairs, weighted with |R_v|² |R_w|²: cosine similarity 1 and effective rank 1 are the same
statement. Results that were brought to norm 1 would give the unweighted mean, which is no function of J's singular values alone;
hence they keep their norms.
Source: the participation ratio of statistical physics (Bell & Dean 1970), of spectra e.g. Gao et al. 2017.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache
from itertools import combinations
from typing import NamedTuple

import numpy as np
import tensorflow as tf

from wel.errors import invalid


class Ratios(NamedTuple):
    """p̂ of B images, or of pairs of an image and a start layer, at one layer: of all V vectors, then without the first, the second, …

    locations: (B, locations, 1 + V) float64, of the relevance of each feature-map location, over the channels.
    layer: (B, 1 + V) float64, of the whole layer's.
    NaN where no two vectors are other than zero, or one of the V is not finite; infinite where all are at right angles.
    """

    locations: tf.Tensor
    layer: tf.Tensor


@dataclass(frozen=True)
class Participation:
    """Measures p̂ of the results of the vectors, `Ratios` of arrays; as `wel.backends.request.Measure` says."""

    def read(self, name: str, relevance: tf.Tensor) -> Ratios:
        """p̂ inside a sweep: relevance (n, starts, V, *shape)."""
        return participation(tf.reshape(relevance, [-1, *relevance.shape[2:]]))

    def of_starts(self, kept: Ratios, starts: int) -> list[Ratios]:
        """p̂ for each start layer."""
        return [Ratios(*(tensor.numpy()[position::starts] for tensor in kept)) for position in range(starts)]

    def of(self, relevance: np.ndarray) -> Ratios:
        """The same of relevance (n, V, *shape) that has left the graph."""
        return Ratios(*(tensor.numpy() for tensor in participation(tf.convert_to_tensor(relevance))))


def participation(relevance: tf.Tensor) -> Ratios:
    """p̂ between the V relevance vectors at every feature-map location and in the whole layer, in float64.

    relevance: (B, V, *spatial, channels), or (B, V, channels) for a dense layer; float32, or float64 below 1e76; V, at least 3, must
    be known. Works in a tf.function, where every layer calls one function that is traced once. An image's numbers do not depend on B.
    Raises WelError for less than three vectors.
    """
    if (relevance.shape[1] or 0) < 3:
        raise invalid("relevance", tuple(relevance.shape), "(B, V, ..., channels) with three or more vectors V")
    shape = tf.shape(relevance)
    located = tf.reshape(relevance, [shape[0], shape[1], tf.reduce_prod(shape[2:-1]), shape[-1]])
    return Ratios(*_measurer(relevance.dtype, relevance.shape[1])(located))


@lru_cache(maxsize=None)
def _measurer(dtype: tf.DType, vectors: int):
    # Not inlined: 200 layers would be 200 copies of the loop in the caller's graph.
    @tf.function(
        input_signature=[tf.TensorSpec((None, vectors, None, None), dtype)], autograph=False, experimental_attributes={"_noinline": True}
    )
    def measure(located):
        kinds = tf.TensorSpec((None, 1 + vectors), tf.float64), tf.TensorSpec((1 + vectors,), tf.float64)
        return tf.map_fn(_of_image, located, parallel_iterations=1, fn_output_signature=kinds)  # one float64 copy at a time

    return measure


def _of_image(located):
    """Of one image's (V, locations, channels): (locations, 1 + V) and (1 + V,)."""
    vectors = tf.cast(tf.transpose(located, [1, 0, 2]), tf.float64)
    gram = tf.matmul(vectors, vectors, transpose_b=True)
    return _ratios(gram), _ratios(tf.reduce_sum(gram, axis=0, keepdims=True))[0]  # the layer's Gram matrix is the sum of its locations'


def _ratios(gram):
    """(…, 1 + V) for Gram matrices (…, V, V)."""
    vectors = gram.shape[-1]
    first, second = np.transpose(list(combinations(range(vectors), 2)))
    kept = np.column_stack([np.ones(len(first)), *((first != left) & (second != left) for left in range(vectors))]).astype("float64")
    norms = tf.linalg.diag_part(gram)
    above = tf.matmul(tf.gather(norms, first, axis=1) * tf.gather(norms, second, axis=1), kept)
    dots = tf.gather(tf.reshape(gram, [-1, vectors**2]), first * vectors + second, axis=1)
    below = tf.matmul(dots**2, kept)
    known = tf.math.is_finite(above) & (above > 0)
    # by Cauchy and Schwarz it is not below 1, but for rounding
    return tf.where(known, tf.maximum(above / below, 1), np.nan)
