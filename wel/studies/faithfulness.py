"""Faithfulness: does the class's score fall when what a map calls relevant is hidden, and stay when it is left?

The image is cut into regions: squares of `patch` places, or about as many superpixels (SLIC, Achanta et al. 2012). A region counts as
much as the map's mean over it; regions that count the same come in random order. They are hidden one after the other, in parts of equally
many:

    deletion    area under the score while regions are hidden, the most relevant first: low is good
    insertion   area under the score while they are hidden, the least relevant first, which is also the curve of uncovering the most
                relevant ones first, backwards: high is good
    gain        insertion − deletion: 0 on average for a map that knows nothing, whatever the network and the way of hiding

over the share of regions that is hidden, from 0 to 1, by the trapezoid rule. The score is the class's probability, where the network's
last activation gives one, else its logit.

Sources: Samek et al. (2017), pixel flipping; Petsiuk et al. (2018), deletion and insertion; Rong et al. (2022), hiding without traces;
Blücher et al. (2024), the gain.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import Any, Callable, Iterator, Mapping, NamedTuple, Sequence

import numpy as np
import pandas as pd
from scipy.integrate import trapezoid

from wel.errors import check_whole, invalid, one_of
from wel.measures.hiding import WAYS, hidden
from wel.measures.intervals import summary
from wel.measures.places import places
from wel.measures.similarity import heats
from wel.methods.options import Patch
from wel.methods.registry import Names, choose_map_methods
from wel.networks.network import Network
from wel.studies.map_study import TEXT_COLUMNS, Block, MapStudy, named
from wel.studies.study import Settings, run_study
from wel.studies.sufficiency import likely_classes, scores, sufficiency_rows
from wel.studies.sufficiency import sufficiency as sufficient
from wel.studies.units import Arrays, Cell, Work
from wel.system.progress import Steps
from wel.system.runs import Run

MOST, LEAST, SHARE = "most", "least", "share"  # relevant first, and what is hidden
PARTS = 16  # by default: of an image so many hidden ones, twice, but for two, are one batch
MEASURES = ("deletion", "insertion", "gain")
CURVES, SUFFICIENCY = "curves", "sufficiency"  # parts of a cell's work


@dataclass(frozen=True)
class FaithfulnessResult:
    """What the study found.

    Attributes:
        table: one row per method, semantics and measure, `deletion`, `insertion` and `gain`; statistics over images as columns.
        curves: one row per method, semantics, order ("most" or "least" relevant first) and share of the image that is hidden: the
            median score over images.
        images: one row per method, semantics and image: its class and the three measures.
        skipped: methods of "all" that do not apply to the network, and why.
        sufficiency: one row per method, semantics, class ("class_rank" 1 is the image's own, 2 the most likely other one) and share of
            regions that is kept, the most relevant ones of the class's own map: the median score of the class, and in what share of
            the images it is predicted. Empty unless asked for.
    """

    table: pd.DataFrame
    curves: pd.DataFrame
    images: pd.DataFrame
    skipped: dict[str, str] = field(default_factory=dict)
    sufficiency: pd.DataFrame = field(default_factory=pd.DataFrame)


@dataclass(frozen=True)
class Hiding:
    """How images are hidden.

    Attributes:
        cut: function of an image that gives the number of the region of every place, (*places).
        side: of a region, in places.
        parts: in how many parts the regions are hidden.
        way: what stands in their place (`wel.measures.hiding`).
        seed: of what is random.
    """

    cut: Callable[[np.ndarray], np.ndarray]
    side: int
    parts: int
    way: str
    seed: int

    def kept(self, net: Network, index: int, image: np.ndarray, heat: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """All logits, (parts + 1, classes), the least relevant regions being hidden first, and the share of regions that is left."""
        regions, counts = self._regions(image)
        rng = self._generator(index)
        masks = counts[-1] - 1 - _ranks(heat, regions, rng) < counts[:, None]
        return net.logits(hidden(image, masks[:, regions], self.way, self.side, rng)), 1 - counts / counts[-1]

    def order(self, index: int, image: np.ndarray, heat: np.ndarray) -> Order:
        """In which order the regions of an image are hidden for a map (*places)."""
        regions, counts = self._regions(image)
        rng = self._generator(index)
        rank = _ranks(heat, regions, rng)
        masks = np.concatenate([ranks < counts[1:-1, None] for ranks in (rank, len(rank) - 1 - rank)])
        return Order(regions, counts / counts[-1], masks, rng)

    def _regions(self, image: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """The number of the region of every place, and how many regions are hidden after each part."""
        regions = self.cut(image)
        return regions, np.round(np.arange(self.parts + 1) * (regions.max() + 1) / self.parts)

    def _generator(self, index: int) -> np.random.Generator:
        return np.random.default_rng(np.random.SeedSequence((self.seed, index)))


class Order(NamedTuple):
    """In which order an image's regions are hidden.

    Attributes:
        regions: the number of the region of every place.
        shares: the share of regions that is hidden after each part, (parts + 1,).
        masks: what is hidden on the way, (2 × parts − 2, regions): the most relevant regions first, then the least.
        rng: draws the noise.
    """

    regions: np.ndarray
    shares: np.ndarray
    masks: np.ndarray
    rng: np.random.Generator


class Hidden:
    """Scores of images while they are hidden, in the order of one map after the other; none is computed twice.

    Args:
        net: the network.
        images, classes: (n, *input shape), and the class of each.
        hiding: how they are hidden.
        first: number of the first image.
    """

    def __init__(self, net: Network, images: np.ndarray, classes: np.ndarray, hiding: Hiding, first: int = 0):
        self._net, self._images, self._classes, self._hiding, self._first = net, images, classes, hiding, first
        self._known: dict[tuple[int, bytes], np.ndarray] = {}

    def curves(self, heats: np.ndarray) -> dict[str, np.ndarray]:
        """Scores for maps (n, *places), most and least relevant regions first, and the share that is hidden, (n, parts + 1) each.

        Scores are NaN where a map is not finite.
        """
        found = [self._curves(index, heat) for index, heat in enumerate(heats)]
        return dict(zip((MOST, LEAST, SHARE), map(np.stack, zip(*found))))

    def _curves(self, index: int, heat: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        order = self._hiding.order(self._first + index, self._images[index], np.nan_to_num(heat))
        whole, none = self._scores(index, order, np.repeat([[False], [True]], order.masks.shape[1], axis=1))
        curves = (np.hstack([whole, between, none]) for between in np.split(self._scores(index, order, order.masks), 2))
        most, least = (curve + (0.0 if np.isfinite(heat).all() else np.nan) for curve in curves)
        return most, least, order.shares

    def _scores(self, index: int, order: Order, masks: np.ndarray) -> np.ndarray:
        """Of the image, hidden as each of some masks says."""
        from wel.backends.native.scores import fast_logits  # imports TensorFlow

        key = index, masks.tobytes()
        if key not in self._known:
            images = hidden(self._images[index], masks[:, order.regions], self._hiding.way, self._hiding.side, order.rng)
            self._known[key] = scores(self._net, fast_logits(self._net, images), self._classes[index])
        return self._known[key]


def _ranks(heat: np.ndarray, regions: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """Of every region, how many come before it where the most relevant are first."""
    flat = regions.ravel()
    mean = np.bincount(flat, heat.ravel()) / np.bincount(flat)
    order = np.lexsort((rng.permutation(len(mean)), -mean))
    return np.argsort(order)


def faithfulness(
    net: Network,
    images: np.ndarray,
    methods: Names = "all",
    patch: int | None = None,
    regions: str = "squares",
    parts: int | None = None,
    baseline: str = "mean",
    classes: Sequence[int | None] | None = None,
    seed: int = 0,
    semantics: str = "paper",
    options: Mapping[str, dict] | None = None,
    out: Path | None = None,
    context: dict[str, Any] | None = None,
    steps: Steps | None = None,
    sufficiency: int | None = None,
    client: Any = None,
) -> FaithfulnessResult:
    """Measures whether maps find what the network's score of a class depends on, beside the controls `random` and `edges`.

    Args:
        net: from `wel.load`; its output is one vector of logits.
        images: (n, *input shape), as the network takes them.
        methods: "all", those of the paper's figure 2 that apply to the network, or names; the controls are always added.
        patch: side of a region, in places; an eighth of the image's shortest side by default.
        regions: "squares", or "superpixels", about as many.
        parts: in how many parts the regions are hidden, at most as many as there are; 16 by default, or fewer if there are no more.
        baseline: "mean", "blur" or "linear" (`wel.measures.hiding`).
        classes: the class of each image; where it is None, or by default, the top-1 prediction.
        seed: of ties, of the noise of "linear", of methods and of the bootstrap.
        semantics, options, out, context: as of `wel.random_logit`.
        steps: is told of progress, (method × semantics × image) steps in all.
        sufficiency: for how many classes of each image, its own and the most likely others, it is measured too whether the class is still
            predicted when the most relevant regions of the class's own map are left alone (`wel.studies.sufficiency`).
        client: a `dask.distributed.Client`, whose workers compute; the numbers stay the same to the last bit.

    Raises:
        WelError: for anything in the arguments that cannot be used.
    """
    settings = Settings(net, images, choose_map_methods(methods), methods == "all", semantics, "native", options, seed, client=client)
    study = MapStudy(settings, classes)
    hiding = _hiding(study, patch, regions, parts, baseline)
    likely = None if sufficiency is None else likely_classes(net, study.images, study.classes.index, sufficiency)
    asked = {"patch": hiding.side, "regions": regions, "parts": hiding.parts, "baseline": baseline, "sufficiency": sufficiency}

    def compute(block: Block) -> Curves:
        return Curves(block, hiding, None if likely is None else block.of(likely))

    def make(run: Run) -> FaithfulnessResult:
        measured = study.found(run, steps, 1 + hiding.parts * (1 if likely is None else 1 + likely.shape[1]), compute)
        tables = {}
        for name, (piece, rows) in ROWS.items():
            found = {cell: several[piece] for cell, several in measured.items() if piece in several}
            tables[name] = pd.DataFrame([row for cell in found for row in rows(study, cell, found[cell])])
            if found:
                run.write_table(name, tables[name])
        run.finish(skipped=study.skipped)
        return _result(tables, study.skipped)

    return run_study(out, {"study": "faithfulness", **study.record(), **asked}, context, make, _read)


def _hiding(study: MapStudy, patch: int | None, regions: str, parts: int | None, baseline: str) -> Hiding:
    side = Patch().settled("patch", patch, study.images)
    squares = _squares(places(study.net.input_shape), side)
    count = int(squares.max()) + 1
    if count < 2:
        raise invalid("patch", side, f"fewer than {side} places, so that there are two regions or more")
    parts = min(PARTS, count) if parts is None else parts
    check_whole("parts", parts, 2)
    if parts > count:
        raise invalid("parts", parts, f"at most {count}, the regions of an image")
    for name, value, known in (("regions", regions, ("squares", "superpixels")), ("baseline", baseline, WAYS)):
        if value not in known:
            raise invalid(name, value, one_of(known))
    if regions == "superpixels" and not study.drawn:
        raise invalid("regions", regions, "'squares' for inputs that are no pictures")
    return Hiding(Squares(squares) if regions == "squares" else partial(_superpixels, count), side, parts, baseline, study.seed)


def default_hiding(images: np.ndarray, parts: int, seed: int) -> Hiding | None:
    """Squares of the default side, hidden by the mean, in so many parts or as many as there are squares; None where there is but one."""
    side = Patch().settled("patch", None, images)
    squares = _squares(places(images.shape[1:]), side)
    count = int(squares.max()) + 1
    return None if count < 2 else Hiding(Squares(squares), side, min(parts, count), "mean", seed)


@dataclass(frozen=True, eq=False)
class Squares:
    """Cuts every image in the same way."""

    numbers: np.ndarray

    def __call__(self, image: np.ndarray) -> np.ndarray:
        return self.numbers


def _squares(sizes: Sequence[int], side: int) -> np.ndarray:
    """The number of the square of every place, (*sizes)."""
    numbers = [np.arange(size) // side for size in sizes]
    return np.ravel_multi_index(tuple(np.meshgrid(*numbers, indexing="ij")), [along[-1] + 1 for along in numbers])


def _superpixels(count: int, image: np.ndarray) -> np.ndarray:
    """The number of the superpixel of every place, (height, width), about `count` of them; channels are scaled to [0, 1] together."""
    from skimage.segmentation import slic  # takes a second to import

    low, high = image.min(), image.max()
    scaled = (image - low) / ((high - low) or 1)
    found = slic(scaled, count, compactness=0.1, convert2lab=False, start_label=0, channel_axis=-1)
    return np.unique(found, return_inverse=True)[1].reshape(found.shape)


@dataclass(frozen=True, eq=False)
class Curves:
    """Computes a unit: the curves of some images, and for the classes `likely` (n, K) of each what `sufficiency` gives."""

    block: Block
    hiding: Hiding
    likely: np.ndarray | None

    def __call__(self, work: Work) -> dict[str, np.ndarray]:
        block, reduction = self.block, work.request.method.reduction
        maps = block.explainer(work)(work.net, work.images, block.classes)
        images = Hidden(work.net, work.images, block.classes, self.hiding, block.first)
        found = named(CURVES, images.curves(heats(maps, reduction)))
        if self.likely is None:
            return found
        return {**found, **named(SUFFICIENCY, sufficient(block, work, self.hiding, self.likely))}


def measured(curves: Arrays) -> dict[str, np.ndarray]:
    """The three measures of every image, (n,) each."""
    deletion, insertion = (trapezoid(curves[order], curves[SHARE], axis=1) for order in (MOST, LEAST))
    return dict(zip(MEASURES, (deletion, insertion, insertion - deletion)))


def _measure_rows(study: MapStudy, cell: Cell, curves: Arrays) -> Iterator[dict[str, Any]]:
    for measure, values in measured(curves).items():
        yield {**study.row(cell), "measure": measure, **summary(values, study.seed)}


def _curve_rows(study: MapStudy, cell: Cell, curves: Arrays) -> Iterator[dict[str, Any]]:
    for order in (MOST, LEAST):
        kept = curves[order][~np.isnan(curves[order][:, 0])]
        medians = np.median(kept, axis=0) if len(kept) else np.full(kept.shape[1], np.nan)
        for share, median in zip(curves[SHARE].mean(axis=0), medians):
            yield {**study.row(cell), "order": order, "share": share, "median": median}


def _image_rows(study: MapStudy, cell: Cell, curves: Arrays) -> Iterator[dict[str, Any]]:
    key = {"method": cell.method.name, "semantics": cell.semantics}
    yield from study.rows_of_images(key, measured(curves)).to_dict("records")


# file -> the piece of a cell's work that its table is made of, and the function that gives its rows
ROWS = {
    "faithfulness.csv": (CURVES, _measure_rows),
    "faithfulness_curves.csv": (CURVES, _curve_rows),
    "faithfulness_images.csv": (CURVES, _image_rows),
    "faithfulness_sufficiency.csv": (SUFFICIENCY, sufficiency_rows),
}


def _read(run: Run) -> FaithfulnessResult:
    files = [file for file, (piece, _) in ROWS.items() if piece == CURVES or run.record["request"]["sufficiency"]]
    return _result({file: run.read_table(file, (*TEXT_COLUMNS, "order")) for file in files}, run.record["context"]["skipped"])


def _result(tables: Mapping[str, pd.DataFrame], skipped: dict[str, str]) -> FaithfulnessResult:
    table, curves, images, *more = tables.values()
    return FaithfulnessResult(table, curves, images, skipped, *more)
