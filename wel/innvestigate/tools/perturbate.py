"""Regions of pictures changed in the order of a map, and what a model loses by it (innvestigate's pixel flipping)."""

from __future__ import annotations

from typing import Any, Callable, Iterable

import numpy as np

from wel.errors import check_whole, invalid, one_of
from wel.system.progress import progress

FUNCTIONS: dict[str, Callable] = {"zeros": np.zeros_like, "mean": np.mean, "invert": np.negative}
GAUSSIAN, SPREAD = "gaussian", 0.3


class Perturbation:
    """Changes the regions of a picture to which a map gives most, in the order of its sums, means, …

    Args:
        perturbation_function: "zeros", "mean" (of a region and colour), "invert" (its negative), "gaussian" (noise N(0, 0.3²)), or what
            makes a region (height, width) of one, or a number.
        num_perturbed_regions: how many regions of a picture are changed.
        region_shape: (height, width) of a region.
        reduce_function: takes colours together, called with `axis` and `keepdims`.
        aggregation_function: takes the map's values in a region together, called with `axis`.
        pad_mode: of `numpy.pad`, for pictures that are no whole number of regions high or wide; half of what lacks comes before.
        in_place: whether pictures are changed themselves, where they need no padding.
        value_range: (least, largest) value of the changed pictures, else as they come.
        seed: of "gaussian".

    Raises:
        WelError: for a function that is none.
    """

    def __init__(
        self,
        perturbation_function: str | Callable,
        num_perturbed_regions: int = 0,
        region_shape: tuple[int, int] = (9, 9),
        reduce_function: Callable = np.mean,
        aggregation_function: Callable = np.mean,
        pad_mode: str | Callable = "reflect",
        in_place: bool = False,
        value_range: tuple[float, float] | None = None,
        seed: int = 0,
    ):
        check_whole("seed", seed, 0)
        self._random = np.random.default_rng(seed)
        self.perturbation_function = self._function(perturbation_function)
        self.num_perturbed_regions = num_perturbed_regions
        self.region_shape = region_shape
        self.reduce_function, self.aggregation_function = reduce_function, aggregation_function
        self.pad_mode, self.in_place, self.value_range = pad_mode, in_place, value_range

    def _function(self, asked: str | Callable) -> Callable:
        if asked == GAUSSIAN:
            return lambda region: self._random.normal(scale=SPREAD, size=region.shape)
        if callable(asked):
            return asked
        if asked not in FUNCTIONS:
            raise invalid("perturbation_function", asked, f"a function, or {one_of([*FUNCTIONS, GAUSSIAN])}")
        return FUNCTIONS[asked]

    def perturbate_on_batch(self, x: np.ndarray, analysis: np.ndarray) -> np.ndarray:
        """Pictures with `num_perturbed_regions` regions each changed.

        Args:
            x: the pictures, (n, height, width, colours).
            analysis: their maps, of the same shape.

        Raises:
            WelError: for maps of another shape.
        """
        if np.shape(x) != np.shape(analysis):
            raise invalid("analysis", f"maps of shape {np.shape(analysis)}", f"the shape of the pictures, {np.shape(x)}")
        pictures, maps = (np.moveaxis(array, -1, 1) for array in (x if self.in_place else np.copy(x), analysis))
        ends = [self._ends(size, region) for size, region in zip(pictures.shape[2:], self.region_shape)]
        pictures, maps = self._padded(pictures, ends), self._padded(self.reduce_function(maps, axis=1, keepdims=True), ends)
        ranks = self._compute_region_ordering(self._aggregate_regions(maps))
        self._change(pictures, self._compute_perturbation_mask(ranks, self.num_perturbed_regions))
        (top, bottom), (left, right) = ends
        height, width = pictures.shape[2:]
        return np.moveaxis(pictures[:, :, top : height - bottom, left : width - right], 1, -1)

    @staticmethod
    def _ends(size: int, region: int) -> tuple[int, int]:
        lacking = -size % region
        return lacking // 2, lacking - lacking // 2

    def _padded(self, array: np.ndarray, ends: list[tuple[int, int]]) -> np.ndarray:
        return np.pad(array, [(0, 0), (0, 0), *ends], self.pad_mode) if np.any(ends) else array

    def _in_regions(self, array: np.ndarray) -> np.ndarray:
        """(n, colours, height, width) as (n, colours, rows, height of a region, columns, width of a region), of the same memory."""
        n, colours, height, width = array.shape
        high, wide = self.region_shape
        return array.reshape(n, colours, height // high, high, width // wide, wide)

    def _aggregate_regions(self, analysis: np.ndarray) -> np.ndarray:
        return self.aggregation_function(self._in_regions(analysis), axis=(3, 5))

    @staticmethod
    def _compute_region_ordering(aggregated_regions: np.ndarray) -> np.ndarray:
        """Of every region its rank in the picture, 0 for the one to which the map gives most."""
        flat = aggregated_regions.reshape(*aggregated_regions.shape[:2], -1)
        return np.argsort(-flat, axis=-1, kind="stable").argsort().reshape(aggregated_regions.shape)

    @staticmethod
    def _compute_perturbation_mask(ranks: np.ndarray, num_perturbated_regions: int) -> np.ndarray:
        return ranks < num_perturbated_regions

    def _change(self, pictures: np.ndarray, mask: np.ndarray) -> None:
        regions = self._in_regions(pictures)
        for number, _, row, column in np.argwhere(mask):
            for region in regions[number, :, row, :, column]:
                region[...] = self.perturbation_function(region)
        if self.value_range is not None:
            np.clip(pictures, *self.value_range, out=pictures)


class PerturbationAnalysis:
    """How a model's loss and metrics change as more and more regions are changed in the order of an analyzer's maps.

    Args:
        analyzer: whose `analyze` gives maps.
        model: a compiled Keras model.
        generator: batches (pictures, targets), to be had more than once, such as a `BatchSequence`.
        perturbation: a `Perturbation`, or anything with its `perturbate_on_batch` and `num_perturbed_regions`.
        steps: how often more regions are changed.
        regions_per_step: how many more; the first step changes one.
        recompute_analysis: whether the maps are computed anew at every step, instead of being kept in memory.
        verbose: whether a bar shows the steps.
    """

    def __init__(
        self,
        analyzer: Any,
        model: Any,
        generator: Iterable,
        perturbation: Perturbation,
        steps: int = 1,
        regions_per_step: int = 1,
        recompute_analysis: bool = False,
        verbose: bool = False,
    ):
        self.analyzer, self.model, self.generator, self.perturbation = analyzer, model, generator, perturbation
        self.steps, self.regions_per_step, self.recompute_analysis, self.verbose = steps, regions_per_step, recompute_analysis, verbose
        kept = [] if recompute_analysis else [(x, y, analyzer.analyze(x)) for x, y in generator]
        self.analysis_generator = generator if recompute_analysis else kept

    def compute_on_batch(self, x: np.ndarray, analysis: np.ndarray | None = None, return_analysis: bool = False) -> Any:
        """Pictures with regions changed, and if it is asked for the maps by which they are; those are computed where they are not given."""
        analysis = self.analyzer.analyze(x) if analysis is None else analysis
        changed = self.perturbation.perturbate_on_batch(x, analysis)
        return (changed, analysis) if return_analysis else changed

    def evaluate_on_batch(self, x: np.ndarray, y: np.ndarray, analysis: np.ndarray | None = None) -> Any:
        """The model's loss on pictures with regions changed, or a list of its loss and metrics."""
        return self.model.test_on_batch(self.compute_on_batch(x, analysis), y)

    def evaluate_generator(self, generator: Iterable) -> Any:
        """The same over batches (pictures, targets) or (pictures, targets, maps): the mean of theirs, by how many pictures they have."""
        return _mean((len(batch[0]), self.evaluate_on_batch(*batch)) for batch in generator)

    def compute_perturbation_analysis(self) -> list:
        """Loss, or lists of loss and metrics, of the pictures as they are and after every step."""
        scores = [_mean((len(batch[0]), self.model.test_on_batch(*batch[:2])) for batch in self.analysis_generator)]
        self.perturbation.num_perturbed_regions = 1
        with progress() as bar:
            bar.disable = not self.verbose
            for _ in bar.track(range(self.steps), description="perturbation"):
                scores.append(self.evaluate_generator(self.analysis_generator))
                self.perturbation.num_perturbed_regions += self.regions_per_step
        self.perturbation.num_perturbed_regions = 1
        return scores


def _mean(batches: Iterable[tuple[int, Any]]) -> Any:
    counts, scores = zip(*batches)
    found = np.average(np.asarray(scores), axis=0, weights=counts)
    return found.tolist() if found.ndim else found
