"""|cos| counted on CPUs: what wel.measures.counting does in TensorFlow, several times faster, by functions that numba compiles.

It is for speed alone. The compiled code is kept on disk where that is possible.
"""

from __future__ import annotations

import math
from concurrent.futures import ThreadPoolExecutor
from functools import lru_cache
from typing import Callable

import numba
import numpy as np
import tensorflow as tf
from numba.core.config import NUMBA_NUM_THREADS

from wel.measures.counts import BINS, FINE, FINE_EDGES, LINEAR_EDGES, PER_DECADE, PER_UNIT

TASK_VALUES = 2**16  # relevances that are worth a thread of their own
BLOCK, CHANNELS = 32, 256  # locations, and channels of one location, at a time: what fits into the fastest cache
_SPLIT = 2.0**30
# Arguments and no globals, which would stay as they were in compiled code that is on disk.
_GRID = (FINE_EDGES, float(LINEAR_EDGES[-1]), len(LINEAR_EDGES) - 1, PER_UNIT, PER_DECADE, FINE)
_GRID_TYPES = "float64[::1], float64, int64, int64, int64, int64"


def count_located(located: np.ndarray, groups: int) -> tuple[np.ndarray, ...]:
    """The fields of wel.measures.counting.GraphCounts, of relevance (B, V, locations, channels), float32 or float64.

    They are the same for any number of threads: as many as TensorFlow was told to take for one operation, else one for each core that this
    process may use.
    """
    rows, vectors, locations, _ = located.shape
    parts = np.empty((rows, locations * (vectors * (vectors - 1) // 2)), np.int32)
    tasks = max(1, min(_threads(), located.size // TASK_VALUES))
    ends = np.arange(tasks + 1) * (rows * locations) // tasks
    extremes, sums = np.tile([np.inf, -np.inf], (tasks, rows, 1)), np.zeros((tasks, rows, 4), np.int64)
    tiny = float(np.finfo(located.dtype).tiny)
    compute = _compiled(
        _compute, f"({located.dtype}[:, :, :, ::1], int64, int64, float64, {_GRID_TYPES}, int32[:, ::1], float64[:, ::1], int64[:, ::1])"
    )
    _in_threads(lambda task: compute(located, ends[task], ends[task + 1], tiny, *_GRID, parts, extremes[task], sums[task]), tasks)
    tally = _compiled(_tally, "(int32[:, ::1], int64, int64, int64, int64)")
    bins, sizes, fine = zip(*_in_threads(lambda group: tally(parts, group, groups, BINS, FINE), groups))
    fine_sizes = np.array([len(several) for several in fine], np.int32)
    return (np.concatenate(bins), np.stack(sizes), np.concatenate(fine), fine_sizes, *_per_row(extremes, sums, parts.shape[1], groups))


def _per_row(extremes: np.ndarray, sums: np.ndarray, pairs: int, groups: int) -> list[np.ndarray]:
    high, low, values, broken = sums.sum(axis=0).T
    total = (high + low / _SPLIT) / _SPLIT
    minimum = np.where(values, extremes[:, :, 0].min(axis=0), np.nan)
    maximum = np.where(values, extremes[:, :, 1].max(axis=0), np.nan)
    return [field.reshape(-1, groups).T for field in (minimum, maximum, total, values, pairs - values, broken)]


def _threads() -> int:
    return tf.config.threading.get_intra_op_parallelism_threads() or NUMBA_NUM_THREADS


@lru_cache(maxsize=None)
def _pool() -> ThreadPoolExecutor:
    return ThreadPoolExecutor(_threads(), "wel-counting")


def _in_threads(compute: Callable, times: int) -> list:
    # Never in TensorFlow's own threads, whose arithmetic takes numbers near zero for zero.
    return list(_pool().map(compute, range(times)))


@lru_cache(maxsize=None)
def _compiled(function: Callable, signature: str) -> Callable:
    try:
        return numba.njit(signature, nogil=True, error_model="numpy", cache=True)(function)
    except (RuntimeError, OSError):  # compiled code cannot be kept
        return numba.njit(signature, nogil=True, error_model="numpy")(function)


# A compiler needs leave to reassociate sums, to vectorise them; it does so in one way for all locations and threads.
@numba.njit(fastmath={"reassoc", "contract"}, error_model="numpy")
def _four_dots(vectors, length, one, two, three, four):
    """Products of the vectors one and two with three and four. With four at a time each entry is loaded half as often."""
    a = b = c = d = 0.0
    for channel in range(length):
        first, second, third, fourth = vectors[one, channel], vectors[two, channel], vectors[three, channel], vectors[four, channel]
        a += first * third
        b += first * fourth
        c += second * third
        d += second * fourth
    return a, b, c, d


@numba.njit(error_model="numpy")
def _power_of_two(entries):
    """The largest one that is not above any entry, 1 for zeros."""
    largest = 0.0
    for entry in entries:
        largest = max(largest, abs(entry))
    return math.ldexp(1.0, math.frexp(largest)[1] - 1) if largest > 0 else 1.0


@numba.njit(error_model="numpy")
def _products(located, row, location, tiny, vectors, gram):
    """The products of all vectors of a location, into gram[i, j], i ≤ j; what is not a normal number is zero, as in TensorFlow."""
    _, count, _, channels = located.shape
    gram[:] = 0
    for start in range(0, channels, vectors.shape[1]):
        length = min(vectors.shape[1], channels - start)
        for vector in range(count):
            entries, room = located[row, vector, location, start : start + length], vectors[vector]
            for channel in range(length):
                value = np.float64(entries[channel])
                room[channel] = 0.0 if abs(value) < tiny else value
            if located.itemsize == 8:  # float64 does not hold its own squares; it does those of float32, from 1e-90 to 1e77
                room[:length] /= _power_of_two(located[row, vector, location])
        for one in range(0, count, 2):
            two = min(one + 1, count - 1)
            for three in range(one, count, 2):
                four = min(three + 1, count - 1)
                a, b, c, d = _four_dots(vectors, length, one, two, three, four)
                gram[one, three] += a
                if three < four:
                    gram[one, four] += b
                if one < two:
                    gram[two, three] += c
                if one < two and three < four:
                    gram[two, four] += d


@numba.njit(error_model="numpy")
def _part(cosine, edges, near, linear, per_unit, per_decade, fine):
    """As wel.measures.counting._parts."""
    if cosine < near:
        bins = cosine * per_unit
    else:
        bins = (math.log(max(1 - cosine, 1e-17)) / -math.log(10) - 2) * per_decade + linear
    guess = min(np.int64(bins * fine - 0.01), edges.size - 2)
    return guess + (cosine >= edges[guess + 1])


def _compute(located, first, last, tiny, edges, near, linear, per_unit, per_decade, fine, parts, extremes, sums):
    """Parts at the locations `first` to `last` of all rows; per row minimum, maximum, the sum as two integers, values, broken vectors."""
    _, count, locations, channels = located.shape
    pairs = count * (count - 1) // 2
    vectors, gram = np.empty((count, min(channels, CHANNELS))), np.empty((count, count))
    cosines, norms = np.empty(BLOCK * pairs), np.empty(BLOCK * pairs)
    start = first
    while start < last:
        row, begin = start // locations, start % locations
        size = min(BLOCK, last - start, locations - begin)
        used = 0
        for location in range(begin, begin + size):
            _products(located, row, location, tiny, vectors, gram)
            for one in range(count):
                sums[row, 3] += not np.isfinite(gram[one, one])
                for other in range(one + 1, count):
                    cosines[used], norms[used] = gram[one, other], gram[one, one] * gram[other, other]
                    used += 1
        for index in range(used):
            known = (norms[index] > 0) & (norms[index] < np.inf)
            cosine = abs(cosines[index]) / math.sqrt(norms[index])
            cosines[index] = (cosine if cosine < 1 else 1.0) if known else -1.0
        low, high, whole, rest, values = extremes[row, 0], extremes[row, 1], 0, 0, 0
        for index in range(used):
            cosine, part = cosines[index], edges.size
            if cosine >= 0:
                part = _part(cosine, edges, near, linear, per_unit, per_decade, fine)
                low = cosine if cosine < low else low
                high = cosine if cosine > high else high
                units = np.int64(cosine * _SPLIT)  # sums of integers are the same in any order; |cos| is cut at 2^-60
                whole += units
                rest += np.int64((cosine * _SPLIT - units) * _SPLIT)
                values += 1
            parts[row, begin * pairs + index] = part
        extremes[row, 0], extremes[row, 1] = low, high
        sums[row, 0] += whole
        sums[row, 1] += rest
        sums[row, 2] += values
        start += size


def _tally(parts, group, groups, bins, fine):
    """Bins and counts of each row of a group, how many bins each has, and parts and counts of all these rows together, in order."""
    rows = len(range(group, parts.shape[0], groups))
    pooled, single, occupied = np.zeros(bins * fine, np.int32), np.zeros(bins, np.int32), np.zeros(bins, np.bool_)
    found, sizes = np.empty((rows * min(bins, parts.shape[1]), 2), np.int32), np.zeros(rows, np.int32)
    used = 0
    for index in range(rows):
        for part in parts[group + index * groups]:
            if part < pooled.size:
                pooled[part] += 1
                single[part // fine] += 1
        before = used
        for one in range(bins):
            if single[one]:
                found[used, 0], found[used, 1] = one, single[one]
                single[one], occupied[one] = 0, True
                used += 1
        sizes[index] = used - before
    together, length = np.empty((min(pooled.size, rows * parts.shape[1]), 2), np.int32), 0
    for one in range(bins):
        if occupied[one]:
            for part in range(one * fine, (one + 1) * fine):
                if pooled[part]:
                    together[length, 0], together[length, 1] = part, pooled[part]
                    length += 1
    return found[:used], sizes, together[:length]
