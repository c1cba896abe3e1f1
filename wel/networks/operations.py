"""Keras 3's bare operations (`keras.ops`), in TensorFlow's words: which function each is, and what it is called with."""

from __future__ import annotations

import inspect
from typing import Any

from wel.keras.call import Call

# class of an operation -> TensorFlow's function, and its names for the operation's arguments and settings
TWO = {"x1": "x", "x2": "y"}
FUNCTIONS: dict[str, tuple[str, dict[str, str]]] = {
    "Add": ("math.add", TWO),
    "Subtract": ("math.subtract", TWO),
    "Multiply": ("math.multiply", TWO),
    "Divide": ("math.divide", TWO),
    "TrueDivide": ("math.truediv", TWO),
    "Maximum": ("math.maximum", TWO),
    "Minimum": ("math.minimum", TWO),
    "Negative": ("math.negative", {}),
    "Cast": ("cast", {}),
    "Relu": ("nn.relu", {}),
    "Relu6": ("nn.relu6", {}),
    "LeakyRelu": ("nn.leaky_relu", {"negative_slope": "alpha"}),
    "Elu": ("nn.elu", {}),
    "Selu": ("nn.selu", {}),
    "Silu": ("nn.silu", {}),
    "Gelu": ("nn.gelu", {}),
    "Softmax": ("nn.softmax", {}),
    "Softplus": ("math.softplus", {}),
    "Softsign": ("nn.softsign", {}),
    "LogSoftmax": ("nn.log_softmax", {}),
    "Sigmoid": ("math.sigmoid", {}),
    "Tanh": ("math.tanh", {}),
    "Exp": ("math.exp", {}),
    "Clip": ("clip_by_value", {"x_min": "clip_value_min", "x_max": "clip_value_max"}),
    "Concatenate": ("concat", {"xs": "values"}),
    "Reshape": ("reshape", {}),
    "ExpandDims": ("expand_dims", {}),
    "Squeeze": ("squeeze", {}),
    "Transpose": ("transpose", {"axes": "perm"}),
    "Mean": ("math.reduce_mean", {}),
    "Max": ("math.reduce_max", {}),
    "Pad": ("pad", {"pad_width": "paddings"}),
    "GetItem": ("math.getitem", {}),
    "Slice": ("slice", {}),
    "Flip": ("reverse", {}),
    "Roll": ("roll", {}),
    "Stack": ("stack", {}),
    "Tile": ("tile", {}),
    "Repeat": ("repeat", {}),
    "Take": ("gather", {}),
    "BroadcastTo": ("broadcast_to", {}),
}


def function_of(operation: Any) -> str:
    """TensorFlow's name for what an operation of Keras's own does; empty for others."""
    own = type(operation).__module__.startswith("keras.src.ops.")
    return FUNCTIONS.get(type(operation).__name__, ("",))[0] if own else ""


def named_arguments(call: Call) -> dict[str, Any]:
    """What a known operation is called with, and its own settings, by the names that TensorFlow has for them."""
    _, names = FUNCTIONS[type(call.layer).__name__]
    given = inspect.signature(call.layer.call).bind(*call.args, **call.kwargs).arguments
    settings: dict[str, Any] = {**vars(call.layer), **given}
    return {names.get(name, name): value for name, value in settings.items()}
