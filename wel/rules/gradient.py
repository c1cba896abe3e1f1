"""The gradient, layer by layer; other methods pass relevance through most layers the same way."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import tensorflow as tf

from wel.networks.kinds import IDENTITIES, SHAPES
from wel.rules.base import Rule, per_image
from wel.rules.derivatives import derivatives
from wel.rules.parts import Part
from wel.rules.pooling import is_max_pooling, to_winners, winners


@dataclass(frozen=True)
class Unchanged(Rule):
    """R_in = R."""

    def apply(self, site, prepared, R):
        return [R] * len(site.part.input_shapes)


@dataclass(frozen=True)
class Transposed(Rule):
    """R_in = WᵀR, a linear layer's gradient."""

    def parameters(self, part, pattern=None):
        return part.weights()

    def apply(self, site, prepared, R):
        return site.part.transposed(R, site.parameters)


@dataclass(frozen=True)
class Derivative(Rule):
    """R_in = f′(x) ⊙ R, the gradient of an activation function."""

    def prepare(self, site):
        return site.part.slope(site.inputs[0])

    def apply(self, site, prepared, R):
        return [R * per_image(prepared)]


@dataclass(frozen=True)
class Gradient(Rule):
    """R_in = JᵀR with the layer's Jacobian J at x, by TensorFlow's own gradient of the layer."""

    def prepare(self, site):
        return site.once("winners", lambda: winners(site.part, *site.inputs)) if is_max_pooling(site.part) else ()

    def apply(self, site, prepared, R):
        part, rows = site.part, R.shape[1]
        if part.node.kind in IDENTITIES:
            return [R]
        if is_max_pooling(part):
            return [to_winners(part, prepared, R)]
        flat = tf.reshape(R, [-1, *part.node.shape])
        if part.node.kind in SHAPES:
            back = part.derivative(lambda xs: part.forward(xs, None), flat)
        else:
            inputs = [tf.repeat(x, rows, axis=0) for x in site.inputs]
            back = self._back(part, inputs, flat)
        return [tf.reshape(x, [-1, rows, *shape]) for x, shape in zip(back, part.input_shapes)]

    def _back(self, part: Part, inputs: list[tf.Tensor], R: tf.Tensor) -> list[tf.Tensor]:
        """Nothing goes through what is no number, such as the condition x > 0 of a `tf.where`."""

        def smooth(xs: list[tf.Tensor]) -> tf.Tensor:
            given = iter(xs)
            y = part.forward([next(given) if x.dtype.is_floating else x for x in inputs], None)
            return y if y.dtype.is_floating else tf.zeros(tf.shape(y), R.dtype)

        floating = [x for x in inputs if x.dtype.is_floating]
        found = iter(derivatives(smooth, floating, R) if floating else ())
        return [next(found) if x.dtype.is_floating else tf.zeros(tf.shape(x), R.dtype) for x in inputs]


@dataclass(frozen=True)
class Guided(Derivative):
    """R_in = [x > 0] max(R, 0): Guided Backprop (Springenberg et al. 2015)."""

    linear = False

    def apply(self, site, prepared, R):
        return super().apply(site, prepared, tf.nn.relu(R))


@dataclass(frozen=True)
class Smooth(Rule):
    """R_in = σ(βx) ⊙ R, the gradient of log(1 + exp(βx)) / β in place of a ReLU's (Dombrowski et al. 2019, eq. 14)."""

    beta: float

    def prepare(self, site):
        return tf.sigmoid(self.beta * site.inputs[0])

    def apply(self, site, prepared, R):
        return [R * per_image(prepared)]


@dataclass(frozen=True)
class Deconvolved(Rule):
    """R_in = max(R, 0): Deconvnet (Zeiler and Fergus 2014)."""

    linear = False

    def apply(self, site, prepared, R):
        return [tf.nn.relu(R)]


@dataclass(frozen=True)
class Rectified(Derivative):
    """R_in = [x > 0] R where y ⊙ R is strictly above its percentile over the layer's values, else 0: RectGrad (Kim et al. 2019).

    The percentile is the nearest rank, counted from the top: of n values the one after the first k = round((n − 1)(1 − q/100)),
    halves rounded to even.
    """

    linear = False

    percentile: float

    def prepare(self, site):
        return site.output, super().prepare(site)

    def apply(self, site, prepared, R):
        output, derivative = prepared
        importance = per_image(output) * R
        kept = tf.where(importance > self._threshold(importance), R, tf.zeros_like(R))
        return super().apply(site, derivative, kept)

    def _threshold(self, importance: tf.Tensor) -> tf.Tensor:
        size = int(np.prod(importance.shape[2:]))
        rank = int(np.round((size - 1) * (1 - self.percentile / 100)))
        largest = tf.math.top_k(tf.reshape(importance, [-1, importance.shape[1], size]), rank + 1, sorted=False).values
        return tf.reshape(tf.reduce_min(largest, axis=-1), [-1, importance.shape[1], *[1] * (importance.shape.rank - 2)])
