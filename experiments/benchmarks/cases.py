"""What is measured on: a network, one of its bundled images, and random vectors at its start layers."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from typing import Sequence

import numpy as np

import wel
from wel.backends.request import Request
from wel.images.load import load_images
from wel.measures.vectors import random_vectors
from wel.methods.options import settle_options
from wel.methods.registry import METHODS
from wel.networks.kernels import kernel_layers
from wel.networks.network import Network

NETWORKS = ("cifar10", "vgg16", "resnet50")
# None: the bundled weights
WEIGHTS = {"vgg16": "random", "resnet50": "random"}
SEED = 0


@dataclass(frozen=True)
class Case:
    """A network with one image, and how many vectors are injected at a start layer.

    Attributes:
        net: 32×32 pixels for cifar10, 224×224 for the others, whose weights are random.
        images: (1, *input shape), as the network takes them.
        count: V.
    """

    net: Network
    images: np.ndarray
    count: int

    @classmethod
    def of(cls, network: str, count: int) -> Case:
        """The case of a network of the zoo."""
        net = wel.load(network, WEIGHTS.get(network), seed=SEED)
        return cls(net, load_images(net, limit=1).inputs, count)

    def request(self, method: str) -> Request:
        """What is asked for: the paper's semantics; patterns are random, since speed does not depend on their values.

        Raises:
            UnsupportedError: when the network cannot have patterns.
        """
        given = {"patterns": self._patterns} if "patterns" in METHODS[method].options else {}
        return Request(METHODS[method], "paper", settle_options(METHODS[method], given, self.images))

    def vectors(self, starts: Sequence[str]) -> dict[str, np.ndarray]:
        """Start layer -> vectors (1, V, *shape)."""
        return {start: random_vectors(SEED, start, [0], self.count, self.net.graph[start].shape) for start in starts}

    @property
    def logits(self) -> str:
        """The output layer."""
        return self.net.graph.output

    @cached_property
    def _patterns(self) -> list[np.ndarray]:
        rng = np.random.default_rng(SEED)
        shapes = [layer.kernel.shape for layer in kernel_layers(self.net.graph)]
        return [(rng.standard_normal(shape) / np.sqrt(np.prod(shape[:-1]))).astype("float32") for shape in shapes]
