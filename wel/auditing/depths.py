"""Where a network is cut, and where relevance is looked at."""

from __future__ import annotations

from typing import Sequence, TypeVar

from wel.networks.graph import Graph
from wel.networks.kinds import KERNELS, MAX_POOLINGS, REGULARIZERS, mixes_inputs
from wel.networks.network import Network

Item = TypeVar("Item")
# they change no value, so a cut is named after the layer below them
UNCHANGING = REGULARIZERS | {"Flatten", "Reshape"}
# layers whose contributions DeepLIFT computes of their input's values
ANEW = KERNELS | {"Add", "Subtract"}


def choose_depths(net: Network, count: int) -> list[str]:
    """Up to `count` layers, from the output down, at which a network is cut: all above one can be made random, all below stays.

    Of every stretch between two layers with a kernel that all paths go through, the last such layer counts, so the activation or
    pooling and not the convolution before it. The first is the one that the last layer with a kernel is computed from, the others
    lie evenly between it and the first layer with a kernel.

    Returns:
        Keras names; none for a network without two layers with kernels, one after the other.
    """
    return _evenly(_cuts(net.graph), count)


def choose_layers(net: Network, count: int) -> list[str]:
    """Up to `count` layers, and the input, at which relevance is looked at on its way down; Keras names in execution order.

    They lie as cuts do, but of max pooling it is the layer below, and none of what is made of it before the next kernel or sum: there
    DeepLIFT has, under `paper`, no contributions.
    """
    graph = net.graph
    places, pooled = dict.fromkeys(_unpooled(graph, name) for name in _cuts(graph)), _pooled(graph)
    return [graph.input, *reversed(_evenly([name for name in places if name not in pooled], count))]


def _unpooled(graph: Graph, name: str) -> str:
    while graph[name].kind in MAX_POOLINGS:
        (name,) = graph[name].inputs
    return name


def _pooled(graph: Graph) -> set[str]:
    """The layers that are max pooling, or have values of one without a kernel or a sum between them."""
    found: set[str] = set()
    for node in graph.nodes:
        if node.kind in MAX_POOLINGS or (node.kind not in ANEW and not found.isdisjoint(node.inputs)):
            found.add(node.name)
    return found


def _cuts(graph: Graph) -> list[str]:
    """The last bottleneck of every stretch between two layers with a kernel, from the output down."""
    everywhere = graph.bottlenecks()
    last: dict[int, str] = {}
    kernels = 0
    for node in graph.nodes:
        kernels += mixes_inputs(node.layer)
        if node.name in everywhere and node.kind not in UNCHANGING:
            last[kernels] = node.name
    return [last[number] for number in sorted(last, reverse=True) if 0 < number < kernels]


def _evenly(items: Sequence[Item], count: int) -> list[Item]:
    """The first item, the last, and those between them that lie evenly, `count` in all."""
    if len(items) <= count:
        return list(items)
    if count == 1:
        return [items[0]]
    return [items[round(step * (len(items) - 1) / (count - 1))] for step in range(count)]
