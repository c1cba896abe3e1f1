"""The layer graph of a Keras model: the only file that knows Keras's internals.

A node is one call of one layer. Nested models are flattened (`outer/inner`), a reused layer appears once per call
(`name`, `name#2`, …), and the nodes stand in the order in which Keras executes them.
"""
from __future__ import annotations

from collections import Counter
from dataclasses import dataclass
from functools import cached_property
from typing import Any, Iterator

import numpy as np

from wel.errors import WelError, invalid, one_of


@dataclass(frozen=True)
class Node:
    """One call of one layer.

    Attributes:
        name: unique in the graph.
        layer: the Keras layer that is called.
        inputs: names of the nodes whose outputs come in, in the order of the call.
        shape: of the output, without the batch dimension.
        call: Keras's record of the call, None for the input.
    """

    name: str
    layer: Any
    inputs: tuple[str, ...]
    shape: tuple[int, ...]
    call: Any = None

    @property
    def kind(self) -> str:
        """The layer's class name, such as "Conv2D"."""
        return type(self.layer).__name__

    def apply(self, inputs: list):
        """Calls the layer on tensors that take the place of its inputs, in inference mode."""
        args, kwargs = self.call.map_arguments({str(id(old)): new for old, new in zip(self.call.keras_inputs, inputs)})
        kwargs.pop("training", None)
        return self.layer(*args, **kwargs)


@dataclass(frozen=True)
class Graph:
    """The nodes that lead from a model's input to its output, in execution order, the input first."""

    nodes: tuple[Node, ...]
    output: str

    @property
    def input(self) -> str:
        """Name of the input node."""
        return self.nodes[0].name

    @property
    def names(self) -> list[str]:
        """Names of all nodes in execution order."""
        return [node.name for node in self.nodes]

    def __getitem__(self, name: str) -> Node:
        return self.nodes[self.index(name)]

    def index(self, name: str) -> int:
        """Position of a node in execution order; the input is 0."""
        return self._positions[name]

    @cached_property
    def _positions(self) -> dict[str, int]:
        return {node.name: i for i, node in enumerate(self.nodes)}

    def below(self, start: str) -> list[str]:
        """Names of the nodes that `start` is computed from, in execution order: where its relevance can arrive."""
        wanted = {start}
        for node in reversed(self.nodes):
            if node.name in wanted:
                wanted.update(node.inputs)
        return [name for name in self.names if name in wanted and name != start]

    def flat_config(self) -> dict:
        """The same network as the configuration of a flat functional Keras model with layers `node0`, `node1`, ….

        Initialisers, regularisers and constraints are left out: the weights travel separately (`flat_weights`).
        """
        layers = [self._layer_config(i, node) for i, node in enumerate(self.nodes)]
        return {
            "name": "flat",
            "layers": layers,
            "input_layers": [["node0", 0, 0]],
            "output_layers": [[self.flat_name(self.output), 0, 0]],
        }

    def flat_name(self, name: str) -> str:
        """The layer of `flat_config` that stands for a node."""
        return f"node{self.index(name)}"

    def flat_weights(self) -> dict[str, np.ndarray]:
        """The weights of `flat_config`'s layers as they are now, keyed `node3/0` in the order of `get_weights`."""
        weights = {}
        for i, node in enumerate(self.nodes):
            for k, array in enumerate(node.layer.get_weights()):
                weights[f"node{i}/{k}"] = np.asarray(array, dtype="float32")
        return weights

    def _layer_config(self, position: int, node: Node) -> dict:
        if node.kind in ("TFOpLambda", "SlicingOpLambda"):
            raise WelError(f"Layer '{node.name}' is a bare TensorFlow operation. Expected Keras layers only for a wrapped backend.")
        name = f"node{position}"
        inbound = [[[self.flat_name(source), 0, 0, {}] for source in node.inputs]] if node.inputs else []
        config = {"batch_input_shape": [None, *node.shape]} if position == 0 else _plain_config(node.layer)
        config = {**config, "name": name, "dtype": "float32"}
        kind = "InputLayer" if position == 0 else node.kind
        return {"class_name": kind, "name": name, "config": config, "inbound_nodes": inbound}


def build_graph(model) -> Graph:
    """Reads the layer graph of a functional or Sequential Keras model with one input and one output.

    Raises:
        WelError: when the model is subclassed or not built, has several inputs or outputs, or a layer with several outputs.
    """
    _check(model)
    walker = _Walker()
    source = walker.add_input(model)
    (output,) = walker.walk(model, [source], prefix="")
    return Graph(nodes=tuple(_leading_to(output, walker.nodes)), output=output)


def _check(model) -> None:
    if not _is_model(model):
        raise invalid("model", type(model).__name__, "a Keras model")
    if not getattr(model, "_is_graph_network", False):
        raise WelError(
            f"Invalid value for `model`: '{model.name}' is a subclassed or unbuilt model whose layers cannot be listed. "
            "Expected a functional model, or a Sequential model with a known input shape."
        )
    for kind, tensors in (("input", model.inputs), ("output", model.outputs)):
        if len(tensors) != 1:
            raise WelError(f"Invalid value for `model`: '{model.name}' has {len(tensors)} {kind}s. Expected one {kind}.")
    if any(size is None for size in model.inputs[0].shape[1:]):
        raise WelError(
            f"Invalid value for `model`: '{model.name}' takes inputs of shape {tuple(model.inputs[0].shape[1:])}. "
            "Expected a fixed input shape."
        )


def _is_model(layer) -> bool:
    from tensorflow import keras

    return isinstance(layer, keras.Model)


class _Walker:
    """Collects nodes while it follows a model's calls; tensors are known by id, as Keras itself does it."""

    def __init__(self):
        self.nodes: list[Node] = []
        self._calls: Counter[str] = Counter()

    def add_input(self, model) -> str:
        layer = model.inputs[0]._keras_history.layer
        return self._add(layer.name, layer, (), model.inputs[0].shape)

    def walk(self, model, sources: list[str], prefix: str) -> list[str]:
        """Follows `model`, whose inputs come from the nodes `sources`; returns the nodes of its outputs."""
        made = {id(tensor): source for tensor, source in zip(model.inputs, sources)}
        for call in _calls(model):
            inputs = [made[id(tensor)] for tensor in call.keras_inputs]
            outputs = self._follow(call, inputs, prefix)
            made.update(zip((id(tensor) for tensor in _flat(call.outputs)), outputs))
        return [made[id(tensor)] for tensor in model.outputs]

    def _follow(self, call, inputs: list[str], prefix: str) -> list[str]:
        name = prefix + call.layer.name
        if _is_model(call.layer):
            return self.walk(call.layer, inputs, prefix=name + "/")
        outputs = _flat(call.outputs)
        if len(outputs) != 1:
            raise WelError(f"Invalid value for `model`: layer '{name}' has {len(outputs)} outputs. Expected layers with one output.")
        return [self._add(name, call.layer, tuple(inputs), outputs[0].shape, call)]

    def _add(self, name: str, layer, inputs: tuple[str, ...], shape, call=None) -> str:
        self._calls[name] += 1
        if self._calls[name] > 1:
            name = f"{name}#{self._calls[name]}"
        self.nodes.append(Node(name, layer, inputs, tuple(shape[1:]), call))
        return name


def _calls(model) -> Iterator[Any]:
    """The calls of a model's layers in the order in which Keras executes them, its input layers left out."""
    for depth in sorted(model._nodes_by_depth, reverse=True):
        for call in model._nodes_by_depth[depth]:
            if not call.is_input:
                yield call


def _flat(tensors) -> list:
    import tensorflow as tf

    return tf.nest.flatten(tensors)


def _leading_to(output: str, nodes: list[Node]) -> list[Node]:
    wanted = {output}
    for node in reversed(nodes):
        if node.name in wanted:
            wanted.update(node.inputs)
    return [node for node in nodes if node.name in wanted]


def _plain_config(layer) -> dict:
    config = layer.get_config()
    for key in config:
        if key.endswith("_initializer"):
            config[key] = "zeros"
        elif key.endswith(("_regularizer", "_constraint")):
            config[key] = None
    plain = {key: value.tolist() if hasattr(value, "tolist") else value for key, value in config.items()}
    return {key: value for key, value in plain.items() if key != "batch_input_shape"}
