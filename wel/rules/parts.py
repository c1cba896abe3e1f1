"""The parts that a node is taken into: a linear map y = Wx + b, an activation function, or a layer that is neither.

A kernel layer with an activation function gives two parts, every other node one. The linear maps that are known stand in
`wel.rules.linear_kinds`; all others go down by TensorFlow's own gradient.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Callable, NamedTuple, Sequence

import tensorflow as tf

from wel.networks.graph import Graph, Node
from wel.networks.kinds import (
    ACTIVATION_LAYERS,
    ELEMENTWISE,
    GATES,
    KEEP_SIGN,
    KERNELS,
    NO_OVERSHOOT,
    RESCALINGS,
    SHAPES,
    activation_name,
    has_maximum,
    is_relu,
    never_negative,
)
from wel.rules import rescaling
from wel.rules.derivatives import derivatives
from wel.rules.linear_kinds import LINEAR_KINDS, LinearKind, one_kernel, over_axis

LINEAR, ACTIVATION, OTHER = "linear", "activation", "other"


class Weights(NamedTuple):
    """A linear map's kernels and its bias.

    Attributes:
        kernels: none for a map whose coefficients are fixed and not negative; None for the map to 0.
        bias: broadcasts over the output; None without one.
    """

    kernels: tuple[tf.Tensor, ...] | None
    bias: tf.Tensor | None

    def part(self, keep: Callable, of_each: bool = False) -> Weights:
        """The positive (`keep` is tf.maximum) or the negative (tf.minimum) coefficients, without bias.

        `of_each`: of two kernels one after the other, the product of what is kept of each, which innvestigate takes for it.
        """
        if not self.kernels:
            return Weights(() if keep is tf.maximum else None, None)
        if of_each:
            return Weights((one_kernel(tuple(keep(kernel, 0) for kernel in self.kernels)),), None)
        return Weights((keep(one_kernel(self.kernels), 0),), None)

    def without(self, *others: Weights) -> Weights:
        """What is left of the kernel when others are taken off, without bias."""
        return Weights((one_kernel(self.kernels) - tf.add_n([one_kernel(other.kernels) for other in others]),), None)

    def each(self, function: Callable) -> Weights:
        """A function, elementwise and with f(0) = 0, of the kernel and of the bias; kernels that are fixed stay as they are."""
        kernels = (function(one_kernel(self.kernels)),) if self.kernels else self.kernels
        return Weights(kernels, None if self.bias is None else function(self.bias))

    def absolute(self) -> Weights:
        """The coefficients' absolute values, without bias."""
        return Weights((tf.abs(one_kernel(self.kernels)),) if self.kernels else (), None)


class Moved(NamedTuple):
    """How the network's input comes to a layer, where the layers between only move its values, or rescale each by itself.

    Attributes:
        through: class names of the layers between.
        ends: function of the least and the largest value of the input, scalars, that gives those of every value here, (1, *shape).
    """

    through: frozenset[str]
    ends: Callable[[tf.Tensor, tf.Tensor], tuple[tf.Tensor, tf.Tensor]]


@dataclass(frozen=True, eq=False)
class Part:
    """One part of a node.

    Attributes:
        node: whose part it is.
        role: `LINEAR`, `ACTIVATION` or `OTHER`.
        fused: whether it is the activation function of a layer that is more than that.
        input_shapes: of its inputs, without the batch dimension.
        moved: how its inputs are the network's, each a `Moved`, None for one that is not.
        gates: which of its inputs are gates, values of a sigmoid or softmax.
        nonnegative_inputs, nonnegative: whether its inputs, its output, are never below zero, as far as the layers tell.
    """

    node: Node
    role: str
    fused: bool
    input_shapes: tuple[tuple[int, ...], ...]
    moved: tuple[Moved | None, ...]
    gates: tuple[bool, ...]
    nonnegative_inputs: bool

    @property
    def name(self) -> str:
        """Unique in the network."""
        return f"{self.node.name}:{self.activation}" if self.fused else self.node.name

    @property
    def kind(self) -> str:
        """The layer's class name; of a fused activation function, its name."""
        return self.activation if self.fused else self.node.kind

    @property
    def activation(self) -> str:
        """Name of the layer's activation function, "linear" without one."""
        return activation_name(self.node.layer)

    @property
    def is_relu(self) -> bool:
        """Whether it is a ReLU, which may have a maximum."""
        return self.role == ACTIVATION and is_relu(self.node.layer)

    @property
    def has_kernel(self) -> bool:
        """Whether it is a dense or convolutional layer's linear map."""
        return self.role == LINEAR and self.node.kind in KERNELS

    @property
    def rescales(self) -> bool:
        """Whether it is a preprocessing layer's per-channel affine map."""
        return self.role == LINEAR and self.node.kind in RESCALINGS

    @property
    def diagonal(self) -> bool:
        """Whether it is a linear map of which an output depends on the inputs of its own place only."""
        return self.role == LINEAR and self._linear.diagonal and len({*self.input_shapes, self.node.shape}) == 1

    @property
    def elementwise(self) -> bool:
        """Whether it is a function of each number by itself."""
        return self.role == ACTIVATION and self.activation in ELEMENTWISE

    @property
    def nonnegative(self) -> bool:
        if self.role == ACTIVATION:
            return never_negative(self.node.layer)
        return self.nonnegative_inputs and self.node.kind in KEEP_SIGN and not self._overshoots

    @property
    def is_gate(self) -> bool:
        """Whether its output is a gate, which other values are multiplied with."""
        if self.role == ACTIVATION and self.activation != "linear":
            return self.activation in GATES
        return self.node.kind == "Softmax" or (self.node.kind in SHAPES and all(self.gates))

    @property
    def moves(self) -> bool:
        """Whether its output is its inputs' values moved, or each rescaled by itself, and nothing else."""
        if self.role == ACTIVATION:
            return not self.fused and self.activation == "linear"
        if self.role == LINEAR:
            return len(self.input_shapes) == 1 and self.diagonal
        return self.node.kind in SHAPES and not self._overshoots

    @property
    def _overshoots(self) -> bool:
        """Whether it interpolates beyond the values that come in."""
        return getattr(self.node.layer, "interpolation", "nearest") not in NO_OVERSHOOT

    @property
    def _linear(self) -> LinearKind:
        return LINEAR_KINDS[self.node.kind]

    def weights(self) -> Weights | None:
        """A linear map's weights as they are now, None for other parts."""
        if self.role != LINEAR:
            return None
        return Weights(tuple(map(tf.convert_to_tensor, self._linear.kernels(self.node))), self._linear.bias(self.node))

    def forward(self, inputs: Sequence[tf.Tensor], weights: Weights | None) -> tf.Tensor:
        """The part's output for inputs (n, *shape)."""
        if self.fused:
            return self.node.layer.activation(inputs[0])
        if self.role == LINEAR and self.has_kernel:
            return self.map(inputs, weights)
        if self.role == LINEAR and self._linear.forward:
            return self._linear.forward(self.node, inputs[0])
        # TensorFlow interpolates in float32 whatever comes in
        y = self.node.apply(list(inputs))
        floating = next((x.dtype for x in inputs if x.dtype.is_floating), None)
        return tf.cast(y, floating) if floating and y.dtype.is_floating else y

    def map(self, inputs: Sequence[tf.Tensor], weights: Weights) -> tf.Tensor:
        """Wx + b."""
        y = self._linear.apply(self.node, list(inputs), weights.kernels)
        return y if weights.bias is None else y + weights.bias

    def sums(self, inputs: Sequence[tf.Tensor], weights: Weights) -> tf.Tensor:
        """Wx in the fastest order of summation: where all terms have one sign, or nothing is decided by which side of 0 a sum falls on."""
        if self._linear.summed and weights.kernels:
            return self._linear.summed(self.node, list(inputs), weights.kernels)
        return self._linear.apply(self.node, list(inputs), weights.kernels)

    def transposed(self, R: tf.Tensor, weights: Weights) -> list[tf.Tensor]:
        """WᵀR, (n, rows, *shape of the input) for each input, for R (n, rows, *shape of the output)."""
        rows = R.shape[1]
        flat = tf.reshape(R, [-1, *self.node.shape])
        if self._linear.transpose:
            back = self._linear.transpose(self, flat, weights.kernels)
        else:
            back = self.derivative(lambda xs: self._linear.apply(self.node, xs, weights.kernels), flat)
        return [tf.reshape(x, [-1, rows, *shape]) for x, shape in zip(back, self.input_shapes)]

    def slope(self, x: tf.Tensor) -> tf.Tensor:
        """An activation function's derivative at x, (n, *shape)."""
        if self.is_relu and not has_maximum(self.node.layer):
            return tf.cast(x > 0, x.dtype)
        return derivatives(lambda xs: self.forward(xs, None), [x])[0]

    def over_axis(self, vector: tf.Tensor) -> tf.Tensor:
        """A vector over a BatchNormalization's axis, shaped to broadcast over the output."""
        return over_axis(self.node, vector)

    def derivative(self, function: Callable, R: tf.Tensor) -> list[tf.Tensor]:
        """The transposed of a linear function of the inputs, for R (rows, *shape)."""
        zeros = [tf.zeros([tf.shape(R)[0], *shape], R.dtype) for shape in self.input_shapes]
        return derivatives(function, zeros, R)


def parts_of(graph: Graph) -> dict[str, tuple[Part, ...]]:
    """The parts of every node but the input, in execution order."""
    found: dict[str, tuple[Part, ...]] = {}
    moved: dict[str, Moved] = {graph.input: _untouched(graph[graph.input].shape)}
    for node in graph.nodes[1:]:
        shapes = tuple(graph[name].shape for name in node.inputs)
        sources = [found[name][-1] if name in found else None for name in node.inputs]
        gates = tuple(source is not None and source.is_gate for source in sources)
        nonnegative = all(source is not None and source.nonnegative for source in sources)
        first = Part(node, _role(node, shapes), False, shapes, tuple(moved.get(name) for name in node.inputs), gates, nonnegative)
        found[node.name] = _parts(first)
        if first.moves and all(first.moved):
            moved[node.name] = _moved_on(first)
    return found


def _parts(first: Part) -> tuple[Part, ...]:
    """A node's first part and, where the layer has one, that of its activation function."""
    if first.role != LINEAR or activation_name(first.node.layer) == "linear":
        return (first,)
    return first, Part(first.node, ACTIVATION, True, (first.node.shape,), (None,), (False,), False)


def _role(node: Node, shapes) -> str:
    if node.kind in ACTIVATION_LAYERS:
        return ACTIVATION
    return LINEAR if _is_linear(node, shapes) else OTHER


def _untouched(shape: tuple[int, ...]) -> Moved:
    return Moved(frozenset(), lambda low, high: (tf.fill([1, *shape], low), tf.fill([1, *shape], high)))


def _moved_on(part: Part) -> Moved:
    """A part's output, its inputs being the network's moved or rescaled."""

    def ends(low, high):
        one, other = (part.forward(list(several), None) for several in zip(*(source.ends(low, high) for source in part.moved)))
        return tf.minimum(one, other), tf.maximum(one, other)

    return Moved(frozenset({part.node.kind}).union(*(source.through for source in part.moved)), ends)


def _is_linear(node: Node, shapes) -> bool:
    """Whether its map is known here."""
    return node.kind in LINEAR_KINDS and (node.kind not in RESCALINGS or rescaling.is_per_channel(node, *shapes))
