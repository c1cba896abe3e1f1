"""wel's own engine as a backend: compiled sweeps (`wel.backends.native.sweep`) in the caller's process."""

from __future__ import annotations

import weakref
from contextlib import contextmanager
from typing import Any, Callable, Iterable, Iterator, Mapping, Sequence

import numpy as np
import tensorflow as tf

from wel.backends.native.fast import accelerated
from wel.backends.native.memory import images_within
from wel.backends.native.sweep import Sweep
from wel.backends.request import Measure, Precision, Request, Whole
from wel.methods.composites import Between, check_rules, flow_of, registrations, rules_for, scalars
from wel.methods.registry import METHODS, Method
from wel.networks.graph import Graph
from wel.networks.kernels import kernel_layers
from wel.networks.network import Network
from wel.system.devices import tf32_allowed


class NativeBackend:
    """The native engine.

    Attributes:
        name: as in `backend=...`.
    """

    name = "native"

    def __init__(self):
        self._compiled: weakref.WeakKeyDictionary[Network, dict] = weakref.WeakKeyDictionary()
        self._registrations = registrations()

    def check(self, method: Method, semantics: str, graph: Graph, between: Between | None = None) -> None:
        """Raises UnsupportedError, saying which layer has no rule, for a method that cannot be computed for a network."""
        check_rules(method, graph, semantics, between)

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

    def measure(
        self, request: Request, images: np.ndarray, vectors: Mapping[str, np.ndarray], at: Iterable[str] | None, measure: Measure
    ) -> dict[tuple[str, str], Any]:
        """As `wel.backends.request.Opened.measure`, in one sweep for all start layers that have the same number of vectors."""
        found = {}
        for chosen in _by_count(vectors):
            names = self._below(chosen) if at is None else tuple(sorted(set(at)))
            sweep, read = self._run(request, images, chosen, names, measure)
            for name, kept in read.items():
                starts = sweep.starts_above(name)
                found.update({(start, name): value for start, value in zip(starts, measure.of_starts(kept, len(starts)))})
        return found

    def output(self, images: np.ndarray) -> np.ndarray:
        """What the engine's own forward pass gives at the output, (n, *output shape)."""
        request = Request(METHODS["gradient"], "paper")
        output = self._graph.output
        sweep, _ = self._sweep(request, {output: 1}, (self._graph.input,), Whole())
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

    def _run(
        self, request: Request, images, vectors: Mapping[str, np.ndarray], at: tuple[str, ...], measure: Measure
    ) -> tuple[Sweep, dict]:
        sweep, compiled = self._sweep(request, {start: array.shape[1] for start, array in vectors.items()}, at, measure)
        weights, parameters = self._made(request, sweep)
        reference = request.options.get("reference", np.zeros_like(images[0]))
        cast = {start: self._tensor(array) for start, array in vectors.items()}
        with full_precision():
            return sweep, compiled(self._tensor(images), cast, self._tensor(reference[None]), weights, parameters)

    def _tensor(self, array: np.ndarray) -> tf.Tensor:
        return tf.convert_to_tensor(array, self._dtype)

    def _sweep(self, request: Request, rows: Mapping[str, int], at: tuple[str, ...], measure: Measure) -> tuple[Sweep, Callable]:
        key = (request.method.name, request.semantics, scalars(request.options), tuple(sorted(rows.items())), at, measure)
        if key not in self._compiled:
            self._compiled[key] = self._compile(request, rows, at, measure)
        return self._compiled[key]

    def _compile(self, request: Request, rows: Mapping[str, int], at: tuple[str, ...], measure: Measure) -> tuple[Sweep, Callable]:
        (count,) = set(rows.values())
        sweep = Sweep(
            self._graph,
            accelerated(rules_for(self._graph, request.method.name, request.semantics, request.options, (rows, at))),
            frozenset(rows),
            count,
            frozenset(at),
            measure.read,
            *flow_of(self._graph, request.method.name, request.semantics),
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
        tensors = map(tf.convert_to_tensor, node.variables)
        if not all(tf.reduce_all(tf.math.is_finite(tensor)) for tensor in tensors if tensor.dtype.is_floating):
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
