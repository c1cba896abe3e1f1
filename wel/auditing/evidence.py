"""What an audit measures of one method: are its maps the same for another class, above random layers, for random relevance, and do they
find what the score depends on?"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any, Mapping, NamedTuple, Sequence

import numpy as np

from wel.auditing.plan import Plan, depths_for, has_others
from wel.auditing.verdicts import UNDEFINED, Measurement, alike, converged
from wel.backends import find_backend
from wel.backends.native.memory import images_in_common, images_within
from wel.backends.native.sweep import Passes
from wel.backends.request import Injection, Request
from wel.errors import UnsupportedError
from wel.measures.cosine import chance_level
from wel.measures.counting import Cosines, Counted
from wel.measures.counts import CosineCounts
from wel.measures.intervals import summary
from wel.measures.participation import Participation, Ratios
from wel.measures.similarity import heats, is_picture, reduce_channels, similarity, whole_cosines
from wel.measures.vectors import random_vectors
from wel.methods.registry import Method
from wel.networks.network import Network
from wel.studies.cascading import Fresh, fresh_from, randomized
from wel.studies.effective_rank import jackknife
from wel.studies.faithfulness import Hidden, default_hiding
from wel.studies.maps import class_vectors, maps_of, one_hot
from wel.studies.random_logit import other_classes
from wel.studies.tops import Tops, come_together, in_batches, map_injection

COSINES, PARTICIPATION = Cosines(), Participation()
FEWEST_VALUES = 10  # of an input, below which maps are parallel by chance
EXAMPLES = 2  # images whose maps are shown
MAPS = ("true class", "other class", "random above the topmost cut")


@dataclass(frozen=True)
class Evidence:
    """What was measured of a method under one semantics.

    Attributes:
        tests: in the order another class, random layers from the topmost cut down, convergence.
        csc: one row per start layer and layer, as audit.json has it.
        examples: (k, 3, h, w) maps of the first images, as `MAPS` says, channels reduced; None where maps are no pictures.
        curves: scores while the image is hidden, (n, parts + 1) each (`wel.studies.faithfulness.Hidden.curves`); empty where an image
            has one region only.
    """

    tests: list[Measurement]
    csc: list[dict[str, Any]]
    examples: np.ndarray | None
    curves: Mapping[str, np.ndarray] = field(default_factory=dict)


@dataclass(frozen=True)
class Converging:
    """Measures |cos| at every node, and at the input participation ratios too: pairs, the second None elsewhere."""

    input: str

    def read(self, name, relevance):
        return COSINES.read(name, relevance), PARTICIPATION.read(name, relevance) if name == self.input else ()

    def of_starts(self, kept, starts):
        counted = COSINES.of_starts(kept[0], starts)
        return list(zip(counted, PARTICIPATION.of_starts(kept[1], starts) if kept[1] else [None] * starts))

    def of(self, relevance):
        raise NotImplementedError("an audit computes in the native engine")


class Maps(NamedTuple):
    """Maps of a method, (n, *input shape): of the true class, of another one, and above each cut, or why there are none."""

    true: np.ndarray
    other: np.ndarray | None
    above: dict[str, tuple[np.ndarray | None, str]]


class Examiner:
    """Measures method after method on one network; compiled sweeps and fresh weights are kept from one to the next."""

    def __init__(self, net: Network, plan: Plan):
        self.net, self.plan = net, plan
        self.others = others_of(net, plan)
        self._fresh = Fresh(net, plan.seed)
        graph = net.graph
        self._stages = {depth: graph.names[graph.index(depth) + 1] for depth in plan.depths}
        self._why = {depth: self._why_not(stage) for depth, stage in self._stages.items()}
        self._passes: dict[tuple[int, ...], Passes] = {}
        self._reference = Passes().of_reference
        several = (graph.nodes, *(graph.nodes[graph.index(stage) :] for stage in self._stages.values()))
        self._kept = images_in_common(several)
        self._followed = plan.starts if plan.images[0].size >= FEWEST_VALUES else []
        self._with_vectors, self._without = self._batches()
        self._images = self._hidden_images()
        self._tops = Tops(net, [stage for depth, stage in self._stages.items() if not self._why[depth]], self._fresh)

    def examine(self, request: Request) -> Evidence:
        """Measures a method: of one with rules of its own all maps and all random relevance of an image come down in one sweep.

        Raises:
            UnsupportedError: when it cannot be computed for the network.
        """
        if request.method.csc:
            maps, rank, csc = self._swept(request)
        else:
            maps = self._together(request) if come_together(request.method) else self._one_by_one(request)
            rank, csc = [], []
        tests = [] if maps.other is None else [self._compared(request, maps.true, maps.other, test="other_class")]
        for depth, (above, why) in maps.above.items():
            tests.append(self._compared(request, above, maps.true, test="randomised", above=self.net.shown(depth), why=why))
        topmost = next((above for above, _ in maps.above.values()), None)
        return Evidence(tests + rank, csc, self._examples(request.method, maps.true, maps.other, topmost), self._hidden(request, maps.true))

    def _batches(self) -> tuple[list[range], list[range]]:
        """The images that are computed together, those with random vectors and the others: the same ones for all methods, which have what
        is known of them in common."""
        plan = self.plan
        rows = 1 + (self.others is not None) + len(self._stages) + plan.vectors * len(self._followed)
        size = max(1, images_within(None, self.net.graph, rows, "float32"))
        numbers = range(len(plan.images))
        return in_batches(numbers[: plan.vector_images], size), in_batches(numbers[plan.vector_images :], size)

    def _hidden_images(self) -> Hidden | None:
        plan, some = self.plan, slice(self.plan.hidden_images)
        hiding = default_hiding(plan.images, plan.parts, plan.seed) if plan.hidden_images else None
        return None if hiding is None else Hidden(self.net, plan.images[some], plan.classes.index[some], hiding)

    def _hidden(self, request: Request, maps: np.ndarray) -> dict[str, np.ndarray]:
        if self._images is None:
            return {}
        return self._images.curves(heats(maps[: self.plan.hidden_images], request.method.reduction))

    def _why_not(self, stage: str) -> str:
        """Why layers from a stage on cannot be made random, in a sentence; a layer of somebody's own may be without initialisers."""
        try:
            fresh_from(self.net, stage, self._fresh)
        except UnsupportedError as error:
            return error.reason
        return ""

    def _swept(self, request: Request) -> tuple[Maps, list[Measurement], list[dict[str, Any]]]:
        plan, swept = self.plan, {depth: stage for depth, stage in self._stages.items() if stage in self._tops.stages}
        found, relevance = [], _Random(self.net, plan, self._followed)
        for batches, starts in ((self._with_vectors, self._followed), (self._without, [])):
            found += self._down(request, batches, list(swept.values()), starts, relevance)
        true, *more = (np.concatenate(several) for several in zip(*found))
        above = dict(zip(swept, [(rows[:, 0], "") for rows in more]))
        several = {depth: above[depth] if depth in above else self._random_maps(request, depth) for depth in plan.depths}
        return Maps(true[:, 0], None if self.others is None else true[:, 1], several), *relevance.found()

    def _down(
        self, request: Request, batches: Sequence[range], stages: list[str], starts: Sequence[str], relevance: _Random
    ) -> list[list[np.ndarray]]:
        """Batch by batch, the maps of the trained network and of each stage, (batch, V, *input shape); random relevance is noted."""
        graph, plan = self.net.graph, self.plan
        heads = [self._heads(plan.classes.index), *([] if self.others is None else [self._heads(self.others)])]
        begins = [np.stack(heads, axis=1), *[heads[0][:, None]] * len(stages)]
        injections = [map_injection(graph, array.shape[1], stage) for stage, array in zip([None, *stages], begins)]
        injections += [Injection(start, plan.vectors, frozenset(plan.layers), Converging(graph.input)) for start in starts]
        opened = find_backend("native", request.method).open(self.net)
        most = opened.images_at_once(sum(one.vectors for one in injections), request)
        left, found = sum(map(len, batches)), []
        for batch in (part for whole in batches for part in in_batches(whole, most)):
            some = slice(batch.start, batch.stop)
            vectors = [*(array[some] for array in begins), *(self._vectors(start, batch) for start in starts)]
            read = opened.inject(request, plan.images[some], injections, vectors, left, self._tops.graph, self._known(batch))
            left -= len(batch)
            found.append([maps[graph.input] for maps in read[: len(begins)]])
            relevance.note(batch, read[len(begins) :])
        return found

    def _known(self, batch: range) -> Passes | None:
        """What other methods have computed of some images, and this one will have; None for images of which nothing is kept, and for parts
        of a batch, which a method has that takes more memory than others."""
        if batch[-1] >= self._kept or batch not in (*self._with_vectors, *self._without):
            return None
        return self._passes.setdefault(tuple(batch), Passes(of_reference=self._reference))

    def _heads(self, classes: np.ndarray) -> np.ndarray:
        """Maps begin with 1, not with the logit: a factor changes no picture, but where the original stack cuts off negative relevance
        (Add, under `paper`), a negative logit would leave none."""
        return one_hot(classes, *self.net.output_shape)

    def _together(self, request: Request) -> Maps:
        """Maps of a method that is made of another one, or of scores, those of the stages that can be had with the others among them."""
        depths = depths_for(self.plan, request.method)
        stages = [self._stages[depth] for depth in depths if self._stages[depth] in self._tops.stages]
        true, *others = (self._heads(classes) for classes in (self.plan.classes.index, self.others) if classes is not None)
        heads = {None: np.stack([true, *others], axis=1), **dict.fromkeys(stages, true[:, None])}
        opened, from_logit = find_backend("native", request.method).open(self.net), request.method.head == "logit"
        settings = from_logit, self.plan.seed, self._known, [*self._with_vectors, *self._without]
        maps = self._tops.maps(opened, request, self.plan.images, heads, *settings)
        above = {
            depth: (maps[stage][:, 0], "") if (stage := self._stages[depth]) in maps else self._random_maps(request, depth)
            for depth in depths
        }
        return Maps(maps[None][:, 0], maps[None][:, 1] if others else None, above)

    def _one_by_one(self, request: Request) -> Maps:
        """Maps of a method that tells nothing of how it is made."""
        true = self._maps(request, self.plan.classes.index)
        other = None if self.others is None else self._maps(request, self.others)
        return Maps(true, other, {depth: self._random_maps(request, depth) for depth in depths_for(self.plan, request.method)})

    def _maps(self, request: Request, classes: np.ndarray) -> np.ndarray:
        plan, net = self.plan, self.net
        heads = self._heads(classes) if request.method.csc else class_vectors(net, request.method, plan.images, classes)
        return maps_of(net, request, plan.images, heads, seed=plan.seed)

    def _random_maps(self, request: Request, depth: str) -> tuple[np.ndarray | None, str]:
        """Maps of the network with everything above a cut random, by themselves, or why there are none."""
        if self._why[depth]:
            return None, self._why[depth]
        with randomized(self.net, self._stages[depth], self._fresh):
            return self._maps(request, self.plan.classes.index), ""

    def _compared(self, request: Request, one: np.ndarray | None, other: np.ndarray | None, **what: Any) -> Measurement:
        """Two maps, of which the second may flip; undefined where one is missing."""
        drawn = is_picture(self.plan.images.shape[1:])
        values, cosines = self._values(request, one, other, drawn)
        found, cosine = summary(values, self.plan.seed), summary(cosines, self.plan.seed)["median"]
        interval = found["median"], found["ci_low"], found["ci_high"]
        known = found["values"] > 0 and 2 * found["values"] >= found["images"]
        outcome = alike(*interval[1:], cosine, found["values"], self.plan.thresholds) if known else UNDEFINED
        named = {"measure": "ssim" if drawn else "cosine", "images": found["values"], "cosine": cosine, "outcome": outcome}
        return Measurement(**named, **what, **_named(interval))

    def _values(self, request: Request, one: np.ndarray | None, other: np.ndarray | None, drawn: bool) -> tuple[np.ndarray, np.ndarray]:
        """How alike maps are, image by image, by SSIM if they are `drawn`, and by |cos|."""
        undefined = np.full(len(self.plan.images), np.nan)
        if one is None or other is None:
            return undefined, undefined
        cosines = undefined if one[0].size < FEWEST_VALUES else whole_cosines(one, other)
        if not drawn:
            return cosines, cosines
        method = request.method
        return similarity(one, other, method.reduction, method.map_percentile, request.semantics), cosines

    def _vectors(self, start: str, batch: Sequence[int]) -> np.ndarray:
        return random_vectors(self.plan.seed, start, batch, self.plan.vectors, self.net.graph[start].shape)

    def _examples(self, method: Method, *maps: np.ndarray | None) -> np.ndarray | None:
        if not is_picture(self.plan.images.shape[1:]):
            return None
        blank = np.full_like(maps[0][:EXAMPLES], np.nan)
        shown = [blank if some is None else some[:EXAMPLES] for some in maps]
        return np.stack([reduce_channels(some, method.reduction) for some in shown], axis=1).astype("float32")


class _Random:
    """What becomes of random relevance, from batch to batch."""

    def __init__(self, net: Network, plan: Plan, starts: Sequence[str]):
        self._net, self._plan, self._starts = net, plan, starts
        self._counts: dict[tuple[str, str], list[CosineCounts]] = {}
        self._ranks: list[np.ndarray] = []

    def note(self, batch: Sequence[int], read: Sequence[Mapping[str, tuple[Counted, Ratios | None]]]) -> None:
        """Takes what was measured of some images, for each start layer."""
        for start, several in zip(self._starts, read):
            for layer, (counted, ratios) in several.items():
                self._counts.setdefault((start, layer), []).append(counted.counts.numbered(batch))
                if ratios is not None and start == self._starts[0]:
                    self._ranks.append(ratios.layer)

    def found(self) -> tuple[list[Measurement], list[dict[str, Any]]]:
        """The effective rank of the first start layer, and one row per start layer and layer, from the output down."""
        merged = {place: CosineCounts.merged(parts) for place, parts in sorted(self._counts.items(), key=self._order)}
        rank = [self._rank(self._starts[0], np.concatenate(self._ranks))] if self._ranks else []
        return rank, [self._row(*place, counts) for place, counts in merged.items()]

    def _order(self, item: tuple[tuple[str, str], Any]) -> tuple[int, int]:
        """From the output down, first by start layer, then by layer."""
        (start, layer), _ = item
        return -self._net.graph.index(start), -self._net.graph.index(layer)

    def _row(self, start: str, layer: str, counts: CosineCounts) -> dict[str, Any]:
        found = counts.summary(self._plan.seed, resamples=1)
        place = {"start": self._net.shown(start), "layer": self._net.shown(layer), "layer_index": self._net.graph.index(layer)}
        baseline = chance_level(self._net.graph[layer].shape[-1])
        return {**place, **{name: found[name] for name in ("median", "p5", "p95")}, "baseline": baseline}

    def _rank(self, start: str, values: np.ndarray) -> Measurement:
        rank, error = jackknife(values)
        interval = rank, max(1.0, rank - 2 * error), rank + 2 * error
        outcome = converged(*interval[1:], self._plan.thresholds)
        place = {"start": self._net.shown(start), "images": len(values)}
        return Measurement(test="convergence", measure="effective_rank", outcome=outcome, **place, **_named(interval))


def others_of(net: Network, plan: Plan) -> np.ndarray | None:
    """A random other class of each image; None where its map tells nothing."""
    return other_classes(plan.classes.index, net.output_shape[-1], plan.seed) if has_others(net) else None


def _named(interval: tuple[float, float, float]) -> dict[str, float]:
    return dict(zip(("value", "low", "high"), map(float, interval)))
