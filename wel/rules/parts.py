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
    AUGMENTATIONS,
    ELEMENTWISE,
    KEEP_SIGN,
    KERNELS,
    NO_OVERSHOOT,
    RESCALINGS,
    activation_name,
    is_relu,
    never_negative,
)
from wel.rules import rescaling
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

    def part(self, keep: Callable) -> Weights:
        """The positive (`keep` is tf.maximum) or the negative (tf.minimum) coefficients, without bias."""
        if not self.kernels:
            return Weights(() if keep is tf.maximum else None, None)
        return Weights((keep(one_kernel(self.kernels), 0),), None)

    def each(self, function: Callable) -> Weights:
        """A function, elementwise and with f(0) = 0, of the kernel and of the bias; kernels that are fixed stay as they are."""
        kernels = (function(one_kernel(self.kernels)),) if self.kernels else self.kernels
        return Weights(kernels, None if self.bias is None else function(self.bias))

    def absolute(self) -> Weights:
        """The coefficients' absolute values, without bias."""
        return Weights((tf.abs(one_kernel(self.kernels)),) if self.kernels else (), None)


@dataclass(frozen=True, eq=False)
class Part:
    """One part of a node.

    Attributes:
        node: whose part it is.
        role: `LINEAR`, `ACTIVATION` or `OTHER`.
        fused: whether it is the activation function of a layer that is more than that.
        input_shapes: of its inputs, without the batch dimension.
        on_input: whether its input is the network's, as it is.
        nonnegative_inputs, nonnegative: whether its inputs, its output, are never below zero, as far as the layers tell.
    """

    node: Node
    role: str
    fused: bool
    input_shapes: tuple[tuple[int, ...], ...]
    on_input: bool
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
        overshoots = getattr(self.node.layer, "interpolation", "nearest") not in NO_OVERSHOOT
        return self.nonnegative_inputs and self.node.kind in KEEP_SIGN and not overshoots

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
        # TensorFlow interpolates in float32 whatever comes in
        return tf.cast(self.node.apply(list(inputs)), inputs[0].dtype)

    def map(self, inputs: Sequence[tf.Tensor], weights: Weights) -> tf.Tensor:
        """Wx + b."""
        y = self._linear.apply(self.node, list(inputs), weights.kernels)
        return y if weights.bias is None else y + weights.bias

    def transposed(self, R: tf.Tensor, weights: Weights) -> list[tf.Tensor]:
        """WᵀR, (n, rows, *shape of the input) for each input, for R (n, rows, *shape of the output)."""
        rows = R.shape[1]
        flat = tf.reshape(R, [-1, *self.node.shape])
        if self._linear.transpose:
            back = self._linear.transpose(self, flat, weights.kernels)
        else:
            back = self.derivative(lambda xs: self._linear.apply(self.node, xs, weights.kernels), flat)
        return [tf.reshape(x, [-1, rows, *shape]) for x, shape in zip(back, self.input_shapes)]

    def over_axis(self, vector: tf.Tensor) -> tf.Tensor:
        """A vector over a BatchNormalization's axis, shaped to broadcast over the output."""
        return over_axis(self.node, vector)

    def derivative(self, function: Callable, R: tf.Tensor) -> list[tf.Tensor]:
        """The transposed of a linear function of the inputs, for R (rows, *shape)."""
        zeros = [tf.zeros([tf.shape(R)[0], *shape], R.dtype) for shape in self.input_shapes]
        return tf.gradients(function(zeros), zeros, R, unconnected_gradients="zero")


def parts_of(graph: Graph) -> dict[str, tuple[Part, ...]]:
    """The parts of every node but the input, in execution order."""
    found: dict[str, tuple[Part, ...]] = {}
    same_as_input = {graph.input}
    for node in graph.nodes[1:]:
        sources = [found[name][-1] if name in found else None for name in node.inputs]
        shapes = tuple(graph[name].shape for name in node.inputs)
        signs = all(source is not None and source.nonnegative for source in sources)
        on_input = not same_as_input.isdisjoint(node.inputs)
        found[node.name] = _parts(node, shapes, on_input, signs)
        if on_input and node.kind in AUGMENTATIONS:
            same_as_input.add(node.name)
    return found


def _parts(node: Node, shapes, on_input: bool, nonnegative: bool) -> tuple[Part, ...]:
    if node.kind in ACTIVATION_LAYERS:
        return (Part(node, ACTIVATION, False, shapes, on_input, nonnegative),)
    if not _is_linear(node, shapes):
        return (Part(node, OTHER, False, shapes, on_input, nonnegative),)
    linear = Part(node, LINEAR, False, shapes, on_input, nonnegative)
    if activation_name(node.layer) == "linear":
        return (linear,)
    return (linear, Part(node, ACTIVATION, True, (node.shape,), False, False))


def _is_linear(node: Node, shapes) -> bool:
    """Whether its map is known here."""
    return node.kind in LINEAR_KINDS and (node.kind not in RESCALINGS or rescaling.is_per_channel(node, *shapes))
