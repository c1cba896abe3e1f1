"""What a model ends in: which of its outputs, and its logits, without the softmax or sigmoid at the end."""

from __future__ import annotations

import copy
from typing import Any, Mapping, Sequence

from wel.errors import WelError, invalid, one_of

SQUASHING = ("softmax", "log_softmax", "sigmoid")
OPERATIONS = tuple(f"{group}.{name}" for group in ("nn", "math") for name in SQUASHING)


def with_output(model: Any, output: str | None) -> Any:
    """The model itself when it has one output, else the part of it that leads to the output that is asked for, with the same layers.

    Args:
        model: a Keras model; what has no list of outputs is handed on.
        output: name of an output or of the layer that it comes from, or its number, from 0; None for the only output.

    Raises:
        WelError: when there is no such output, or none is named and there are several.
    """
    if not getattr(model, "_is_graph_network", False) or (len(model.outputs) == 1 and output is None):
        return model
    # the name that Keras gives an output comes before the layer that it comes from, and both before its number
    known = {str(place): place for place in reversed(range(len(model.outputs)))}
    known.update((tensor._keras_history.layer.name, place) for place, tensor in reversed(list(enumerate(model.outputs))))
    known.update((name, place) for place, name in enumerate(model.output_names))
    if str(output) not in known:
        raise invalid("output", output, f"{one_of(model.output_names)}, the outputs of '{model.name}'")
    if len(model.outputs) == 1:
        return model
    from tensorflow import keras

    return keras.Model(model.inputs, model.outputs[known[str(output)]], name=model.name)


def one_vector(model: Any, index: str | Sequence[int] | None) -> Any:
    """The model itself, or with layers behind it that make one vector of logits of an output (*places, classes), such as a segmentation's.

    Args:
        model: a Keras model that ends in logits.
        index: a place, one whole number per axis, as numbers or as text with commas; "mean" for the mean over all places; None for the
            output as it is.

    Raises:
        WelError: when the output has no such place, or is one vector already.
    """
    if index is None:
        return model
    from tensorflow.keras import Model, layers

    (shape,) = [tuple(tensor.shape[1:]) for tensor in model.outputs]
    places = shape[:-1]
    if not 1 <= len(places) <= 3 or None in shape:
        raise invalid(
            "output_index", index, f"None: the output of '{model.name}' has shape {shape}, not (*places, classes) with 1 to 3 axes"
        )
    if index == "mean":
        pooling = getattr(layers, f"GlobalAveragePooling{len(places)}D")(name="output_mean")
        return Model(model.inputs, pooling(model.outputs[0]), name=model.name)
    place = _place(index, places)
    cropping = [(first, size - 1 - first) for first, size in zip(place, places)]
    at_place = getattr(layers, f"Cropping{len(places)}D")(cropping[0] if len(places) == 1 else tuple(cropping), name="output_place")
    return Model(model.inputs, layers.Flatten(name="output_vector")(at_place(model.outputs[0])), name=model.name)


def _place(index: str | Sequence[int], places: tuple[int, ...]) -> list[int]:
    parts = [part.strip() for part in index.split(",")] if isinstance(index, str) else list(map(str, index))
    found = [int(part) if part.isdecimal() else -1 for part in parts]
    if len(found) != len(places) or not all(0 <= one < size for one, size in zip(found, places)):
        most = ", ".join(str(size - 1) for size in places)
        raise invalid("output_index", index, f"'mean', or {len(places)} whole numbers from 0 to {most}, with commas between several")
    return found


def logits_and_activation(model: Any) -> tuple[Any, str | None]:
    """The model itself when it ends in logits, else a copy with the same weights that ends before its softmax or sigmoid, which is named.

    The activation may be part of the last layer, a layer or operation of its own, or lie in a nested model.

    Raises:
        WelError: when the last layer is called elsewhere too, so that the activation cannot be taken off the end alone,
            or the model cannot be rebuilt from its configuration.
    """
    if not getattr(model, "_is_graph_network", False) or len(model.outputs) != 1:
        return model, None
    config = copy.deepcopy(model.get_config())
    activation = _remove_activation(config, output=0)
    if activation is None:
        return model, None
    linear = copied(model, config, {}, "take its last activation off")
    linear.set_weights(model.get_weights())
    return linear, activation


def copied(model: Any, config: dict[str, Any], classes: Mapping[str, type], why: str) -> Any:
    """A model with fresh weights, of a configuration that was made of the one of a live model.

    Args:
        classes: what the configuration names beside the model's own classes.
        why: what it is copied for, for the error.

    Raises:
        WelError: when the configuration does not suffice.
    """
    from keras.src.saving.serialization_lib import SafeModeScope
    from tensorflow import keras

    kind = keras.Sequential if isinstance(model, keras.Sequential) else keras.Model
    try:
        with SafeModeScope(safe_mode=False):  # the functions in it are the live model's own
            return kind.from_config(config, custom_objects={**_classes(model), **classes})
    except Exception as error:  # whatever a layer raises for a configuration that does not suffice to rebuild it
        message = f"Invalid value for `model`: '{model.name}' cannot be copied to {why}."
        raise WelError(f"{message} Expected layers that their configuration rebuilds, or a model that needs no copy.") from error


def _classes(model) -> dict[str, type]:
    return {type(layer).__name__: type(layer) for layer in model._flatten_layers() if layer is not model}


def _remove_activation(config: dict, output: int) -> str | None:
    """Makes the layer that an output comes from linear; names what was removed, None where there was nothing."""
    last, output = _output_layer(config, output)
    found = _remove_activation(last["config"], output) if "layers" in last["config"] else _made_linear(last)
    if found and len(last.get("inbound_nodes", ())) > 1:
        message = f"Invalid value for `model`: its last layer '{last['config']['name']}' is called elsewhere in the model too"
        raise WelError(f"{message}, so that its softmax or sigmoid cannot be taken off. Expected a model that ends in logits.")
    return found


def _output_layer(config: dict, output: int) -> tuple[dict, int]:
    """The configuration of the layer that an output comes from, and which of that layer's outputs it is."""
    import tensorflow as tf

    if "output_layers" not in config:
        return config["layers"][-1], output
    name, _, which = tf.nest.flatten(config["output_layers"])[3 * output : 3 * output + 3]
    return next(layer for layer in config["layers"] if layer["config"]["name"] == name), which


def _made_linear(layer: dict) -> str | None:
    config = layer["config"]
    if layer["class_name"] == "Softmax" or config.get("function") in OPERATIONS:
        activation = config.get("function", "softmax").split(".")[-1]
        config = {"name": config["name"], "dtype": config["dtype"], "activation": "linear"}
        layer.update(module="keras.layers", class_name="Activation", registered_name=None, config=config)
        layer.update(inbound_nodes=[_without_arguments(call) for call in layer.get("inbound_nodes", ())])
        return activation
    activation = _activation_name(config.get("activation"))
    # in a recurrent layer the activation is not what comes last
    if "recurrent_initializer" in config or activation not in SQUASHING:
        return None
    config["activation"] = "linear"
    return activation


def _without_arguments(call: list) -> list:
    source = call[0] if isinstance(call[0], list) else call
    return [[*source[:3], {}]]


def _activation_name(activation: Any) -> str | None:
    """Name of an activation: of a string, of a function's configuration, or of a layer's that serves as activation."""
    if isinstance(activation, dict):
        return "softmax" if activation.get("class_name") == "Softmax" else activation.get("config")
    return activation
