"""What an audit measures: modes, the order of the methods, and the plan of one audit."""

from __future__ import annotations

from dataclasses import dataclass
from typing import NamedTuple, Sequence

import numpy as np

from wel.auditing.verdicts import FEWEST, Thresholds
from wel.measures.places import places
from wel.methods.registry import CONTROL, METHODS, PAPER_METHODS, PERTURBATION, Method
from wel.networks.graph import Node
from wel.networks.network import Network
from wel.studies.map_study import Classes
from wel.studies.occlusion import patches_of


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
        parts: in how many parts images are hidden, at most, once the most and once the least relevant first.
        hidden_products: so many multiplications that takes for a method: of a large network in fewer parts, but two, and of fewer images,
            but four.
        patches: how many patches of Occlusion lie side by side on the shortest side; they do not overlap.
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
    parts: int
    hidden_products: float
    patches: int

    def images_for(self, net: Network) -> int:
        """How many images give maps."""
        size = sum(int(np.prod(node.shape)) for node in net.graph.nodes)
        return int(min(self.images, max(4, self.values / size)))

    def hidden_for(self, net: Network) -> int:
        """How many of these are hidden."""
        return int(min(self.images_for(net), max(FEWEST, self._hidden_passes(net) / (2 * (self.parts_for(net) - 1)))))

    def parts_for(self, net: Network) -> int:
        """In how many parts."""
        return int(min(self.parts, max(2, 1 + self._hidden_passes(net) / (2 * FEWEST))))

    def _hidden_passes(self, net: Network) -> float:
        """How many forward passes `hidden_products` are."""
        return self.hidden_products / max(1, _Counted.of(net.graph.nodes).products)

    def options(self, net: Network) -> dict[str, dict[str, int]]:
        """Options of methods that an audit takes otherwise than by default: the patches of Occlusion."""
        side = max(1, min(places(net.input_shape)) // self.patches)
        return {"occlusion": {"patch": side, "stride": side}}


class Speed(NamedTuple):
    """What a core does in a second: multiplications of kernels, values of layers, layers."""

    products: float
    values: float
    layers: float


# of one image up, of which methods share most, and of one vector down; measured on VGG-16, 240 × 240, without a compiler
UP, DOWN = Speed(1.7e11, 1.2e9, 2e3), Speed(1.2e11, 4e8, 1e4)
# of one image among several that are hidden somewhere, up; measured on networks from resnet20 to VGG-16
HIDDEN = Speed(1.2e11, 2.4e9, 2e5)
CORES = 1.7  # what two cores do, of which one waits at times
AUDITED = ("grad_cam", "occlusion")  # beside the paper's
QUICK = Mode("quick", (*PAPER_METHODS, *AUDITED), 24, 1.6e8, 2, 5, 3, 0, 12, 4, 1e11, 4)
MORE = tuple(method.name for method in METHODS.values() if method.full_audit)
FULL = Mode("full", (*PAPER_METHODS, *AUDITED, *MORE), 24, np.inf, 8, 8, 6, 5, 24, 16, np.inf, 8)
MODES = {mode.name: mode for mode in (QUICK, FULL)}


def by_priority(methods: Sequence[Method], first: Sequence[str]) -> list[Method]:
    """Methods in the order in which they are measured: those named in `first`, the others by `audit_rank`."""

    def place(method: Method) -> tuple[int, float]:
        named = method.name in first
        return (0, first.index(method.name)) if named else (1, np.inf if method.audit_rank is None else method.audit_rank)

    return sorted(methods, key=place)


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
        parts: in how many parts images are hidden.
        hidden_images: how many of them are.
        patch: side of Occlusion's patches, in places.
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
    parts: int = 0
    hidden_images: int = 0
    patch: int = 1


def expected_seconds(net: Network, plan: Plan, method: Method) -> float:
    """How long two idle cores take for a method: by counts alone, so the same on every machine and whatever else it does.

    An image goes up once, and from every cut on once more, or denominators do; down go the vectors of its maps and the random ones. It
    goes up again hidden, part by part, and under Occlusion once for every patch. Of a control that alone takes time.
    """
    graph = net.graph
    whole = _Counted.of(graph.nodes)
    hidden = 2 * max(0, plan.parts - 1) * plan.hidden_images * whole.seconds(HIDDEN)
    if method.family == CONTROL:
        return hidden / CORES
    above = [_Counted.of(graph.nodes[graph.index(depth) + 1 :]) for depth in plan.depths]
    up = len(plan.images) * sum(one.seconds(UP) for one in (whole, *above))
    maps = 1 + has_others(net) + len(depths_for(plan, method))
    if method.name == "occlusion":
        patches = len(patches_of(places(net.input_shape), plan.patch, plan.patch))
        return (hidden + len(plan.images) * (1 + patches) * whole.seconds(HIDDEN)) / CORES
    down = (len(plan.images) * maps + plan.vector_images * plan.vectors * len(plan.starts)) * whole.seconds(DOWN)
    return (method.cost * (up + down) + hidden) / CORES


def depths_for(plan: Plan, method: Method) -> Sequence[str]:
    """The cuts that a method is measured at: of one whose map takes many passes only the topmost, which counts for the verdict."""
    return plan.depths[:1] if method.family == PERTURBATION else plan.depths


def has_others(net: Network) -> bool:
    """Whether the map of another class tells something: of two logits, which only count by their difference, it is the same by
    construction, and with one there is none."""
    return net.output_shape[-1] > 2


@dataclass(frozen=True)
class _Counted:
    """What some layers compute for one image: layers, values, and multiplications of kernels."""

    layers: int
    values: int
    products: int

    @classmethod
    def of(cls, nodes: Sequence[Node]) -> _Counted:
        return cls(len(nodes), sum(int(np.prod(node.shape)) for node in nodes), sum(map(_products, nodes)))

    def seconds(self, speed: Speed) -> float:
        """Of one core, for one pass."""
        return self.products / speed.products + self.values / speed.values + self.layers / speed.layers


def _products(node: Node) -> int:
    kernels = [int(np.prod(weight.shape)) for weight in node.variables if len(weight.shape) > 1]
    return sum(kernels) * int(np.prod(node.shape)) // node.shape[-1] if kernels else 0
