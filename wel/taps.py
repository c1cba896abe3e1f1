"""The 1×1 taps of a network: one matrix per layer with a kernel, what a layer does at one place of its feature map."""
from __future__ import annotations

from dataclasses import dataclass
from typing import Sequence

import numpy as np

from wel.errors import UnsupportedError
from wel.graph import Graph, Node
from wel.network import Network
from wel.patterns import KernelLayer, kernel_layers, kernel_of


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
    layers = kernel_layers(net.graph)
    return _taps(net.graph, layers, [kernel_of(layer.node.layer).numpy() for layer in layers])


def pattern_taps(net: Network, patterns: Sequence[np.ndarray]) -> list[Tap]:
    """The taps of A ⊙ W, pattern times weight, as `weight_taps` of W: PatternAttribution's matrices (the paper's eq. 8).

    Args:
        net: the network.
        patterns: one per layer with a kernel, of its shape, in execution order (`wel.patterns.patterns_for`).

    Raises:
        UnsupportedError: as for `weight_taps`.
    """
    layers = kernel_layers(net.graph)
    products = [kernel_of(layer.node.layer).numpy() * pattern for layer, pattern in zip(layers, patterns)]
    return _taps(net.graph, layers, products)


def central_tap(kernel: np.ndarray, flattened: Sequence[int] | None = None) -> np.ndarray:
    """The (inputs, outputs) matrix at the centre, index size // 2, of a kernel (*spatial, inputs, outputs).

    Args:
        kernel: a dense layer's is (inputs, outputs).
        flattened: the shape (*spatial, channels) of the map that a dense layer sees flattened.
    """
    if flattened is not None:
        kernel = kernel.reshape(*flattened, kernel.shape[-1])
    return kernel[tuple(size // 2 for size in kernel.shape[:-2])]


def _taps(graph: Graph, layers: Sequence[KernelLayer], kernels: Sequence[np.ndarray]) -> list[Tap]:
    flattened = _flattened(_path(graph))
    taps = []
    for layer, kernel in zip(layers, kernels):
        name = layer.node.name
        if len(layer.units) > 1:
            raise UnsupportedError(f"Layer '{name}' ({layer.node.kind}) has no matrix from channels to channels.")
        matrix = central_tap(kernel, flattened.get(name)).astype("float64") * layer.scale
        if taps and taps[-1].matrix.shape[1] != len(matrix):
            shapes = f"the {matrix.shape} tap of '{name}' and the {taps[-1].matrix.shape} one of '{taps[-1].layer}'"
            raise UnsupportedError(f"No chain of matrices: {shapes} do not fit together.")
        taps.append(Tap(name, matrix))
    return taps[::-1]


def _path(graph: Graph) -> list[Node]:
    """All nodes from the input to the output, in a network where each has one input."""
    for node in graph.nodes[1:]:
        if len(node.inputs) != 1:
            raise UnsupportedError(f"No chain of matrices: layer '{node.name}' ({node.kind}) has {len(node.inputs)} inputs.")
    return list(graph.nodes)


def _flattened(path: Sequence[Node]) -> dict[str, tuple[int, ...]]:
    """Dense layer -> the shape of the map that it sees flattened."""
    found, shape = {}, None
    for below, node in zip(path, path[1:]):
        if node.kind == "Flatten":
            shape = below.shape
        elif node.kind == "Dense" and shape is not None:
            found[node.name], shape = shape, None
    return found
