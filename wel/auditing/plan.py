"""How thorough an audit is."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Sequence, TypeVar

import numpy as np

from wel.auditing.verdicts import Thresholds
from wel.methods.registry import METHODS, PAPER_METHODS, Method
from wel.networks.graph import Graph
from wel.networks.kinds import REGULARIZERS, mixes_inputs
from wel.networks.network import Network
from wel.studies.map_study import Classes


@dataclass(frozen=True)
class Mode:
    """A preset.

    Attributes:
        name: "quick" or "full".
        methods: what "all" means.
        images: how many give maps, at most.
        values: of a network with so many values in its layers that `images` of them exceed this, fewer images are taken, but four.
        vector_images: how many get random vectors.
        vectors: random vectors per image and start layer.
        depths: at how many layers the network is cut.
        starts: at how many of them random relevance is injected, beside the output.
        layers: at how many layers it is looked at on its way down.
        seconds: no method is begun that would not be done by then; None for no limit.
    """

    name: str
    methods: tuple[str, ...]
    images: int
    values: float
    vector_images: int
    vectors: int
    depths: int
    starts: int
    layers: int
    seconds: float | None

    def images_for(self, net: Network) -> int:
        """How many images give maps."""
        size = sum(int(np.prod(node.shape)) for node in net.graph.nodes)
        return int(min(self.images, max(4, self.values / size)))


QUICK = Mode("quick", PAPER_METHODS, 24, 1.6e8, 2, 6, 3, 1, 12, 95.0)
MORE = tuple(method.name for method in METHODS.values() if method.full_audit)
FULL = Mode("full", (*PAPER_METHODS, *MORE), 24, np.inf, 8, 8, 6, 5, 24, None)
MODES = {mode.name: mode for mode in (QUICK, FULL)}


def by_priority(methods: Sequence[Method], first: Sequence[str]) -> list[Method]:
    """Methods in the order in which they are measured: those named in `first`, the others by `audit_rank`."""

    def place(method: Method) -> tuple[int, float]:
        named = method.name in first
        return (0, first.index(method.name)) if named else (1, np.inf if method.audit_rank is None else method.audit_rank)

    return sorted(methods, key=place)


def expected_seconds(method: Method, taken: Sequence[float]) -> float:
    """How long a method will take, when others have taken so long."""
    return float(np.mean(taken)) * method.cost if len(taken) else 0.0


Item = TypeVar("Item")
# they change no value, so a cut is named after the layer below them
UNCHANGING = REGULARIZERS | {"Flatten", "Reshape"}


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
    """Up to `count` layers, and the input, at which relevance is looked at on its way down; Keras names in execution order."""
    return [net.graph.input, *reversed(choose_depths(net, count))]


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


@dataclass(frozen=True)
class Plan:
    """What is measured, the same for all methods.

    Attributes:
        images: (n, *input shape), as the network takes them; the first `vector_images` of them get random vectors.
        classes: the class of each image.
        depths: layers at which the network is cut, from the output down.
        starts: start layers of random relevance; the effective rank of the first one counts for the verdict.
        layers: where random relevance is looked at.
        vectors: random vectors per image and start layer.
        seed: of the vectors, the other classes and the fresh weights.
    """

    images: np.ndarray
    classes: Classes
    depths: Sequence[str]
    starts: Sequence[str]
    layers: Sequence[str]
    vector_images: int
    vectors: int
    seed: int
    thresholds: Thresholds = Thresholds()
