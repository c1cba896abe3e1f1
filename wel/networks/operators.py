"""Functions on Keras tensors that are what a Keras layer is: x / 127.5 − 1 is a Rescaling, tf.nn.relu(x) a ReLU.

In the layer graph such a call is that layer, of Keras 2, so that whatever knows the layer knows the call. Functions are TensorFlow's;
those of Keras 3 are told by its names for them (`wel.networks.operations`).
"""

from __future__ import annotations

import inspect
import math
from typing import Any, Callable, NamedTuple

import numpy as np

from wel.keras import two
from wel.keras.call import Call as Recorded
from wel.keras.three import is_operation
from wel.keras.two import keras2
from wel.networks.operations import function_of, named_arguments

POINTWISE = {
    "math.tanh": "tanh", "math.sigmoid": "sigmoid", "math.softplus": "softplus", "nn.softsign": "softsign", "math.exp": "exponential",
    "nn.selu": "selu",
}  # fmt: skip
# that take values from their input and do nothing else to them; every output is one input
SELECTIONS = frozenset(
    "math.getitem strided_slice slice reverse roll stack tile repeat gather broadcast_to nn.depth_to_space nn.space_to_depth".split()
)
# rank -> the axes between batch and channels
SPATIAL = {3: (1,), 4: (1, 2), 5: (1, 2, 3)}


class Call(NamedTuple):
    """A call of a function.

    Attributes:
        function: TensorFlow's name for it, without its version.
        arguments: as the function names them.
        tensors: the Keras tensors among them, each as often as it stands there.
        output: Keras tensor.
    """

    function: str
    arguments: dict[str, Any]
    tensors: list[Any]
    output: Any

    def values(self, *names: str) -> list[Any]:
        """Some arguments, None for what is not given."""
        return [self.arguments.get(name) for name in names]

    @property
    def keeps_shape(self) -> bool:
        return all(tuple(tensor.shape) == tuple(self.output.shape) for tensor in self.tensors)


def is_selection(call: Recorded) -> bool:
    """Whether a call is one of a function that only takes values out of its input, at places that are fixed."""
    function = function_called(call)
    return function in SELECTIONS and (len(call.tensors) == 1 or function == "stack")


def layer_call(call: Recorded) -> tuple[Recorded, list[Any]]:
    """The call, of the layer that a function call amounts to where there is one, and the Keras tensors that go in."""
    import tensorflow as tf

    found = _read(call)
    layer = found and tf.as_dtype(found.output.dtype).is_floating and LAYERS[found.function](found)
    if not layer:
        return call, call.tensors
    keras = keras2()
    kind, settings, several = layer
    sources = found.tensors if several else found.tensors[:1]
    built = getattr(keras.layers, kind)(name=call.layer.name, dtype=tf.as_dtype(found.output.dtype).name, **settings)
    shown = [keras.Input(batch_shape=tuple(x.shape), dtype=x.dtype, name=f"{call.layer.name}_{i}") for i, x in enumerate(sources)]
    built(shown if several else shown[0])
    return two.last_call(built), sources


def function_called(call: Recorded) -> str:
    """TensorFlow's name for the function that is called, without its version; empty for layers."""
    layer = call.layer
    if is_operation(layer):
        return function_of(layer)
    name = getattr(layer, "symbol", None) if type(layer).__name__ in ("TFOpLambda", "SlicingOpLambda") else None
    return (name or "").removeprefix("compat.v1.").replace("__operators__.", "math.")


def _read(call: Recorded) -> Call | None:
    """The call in the function's own words; None for one that is no layer."""
    function = function_called(call)
    if function not in LAYERS:
        return None
    if is_operation(call.layer):
        arguments = named_arguments(call)
    else:
        arguments = inspect.signature(call.layer.function).bind(*call.args, **call.kwargs).arguments
    return Call(function, dict(arguments), call.tensors, call.outputs[0])


# --- what each function amounts to: a layer's class, its arguments, and whether it takes a list; None where it is no layer -----------

Layer = tuple[str, dict[str, Any], bool]


def _affine(scale: Callable, offset: Callable, merged: str | None = None) -> Callable[[Call], Layer | None]:
    """Of x and y, one of them a constant c: scale(c, constant first) · x + offset(c, constant first); of two tensors a merge."""

    def layer(call: Call) -> Layer | None:
        x, y = call.values("x", "y")
        if len(call.tensors) == 2:
            ranks = {len(tensor.shape) for tensor in call.tensors}
            return (merged, {}, True) if merged and len(ranks) == 1 else None
        first = call.tensors[0] is y
        constant = _constant(x if first else y)
        factor = None if constant is None else scale(constant, first)
        if factor is None or not call.keeps_shape:
            return None
        return "Rescaling", {"scale": _listed(factor), "offset": _listed(offset(constant, first))}, False

    return layer


def _constant(value: Any) -> np.ndarray | None:
    """A constant, (channels,) where it has one number per channel; None for a variable, which may change."""
    import tensorflow as tf

    if isinstance(value, tf.Variable):
        return None
    array = np.asarray(value, dtype="float64")
    return array.reshape(-1) if array.ndim and array.size == array.shape[-1] else array


def _maximum(call: Call) -> Layer | None:
    """Of two tensors, or of one and 0."""
    if len(call.tensors) == 2:
        return "Maximum", {}, True
    x, y = call.values("x", "y")
    constant = _constant(x if call.tensors[0] is y else y)
    return None if constant is None or constant.size != 1 or constant.any() else ("ReLU", {}, False)


def _listed(value: Any) -> Any:
    return np.asarray(value).tolist()


def _always(kind: str, several: bool = False, **settings: Any) -> Callable[[Call], Layer | None]:
    return lambda call: (kind, settings, several)


def _same(call: Call) -> Layer | None:
    return ("Rescaling", {"scale": 1.0}, False) if call.keeps_shape else None


def _leaky(call: Call) -> Layer | None:
    return "LeakyReLU", {"alpha": float(call.arguments.get("alpha", 0.2))}, False


def _clipped(call: Call) -> Layer | None:
    low, high = call.values("clip_value_min", "clip_value_max")
    if len(call.tensors) > 1 or np.ndim(low) or np.ndim(high) or float(low) != 0:
        return None
    return "ReLU", {"max_value": float(high)}, False


def _silu(call: Call) -> Layer | None:
    return ("Activation", {"activation": "swish"}, False) if call.arguments.get("beta", 1.0) == 1 else None


def _gelu(call: Call) -> Layer | None:
    return None if call.arguments.get("approximate") else ("Activation", {"activation": "gelu"}, False)


def _softmax(call: Call) -> Layer | None:
    axis = call.arguments.get("axis")
    return "Softmax", {"axis": -1 if axis is None else int(axis)}, False


def _bias(call: Call) -> Layer | None:
    value, bias, data_format = call.values("value", "bias", "data_format")
    if len(call.tensors) > 1 or (data_format or "NHWC").startswith("NC"):
        return None
    return "Rescaling", {"scale": 1.0, "offset": _listed(bias)}, False


def _concatenation(call: Call) -> Layer | None:
    values, axis = call.values("values", "axis")
    if not isinstance(values, (list, tuple)) or len(values) != len(call.tensors) or not isinstance(axis, int):
        return None
    return None if axis % len(call.output.shape) == 0 else ("Concatenate", {"axis": axis}, True)


def _sum_of_several(call: Call) -> Layer | None:
    values = call.arguments["inputs"]
    return ("Add", {}, True) if len(values) == len(call.tensors) > 1 and call.keeps_shape else None


def _reshaped(call: Call) -> Layer | None:
    """Where every image keeps its own values: as many of them go in as come out."""
    before, after = tuple(call.tensors[0].shape)[1:], tuple(call.output.shape)[1:]
    if None in (*before, *after) or math.prod(before) != math.prod(after):
        return None
    return "Reshape", {"target_shape": tuple(after)}, False


def _permuted(call: Call) -> Layer | None:
    order = call.arguments.get("perm")
    if not isinstance(order, (list, tuple)) or order[0] != 0 or call.arguments.get("conjugate"):
        return None
    return "Permute", {"dims": tuple(map(int, order[1:]))}, False


def _pooled(kind: str) -> Callable[[Call], Layer | None]:
    def layer(call: Call) -> Layer | None:
        rank, axis = len(call.tensors[0].shape), call.arguments.get("axis")
        if axis is None or rank not in SPATIAL or len(call.tensors) > 1:
            return None
        if sorted(int(one) % rank for one in np.atleast_1d(axis)) != list(SPATIAL[rank]):
            return None
        return f"Global{kind}Pooling{rank - 2}D", {"keepdims": bool(call.arguments.get("keepdims"))}, False

    return layer


def _padded(call: Call) -> Layer | None:
    paddings, mode, constant = call.values("paddings", "mode", "constant_values")
    rank = len(call.output.shape)
    if len(call.tensors) > 1 or (mode or "CONSTANT").upper() != "CONSTANT" or np.any(constant or 0) or rank not in SPATIAL:
        return None
    around = np.asarray(paddings).tolist()
    if any(map(any, (around[0], around[-1]))):
        return None
    return f"ZeroPadding{rank - 2}D", {"padding": tuple(map(tuple, around[1:-1])) if rank > 3 else tuple(around[1])}, False


LAYERS: dict[str, Callable[[Call], Layer | None]] = {
    "math.add": _affine(lambda c, first: 1.0, lambda c, first: c, "Add"),
    "math.subtract": _affine(lambda c, first: -1.0 if first else 1.0, lambda c, first: c if first else -c, "Subtract"),
    "math.multiply": _affine(lambda c, first: c, lambda c, first: 0.0, "Multiply"),
    **dict.fromkeys(
        ("math.truediv", "math.divide"), _affine(lambda c, first: None if first or not c.all() else 1 / c, lambda c, first: 0.0)
    ),
    "math.negative": _always("Rescaling", scale=-1.0),
    "math.maximum": _maximum,
    "math.minimum": _affine(lambda c, first: None, lambda c, first: None, "Minimum"),
    "math.add_n": _sum_of_several,
    "nn.bias_add": _bias,
    "identity": _same,
    "cast": _same,
    "nn.relu": _always("ReLU"),
    "nn.relu6": _always("ReLU", max_value=6.0),
    "nn.leaky_relu": _leaky,
    "nn.elu": _always("ELU"),
    "clip_by_value": _clipped,
    **{function: _always("Activation", activation=name) for function, name in POINTWISE.items()},
    "nn.silu": _silu,
    "nn.gelu": _gelu,
    "nn.softmax": _softmax,
    "concat": _concatenation,
    "reshape": _reshaped,
    "expand_dims": _reshaped,
    "squeeze": _reshaped,
    "transpose": _permuted,
    "math.reduce_mean": _pooled("Average"),
    "math.reduce_max": _pooled("Max"),
    "pad": _padded,
}
