"""Cascading parameter randomisation: does a map change when the network's layers are made random, from the last one down?"""

from __future__ import annotations

import hashlib
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from itertools import product
from pathlib import Path
from typing import Any, Callable, Iterable, Iterator, Mapping, Sequence

import numpy as np
import pandas as pd

from wel.errors import UnsupportedError, invalid
from wel.methods.registry import choose_map_methods
from wel.networks.graph import Graph
from wel.networks.initialization import fresh_weights
from wel.networks.network import Network
from wel.studies.map_study import Alike, Comparison, Explainer, Found, Kept, MapStudy, SanityResult
from wel.studies.study import Cell, Settings
from wel.studies.tops import Tops, Weights, first_calls, is_random
from wel.system.progress import Steps

STAGES_AT_ONCE = 8  # in one sweep: an interruption loses no more


def cascading_randomization(
    net: Network,
    images: np.ndarray,
    methods: str | Iterable[str] = "all",
    layers: Sequence[str] | str | None = None,
    classes: Sequence[int | None] | None = None,
    seed: int = 0,
    backend: str = "native",
    semantics: str = "paper",
    options: Mapping[str, dict] | None = None,
    out: Path | None = None,
    context: dict[str, Any] | None = None,
    steps: Steps | None = None,
) -> SanityResult:
    """Compares the maps of a network with those of the same network randomised from its last layer down, stage by stage.

    At the stage of a layer, that layer and every layer after it in model order hold fresh weights (`wel.networks.initialization`),
    the same ones at every stage (Adebayo et al. 2018; Sixt et al. 2020, figure 2b). SSIM of the two maps of the same class, as in
    `wel.measures.similarity.ssim`, of maps reduced and cut as the method says. A map begins with the logit that the randomised
    network gives the class. Patterns, and what a method takes from the images, stay those of the untouched network.
    `net` itself is randomised meanwhile; afterwards it holds its own weights, whatever has happened.

    Args:
        net: from `wel.load`; its output is one vector of logits.
        images: (n, *input shape), as the network takes them.
        methods: "all", those of the paper's figure 2 that apply to the network, or names.
        layers: the stages; "all" for every layer with weights. The paper's by default for networks of the zoo, else all.
        classes: the class of each image; where it is None, or by default, the untouched network's top-1 prediction.
        seed: of the fresh weights, which depend on it and the layer's name only; of SmoothGrad's noise; of the bootstrap.
        backend: who computes.
        semantics: "paper", "corrected" or "both".
        options: {method: {option: value}}.
        out: run directory; nothing is written without it.
        context: kept in `run.json` beside the settings.
        steps: is told of progress, (method × semantics × stage) steps in all.

    Raises:
        WelError: for anything in the arguments that cannot be used, or a layer from the lowest stage on without initialisers of its own.
    """
    settings = Settings(net, images, choose_map_methods(methods), methods == "all", semantics, backend, options, seed)
    study = MapStudy(settings, classes)
    stages = choose_stages(net, layers)
    fresh = Fresh(net, seed)
    fresh_from(net, stages[-1], fresh)  # what cannot be made random is told before any work
    shown = {stage: net.shown(stage) for stage in stages}
    tops = Tops(net, stages, fresh)

    def compute(cell: Cell, missing: Sequence[str]) -> Iterator[tuple[str, Alike]]:
        explain, compare, chosen = study.explainer(cell), study.comparison(cell), study.classes.index
        together = [stage for stage in missing if study.is_swept(cell) and stage in tops.stages]
        yield from _swept(study, cell, compare, together, tops)
        yield from cascade(net, explain, compare, study.images, chosen, [stage for stage in missing if stage not in together], fresh)

    def tables(found: Found) -> tuple[pd.DataFrame, pd.DataFrame]:
        rows, of_images = [], []
        for (cell, parts), (number, stage) in product(found.items(), enumerate(stages, start=1)):
            place = {"stage": shown[stage], "stage_index": number, "layer_index": net.graph.index(stage)}
            rows += study.summaries({**study.row(cell), **place}, parts[stage])
            key = {"method": cell.method.name, "semantics": cell.semantics, "stage": shown[stage]}
            of_images.append(study.rows_of_images(key, parts[stage]))
        return pd.DataFrame(rows), pd.concat(of_images, ignore_index=True)

    return study.result("cascading", shown, compute, tables, {"stages": list(shown.values())}, Kept(out, context, steps))


def _swept(study: MapStudy, cell: Cell, compare: Comparison, stages: Sequence[str], tops: Tops) -> Iterator[tuple[str, Alike]]:
    """As `cascade`, some stages in each sweep, and the trained network's maps in the first."""
    (head, times_logit), untouched = study.head(cell, study.classes.index), None
    for first in range(0, len(stages), STAGES_AT_ONCE):
        some = stages[first : first + STAGES_AT_ONCE]
        heads = {stage: head[:, None] for stage in (*([None] if untouched is None else []), *some)}
        maps = tops.maps(study.opened(cell), study.requests[cell], study.images, heads, times_logit, study.seed)
        untouched = maps[None][:, 0] if untouched is None else untouched
        for stage in some:
            yield stage, compare(maps[stage][:, 0], untouched)


def cascade(
    net: Network, explain: Explainer, compare: Comparison, images: np.ndarray, classes: np.ndarray, stages: Sequence[str], fresh: Weights
) -> Iterator[tuple[str, Alike]]:
    """Compares the maps of the untouched network with those of each stage: pairs (stage, what `compare` gives).

    Args:
        net: its weights are its own again whenever a pair is handed out.
        explain: any function (net, images, classes) -> maps; the untouched network's maps are asked for once.
        compare: function (maps of the stage, untouched maps) -> how alike they are; where it flips a map, it is the second.
        images, classes: handed to `explain`.
        stages: nodes of `net.graph` at which the network is randomised.
        fresh: a `Fresh`.
    """
    if not stages:
        return
    untouched = explain(net, images, classes)
    for stage in stages:
        with randomized(net, stage, fresh):
            maps = explain(net, images, classes)
        yield stage, compare(maps, untouched)


def choose_stages(net: Network, layers: Sequence[str] | str | None) -> list[str]:
    """Nodes at which the network is randomised, from the last one down.

    Args:
        layers: names; "all" for every layer with weights; None for the zoo's layers of the network, else all. A layer that is called
            more than once counts where it is called last: from there on its weights are fresh.

    Raises:
        WelError: for an unknown layer, or one at and after which there are no weights.
    """
    if layers is None:
        layers = net.architecture.randomized_layers if net.architecture else "all"
    graph = net.graph
    weighted = list({id(node.layer): node.name for node in graph.nodes if is_random(node)}.values())
    if not weighted:
        raise invalid("net", net.name, "a network with weights")
    found = weighted if layers == "all" else [net.find(name, "layers") for name in ([layers] if isinstance(layers, str) else layers)]
    last = max(map(graph.index, weighted))
    if not found or graph.input in found or any(graph.index(name) > last for name in found):
        names = net.shown(graph.nodes[last].name)
        raise invalid("layers", [net.shown(name) for name in found], f"'all', or one or more layers above the input, up to '{names}'")
    return sorted(set(found), key=graph.index, reverse=True)


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
    key = int.from_bytes(hashlib.sha256(name.encode()).digest()[:8], "little")
    try:
        return fresh_weights(graph[name].layer, int(np.random.SeedSequence((seed, key)).generate_state(1)[0]))
    except AttributeError as error:
        message = f"Layer '{name}' ({graph[name].kind}) has weights without an initialiser of its own, so that it cannot be randomised."
        raise UnsupportedError(message) from error


@contextmanager
def randomized(net: Network, at: str, fresh: Weights) -> Iterator[None]:
    """The network with the layer of node `at` and every layer after it in model order fresh; afterwards its weights are as before.

    Layers are fresh as a whole: one that is called before `at` and again after it is fresh in both places.

    Args:
        fresh: a `Fresh`.

    Raises:
        UnsupportedError: for a layer that cannot be made random; the network is as it was.
    """
    drawn = fresh_from(net, at, fresh)
    before = [(layer, layer.get_weights()) for layer, _ in drawn]
    try:
        _set(drawn)
        yield
    finally:
        _undisturbed(lambda: _set(before))


def fresh_from(net: Network, at: str, fresh: Weights) -> list[tuple[Any, Sequence[np.ndarray]]]:
    """Every layer that is fresh at a stage, and its weights.

    Raises:
        UnsupportedError: for a layer that cannot be made random.
    """
    first = first_calls(net.graph)
    later = {id(node.layer): node.layer for node in net.graph.nodes[net.graph.index(at) :] if is_random(node)}
    return [(layer, fresh[first[key]]) for key, layer in later.items()]


def _set(weights: Iterable[tuple[Any, Sequence[np.ndarray]]]) -> None:
    for layer, arrays in weights:
        layer.set_weights(arrays)


def _undisturbed(work: Callable[[], None]) -> None:
    """Runs `work` in a thread to its end: Ctrl-C interrupts the main thread only, and that waits."""
    with ThreadPoolExecutor(max_workers=1) as pool:
        pool.submit(work).result()
