"""What random logit and cascading randomisation share: maps as functions, how alike two maps are, and the median of that over images."""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from functools import partial
from numbers import Integral
from pathlib import Path
from typing import Any, Callable, Iterator, Mapping, NamedTuple, Sequence

import numpy as np
import pandas as pd

from wel.backends.request import Request, relevance_at
from wel.errors import UnsupportedError, invalid
from wel.measures.cosine import chance_level
from wel.measures.intervals import summary
from wel.measures.likeness import Likeness, Look, likeness
from wel.measures.similarity import is_picture
from wel.methods.registry import CONTROLS
from wel.networks.network import Network, classes_told
from wel.studies.maps import class_vectors, maps_of, one_hot
from wel.studies.study import Pieces, Settings, Study, run_study
from wel.studies.tops import come_together
from wel.studies.units import Arrays, Cell, Compute, Unit, Work, images_per_unit
from wel.system.progress import Steps
from wel.system.runs import Run

TEXT_COLUMNS = ("model", "method", "semantics", "backend", "stage", "class_from", "measure")
# (network, images (n, *input shape), classes (n,)) -> maps (n, *input shape)
Explainer = Callable[[Network, np.ndarray, np.ndarray], np.ndarray]
# measure -> how alike two maps of each image are by it, (n,)
Alike = Mapping[str, np.ndarray]
# two such stacks of maps -> how alike they are; where a map is flipped, it is one of the second
Comparison = Callable[[np.ndarray, np.ndarray], Alike]
# what was measured: cell -> its parts, and how alike the maps of every image are
Found = Mapping[Cell, Mapping[str, Alike]]


@dataclass(frozen=True)
class SanityResult:
    """What a study of maps found.

    Attributes:
        table: one row per method and semantics (and stage) and measure (`wel.measures.likeness`); statistics over images as columns,
            and as `baseline` what |cos| of maps with signs is by chance. Behind the methods come the controls `random` and `edges`.
        images: one row per method and semantics (and stage) and image: classes, and how alike its maps are.
        skipped: methods of "all" that do not apply to the network, and why.
    """

    table: pd.DataFrame
    images: pd.DataFrame
    skipped: dict[str, str] = field(default_factory=dict)


class Classes(NamedTuple):
    """The true class of every image, and whether a "label" or the "prediction" says so; both (n,)."""

    index: np.ndarray
    known_from: np.ndarray


class Kept(NamedTuple):
    """Where a study keeps its work, and whom it tells: run directory, what else `run.json` keeps, and steps."""

    out: Path | None
    context: Mapping[str, Any] | None
    steps: Steps | None


def true_classes(net: Network, images: np.ndarray, given: Sequence[int | None] | None) -> Classes:
    """The class of each image, a logit: the given one, and the top-1 prediction where it is None.

    A network with one logit tells two classes apart, but its labels 0 and 1 name no logit: then every class is 0, from "prediction".

    Raises:
        WelError: for classes that the network does not have, or a network whose output is not one vector of logits.
    """
    count = net.count_logits()
    given, told = [None] * len(images) if given is None else list(given), classes_told(count)
    fits = all(one is None or isinstance(one, Integral) and 0 <= one < told for one in given)
    if len(given) != len(images) or not fits:
        raise invalid("classes", given, f"{len(images)} whole numbers from 0 to {told - 1}, or None where the class is not known")
    if count == 1:
        given = [None] * len(images)
    predicted = net.logits(images).argmax(axis=1) if None in given else given
    index = np.array([top if one is None else one for one, top in zip(given, predicted)], dtype="int64")
    return Classes(index, np.array(["prediction" if one is None else "label" for one in given]))


class MapStudy(Study):
    """A study of maps, of the methods that were asked for and of the controls.

    Attributes:
        classes: the class of every image.
        drawn: whether maps are pictures.
        likeness: what maps are compared by: pictures by SSIM, others by |cos| and by rank correlation, unless it was given.
    """

    def __init__(self, settings: Settings, classes: Sequence[int | None] | None, compared_by: Likeness | None = None):
        self.drawn = is_picture(settings.net.input_shape)
        self.likeness = compared_by or likeness(self.drawn)
        self._asked = settings.methods
        if not self.drawn and np.prod(settings.net.input_shape) < 2:
            raise invalid("model", settings.net.name, "a network whose inputs hold two values or more, so that maps can be compared")
        super().__init__(replace(settings, methods=list(dict.fromkeys([*settings.methods, *CONTROLS]))))
        self.check_any()
        self.classes = true_classes(self.net, self.images, classes)

    def check_any(self) -> None:
        """Raises UnsupportedError, with the first reason, when no method that was asked for is left to compute."""
        if not any(cell.method in self._asked for cell in self.requests):
            raise UnsupportedError(next(iter(self.refused.values())))

    def record(self) -> dict[str, Any]:
        of_classes = {"classes": self.classes.index.tolist(), "classes_from": self.classes.known_from.tolist()}
        return {**super().record(), **of_classes}

    def units(self, cell: Cell, kept: Mapping[str, Arrays], vectors: int, make: Callable[[Block], Compute]) -> Iterator[Unit]:
        """The units of a cell that a run directory lacks, of some images each.

        Args:
            cell, kept: as for `Study.measured`.
            vectors: how many relevances, or so, an image has of a method like the gradient.
            make: what computes a unit.
        """
        size = images_per_unit(self.net.graph, vectors * cell.method.cost)
        for first in range(0, len(self.images), size):
            name, some = f"{first:06d}", slice(first, first + size)
            if name not in kept:
                yield Unit(cell, name, self.images[some], make(Block(first, self.classes.index[some], self.seed)))

    def found(
        self, run: Run, steps: Steps | None, vectors: int, make: Callable[[Block], Compute]
    ) -> dict[Cell, dict[str, dict[str, np.ndarray]]]:
        """Computes what a run directory does not hold yet; of every cell what the names "part/name" of the units' arrays, of all images,
        say: {part: {name: array}}. One step for each image of a cell.

        Raises:
            UnsupportedError: when there is nothing that can be computed.
        """
        measured = self.measured(
            run, steps or Steps(), len(self.images), lambda cell, kept: self.units(cell, kept, vectors, make), _images_of
        )
        self.check_any()
        return {cell: _by_part(pieces) for cell, pieces in measured.items()}

    def summaries(self, place: dict[str, Any], alike: Alike) -> list[dict[str, Any]]:
        """Rows of a table, one for each measure: `place`, and the statistics over images."""
        chance = np.nan if self.likeness.absolute else chance_level(int(np.prod(self.net.input_shape)))
        rows = [{**place, "measure": name, **summary(values, self.seed)} for name, values in alike.items()]
        return [{**row, "baseline": chance if row["measure"] == "cosine" else np.nan} for row in rows]

    def rows_of_images(self, key: dict[str, str], alike: Alike, **more: Any) -> pd.DataFrame:
        """One row per image: `key`, what all of them share; the image's index and class; `more`; and how alike its maps are."""
        image = {"image": np.arange(len(self.images)), "true_class": self.classes.index, "class_from": self.classes.known_from}
        return pd.DataFrame({**key, **image, **more, **alike})

    def result(
        self,
        name: str,
        vectors: int,
        make: Callable[[Block], Compute],
        tables: Callable[[Found], tuple[pd.DataFrame, pd.DataFrame]],
        more: Mapping[str, Any],
        kept: Kept,
    ) -> SanityResult:
        """Computes what a run directory does not hold yet, and writes `<name>.csv` and `<name>_images.csv`.

        Args:
            name: of the study, as its files are called.
            vectors, make: as for `units`; a unit's arrays are called "part/measure".
            tables: function (what was measured) -> `table` and `images` of the result.
            more: what decides the numbers beside `self.record()`.
            kept: where.
        """

        def run_anew(run: Run) -> SanityResult:
            table, images = tables(self.found(run, kept.steps, vectors, make))
            run.write_table(f"{name}.csv", table)
            run.write_table(f"{name}_images.csv", images)
            run.finish(skipped=self.skipped)
            return SanityResult(table, images, self.skipped)

        return run_study(kept.out, {"study": name, **self.record(), **more}, kept.context, run_anew, partial(_read, name))


@dataclass(frozen=True, eq=False)
class Block:
    """Some images of a study, one after another, and how maps of them are made, in this process or on a worker.

    Attributes:
        first: number of the first one in the study.
        classes: of each.
        seed: the study's.
    """

    first: int
    classes: np.ndarray
    seed: int

    def of(self, array: np.ndarray) -> np.ndarray:
        """The rows of an array with one for each of the study's images."""
        return array[self.first : self.first + len(self.classes)]

    def explainer(self, work: Work, first: int | None = None) -> Explainer:
        """The method as a function; what it takes from the images or as patterns is settled once, for all images and all weights.

        `first` is the number of the first image that it will be given, by default the block's.
        """
        number = self.first if first is None else first

        def explain(net: Network, images: np.ndarray, classes: np.ndarray) -> np.ndarray:
            heads = class_vectors(net, work.request.method, images, classes)
            return maps_of(net, work.request, images, heads, work.backend, self.seed, number)

        return explain

    def maps(self, work: Work, classes: Sequence[np.ndarray]) -> list[np.ndarray]:
        """The maps of several classes of each image, (n, *input shape) for each, in one sweep where that can be."""
        method = work.request.method
        if not (work.backend == "native" and method.csc):
            return [self.explainer(work)(work.net, work.images, chosen) for chosen in classes]
        heads = np.stack([class_vectors(work.net, method, work.images, chosen) for chosen in classes], axis=1)
        ends = work.net.graph.output, work.net.graph.input
        found = relevance_at(work.opened, work.request, work.images, ends[0], heads.astype("float32"), [ends[1]])
        return list(np.moveaxis(found[ends[1]], 1, 0))


def is_swept(work: Work) -> bool:
    """Whether maps of several stages are computed together."""
    return work.backend == "native" and come_together(work.request.method)


def head(work: Work, classes: np.ndarray) -> tuple[np.ndarray, bool]:
    """What maps of classes begin with at the output, (n, classes), and whether that is multiplied with the logits there."""
    return one_hot(classes, *work.net.output_shape), work.request.method.head == "logit"


def comparison(compared_by: Likeness, request: Request) -> Comparison:
    """How alike a method's maps are by each measure."""
    look = Look(request.method.reduction, request.method.map_percentile, request.semantics)
    return partial(compared_by.of, look=look)


def named(part: str, arrays: Arrays) -> dict[str, np.ndarray]:
    """Arrays of a part of a cell, by the names that they have among those of a unit."""
    return {f"{part}/{name}": array for name, array in arrays.items()}


def _images_of(arrays: Arrays) -> int:
    return len(next(iter(arrays.values())))


def _by_part(pieces: Pieces) -> dict[str, dict[str, np.ndarray]]:
    """part -> name -> array of all images, of pieces with arrays "part/name" of some images each."""
    ordered = [pieces[name] for name in sorted(pieces)]
    found: dict[str, dict[str, np.ndarray]] = {}
    for key in ordered[0]:
        part, _, name = key.rpartition("/")
        found.setdefault(part, {})[name] = np.concatenate([piece[key] for piece in ordered])
    return found


def _read(name: str, run: Run) -> SanityResult:
    table, images = (run.read_table(file, TEXT_COLUMNS) for file in (f"{name}.csv", f"{name}_images.csv"))
    return SanityResult(table, images, run.record["context"].get("skipped", {}))
