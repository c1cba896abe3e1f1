"""When a sweep is compiled: once the work that is left is worth the trace, by counts alone, so at the same image on every machine."""

from __future__ import annotations

from contextlib import contextmanager
from typing import Callable, Iterable, Iterator

import numpy as np
import tensorflow as tf

from wel.backends.native.sweep import Passes, Rules, Sweep

# What a trace costs, for every part in numbers that come through eagerly, and in eager calls: what these lose to compiled ones. Measured on
# ResNet-50 and VGG-16: 11 to 20 ms a part, and 2.3 ns a number; on cifar10: 1.2 ms a part and call.
VALUES_PER_PART = 8e6
CALLS_PER_TRACE = 15


class Adaptive:
    """A sweep as a function of any number of images: eager at first, a TensorFlow graph from where that pays.

    Attributes:
        sweep: whose function it is.
    """

    def __init__(self, sweep: Sweep, dtype: str, eager: bool):
        self.sweep = sweep
        self._eager = eager
        self._compiled = Compiled(sweep, dtype)
        self._spent = 0.0

    def __call__(self, left: int, passes: Passes | None, images: tf.Tensor, *arguments):
        """Runs the sweep; `left` is how many images will come, these among them, and `passes` as the sweep takes it."""
        known = passes is not None
        if not self._pays(left, len(images), known):
            self._spent += self._saved(len(images), len(images), known)
            return self.sweep(images, *arguments, passes=passes)
        return self._compiled(images, *arguments)

    def _pays(self, left: int, batch: int, known: bool) -> bool:
        """Whether a trace costs less than what it saves in the images that are left, or would have saved in those that are done.

        Who says that few are left, and comes again and again, is not believed for ever.
        """
        return not self._eager or self._compiled.traced or max(self._saved(left, batch, known), self._spent) >= 1

    def _saved(self, images: int, batch: int, known: bool) -> float:
        """What compiling saves in so many images, in traces; the forward pass is `known` where methods have it in common."""
        sweep = self.sweep
        up = 0 if known else self._values(sweep.reached)
        values = (up + self._values(sweep.on_the_way) * sweep.rows) * images
        parts = len(sweep.passed) + len(sweep.random_passed)
        return values / (VALUES_PER_PART * max(parts, 1)) + images / batch / CALLS_PER_TRACE

    def _values(self, names: Iterable[str]) -> int:
        return sum(int(np.prod(self.sweep.graph[name].shape)) for name in names)


class Compiled:
    """A sweep, or what takes the arguments of one, as a TensorFlow function, traced when it is first called, for any number of images.

    Attributes:
        traced: whether it has been.
    """

    def __init__(self, sweep: Callable, dtype: str):
        self._sweep, self._dtype = sweep, dtype
        self._function = None

    @property
    def traced(self) -> bool:
        return self._function is not None

    def __call__(self, *arguments):
        if self._function is None:
            function = tf.function(lambda *given: self._sweep(*given), autograph=False)
            self._function = function.get_concrete_function(*self._specs(*arguments))
        with _unoptimised():
            return self._function(*arguments)

    def _specs(self, images, vectors, reference, *tensors):
        flexible = tf.nest.map_structure(lambda tensor: tf.TensorSpec([None, *tensor.shape[1:]], self._dtype), (images, vectors, reference))
        return (*flexible, *tf.nest.map_structure(lambda leaf: leaf if leaf is None else tf.TensorSpec.from_tensor(leaf), tensors))


@contextmanager
def _unoptimised() -> Iterator[None]:
    """Without TensorFlow's passes over graphs, which take a sixth to a quarter of the time to the first result, and gain nothing."""
    before = tf.config.optimizer.get_experimental_options()
    tf.config.optimizer.set_experimental_options({"disable_meta_optimizer": True})
    try:
        yield
    finally:
        tf.config.optimizer.set_experimental_options({"disable_meta_optimizer": False, **before})


def may_be_eager(rules: Rules) -> bool:
    """Whether all rules are wel's own: one of a user's may have operations that there are in a graph only, such as `tf.gradients`."""
    return all(type(rule).__module__.startswith("wel.") for pairs in rules.values() for _, rule in pairs)
