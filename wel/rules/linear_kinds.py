"""The linear maps y = Wx + b that are known: forward, with kernels and bias, and downward where TensorFlow has an operation for it."""

from __future__ import annotations

from typing import Callable, NamedTuple

import tensorflow as tf

from wel.networks.graph import Node
from wel.networks.kinds import AVERAGE_POOLINGS, RESCALINGS
from wel.rules import rescaling
from wel.rules.onednn import conv2d_transpose


class LinearKind(NamedTuple):
    """A kind of layer that is linear in its input.

    Attributes:
        apply: (node, inputs, kernels) -> output without bias.
        kernels: node -> its kernels.
        bias: node -> its bias, shaped to broadcast over the output; None without one.
        diagonal: whether an output depends on the inputs of its own place only.
        transpose: (node, R, kernels) -> inputs, where TensorFlow has an operation for it; R is (rows, *shape).
    """

    apply: Callable
    kernels: Callable = lambda node: ()
    bias: Callable = lambda node: None
    diagonal: bool = False
    transpose: Callable | None = None


def one_kernel(kernels: tuple[tf.Tensor, ...]) -> tf.Tensor:
    """A kernel that does what several do one after the other: the sign of a product is not that of its factors."""
    if len(kernels) == 1:
        return kernels[0]
    depthwise, pointwise = kernels
    height, width, channels, multiplier = depthwise.shape
    return tf.einsum("hwcm,cmo->hwco", depthwise, tf.reshape(pointwise, [channels, multiplier, -1]))


def _channel_vector(node: Node, vector) -> tf.Tensor:
    """One number per channel, shaped to broadcast over the output."""
    first = getattr(node.layer, "data_format", "channels_last") == "channels_first"
    return tf.reshape(tf.convert_to_tensor(vector), [-1] + [1] * (len(node.shape) - 1) if first else [-1])


def _bias(node: Node):
    return _channel_vector(node, node.layer.bias) if node.layer.use_bias else None


def _dense(node, xs, kernels):
    return tf.matmul(xs[0], kernels[0]) if xs[0].shape.rank == 2 else tf.tensordot(xs[0], kernels[0], 1)


def _convolution(node, xs, kernels):
    layer, x = node.layer, xs[0]
    if layer.padding == "causal":
        x = tf.pad(x, layer._compute_causal_padding(x))
    if layer.groups == 1:
        return layer.convolution_op(x, kernels[0])
    # TensorFlow has no gradient of a grouped convolution on a CPU
    axis = 1 if layer.data_format == "channels_first" else -1
    groups = zip(tf.split(x, layer.groups, axis), tf.split(kernels[0], layer.groups, -1))
    return tf.concat([layer.convolution_op(*group) for group in groups], axis)


def _transposed_convolution(node, xs, kernels):
    layer, x = node.layer, xs[0]
    settings = {"strides": layer.strides, "padding": layer.padding, "data_format": layer.data_format}
    shape = tf.concat([tf.shape(x)[:1], node.shape], 0)
    y = tf.keras.backend.conv2d_transpose(x, kernels[0], shape, dilation_rate=layer.dilation_rate, **settings)
    return tf.ensure_shape(y, [None, *node.shape])


def _depthwise(node, xs, kernels):
    layer = node.layer
    settings = {"strides": layer.strides, "padding": layer.padding, "data_format": layer.data_format}
    return tf.keras.backend.depthwise_conv2d(xs[0], kernels[0], dilation_rate=layer.dilation_rate, **settings)


def _separable(node, xs, kernels):
    layer = node.layer
    settings = {"strides": layer.strides, "padding": layer.padding, "data_format": layer.data_format, "dilation_rate": layer.dilation_rate}
    if len(kernels) == 2:
        return tf.keras.backend.separable_conv2d(xs[0], *kernels, **settings)
    return tf.keras.backend.conv2d(xs[0], kernels[0], **settings)


def _scale(node):
    """γ/√(σ²+ε), shaped to broadcast over the output."""
    layer = node.layer
    scale = tf.math.rsqrt(layer.moving_variance + layer.epsilon)
    return over_axis(node, scale * layer.gamma if layer.scale else scale)


def _shift(node):
    """β − μγ/√(σ²+ε)."""
    layer = node.layer
    shift = -over_axis(node, layer.moving_mean) * _scale(node)
    return shift + over_axis(node, layer.beta) if layer.center else shift


def over_axis(node: Node, vector: tf.Tensor) -> tf.Tensor:
    """A vector over a BatchNormalization's axis, shaped to broadcast over the output."""
    axis = node.layer.axis
    (axis,) = axis if isinstance(axis, (list, tuple)) else (axis,)
    shape = [1] * len(node.shape)
    shape[axis - 1 if axis > 0 else axis] = -1
    return tf.reshape(vector, shape)


def _scaled(node, xs, kernels):
    return xs[0] * kernels[0]


def _as_it_is(node, xs, kernels):
    return node.apply(xs)


def _dense_transposed(part, R, kernels):
    flat = tf.reshape(R, [-1, R.shape[-1]])
    back = tf.matmul(flat, kernels[0], transpose_b=True)
    return [tf.reshape(back, [-1, *part.input_shapes[0]])]


def _convolution_transposed(part, R, kernels):
    layer = part.node.layer
    if layer.groups > 1 or max(layer.dilation_rate) > 1 or layer.data_format != "channels_last":
        return part.derivative(lambda xs: _convolution(part.node, xs, kernels), R)
    shape = tf.concat([tf.shape(R)[:1], part.input_shapes[0]], 0)
    back = conv2d_transpose(R, kernels[0], shape, layer.strides, layer.padding.upper())
    return [tf.ensure_shape(back, [None, *part.input_shapes[0]])]


def _sum_transposed(part, R, kernels):
    if not part.diagonal:
        return part.derivative(part.node.apply, R)
    return [R] * len(part.input_shapes)


def _scaled_transposed(part, R, kernels):
    return [R * kernels[0]]


def _kernel(node):
    return (node.layer.kernel,)


LINEAR_KINDS = {
    "Dense": LinearKind(_dense, _kernel, _bias, transpose=_dense_transposed),
    "Conv1D": LinearKind(_convolution, _kernel, _bias),
    "Conv2D": LinearKind(_convolution, _kernel, _bias, transpose=_convolution_transposed),
    "Conv3D": LinearKind(_convolution, _kernel, _bias),
    "Conv2DTranspose": LinearKind(_transposed_convolution, _kernel, _bias),
    "DepthwiseConv2D": LinearKind(_depthwise, lambda node: (node.layer.depthwise_kernel,), _bias),
    "SeparableConv2D": LinearKind(_separable, lambda node: (node.layer.depthwise_kernel, node.layer.pointwise_kernel), _bias),
    "BatchNormalization": LinearKind(_scaled, lambda node: (_scale(node),), _shift, True, _scaled_transposed),
    **{
        kind: LinearKind(_scaled, lambda node: (rescaling.scale(node),), rescaling.shift, True, _scaled_transposed)
        for kind in sorted(RESCALINGS)
    },
    "Add": LinearKind(_as_it_is, diagonal=True, transpose=_sum_transposed),
    "Average": LinearKind(_as_it_is, diagonal=True),
    **{kind: LinearKind(_as_it_is) for kind in sorted(AVERAGE_POOLINGS)},
}
