"""How alike relevances are: the absolute cosine of vectors per feature-map location, what chance alone gives, and SSIM of maps."""

from __future__ import annotations

from itertools import combinations

import numpy as np
from scipy import stats

from wel.errors import invalid

CHUNK_VALUES = 2**18  # float64 values in work at a time: 2 MB, which stays in the cache; a layer of any size takes no more
NEAR_PARALLEL = 0.99


def pairwise_abs_cosine(relevance: np.ndarray) -> np.ndarray:
    """|cos| between the relevance vectors of one image at one layer, over the channels of every feature-map location.

    relevance: (V, *spatial, channels), float32; a dense layer, (V, channels), has one location.
    Returns float64 (locations, V(V-1)/2) in [0, 1], pairs in the order of itertools.combinations, locations in C order.
    NaN where one of the two vectors has norm zero or an entry that is not finite.
    Next to 1 the error is about one step of float64, 1e-16, over thousands of channels too.
    Source: Sixt, Granz & Landgraf (2020), cosine similarity convergence.
    """
    vectors, channels = len(relevance), relevance.shape[-1]
    located = relevance.reshape(vectors, -1, channels)
    pairs = list(combinations(range(vectors), 2))
    cosines = np.empty((located.shape[1], len(pairs)))
    step = max(1, CHUNK_VALUES // (vectors * channels))
    for first in range(0, len(cosines), step):
        chunk = slice(first, first + step)
        units = _unit_vectors(located[:, chunk])
        for column, (one, other) in enumerate(pairs):
            cosines[chunk, column] = _abs_cosine(units[one], units[other])
    return cosines


def chance_level(channels: int) -> float:
    """The median |cos| of two independent N(0, I) vectors in R^channels.

    cos² ~ Beta(1/2, (channels - 1)/2), so the level is the square root of that distribution's median:
    1/2 at 3 channels, 0.085 at 64, 0.03 at 512. One channel gives 1: two numbers are always parallel.
    Raises WelError for less than one channel.
    """
    if channels < 1:
        raise invalid("channels", channels, "at least 1")
    return 1.0 if channels == 1 else float(np.sqrt(stats.beta.median(0.5, (channels - 1) / 2)))


def _unit_vectors(relevance: np.ndarray) -> np.ndarray:
    """(V, locations, channels) at norm 1 in float64; all NaN for a vector that has no direction."""
    # float64 holds the square of every float32, from 1e-90 to 1e77, so the norm neither under- nor overflows.
    relevance = relevance.astype(np.float64, order="C")
    norm = np.sqrt(np.einsum("vlc,vlc->vl", relevance, relevance))
    norm[(norm == 0) | np.isinf(norm)] = np.nan
    relevance /= norm[..., None]
    return relevance


def _abs_cosine(one: np.ndarray, other: np.ndarray) -> np.ndarray:
    """|cos| per location of two arrays of unit vectors, (locations, channels)."""
    cosine = np.einsum("lc,lc->l", one, other)
    absolute = np.abs(cosine)
    # A sum of many products is off by more than 1 - |cos| next to 1. The chord is not: |u - w|² / 2 = 1 - u·w, a sum of small squares.
    near = np.flatnonzero(absolute > NEAR_PARALLEL)
    chord = one[near] - np.sign(cosine[near])[:, None] * other[near]
    absolute[near] = 1 - np.einsum("lc,lc->l", chord, chord) / 2
    return absolute
