"""Layer-wise relevance propagation (Bach et al. 2015) and Deep Taylor's bounded rule (Montavon et al. 2017)."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, NamedTuple

import tensorflow as tf

from wel.rules.base import SAFE, LinearRule, Rule, kept_from_zero, per_image
from wel.rules.parts import Weights

CLIP = (0.0, 1000.0)


@dataclass(frozen=True)
class Z(LinearRule):
    """LRP-z: R_i = x_i Σ_j w_ij R_j / z_j (Bach et al. 2015, eq. 56)."""


@dataclass(frozen=True)
class Epsilon(LinearRule):
    """LRP-ε: R_i = x_i Σ_j w_ij R_j / (z_j + ε sign z_j), sign 0 = 1 (Bach et al. 2015, eq. 58)."""

    epsilon: float

    def denominator(self, z):
        return z + self.epsilon * tf.where(z >= 0, tf.ones_like(z), -tf.ones_like(z))


class _Signs(NamedTuple):
    """A layer's weights by sign: W⁺, W⁻, and the biases c⁺, c⁻ of the two denominators."""

    up: Weights
    down: Weights
    activator_bias: Any
    inhibitor_bias: Any


@dataclass(frozen=True)
class AlphaBeta(Rule):
    """LRP-αβ (Bach et al. 2015, eq. 60). With z⁺ = W⁺x⁺ + W⁻x⁻ + c⁺ and z⁻ = W⁻x⁺ + W⁺x⁻ + c⁻,

        R_in = x⁺ ⊙ (W⁺ᵀp + W⁻ᵀq) + x⁻ ⊙ (W⁻ᵀp + W⁺ᵀq),   p = αR / z⁺,  q = −βR / z⁻.

    `bias` "split": c⁺ = b⁺ and c⁻ = b⁻, as published; "both": c± = b, as innvestigate has it (its report #273); "none": 0.
    """

    alpha: float
    beta: float
    bias: str

    def parameters(self, part, pattern=None):
        weights = part.weights()
        split = {"both": lambda b: (b, b), "split": lambda b: (tf.maximum(b, 0), tf.minimum(b, 0)), "none": lambda b: (None, None)}
        biases = (None, None) if weights.bias is None else split[self.bias](weights.bias)
        return _Signs(weights.part(tf.maximum), weights.part(tf.minimum), *biases)

    def prepare(self, site):
        signs = site.parameters
        plus, minus = zip(*(_by_sign(x, site.part.nonnegative_inputs) for x in site.inputs))
        activators = _denominator(site.part, plus, minus, signs.up, signs.down, signs.activator_bias)
        inhibitors = _denominator(site.part, plus, minus, signs.down, signs.up, signs.inhibitor_bias) if self.beta else None
        return plus, minus, activators / self.alpha, None if inhibitors is None else inhibitors / -self.beta

    def apply(self, site, prepared, R):
        plus, minus, activators, inhibitors = prepared
        signs = site.parameters
        p = R / per_image(activators)
        q = None if inhibitors is None else R / per_image(inhibitors)
        on_plus = _back(site.part, (p, signs.up), (q, signs.down))
        on_minus = [None] * len(plus) if minus[0] is None else _back(site.part, (p, signs.down), (q, signs.up))
        return [_total(_times(x, a), _times(y, b)) for x, y, a, b in zip(plus, minus, on_plus, on_minus)]


def _by_sign(x, nonnegative: bool):
    """x⁺ and x⁻; None for an x⁻ that is known to be 0."""
    return (x, None) if nonnegative else (tf.maximum(x, 0), tf.minimum(x, 0))


def _denominator(part, plus, minus, on_plus: Weights, on_minus: Weights, bias):
    pairs = [(xs, weights) for xs, weights in ((plus, on_plus), (minus, on_minus)) if xs[0] is not None and weights.kernels is not None]
    z = _total(*(part.map(xs, weights) for xs, weights in pairs), bias)
    return None if z is None else kept_from_zero(z)


def _back(part, *pairs) -> list:
    """Σ WᵀS for each input over the pairs (S, W) that are there; None where none is."""
    terms = [part.transposed(s, weights) for s, weights in pairs if s is not None and weights.kernels is not None]
    return [_total(*several) for several in zip(*terms)] if terms else [None] * len(part.input_shapes)


def _times(x, c):
    return None if x is None or c is None else per_image(x) * c


def _total(*terms):
    """The sum of the terms that are there; None if none is."""
    kept = [term for term in terms if term is not None]
    return sum(kept[1:], kept[0]) if kept else None


@dataclass(frozen=True)
class Bounded(Rule):
    """zᴮ for inputs within [l, h]: R_in = x ⊙ Wᵀs − l W⁺ᵀs − h W⁻ᵀs, s = R / (Wx − W⁺l − W⁻h) (Montavon et al. 2017, eq. 16)."""

    low: float
    high: float

    def parameters(self, part, pattern=None):
        weights = part.weights()
        return weights._replace(bias=None), weights.part(tf.maximum), weights.part(tf.minimum)

    def prepare(self, site):
        (x,), (whole, up, down) = site.inputs, site.parameters
        low, high = tf.fill(tf.shape(x), tf.cast(self.low, x.dtype)), tf.fill(tf.shape(x), tf.cast(self.high, x.dtype))
        return kept_from_zero(site.part.map([x], whole) - site.part.map([low], up) - site.part.map([high], down))

    def apply(self, site, prepared, R):
        share = R / per_image(prepared)
        whole, up, down = (site.part.transposed(share, weights)[0] for weights in site.parameters)
        return [per_image(site.inputs[0]) * whole - self.low * up - self.high * down]


@dataclass(frozen=True)
class PaperBatchNorm(Rule):
    """R_in = x (y − β) R / ((x − μ) y ± 1e-7), innvestigate 1.0.8's LRP-z for BatchNormalization."""

    def prepare(self, site):
        layer, (x,) = site.part.node.layer, site.inputs
        mean = site.part.over_axis(layer.moving_mean)
        excess = site.output - site.part.over_axis(layer.beta) if layer.center else site.output
        product = (x - mean) * site.output
        return x * excess / (product + SAFE * tf.where(product >= 0, tf.ones_like(product), -tf.ones_like(product)))

    def apply(self, site, prepared, R):
        return [R * per_image(prepared)]


@dataclass(frozen=True)
class Clipped(Rule):
    """Another rule's result, cut to [0, 1000]: the paper authors' residual Add."""

    linear = False

    rule: Rule

    def parameters(self, part, pattern=None):
        return self.rule.parameters(part, pattern)

    def prepare(self, site):
        return self.rule.prepare(site)

    def apply(self, site, prepared, R):
        return [tf.clip_by_value(r, *CLIP) for r in self.rule.apply(site, prepared, R)]
