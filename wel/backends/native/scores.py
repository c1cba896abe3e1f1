"""A network's output for many images in whatever order of summation is fastest: for scores, which decide no mask."""

from __future__ import annotations

import weakref
from typing import Callable

import numpy as np

from wel.networks.graph import Node
from wel.networks.network import Network
from wel.rules.parts import parts_of

_made: weakref.WeakKeyDictionary[Network, Callable] = weakref.WeakKeyDictionary()


def fast_logits(net: Network, images: np.ndarray) -> np.ndarray:
    """As `net.logits`, with last bits of their own: convolutions take a quarter to two thirds of the time on a CPU."""
    if net not in _made:
        _made[net] = _fast(net)
    return net.values(images, net.graph.output, _made[net])


def _fast(net: Network) -> Callable[[Node, list], object]:
    parts = parts_of(net.graph)

    def apply(node: Node, inputs: list):
        if node.kind != "Conv2D":
            return node.apply(inputs)
        first, *others = parts[node.name]
        weights = first.weights()
        y = first.sums(inputs, weights)
        y = y if weights.bias is None else y + weights.bias
        for part in others:
            y = part.forward([y], None)
        return y

    return apply
