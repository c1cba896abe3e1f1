"""The layer graph of a Keras model: which layer is called on what.

A node is one call of one layer. Nested models are flattened (`outer/inner`), a reused layer appears once per call
(`name`, `name#2`, …), and the nodes stand in the order in which Keras executes them. A TensorFlow function that does what a layer does
is a node of that layer.
"""

from __future__ import annotations

import json
from collections import defaultdict
from dataclasses import dataclass, replace
from functools import cached_property
from itertools import count
from typing import Any, Callable, Iterable, Iterator, Mapping

import numpy as np

from wel.errors import WelError, invalid
from wel.keras.call import Call
from wel.keras.either import is_model, is_own, keras_of
from wel.keras.three import is_of_3, is_operation, keras3
from wel.keras.two import keras2, private
from wel.modelfiles.keras3 import layer_in_keras2
from wel.networks.dtypes import recast
from wel.networks.kinds import AUGMENTATIONS, SELECTION
from wel.networks.operators import is_selection, layer_call

# what Keras 2 wraps a bare TensorFlow operation in
OPERATIONS = ("TFOpLambda", "SlicingOpLambda", "TensorFlowOpLayer", "ClassMethod", "InstanceMethod", "InstanceProperty")


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
    call: Call | None = None

    @cached_property
    def kind(self) -> str:
        """The layer's class name, such as "Conv2D"; "Selection" for a function that only takes values out of its input, and of a bare
        operation of Keras 3 its name, such as "ops.Einsum"."""
        if self.call is not None and is_selection(self.call):
            return SELECTION
        return f"ops.{type(self.layer).__name__}" if is_operation(self.layer) else type(self.layer).__name__

    def apply(self, inputs: list):
        """Calls the layer on tensors that take the place of its inputs, in inference mode."""
        return self.call.run(self.layer, inputs)

    def weights(self) -> list[np.ndarray]:
        """The layer's weights as they are now, in the order of `get_weights`, float32.

        Raises:
            WelError: when one of them is not finite.
        """
        self.check_finite()
        return [np.asarray(array, dtype="float32") for array in self.arrays()]

    def check_finite(self) -> None:
        """Raises WelError when a weight is not finite."""
        import tensorflow as tf

        tensors = map(tf.convert_to_tensor, self.variables)  # without a copy, which `get_weights` makes
        if not all(tf.reduce_all(tf.math.is_finite(tensor)) for tensor in tensors if tensor.dtype.is_floating):
            raise WelError(f"Invalid weights: layer '{self.name}' holds NaN or infinite values. Expected finite numbers.")

    def arrays(self) -> list[np.ndarray]:
        """What `get_weights` gives; a bare operation has none."""
        return self.layer.get_weights() if hasattr(self.layer, "get_weights") else []

    def recast(self, dtype: str) -> Any:
        """The layer's copy that computes in `dtype`, with its weights of now.

        Raises:
            WelError: for one that its configuration does not rebuild.
        """
        if type(self.layer).__name__ in OPERATIONS:
            raise WelError(f"Layer '{self.name}' is a bare TensorFlow operation. Expected Keras layers only for {dtype}.")
        return recast(self.layer, self.call, dtype)

    @property
    def variables(self) -> list[Any]:
        """The layer's weights as Keras has them."""
        return list(getattr(self.layer, "weights", ()))


@dataclass(frozen=True, eq=False)
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

    def run(self, values: Mapping[str, Any], to: str, apply: Callable[[Node, list], Any] = Node.apply) -> Any:
        """The output of a node, in inference mode, where the outputs of nodes below it are `values`, tensors by name.

        `apply` computes a node's output from its inputs.
        """
        return self.run_up(values, to, apply)[to]

    def run_up(self, values: Mapping[str, Any], to: str, apply: Callable[[Node, list], Any] = Node.apply) -> dict[str, Any]:
        """The outputs of all nodes that `run` computes, by name, and `values`."""
        made, wanted = dict(values), {to}
        for node in reversed(self.nodes):
            if node.name in wanted and node.name not in made:
                wanted.update(node.inputs)
        for node in self.nodes:
            if node.name in wanted and node.name not in made:
                made[node.name] = apply(node, [made[source] for source in node.inputs])
        return made

    def passed(self, starts: Iterable[str], at: Iterable[str]) -> set[str]:
        """Names of the nodes that relevance passes on its way from the nodes `starts` down to the nodes `at`."""
        leading, found = set(at), set()
        for node in self.nodes:
            if not leading.isdisjoint(node.inputs):
                leading.add(node.name)
                found.add(node.name)
        return found & {name for start in starts for name in (start, *self.below(start))}

    def bottlenecks(self) -> set[str]:
        """The nodes that everything goes through: no path leads past them."""
        consumers: dict[str, list[str]] = defaultdict(list)
        for node in self.nodes:
            for source in node.inputs:
                consumers[source].append(node.name)
        found: set[str] = set()
        ahead = set(consumers[self.input])
        for node in self.nodes[1:]:
            ahead.discard(node.name)
            if not ahead:
                found.update([node.name, *(node.inputs if len(node.inputs) == 1 else ())])
            ahead.update(consumers[node.name])
        return found

    def in_dtype(self, dtype: str) -> Graph:
        """This graph, or, unless all of its layers compute in `dtype`, its copy that does, with the weights of now.

        Raises:
            WelError: for a layer that its configuration does not rebuild.
        """
        if all(getattr(node.layer, "compute_dtype", dtype) == dtype for node in self.nodes):
            return self
        made: dict[int, Any] = {}
        for node in self.nodes:
            if id(node.layer) not in made:
                made[id(node.layer)] = node.recast(dtype)
        return Graph(tuple(replace(node, layer=made[id(node.layer)]) for node in self.nodes), self.output)

    def flat_config(self) -> dict:
        """The same network, for inference in float32, as the configuration of a flat functional Keras model: layers `node0`, `node1`, ….

        Initialisers, regularisers and constraints are left out: the weights travel separately (`flat_weights`).

        Raises:
            WelError: for a layer that cannot be rebuilt from a configuration: not Keras's own, a bare TensorFlow operation,
                or called with more than its inputs.
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
        """The weights of `flat_config`'s layers as they are now, keyed `node3/0` in the order of `get_weights`.

        Raises:
            WelError: when one of them is not finite.
        """
        return dict(self.each_weight())

    def each_weight(self) -> Iterator[tuple[str, np.ndarray]]:
        """`flat_weights`, with those of one layer in memory at a time."""
        for position, node in enumerate(self.nodes):
            yield from ((f"node{position}/{number}", array) for number, array in enumerate(node.weights()))

    def _layer_config(self, position: int, node: Node) -> dict:
        name = f"node{position}"
        inbound = [[[self.flat_name(source), 0, 0, {}] for source in node.inputs]] if node.inputs else []
        if position == 0:
            kind, config = "InputLayer", {"batch_input_shape": [None, *node.shape]}
        elif node.kind in AUGMENTATIONS:  # Keras calls them as in training where nobody tells it otherwise
            kind, config = "Activation", {"activation": "linear"}
        else:
            kind, config = node.kind, _plain_config(node)
        return {"class_name": kind, "name": name, "config": {**config, "name": name, "dtype": "float32"}, "inbound_nodes": inbound}


def build_graph(model) -> Graph:
    """Reads the layer graph of a functional or Sequential Keras model with one input and one output.

    Raises:
        WelError: when the model (or one inside it) is subclassed or not built, has several inputs or outputs,
            a layer with several outputs, or a shape that is not fixed.
    """
    if not is_model(model):
        raise invalid("model", type(model).__name__, "a Keras model")
    _check(model)
    walker = _Walker()
    source = walker.add_input(model)
    (output,) = walker.walk(model, [source], prefix="")
    return Graph(nodes=tuple(_leading_to(output, list(walker.nodes.values()))), output=output)


def _check(model) -> None:
    _check_listed(model)
    for kind, tensors in (("input", model.inputs), ("output", model.outputs)):
        if len(tensors) != 1:
            raise WelError(f"Invalid value for `model`: '{model.name}' has {len(tensors)} {kind}s. Expected one {kind}.")
    if any(size is None for size in model.inputs[0].shape[1:]):
        raise WelError(
            f"Invalid value for `model`: '{model.name}' takes inputs of shape {tuple(model.inputs[0].shape[1:])}. "
            "Expected a fixed input shape."
        )


def _check_listed(model) -> None:
    if not keras_of(model).is_listed(model):
        raise WelError(
            f"Invalid value for `model`: '{model.name}' is a subclassed or unbuilt model whose layers cannot be listed. "
            "Expected a functional model, or a Sequential model with a known input shape."
        )


class _Walker:
    """Collects nodes while it follows a model's calls; tensors are known by id, as Keras itself does it."""

    def __init__(self):
        self.nodes: dict[str, Node] = {}

    def add_input(self, model) -> str:
        tensor = model.inputs[0]
        layer = keras_of(model).source(tensor)
        return self._add(Node(layer.name, layer, (), tuple(tensor.shape[1:])))

    def walk(self, model, sources: list[str], prefix: str) -> list[str]:
        """Follows `model`, whose inputs come from the nodes `sources`; returns the nodes of its outputs."""
        made = {id(tensor): source for tensor, source in zip(model.inputs, sources)}
        for call in keras_of(model).calls(model):
            outputs = self._follow(call, made, prefix)
            made.update(zip((id(tensor) for tensor in call.outputs), outputs))
        return [made[id(tensor)] for tensor in model.outputs]

    def _follow(self, call: Call, made: dict[int, str], prefix: str) -> list[str]:
        name = prefix + call.layer.name
        if is_model(call.layer):
            return self.walk(call.layer, _model_inputs(call, made), prefix=name + "/")
        if len(call.outputs) != 1:
            raise WelError(f"Invalid value for `model`: layer '{name}' has {len(call.outputs)} outputs. Expected layers with one output.")
        _check_precise(name, call.layer)
        shape = tuple(call.outputs[0].shape[1:])
        call, tensors = layer_call(call)
        inputs = tuple(made[id(tensor)] for tensor in tensors)
        return [self._add(Node(name, call.layer, inputs, shape, call))]

    def _add(self, node: Node) -> str:
        names = (node.name if number == 1 else f"{node.name}#{number}" for number in count(1))
        name = next(name for name in names if name not in self.nodes)
        self.nodes[name] = replace(node, name=name, shape=self._fixed_shape(node))
        return name

    def _fixed_shape(self, node: Node) -> tuple[int, ...]:
        """The output's shape; a nested model that takes any size has it only for the size that comes in."""
        if None not in node.shape:
            return node.shape
        import tensorflow as tf

        inputs = [tf.TensorSpec((None, *self.nodes[source].shape)) for source in node.inputs]
        try:
            shape = tuple(tf.function(node.apply, autograph=False).get_concrete_function(inputs).output_shapes[1:])
        except Exception:  # an operation on a tensor's shape, say, which is no layer output at all
            shape = node.shape
        if None in shape:
            raise WelError(f"Invalid value for `model`: layer '{node.name}' has outputs of shape {shape}. Expected a fixed shape.")
        return shape


def _check_precise(name: str, layer: Any) -> None:
    """Raises WelError for a layer of Keras 3 that computes with whole numbers, which have no gradient."""
    quantized = getattr(getattr(layer, "dtype_policy", None), "quantization_mode", None)
    if quantized:
        expected = "Expected the model that was quantized"
        raise WelError(f"Invalid value for `model`: layer '{name}' is quantized ({quantized}), and has no gradient. {expected}.")


def _model_inputs(call: Call, made: dict[int, str]) -> list[str]:
    """The nodes that go into a nested model, in the order of the model's own inputs."""
    _check_listed(call.layer)
    tensors = keras_of(call.layer).inputs_of_nested(call)
    if any(id(tensor) not in made for tensor in tensors):
        raise WelError(f"Invalid value for `model`: '{call.layer.name}' inside it is called on a constant. Expected layers' outputs.")
    return [made[id(tensor)] for tensor in tensors]


def _leading_to(output: str, nodes: list[Node]) -> list[Node]:
    wanted = {output}
    for node in reversed(nodes):
        if node.name in wanted:
            wanted.update(node.inputs)
    return [node for node in nodes if node.name in wanted]


def _plain_config(node: Node) -> dict:
    _check_plain(node)
    try:
        config = _without_training(json.loads(json.dumps(_config_of_keras2(node), default=private("get_json_type"))))
        getattr(keras2().layers, type(node.layer).__name__).from_config(config)
    except WelError:
        raise
    except Exception as error:  # whatever a layer raises for a function of the user's in its configuration
        raise WelError(f"Layer '{node.name}' cannot be rebuilt from its configuration. Expected Keras's own activations.") from error
    return config


def _config_of_keras2(node: Node) -> dict:
    if not is_of_3(node.layer):
        return node.layer.get_config()
    try:
        return layer_in_keras2(keras3().saving.serialize_keras_object(node.layer))
    except WelError as error:
        message = f"Layer '{node.name}' ({node.kind}) has no equal in Keras 2, in which a wrapped backend computes"
        raise WelError(f"{message}. Expected a layer that both have.") from error


def _without_training(config: dict) -> dict:
    """A layer's configuration without its input's shape, initialisers, regularisers and constraints."""
    plain = {key: value for key, value in config.items() if key != "batch_input_shape"}
    for key in plain:
        if key.endswith("_initializer"):
            plain[key] = "zeros"
        elif key.endswith(("_regularizer", "_constraint")):
            plain[key] = None
    return plain


def _check_plain(node: Node) -> None:
    """Raises WelError unless a flat model can repeat the call: a layer of Keras's own, on its inputs and nothing else."""
    if type(node.layer).__name__ in OPERATIONS or is_operation(node.layer):
        raise WelError(f"Layer '{node.name}' is a bare operation. Expected Keras layers only for a wrapped backend.")
    if not is_own(node.layer):
        raise WelError(f"Layer '{node.name}' is of the class {node.kind}, not one of Keras's own, which a wrapped backend cannot rebuild.")
    if not node.call.is_plain():
        raise WelError(f"Layer '{node.name}' ({node.kind}) is called with more than its inputs, which a wrapped backend cannot repeat.")
