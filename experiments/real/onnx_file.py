"""An ONNX file as data: its nodes in the order of execution, its weights, the names of its input and output."""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np
from wire import Value, fields, text, varints

from wel.errors import WelError

# numbers of fields and of data types, of onnx.proto (ONNX IR version 3 on)
MODEL_GRAPH = 7
GRAPH_NODE, GRAPH_INITIALIZER, GRAPH_INPUT, GRAPH_OUTPUT = 1, 5, 11, 12
NODE_INPUT, NODE_OUTPUT, NODE_NAME, NODE_KIND, NODE_ATTRIBUTE = 1, 2, 3, 4, 5
ATTRIBUTE_NAME, ATTRIBUTE_FLOAT, ATTRIBUTE_INT, ATTRIBUTE_TEXT, ATTRIBUTE_INTS = 1, 2, 3, 4, 8
TENSOR_DIMS, TENSOR_TYPE, TENSOR_FLOATS, TENSOR_INT32, TENSOR_INT64, TENSOR_NAME, TENSOR_RAW = 1, 2, 4, 5, 7, 8, 9
VALUE_NAME, VALUE_TYPE, TYPE_TENSOR, TENSOR_SHAPE, SHAPE_DIM, DIM_VALUE = 1, 2, 1, 2, 1, 1
DATA_TYPES = {1: "<f4", 6: "<i4", 7: "<i8"}


class Node(NamedTuple):
    """One operation: what it is called and does, the values that it takes and gives by name, its settings."""

    name: str
    kind: str
    inputs: list[str]
    outputs: list[str]
    settings: dict[str, Any]


class OnnxFile(NamedTuple):
    """`input` and `output` are names of values; `shape` is that of the input, 0 where it is open; `weights` are those of all nodes."""

    nodes: list[Node]
    weights: dict[str, np.ndarray]
    input: str
    shape: tuple[int, ...]
    output: str


def onnx_file(contents: bytes) -> OnnxFile:
    """Reads a file of one input and one output, whose weights are float32, int32 or int64.

    Source: onnx.proto of ONNX 1.16.

    Raises:
        WelError: when it is no such file.
    """
    models = fields(contents)[MODEL_GRAPH]
    if not models:
        raise WelError("Invalid ONNX file: it has no graph. Expected an ONNX model.")
    graph = fields(models[-1])
    weights = dict(map(_named, graph[GRAPH_INITIALIZER]))
    # up to IR version 3 the weights are listed among the inputs
    inputs = [value for value in map(fields, graph[GRAPH_INPUT]) if text(value[VALUE_NAME]) not in weights]
    outputs = [text(fields(value)[VALUE_NAME]) for value in graph[GRAPH_OUTPUT]]
    if len(inputs) != 1 or len(outputs) != 1:
        raise WelError(f"Invalid ONNX file: {len(inputs)} inputs and {len(outputs)} outputs. Expected one of each.")
    return OnnxFile([_node(node) for node in graph[GRAPH_NODE]], weights, text(inputs[0][VALUE_NAME]), _shape(inputs[0]), outputs[0])


def _node(message: Value) -> Node:
    parts = fields(message)
    inputs, outputs = ([text([name]) for name in parts[number]] for number in (NODE_INPUT, NODE_OUTPUT))
    return Node(text(parts[NODE_NAME]), text(parts[NODE_KIND]), inputs, outputs, dict(map(_setting, parts[NODE_ATTRIBUTE])))


def _setting(message: Value) -> tuple[str, Any]:
    parts = fields(message)
    return text(parts[ATTRIBUTE_NAME]), _value(parts)


def _value(parts: dict[int, list[Value]]) -> Any:
    if parts[ATTRIBUTE_FLOAT]:
        return float(np.frombuffer(parts[ATTRIBUTE_FLOAT][-1], "<f4")[0])
    if parts[ATTRIBUTE_INT]:
        return varints(parts[ATTRIBUTE_INT])[-1]
    if parts[ATTRIBUTE_TEXT]:
        return text(parts[ATTRIBUTE_TEXT])
    return varints(parts[ATTRIBUTE_INTS])


def _named(message: Value) -> tuple[str, np.ndarray]:
    parts = fields(message)
    name, kind, shape = text(parts[TENSOR_NAME]), varints(parts[TENSOR_TYPE])[-1], varints(parts[TENSOR_DIMS])
    if kind not in DATA_TYPES:
        raise WelError(f"Invalid ONNX file: weights {name!r} of data type {kind}. Expected float32 (1), int32 (6) or int64 (7).")
    return name, _numbers(parts, DATA_TYPES[kind]).reshape(shape)


def _numbers(parts: dict[int, list[Value]], dtype: str) -> np.ndarray:
    """From the raw bytes, or from the field of the type, whose floats may be packed or not."""
    if whole := parts[TENSOR_INT32] + parts[TENSOR_INT64]:
        return np.array(varints(whole), dtype)
    return np.frombuffer(b"".join(parts[TENSOR_RAW] or parts[TENSOR_FLOATS]), dtype)


def _shape(value: dict[int, list[Value]]) -> tuple[int, ...]:
    tensor = fields(fields(value[VALUE_TYPE][-1])[TYPE_TENSOR][-1])
    sizes = [fields(size)[DIM_VALUE] for size in fields(tensor[TENSOR_SHAPE][-1])[SHAPE_DIM]]
    return tuple(varints(size)[-1] if size else 0 for size in sizes)
