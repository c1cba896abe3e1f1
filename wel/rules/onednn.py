"""Speed alone: TensorFlow's oneDNN kernel for the gradient of a convolution, called by name.

wel switches oneDNN off (`wel.system.arithmetic`), for the forward pass to add up as the original did. On the way down the order of
summation decides no mask, and oneDNN's kernel takes half to two thirds of the time.
"""

from __future__ import annotations

from functools import lru_cache
from typing import Callable, Sequence

import tensorflow as tf
from tensorflow.core.framework.attr_value_pb2 import AttrValue
from tensorflow.python.framework import kernels, op_def_registry

OPERATION, LABEL = "_MklNativeConv2DBackpropInput", "MklNameChangeOp"


def conv2d_transpose(R: tf.Tensor, kernel: tf.Tensor, shape: tf.Tensor, strides: Sequence[int], padding: str) -> tf.Tensor:
    """As `tf.nn.conv2d_transpose` for channels last: R (rows, *) through a kernel (h, w, in, out) to an input of `shape`."""
    if not (_is_there() and R.dtype == tf.float32):
        return tf.nn.conv2d_transpose(R, kernel, shape, strides, padding)
    inputs = [tf.convert_to_tensor(tensor) for tensor in (tf.cast(shape, tf.int32), kernel, R)]
    return (_alone if tf.executing_eagerly() else _added)(tuple(strides), padding)(*inputs)


@lru_cache(maxsize=None)
def _alone(strides: tuple[int, ...], padding: str) -> Callable:
    """The operation as a function of its own: called eagerly it cannot be told which kernel to take."""
    specs = tf.TensorSpec([4], tf.int32), tf.TensorSpec([None] * 4), tf.TensorSpec([None] * 4)
    return tf.function(_added(strides, padding), specs, autograph=False).get_concrete_function()


def _added(strides: tuple[int, ...], padding: str) -> Callable:
    """Function (shape, kernel, R) -> what the operation gives, added to the graph that is being built."""
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
        return graph.create_op(OPERATION, list(inputs), [tf.float32], attrs=attributes, name="conv2d_transpose").outputs[0]

    return add


@lru_cache(maxsize=None)
def _is_there() -> bool:
    """Whether this TensorFlow has the kernel, and computes on the CPU."""
    if op_def_registry.get(OPERATION) is None or tf.config.list_physical_devices("GPU"):
        return False
    registered = kernels.get_registered_kernels_for_op(OPERATION).kernel
    return any(kernel.device_type == "CPU" and kernel.label == LABEL for kernel in registered)


def _integers(values: Sequence[int]) -> AttrValue:
    return AttrValue(list=AttrValue.ListValue(i=values))
