"""Keras's preprocessing layers that are per-channel affine maps y = sx + b with fixed numbers: Rescaling and Normalization."""

from __future__ import annotations

import numpy as np
import tensorflow as tf

from wel.keras.either import is_own
from wel.networks.graph import Node

EPSILON = 1e-7  # Keras's own


def is_per_channel(node: Node, input_shape: tuple[int, ...]) -> bool:
    """Whether a layer of these names is Keras's own and has a number for all values, or one per channel (the last axis)."""
    layer, shape = node.layer, node.shape
    if not is_own(layer):
        return False
    if node.kind == "Rescaling":
        return input_shape == shape and all(np.shape(value) in ((), (1,), shape[-1:]) for value in (layer.scale, layer.offset))
    return not layer.invert and set(layer.axis) <= {-1, len(shape)}


def scale(node: Node) -> tf.Tensor:
    """s: of Normalization 1/max(σ, ε), with Keras's ε; a number or one per channel."""
    layer = node.layer
    if node.kind == "Rescaling":
        return tf.cast(layer.scale, layer.compute_dtype)
    return tf.reshape(1 / tf.maximum(tf.sqrt(layer.variance), EPSILON), [-1])


def shift(node: Node) -> tf.Tensor:
    """b: of Normalization −μ/max(σ, ε)."""
    layer = node.layer
    return tf.cast(layer.offset, layer.compute_dtype) if node.kind == "Rescaling" else -tf.reshape(layer.mean, [-1]) * scale(node)
