"""What an audit measures of one method: are its maps the same for another class, above random layers, for random relevance?"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Sequence

import numpy as np

from wel.auditing.plan import Plan
from wel.auditing.verdicts import UNDEFINED, Measurement, alike, converged
from wel.backends import find_backend
from wel.backends.request import Request
from wel.errors import UnsupportedError
from wel.measures.cosine import chance_level
from wel.measures.counting import Cosines
from wel.measures.counts import CosineCounts
from wel.measures.intervals import summary
from wel.measures.participation import Participation
from wel.measures.similarity import is_picture, reduce_channels, similarity, whole_cosines
from wel.measures.vectors import random_vectors
from wel.methods.registry import Method
from wel.networks.network import Network
from wel.studies.cascading import Fresh, fresh_from, randomized
from wel.studies.effective_rank import jackknife
from wel.studies.maps import class_vectors, maps_of, one_hot
from wel.studies.random_logit import other_classes

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
    """

    tests: list[Measurement]
    csc: list[dict[str, Any]]
    examples: np.ndarray | None


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


class Examiner:
    """Measures method after method on one network; compiled sweeps and fresh weights are kept from one to the next."""

    def __init__(self, net: Network, plan: Plan):
        self.net, self.plan = net, plan
        self.others = others_of(net, plan)
        self._fresh = Fresh(net, plan.seed)

    def examine(self, request: Request) -> Evidence:
        """Measures a method.

        Raises:
            UnsupportedError: when it cannot be computed for the network.
        """
        true = self._maps(request, self.plan.classes.index)
        other = None if self.others is None else self._maps(request, self.others)
        above = {depth: self._random_maps(request, depth) for depth in self.plan.depths}
        tests = [] if other is None else [self._compared(request, true, other, test="other_class")]
        for depth, (maps, why) in above.items():
            tests.append(self._compared(request, maps, true, test="randomised", above=self.net.shown(depth), why=why))
        followed = request.method.csc and self.plan.starts and true[0].size >= FEWEST_VALUES
        rank, csc = self._random_relevance(request) if followed else ([], [])
        return Evidence(tests + rank, csc, self._examples(request.method, true, other, next((maps for maps, _ in above.values()), None)))

    def _maps(self, request: Request, classes: np.ndarray) -> np.ndarray:
        """Maps of the classes. They begin with 1, not with the logit: a factor changes no picture, but where the original stack cuts
        off negative relevance (Add, under `paper`), a negative logit would leave none."""
        plan, net = self.plan, self.net
        heads = one_hot(classes, *net.output_shape) if request.method.csc else class_vectors(net, request.method, plan.images, classes)
        return maps_of(net, request, plan.images, heads, seed=plan.seed)

    def _random_maps(self, request: Request, depth: str) -> tuple[np.ndarray | None, str]:
        """Maps of the network with everything above a cut random, or why there are none."""
        graph = self.net.graph
        stage = graph.names[graph.index(depth) + 1]
        try:
            fresh_from(self.net, stage, self._fresh)
        except UnsupportedError as error:  # a layer of somebody's own, without initialisers
            return None, error.reason
        with randomized(self.net, stage, self._fresh):
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

    def _random_relevance(self, request: Request) -> tuple[list[Measurement], list[dict[str, Any]]]:
        plan, net = self.plan, self.net
        opened = find_backend("native", request.method).open(net)
        size = opened.images_at_once(plan.vectors * len(plan.starts))
        counts: dict[tuple[str, str], list[CosineCounts]] = {}
        ranks: dict[str, list[np.ndarray]] = {}
        for first in range(0, plan.vector_images, size):
            batch = list(range(first, min(first + size, plan.vector_images)))
            vectors = {start: self._vectors(start, batch) for start in plan.starts}
            found = opened.measure(request, plan.images[batch], vectors, plan.layers, Converging(net.graph.input))
            for place, (counted, ratios) in found.items():
                counts.setdefault(place, []).append(counted.counts.numbered(batch))
                if ratios is not None:
                    ranks.setdefault(place[0], []).append(ratios.layer)
        csc = [self._row(start, layer, CosineCounts.merged(parts)) for (start, layer), parts in sorted(counts.items(), key=self._order)]
        return [self._rank(start, np.concatenate(ranks[start])) for start in plan.starts[:1]], csc

    def _vectors(self, start: str, batch: Sequence[int]) -> np.ndarray:
        return random_vectors(self.plan.seed, start, batch, self.plan.vectors, self.net.graph[start].shape)

    def _order(self, item: tuple[tuple[str, str], Any]) -> tuple[int, int]:
        """From the output down, first by start layer, then by layer."""
        (start, layer), _ = item
        return -self.net.graph.index(start), -self.net.graph.index(layer)

    def _row(self, start: str, layer: str, counts: CosineCounts) -> dict[str, Any]:
        found = counts.summary(self.plan.seed, resamples=1)
        place = {"start": self.net.shown(start), "layer": self.net.shown(layer), "layer_index": self.net.graph.index(layer)}
        baseline = chance_level(self.net.graph[layer].shape[-1])
        return {**place, **{name: found[name] for name in ("median", "p5", "p95")}, "baseline": baseline}

    def _rank(self, start: str, values: np.ndarray) -> Measurement:
        rank, error = jackknife(values)
        interval = rank, max(1.0, rank - 2 * error), rank + 2 * error
        outcome = converged(*interval[1:], self.plan.thresholds)
        place = {"start": self.net.shown(start), "images": len(values)}
        return Measurement(test="convergence", measure="effective_rank", outcome=outcome, **place, **_named(interval))

    def _examples(self, method: Method, *maps: np.ndarray | None) -> np.ndarray | None:
        if not is_picture(self.plan.images.shape[1:]):
            return None
        blank = np.full_like(maps[0][:EXAMPLES], np.nan)
        shown = [blank if some is None else some[:EXAMPLES] for some in maps]
        return np.stack([reduce_channels(some, method.reduction) for some in shown], axis=1).astype("float32")


def others_of(net: Network, plan: Plan) -> np.ndarray | None:
    """A random other class of each image; None for a network with less than three logits, where another class's map is the same by
    construction (two logits that only count by their difference) or there is none."""
    count = net.output_shape[-1]
    return other_classes(plan.classes.index, count, plan.seed) if count > 2 else None


def _named(interval: tuple[float, float, float]) -> dict[str, float]:
    return dict(zip(("value", "low", "high"), map(float, interval)))
