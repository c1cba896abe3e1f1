"""Reverse mappings that innvestigate 2.1.2 lacks or has wrong: Add and BatchNormalization in every LRP rule, αβ with the bias split.

All αβ mappings share one formula. With x⁺, x⁻ the positive and negative parts of the input and W⁺, W⁻, b⁺, b⁻ those of the
parameters, activators z⁺ = W⁺x⁺ + W⁻x⁻ + c⁺ and inhibitors z⁻ = W⁻x⁺ + W⁺x⁻ + c⁻,

    R_in = α (x⁺ W⁺ᵀ + x⁻ W⁻ᵀ)(R / z⁺) − β (x⁺ W⁻ᵀ + x⁻ W⁺ᵀ)(R / z⁻).

`paper` has c⁺ = c⁻ = b⁺ + b⁻ (innvestigate's report #273), `corrected` c⁺ = b⁺ and c⁻ = b⁻ (Bach et al. 2015, eq. 60).
"""

from __future__ import annotations

from typing import Callable, NamedTuple

import innvestigate.analyzer.relevance_based.relevance_rule as rrule
import innvestigate.backend as ibackend
import innvestigate.backend.checks as ichecks
import innvestigate.backend.graph as igraph
import tensorflow as tf
from innvestigate.analyzer.relevance_based.relevance_analyzer import BatchNormalizationReverseLayer

from wel.networks.kinds import IDENTITIES

PAPER_CLIP = (0.0, 1000.0)


class Split(NamedTuple):
    """A layer as functions of its input: W⁺x and W⁻x without bias, and the biases c⁺, c⁻ of the two denominators."""

    positive: Callable
    negative: Callable
    activator_bias: object
    inhibitor_bias: object


def alpha_beta(x, R, split: Split, alpha: float, beta: float):
    """The αβ formula of this module's docstring for one input tensor; returns R_in, shaped like x."""
    plus, minus = tf.maximum(x, 0.0), tf.minimum(x, 0.0)

    def part(on_plus, on_minus, bias):
        forward_plus, forward_minus = on_plus(plus), on_minus(minus)
        share = ibackend.safe_divide(R, forward_plus + forward_minus + bias)
        return plus * tf.gradients(forward_plus, plus, share)[0] + minus * tf.gradients(forward_minus, minus, share)[0]

    relevance = alpha * part(split.positive, split.negative, split.activator_bias)
    if beta:
        relevance -= beta * part(split.negative, split.positive, split.inhibitor_bias)
    return relevance


def _biases(bias, semantics: str):
    if bias is None:
        return 0.0, 0.0
    positive, negative = tf.maximum(bias, 0.0), tf.minimum(bias, 0.0)
    return (bias, bias) if semantics == "paper" else (positive, negative)


def alpha_beta_rule(alpha: float, beta: float, semantics: str) -> type:
    """The αβ rule for layers with a kernel: innvestigate's own in `paper`, the bias split in `corrected`."""

    class PaperAlphaBeta(rrule.AlphaBetaRule):
        def __init__(self, layer, state):
            super().__init__(layer, state, alpha=alpha, beta=beta, bias=True)

    class CorrectedAlphaBeta(igraph.ReverseMappingBase):
        def __init__(self, layer, state):
            bias = layer.bias if getattr(layer, "use_bias", False) else None
            kernels = layer.weights[:-1] if bias is not None else layer.weights
            self._split = Split(
                _without_bias(layer, [tf.maximum(k, 0.0) for k in kernels], "positive"),
                _without_bias(layer, [tf.minimum(k, 0.0) for k in kernels], "negative"),
                *_biases(bias, "corrected"),
            )

        def apply(self, Xs, Ys, Rs, state):
            return [alpha_beta(x, R, self._split, alpha, beta) for x, R in zip(Xs, Rs)]

    return PaperAlphaBeta if semantics == "paper" else CorrectedAlphaBeta


def _without_bias(layer, kernels: list, part: str):
    return igraph.copy_layer_wo_activation(layer, keep_bias=False, weights=kernels, name_template=f"reversed_{part}_%s")


def bounded_rule(layer, low, high) -> Callable:
    """zᴮ with bounds of its own for every input, (1, *shape): R_in = (x − l) W⁺ᵀs + (x − h) W⁻ᵀs, exactly 0 where l = h."""
    kernels = layer.weights[:-1] if getattr(layer, "use_bias", False) else layer.weights
    up, down = (_without_bias(layer, [keep(k, 0.0) for k in kernels], f"bounded_{keep.__name__}") for keep in (tf.maximum, tf.minimum))

    def apply(Xs, Ys, Rs, _state):
        above, below = Xs[0] - low, Xs[0] - high
        forward_up, forward_down = up(above), down(below)
        share = ibackend.safe_divide(Rs[0], forward_up + forward_down)
        return [above * tf.gradients(forward_up, above, share)[0] + below * tf.gradients(forward_down, below, share)[0]]

    return apply


def batch_norm_rule(alpha: float, beta: float, semantics: str) -> Callable:
    """BatchNormalization as a per-channel affine map under the αβ rule."""

    def mapping(layer, state):
        def apply(Xs, Ys, Rs, _state):
            scale, shift = affine(layer, Xs[0])
            up, down = tf.maximum(scale, 0.0), tf.minimum(scale, 0.0)
            split = Split(lambda x: x * up, lambda x: x * down, *_biases(shift, semantics))
            return [alpha_beta(Xs[0], Rs[0], split, alpha, beta)]

        return apply

    return mapping


def add_rule(alpha: float, beta: float, semantics: str) -> Callable:
    """Add under the αβ rule: all weights are 1, so z⁺ = Σ xᵢ⁺ and z⁻ = Σ xᵢ⁻; `paper` clips the result to [0, 1000]."""

    def apply(Xs, Ys, Rs, state):
        R = Rs[0]

        def part(keep):
            kept = [keep(x, 0.0) for x in Xs]
            share = ibackend.safe_divide(R, tf.add_n(kept))
            return [x * share for x in kept]

        relevance = [alpha * r for r in part(tf.maximum)]
        if beta:
            relevance = [a - beta * b for a, b in zip(relevance, part(tf.minimum))]
        return [tf.clip_by_value(r, *PAPER_CLIP) for r in relevance] if semantics == "paper" else relevance

    return apply


def epsilon_rule(epsilon: float) -> type:
    """innvestigate's LRP-ε rule with its ε."""

    class Epsilon(rrule.EpsilonRule):
        def __init__(self, layer, state):
            super().__init__(layer, state, epsilon=epsilon, bias=True)

    return Epsilon


def _stabilized_divide(R, z, epsilon: float):
    if not epsilon:
        return ibackend.safe_divide(R, z)
    return R / (z + epsilon * tf.where(z >= 0, tf.ones_like(z), -tf.ones_like(z)))


def linear_add(epsilon: float) -> Callable:
    """Add under LRP-z (ε = 0) or LRP-ε: R_i = x_i R / Σ x."""

    def apply(Xs, Ys, Rs, state):
        share = _stabilized_divide(Rs[0], tf.add_n(Xs), epsilon)
        return [x * share for x in Xs]

    return apply


class PaperLinearBatchNorm(BatchNormalizationReverseLayer):
    """innvestigate's own z rule for BatchNormalization: R_in = x (y − β) R / ((x − μ) y ± 1e-7); its axis may be a list today."""

    def __init__(self, layer, state):
        super().__init__(layer, state)
        self._axis = _axis(layer)


def linear_batch_norm(epsilon: float) -> Callable:
    """BatchNormalization y = kx + b under LRP-z (ε = 0) or LRP-ε: R_in = kx R / y."""

    def mapping(layer, state):
        def apply(Xs, Ys, Rs, _state):
            scale, shift = affine(layer, Xs[0])
            return [Xs[0] * scale * _stabilized_divide(Rs[0], Xs[0] * scale + shift, epsilon)]

        return apply

    return mapping


def affine(layer, x):
    """BatchNormalization in inference as y = kx + b: k = γ/√(σ²+ε), b = β − kμ, shaped to broadcast over x."""
    scale = tf.math.rsqrt(layer.moving_variance + layer.epsilon)
    if layer.scale:
        scale *= layer.gamma
    shift = -layer.moving_mean * scale
    if layer.center:
        shift += layer.beta
    shape = [1] * x.shape.rank
    shape[_axis(layer)] = -1
    return tf.reshape(scale, shape), tf.reshape(shift, shape)


def affine_map(layer, xs: list):
    """What a layer that moves or rescales values does to its inputs in inference; nothing of it becomes part of the model."""
    if ichecks.is_batch_normalization_layer(layer):
        scale, shift = affine(layer, xs[0])
        return xs[0] * scale + shift
    return xs[0] if type(layer).__name__ in IDENTITIES else layer.call(xs if len(xs) > 1 else xs[0])


def _axis(layer) -> int:
    return layer.axis[0] if isinstance(layer.axis, (list, tuple)) else layer.axis
