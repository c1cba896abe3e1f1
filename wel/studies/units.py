"""Units of work: a method under one semantics on some images, and what computes it, in this process or on a worker of a cluster."""

from __future__ import annotations

from typing import Any, Callable, Dict, Hashable, Mapping, NamedTuple, TypeVar

import numpy as np

from wel.backends import find_backend
from wel.backends.request import Opened, Precision, Request
from wel.methods.registry import CONTROL, Method
from wel.networks.graph import Graph
from wel.networks.network import Network
from wel.system.files import file_stem

Arrays = Mapping[str, np.ndarray]
Kept = TypeVar("Kept")
# a unit of maps: so many values of layers and of relevance there, a minute of VGG-16, and no more images than this
UNIT_VALUES, UNIT_IMAGES = 2e9, 64


class Cell(NamedTuple):
    """What is computed together: a method under one semantics."""

    method: Method
    semantics: str

    @property
    def key(self) -> str:
        """As the pieces of its work are called in a run directory."""
        return f"{file_stem(self.method.name)}-{self.semantics}"


class Opening:
    """A network that a process has open, the holds that backends have on it, and what was made for it last."""

    def __init__(self, net: Network):
        self.net = net
        self._opened: Dict[tuple, Opened] = {}
        self._kept: tuple[Hashable, Any] = None, None

    def opened(self, backend: str, method: Method, precision: Precision) -> Opened:
        """The network in the hands of a backend, with the weights that it had when that was first asked for."""
        found = find_backend(computed_by(backend, method), method)
        key = found.name, precision
        if key not in self._opened:
            self._opened[key] = found.open(self.net, precision)
        return self._opened[key]

    def kept(self, key: Hashable, make: Callable[[], Kept]) -> Kept:
        """What `make` gives, until something else is kept here."""
        if self._kept[0] != key:
            self._kept = key, make()
        return self._kept[1]


class Work(NamedTuple):
    """What a unit is computed with.

    Attributes:
        opening: the network.
        request: the method, its semantics and options.
        backend, precision: who computes, and how.
        images: the unit's, (n, *input shape).
    """

    opening: Opening
    request: Request
    backend: str
    precision: Precision
    images: np.ndarray

    @property
    def net(self) -> Network:
        """The network."""
        return self.opening.net

    @property
    def opened(self) -> Opened:
        """The network in the hands of the backend."""
        return self.opening.opened(self.backend, self.request.method, self.precision)


# a function that can be pickled
Compute = Callable[[Work], Arrays]


class Unit(NamedTuple):
    """A piece of work that any process can do that has the network.

    Attributes:
        cell: whose piece it is.
        name: the piece's own within the cell.
        images: what it is computed of.
        compute: what gives the piece's arrays.
    """

    cell: Cell
    name: str
    images: np.ndarray
    compute: Compute


def computed_by(backend: str, method: Method) -> str:
    """The backend that a method is asked of: controls need none, and stand beside what any backend computes."""
    return "native" if method.family == CONTROL else backend


def images_per_unit(graph: Graph, vectors: float) -> int:
    """Of how many images a unit is, where an image has so many relevances: by counts alone, so that units are the same everywhere."""
    values = sum(int(np.prod(node.shape)) for node in graph.nodes)
    return int(np.clip(UNIT_VALUES / (vectors * values), 1, UNIT_IMAGES))
