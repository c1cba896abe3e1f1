"""Parameter randomisation: does a map change when the network's layers are made random, from the last one down or in another order?"""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass
from itertools import chain, product
from pathlib import Path
from typing import Any, Callable, Iterable, Iterator, Mapping, Sequence

import numpy as np
import pandas as pd

from wel.errors import UnsupportedError, invalid, one_of
from wel.measures.likeness import Likeness, likeness
from wel.measures.similarity import correlations, is_picture
from wel.measures.vectors import key_of
from wel.methods.registry import Names, choose_map_methods
from wel.networks.graph import Graph, Node
from wel.networks.initialization import fresh_weights
from wel.networks.network import Network
from wel.studies.map_study import (
    Alike,
    Block,
    Comparison,
    Explainer,
    Found,
    Kept,
    MapStudy,
    SanityResult,
    comparison,
    head,
    is_swept,
    named,
)
from wel.studies.noisy import Noise, noise
from wel.studies.study import Settings
from wel.studies.tops import Tops, Weights, first_calls, is_random
from wel.studies.units import Opening, Work
from wel.system.progress import Steps

STAGES_AT_ONCE = 8  # in one sweep: an interruption loses no more
TOP_DOWN, BOTTOM_UP, INDEPENDENT = ORDERS = ("top-down", "bottom-up", "independent")


def cascading_randomization(
    net: Network,
    images: np.ndarray,
    methods: Names = "all",
    layers: Sequence[str] | str | None = None,
    classes: Sequence[int | None] | None = None,
    seed: int = 0,
    backend: str = "native",
    semantics: str = "paper",
    options: Mapping[str, dict] | None = None,
    out: Path | None = None,
    context: dict[str, Any] | None = None,
    steps: Steps | None = None,
    order: str = TOP_DOWN,
    measures: str | Iterable[str] | None = None,
    absolute: bool = False,
    bins: int | None = None,
    samples: int | None = None,
    noise_scale: float | None = None,
    client: Any = None,
) -> SanityResult:
    """Compares the maps of a network with those of the same network randomised from its last layer down, stage by stage.

    At the stage of a layer, that layer and every layer after it in model order hold fresh weights (`wel.networks.initialization`),
    the same ones at every stage (Adebayo et al. 2018; Sixt et al. 2020, figure 2b). SSIM of the two maps of the same class, as in
    `wel.measures.similarity.ssim`, of maps reduced and cut as the method says. A map begins with the logit that the randomised
    network gives the class. Patterns, and what a method takes from the images, stay those of the untouched network.
    `net` itself is randomised meanwhile; afterwards it holds its own weights, whatever has happened.

    Hedström et al. (2024): with `samples` maps are means over noisy images (sMPRT, `wel.studies.noisy`); the measure "complexity_rise" at
    a stage where all layers are random is eMPRT. Binder et al. (2023): the controls `random` and `edges` stand behind the methods, and
    `activation_correlation` says how much of a stage's forward pass is left: the mean over images of Pearson's correlation between the
    values, over all channels and places, that the stage's layer has in the untouched and in the randomised network.

    Args:
        net: from `wel.load`; its output is one vector of logits.
        images: (n, *input shape), as the network takes them.
        methods: "all", those of the paper's figure 2 that apply to the network, or names.
        layers: the stages; "all" for every layer with weights. The paper's by default for networks of the zoo, where all of them have what
            is made random, else all.
        classes: the class of each image; where it is None, or by default, the untouched network's top-1 prediction.
        seed: of the fresh weights, which depend on it and the layer's name only; of SmoothGrad's noise; of the bootstrap.
        backend: who computes.
        semantics: "paper", "corrected" or "both".
        options: {method: {option: value}}.
        out: run directory; nothing is written without it.
        context: kept in `run.json` beside the settings.
        steps: is told of progress, (method × semantics × image) steps in all.
        order: "top-down"; "bottom-up", where a layer and every layer before it are random; or "independent", where it is alone.
        measures: of `wel.measures.likeness`: "ssim", "cosine", "rank_correlation", "hog", "complexity_rise". SSIM by default for pictures,
            |cos| and rank correlation for other maps.
        absolute: whether maps lose their signs before they are compared.
        bins: of the histograms behind "complexity_rise"; by the rule of Freedman & Diaconis (1981) by default.
        samples: of noise for each image, over which maps are averaged; by default the map is the image's own.
        noise_scale: of the noise, its standard deviation in ranges max x − min x of the image; 0.1 by default.
        client: a `dask.distributed.Client`, whose workers compute; the numbers stay the same to the last bit.

    Raises:
        WelError: for anything in the arguments that cannot be used, or a layer to be made random without initialisers of its own.
    """
    if order not in ORDERS:
        raise invalid("order", order, one_of(ORDERS))
    settings = Settings(net, images, choose_map_methods(methods), methods == "all", semantics, backend, options, seed, client=client)
    study = MapStudy(settings, classes, likeness(is_picture(net.input_shape), measures, absolute, bins))
    noisy = noise(samples, noise_scale, seed)
    if noisy and not all(isinstance(request.options.get("noise", ""), str) for request in study.requests.values()):
        raise invalid("samples", samples, "none where the option `noise` gives noise for each image")
    stages = choose_stages(net, layers, order)
    fresh, _ = made_random(study.opening, stages, seed)
    for stage in stages:
        fresh_from(net, stage, fresh, order)  # what cannot be made random is told before any work
    shown = {stage: net.shown(stage) for stage in stages}
    stated = {
        "order": order,
        "maps": "absolute" if absolute else "signed",
        "samples": noisy.samples if noisy else 1,
        "noise_scale": noisy.scale if noisy else 0.0,
    }

    def make(block: Block) -> Cascade:
        return Cascade(block, tuple(stages), order, noisy, study.likeness)

    def tables(found: Found) -> tuple[pd.DataFrame, pd.DataFrame]:
        rows, of_images = [], []
        left = pd.DataFrame(activation_correlations(net, study.images, stages, fresh, order)).mean()
        for (cell, parts), (number, stage) in product(found.items(), enumerate(stages, start=1)):
            place = {"stage": shown[stage], "stage_index": number, "layer_index": net.graph.index(stage)}
            summaries = study.summaries({**study.row(cell), **place}, parts[stage])
            rows += [{**row, **stated, "activation_correlation": left[stage]} for row in summaries]
            key = {"method": cell.method.name, "semantics": cell.semantics, "stage": shown[stage]}
            of_images.append(study.rows_of_images(key, parts[stage]))
        return pd.DataFrame(rows), pd.concat(of_images, ignore_index=True)

    asked = {"stages": list(shown.values()), **stated, "measures": list(study.likeness.measures), "bins": bins}
    return study.result("cascading", 1 + len(stages), make, tables, asked, Kept(out, context, steps))


def activation_correlations(
    net: Network, images: np.ndarray, stages: Sequence[str], fresh: Weights, order: str = TOP_DOWN
) -> dict[str, np.ndarray]:
    """Stage -> Pearson's correlation (n,) of all values of its layer in the untouched and in the randomised network, image by image.

    NaN where the layer gives one value everywhere.
    Source: Binder et al. (2023), who find that random layers hand on what is large and what is small.
    """
    from wel.backends.native.memory import images_within  # imports TensorFlow

    graph, found = net.graph, {stage: [] for stage in stages}
    size = max(1, images_within(None, graph, 1, "float32"))
    for first in range(0, len(images), size):
        known = {graph.input: images[first : first + size]}
        for stage in sorted(stages, key=graph.index):  # from the input up, so that there is one forward pass
            known.update({name: graph.run(known, name) for name in graph[stage].inputs})
            untouched = np.asarray(graph.run(known, stage))
            with randomized(net, stage, fresh, order):
                now = np.asarray(graph.run({name: known[name] for name in _untouched(graph, stage, order)}, stage))
            found[stage] += [correlations(one[None], other[None])[0] for one, other in zip(now, untouched)]
    return {stage: np.array(values) for stage, values in found.items()}


def _untouched(graph: Graph, stage: str, order: str) -> tuple[str, ...]:
    """From what a stage's values are computed anew: from what its layer is given, or from the image, where layers below are random too."""
    made = {id(node.layer) for node in _randomised(graph, stage, order)}
    random_below = any(id(graph[name].layer) in made for name in graph.below(stage))
    return (graph.input,) if random_below else graph[stage].inputs


@dataclass(frozen=True, eq=False)
class Cascade:
    """Computes a unit: how alike the maps of the untouched network and of each stage are, "stage/measure"."""

    block: Block
    stages: tuple[str, ...]
    order: str
    noisy: Noise | None
    likeness: Likeness

    def __call__(self, work: Work) -> dict[str, np.ndarray]:
        fresh, tops = made_random(work.opening, self.stages, self.block.seed)
        shared = self.order == TOP_DOWN and not self.noisy and is_swept(work)
        together = [stage for stage in self.stages if shared and stage in tops.stages]
        apart = [stage for stage in self.stages if stage not in together]
        compare, found = comparison(self.likeness, work.request), {}
        for stage, alike in chain(self._swept(work, compare, together, tops), self._apart(work, compare, apart, fresh)):
            found.update(named(stage, alike))
        return found

    def _swept(self, work: Work, compare: Comparison, stages: Sequence[str], tops: Tops) -> Iterator[tuple[str, Alike]]:
        """As `cascade`, some stages in each sweep, and the trained network's maps in the first."""
        (begin, times_logit), untouched = head(work, self.block.classes), None
        for first in range(0, len(stages), STAGES_AT_ONCE):
            some = stages[first : first + STAGES_AT_ONCE]
            heads = {stage: begin[:, None] for stage in (*([None] if untouched is None else []), *some)}
            maps = tops.maps(work.opened, work.request, work.images, heads, times_logit, self.block.seed, number=self.block.first)
            untouched = maps[None][:, 0] if untouched is None else untouched
            for stage in some:
                yield stage, compare(maps[stage][:, 0], untouched)

    def _apart(self, work: Work, compare: Comparison, stages: Sequence[str], fresh: Weights) -> Iterator[tuple[str, Alike]]:
        if self.noisy:
            explain = self.noisy.averaged(self.block.explainer(work, 0), self.block.first)
        else:
            explain = self.block.explainer(work)
        return cascade(work.net, explain, compare, work.images, self.block.classes, stages, fresh, self.order)


def made_random(opening: Opening, stages: Sequence[str], seed: int) -> tuple[Fresh, Tops]:
    """Fresh weights of a network and its random tops, which a process keeps."""

    def make() -> tuple[Fresh, Tops]:
        fresh = Fresh(opening.net, seed)
        return fresh, Tops(opening.net, stages, fresh)

    return opening.kept(("random", tuple(stages), seed), make)


def cascade(
    net: Network,
    explain: Explainer,
    compare: Comparison,
    images: np.ndarray,
    classes: np.ndarray,
    stages: Sequence[str],
    fresh: Weights,
    order: str = TOP_DOWN,
) -> Iterator[tuple[str, Alike]]:
    """Compares the maps of the untouched network with those of each stage: pairs (stage, what `compare` gives).

    Args:
        net: its weights are its own again whenever a pair is handed out.
        explain: any function (net, images, classes) -> maps; the untouched network's maps are asked for once.
        compare: function (maps of the stage, untouched maps) -> how alike they are; where it flips a map, it is the second.
        images, classes: handed to `explain`.
        stages: nodes of `net.graph` at which the network is randomised.
        fresh: a `Fresh`.
        order: of `ORDERS`.
    """
    if not stages:
        return
    untouched = explain(net, images, classes)
    for stage in stages:
        with randomized(net, stage, fresh, order):
            maps = explain(net, images, classes)
        yield stage, compare(maps, untouched)


def choose_stages(net: Network, layers: Sequence[str] | str | None, order: str = TOP_DOWN) -> list[str]:
    """Nodes at which the network is randomised, from the last one down; in the order "bottom-up" from the first one up.

    Args:
        layers: names; "all" for every layer with weights; None for the zoo's layers of the network if there are weights to be made random
            at each of them, else all. A layer that is called more than once counts where it is called last, "bottom-up" where it is
            called first: from there on its weights are fresh.
        order: of `ORDERS`.

    Raises:
        WelError: for an unknown layer, or one at which nothing is made random.
    """
    graph = net.graph
    calls = [node for node in (reversed(graph.nodes) if order == BOTTOM_UP else graph.nodes) if is_random(node)]
    weighted = list({id(node.layer): node.name for node in calls}.values())
    if not weighted:
        raise invalid("net", net.name, "a network with weights")
    if layers is None:
        usual = [net.find(name) for name in net.architecture.randomized_layers] if net.architecture else []
        layers = usual if usual and all(_randomised(graph, name, order) for name in usual) else "all"
    found = weighted if layers == "all" else [net.find(name, "layers") for name in ([layers] if isinstance(layers, str) else layers)]
    if not found or graph.input in found or not all(_randomised(graph, name, order) for name in found):
        ends = [net.shown(name) for name in (min(weighted, key=graph.index), max(weighted, key=graph.index))]
        where = {TOP_DOWN: f", up to '{ends[1]}'", BOTTOM_UP: f", from '{ends[0]}' on", INDEPENDENT: " with weights"}[order]
        raise invalid("layers", [net.shown(name) for name in found], f"'all', or one or more layers above the input{where}")
    return sorted(set(found), key=graph.index, reverse=order != BOTTOM_UP)


def _randomised(graph: Graph, at: str, order: str) -> Sequence[Node]:
    """The calls whose layers are made random at a stage."""
    place = graph.index(at)
    nodes = {TOP_DOWN: graph.nodes[place:], BOTTOM_UP: graph.nodes[: place + 1], INDEPENDENT: graph.nodes[place : place + 1]}[order]
    return [node for node in nodes if is_random(node)]


class Fresh(Mapping[str, Sequence[np.ndarray]]):
    """Fresh weights of every layer that can be made random, by the node of its first call; each depends on (seed, that name) only.

    Weights are drawn when they are first asked for, so that a layer that cannot be made random is in nobody's way below a stage.
    Statistics of data (`wel.networks.kinds.DATA_STATISTICS`) say how images become inputs, and stay.
    """

    def __init__(self, net: Network, seed: int):
        self._graph, self._seed = net.graph, seed
        self._drawn: dict[str, Sequence[np.ndarray]] = {}

    def __iter__(self) -> Iterator[str]:
        return iter(first_calls(self._graph).values())

    def __len__(self) -> int:
        return len(first_calls(self._graph))

    def __getitem__(self, name: str) -> Sequence[np.ndarray]:
        """The weights of a layer.

        Raises:
            UnsupportedError: for a layer without an initialiser for each of its weights.
        """
        if name not in self._drawn:
            self._drawn[name] = _fresh(self._graph, name, self._seed)
        return self._drawn[name]


def _fresh(graph: Graph, name: str, seed: int) -> Sequence[np.ndarray]:
    try:
        return fresh_weights(graph[name].layer, int(np.random.SeedSequence((seed, key_of(name))).generate_state(1)[0]))
    except AttributeError as error:
        message = f"Layer '{name}' ({graph[name].kind}) has weights without an initialiser of its own, so that it cannot be randomised."
        raise UnsupportedError(message) from error


@contextmanager
def randomized(net: Network, at: str, fresh: Weights, order: str = TOP_DOWN) -> Iterator[None]:
    """The network with the layer of node `at` and every layer after it in model order fresh; afterwards its weights are as before.

    Layers are fresh as a whole: one that is called before `at` and again after it is fresh in both places.

    Args:
        fresh: a `Fresh`.
        order: of `ORDERS`: with "bottom-up" every layer before it in place of those after it, with "independent" neither.

    Raises:
        UnsupportedError: for a layer that cannot be made random; the network is as it was.
    """
    drawn = fresh_from(net, at, fresh, order)
    before = [(layer, layer.get_weights()) for layer, _ in drawn]
    try:
        _set(drawn)
        yield
    finally:
        _undisturbed(lambda: _set(before))


def fresh_from(net: Network, at: str, fresh: Weights, order: str = TOP_DOWN) -> list[tuple[Any, Sequence[np.ndarray]]]:
    """Every layer that is fresh at a stage, and its weights.

    Raises:
        UnsupportedError: for a layer that cannot be made random.
    """
    first = first_calls(net.graph)
    made = {id(node.layer): node.layer for node in _randomised(net.graph, at, order)}
    return [(layer, fresh[first[key]]) for key, layer in made.items()]


def _set(weights: Iterable[tuple[Any, Sequence[np.ndarray]]]) -> None:
    for layer, arrays in weights:
        layer.set_weights(arrays)


def _undisturbed(work: Callable[[], None]) -> None:
    """Runs `work` in a thread to its end: Ctrl-C interrupts the main thread only, and that waits."""
    with ThreadPoolExecutor(max_workers=1) as pool:
        pool.submit(work).result()
