"""PatternNet and PatternAttribution (Kindermans et al. 2018): a kernel layer transposed with another kernel."""

from __future__ import annotations

from dataclasses import dataclass

import tensorflow as tf

from wel.networks.kernels import unit_axes
from wel.rules.base import Rule
from wel.rules.parts import Part, Weights


@dataclass(frozen=True)
class Pattern(Rule):
    """R_in = Lᵀ[a] R with the layer's pattern a; with `attribution`, R_in = Lᵀ[a ∘ w] R.

    `norm` is a BatchNormalization that is folded into the layer: w is then γ/√(σ²+ε)·w.
    """

    attribution: bool
    norm: Part | None = None

    def parameters(self, part, pattern=None):
        if self.attribution:
            (kernel,) = part.weights().kernels
            pattern = pattern * kernel
            if self.norm is not None:
                pattern *= tf.reshape(self.norm.weights().kernels[0], pattern.shape[-unit_axes(part.node.layer) :])
        return Weights((pattern,), None)

    def apply(self, site, prepared, R):
        return site.part.transposed(R, site.parameters)


def divided_by_largest(R: tf.Tensor) -> tf.Tensor:
    """R (n, rows, *shape) with every row divided by its largest absolute value: innvestigate 1.0.8 at bottlenecks of the network."""
    largest = tf.reduce_max(tf.abs(R), axis=range(2, R.shape.rank), keepdims=True)
    return R / tf.where(tf.equal(largest, 0), tf.ones_like(largest), largest)
