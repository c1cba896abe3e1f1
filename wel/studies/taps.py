"""The 1×1 taps of a network: one matrix per layer with a kernel, what a layer does at one place of its feature map."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Sequence

import numpy as np

from wel.errors import UnsupportedError
from wel.networks.graph import Graph
from wel.networks.kernels import kernel_layers, kernel_of
from wel.networks.kinds import PATTERN_KINDS
from wel.networks.network import Network


@dataclass(frozen=True)
class Tap:
    """The central tap of one layer.

    Attributes:
        layer: its Keras name in the graph.
        matrix: (inputs, outputs) float64.
    """

    layer: str
    matrix: np.ndarray


def weight_taps(net: Network) -> list[Tap]:
    """The taps of a network's kernels, from the output down; BatchNormalization that directly follows a layer is folded into it.

    A convolution gives its central tap, kernel[h // 2, w // 2]; a dense layer on a flattened (h, w, channels) map the one that
    belongs to position (h // 2, w // 2); any other dense layer its kernel. (VGG-16: 3 × 3 convolutions [1, 1], fc1 [3, 3] of 7 × 7.)

    Raises:
        UnsupportedError: when the network is no single path of layers whose taps can be multiplied.
    """
    return _scaled_chain(net.graph, [kernel_of(layer.node.layer).numpy() for layer in kernel_layers(net.graph)])


def pattern_taps(net: Network, patterns: Sequence[np.ndarray]) -> list[Tap]:
    """The taps of A ⊙ W, pattern times weight, as `weight_taps` of W: PatternAttribution's matrices (the paper's eq. 8).

    Args:
        net: the network.
        patterns: one per layer with a kernel, of its shape, in execution order (`wel.methods.patterns.patterns_for`).

    Raises:
        UnsupportedError: as for `weight_taps`.
    """
    layers = kernel_layers(net.graph)
    products = [kernel_of(layer.node.layer).numpy() * pattern for layer, pattern in zip(layers, patterns)]
    return _scaled_chain(net.graph, products)


def array_taps(graph: Graph, arrays: Sequence[np.ndarray]) -> list[Tap]:
    """The taps of arrays in the shapes of the kernels, in execution order, as they are; from the output down, in branched networks too.

    Raises:
        UnsupportedError: when a layer has no matrix from channels to channels.
    """
    flattened = _flattened(graph)
    taps = []
    for layer, array in zip(kernel_layers(graph), arrays):
        if len(layer.units) > 1:
            raise UnsupportedError(f"Layer '{layer.node.name}' ({layer.node.kind}) has no matrix from channels to channels.")
        taps.append(Tap(layer.node.name, central_tap(array, flattened.get(layer.node.name)).astype("float64")))
    return taps[::-1]


def check_chain(graph: Graph, taps: Sequence[Tap]) -> None:
    """Refuses taps, from the output down, that cannot be multiplied.

    Raises:
        UnsupportedError: when the network is no single path, or two taps do not fit together.
    """
    for node in graph.nodes[1:]:
        if len(node.inputs) != 1:
            raise UnsupportedError(f"No chain of matrices: layer '{node.name}' ({node.kind}) has {len(node.inputs)} inputs.")
    for above, below in zip(taps, taps[1:]):
        if below.matrix.shape[1] != len(above.matrix):
            shapes = f"the {above.matrix.shape} tap of '{above.layer}' and the {below.matrix.shape} one of '{below.layer}'"
            raise UnsupportedError(f"No chain of matrices: {shapes} do not fit together.")


def central_tap(kernel: np.ndarray, flattened: Sequence[int] | None = None) -> np.ndarray:
    """The (inputs, outputs) matrix at the centre, index size // 2, of a kernel (*spatial, inputs, outputs).

    Args:
        kernel: a dense layer's is (inputs, outputs).
        flattened: the shape (*spatial, channels) of the map that a dense layer sees flattened.
    """
    if flattened is not None:
        kernel = kernel.reshape(*flattened, kernel.shape[-1])
    return kernel[tuple(size // 2 for size in kernel.shape[:-2])]


def _scaled_chain(graph: Graph, kernels: Sequence[np.ndarray]) -> list[Tap]:
    """Taps that can be multiplied, with folded BatchNormalization."""
    taps = array_taps(graph, kernels)
    check_chain(graph, taps)
    scales = {layer.node.name: layer.scale for layer in kernel_layers(graph)}
    return [Tap(tap.layer, tap.matrix * scales[tap.layer]) for tap in taps]


def _flattened(graph: Graph) -> dict[str, tuple[int, ...]]:
    """Dense layer -> the shape of the map that it sees flattened."""
    found = {}
    for node in graph.nodes:
        below = node
        while node.kind == "Dense" and len(below.inputs) == 1:
            above, below = below, graph[below.inputs[0]]
            if above.kind == "Flatten":
                found[node.name] = below.shape
            if above.kind == "Flatten" or below.kind in PATTERN_KINDS:
                break
    return found
