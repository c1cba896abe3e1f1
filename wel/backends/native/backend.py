"""wel's own engine as a backend: sweeps (`wel.backends.native.sweep`) in the caller's process."""

from __future__ import annotations

import weakref
from contextlib import contextmanager
from typing import Any, Iterable, Iterator, Mapping, Sequence

import numpy as np
import tensorflow as tf

from wel.backends.native.adaptive import Adaptive, may_be_eager
from wel.backends.native.fast import accelerated
from wel.backends.native.memory import images_within
from wel.backends.native.sweep import Passes, Sweep, Tensors
from wel.backends.request import Injection, Measure, Precision, Request, Whole
from wel.methods.composites import Between, check_rules, flow_of, registrations, rules_for, scalars
from wel.methods.registry import METHODS, Method
from wel.networks.graph import Graph
from wel.networks.kernels import kernel_layers
from wel.networks.network import Network
from wel.rules.base import Rule
from wel.rules.parts import Part
from wel.system.devices import tf32_allowed


class NativeBackend:
    """The native engine.

    Attributes:
        name: as in `backend=...`.
    """

    name = "native"

    def __init__(self):
        self._made: weakref.WeakKeyDictionary[Network, dict] = weakref.WeakKeyDictionary()
        self._registrations = registrations()

    def check(self, method: Method, semantics: str, graph: Graph, between: Between | None = None) -> None:
        """Raises UnsupportedError, saying which layer has no rule, for a method that cannot be computed for a network."""
        check_rules(method, graph, semantics, between)

    def open(self, net: Network, precision: Precision = Precision()) -> NativeNetwork:
        """The network with the weights that it has now.

        Raises:
            WelError: when one of them is not finite.
        """
        for node in net.graph.nodes:
            node.check_finite()
        graph = net.graph.in_dtype(precision.dtype)
        if self._registrations != registrations():
            self.close()
            self._registrations = registrations()
        # sweeps hold on to the layers that they were made for
        return NativeNetwork(graph, precision, self._made.setdefault(net, {}) if graph is net.graph else {})

    def close(self) -> None:
        """Forgets all sweeps."""
        self._made.clear()


class NativeNetwork:
    """A network's graph and weights, as they were when it was opened, and the sweeps made for it."""

    def __init__(self, graph: Graph, precision: Precision, made: dict):
        self._graph = graph
        self._dtype, self._memory = precision
        self._made = made
        # they hold on to random layers, so they go with what was opened
        self._made_above_random: dict[tuple, Adaptive] = {}
        self._tensors: tuple[tuple, tuple] | None = None

    def measure(
        self,
        request: Request,
        images: np.ndarray,
        vectors: Mapping[str, np.ndarray],
        at: Iterable[str] | None,
        measure: Measure,
        left: int | None = None,
    ) -> dict[tuple[str, str], Any]:
        """As `wel.backends.request.Opened.measure`, in one sweep for all start layers."""
        read = {start: frozenset(self._graph.below(start) if at is None else at) for start in vectors}
        injections = [Injection(start, array.shape[1], read[start], measure) for start, array in vectors.items()]
        found = self.inject(request, images, injections, list(vectors.values()), left)
        return {(start, name): value for start, several in zip(vectors, found) for name, value in several.items()}

    def inject(
        self,
        request: Request,
        images: np.ndarray,
        injections: Sequence[Injection],
        vectors: Sequence[np.ndarray],
        left: int | None = None,
        random: Graph | None = None,
        passes: Passes | None = None,
    ) -> list[dict[str, Any]]:
        """Several injections in one sweep.

        Args:
            request, images, left: as for `measure`.
            injections: what is injected and read.
            vectors: of each injection, (n, V, *shape of its start layer).
            random: the network with the random layers of injections that have some.
            passes: where what methods have in common is kept of these images and these random layers.

        Returns:
            For each injection node -> what its measure makes of the relevance there.
        """
        groups = self._groups(request, injections, len(images))
        if len(groups) > 1:
            flow, _ = flow_of(self._graph, request.method.key, request.semantics)
            shared = (passes or Passes()).for_groups(flow)
            several = [self.inject(request, images, injections[some], vectors[some], left, random, shared) for some in groups]
            return [read for group in several for read in group]
        tops = [self._graph.index(one.random_from or one.start) for one in injections]
        order = sorted(range(len(injections)), key=tops.__getitem__, reverse=True)
        run = self._run(request, tuple(injections[k] for k in order), random)
        reference = request.options.get("reference", np.zeros_like(images[0]))
        arguments = self._tensor(images), [self._tensor(vectors[k]) for k in order], self._tensor(reference[None])
        with full_precision():
            kept = run(left or len(images), passes, *arguments, *self._parameters(request, run.sweep))
        found: list[dict[str, Any]] = [{} for _ in injections]
        for (name, numbers), several in kept.items():
            for number, value in zip(numbers, injections[order[numbers[0]]].measure.of_starts(several, len(numbers))):
                found[order[number]][name] = value
        return found

    def _groups(self, request: Request, injections: Sequence[Injection], images: int) -> list[slice]:
        """The injections that come down together: all of them, unless that takes more memory than there is for a batch."""
        groups, rows = [[]], 0
        for number, injection in enumerate(injections):
            rows += injection.vectors
            if groups[-1] and self._images_within(rows, request) < images:
                groups.append([])
                rows = injection.vectors
            groups[-1].append(number)
        return [slice(group[0], group[-1] + 1) for group in groups]

    def output(self, images: np.ndarray) -> np.ndarray:
        """What the engine's own forward pass gives at the output, (n, *output shape)."""
        request = Request(METHODS["gradient"], "paper")
        sweep = self._run(request, (Injection(self._graph.output, 1, frozenset([self._graph.input]), Whole()),), None).sweep
        tensors, _ = self._parameters(request, sweep)
        reference = self._tensor(np.zeros_like(images[:1]))
        with full_precision():
            return np.concatenate([sweep.output(self._tensor(images[i : i + 1]), reference, tensors).numpy() for i in range(len(images))])

    def images_at_once(self, rows: int, request: Request) -> int:
        """How many images with that many vectors each go into one batch."""
        return max(1, self._images_within(rows, request))

    def _images_within(self, rows: int, request: Request) -> int:
        flow, _ = flow_of(self._graph, request.method.key, request.semantics)
        return images_within(self._memory, self._graph, rows, self._dtype, flow)

    def _tensor(self, array: np.ndarray) -> tf.Tensor:
        return tf.convert_to_tensor(array, self._dtype)

    def _run(self, request: Request, injections: tuple[Injection, ...], random: Graph | None) -> Adaptive:
        key = request.method.key, request.semantics, scalars(request.options), injections, random
        made = self._made if random is None else self._made_above_random
        if key not in made:
            made[key] = self._adaptive(request, injections, random)
        return made[key]

    def _adaptive(self, request: Request, injections: tuple[Injection, ...], random: Graph | None) -> Adaptive:
        between = {one.start for one in injections}, {name for one in injections for name in one.at}
        asked = request.method.key, request.semantics, request.options
        rules = [rules_for(graph, *asked, between) for graph in (self._graph, random) if graph is not None]
        fast = [accelerated(several) for several in rules]
        sweep = Sweep(self._graph, fast[0], injections, *flow_of(self._graph, *asked[:2]), *fast[1:])
        return Adaptive(sweep, self._dtype, all(map(may_be_eager, rules)))

    def _parameters(self, request: Request, sweep: Sweep) -> tuple:
        """A sweep's tensors; those of the last request are kept."""
        made_for, tensors = self._tensors or ((None, None), None)
        if made_for[0] is not sweep or made_for[1] is not request.options.get("patterns"):
            tensors = tensors_for(sweep, request.options)
            self._tensors = (sweep, request.options.get("patterns")), tensors
        return tensors  # pyright: ignore[reportReturnType]


def tensors_for(sweep: Sweep, options: Mapping[str, Any]) -> tuple[Tensors, Tensors | None]:
    """A sweep's last two arguments, of the weights as they are now."""
    patterns = _by_part(sweep, options.get("patterns", ()))
    random = sweep.random_passed
    return _made_of(sweep.computed, sweep.passed, patterns), _made_of([part for part, _ in random], random, patterns) if random else None


def _made_of(computed: Sequence[Part], passed: Sequence[tuple[Part, Rule]], patterns: Mapping[str, tf.Tensor]) -> Tensors:
    weights = {part.name: part.weights() for part in computed}
    return weights, {part.name: rule.parameters(part, patterns.get(part.name)) for part, rule in passed}


def _by_part(sweep: Sweep, patterns: Sequence[np.ndarray]) -> dict[str, tf.Tensor]:
    layers = kernel_layers(sweep.graph) if len(patterns) else ()
    return {layer.node.name: tf.convert_to_tensor(array, _dtype_of(sweep)) for layer, array in zip(layers, patterns)}


def _dtype_of(sweep: Sweep) -> str:
    return sweep.graph.nodes[0].layer.compute_dtype


@contextmanager
def full_precision() -> Iterator[None]:
    """Full float32 within, unless TF32 is allowed; what the caller has set comes back afterwards."""
    before = tf.config.experimental.tensor_float_32_execution_enabled()
    tf.config.experimental.enable_tensor_float_32_execution(before and tf32_allowed())
    try:
        yield
    finally:
        tf.config.experimental.enable_tensor_float_32_execution(before)
