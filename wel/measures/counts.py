"""Statistics of |cos| that stream: counts per image on one fixed grid, which merge in any order to the same numbers.

The grid has linear bins of width 2e-4 in |cos| from 0 to 0.99, then 116 bins per decade of d = 1 - |cos| from 1e-2 to 1e-16,
then one bin for what is closer to 1. A bin holds its lower edge in |cos| and not its upper one, [lower, upper), as in
numpy.histogram; the last one holds 1 as well. The representative value of a bin is off by at most 1e-4 in |cos| and by at
most 1 % of d, plus the rounding of |cos| itself in float64, 6e-17. Percentiles come from 40 equal parts of each bin, pooled
over all images; the bootstrap, which needs counts per image, uses the bins themselves.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace

import numpy as np
from scipy import sparse

from wel.errors import invalid

HISTOGRAM_EDGES = np.array([0, 0.1, 0.2, 0.3, 0.4, 0.5, 0.6, 0.7, 0.8, 0.9, 0.99, 0.999, 0.9999, 1])
PERCENTILES = (0, 1, 5, 10, 20, 50, 80, 95, 99, 100)

PER_UNIT = 5000  # linear bins per unit of |cos|
PER_DECADE = 116  # 10 ** (1 / 116) = 1.02005, so the geometric centre of a bin is within 1 % of both edges
LINEAR_EDGES = np.arange(4951) / PER_UNIT  # k / 5000, not k * 2e-4: the division is correctly rounded and gives 0.1, 0.9, 0.99 themselves
# Edges of the logarithmic part, as -d = |cos| - 1: float64 holds it exactly for |cos| ≥ 1/2, while 1 - d is too coarse below d = 1e-14.
LOG_EDGES = -np.power(10.0, -2 - np.arange(14 * PER_DECADE + 1) / PER_DECADE)
LOG_EDGES[[0, PER_DECADE, 2 * PER_DECADE]] = np.array([0.99, 0.999, 0.9999]) - 1
CENTRES = np.concatenate([(LINEAR_EDGES[:-1] + LINEAR_EDGES[1:]) / 2, 1 - np.sqrt(LOG_EDGES[:-1] * LOG_EDGES[1:]), [1.0]])
BINS = len(CENTRES)
# Every bin is split into equal parts for the pooled percentiles: 5e-6 wide, so that rounding moves a percentile no further.
FINE = 40
_LOWER = np.concatenate([LINEAR_EDGES[:-1] - 1, LOG_EDGES])  # both as |cos| - 1
_WIDTH = np.diff(np.append(_LOWER, 0.0))
_LOG_PARTS = (_LOWER[4950:-1, None] + np.arange(FINE) / FINE * _WIDTH[4950:-1, None]).ravel()
# The smallest float64 of every part. Next to 1 there are fewer floats than parts: several parts begin at one, and the last holds it.
FINE_EDGES = np.concatenate([np.arange(4950 * FINE) / (PER_UNIT * FINE), 1 + _LOG_PARTS, np.ones(FINE)])
FINE_EDGES[4950 * FINE : -FINE] += 2.0**-53 * (1 + _LOG_PARTS - 1 < _LOG_PARTS)
_HISTOGRAM_STARTS = np.concatenate([np.arange(0, 5000, 500), 4950 + PER_DECADE * np.arange(3)])
_PER_IMAGE = ("images", "minimum", "maximum", "total", "values", "dropped")
_POOLED = ("fine_bins", "fine_counts")
FEW = 10_000  # below it sorting is faster than an array over all parts of bins
_IMAGE_BLOCK = 256  # a float64 block over all bins takes 13 MB
_ALONE = 2**18  # multiplications up to which OpenBLAS takes one thread; others wait busily between products, at the cost of other processes


def bin_indices(cosines: np.ndarray) -> np.ndarray:
    """The grid bin, 0 to BINS - 1, of each |cos| in [0, 1]; the bin's representative value is CENTRES[index]."""
    cosines = np.asarray(cosines, np.float64)
    index = _settled((cosines * PER_UNIT).astype(np.intp), cosines, LINEAR_EDGES)
    near = np.flatnonzero(index == len(LINEAR_EDGES) - 1)
    negative = cosines[near] - 1
    guess = PER_DECADE * (-2 - np.log10(np.maximum(-negative, 1e-17)))
    index[near] += _settled(guess.astype(np.intp), negative, LOG_EDGES)
    return index


def _settled(guess: np.ndarray, values: np.ndarray, edges: np.ndarray) -> np.ndarray:
    """The index of the last edge that is not above the value, from a guess that is at most one off: a fast exact searchsorted."""
    guess = np.clip(guess, 0, len(edges) - 1)
    guess -= values < edges[guess]
    return guess + (values >= np.append(edges, np.inf)[guess + 1])


def _fine_indices(cosines: np.ndarray, bins: np.ndarray) -> np.ndarray:
    part = ((cosines - 1 - _LOWER[bins]) / _WIDTH[bins] * FINE).astype(np.intp)
    return _settled(bins * FINE + np.clip(part, 0, FINE - 1), cosines, FINE_EDGES)


def _tallied(bins: np.ndarray, counts: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Each bin once, sorted, uint32, and the sum of its counts, int64."""
    if len(bins) < FEW:
        found, position = np.unique(bins, return_inverse=True)
        return found.astype(np.uint32), np.bincount(position, counts).astype(np.int64)
    totals = np.bincount(bins, counts).astype(np.int64)  # its sums of counts are exact in float64
    found = np.flatnonzero(totals)
    return found.astype(np.uint32), totals[found]


def _fine_values(indices: np.ndarray) -> np.ndarray:
    bins, part = np.divmod(indices, FINE)
    return 1 + (_LOWER[bins] + (part + 0.5) / FINE * _WIDTH[bins])


@dataclass(frozen=True, eq=False)
class CosineCounts:
    """What was counted of |cos| at one layer, per image.

    images: (n,) sorted image indices. counts: CSR matrix (n, BINS) in the smallest sufficient integer dtype.
    minimum, maximum: (n,) exact, NaN for an image without values. total: (n,) sum of |cos|, float64.
    values, dropped: (n,) how many were numbers and how many NaN.
    fine_bins, fine_counts: counts over all images together in the parts of the bins, where there are any.
    """

    images: np.ndarray
    counts: sparse.csr_matrix
    minimum: np.ndarray
    maximum: np.ndarray
    total: np.ndarray
    values: np.ndarray
    dropped: np.ndarray
    fine_bins: np.ndarray
    fine_counts: np.ndarray

    @classmethod
    def of(cls, image: int, cosines: np.ndarray) -> CosineCounts:
        """Counts |cos| of one image, an array of any shape in [0, 1]; NaN is dropped. Raises WelError for a value outside."""
        cosines = np.asarray(cosines, np.float64).ravel()
        kept = cosines[~np.isnan(cosines)]
        low, high = (kept.min(), kept.max()) if kept.size else (np.nan, np.nan)
        if low < 0 or high > 1:
            raise invalid("cosines", [float(low), float(high)], "absolute cosines in [0, 1] or NaN")
        fine = _tallied(_fine_indices(kept, bin_indices(kept)), np.ones(kept.size))
        bins, counts = _tallied(fine[0] // FINE, fine[1])
        per_image = ([one] for one in (low, high, kept.sum(), cosines.size - kept.size))
        return cls.from_bins([image], [len(bins)], bins, counts, *fine, *per_image)

    @classmethod
    def from_bins(
        cls,
        images: Sequence[int],
        sizes: np.ndarray,
        bins: np.ndarray,
        counts: np.ndarray,
        fine_bins: np.ndarray,
        fine_counts: np.ndarray,
        minimum: np.ndarray,
        maximum: np.ndarray,
        total: np.ndarray,
        dropped: np.ndarray,
    ) -> CosineCounts:
        """From counts in bins, ascending, `sizes` of them for each of the sorted images, and in parts of bins over all images."""
        indptr, cumulative = np.append(0, np.cumsum(sizes)), np.append(0, np.cumsum(counts, dtype=np.int64))
        data = np.asarray(counts, np.min_scalar_type(np.max(counts, initial=0)))
        return cls(
            images=np.asarray(images, np.int64),
            counts=sparse.csr_matrix((data, bins, indptr), shape=(len(images), BINS)),
            minimum=np.asarray(minimum, np.float64),
            maximum=np.asarray(maximum, np.float64),
            total=np.asarray(total, np.float64),
            values=np.diff(cumulative[indptr]),
            dropped=np.asarray(dropped, np.int64),
            fine_bins=np.asarray(fine_bins, np.uint32),
            fine_counts=np.asarray(fine_counts, np.int64),
        )

    def numbered(self, images: Sequence[int]) -> CosineCounts:
        """These counts, of images that are called so, in ascending order."""
        return replace(self, images=np.asarray(images, np.int64))

    @classmethod
    def merged(cls, parts: Iterable[CosineCounts]) -> CosineCounts:
        """One CosineCounts of at least one part, sorted by image: bit-identical in any order. Raises WelError if an image comes twice."""
        parts = list(parts)
        images = np.concatenate([part.images for part in parts])
        order = np.argsort(images)
        twice = images[order][1:][np.diff(images[order]) == 0]
        if len(twice):
            raise invalid("parts", f"image {twice[0]} twice", "every image in one part only")
        columns = {name: np.concatenate([getattr(part, name) for part in parts])[order] for name in _PER_IMAGE}
        fine_bins, fine_counts = _tallied(*(np.concatenate([getattr(part, name) for part in parts]) for name in _POOLED))
        counts = sparse.vstack([part.counts for part in parts], format="csr")[order]
        return cls(counts=counts, fine_bins=fine_bins, fine_counts=fine_counts, **columns)

    def to_arrays(self) -> dict[str, np.ndarray]:
        """Arrays for an npz file: per image, in parts of bins, and counts, bins, indptr of the CSR matrix in their smallest dtypes."""
        indptr = self.counts.indptr.astype(np.min_scalar_type(self.counts.nnz))
        fine = self.fine_counts.astype(np.min_scalar_type(np.max(self.fine_counts, initial=0)))
        kept = {**{name: getattr(self, name) for name in _PER_IMAGE}, "fine_bins": self.fine_bins, "fine_counts": fine}
        return {**kept, "counts": self.counts.data, "bins": self.counts.indices.astype(np.uint16), "indptr": indptr}

    @classmethod
    def from_arrays(cls, arrays: Mapping[str, np.ndarray]) -> CosineCounts:
        """The inverse of to_arrays."""
        shape = (len(arrays["images"]), BINS)
        counts = sparse.csr_matrix((arrays["counts"], arrays["bins"], arrays["indptr"]), shape=shape)
        fine = arrays["fine_counts"].astype(np.int64)
        per_image = {name: arrays[name] for name in _PER_IMAGE}
        return cls(counts=counts, fine_bins=arrays["fine_bins"], fine_counts=fine, **per_image)

    def pooled(self) -> np.ndarray:
        """(BINS,) int64: the count of each grid bin over all images."""
        return np.asarray(self.counts.sum(axis=0, dtype=np.int64)).ravel()

    def histogram(self) -> np.ndarray:
        """(13,) int64: the exact counts between HISTOGRAM_EDGES, lower edge included, the last bar with 1."""
        return np.add.reduceat(self.pooled(), _HISTOGRAM_STARTS)

    def summary(self, seed: int, resamples: int = 1000, level: float = 0.99) -> dict[str, float]:
        """values, nan_fraction, median, mean, the percentiles p0 … p100, and ci_low, ci_high: the bootstrap interval of the median.

        Percentiles are numpy.percentile's, each order statistic replaced by the centre of its part of a bin within
        [minimum, maximum]; p0, p100 and the mean are exact. The interval is between the (1 ± level)/2 quantiles of the median over
        `resamples` draws with replacement from the images that have values (numpy.random.default_rng(seed), multinomial); NaN with
        fewer than two of them. Without any value everything but `values` and, where NaNs were dropped, `nan_fraction` is NaN.
        """
        values, dropped = int(self.values.sum()), int(self.dropped.sum())
        percentiles = dict(zip((f"p{p}" for p in PERCENTILES), self._percentiles().tolist()))
        low, high = self._median_interval(seed, resamples, level)
        nan_fraction = dropped / (values + dropped) if values + dropped else math.nan
        mean = math.fsum(self.total) / values if values else math.nan
        return {
            "values": values,
            "nan_fraction": nan_fraction,
            "median": percentiles["p50"],
            "mean": mean,
            **percentiles,
            "ci_low": float(low),
            "ci_high": float(high),
        }

    def _percentiles(self) -> np.ndarray:
        values = self.values.sum()
        if not values:
            return np.full(len(PERCENTILES), np.nan)
        position = np.array(PERCENTILES) / 100 * (values - 1)
        rank = np.floor(position).astype(np.int64)
        index = np.searchsorted(np.cumsum(self.fine_counts), [rank, np.minimum(rank + 1, values - 1)], side="right")
        below, above = self._clipped(_fine_values(self.fine_bins[index].astype(np.intp)))
        inner = below + (above - below) * (position - rank)
        return np.concatenate([[np.nanmin(self.minimum)], inner[1:-1], [np.nanmax(self.maximum)]])

    def _clipped(self, values: np.ndarray) -> np.ndarray:
        return np.clip(values, np.nanmin(self.minimum), np.nanmax(self.maximum))

    def _median_interval(self, seed: int, resamples: int, level: float) -> np.ndarray:
        filled = np.flatnonzero(self.values)
        if len(filled) < 2:
            return np.full(2, np.nan)
        occupied = np.flatnonzero(self.pooled())
        counts, values = self.counts[filled][:, occupied].astype(np.float64), self.values[filled]
        weights = np.random.default_rng(seed).multinomial(len(filled), np.full(len(filled), 1 / len(filled)), size=resamples)
        different, each = _different(weights)
        drawn = different @ values
        ranks = np.stack([(drawn - 1) // 2, drawn // 2])  # the two middle order statistics: the same one where `drawn` is odd
        bins = occupied[_columns_of(ranks, different.astype(np.float64), counts)]
        medians = self._clipped(CENTRES[bins]).mean(axis=0)[each]
        return np.quantile(medians, [(1 - level) / 2, (1 + level) / 2])


def _different(weights: np.ndarray) -> tuple[np.ndarray, np.ndarray | slice]:
    """Each draw once, and where it stands for the draws; of many images hardly any two draws are the same, and all are given."""
    resamples, images = weights.shape
    if math.comb(2 * images - 1, images) >= resamples:
        return weights, slice(None)
    different, each = np.unique(weights, axis=0, return_inverse=True)
    return different, each.ravel()


def _columns_of(ranks: np.ndarray, weights: np.ndarray, counts: sparse.csr_matrix) -> np.ndarray:
    """The column, (2, resamples), in which the value of each rank (2, resamples) lies, of counts (images, columns) drawn with weights.

    First the span of columns for each, then, in the spans that occur, the column.
    """
    edges = np.arange(0, counts.shape[1], math.isqrt(counts.shape[1]) + 1)
    ends = np.append(edges[1:], counts.shape[1])
    spans = _cumulative(weights, counts @ _membership(edges, ends))
    found = _last_below(spans, ranks)
    low, high = found.min(), found.max()
    inside = _cumulative(weights, counts[:, edges[low] : ends[high]])
    before = spans[:, low - 1] if low else np.zeros(len(weights))
    return edges[low] + _last_below(inside, ranks - before)


def _membership(edges: np.ndarray, ends: np.ndarray) -> sparse.csr_matrix:
    """(columns, spans): 1 where a column belongs to a span."""
    span = np.repeat(np.arange(len(edges)), ends - edges)
    return sparse.csr_matrix((np.ones(len(span)), span, np.arange(len(span) + 1)), shape=(len(span), len(edges)))


def _last_below(cumulative: np.ndarray, ranks: np.ndarray) -> np.ndarray:
    """How many columns end at or before each rank, (2, resamples)."""
    return np.stack([np.count_nonzero(cumulative <= rank[:, None], axis=1) for rank in ranks])


def _cumulative(weights: np.ndarray, counts: sparse.csr_matrix) -> np.ndarray:
    """(resamples, columns): cumulative counts of every resample. float64 for a fast product, and exact: it sums whole numbers."""
    total = np.zeros((len(weights), counts.shape[1]))
    for first in range(0, counts.shape[0], _IMAGE_BLOCK):
        block = slice(first, first + _IMAGE_BLOCK)
        total = total + _product(weights[:, block], np.cumsum(counts[block].toarray(), axis=1))
    return total


def _product(left: np.ndarray, right: np.ndarray) -> np.ndarray:
    """left @ right, some rows at a time."""
    rows = max(1, _ALONE // right.size)
    return np.concatenate([left[first : first + rows] @ right for first in range(0, len(left), rows)])
