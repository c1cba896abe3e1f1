"""The native engine opened for tests, and how far it is from a replica."""

from __future__ import annotations

from typing import Iterable

import numpy as np
from deeplift_replica import DeepLiftReplica
from replicas import Replica, relative

from wel.backends.native.backend import NativeBackend, tensors_for
from wel.backends.native.sweep import Sweep
from wel.backends.request import Injection, Precision, Request, Whole, relevance_at
from wel.measures.counting import Cosines
from wel.methods.composites import flow_of, rules_for
from wel.methods.options import settle_options
from wel.methods.registry import find_method


class Opened:
    """A network in the native engine; what is compiled for it stays as long as this does."""

    def __init__(self, net, dtype: str = "float64", memory: int | None = None):
        self.net, self.native = net, NativeBackend().open(net, Precision(dtype, memory))

    def relevance(self, method: str, images, start: str, vectors, semantics: str = "corrected", at: Iterable[str] | None = None, **options):
        """As `wel.relevance`, by Keras's names, in the number type that was opened; options as they are."""
        at = self.net.graph.below(start) if at is None else at
        return relevance_at(self.native, Request(find_method(method), semantics, options), images, start, np.asarray(vectors), list(at))

    def cosines(self, method: str, images, vectors: dict, semantics: str = "corrected", **options):
        """|cos| for several start layers at once."""
        return self.native.measure(Request(find_method(method), semantics, options), images, vectors, None, Cosines())


class Swept:
    """One sweep for several start layers with the same number of vectors, compiled once, float32; weights are read in every call."""

    def __init__(self, net, method: str, semantics: str, images: np.ndarray, vectors: dict[str, np.ndarray], **options):
        import tensorflow as tf

        graph = net.graph
        (count,) = {array.shape[1] for array in vectors.values()}
        options = settle_options(find_method(method), options, images)
        at = frozenset(name for start in vectors for name in graph.below(start))
        rules = rules_for(graph, method, semantics, options)
        injections = tuple(Injection(start, count, at, Whole()) for start in sorted(vectors, key=graph.index, reverse=True))
        sweep = Sweep(graph, rules, injections, *flow_of(graph, method, semantics))
        self._sweep, self._options, self._run = sweep, options, tf.function(sweep.__call__, autograph=False)
        self._images = tf.constant(images)
        self._vectors = [tf.constant(vectors[injection.start]) for injection in injections]
        self._reference = tf.constant(options.get("reference", np.zeros_like(images[0]))[None])

    def relevance(self) -> dict[str, dict[str, np.ndarray]]:
        """{start: {node below it: (n, V, *shape)}}."""
        kept = self._run(self._images, self._vectors, self._reference, *tensors_for(self._sweep, self._options))
        found: dict[str, dict[str, np.ndarray]] = {injection.start: {} for injection in self._sweep.injections}
        for (name, numbers), rows in kept.items():
            for k, number in enumerate(numbers):
                found[self._sweep.injections[number].start][name] = rows[:, k].numpy()
        return found


def vectors_for(net, start: str, images: int = 2, count: int = 2, seed: int = 0) -> np.ndarray:
    """Standard normal vectors (images, count, *shape of start)."""
    return np.random.default_rng(seed).standard_normal((images, count, *net.graph[start].shape), dtype="float32")


def assert_equals_replica(
    opened: Opened, method: str, semantics: str, images, matrices: dict, start: str | None = None, tolerance: float = 1e-9, **options
) -> None:
    """Every layer below `start`, by default the output, against the naive replica."""
    net = opened.net
    start = start or net.graph.output
    vectors = vectors_for(net, start, len(images))
    found = opened.relevance(method, images, start, vectors, semantics, **options)
    replica = DeepLiftReplica if method.startswith("deeplift_") else Replica
    expected = replica(net, method, semantics, matrices, **options).relevance(images, start, vectors)
    assert list(found) == list(expected)
    off = {name: relative(found[name], expected[name]) for name in found}
    assert max(off.values()) <= tolerance, {name: error for name, error in off.items() if error > tolerance}


def tape_gradient(model, images, vectors, dtype: str = "float64") -> np.ndarray:
    """(n, V, *input): what TensorFlow's own gradient makes of every vector, in the model's number type."""
    import tensorflow as tf

    x = tf.constant(images, dtype)
    with tf.GradientTape(persistent=True) as tape:
        tape.watch(x)
        sums = [tf.reduce_sum(model(x) * tf.constant(vectors[:, k], dtype)) for k in range(vectors.shape[1])]
    return np.stack([tape.gradient(one, x).numpy() for one in sums], axis=1)
