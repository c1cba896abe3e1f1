"""Keras 2: in TensorFlow up to 2.15, beside Keras 3 the package tf_keras; and the names of it that are private.

Networks of the zoo and files of Keras 1 and 2 are built with it, whatever else is installed.

Private attributes of its objects that wel reads: `_nodes_by_depth`, `_is_graph_network`, `_flatten_to_reference_inputs`,
`_nested_inputs` and `_nested_outputs` of models; `_keras_history` of tensors; `_call_spec`, `_trainable_weights`,
`_non_trainable_weights` and `_flatten_layers` of layers.
"""

from __future__ import annotations

from functools import cache
from importlib import import_module
from typing import Any, Iterator, Sequence

from wel.errors import WelError
from wel.keras.call import Call

SUFFIX = ".h5"  # of a whole model's file
# name -> the module below `keras.src`, or `tf_keras.src`, that has it; the same in Keras 2.14, 2.15 and tf_keras 2.16 to 2.21
PRIVATE = {
    "SafeModeScope": "saving.serialization_lib",
    "preprocess_weights_for_loading": "saving.legacy.hdf5_format",
    "get_json_type": "saving.legacy.saved_model.json_utils",
    "initializers": "",
    "serialization": "layers",
    "activations": "",
    "populate_dict_with_module_objects": "utils.generic_utils",
    "_SEED_GENERATOR": "backend",
    "local_conv": "backend",
    "local_conv_matmul": "layers.locally_connected.locally_connected_utils",
    "resnet": "applications",
    "vgg16": "applications",
}


@cache
def keras2() -> Any:
    """The module: `tensorflow.keras`, or `tf_keras` where that is Keras 3.

    Raises:
        WelError: when TensorFlow brings Keras 3 and tf_keras is missing.
    """
    import tensorflow as tf

    if _version(tf.__version__) < (2, 16):
        return import_module("tensorflow.keras")
    try:
        return import_module("tf_keras")
    except ImportError as error:
        message = f"Keras 2, with which wel builds its networks, is missing: TensorFlow {tf.__version__} brings Keras 3"
        version = tf.__version__.rpartition(".")[0]
        raise WelError(f"{message}. Expected the package tf_keras: pip install 'tf_keras~={version}.0'.") from error


def root() -> str:
    """The package that Keras 2 is."""
    return "tf_keras" if keras2().__name__ == "tf_keras" else "keras"


def private(name: str) -> Any:
    """Something of Keras 2 that has no public name, of those in `PRIVATE`.

    Raises:
        WelError: when this version of Keras 2 has it no more.
    """
    path = ".".join(filter(None, (root(), "src", PRIVATE[name])))
    try:
        return getattr(import_module(path), name, None) or import_module(f"{path}.{name}")
    except ImportError as error:
        message = f"Keras {import_module(root()).__version__} has no {path}.{name}, which wel needs"
        raise WelError(f"{message}. Expected TensorFlow 2.14 or 2.15, or tf_keras 2.16 to 2.21.") from error


def _version(text: str) -> tuple[int, int]:
    major, minor = text.split(".")[:2]
    return int(major), int(minor)


def module() -> Any:
    """The module itself, where it is known to be there."""
    return keras2()


def is_model(layer: Any) -> bool:
    """Whether it is a model of Keras 2."""
    return isinstance(layer, keras2().Model)


def is_listed(model: Any) -> bool:
    """Whether the calls of its layers are known: those of functional models and of Sequentials that know their input."""
    return bool(getattr(model, "_is_graph_network", False))


def calls(model: Any) -> Iterator[Call]:
    """The calls of a model's layers in the order in which Keras executes them, its input layers left out."""
    for depth in sorted(model._nodes_by_depth, reverse=True):
        yield from (_call(node) for node in model._nodes_by_depth[depth] if not node.is_input)


def last_call(layer: Any) -> Call:
    """The latest call of a layer."""
    return _call(layer.inbound_nodes[-1])


def _call(node: Any) -> Call:
    import tensorflow as tf

    outputs = tuple(tf.nest.flatten(node.outputs))
    return Call(node.layer, tuple(node.call_args), node.call_kwargs, outputs, is_tensor, _at_inference)


def is_tensor(value: Any) -> bool:
    """Whether it is a symbolic tensor of Keras 2."""
    return bool(keras2().backend.is_keras_tensor(value)) if hasattr(value, "_keras_history") else False


def _at_inference(layer: Any, args: tuple, kwargs: dict) -> tuple[tuple, dict]:
    spec = layer._call_spec
    return spec.set_arg_value("training", False, args, kwargs, inputs_in_args=True) if spec.expects_training_arg else (args, kwargs)


def source(tensor: Any) -> Any:
    """The layer that a Keras tensor comes from."""
    return tensor._keras_history.layer


def is_plain(model: Any) -> bool:
    """Whether a model of one input and one output takes a tensor and gives one, neither a list nor a dictionary."""
    return is_tensor(model._nested_inputs) and is_tensor(model._nested_outputs)


def input_names(model: Any) -> list[str]:
    """The names of a model's inputs."""
    return list(model.input_names)


def output_names(model: Any) -> list[str]:
    """What Keras calls a model's outputs."""
    return list(model.output_names)


def inputs_of_nested(call: Call) -> list[Any]:
    """The Keras tensors that a call hands to a model, in the order of the model's own inputs."""
    model = call.layer
    given, _, _ = model._call_spec.split_out_first_arg(call.args, dict(call.kwargs))
    return model._flatten_to_reference_inputs(given)


def flat(outputs: Any) -> list[Any]:
    """The tensors that a call has given, in the order of `Call.outputs`."""
    import tensorflow as tf

    return tf.nest.flatten(outputs)


def copied(model: Any) -> Any:
    """A model of the same configuration, with fresh weights."""
    kind = keras2().Sequential if isinstance(model, keras2().Sequential) else keras2().Model
    classes = {type(layer).__name__: type(layer) for layer in layers_inside(model) if layer is not model}
    with private("SafeModeScope")(safe_mode=False):  # the functions in it are the live model's own
        return kind.from_config(model.get_config(), custom_objects=classes)


def set_weights(layer: Any, arrays: Sequence[Any]) -> None:
    """Gives a layer or a model weights."""
    layer.set_weights(arrays)


def layers_inside(layer: Any) -> list[Any]:
    """A layer, and the layers inside it."""
    return list(layer._flatten_layers())


def own_variables(layer: Any) -> list[Any]:
    """The variables of a layer itself, without those of layers inside it, in the order of files."""
    return layer._trainable_weights + layer._non_trainable_weights
