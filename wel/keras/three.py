"""Keras 3 on TensorFlow: how its models, calls and layers are read, beside Keras 2 in the same process.

Private attributes of its objects that wel reads: `_functional` of Sequentials; `_nodes_by_depth`, `_inputs_struct` and `_outputs_struct`
of functional models; `_keras_history` of tensors; `_trainable_variables`, `_non_trainable_variables` and
`_flatten_layers` of layers.
"""

from __future__ import annotations

import inspect
import sys
from functools import cache
from importlib import import_module
from typing import Any, Iterator, Sequence

from wel.errors import WelError
from wel.keras.call import Call, made_again

SUFFIX = ".keras"  # of a whole model's file


@cache
def keras3() -> Any | None:
    """The module, None where Keras 3 is not installed or does not run on TensorFlow."""
    try:
        module = import_module("keras")
    except ImportError:
        return None
    return module if _is_3(module) and module.config.backend() == "tensorflow" else None


def _is_3(module: Any) -> bool:
    return int(module.__version__.split(".")[0]) >= 3


def check_backend(model: Any) -> None:
    """Raises WelError for a live model of Keras 3 that does not run on TensorFlow."""
    module = sys.modules.get("keras")
    if module is None or not _is_3(module) or not isinstance(model, module.Layer) or keras3():
        return
    message = (
        f"Invalid value for `model`: '{model.name}' runs on Keras 3's {module.config.backend()} backend, and wel computes in TensorFlow"
    )
    raise WelError(f"{message}. Expected its .keras file, which wel reads into TensorFlow, or KERAS_BACKEND=tensorflow.")


def is_of_3(layer: Any) -> bool:
    """Whether it is a layer, a model or a bare operation of Keras 3."""
    # nobody has one who has not imported Keras
    return "keras" in sys.modules and keras3() is not None and isinstance(layer, keras3().Operation)


def module() -> Any:
    """The module itself, where it is known to be there."""
    return keras3()


def is_model(layer: Any) -> bool:
    """Whether it is a model of Keras 3."""
    return is_of_3(layer) and isinstance(layer, keras3().Model)


def is_operation(layer: Any) -> bool:
    """Whether it is a bare operation of `keras.ops`, no layer."""
    return is_of_3(layer) and not isinstance(layer, keras3().Layer)


def is_listed(model: Any) -> bool:
    """Whether the calls of its layers are known: those of functional models and of Sequentials that know their input."""
    return hasattr(_functional(model), "_nodes_by_depth")


def _functional(model: Any) -> Any:
    """The functional model that a Sequential is; others as they are."""
    return model._functional if isinstance(model, keras3().Sequential) else model


def calls(model: Any) -> Iterator[Call]:
    """The calls of a model's layers in the order in which Keras executes them, its input layers left out."""
    by_depth = _functional(model)._nodes_by_depth
    for depth in sorted(by_depth, reverse=True):
        yield from (_call(node) for node in by_depth[depth] if node.operation is not None and not node.is_input)


def _call(node: Any) -> Call:
    return Call(node.operation, tuple(node.arguments.args), node.arguments.kwargs, tuple(node.outputs), is_tensor, _at_inference)


def is_tensor(value: Any) -> bool:
    """Whether it is a symbolic tensor of Keras 3."""
    return isinstance(value, keras3().KerasTensor)


def _at_inference(layer: Any, args: tuple, kwargs: dict) -> tuple[tuple, dict]:
    names = list(inspect.signature(layer.call).parameters)
    if "training" not in names:
        return args, kwargs
    place = names.index("training")
    if place < len(args):
        return (*args[:place], False, *args[place + 1 :]), kwargs
    return args, {**kwargs, "training": False}


def source(tensor: Any) -> Any:
    """The layer or operation that a Keras tensor comes from."""
    return tensor._keras_history.operation


def is_plain(model: Any) -> bool:
    """Whether a model of one input and one output takes a tensor and gives one, neither a list nor a dictionary."""
    functional = _functional(model)
    return is_tensor(functional._inputs_struct) and is_tensor(functional._outputs_struct)


def input_names(model: Any) -> list[str]:
    """The names of a model's inputs."""
    return [tensor.name for tensor in model.inputs]


def output_names(model: Any) -> list[str]:
    """What Keras calls a model's outputs: the keys of a dictionary of them, else the layers that they come from."""
    struct = _functional(model)._outputs_struct
    return list(map(str, sorted(struct))) if isinstance(struct, dict) else [source(tensor).name for tensor in model.outputs]


def inputs_of_nested(call: Call) -> list[Any]:
    """The Keras tensors that a call hands to a model, in the order of the model's own inputs."""
    import tensorflow as tf

    model = _functional(call.layer)
    given, expected = (call.args or tuple(call.kwargs.values()))[0], model._inputs_struct
    if isinstance(given, dict) and not isinstance(expected, dict):
        return [given[name] for name in input_names(model)]
    return tf.nest.flatten(given)


def flat(outputs: Any) -> list[Any]:
    """The tensors that a call has given, in the order of `Call.outputs`."""
    return keras3().tree.flatten(outputs)


def copied(model: Any) -> Any:
    """A functional model of the same calls, with layers of the same configurations and fresh weights.

    `keras.models.clone_model` copies nested models in later versions of Keras 3 only, and no layer that its configuration does not rebuild.
    """
    inputs = [keras3().Input(batch_shape=tensor.shape, dtype=tensor.dtype, name=tensor.name) for tensor in model.inputs]
    twins = {id(layer): _own_copy(layer) for layer in {id(call.layer): call.layer for call in calls(model)}.values()}
    made = made_again(calls(model), dict(zip(map(id, model.inputs), inputs)), lambda layer: twins[id(layer)], flat)
    outputs = [made[id(tensor)] for tensor in model.outputs]
    return keras3().Model(_packed(model, "_inputs_struct", inputs), _packed(model, "_outputs_struct", outputs), name=model.name)


def _packed(model: Any, struct: str, tensors: list[Any]) -> Any:
    return keras3().tree.pack_sequence_as(getattr(_functional(model), struct), tensors)


def _own_copy(layer: Any) -> Any:
    """A layer of the same configuration; one without variables, such as a Lambda that only its own function rebuilds, is shared."""
    if is_model(layer) and is_listed(layer):
        return copied(layer)
    return type(layer).from_config(layer.get_config()) if getattr(layer, "variables", ()) else layer


def set_weights(layer: Any, arrays: Sequence[Any]) -> None:
    """Gives a layer or a model weights; a Normalization reckons with statistics that it takes from them only when it is told."""
    layer.set_weights(arrays)
    for inner in layers_inside(layer):
        if hasattr(inner, "finalize_state"):
            inner.finalize_state()


def layers_inside(layer: Any) -> list[Any]:
    """A layer, and the layers inside it."""
    return list(layer._flatten_layers())


def own_variables(layer: Any) -> list[Any]:
    """The variables of a layer itself, without those of layers inside it, in the order of files."""
    return layer._trainable_variables + layer._non_trainable_variables
