"""From an ONNX graph to a network of Keras 2 with the same predictions: channels last, a layer for each operation."""

from __future__ import annotations

from collections import defaultdict
from typing import Any, Callable, NamedTuple, Optional, Sequence

import numpy as np
from onnx_file import Node, OnnxFile

from wel.errors import WelError, one_of
from wel.keras.two import keras2, source

TO_CHANNELS_FIRST, TO_CHANNELS_LAST = [0, 3, 1, 2], [0, 2, 3, 1]
# what is done with shapes, whose open batch size is −1 here
OPEN = -1

Naming = Callable[[Node, str], str]


class Value(NamedTuple):
    """A value of the graph as Keras has it.

    Attributes:
        tensor: of Keras, channels last.
        first: whether the graph has its channels first; a tensor (batch, channels) stands for (batch, channels, 1, 1) then.
        order: for a tensor (batch, features) which the graph flattened with channels first: the graph's position of each feature.
    """

    tensor: Any
    first: bool = False
    order: Optional[np.ndarray] = None

    @property
    def shape(self) -> list[int]:
        """As the graph has it, the batch size open."""
        sizes = list(self.tensor.shape[1:])
        if not self.first:
            return [OPEN, *sizes]
        return [OPEN, *sizes, 1, 1] if len(sizes) == 1 else [OPEN, sizes[-1], *sizes[:-1]]


def translated(file: OnnxFile, name: str, naming: Naming, inside: Sequence[str] = ("Softmax",)) -> Any:
    """The network, its weights set.

    Args:
        file: whose input is (batch, height, width, channels).
        naming: (node, name of the layer that its first input comes from) -> name of its layer.
        inside: activations, "Relu" or "Softmax", that become part of the layer with weights before them.

    Raises:
        WelError: for an operation, or a setting of one, that has no layer here.
    """
    translation = _Translation(file, naming, inside)
    for node in file.nodes:
        translation.add(node)
    found = translation.values[file.output]
    if len(found.shape) != 2 or found.order is not None:
        raise WelError(f"Invalid ONNX file: its output has shape {found.shape}. Expected (batch, classes), after a layer with weights.")
    return keras2().Model(translation.input, found.tensor, name=name)


class _Translation:
    """The graph as far as it has been translated: its values, and its numbers, which are weights and shapes."""

    def __init__(self, file: OnnxFile, naming: Naming, inside: Sequence[str]):
        self.naming, self.inside = naming, inside
        self.input = keras2().layers.Input(file.shape[1:], name="input")
        self.values = {file.input: Value(self.input)}
        self.numbers = dict(file.weights)
        self.takers: dict[str, list[Node]] = defaultdict(list)
        for node in file.nodes:
            for name in node.inputs:
                self.takers[name].append(node)
        self.done: set[str] = set()  # outputs that layers before have given already

    def add(self, node: Node) -> None:
        """Translates the next node."""
        if node.outputs[0] in self.done:
            return
        if node.kind in SHAPES:
            self.numbers[node.outputs[0]] = SHAPES[node.kind](node, [self._array(name) for name in node.inputs])
        elif node.kind in LAYERS:
            LAYERS[node.kind](self, node)
        else:
            raise WelError(f"Invalid ONNX file: operation {node.kind} ({node.name!r}). Expected {one_of(sorted({**SHAPES, **LAYERS}))}.")

    def _array(self, name: str) -> np.ndarray:
        """Numbers, or the shape of a value: of values nothing else is a number."""
        return self.numbers[name] if name in self.numbers else np.array(self.values[name].shape)

    def value(self, node: Node) -> Value:
        """What a node takes first."""
        return self.values[node.inputs[0]]

    def image(self, node: Node) -> Value:
        """What a node takes first, which has to be (batch, channels, height, width)."""
        value = self.value(node)
        if not value.first or len(value.tensor.shape) != 4:
            raise _refused(node, f"takes {'channels last' if not value.first else 'no image'}", "(batch, channels, height, width)")
        return value

    def features(self, node: Node) -> Value:
        """What a node takes first, which has to be (batch, features)."""
        value = self.value(node)
        if len(value.shape) != 2:
            raise _refused(node, f"takes values of shape {value.shape}", "(batch, features)")
        return value

    def weights(self, node: Node) -> list[np.ndarray]:
        """What a node takes else, which have to be numbers."""
        missing = [name for name in node.inputs[1:] if name not in self.numbers]
        if missing:
            raise _refused(node, f"takes {missing[0]!r}, which is computed", "numbers")
        return [self.numbers[name] for name in node.inputs[1:]]

    def name(self, node: Node) -> str:
        """What the layer of a node is called."""
        return self.naming(node, source(self.value(node).tensor).name)

    def next(self, node: Node, kind: str) -> Node | None:
        """The one node that takes what a node gives, if it is of that kind."""
        takers = self.takers[node.outputs[0]]
        return takers[0] if len(takers) == 1 and takers[0].kind == kind else None

    def number_beside(self, node: Node) -> np.ndarray | None:
        """The number that an operation of two has beside its first input."""
        return self.numbers.get(node.inputs[1])

    def give(self, node: Node, layer: Any, value: Value, arrays: Sequence[np.ndarray] = (), **of_value: Any) -> None:
        """A node's layer, called with what it takes, and its weights."""
        tensor = layer(value.tensor)
        layer.set_weights(arrays)
        self.values[node.outputs[0]] = value._replace(tensor=tensor, **of_value)

    def activation(self, node: Node) -> tuple[str | None, Node]:
        """The activation that goes into a node's layer, and the node that gives its values."""
        for kind in self.inside:
            if taker := self.next(node, kind):
                self.done.add(taker.outputs[0])
                return kind.lower(), taker
        return None, node


def _transpose(net: _Translation, node: Node) -> None:
    value, axes = net.value(node), node.settings["perm"]
    if axes != (TO_CHANNELS_LAST if value.first else TO_CHANNELS_FIRST):
        raise _refused(node, f"has perm {axes}", f"{TO_CHANNELS_FIRST} or, channels first, {TO_CHANNELS_LAST}")
    net.values[node.outputs[0]] = value._replace(first=not value.first)


def _conv(net: _Translation, node: Node) -> None:
    layers, value, name = keras2().layers, net.image(node), net.name(node)
    kernel, *bias = net.weights(node)
    size, strides = kernel.shape[2:], node.settings.get("strides", [1, 1])
    dilations, groups = node.settings.get("dilations", [1, 1]), node.settings.get("group", 1)
    pads = _pads(node, value, size, strides)
    if pads is None:
        height, width = (node.settings["pads"][axis::2] for axis in (0, 1))
        value = value._replace(tensor=layers.ZeroPadding2D((tuple(height), tuple(width)), name=f"{name}_pad")(value.tensor))
    activation, last = net.activation(node)
    common = {"strides": tuple(strides), "padding": pads or "valid", "activation": activation, "use_bias": bool(bias), "name": name}
    if dilations != [1, 1] or groups not in (1, value.tensor.shape[-1]):
        raise _refused(node, f"has dilations {dilations} and {groups} groups", "no dilation, and 1 group or one for each channel")
    if groups == 1:
        net.give(last, layers.Conv2D(len(kernel), size, **common), value, [kernel.transpose(2, 3, 1, 0), *bias])
        return
    # (channels · multiplier, 1, h, w) -> (h, w, channels, multiplier)
    kernel = kernel.reshape(groups, -1, *size).transpose(2, 3, 0, 1)
    net.give(last, layers.DepthwiseConv2D(size, depth_multiplier=kernel.shape[-1], **common), value, [kernel, *bias])


def _pads(node: Node, value: Value, size: Sequence[int], strides: Sequence[int]) -> str | None:
    """Keras's word for how a node pads; None when it has none."""
    pads = node.settings.get("pads", [0, 0, 0, 0])
    if node.settings.get("auto_pad", "NOTSET") not in ("NOTSET", "VALID") or node.settings.get("ceil_mode"):
        raise _refused(node, "leaves its padding to a rule", "numbers in `pads`")
    totals = [max((-(-length // step) - 1) * step + wide - length, 0) for length, wide, step in zip(value.tensor.shape[1:3], size, strides)]
    same = [total // 2 for total in totals] + [total - total // 2 for total in totals]
    return "valid" if not any(pads) else "same" if pads == same else None


def _pool(net: _Translation, node: Node) -> None:
    layers, value = keras2().layers, net.image(node)
    size, strides = tuple(node.settings["kernel_shape"]), tuple(node.settings.get("strides", [1, 1]))
    pads = _pads(node, value, size, strides)
    if pads is None or (pads == "same" and node.settings.get("count_include_pad")):
        raise _refused(node, f"has pads {node.settings['pads']}", "none, or those of Keras's 'same', which do not count")
    if node.kind == "AveragePool" and size == tuple(value.tensor.shape[1:3]) and pads == "valid":
        net.give(node, layers.GlobalAveragePooling2D(name=net.name(node)), value)
        return
    kind = layers.MaxPooling2D if node.kind == "MaxPool" else layers.AveragePooling2D
    net.give(node, kind(size, strides, pads, name=net.name(node)), value)


def _add(net: _Translation, node: Node) -> None:
    one, other = (net.values.get(name) for name in node.inputs)
    if one is None or other is None or one.first != other.first or not (one.order is other.order is None):
        raise _refused(node, "adds numbers, or other axes", "two values with the same axes, or numbers after a MatMul or Mul")
    tensor = keras2().layers.Add(name=net.name(node))([one.tensor, other.tensor])
    net.values[node.outputs[0]] = one._replace(tensor=tensor)


def _relu(net: _Translation, node: Node) -> None:
    net.give(node, keras2().layers.Activation("relu", name=net.name(node)), net.value(node))


def _clip(net: _Translation, node: Node) -> None:
    bounds = [float(number) for number in net.weights(node)]
    if len(bounds) != 2 or bounds[0] != 0 or bounds[1] <= 0:
        raise _refused(node, f"has the bounds {bounds}", "0 and a number above")
    net.give(node, keras2().layers.ReLU(bounds[1], name=net.name(node)), net.value(node))


def _scale(net: _Translation, node: Node) -> None:
    """y = x · s + b is a BatchNormalization of mean 0, variance 1 and ε 0."""
    value, scale, adding = net.features(node), net.number_beside(node), net.next(node, "Add")
    shift = net.number_beside(adding) if adding else None
    if scale is None or shift is None or scale.shape != shift.shape or scale.shape != value.tensor.shape[-1:]:
        raise _refused(node, "is no scale and shift of features", "numbers, and an Add of numbers after it")
    net.done.add(adding.outputs[0])
    name = net.name(node)
    if value.order is not None:
        scale, shift = scale[value.order], shift[value.order]
    zero, one = np.zeros_like(scale), np.ones_like(scale)
    net.give(adding, keras2().layers.BatchNormalization(epsilon=0, name=name), value, [scale, shift, zero, one])


def _batch_normalization(net: _Translation, node: Node) -> None:
    layer = keras2().layers.BatchNormalization(epsilon=node.settings.get("epsilon", 1e-5), name=net.name(node))
    net.give(node, layer, net.image(node), net.weights(node))


def _matmul(net: _Translation, node: Node) -> None:
    kernel, adding = net.number_beside(node), net.next(node, "Add")
    bias = net.number_beside(adding) if adding else None
    if kernel is None:
        raise _refused(node, "multiplies two values", "a value and numbers")
    if bias is not None:
        net.done.add(adding.outputs[0])
    _dense(net, node, adding if bias is not None else node, net.weights(node)[0], bias)


def _gemm(net: _Translation, node: Node) -> None:
    kernel, *bias = net.weights(node)
    factors = [node.settings.get(name, 1.0) for name in ("alpha", "beta")]
    if factors != [1, 1] or node.settings.get("transA"):
        raise _refused(node, f"has alpha and beta {factors}, or transA", "x W + b")
    _dense(net, node, node, kernel.T if node.settings.get("transB") else kernel, bias[0] if bias else None)


def _dense(net: _Translation, node: Node, last: Node, kernel: np.ndarray, bias: np.ndarray | None) -> None:
    """The rows of the kernel go where Keras has the features."""
    value = net.features(node)
    activation, last = net.activation(last)
    layer = keras2().layers.Dense(kernel.shape[1], activation, use_bias=bias is not None, name=net.name(node))
    arrays = [kernel if value.order is None else kernel[value.order], *([] if bias is None else [bias])]
    net.give(last, layer, value, arrays, first=False, order=None)


def _softmax(net: _Translation, node: Node) -> None:
    value = net.features(node)
    if value.order is not None or node.settings.get("axis", -1) not in (1, -1):
        raise _refused(node, f"has axis {node.settings.get('axis', -1)}, or no layer with weights before it", "classes, axis 1")
    net.give(node, keras2().layers.Activation("softmax", name=net.name(node)), value)


def _reshape(net: _Translation, node: Node) -> None:
    """To (batch, features), or what differs from the value by axes of length 1."""
    value, wanted = net.value(node), [int(size) for size in net.weights(node)[0]]
    sizes = value.shape[1:]
    features = int(np.prod(sizes))
    if 0 in wanted or wanted.count(-1) > 1 or wanted[0] != OPEN or abs(int(np.prod(wanted[1:]))) != features:
        raise _refused(node, f"makes {wanted} of {value.shape}", f"[-1, {features}]")
    if len(value.tensor.shape) == 2 and max(wanted[1:]) == features:
        net.values[node.outputs[0]] = value._replace(first=False)
    elif len(wanted) == 2:
        _flatten(net, node)
    else:
        raise _refused(node, f"makes {wanted} of {value.shape}", f"[-1, {features}]")


def _flatten(net: _Translation, node: Node) -> None:
    value = net.value(node)
    if node.settings.get("axis", 1) != 1:
        raise _refused(node, f"has axis {node.settings['axis']}", "1")
    if len(value.tensor.shape) == 2:
        net.values[node.outputs[0]] = value._replace(first=False)
        return
    order = np.arange(np.prod(value.shape[1:])).reshape(value.shape[1:]).transpose(1, 2, 0).ravel() if value.first else None
    net.give(node, keras2().layers.Flatten(name=net.name(node)), value, first=False, order=order)


def _slice(node: Node, arrays: list[np.ndarray]) -> np.ndarray:
    values, starts, ends = arrays[:3]
    if arrays[3:] and any(arrays[3] != 0) or arrays[4:] and any(arrays[4] != 1):
        raise _refused(node, "takes steps, or another axis than the first", "a part of a shape")
    return values[int(starts[0]) : int(ends[0])]


def _refused(node: Node, problem: str, expected: str) -> WelError:
    return WelError(f"Invalid ONNX file: {node.kind} {node.name!r} {problem}. Expected {expected}.")


SHAPES: dict[str, Callable[[Node, list[np.ndarray]], np.ndarray]] = {
    "Shape": lambda node, arrays: arrays[0],
    "Cast": lambda node, arrays: arrays[0],
    "Gather": lambda node, arrays: arrays[0][arrays[1]],
    "Slice": _slice,
    "Concat": lambda node, arrays: np.concatenate(arrays),
}
LAYERS: dict[str, Callable[[_Translation, Node], None]] = {
    "Transpose": _transpose,
    "Conv": _conv,
    "MaxPool": _pool,
    "AveragePool": _pool,
    "Add": _add,
    "Relu": _relu,
    "Clip": _clip,
    "Mul": _scale,
    "BatchNormalization": _batch_normalization,
    "MatMul": _matmul,
    "Gemm": _gemm,
    "Softmax": _softmax,
    "Reshape": _reshape,
    "Flatten": _flatten,
}
