"""Random tops: the part of a network from a stage on with fresh weights, in a copy, so that maps of many stages come down in one sweep.

Below a stage nothing of the forward pass changes, so what comes down through the random layers above it joins the other maps there.
"""

from __future__ import annotations

from dataclasses import replace
from functools import cached_property
from typing import TYPE_CHECKING, Mapping, Sequence

import numpy as np

from wel.backends.request import DTYPES, Injection, Request, Whole
from wel.errors import UnsupportedError, WelError
from wel.keras.either import keras_of
from wel.networks.graph import Graph, Node
from wel.networks.kinds import DATA_STATISTICS
from wel.networks.network import Network
from wel.studies.maps import AVERAGED, averaged
from wel.studies.query import behind

if TYPE_CHECKING:
    from wel.backends.native.backend import NativeNetwork  # imports TensorFlow

# weights of layers, by the node of the first call
Weights = Mapping[str, Sequence[np.ndarray]]


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
        heads: Mapping[str | None, np.ndarray],
        times_logit: bool = False,
        seed: int = 0,
    ) -> dict[str | None, np.ndarray]:
        """Maps of the trained network (None) and of its stages, (n, V, *input shape) float32, in one sweep.

        Args:
            request: of a method with rules of its own, or one that is `wel.studies.maps.AVERAGED`.
            heads: stage -> what begins at the output, (n, V, classes).
            times_logit: whether that is multiplied with the logits there.
            seed: of SmoothGrad's noise.
        """
        if request.method.name not in AVERAGED:
            return self._swept(opened, request, images, heads, times_logit)
        mean, found = averaged(request, images, seed), []
        for index in range(len(images)):
            points = mean.points(index)
            repeated = {stage: np.repeat(array[index : index + 1], len(points), axis=0) for stage, array in heads.items()}
            gradients = self._swept(opened, behind(request), points, repeated, times_logit, len(points) * (len(images) - index))
            found.append([mean.of(index, several) for several in gradients.values()])
        return {stage: np.stack(several).astype("float32") for stage, several in zip(heads, zip(*found))}

    def _swept(
        self,
        opened: NativeNetwork,
        request: Request,
        images: np.ndarray,
        heads: Mapping[str | None, np.ndarray],
        times_logit: bool,
        left: int | None = None,
    ) -> dict[str | None, np.ndarray]:
        injections = [map_injection(self._net.graph, array.shape[1], stage, times_logit) for stage, array in heads.items()]
        rows = sum(injection.vectors for injection in injections)
        size, found = opened.images_at_once(rows, request), []
        for first in range(0, len(images), size):
            vectors = [array[first : first + size] for array in heads.values()]
            batch = images[first : first + size]
            read = opened.inject(request, batch, injections, vectors, (left or len(images)) - first, self.graph)
            found.append([maps[self._net.graph.input] for maps in read])
        return {stage: np.concatenate(several) for stage, several in zip(heads, zip(*found))}


def map_injection(graph: Graph, rows: int, stage: str | None = None, times_logit: bool = False) -> Injection:
    """What maps begin with: so many vectors at the output, of the trained network or of its random top from a stage on."""
    return Injection(graph.output, rows, frozenset([graph.input]), Whole(), stage, times_logit)
