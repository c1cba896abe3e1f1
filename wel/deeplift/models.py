"""Converted models: their layers, and functions that score them."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any, Callable, Mapping, Sequence

import numpy as np
import tensorflow as tf

from wel.backends.native.adaptive import Adaptive, may_be_eager
from wel.backends.native.backend import full_precision, tensors_for
from wel.backends.native.fast import accelerated
from wel.backends.native.sweep import Sweep
from wel.backends.request import Injection, Whole
from wel.deeplift.layers import MODES, check_mode, rules_of
from wel.errors import WelError, check_whole, invalid, one_of
from wel.keras.either import keras_of
from wel.methods.registry import check_semantics
from wel.networks.graph import Graph, Node
from wel.networks.kinds import ACTIVATION_LAYERS, activation_name
from wel.networks.network import Network
from wel.rules.deeplift import Contributions

PREACT = "preact_"


@dataclass(frozen=True)
class Layer:
    """A layer as deeplift counts them: an activation function within one of Keras's is one of its own.

    Attributes:
        name: as deeplift calls it in functional models: Keras's with the number of the call, and "preact_" before the activation.
        node: its node in the graph; None for the softmax or sigmoid at the end, which wel takes off.
        activation: whether it is an activation function.
    """

    name: str
    node: str | None
    activation: bool = False

    def get_name(self) -> str:
        """The name."""
        return self.name


class _Activation(Node):
    """The activation function of a layer that is more than that."""

    def apply(self, inputs: list) -> Any:
        return self.layer.activation(inputs[0])


class Model:
    """A network under one mode; weights are those that it has when a function is called.

    Attributes:
        mode: one of `wel.deeplift.layers.NonlinearMxtsMode`.
    """

    def __init__(self, net: Network, mode: str, semantics: str):
        check_mode(mode)
        check_semantics(semantics)
        self.mode, self._net = mode, net
        self._graph, self._layers = _taken_apart(net)
        self._rules = rules_of(self._graph, mode, semantics)

    def get_layers(self) -> list[Layer]:
        """The layers, the input first."""
        return list(self._layers)

    def get_name_to_layer(self) -> dict[str, Layer]:
        """The layers by name."""
        return {layer.name: layer for layer in self._layers}

    def _function(self, found: Layer | Sequence[Layer], target: Layer, multipliers: bool) -> Callable:
        several = list(found) if isinstance(found, Sequence) else [found]
        score = _Scores(self, several, target, multipliers)

        def scores(
            task_idx: int,
            input_data_list: Sequence[Any] | Mapping[str, Any],
            batch_size: int = 10,
            progress_update: int | None = None,
            input_references_list: Sequence[Any] | Mapping[str, Any] | None = None,
        ) -> Any:
            """Scores of inputs.

            Args:
                task_idx: which entry of the target layer is scored.
                input_data_list: one array (n, *input shape), in a list or by the name of the input.
                batch_size: how many are computed at once.
                progress_update: after how many of them "Done" is printed; None: never.
                input_references_list: one array like the input's, or what broadcasts to it; 0 by default.

            Returns:
                (n, *shape of the layer) float32; for several layers a list.
            """
            x = self._net.checked_images(_only("input_data_list", input_data_list), "input_data_list")
            given = 0.0 if input_references_list is None else _only("input_references_list", input_references_list)
            arrays = score(task_idx, x, _like("input_references_list", given, x), batch_size, progress_update)
            return arrays if isinstance(found, Sequence) else arrays[0]

        return scores


class SequentialModel(Model):
    """A model whose layers are numbered."""

    def get_target_contribs_func(self, find_scores_layer_idx: int | Sequence[int], target_layer_idx: int = -2) -> Callable:
        """A function that gives contributions m⁺Δ⁺ + m⁻Δ⁻ at a layer, or at several.

        Args:
            find_scores_layer_idx: which of `get_layers()`; the input is 0.
            target_layer_idx: the layer whose entries are scored: -2, the one before the last, for a model that ends in a softmax or a
                sigmoid, -1 for one that does not.

        Returns:
            Function (task_idx, input_data_list, batch_size, progress_update, input_references_list).

        Raises:
            WelError: for a layer that there is not, or that cannot be the target.
        """
        return self._by_index(find_scores_layer_idx, target_layer_idx, False)

    def get_target_multipliers_func(self, find_scores_layer_idx: int | Sequence[int], target_layer_idx: int = -2) -> Callable:
        """The same for multipliers, ½(m⁺ + m⁻)."""
        return self._by_index(find_scores_layer_idx, target_layer_idx, True)

    def _by_index(self, found: int | Sequence[int], target: int, multipliers: bool) -> Callable:
        named = "find_scores_layer_idx"
        layers = [self._at(named, index) for index in found] if isinstance(found, Sequence) else self._at(named, found)
        return self._function(layers, self._at("target_layer_idx", target), multipliers)

    def _at(self, argument: str, index: int) -> Layer:
        count = len(self._layers)
        check_whole(argument, index, -count)
        if index >= count:
            raise invalid(argument, index, f"at most {count - 1}, the last of the layers {', '.join(layer.name for layer in self._layers)}")
        return self._layers[index]


class GraphModel(Model):
    """A model whose layers have names."""

    def get_input_layer_names(self) -> list[str]:
        """The name of the input."""
        return [self._layers[0].name]

    def get_target_contribs_func(self, find_scores_layer_name: str | Sequence[str], pre_activation_target_layer_name: str) -> Callable:
        """A function that gives contributions m⁺Δ⁺ + m⁻Δ⁻ at a layer, or at several; as `SequentialModel`'s, by names.

        Raises:
            WelError: for a layer that there is not, or that cannot be the target.
        """
        return self._by_name(find_scores_layer_name, pre_activation_target_layer_name, False)

    def get_target_multipliers_func(self, find_scores_layer_name: str | Sequence[str], pre_activation_target_layer_name: str) -> Callable:
        """The same for multipliers, ½(m⁺ + m⁻)."""
        return self._by_name(find_scores_layer_name, pre_activation_target_layer_name, True)

    def _by_name(self, found: str | Sequence[str], target: str, multipliers: bool) -> Callable:
        named = "find_scores_layer_name"
        layers = self._called(named, found) if isinstance(found, str) else [self._called(named, name) for name in found]
        return self._function(layers, self._called("pre_activation_target_layer_name", target), multipliers)

    def _called(self, argument: str, name: str) -> Layer:
        known = self.get_name_to_layer()
        if name not in known:
            raise invalid(argument, name, one_of(known))
        return known[name]


def model_of(net: Network, mode: str, semantics: str) -> SequentialModel | GraphModel:
    """A network as deeplift's model: a sequential one if no layer has two inputs and none is the input of two."""
    return (SequentialModel if _is_chain(net.graph) else GraphModel)(net, mode, semantics)


class _Scores:
    """What comes down to some layers from one entry of a target layer."""

    def __init__(self, model: Model, found: Sequence[Layer], target: Layer, multipliers: bool):
        graph, rules = model._graph, model._rules
        self._check(graph, found, target)
        self._found, self._target, self._shape = [layer.node for layer in found], target.node, graph[target.node].shape
        flow = Contributions(MODES[model.mode].split, multipliers)
        injection = Injection(target.node, 1, frozenset(self._found) - {target.node}, Whole())
        self._sweep = Sweep(graph, accelerated(rules), (injection,), flow)
        self._run = Adaptive(self._sweep, "float32", may_be_eager(rules))

    @staticmethod
    def _check(graph: Graph, found: Sequence[Layer], target: Layer) -> None:
        if target.activation or target.node is None:
            raise invalid("target_layer_idx", target.name, "a layer that is no activation function, such as the one before")
        if len(graph[target.node].shape) != 1:
            raise invalid("target_layer_idx", target.name, f"a layer with one axis; it has the shape {graph[target.node].shape}")
        below = graph.below(target.node)
        for layer in found:
            if layer.node not in below:
                raise invalid("find_scores_layer_idx", layer.name, f"a layer below the target '{target.name}'")
        if not found:
            raise invalid("find_scores_layer_idx", [], "one layer or more")

    def __call__(self, task: int, x: np.ndarray, reference: np.ndarray, size: int, progress: int | None) -> list[np.ndarray]:
        check_whole("batch_size", size, 1)
        check_whole("task_idx", task, 0)
        if task >= self._shape[0]:
            raise invalid("task_idx", task, f"a whole number from 0 to {self._shape[0] - 1}")
        tensors = tensors_for(self._sweep, {})
        vectors = np.zeros((len(x), 1, *self._shape), "float32")
        vectors[..., task] = 1
        parts = []
        for first in range(0, len(x), size):
            if progress is not None and first % progress == 0:
                print("Done", first)
            batch = slice(first, first + size)
            parts.append(self._batch(len(x) - first, x[batch], vectors[batch], reference[batch], tensors))
        return [np.concatenate([part[name] for part in parts]) for name in self._found]

    def _batch(self, left: int, x: np.ndarray, vectors: np.ndarray, reference: np.ndarray, tensors: tuple) -> dict[str, np.ndarray]:
        with full_precision():
            kept = self._run(left, None, tf.constant(x), [tf.constant(vectors)], tf.constant(reference), *tensors)
        return {name: value[:, 0, 0].numpy() for (name, _), value in kept.items()}


def _taken_apart(net: Network) -> tuple[Graph, list[Layer]]:
    """The graph with every activation function as a node of its own, and the layers as deeplift counts them."""
    nodes, layers = [net.graph.nodes[0]], [Layer(_numbered(net.graph.input), net.graph.input)]
    for node in net.graph.nodes[1:]:
        activation, alone = activation_name(node.layer), node.kind in ACTIVATION_LAYERS
        if alone or activation == "linear":
            nodes.append(node)
            # deeplift has no layer for an Activation that is none
            layers += [] if alone and activation == "linear" else [Layer(_numbered(node.name), node.name, alone)]
            continue
        before = PREACT + node.name
        nodes += [replace(node, name=before, layer=_without_activation(node.layer)), _split_off(node, before)]
        layers += [Layer(_numbered(node.name, PREACT), before), Layer(_numbered(node.name), node.name, True)]
    if net.final_activation:
        last = layers[-1]
        layers[-1:] = [replace(last, name=PREACT + last.name), Layer(last.name, None, True)]
    return Graph(tuple(nodes), net.graph.output), layers


def _split_off(node: Node, before: str) -> Node:
    layer = keras_of(node.layer).module().layers.Activation(node.layer.activation, name=f"{node.layer.name}_activation")
    return _Activation(node.name, layer, (before,), node.shape, node.call)


def _without_activation(layer: Any) -> Any:
    """A layer that shares everything with another one but its activation function."""
    twin = object.__new__(type(layer))
    twin.__dict__.update(layer.__dict__)
    twin.__dict__["activation"] = keras_of(layer).module().activations.linear
    return twin


def _numbered(name: str, before: str = "") -> str:
    """A node's name as deeplift has it: with the number of the layer's call, from 0."""
    plain, _, call = name.partition("#")
    return f"{before}{plain}_{int(call or 1) - 1}"


def _is_chain(graph: Graph) -> bool:
    return all(node.inputs == (before.name,) for before, node in zip(graph.nodes, graph.nodes[1:]))


def _only(argument: str, given: Any) -> Any:
    several = list(given.values()) if isinstance(given, Mapping) else given
    if not isinstance(several, Sequence) or len(several) != 1:
        raise WelError(f"Invalid value for `{argument}`: {type(given).__name__}. Expected a list with one array, the model's only input.")
    return np.asarray(several[0])


def _like(argument: str, given: Any, x: np.ndarray) -> np.ndarray:
    array = np.asarray(given, "float32")
    try:
        found = np.broadcast_to(array, x.shape)
    except ValueError as error:
        raise invalid(argument, f"an array of shape {array.shape}", f"shape {x.shape}, or what broadcasts to it") from error
    if not np.isfinite(found).all():
        raise invalid(argument, "an array with NaN or infinite values", "finite numbers")
    return np.ascontiguousarray(found)
