"""Derivatives by TensorFlow, in a graph that is being compiled and eagerly, by the same operations."""

from __future__ import annotations

from typing import Callable, Sequence

import tensorflow as tf


def derivatives(function: Callable, xs: Sequence[tf.Tensor], R: tf.Tensor | None = None) -> list[tf.Tensor]:
    """JᵀR for each x, J being the Jacobian of function(xs) with respect to it; 0 where nothing leads there.

    Args:
        function: of a list of tensors.
        xs: tensors of floating-point numbers.
        R: as the function's value is; 1 everywhere by default.
    """
    if not tf.executing_eagerly():
        return tf.gradients(function(xs), xs, R, unconnected_gradients="zero")
    with tf.GradientTape(watch_accessed_variables=False) as tape:
        tape.watch(xs)
        y = function(xs)
    return tape.gradient(y, xs, R, unconnected_gradients="zero")
