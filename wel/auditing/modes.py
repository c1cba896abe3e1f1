"""How thorough an audit is."""
from __future__ import annotations

from dataclasses import dataclass
from typing import Sequence

import numpy as np

from wel.methods.registry import PAPER_METHODS, Method
from wel.networks.network import Network

# what is measured first, where time may run out: what people use, of every family one
PRIORITY = (
    "gradient lrp_alpha1_beta0 deeplift_rescale guided_backprop deep_taylor lrp_z deconvnet rectgrad lrp_alpha2_beta1 lrp_epsilon "
    "lrp_cmp_alpha1_beta0 deeplift_reveal_cancel lrp_alpha5_beta4 lrp_cmp_alpha2_beta1 deeplift_ablation"
).split()
# they take about twice the time of the others
DEAR = ("lrp_alpha2_beta1", "lrp_alpha5_beta4", "lrp_cmp_alpha2_beta1", "deeplift_reveal_cancel")
MORE = ("lrp_epsilon", "smoothgrad", "integrated_gradients", "input_x_gradient")


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
FULL = Mode("full", (*PAPER_METHODS, *MORE), 24, np.inf, 8, 8, 6, 5, 24, None)
MODES = {mode.name: mode for mode in (QUICK, FULL)}


def by_priority(methods: Sequence[Method], first: Sequence[str]) -> list[Method]:
    """Methods in the order in which they are measured: those named in `first`, those of `PRIORITY`, the others."""
    order = [*first, *PRIORITY]
    return sorted(methods, key=lambda method: order.index(method.name) if method.name in order else len(order))


def expected_seconds(method: Method, taken: Sequence[float]) -> float:
    """How long a method will take, when others have taken so long."""
    return float(np.mean(taken)) * (2 if method.name in DEAR else 1) if len(taken) else 0.0
