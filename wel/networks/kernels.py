"""Layers with a kernel, and the BatchNormalization that is folded into them."""

from __future__ import annotations

from collections import defaultdict
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Iterable, Sequence

import numpy as np

from wel.errors import UnsupportedError
from wel.keras.two import keras2
from wel.networks.kinds import ACTIVATION_LAYERS, LINEAR_LAYERS, PATTERN_KINDS, SEEN_THROUGH, is_linear, mixes_inputs

# a worker imports this module under an interpreter that has not what the graph needs
if TYPE_CHECKING:
    from wel.networks.graph import Graph, Node

KERNEL_WEIGHTS = ("kernel", "depthwise_kernel", "pointwise_kernel")


@dataclass(frozen=True)
class KernelLayer:
    """A layer that has a pattern.

    Attributes:
        node: the layer's call.
        norm: the BatchNormalization that is folded into it, None if there is none.
    """

    node: Node
    norm: Node | None = None

    @property
    def output(self) -> str:
        """Node at which the layer's value stands, the folded BatchNormalization included."""
        return (self.norm or self.node).name

    @property
    def kernel(self) -> np.ndarray:
        """The layer's own kernel, float64."""
        return np.asarray(kernel_of(self.node.layer), "float64")

    @property
    def units(self) -> tuple[int, ...]:
        """Shape of the kernel's last axes, those that number the units."""
        return tuple(kernel_of(self.node.layer).shape[-unit_axes(self.node.layer) :])

    @property
    def scale(self) -> np.ndarray:
        """γ/√(σ²+ε) of the folded BatchNormalization for each unit, in the shape `units`; else 1."""
        if self.norm is None:
            return np.ones(self.units)
        layer = self.norm.layer
        scale = 1 / np.sqrt(np.asarray(layer.moving_variance, "float64") + layer.epsilon)
        return (scale * np.asarray(layer.gamma, "float64") if layer.scale else scale).reshape(self.units)


def kernel_of(layer):
    """The kernel variable of a layer of `PATTERN_KINDS`; that of a depthwise convolution is called `kernel` in Keras 3."""
    return layer.depthwise_kernel if hasattr(layer, "depthwise_kernel") else layer.kernel


def unit_axes(layer) -> int:
    """How many of the kernel's last axes number the units: (channel, multiplier) in a depthwise convolution, else one."""
    return 2 if type(layer).__name__ == "DepthwiseConv2D" else 1


def linear_map(layer, x, kernel):
    """A layer of `PATTERN_KINDS` on x with another kernel, without bias and activation; all of them TensorFlow's."""
    import tensorflow as tf

    kind = type(layer).__name__
    if kind == "Dense":
        return tf.tensordot(x, kernel, 1)
    if kind == "DepthwiseConv2D":
        settings = {"strides": layer.strides, "padding": layer.padding, "dilation_rate": layer.dilation_rate}
        return keras2().backend.depthwise_conv2d(x, kernel, data_format=layer.data_format, **settings)
    return convolution(layer, x, kernel)


def convolution(layer, x, kernel):
    """A convolutional layer on x with another kernel, without bias and activation."""
    import tensorflow as tf

    padding = "VALID" if layer.padding == "causal" else layer.padding.upper()
    settings = {"strides": list(layer.strides), "dilations": list(layer.dilation_rate), "data_format": data_format(layer)}
    return tf.nn.convolution(before_causal(layer, x), kernel, padding=padding, **settings)


def data_format(layer) -> str:
    """TensorFlow's name of a convolutional layer's data format."""
    places = "DHW"[-len(layer.kernel_size) :]
    return f"NC{places}" if layer.data_format == "channels_first" else f"N{places}C"


def before_causal(layer, x):
    """What a causal layer's convolution is computed of: x with zeros before its first step; x itself for other layers."""
    import tensorflow as tf

    if layer.padding != "causal":
        return x
    zeros = [layer.dilation_rate[0] * (layer.kernel_size[0] - 1), 0]
    return tf.pad(x, [[0, 0], [0, 0], zeros] if layer.data_format == "channels_first" else [[0, 0], zeros, [0, 0]])


def why_no_pattern(layer) -> str | None:
    """Why a layer that mixes its inputs with weights cannot have a pattern, in a few words; None if it can, or mixes nothing."""
    kind = type(layer).__name__
    known = PATTERN_KINDS | SEEN_THROUGH - {"Embedding"} | LINEAR_LAYERS | ACTIVATION_LAYERS
    if any(hasattr(layer, name) for name in KERNEL_WEIGHTS) and kind not in PATTERN_KINDS:
        return kind
    if kind not in known and mixes_inputs(layer):
        return kind
    if getattr(layer, "groups", 1) != 1 and kind in PATTERN_KINDS - {"DepthwiseConv2D"}:
        return f"{kind} in {layer.groups} groups"
    return None


def kernel_layers(graph: Graph) -> list[KernelLayer]:
    """The layers of a network that have patterns, in execution order.

    Raises:
        UnsupportedError: when a layer with a kernel is none that patterns are defined for.
    """
    for node in graph.nodes:
        reason = why_no_pattern(node.layer)
        if reason:
            raise UnsupportedError(f"Layer '{node.name}' ({reason}) has no pattern. Expected {', '.join(sorted(PATTERN_KINDS))}.")
    norms = folded_norms((node.name, node.layer, node.inputs) for node in graph.nodes)
    found = [node for node in graph.nodes if node.kind in PATTERN_KINDS]
    return [KernelLayer(node, graph[norms[node.name]] if node.name in norms else None) for node in found]


def folded_norms(calls: Iterable[tuple[str, Any, Sequence[str]]]) -> dict[str, str]:
    """Layer with a kernel -> the BatchNormalization to fold into it: over channels, its only consumer, no activation between.

    Args:
        calls: name, Keras layer, and names of the inputs of every call of a layer.
    """
    called = {name: (layer, tuple(inputs)) for name, layer, inputs in calls}
    consumers = consumers_of({name: inputs for name, (_, inputs) in called.items()})
    folded = {}
    for name, (layer, inputs) in called.items():
        if type(layer).__name__ == "BatchNormalization" and consumers[inputs[0]] == [name] and _over_channels(layer):
            source = called[inputs[0]][0]
            if type(source).__name__ in PATTERN_KINDS and is_linear(source):
                folded[inputs[0]] = name
    return folded


def consumers_of(inputs: dict[str, Sequence[str]]) -> dict[str, list[str]]:
    """Node -> nodes that take its output, from node -> nodes that it takes."""
    consumers = defaultdict(list)
    for name, sources in inputs.items():
        for source in sources:
            consumers[source].append(name)
    return consumers


def _over_channels(norm) -> bool:
    axes = [norm.axis] if isinstance(norm.axis, int) else list(norm.axis)
    return axes in ([-1], [norm.input_spec.ndim - 1])
