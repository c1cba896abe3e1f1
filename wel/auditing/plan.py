"""What an audit measures: modes, the order of the methods, and the plan of one audit."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Sequence

import numpy as np

from wel.auditing.verdicts import Thresholds
from wel.methods.registry import METHODS, PAPER_METHODS, Method
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
