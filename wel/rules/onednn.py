"""Speed alone: TensorFlow's oneDNN kernels for convolutions and their gradients, called by name.

wel switches oneDNN off (`wel.system.arithmetic`), for the forward pass to add up as the original did. On the way down, and in sums of one
sign, the order of summation decides no mask; there oneDNN's kernels take a quarter to two thirds of the time.
"""

from __future__ import annotations

from functools import lru_cache
from typing import Callable, Sequence

import tensorflow as tf
from tensorflow.core.framework.attr_value_pb2 import AttrValue
from tensorflow.python.framework import kernels, op_def_registry

LABEL = "MklNameChangeOp"
FORWARD, BACKWARD = "_MklNativeConv2D", "_MklNativeConv2DBackpropInput"
# of the operations' inputs, any number in each dimension
FOUR = tf.TensorSpec([None] * 4)
INPUTS = {FORWARD: (FOUR, FOUR), BACKWARD: (tf.TensorSpec([4], tf.int32), FOUR, FOUR)}


def conv2d(x: tf.Tensor, kernel: tf.Tensor, strides: Sequence[int], padding: str) -> tf.Tensor:
    """As `tf.nn.conv2d` for channels last: x (n, *) through a kernel (h, w, in, out)."""
    if not _is_there(FORWARD, x):
        return tf.nn.conv2d(x, kernel, strides, padding)
    return _called(FORWARD, strides, padding, x, kernel)


def conv2d_transpose(R: tf.Tensor, kernel: tf.Tensor, shape: tf.Tensor, strides: Sequence[int], padding: str) -> tf.Tensor:
    """As `tf.nn.conv2d_transpose` for channels last: R (rows, *) through a kernel (h, w, in, out) to an input of `shape`."""
    if not _is_there(BACKWARD, R):
        return tf.nn.conv2d_transpose(R, kernel, shape, strides, padding)
    return _called(BACKWARD, strides, padding, tf.cast(shape, tf.int32), kernel, R)


def _called(operation: str, strides: Sequence[int], padding: str, *inputs) -> tf.Tensor:
    tensors = map(tf.convert_to_tensor, inputs)
    return (_alone if tf.executing_eagerly() else _added)(operation, tuple(strides), padding)(*tensors)


@lru_cache(maxsize=None)
def _alone(operation: str, strides: tuple[int, ...], padding: str) -> Callable:
    """The operation as a function of its own: called eagerly it cannot be told which kernel to take."""
    return tf.function(_added(operation, strides, padding), INPUTS[operation], autograph=False).get_concrete_function()


def _added(operation: str, strides: tuple[int, ...], padding: str) -> Callable:
    """Function of the inputs -> what the operation gives, added to the graph that is being built."""
    attributes = {
        "T": AttrValue(type=tf.float32.as_datatype_enum),
        "strides": _integers([1, *strides, 1]),
        "dilations": _integers([1, 1, 1, 1]),
        "padding": AttrValue(s=padding.encode()),
        "explicit_paddings": _integers([]),
        "data_format": AttrValue(s=b"NHWC"),
        "use_cudnn_on_gpu": AttrValue(b=True),
        "_kernel": AttrValue(s=LABEL.encode()),
    }

    def add(*inputs):
        graph = tf.compat.v1.get_default_graph()
        return graph.create_op(operation, list(inputs), [tf.float32], attrs=attributes, name="conv2d").outputs[0]

    return add


def _is_there(operation: str, tensor: tf.Tensor) -> bool:
    """Whether this TensorFlow has a kernel for a tensor, and computes on the CPU."""
    return tensor.dtype == tf.float32 and _is_registered(operation)


@lru_cache(maxsize=None)
def _is_registered(operation: str) -> bool:
    if op_def_registry.get(operation) is None or tf.config.list_physical_devices("GPU"):
        return False
    registered = kernels.get_registered_kernels_for_op(operation).kernel
    return any(kernel.device_type == "CPU" and kernel.label == LABEL for kernel in registered)


def _integers(values: Sequence[int]) -> AttrValue:
    return AttrValue(list=AttrValue.ListValue(i=values))
