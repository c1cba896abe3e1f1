"""What a backend is asked for, and the protocol that all backends keep: open a network, measure relevance."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any, Callable, Collection, Iterable, Mapping, NamedTuple, Protocol, Sequence

import numpy as np

from wel.methods.registry import Method
from wel.networks.graph import Graph
from wel.networks.network import Network

DTYPES = ("float32", "float64")


@dataclass(frozen=True, eq=False)
class Request:
    """What is to be computed.

    Attributes:
        method: an attribution method with rules of its own.
        semantics: "paper" or "corrected".
        options: the method's, settled (`wel.methods.options.settle_options`).
    """

    method: Method
    semantics: str
    options: Mapping[str, Any] = field(default_factory=dict)


class Precision(NamedTuple):
    """How a backend computes: number type, and bytes that a batch may take (None: a part of what there is)."""

    dtype: str = "float32"
    memory: int | None = None


class Measure(Protocol):
    """What is kept of the relevance at a node: a frozen dataclass, so that equal ones share a compiled sweep."""

    def read(self, name: str, relevance: Any) -> Any:
        """Any structure of tensors, inside a sweep, for the relevance (n, starts, V, *shape), a tensor, at the node `name`."""
        ...

    def of_starts(self, kept: Any, starts: int) -> list[Any]:
        """The value for each of the start layers, of what `read` has kept of all of them."""
        ...

    def of(self, relevance: np.ndarray) -> Any:
        """The value for one start layer, of relevance (n, V, *shape)."""
        ...


class Injection(NamedTuple):
    """Vectors that are injected at a layer, and what is read of them.

    Attributes:
        start: the layer.
        vectors: how many each image has.
        at: layers at which they are read, where these lie below.
        measure: what is kept there.
        random_from: the layer from which on, in execution order, they meet random layers in place of the trained ones; None for trained
            layers all the way.
        made_of: function of the vectors and of the layer's own values (n, *shape) that gives what is injected, (n, vectors, *shape); None
            for the vectors as they are. Injections with equal ones share a compiled sweep.
    """

    start: str
    vectors: int
    at: frozenset[str]
    measure: Measure
    random_from: str | None = None
    made_of: Callable[[Any, Any], Any] | None = None


def times_value(vectors: Any, value: Any) -> Any:
    """What `Injection.made_of` may be: vectors (n, V, *shape) times the layer's own values (n, *shape), which are DeepLIFT's own there."""
    return vectors * getattr(value, "value", value)[:, None]


@dataclass(frozen=True)
class Whole:
    """The relevance itself, (n, V, *shape)."""

    def read(self, name, relevance):
        return relevance

    def of_starts(self, kept, starts):
        return [kept[:, position].numpy() for position in range(starts)]

    def of(self, relevance):
        return relevance


class Opened(Protocol):
    """A network in a backend's hands, with the weights that it had when it was opened."""

    def measure(
        self,
        request: Request,
        images: np.ndarray,
        vectors: Mapping[str, np.ndarray],
        at: Iterable[str] | None,
        measure: Measure,
        left: int | None = None,
    ) -> dict[tuple[str, str], Any]:
        """Injects vectors at start layers and measures what arrives at the nodes below.

        Args:
            request: method, semantics, options.
            images: (n, *input shape).
            vectors: start layer -> its vectors, (n, V, *shape).
            at: nodes; None for all that lie below a start layer.
            measure: what is kept there.
            left: how many images will be asked for in the same way, these among them; by default these.

        Returns:
            (start layer, node below it) -> what `measure` makes of the relevance (n, V, *shape).

        Raises:
            UnsupportedError: when the method cannot be had for this network.
        """
        ...

    def images_at_once(self, rows: int, request: Request) -> int:
        """How many images with that many vectors each go into one batch."""
        ...


class Backend(Protocol):
    """Who computes.

    Attributes:
        name: as in `backend=...`.
    """

    name: str

    def check(self, method: Method, semantics: str, graph: Graph, between: tuple[Collection[str], Collection[str]] | None = None) -> None:
        """Raises UnsupportedError, saying why, for a method that cannot be computed for a network; before any work is done.

        `between` are start layers, and layers at which relevance is read, by name; by default all of the network has to be passed.
        """
        ...

    def open(self, net: Network, precision: Precision = Precision()) -> Opened:
        """The network with the weights that it has now."""
        ...


def relevance_at(
    opened: Opened, request: Request, images: np.ndarray, start: str, vectors: np.ndarray, at: Sequence[str]
) -> dict[str, np.ndarray]:
    """Relevance at the nodes `at` for vectors (n, V, *start shape) injected at `start`, batch by batch: {node: (n, V, *shape)}."""
    size = opened.images_at_once(vectors.shape[1], request)
    batches = [slice(first, first + size) for first in range(0, len(images), size)]
    parts = [opened.measure(request, images[b], {start: vectors[b]}, at, Whole(), len(images) - b.start) for b in batches]
    return {name: np.concatenate([part[start, name] for part in parts]) for name in dict.fromkeys(at)}
