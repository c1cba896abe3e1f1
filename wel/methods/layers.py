"""Layers that methods take their maps from: which one by default, and which ones a user may name."""

from __future__ import annotations

from typing import Any

import numpy as np

from wel.errors import UnsupportedError, invalid, of_method
from wel.measures.places import places
from wel.methods.registry import BOTTLENECK, CONVOLUTION, POOLED, Method
from wel.networks.graph import Graph, Node
from wel.networks.kinds import AVERAGE_POOLINGS, CONSTANTS, KERNELS, POOLINGS, SHAPES, is_linear
from wel.networks.network import Network

CONVOLUTIONS = KERNELS - {"Dense"}
# what may stand behind a convolution without being a part of its block
NO_PART = POOLINGS | (SHAPES - {"Concatenate"})


def layer_of(method: Method, graph: Graph) -> str | None:
    """The node that a method's maps come from unless another is named; None for a method that looks at none.

    Raises:
        UnsupportedError: when the network has none.
    """
    if method.layer is None:
        return None
    name, needed = _FOUND[method.layer](graph), _NEEDED[method.layer]
    if name is None:
        raise UnsupportedError(of_method(method.name, f"needs {needed}."))
    return name


def with_layer(net: Network, method: Method, given: dict[str, Any]) -> dict[str, Any]:
    """The options given for a method, with `layer` as a node's name if the method takes one: the given one's, else the default's.

    Raises:
        WelError: for a layer that there is not, or whose places are no places of the input.
        UnsupportedError: when the network has no layer that could be the default.
    """
    if "layer" not in method.options:
        return given
    name = layer_of(method, net.graph) if given.get("layer") is None else net.find(given["layer"], "layer")
    if given.get("layer") is None and name == net.graph.output:
        raise UnsupportedError(of_method(method.name, f"needs {_NEEDED[method.layer]}, below the output."))
    if not _fits(method, net.graph, name):
        expected = "a layer below the output" + (", past which nothing leads," if method.layer == BOTTLENECK else "")
        default = net.shown(layer_of(method, net.graph))
        raise invalid("layer", given["layer"], f"{expected} with places as the input has them, such as '{default}'")
    return {**given, "layer": name}


def _fits(method: Method, graph: Graph, name: str) -> bool:
    passed_by = method.layer == BOTTLENECK and _is_passed_by(graph, name)
    return _has_places(graph, graph[name]) and name in reached(graph) and name != graph.output and not passed_by


def reached(graph: Graph, past: str | None = None) -> set[str]:
    """The nodes that depend on the input, those that do so by `past` alone left out."""
    found = {graph.input} - {past}
    for node in graph.nodes:
        if node.name != past and node.kind not in CONSTANTS and not found.isdisjoint(node.inputs):
            found.add(node.name)
    return found


def _is_passed_by(graph: Graph, name: str) -> bool:
    return graph.output in reached(graph, past=name)


def _has_places(graph: Graph, node: Node) -> bool:
    return len(node.shape) - 1 == len(places(graph.nodes[0].shape))


def _is_convolution(graph: Graph, node: Node) -> bool:
    return node.kind in CONVOLUTIONS and _has_places(graph, node) and max(places(node.shape)) > 1


def last_block(graph: Graph) -> str | None:
    """The end of the block of the last convolution of what varies that has more than one place.

    To the block belong normalisation, activation and the sum or concatenation with other branches: what has the convolution's places
    and is no pooling.
    """
    varying = reached(graph)
    last = next((node for node in reversed(graph.nodes) if node.name in varying and _is_convolution(graph, node)), None)
    if last is None:
        return None
    above = graph.nodes[graph.index(last.name) + 1 :]
    block = [node.name for node in above if node.shape[:-1] == last.shape[:-1] and node.kind not in NO_PART]
    return next((name for name in reversed(block) if name != graph.output and last.name in graph.below(name)), last.name)


def _bottleneck(graph: Graph) -> str | None:
    """The end of the last block, unless something leads past it."""
    name = last_block(graph)
    return None if name is None or _is_passed_by(graph, name) else name


def _pooled(graph: Graph) -> str | None:
    """The layer whose mean over all places goes into one linear layer, which gives the output."""
    kernels = []
    node = graph[graph.output]
    while len(node.inputs) == 1 and node.kind not in AVERAGE_POOLINGS:
        if node.kind not in KERNELS | SHAPES and not (node.kind == "Activation" and is_linear(node.layer)):
            return None
        kernels += [node] if node.kind in KERNELS else []
        node = graph[node.inputs[0]]
    single = len(kernels) == 1 and is_linear(kernels[0].layer)
    return node.inputs[0] if single and node.kind in AVERAGE_POOLINGS and _is_of_all(graph, node) else None


def _is_of_all(graph: Graph, pooling: Node) -> bool:
    """Whether an average pooling takes the mean over all places of its input."""
    below = graph[pooling.inputs[0]]
    pooled = getattr(pooling.layer, "pool_size", places(below.shape))
    return _has_places(graph, below) and tuple(np.ravel(pooled)) == places(below.shape)


_FOUND = {CONVOLUTION: last_block, BOTTLENECK: _bottleneck, POOLED: _pooled}
_NEEDED = {
    CONVOLUTION: "a convolution with more than one place",
    BOTTLENECK: "a convolution with more than one place, past which nothing leads",
    POOLED: "a global average pooling that goes into one dense layer, and that into the output",
}
