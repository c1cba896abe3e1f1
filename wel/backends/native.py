"""wel's own engine as a backend: compiled sweeps (`wel.engine`) in the caller's process."""
from __future__ import annotations

import weakref
from contextlib import contextmanager
from typing import Any, Callable, Iterable, Iterator, Mapping, Sequence

import numpy as np
import tensorflow as tf

from wel.backends.memory import images_within
from wel.backends.request import Request
from wel.composites import flow_of, rules_for
from wel.counting import count_cosines
from wel.engine import Sweep
from wel.graph import Graph
from wel.network import Network
from wel.rules.pattern import Pattern
from wel.statistics import CosineCounts

# options that reach a compiled sweep with every call
ARRAYS = ("reference", "patterns")


class NativeBackend:
    """The native engine.

    Attributes:
        name: as in `backend=...`.
    """

    name = "native"

    def __init__(self):
        self._compiled: weakref.WeakKeyDictionary[Network, dict] = weakref.WeakKeyDictionary()

    def open(self, net: Network, dtype: str = "float32", memory: int | None = None) -> NativeNetwork:
        """The network with the weights that it has now.

        Args:
            net: from `wel.load`.
            dtype: "float32" or "float64", of all that is computed.
            memory: bytes that a batch may take; by default a part of what is free.
        """
        graph = net.graph.in_dtype(dtype)
        # sweeps hold on to the layers that they were compiled for
        compiled = self._compiled.setdefault(net, {}) if graph is net.graph else {}
        return NativeNetwork(graph, dtype, memory, compiled)

    def close(self) -> None:
        """Forgets all compiled sweeps."""
        self._compiled.clear()


class NativeNetwork:
    """A network's graph and weights, as they were when it was opened, and the sweeps compiled for it."""

    def __init__(self, graph: Graph, dtype: str, memory: int | None, compiled: dict):
        self._graph, self._dtype, self._memory = graph, dtype, memory
        self._compiled = compiled
        self._parameters: tuple[Any, dict, dict] | None = None

    def relevance(
        self, request: Request, images: np.ndarray, start: str, vectors: np.ndarray, at: Iterable[str]
    ) -> dict[str, np.ndarray]:
        """Relevance at the nodes `at` for vectors (n, V, *start shape) injected at `start`: {node: (n, V, *shape)}.

        Raises:
            UnsupportedError: when the method has no rule for a layer.
        """
        at = tuple(dict.fromkeys(at))
        size = self.images_at_once(vectors.shape[1])
        parts = []
        for first in range(0, len(images), size):
            batch = slice(first, first + size)
            read = self._run(request, images[batch], {start: vectors[batch]}, at, _whole)
            parts.append({name: relevance[:, 0].numpy() for name, relevance in read.items()})
        return {name: np.concatenate([part[name] for part in parts]) for name in at}

    def cosines(
        self, request: Request, images: np.ndarray, vectors: Mapping[str, np.ndarray], numbers: Sequence[int]
    ) -> dict[tuple[str, str], tuple[CosineCounts, int]]:
        """Counts of |cos| for vectors (n, V, *shape) of several start layers, V the same for all, in one sweep.

        Args:
            request: method, semantics, options.
            images: (n, *input shape), one batch.
            vectors: start layer -> its vectors.
            numbers: what the images are called in the counts.

        Returns:
            (start layer, node below it) -> the counts of all images, and how many vectors have an entry that is not finite.
        """
        at = tuple(sorted({name for start in vectors for name in self._graph.below(start)}))
        found = {}
        for name, counts in self._run(request, images, vectors, at, _counted).items():
            counts = counts._replace(**{field: tensor.numpy() for field, tensor in counts._asdict().items()})
            above = [start for start in sorted(vectors, key=self._graph.index, reverse=True) if name in self._graph.below(start)]
            for position, start in enumerate(above):
                rows = range(position, len(images) * len(above), len(above))
                merged = CosineCounts.merged(counts.of(row, number) for row, number in zip(rows, numbers))
                found[start, name] = merged, int(counts.broken[rows].sum())
        return found

    def images_at_once(self, rows: int) -> int:
        """How many images with that many vectors each go into one batch."""
        return images_within(self._memory, self._graph, rows, self._dtype)

    def _run(self, request: Request, images, vectors: Mapping[str, np.ndarray], at: tuple[str, ...], read: Callable) -> dict:
        sweep, compiled = self._sweep(request, {start: array.shape[1] for start, array in vectors.items()}, at, read)
        weights, parameters = self._made(request, sweep)
        reference = request.options.get("reference", np.zeros_like(images[0]))
        cast = {start: self._tensor(array) for start, array in vectors.items()}
        with _full_precision():
            return compiled(self._tensor(images), cast, self._tensor(reference[None]), weights, parameters)

    def _tensor(self, array: np.ndarray) -> tf.Tensor:
        return tf.convert_to_tensor(array, self._dtype)

    def _sweep(self, request: Request, rows: Mapping[str, int], at: tuple[str, ...], read: Callable) -> tuple[Sweep, Callable]:
        scalars = tuple(sorted((key, value) for key, value in request.options.items() if key not in ARRAYS))
        key = (request.method, request.semantics, scalars, tuple(sorted(rows.items())), at, read)
        if key not in self._compiled:
            self._compiled[key] = self._compile(request, rows, at, read)
        return self._compiled[key]

    def _compile(self, request: Request, rows: Mapping[str, int], at: tuple[str, ...], read: Callable) -> tuple[Sweep, Callable]:
        (count,) = set(rows.values())
        sweep = Sweep(
            self._graph,
            rules_for(self._graph, request.method, request.semantics, request.options),
            frozenset(rows),
            count,
            frozenset(at),
            read,
            *flow_of(self._graph, request.method, request.semantics),
        )
        return sweep, _Compiled(sweep, self._dtype)

    def _made(self, request: Request, sweep: Sweep) -> tuple[dict, dict]:
        """The weights of the parts, and what the rules make of them; those of the last request are kept."""
        if self._parameters is None or self._parameters[0] is not sweep:
            weights = {part.name: part.weights() for part in sweep.computed}
            patterns = _by_part(sweep, request.options.get("patterns", ()))
            made = {part.name: rule.parameters(part, patterns.get(part.name)) for part, rule in sweep.passed}
            self._parameters = sweep, weights, made
        return self._parameters[1:]


class _Compiled:
    """A sweep as a TensorFlow function, traced when it is first called, for any number of images."""

    def __init__(self, sweep: Sweep, dtype: str):
        self._sweep, self._dtype = sweep, dtype
        self._function = None

    def __call__(self, *arguments):
        if self._function is None:
            self._function = tf.function(self._sweep.__call__, autograph=False).get_concrete_function(*self._specs(*arguments))
        return self._function(*arguments)

    def _specs(self, images, vectors, reference, weights, parameters):
        flexible = tf.nest.map_structure(lambda tensor: tf.TensorSpec([None, *tensor.shape[1:]], self._dtype), (images, vectors, reference))
        fixed = tf.nest.map_structure(lambda leaf: leaf if leaf is None else tf.TensorSpec.from_tensor(leaf), (weights, parameters))
        return (*flexible, *fixed)


def _by_part(sweep: Sweep, patterns: Sequence[np.ndarray]) -> dict[str, tf.Tensor]:
    rules = [pair for several in sweep.rules.values() for pair in several]
    names = [part.name for part, rule in rules if isinstance(rule, Pattern)]
    return {name: tf.convert_to_tensor(array, _dtype_of(sweep)) for name, array in zip(names, patterns)}


def _dtype_of(sweep: Sweep) -> str:
    return sweep.graph.nodes[0].layer.compute_dtype


def _whole(name: str, relevance: tf.Tensor) -> tf.Tensor:
    return relevance


def _counted(name: str, relevance: tf.Tensor):
    return count_cosines(tf.reshape(relevance, [-1, *relevance.shape[2:]]))


@contextmanager
def _full_precision() -> Iterator[None]:
    """Full float32 within; what the caller has set comes back afterwards."""
    before = tf.config.experimental.tensor_float_32_execution_enabled()
    tf.config.experimental.enable_tensor_float_32_execution(False)
    try:
        yield
    finally:
        tf.config.experimental.enable_tensor_float_32_execution(before)
