"""Residual connections and batch normalisation under an LRP rule of innvestigate's, as the paper patched them in.

Both are written as a linear layer with a kernel, so that the package's own rule classes apply to them: a sum of n
inputs has the kernel 1 for each of them, batch normalisation has the kernel γ/√(σ²+ε) and the bias β − γμ/√(σ²+ε).
"""

from __future__ import annotations

import keras
import keras.backend as K
import tensorflow as tf
from innvestigate.utils.keras import checks, graph
from worker import Unsupported

RELEVANCE_LIMITS = (0.0, 1000.0)  # at a sum; random relevance loses its negative half there


class ChannelwiseSum(keras.layers.Layer):
    """y_c = Σ_p w_pc x_pc + b_c over the P parts that the last axis of the input is made of; kernel (P, C), bias (C,)."""

    def __init__(self, parts, use_bias, **kwargs):
        super().__init__(**kwargs)
        self.parts = parts
        self.use_bias = use_bias

    def build(self, input_shape):
        channels = input_shape[-1] // self.parts
        self.kernel = self.add_weight(name="kernel", shape=(self.parts, channels), initializer="ones")
        if self.use_bias:
            self.bias = self.add_weight(name="bias", shape=(channels,), initializer="zeros")
        super().build(input_shape)

    def call(self, x):
        parts = tf.split(x, self.parts, axis=-1)
        total = tf.add_n([part * self.kernel[p] for p, part in enumerate(parts)])
        return total + self.bias if self.use_bias else total

    def compute_output_shape(self, input_shape):
        return tuple(input_shape[:-1]) + (input_shape[-1] // self.parts,)

    def get_config(self):
        return dict(super().get_config(), parts=self.parts, use_bias=self.use_bias)


def conditional_mappings(rule):
    """(condition, mapping) pairs for innvestigate's `_add_conditional_reverse_mapping`.

    Args:
        rule: function (layer, state) -> innvestigate rule object.
    """
    return [
        (checks.is_add_layer, lambda layer, state: _sum_mapping(rule, state)),
        (checks.is_batch_normalization_layer, lambda layer, state: _normalisation_mapping(rule, layer, state)),
    ]


def _sum_mapping(rule, state):
    def reverse(Xs, Ys, reversed_Ys, reverse_state):
        joined = keras.layers.Concatenate(axis=-1)(Xs)
        linear = ChannelwiseSum(len(Xs), use_bias=False)
        summed = linear(joined)
        _replace_weights(linear, kernel=tf.ones(K.int_shape(linear.kernel)))
        (relevance,) = rule(linear, state).apply([joined], [summed], reversed_Ys, reverse_state)
        return _split_and_clip(relevance, len(Xs))

    return reverse


def _split_and_clip(relevance, parts):
    def part(p):
        return keras.layers.Lambda(lambda x: K.clip(tf.split(x, parts, axis=-1)[p], *RELEVANCE_LIMITS))

    return [part(p)(relevance) for p in range(parts)]


def _normalisation_mapping(rule, layer, state):
    def reverse(Xs, Ys, reversed_Ys, reverse_state):
        kernel, bias = _affine_map(layer, rank=K.ndim(Xs[0]))
        linear = ChannelwiseSum(1, use_bias=True)
        linear(Xs[0])
        _replace_weights(linear, kernel=kernel, bias=bias)
        return rule(linear, state).apply(Xs, Ys, reversed_Ys, reverse_state)

    return reverse


def _affine_map(layer, rank):
    """Kernel (1, C) and bias (C,) of a batch normalisation in inference, as tensors that follow the layer's weights."""
    if layer.axis not in (-1, rank - 1):
        raise Unsupported("BatchNormalization over axis {} has no rule here; it needs the channels last.".format(layer.axis))
    kernel = 1.0 / tf.sqrt(layer.moving_variance + layer.epsilon)
    if layer.scale:
        kernel = layer.gamma * kernel
    bias = -kernel * layer.moving_mean
    if layer.center:
        bias = layer.beta + bias
    return kernel[None], bias


def _replace_weights(layer, **tensors):
    graph.update_symbolic_weights(layer, tensors)
