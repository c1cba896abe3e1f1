"""Operators of TensorFlow 2.0 to 2.3's TensorFlowOpLayer, which files keep as parts of a TensorFlow graph: read as data.

An operator becomes the function call that TensorFlow 2.4 and later keep in its place (TFOpLambda). Of a file's graph nothing is built.
"""

from __future__ import annotations

import base64
from typing import Any, Mapping, NamedTuple

from wel.modelfiles.configuration import CONSTANT, OPERATOR, OPERATOR_PREFIX
from wel.modelfiles.conversion import Converted, malformed_refused, name_of, refused

# half precision is read as float32 everywhere
DTYPES = {
    "DT_FLOAT": "float32", "DT_DOUBLE": "float64", "DT_HALF": "float32", "DT_BFLOAT16": "float32", "DT_BOOL": "bool", "DT_UINT8": "uint8",
    "DT_INT8": "int8", "DT_INT16": "int16", "DT_INT32": "int32", "DT_INT64": "int64",
}  # fmt: skip


class Operator(NamedTuple):
    """The function that computes what an operator of a graph does.

    Attributes:
        function: TensorFlow's name for it.
        inputs: the arguments that the operator's inputs are.
        attributes: attribute of the operator -> argument.
        several: whether its first argument is a list; it takes all inputs that `inputs` has no name for.
    """

    function: str
    inputs: tuple[str, ...] = ("x",)
    attributes: Mapping[str, str] = {}
    several: bool = False


def _reduction(name: str) -> Operator:
    return Operator(f"math.reduce_{name}", ("input_tensor", "axis"), {"keep_dims": "keepdims"})


MASKS = {f"{name}_mask": f"{name}_mask" for name in ("begin", "end", "ellipsis", "new_axis", "shrink_axis")}
IMAGE = {"data_format": "data_format"}
WINDOW = {"ksize": "ksize", "strides": "strides", "padding": "padding", **IMAGE}
RESIZING = {"align_corners": "align_corners", "half_pixel_centers": "half_pixel_centers"}
OPERATORS = {
    **{op: Operator(f"math.{function}") for op, function in {
        "Abs": "abs", "Exp": "exp", "Log": "log", "Log1p": "log1p", "Neg": "negative", "Reciprocal": "reciprocal", "Round": "round",
        "Rsqrt": "rsqrt", "Sigmoid": "sigmoid", "Sign": "sign", "Sqrt": "sqrt", "Square": "square", "Tanh": "tanh", "Erf": "erf",
        "Sin": "sin", "Cos": "cos", "Floor": "floor", "Ceil": "ceil", "LogicalNot": "logical_not",
    }.items()},
    **{op: Operator(f"math.{function}", ("x", "y")) for op, function in {
        "Add": "add", "AddV2": "add", "Sub": "subtract", "Mul": "multiply", "RealDiv": "truediv", "Div": "truediv",
        "FloorDiv": "floordiv", "FloorMod": "floormod", "Maximum": "maximum", "Minimum": "minimum", "Pow": "pow",
        "SquaredDifference": "squared_difference", "Greater": "greater", "GreaterEqual": "greater_equal", "Less": "less",
        "LessEqual": "less_equal", "Equal": "equal", "NotEqual": "not_equal", "LogicalAnd": "logical_and", "LogicalOr": "logical_or",
        "DivNoNan": "divide_no_nan",
    }.items()},
    **{op: Operator(f"nn.{function}", ("features",)) for op, function in {
        "Relu": "relu", "Relu6": "relu6", "Elu": "elu", "Selu": "selu", "Softsign": "softsign",
    }.items()},
    **{op: _reduction(name) for op, name in {"Mean": "mean", "Sum": "sum", "Max": "max", "Min": "min", "Prod": "prod"}.items()},
    "Softplus": Operator("math.softplus", ("features",)),
    "LeakyRelu": Operator("nn.leaky_relu", ("features",), {"alpha": "alpha"}),
    "Softmax": Operator("nn.softmax", ("logits",)),
    "LogSoftmax": Operator("nn.log_softmax", ("logits",)),
    "Identity": Operator("identity", ("input",)),
    "StopGradient": Operator("stop_gradient", ("input",)),
    "ZerosLike": Operator("zeros_like", ("input",)),
    "OnesLike": Operator("ones_like", ("input",)),
    "Cast": Operator("cast", ("x",), {"DstT": "dtype"}),
    "ClipByValue": Operator("clip_by_value", ("t", "clip_value_min", "clip_value_max")),
    "Select": Operator("where", ("condition", "x", "y")),
    "SelectV2": Operator("where", ("condition", "x", "y")),
    "AddN": Operator("math.add_n", (), several=True),
    "ConcatV2": Operator("concat", ("axis",), several=True),
    "Pack": Operator("stack", (), {"axis": "axis"}, several=True),
    "Shape": Operator("shape", ("input",)),
    "Reshape": Operator("reshape", ("tensor", "shape")),
    "ExpandDims": Operator("expand_dims", ("input", "axis")),
    "Squeeze": Operator("squeeze", ("input",), {"squeeze_dims": "axis"}),
    "Transpose": Operator("transpose", ("a", "perm")),
    "Tile": Operator("tile", ("input", "multiples")),
    "BroadcastTo": Operator("broadcast_to", ("input", "shape")),
    "ReverseV2": Operator("reverse", ("tensor", "axis")),
    "Pad": Operator("pad", ("tensor", "paddings")),
    "PadV2": Operator("pad", ("tensor", "paddings", "constant_values")),
    "MirrorPad": Operator("pad", ("tensor", "paddings"), {"mode": "mode"}),
    "StridedSlice": Operator("strided_slice", ("input_", "begin", "end", "strides"), MASKS),
    "Slice": Operator("slice", ("input_", "begin", "size")),
    "GatherV2": Operator("gather", ("params", "indices", "axis"), {"batch_dims": "batch_dims"}),
    "MatMul": Operator("linalg.matmul", ("a", "b"), {"transpose_a": "transpose_a", "transpose_b": "transpose_b"}),
    **dict.fromkeys(
        ("BatchMatMul", "BatchMatMulV2"), Operator("linalg.matmul", ("a", "b"), {"adj_x": "transpose_a", "adj_y": "transpose_b"})
    ),
    "BiasAdd": Operator("nn.bias_add", ("value", "bias"), IMAGE),
    "Conv2D": Operator("nn.conv2d", ("input", "filters"), {"strides": "strides", "padding": "padding", "dilations": "dilations", **IMAGE}),
    "MaxPool": Operator("nn.max_pool2d", ("input",), WINDOW),
    "AvgPool": Operator("nn.avg_pool2d", ("input",), WINDOW),
    "DepthToSpace": Operator("nn.depth_to_space", ("input",), {"block_size": "block_size", **IMAGE}),
    "SpaceToDepth": Operator("nn.space_to_depth", ("input",), {"block_size": "block_size", **IMAGE}),
    "ResizeBilinear": Operator("compat.v1.image.resize_bilinear", ("images", "size"), RESIZING),
    "ResizeNearestNeighbor": Operator("compat.v1.image.resize_nearest_neighbor", ("images", "size"), RESIZING),
}  # fmt: skip


def operator_name(config: Any) -> str:
    """The operator that the configuration of a TensorFlowOpLayer names, for a sentence."""
    node = config.get("node_def") if isinstance(config, dict) else None
    return str(node.get("op") if isinstance(node, dict) else None)[:80]


def converted(configuration: dict) -> Converted:
    """The configuration with function calls in place of the operators that are known; the others stay as they are.

    Raises:
        WelError: for an operator that is malformed.
    """
    found: list[str] = []
    with malformed_refused("TensorFlow 2.3"):
        changed = _rewritten(configuration, found)
    notes = (f"Its operators of TensorFlow ({', '.join(dict.fromkeys(found))}) were read as functions.",) if found else ()
    return Converted(changed, notes)


def _rewritten(part: Any, found: list[str]) -> Any:
    """A copy; adds the operators that were replaced to `found`."""
    if isinstance(part, list):
        return [_rewritten(value, found) for value in part]
    if not isinstance(part, dict):
        return part
    if part.get("class_name") == OPERATOR and (name := operator_name(part.get("config"))) in OPERATORS and "inbound_nodes" in part:
        found.append(name)
        return _function_call(part, OPERATORS[name])
    return {key: _rewritten(value, found) for key, value in part.items()}


def _function_call(layer: dict, operator: Operator) -> dict:
    config, node = layer["config"], layer["config"]["node_def"]
    if layer["name"] not in (config["name"], OPERATOR_PREFIX + config["name"]):
        raise refused(f"its layer '{name_of(layer)}' has another name in its own configuration.")
    kept = {"name": layer["name"], "trainable": config.get("trainable", True), "dtype": config.get("dtype", "float32")}
    attributes = {operator.attributes[key]: _plain(value) for key, value in node.get("attr", {}).items() if key in operator.attributes}
    calls = [_call(layer, operator, call, attributes) for call in layer["inbound_nodes"]]
    return {"class_name": "TFOpLambda", "config": {**kept, "function": operator.function}, "name": layer["name"], "inbound_nodes": calls}


def _call(layer: dict, operator: Operator, call: list, attributes: dict[str, Any]) -> list:
    """One call as TFOpLambda has it: [layer, node, tensor, arguments], or a list of them for the list that is its first argument."""
    constants = {int(place): value for place, value in layer["config"]["constants"].items()}
    tensors = [entry[:3] for entry in ([call] if isinstance(call[0], str) else call)]
    count = sum(not name.startswith("^") for name in layer["config"]["node_def"]["input"])
    if count != len(tensors) + len(constants) or not set(constants) <= set(range(count)):
        raise refused(f"its layer '{name_of(layer)}' has {count} inputs and says where {len(tensors) + len(constants)} come from.")
    remaining = iter(tensors)
    inputs = [_Constant(constants[place]) if place in constants else next(remaining) for place in range(count)]
    named = len(operator.inputs) if operator.several else count - 1
    if operator.several:
        first, rest, names = inputs[: count - named], inputs[count - named :], operator.inputs
    else:
        first, rest, names = inputs[:1], inputs[1:], operator.inputs[1:]
    if len(rest) > len(names) or not first:
        raise refused(f"its layer '{name_of(layer)}' has {count} inputs. Expected {len(operator.inputs)}.")
    arguments = attributes | {name: value.value if isinstance(value, _Constant) else value for name, value in zip(names, rest)}
    entries = [[CONSTANT, -1, one.value, arguments] if isinstance(one, _Constant) else [*one, arguments] for one in first]
    return entries if operator.several else entries[0]


class _Constant(NamedTuple):
    value: Any


def _plain(attribute: dict) -> Any:
    """The value of a graph's attribute, which is written with its type: {"i": "2"}, {"list": {"i": ["1", "2"]}}."""
    kind, value = next(iter(attribute.items()))
    if kind == "list":
        return [_plain({inner: one}) for inner, several in value.items() for one in several]
    if kind == "type":
        if value not in DTYPES:
            raise refused(f"an operator in it makes numbers of the type {str(value)[:40]}. Expected one of {', '.join(DTYPES)}.")
        return DTYPES[value]
    return {"i": int, "b": bool, "f": float, "s": lambda text: base64.b64decode(text).decode()}[kind](value)
