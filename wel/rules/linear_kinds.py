"""The linear maps y = Wx + b that are known: forward, with kernels and bias, and downward where TensorFlow has an operation for it."""

from __future__ import annotations

from typing import Callable, NamedTuple

import tensorflow as tf

from wel.keras.two import keras2, private
from wel.networks.graph import Node
from wel.networks.kernels import before_causal, convolution, data_format, kernel_of
from wel.networks.kinds import AVERAGE_POOLINGS, RESCALINGS
from wel.rules import rescaling
from wel.rules.onednn import conv2d, conv2d_transpose

# below it TensorFlow's fused kernel takes another ε than it is told
LEAST_FUSED_EPSILON = 1.001e-5


class LinearKind(NamedTuple):
    """A kind of layer that is linear in its input.

    Attributes:
        apply: (node, inputs, kernels) -> output without bias.
        kernels: node -> its kernels.
        bias: node -> its bias, shaped to broadcast over the output; None without one.
        diagonal: whether an output depends on the inputs of its own place only.
        transpose: (node, R, kernels) -> inputs, where TensorFlow has an operation for it; R is (rows, *shape).
        summed: as `apply`, in whatever order of summation is fastest.
        forward: (node, x) -> output, with the bias, where it is not what Keras computes; the other layers are called.
    """

    apply: Callable
    kernels: Callable = lambda node: ()
    bias: Callable = lambda node: None
    diagonal: bool = False
    transpose: Callable | None = None
    summed: Callable | None = None
    forward: Callable | None = None


def one_kernel(kernels: tuple[tf.Tensor, ...]) -> tf.Tensor:
    """A kernel that does what several do one after the other: the sign of a product is not that of its factors."""
    if len(kernels) == 1:
        return kernels[0]
    depthwise, pointwise = kernels
    channels, multiplier = depthwise.shape[-2:]
    return tf.einsum("...cm,cmo->...co", depthwise, tf.reshape(pointwise, [channels, multiplier, -1]))


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
    if layer.groups == 1:
        return convolution(layer, x, kernels[0])
    if _is_depthwise(layer, kernels[0]):
        height, width, _, outputs = kernels[0].shape
        return _depthwise(node, xs, [tf.reshape(kernels[0], [height, width, layer.groups, outputs // layer.groups])])
    # TensorFlow has no gradient of a grouped convolution on a CPU
    axis = 1 if layer.data_format == "channels_first" else -1
    groups = zip(tf.split(x, layer.groups, axis), tf.split(kernels[0], layer.groups, -1))
    return tf.concat([convolution(layer, *group) for group in groups], axis)


def _convolution_summed(node, xs, kernels):
    if not _is_plain(node.layer):
        return _convolution(node, xs, kernels)
    return tf.ensure_shape(conv2d(xs[0], kernels[0], node.layer.strides, node.layer.padding.upper()), [None, *node.shape])


def _is_plain(layer) -> bool:
    """Whether it is a convolution for which oneDNN's kernels are called."""
    return layer.groups == 1 and max(layer.dilation_rate) == 1 and layer.data_format == "channels_last"


def _is_depthwise(layer, kernel) -> bool:
    """Whether every group has one channel, and TensorFlow's depthwise convolution has such strides."""
    one_by_one = kernel.shape.rank == 4 and kernel.shape[-2] == 1 and layer.data_format == "channels_last"
    return one_by_one and len(set(layer.strides)) == 1 and (set(layer.strides) == {1} or set(layer.dilation_rate) == {1})


def _transposed_convolution(node, xs, kernels):
    layer, x = node.layer, xs[0]
    settings = {"strides": layer.strides, "padding": layer.padding, "data_format": layer.data_format}
    shape = tf.concat([tf.shape(x)[:1], node.shape], 0)
    y = keras2().backend.conv2d_transpose(x, kernels[0], shape, dilation_rate=layer.dilation_rate, **settings)
    return tf.ensure_shape(y, [None, *node.shape])


def _transposed_convolution_1d(node, xs, kernels):
    layer, x = node.layer, xs[0]
    shape = tf.concat([tf.shape(x)[:1], node.shape], 0)
    settings = {"padding": layer.padding.upper(), "data_format": data_format(layer), "dilations": layer.dilation_rate}
    return tf.ensure_shape(tf.nn.conv1d_transpose(x, kernels[0], shape, layer.strides, **settings), [None, *node.shape])


def _transposed_convolution_3d(node, xs, kernels):
    layer, x = node.layer, xs[0]
    shape = tf.concat([tf.shape(x)[:1], node.shape], 0)
    strides = (1, 1, *layer.strides) if layer.data_format == "channels_first" else (1, *layer.strides, 1)
    y = tf.nn.conv3d_transpose(x, kernels[0], shape, strides, layer.padding.upper(), data_format(layer))
    return tf.ensure_shape(y, [None, *node.shape])


def _on_lines(layer, x, function: Callable) -> tf.Tensor:
    """A function of pictures one pixel high, of steps, its kernels likewise: TensorFlow has it in two dimensions only."""
    axis = 2 if layer.data_format == "channels_first" else 1
    x = before_causal(layer, x)
    settings = {
        "strides": layer.strides * 2,
        "padding": "valid" if layer.padding == "causal" else layer.padding,
        "data_format": layer.data_format,
        "dilation_rate": (1, *layer.dilation_rate),
    }
    return tf.squeeze(function(tf.expand_dims(x, axis), **settings), [axis])


def _depthwise_1d(node, xs, kernels):
    kernel = kernels[0][None]
    return _on_lines(node.layer, xs[0], lambda x, **settings: keras2().backend.depthwise_conv2d(x, kernel, **settings))


def _separable_1d(node, xs, kernels):
    lifted = [kernel[None] for kernel in kernels]
    operation = keras2().backend.separable_conv2d if len(kernels) == 2 else keras2().backend.conv2d
    return _on_lines(node.layer, xs[0], lambda x, **settings: operation(x, *lifted, **settings))


def _locally_connected(node, xs, kernels):
    layer, (x,), (kernel,) = node.layer, xs, kernels
    if layer.implementation == 1:
        places = node.shape[1:] if layer.data_format == "channels_first" else node.shape[:-1]
        return private("local_conv")(x, kernel, layer.kernel_size, layer.strides, places, layer.data_format)
    shape = tf.TensorShape([None, *node.shape])
    if layer.implementation == 2:
        return private("local_conv_matmul")(x, kernel, layer.kernel_mask, shape)
    # TensorFlow's gradient of the product with a sparse matrix is one of float32 only
    dense = tf.scatter_nd(layer.kernel_idxs, kernel, layer.kernel_shape)
    return tf.reshape(tf.matmul(tf.reshape(x, [-1, layer.kernel_shape[1]]), dense, transpose_b=True), [-1, *node.shape])


def _local_bias(node):
    """A number per place and channel."""
    layer = node.layer
    if not layer.use_bias:
        return None
    bias = tf.convert_to_tensor(layer.bias)
    return tf.experimental.numpy.moveaxis(bias, -1, 0) if layer.data_format == "channels_first" else bias


def _difference(node, xs, kernels):
    signs = kernels[0]
    return node.apply([xs[0] * signs[0], xs[1] * -signs[1]])


def _difference_transposed(part, R, kernels):
    signs = kernels[0]
    if not part.diagonal:
        return part.derivative(lambda xs: _difference(part.node, xs, kernels), R)
    return [R * signs[0], R * signs[1]]


def _signs(node):
    return (tf.constant([1, -1], node.layer.compute_dtype),)


def _depthwise(node, xs, kernels):
    layer = node.layer
    settings = {"strides": layer.strides, "padding": layer.padding, "data_format": layer.data_format}
    return keras2().backend.depthwise_conv2d(xs[0], kernels[0], dilation_rate=layer.dilation_rate, **settings)


def _separable(node, xs, kernels):
    layer = node.layer
    settings = {"strides": layer.strides, "padding": layer.padding, "data_format": layer.data_format, "dilation_rate": layer.dilation_rate}
    if len(kernels) == 2:
        return keras2().backend.separable_conv2d(xs[0], *kernels, **settings)
    return keras2().backend.conv2d(xs[0], kernels[0], **settings)


def _scale(node):
    """γ/√(σ²+ε), shaped to broadcast over the output."""
    layer = node.layer
    scale = tf.math.rsqrt(tf.convert_to_tensor(layer.moving_variance) + layer.epsilon)
    return over_axis(node, scale * tf.convert_to_tensor(layer.gamma) if layer.scale else scale)


def _shift(node):
    """β − μγ/√(σ²+ε)."""
    layer = node.layer
    shift = -over_axis(node, layer.moving_mean) * _scale(node)
    return shift + over_axis(node, layer.beta) if layer.center else shift


def _normalized(node, x):
    """What Keras 2 computes of pictures, by TensorFlow's fused kernel, whose last bits Keras 3 has not."""
    layer = node.layer
    last = x.shape.rank == 4 and layer.axis in (-1, 3, [3], [-1])
    if not last or x.dtype != tf.float32 or not getattr(layer, "fused", True) or layer.epsilon < LEAST_FUSED_EPSILON:
        return node.apply([x])
    ones = tf.ones_like(layer.moving_variance)
    gamma, beta = layer.gamma if layer.scale else ones, layer.beta if layer.center else 0 * ones
    several = map(tf.convert_to_tensor, (gamma, beta, layer.moving_mean, layer.moving_variance))
    return tf.compat.v1.nn.fused_batch_norm(x, *several, epsilon=layer.epsilon, is_training=False)[0]


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
    if not _is_plain(layer):
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
    return (kernel_of(node.layer),)


def _two_kernels(node):
    return node.layer.depthwise_kernel, node.layer.pointwise_kernel


LINEAR_KINDS = {
    "Dense": LinearKind(_dense, _kernel, _bias, transpose=_dense_transposed),
    "Conv1D": LinearKind(_convolution, _kernel, _bias),
    "Conv2D": LinearKind(_convolution, _kernel, _bias, transpose=_convolution_transposed, summed=_convolution_summed),
    "Conv3D": LinearKind(_convolution, _kernel, _bias),
    "Conv1DTranspose": LinearKind(_transposed_convolution_1d, _kernel, _bias),
    "Conv2DTranspose": LinearKind(_transposed_convolution, _kernel, _bias),
    "Conv3DTranspose": LinearKind(_transposed_convolution_3d, _kernel, _bias),
    "DepthwiseConv1D": LinearKind(_depthwise_1d, _kernel, _bias),
    "DepthwiseConv2D": LinearKind(_depthwise, _kernel, _bias),
    "SeparableConv1D": LinearKind(_separable_1d, _two_kernels, _bias),
    "SeparableConv2D": LinearKind(_separable, _two_kernels, _bias),
    **{f"LocallyConnected{rank}D": LinearKind(_locally_connected, _kernel, _local_bias) for rank in (1, 2)},
    "BatchNormalization": LinearKind(_scaled, lambda node: (_scale(node),), _shift, True, _scaled_transposed, forward=_normalized),
    **{
        kind: LinearKind(_scaled, lambda node: (rescaling.scale(node),), rescaling.shift, True, _scaled_transposed)
        for kind in sorted(RESCALINGS)
    },
    "Add": LinearKind(_as_it_is, diagonal=True, transpose=_sum_transposed),
    "Subtract": LinearKind(_difference, _signs, diagonal=True, transpose=_difference_transposed),
    "Average": LinearKind(_as_it_is, diagonal=True),
    **{kind: LinearKind(_as_it_is) for kind in sorted(AVERAGE_POOLINGS)},
}
