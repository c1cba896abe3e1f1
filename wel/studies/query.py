"""What a map is asked for with, settled: the network, the images, and the relevance at its output."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any, Iterator, Mapping

import numpy as np

from wel.backends import find_backend
from wel.backends.request import Request, relevance_at
from wel.methods.registry import METHODS
from wel.networks.network import Network


@dataclass(frozen=True)
class Query:
    """What was asked for; `head` (n, classes) is the relevance at the output, and `first` the number of the first image."""

    net: Network
    request: Request
    images: np.ndarray
    head: np.ndarray
    backend: str
    seed: int
    first: int = 0

    @property
    def options(self) -> Mapping[str, Any]:
        """The method's, settled."""
        return self.request.options

    def behind(self) -> Request:
        """Of a method that is made of another one: what is asked of that one."""
        return behind(self.request)

    def relevance(self, request: Request, vectors: np.ndarray, start: str | None = None, at: str | None = None) -> np.ndarray:
        """Relevance (n, V, *shape of at) for vectors (n, V, *shape of start); from the output to the input by default."""
        graph = self.net.graph
        start, at = start or graph.output, at or graph.input
        opened = find_backend(self.backend, request.method).open(self.net)
        return relevance_at(opened, request, self.images, start, vectors.astype("float32"), [at])[at]

    def batches(self, request: Request) -> Iterator[Query]:
        """The same of as many images at once as the relevance of one vector each, and the values of all layers, leave room for."""
        size = find_backend(self.backend, request.method).open(self.net).images_at_once(1, request)
        for first in range(0, len(self.images), size):
            some = slice(first, first + size)
            yield replace(self, images=self.images[some], head=self.head[some], first=self.first + first)


def behind(request: Request) -> Request:
    """What a method that is made of another one asks of that one."""
    method = METHODS[request.options.get("base") or request.method.made_of]
    return Request(method, request.semantics, method.defaults)
