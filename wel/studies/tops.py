"""Random tops: the part of a network from a stage on with fresh weights, in a copy, so that maps of many stages come down in one sweep.

Below a stage nothing of the forward pass changes, so what comes down through the random layers above it joins the other maps there.
"""

from __future__ import annotations

from dataclasses import replace
from functools import cached_property
from typing import TYPE_CHECKING, Any, Callable, Mapping, NamedTuple, Optional, Sequence

import numpy as np

from wel.backends.request import DTYPES, Injection, Request, Whole, times_value
from wel.errors import UnsupportedError, WelError
from wel.keras.either import keras_of
from wel.methods.registry import Method
from wel.networks.graph import Graph, Node
from wel.networks.kinds import DATA_STATISTICS
from wel.networks.network import Network
from wel.studies.activation_maps import COMBINED, combined, gradient_for, looked_at
from wel.studies.maps import AVERAGED, averaged
from wel.studies.occlusion import occluded
from wel.studies.query import behind

if TYPE_CHECKING:
    from wel.backends.native.backend import NativeNetwork  # imports TensorFlow
    from wel.backends.native.sweep import Passes

# weights of layers, by the node of the first call
Weights = Mapping[str, Sequence[np.ndarray]]
# stage, None for the trained network -> what begins at the output, (n, V, classes); maps
Heads = Mapping[Optional[str], np.ndarray]
Found = dict[Optional[str], np.ndarray]
# numbers of images -> what other methods have computed of them
Known = Callable[[Sequence[int]], Optional["Passes"]]
OCCLUSION = "occlusion"


def is_random(node: Node) -> bool:
    """Whether a node's layer has weights that are made random; statistics of data say how images become inputs, and stay."""
    return bool(node.variables) and node.kind not in DATA_STATISTICS


def first_calls(graph: Graph) -> dict[int, str]:
    """id of every layer that is made random -> the node of its first call."""
    return {id(node.layer): node.name for node in reversed(graph.nodes) if is_random(node)}


def is_split(graph: Graph, stage: str) -> bool:
    """Whether a layer is called before the stage and again from there on: fresh as a whole, it changes the network below too."""
    first = first_calls(graph)
    return any(graph.index(first[id(node.layer)]) < graph.index(stage) for node in graph.nodes[graph.index(stage) :] if is_random(node))


class Tops:
    """The random tops of a network at several stages, which are made when they are first asked for."""

    def __init__(self, net: Network, stages: Sequence[str], fresh: Weights):
        self._net, self._stages, self._fresh = net, stages, fresh

    @property
    def stages(self) -> list[str]:
        """Those that can come down in one sweep: no layer that is fresh there is called below too, and all of them can be copied.

        Raises:
            UnsupportedError: for a layer that cannot be made random.
        """
        return self._made[0]

    @property
    def graph(self) -> Graph | None:
        """The layer graph with copies, of fresh weights, of all layers from the lowest of `stages` on; None without any."""
        return self._made[1]

    @cached_property
    def _made(self) -> tuple[list[str], Graph | None]:
        graph = self._net.graph
        stages = sorted((stage for stage in self._stages if not is_split(graph, stage)), key=graph.index, reverse=True)
        while stages:
            try:
                return stages, self._copied(stages[-1])
            except UnsupportedError:
                raise
            except WelError:  # a layer of somebody's own
                stages.pop()
        return stages, None

    def _copied(self, stage: str) -> Graph:
        graph, base = self._net.graph, self._net.graph.in_dtype(DTYPES[0])
        names, made = first_calls(graph), {}
        for node in graph.nodes[graph.index(stage) :]:
            if is_random(node) and id(node.layer) not in made:
                arrays = self._fresh[names[id(node.layer)]]
                made[id(node.layer)] = node.recast(DTYPES[0])
                keras_of(node.layer).set_weights(made[id(node.layer)], arrays)
        nodes = (replace(other, layer=made.get(id(node.layer), other.layer)) for node, other in zip(graph.nodes, base.nodes))
        return Graph(tuple(nodes), graph.output)

    def maps(
        self,
        opened: NativeNetwork,
        request: Request,
        images: np.ndarray,
        heads: Heads,
        times_logit: bool = False,
        seed: int = 0,
        passes: Known = lambda batch: None,
        batches: Sequence[range] | None = None,
        number: int = 0,
    ) -> dict[str | None, np.ndarray]:
        """Maps of the trained network (None) and of its stages, (n, V, *input shape) float32, of one pass of each layer.

        Args:
            request: of a method that `come_together` holds for.
            heads: stage -> what begins at the output, (n, V, classes).
            times_logit: whether that is multiplied with the logits there.
            seed: of SmoothGrad's noise.
            passes: function of the numbers of images that gives what is known of them already.
            batches: the images that are computed together; by default as many as fit into memory.
            number: of the first image, on which that noise depends too.
        """
        wanted = _Wanted(opened, request, images, heads, times_logit, passes, batches)
        if request.method.key == OCCLUSION:
            found = self._occluded(wanted)
        elif request.method.key in COMBINED:
            found = self._activation_maps(wanted)
        elif request.method.key in AVERAGED:
            found = self._averaged(wanted, seed, number)
        else:
            found = self._swept(wanted, self._net.graph.input)
        return {stage: maps.astype("float32", copy=False) for stage, maps in found.items()}

    def _occluded(self, wanted: _Wanted) -> Found:
        from wel.backends.native.scores import fast_logits_of  # imports TensorFlow

        logits = fast_logits_of({stage: self._of(stage) for stage in wanted.heads})
        maps = occluded(wanted.images, wanted.request.options, list(wanted.heads.values()), logits, wanted.times_logit)
        return dict(zip(wanted.heads, maps))

    def _activation_maps(self, wanted: _Wanted) -> Found:
        combine, layer = COMBINED[wanted.request.method.key], looked_at(wanted.request, self._net.graph)
        gradients = self._swept(wanted._replace(request=gradient_for(wanted.request)), layer)
        found = {}
        for stage, several in gradients.items():
            A = self._values(wanted, layer, None if self._is_below(layer, stage) else stage)
            maps = (combined(combine, A, g, self._net.input_shape) for g in np.moveaxis(several, 1, 0))
            found[stage] = np.stack(list(maps), axis=1)
        return found

    def _averaged(self, wanted: _Wanted, seed: int, number: int) -> Found:
        images, mean, found = wanted.images, averaged(wanted.request, wanted.images, seed, number), []
        for index in range(len(images)):
            points = mean.points(index)
            heads = {stage: np.repeat(array[index : index + 1], len(points), axis=0) for stage, array in wanted.heads.items()}
            of_one = wanted._replace(request=behind(wanted.request), images=points, heads=heads, passes=lambda batch: None, batches=None)
            gradients = self._swept(of_one, self._net.graph.input, len(points) * (len(images) - index))
            found.append([mean.of(index, several) for several in gradients.values()])
        return {stage: np.stack(several) for stage, several in zip(wanted.heads, zip(*found))}

    def _swept(self, wanted: _Wanted, at: str, left: int | None = None) -> Found:
        """Relevance at a layer, (n, V, *shape)."""
        opened, request, images, heads, times_logit, passes, batches = wanted
        injections = [map_injection(self._net.graph, array.shape[1], stage, times_logit, at) for stage, array in heads.items()]
        rows = sum(injection.vectors for injection in injections)
        found = []
        for numbers in batches or in_batches(range(len(images)), opened.images_at_once(rows, request)):
            batch = slice(numbers.start, numbers.stop)
            vectors = [array[batch] for array in heads.values()]
            ahead = (left or len(images)) - numbers.start
            read = opened.inject(request, images[batch], injections, vectors, ahead, self.graph, passes(numbers))
            found.append([maps[at] for maps in read])
        return {stage: np.concatenate(several) for stage, several in zip(heads, zip(*found))}

    def _of(self, stage: str | None) -> Graph:
        """The layer graph of a stage: trained layers below it, and copies from there on."""
        graph = self._net.graph
        if stage is None or self.graph is None:
            return graph
        place = graph.index(stage)
        return Graph((*graph.nodes[:place], *self.graph.nodes[place:]), graph.output)

    def _is_below(self, layer: str, stage: str | None) -> bool:
        return stage is None or self._net.graph.index(layer) < self._net.graph.index(stage)

    def _values(self, wanted: _Wanted, layer: str, stage: str | None) -> np.ndarray:
        """A layer's values, of the trained network or above a stage, (n, *shape)."""
        batches = wanted.batches or in_batches(range(len(wanted.images)), wanted.opened.images_at_once(1, wanted.request))
        return np.concatenate([np.asarray(self._values_of(wanted, layer, stage, numbers)) for numbers in batches])

    def _values_of(self, wanted: _Wanted, layer: str, stage: str | None, numbers: range) -> Any:
        known, graph = wanted.passes(numbers), self._of(stage)
        value = known.value(stage, layer) if known else None
        return graph.run({graph.input: wanted.images[numbers.start : numbers.stop]}, layer) if value is None else value


def in_batches(numbers: range, size: int) -> list[range]:
    """Numbers of images, so many at a time."""
    return [numbers[first : first + size] for first in range(0, len(numbers), size)]


class _Wanted(NamedTuple):
    """What maps are asked for with, as for `Tops.maps`."""

    opened: NativeNetwork
    request: Request
    images: np.ndarray
    heads: Heads
    times_logit: bool
    passes: Known
    batches: Sequence[range] | None


def come_together(method: Method) -> bool:
    """Whether maps of several classes and stages can be had together: of methods with rules, and of most that are made of these."""
    return method.csc or method.key in (*AVERAGED, *COMBINED, OCCLUSION)


def map_injection(graph: Graph, rows: int, stage: str | None = None, times_logit: bool = False, at: str | None = None) -> Injection:
    """What maps begin with: so many vectors at the output, of the trained network or of its random top from a stage on.

    They are read at the input, or at a layer.
    """
    return Injection(graph.output, rows, frozenset([at or graph.input]), Whole(), stage, times_value if times_logit else None)
