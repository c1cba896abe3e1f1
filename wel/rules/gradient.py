"""The gradient, layer by layer; other methods pass relevance through most layers the same way."""
from __future__ import annotations

from dataclasses import dataclass

import tensorflow as tf

from wel.rules.base import Rule, per_image
from wel.rules.parts import IDENTITIES, SHAPES


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
        (x,) = site.inputs
        return tf.gradients(site.part.forward([x], None), x)[0]

    def apply(self, site, prepared, R):
        return [R * per_image(prepared)]


@dataclass(frozen=True)
class Gradient(Rule):
    """R_in = JᵀR with the layer's Jacobian J at x, by TensorFlow's own gradient of the layer."""

    def apply(self, site, prepared, R):
        part, rows = site.part, R.shape[1]
        if part.node.kind in IDENTITIES:
            return [R]
        flat = tf.reshape(R, [-1, *part.node.shape])
        if part.node.kind in SHAPES:
            back = part.derivative(lambda xs: part.forward(xs, None), flat)
        else:
            inputs = [tf.repeat(x, rows, axis=0) for x in site.inputs]
            back = tf.gradients(part.forward(inputs, None), inputs, flat, unconnected_gradients="zero")
        return [tf.reshape(x, [-1, rows, *shape]) for x, shape in zip(back, part.input_shapes)]
