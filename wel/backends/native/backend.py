"""wel's own engine as a backend: compiled sweeps (`wel.backends.native.sweep`) in the caller's process."""

from __future__ import annotations

import weakref
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any, Callable, Iterable, Iterator, Mapping, Sequence

import numpy as np
import tensorflow as tf

from wel.backends.native.fast import accelerated
from wel.backends.native.memory import images_within
from wel.backends.native.sweep import Sweep
from wel.backends.request import Precision, Request
from wel.measures.counting import count_cosines
from wel.measures.counts import CosineCounts
from wel.measures.participation import Ratios, participation
from wel.methods.composites import flow_of, registrations, rules_for
from wel.networks.graph import Graph
from wel.networks.kernels import kernel_layers
from wel.networks.network import Network
from wel.system.devices import tf32_allowed

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
        self._registrations = registrations()

    def open(self, net: Network, precision: Precision = Precision()) -> NativeNetwork:
        """The network with the weights that it has now.

        Raises:
            WelError: when one of them is not finite.
        """
        _check_finite(net.graph)
        graph = net.graph.in_dtype(precision.dtype)
        if self._registrations != registrations():
            self.close()
            self._registrations = registrations()
        # sweeps hold on to the layers that they were compiled for
        compiled = self._compiled.setdefault(net, {}) if graph is net.graph else {}
        return NativeNetwork(graph, precision, compiled)

    def close(self) -> None:
        """Forgets all compiled sweeps."""
        self._compiled.clear()


class NativeNetwork:
    """A network's graph and weights, as they were when it was opened, and the sweeps compiled for it."""

    def __init__(self, graph: Graph, precision: Precision, compiled: dict):
        self._graph = graph
        self._dtype, self._memory = precision
        self._compiled = compiled
        self._parameters: tuple[tuple, tuple[dict, dict]] | None = None

    def relevance(self, request: Request, images: np.ndarray, start: str, vectors: np.ndarray, at: Iterable[str]) -> dict[str, np.ndarray]:
        """Relevance at the nodes `at` for vectors (n, V, *start shape) injected at `start`: {node: (n, V, *shape)}.

        Raises:
            UnsupportedError: when the method has no rule for a layer.
        """
        at = tuple(dict.fromkeys(at))
        size = self.images_at_once(vectors.shape[1])
        parts = []
        for first in range(0, len(images), size):
            batch = slice(first, first + size)
            _, read = self._run(request, images[batch], {start: vectors[batch]}, at, _whole)
            parts.append({name: relevance[:, 0].numpy() for name, relevance in read.items()})
        return {name: np.concatenate([part[name] for part in parts]) for name in at}

    def cosines(
        self, request: Request, images: np.ndarray, vectors: Mapping[str, np.ndarray], numbers: Sequence[int]
    ) -> dict[tuple[str, str], tuple[CosineCounts, int]]:
        """As `wel.backends.wrapped.OpenNetwork.cosines`, in one sweep for all start layers that have the same number of vectors."""
        found = {}
        for chosen in _by_count(vectors):
            found.update(self._cosines(request, images, chosen, numbers))
        return found

    def _cosines(self, request: Request, images, vectors: Mapping[str, np.ndarray], numbers: Sequence[int]) -> dict:
        found = {}
        sweep, read = self._run(request, images, vectors, self._below(vectors), _counted)
        for name, counts in read.items():
            broken = counts.broken.numpy().sum(axis=1)
            for start, several, vectors_broken in zip(sweep.starts_above(name), counts.of(numbers), broken):
                found[start, name] = several, int(vectors_broken)
        return found

    def participation(self, request: Request, images: np.ndarray, vectors: Mapping[str, np.ndarray]) -> dict[tuple[str, str], Ratios]:
        """Participation ratios of the results of the vectors {start: (n, V, *start shape)} at every layer below: {(start, layer): arrays}.

        Raises:
            UnsupportedError: when the method has no rule for a layer.
        """
        found = {}
        for chosen in _by_count(vectors):
            sweep, read = self._run(request, images, chosen, self._below(chosen), _participation)
            for name, ratios in read.items():
                above = sweep.starts_above(name)
                for position, start in enumerate(above):
                    found[start, name] = Ratios(*(tensor.numpy()[position :: len(above)] for tensor in ratios))
        return found

    def convergence(
        self, request: Request, images: np.ndarray, vectors: Mapping[str, np.ndarray], numbers: Sequence[int], at: Iterable[str]
    ) -> tuple[dict[tuple[str, str], CosineCounts], dict[str, np.ndarray]]:
        """In one sweep, for vectors {start: (n, V, *start shape)}, the same V for all: |cos| counts at the nodes `at` below each start,
        {(start, node): counts}, and the participation ratios of the whole input's relevance, {start: (n, 1 + V)}.

        Raises:
            UnsupportedError: when the method has no rule for a layer.
        """
        sweep, read = self._run(request, images, vectors, tuple(at), Converging(self._graph.input))
        cosines = {}
        for name, (counts, _) in read.items():
            cosines.update({(start, name): found for start, found in zip(sweep.starts_above(name), counts.of(numbers))})
        above = sweep.starts_above(self._graph.input)
        whole = read[self._graph.input][1].layer.numpy()
        return cosines, {start: whole[position :: len(above)] for position, start in enumerate(above)}

    def output(self, images: np.ndarray) -> np.ndarray:
        """What the engine's own forward pass gives at the output, (n, *output shape)."""
        request = Request("gradient", "paper", {})
        output = self._graph.output
        sweep, _ = self._sweep(request, {output: 1}, (self._graph.input,), _whole)
        weights, _ = self._made(request, sweep)
        reference = np.zeros_like(images[:1])
        forward = tf.function(lambda batch: sweep.output(batch, self._tensor(reference), weights), autograph=False)
        with full_precision():
            return np.concatenate([forward(self._tensor(images[i : i + 1])).numpy() for i in range(len(images))])

    def _below(self, starts: Iterable[str]) -> tuple[str, ...]:
        return tuple(sorted({name for start in starts for name in self._graph.below(start)}))

    def images_at_once(self, rows: int) -> int:
        """How many images with that many vectors each go into one batch."""
        return images_within(self._memory, self._graph, rows, self._dtype)

    def _run(self, request: Request, images, vectors: Mapping[str, np.ndarray], at: tuple[str, ...], read: Callable) -> tuple[Sweep, dict]:
        sweep, compiled = self._sweep(request, {start: array.shape[1] for start, array in vectors.items()}, at, read)
        weights, parameters = self._made(request, sweep)
        reference = request.options.get("reference", np.zeros_like(images[0]))
        cast = {start: self._tensor(array) for start, array in vectors.items()}
        with full_precision():
            return sweep, compiled(self._tensor(images), cast, self._tensor(reference[None]), weights, parameters)

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
            accelerated(rules_for(self._graph, request.method, request.semantics, request.options)),
            frozenset(rows),
            count,
            frozenset(at),
            read,
            *flow_of(self._graph, request.method, request.semantics),
        )
        return sweep, Compiled(sweep, self._dtype)

    def _made(self, request: Request, sweep: Sweep) -> tuple[dict, dict]:
        """The weights of the parts, and what the rules make of them; those of the last request are kept."""
        made_for, tensors = self._parameters or ((None, None), None)
        if made_for[0] is not sweep or made_for[1] is not request.options.get("patterns"):
            tensors = tensors_for(sweep, request.options)
            self._parameters = (sweep, request.options.get("patterns")), tensors
        return tensors  # pyright: ignore[reportReturnType]


class Compiled:
    """A sweep, or what takes the arguments of one, as a TensorFlow function, traced when it is first called, for any number of images."""

    def __init__(self, sweep: Callable, dtype: str):
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


def _check_finite(graph: Graph) -> None:
    for node in graph.nodes:
        if not all(tf.reduce_all(tf.math.is_finite(weight)) for weight in node.layer.weights if weight.dtype.is_floating):
            node.weights()  # raises, with the layer's name


def tensors_for(sweep: Sweep, options: Mapping[str, Any]) -> tuple[dict, dict]:
    """The weights of the parts as they are now, and what the rules make of them: a sweep's last two arguments."""
    patterns = _by_part(sweep, options.get("patterns", ()))
    weights = {part.name: part.weights() for part in sweep.computed}
    return weights, {part.name: rule.parameters(part, patterns.get(part.name)) for part, rule in sweep.passed}


def _by_part(sweep: Sweep, patterns: Sequence[np.ndarray]) -> dict[str, tf.Tensor]:
    layers = kernel_layers(sweep.graph) if len(patterns) else ()
    return {layer.node.name: tf.convert_to_tensor(array, _dtype_of(sweep)) for layer, array in zip(layers, patterns)}


def _dtype_of(sweep: Sweep) -> str:
    return sweep.graph.nodes[0].layer.compute_dtype


def _whole(name: str, relevance: tf.Tensor) -> tf.Tensor:
    return relevance


def _counted(name: str, relevance: tf.Tensor):
    return count_cosines(tf.reshape(relevance, [-1, *relevance.shape[2:]]), groups=relevance.shape[1])


def _participation(name: str, relevance: tf.Tensor):
    return participation(tf.reshape(relevance, [-1, *relevance.shape[2:]]))


@dataclass(frozen=True)
class Converging:
    """Reads |cos| counts at every node, and at the input the participation ratio too."""

    input: str

    def __call__(self, name: str, relevance: tf.Tensor):
        return _counted(name, relevance), _participation(name, relevance) if name == self.input else ()


def _by_count(vectors: Mapping[str, np.ndarray]) -> list[dict[str, np.ndarray]]:
    """The start layers that have the same number of vectors, together: one sweep each."""
    counts = {array.shape[1] for array in vectors.values()}
    return [{start: array for start, array in vectors.items() if array.shape[1] == count} for count in counts]


@contextmanager
def full_precision() -> Iterator[None]:
    """Full float32 within, unless TF32 is allowed; what the caller has set comes back afterwards."""
    before = tf.config.experimental.tensor_float_32_execution_enabled()
    tf.config.experimental.enable_tensor_float_32_execution(before and tf32_allowed())
    try:
        yield
    finally:
        tf.config.experimental.enable_tensor_float_32_execution(before)
