"""Faithfulness: does the class's score fall when what a map calls relevant is hidden, and stay when it is left?

The image is cut into regions, squares of `patch` places. A region counts as much as the map's mean over it; regions that count the same
come in random order. They are hidden one after the other, in parts of equally many:

    deletion    area under the score while regions are hidden, the most relevant first: low is good
    insertion   area under the score while they are hidden, the least relevant first, which is also the curve of uncovering the most
                relevant ones first, backwards: high is good
    gain        insertion − deletion: 0 on average for a map that knows nothing, whatever the network and the way of hiding

over the share of regions that is hidden, from 0 to 1, by the trapezoid rule. The score is the class's probability, where the network's
last activation gives one, else its logit.

Sources: Samek et al. (2017), pixel flipping; Petsiuk et al. (2018), deletion and insertion; Rong et al. (2022), hiding without traces.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Iterable, Iterator, Mapping, Sequence

import numpy as np
import pandas as pd
from scipy.integrate import trapezoid

from wel.errors import check_whole, invalid, one_of
from wel.measures.hiding import WAYS, hidden
from wel.measures.intervals import summary
from wel.measures.places import places
from wel.measures.similarity import reduce_channels
from wel.methods.options import Patch
from wel.methods.registry import CONTROL, METHODS, choose_map_methods
from wel.networks.network import Network
from wel.studies.map_study import TEXT_COLUMNS, MapStudy
from wel.studies.study import Arrays, Cell, Piece, Settings, run_study
from wel.system.progress import Steps
from wel.system.runs import Run

MOST, LEAST = "most", "least"  # relevant first
CONTROLS = tuple(method for method in METHODS.values() if method.family == CONTROL)
MEASURES = ("deletion", "insertion", "gain")


@dataclass(frozen=True)
class FaithfulnessResult:
    """What the study found.

    Attributes:
        table: one row per method, semantics and measure, `deletion`, `insertion` and `gain`; statistics over images as columns.
        curves: one row per method, semantics, order ("most" or "least" relevant first) and share of the image that is hidden: the
            median score over images.
        images: one row per method, semantics and image: its class and the three measures.
        skipped: methods of "all" that do not apply to the network, and why.
    """

    table: pd.DataFrame
    curves: pd.DataFrame
    images: pd.DataFrame
    skipped: dict[str, str] = field(default_factory=dict)


@dataclass(frozen=True)
class Hiding:
    """How images are hidden.

    Attributes:
        regions: the number of the region of every place, (*places).
        side: of a region, in places.
        parts: in how many parts the regions are hidden.
        way: what stands in their place (`wel.measures.hiding`).
        seed: of what is random.
    """

    regions: np.ndarray
    side: int
    parts: int
    way: str
    seed: int

    @property
    def shares(self) -> np.ndarray:
        """The share of regions that is hidden, (parts + 1,)."""
        count = self.regions.max() + 1
        return np.round(np.arange(self.parts + 1) * count / self.parts) / count

    def images(self, index: int, image: np.ndarray, heat: np.ndarray) -> np.ndarray:
        """The image, hidden part by part, 2 × parts of them: as it is, the most relevant regions first, the least, and all hidden."""
        rng = np.random.default_rng(np.random.SeedSequence((self.seed, index)))
        rank = self._ranks(heat, rng)
        count = len(rank)
        counts = np.round(self.shares[1:-1, None] * count)
        most, least = (order < counts for order in (rank, count - 1 - rank))
        masks = np.concatenate([np.zeros((1, count), bool), most, least, np.ones((1, count), bool)])
        return hidden(image, masks[:, self.regions], self.way, self.side, rng)

    def curves(self, scores: np.ndarray) -> dict[str, np.ndarray]:
        """The scores (2 × parts) of these images as two curves, (parts + 1) each."""
        whole, most, least, none = np.split(scores, [1, self.parts, 2 * self.parts - 1])
        return {MOST: np.concatenate([whole, most, none]), LEAST: np.concatenate([whole, least, none])}

    def _ranks(self, heat: np.ndarray, rng: np.random.Generator) -> np.ndarray:
        """Of every region, how many come before it where the most relevant are first."""
        regions = self.regions.ravel()
        mean = np.bincount(regions, heat.ravel()) / np.bincount(regions)
        order = np.lexsort((rng.permutation(len(mean)), -mean))
        return np.argsort(order)


def faithfulness(
    net: Network,
    images: np.ndarray,
    methods: str | Iterable[str] = "all",
    patch: int | None = None,
    parts: int = 16,
    baseline: str = "mean",
    classes: Sequence[int | None] | None = None,
    seed: int = 0,
    semantics: str = "paper",
    options: Mapping[str, dict] | None = None,
    out: Path | None = None,
    context: dict[str, Any] | None = None,
    steps: Steps | None = None,
) -> FaithfulnessResult:
    """Measures whether maps find what the network's score of a class depends on, beside the controls `random` and `edges`.

    Args:
        net: from `wel.load`; its output is one vector of logits.
        images: (n, *input shape), as the network takes them.
        methods: "all", those of the paper's figure 2 that apply to the network, or names; the controls are always added.
        patch: side of a region, in places; an eighth of the image's shortest side by default.
        parts: in how many parts the regions are hidden, at most as many as there are; of an image 2 × `parts` are computed, by default
            one batch.
        baseline: "mean", "blur" or "linear" (`wel.measures.hiding`).
        classes: the class of each image; where it is None, or by default, the top-1 prediction.
        seed: of ties, of the noise of "linear", of methods and of the bootstrap.
        semantics, options, out, context: as of `wel.random_logit`.
        steps: is told of progress, one step for each method and semantics.

    Raises:
        WelError: for anything in the arguments that cannot be used.
    """
    chosen = choose_map_methods(methods)
    settings = Settings(net, images, list(dict.fromkeys([*chosen, *CONTROLS])), methods == "all", semantics, "native", options, seed)
    study = MapStudy(settings, classes)
    hiding = _hiding(study, patch, parts, baseline)
    asked = {"patch": hiding.side, "parts": parts, "baseline": baseline}

    def make(run: Run) -> FaithfulnessResult:
        def pieces(cell: Cell, there: Mapping[str, Arrays]) -> Iterator[Piece]:
            if not there:
                yield Piece("curves", _curves(study, cell, hiding))

        measured = study.measured(run, steps or Steps(), 1, pieces)
        found = {cell: several["curves"] for cell, several in measured.items()}
        tables = [pd.DataFrame([row for cell in found for row in rows(study, hiding, cell, found[cell])]) for rows in ROWS.values()]
        for name, table in zip(ROWS, tables):
            run.write_table(name, table)
        run.finish(skipped=study.skipped)
        return FaithfulnessResult(*tables, study.skipped)

    return run_study(out, {"study": "faithfulness", **study.record(), **asked}, context, make, _read)


def _hiding(study: MapStudy, patch: int | None, parts: int, baseline: str) -> Hiding:
    side = Patch().settled("patch", patch, study.images)
    numbers = [np.arange(size) // side for size in places(study.net.input_shape)]
    regions = np.ravel_multi_index(tuple(np.meshgrid(*numbers, indexing="ij")), [along[-1] + 1 for along in numbers])
    count = int(regions.max()) + 1
    check_whole("parts", parts, 2)
    if parts > count:
        raise invalid("parts", parts, f"at most {count}, the regions of an image")
    if baseline not in WAYS:
        raise invalid("baseline", baseline, one_of(WAYS))
    return Hiding(regions, side, parts, baseline, study.seed)


def _curves(study: MapStudy, cell: Cell, hiding: Hiding) -> dict[str, np.ndarray]:
    """The score of every image's class, most and least relevant regions first, (n, parts + 1) each; NaN where a map is not finite."""
    maps = study.explainer(cell)(study.net, study.images, study.classes.index)
    heats = maps if maps.ndim == 2 else reduce_channels(maps, cell.method.reduction)
    found = []
    for index, (image, heat, chosen) in enumerate(zip(study.images, heats, study.classes.index)):
        curves = hiding.curves(_scores(study.net, hiding.images(index, image, heat), chosen))
        found.append(curves if np.isfinite(heat).all() else {order: np.full_like(curve, np.nan) for order, curve in curves.items()})
    return {order: np.stack([curves[order] for curves in found]) for order in (MOST, LEAST)}


def _scores(net: Network, images: np.ndarray, chosen: int) -> np.ndarray:
    logits = net.logits(images)
    probabilities = net.probabilities(logits)
    return (logits if probabilities is None else probabilities)[:, chosen].astype("float64")


def _measured(hiding: Hiding, curves: Arrays) -> dict[str, np.ndarray]:
    """The three measures of every image, (n,) each."""
    deletion, insertion = (trapezoid(curves[order], hiding.shares, axis=1) for order in (MOST, LEAST))
    return dict(zip(MEASURES, (deletion, insertion, insertion - deletion)))


def _measure_rows(study: MapStudy, hiding: Hiding, cell: Cell, curves: Arrays) -> Iterator[dict[str, Any]]:
    for measure, values in _measured(hiding, curves).items():
        yield {**study.row(cell), "measure": measure, **summary(values, study.seed)}


def _curve_rows(study: MapStudy, hiding: Hiding, cell: Cell, curves: Arrays) -> Iterator[dict[str, Any]]:
    for order in (MOST, LEAST):
        kept = curves[order][~np.isnan(curves[order][:, 0])]
        medians = np.median(kept, axis=0) if len(kept) else np.full(len(hiding.shares), np.nan)
        for share, median in zip(hiding.shares, medians):
            yield {**study.row(cell), "order": order, "share": share, "median": median}


def _image_rows(study: MapStudy, hiding: Hiding, cell: Cell, curves: Arrays) -> Iterator[dict[str, Any]]:
    key = {"method": cell.method.name, "semantics": cell.semantics}
    yield from study.rows_of_images(key, _measured(hiding, curves)).to_dict("records")


# file -> function that gives the rows of its table for a cell
ROWS = {"faithfulness.csv": _measure_rows, "faithfulness_curves.csv": _curve_rows, "faithfulness_images.csv": _image_rows}


def _read(run: Run) -> FaithfulnessResult:
    tables = [run.read_table(file, (*TEXT_COLUMNS, "order")) for file in ROWS]
    return FaithfulnessResult(*tables, run.record["context"]["skipped"])
