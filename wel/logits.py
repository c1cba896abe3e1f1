"""Taking the softmax or sigmoid off a model's end."""
from __future__ import annotations

import copy
from typing import Any

from wel.errors import WelError

SQUASHING = ("softmax", "log_softmax", "sigmoid")
OPERATIONS = tuple(f"{group}.{name}" for group in ("nn", "math") for name in SQUASHING)


def without_final_activation(model: Any) -> Any:
    """The model itself when it ends in logits, else a copy with the same weights that ends before its softmax or sigmoid.

    The activation may be part of the last layer, a layer or operation of its own, or lie in a nested model.

    Raises:
        WelError: when the last layer is called elsewhere too, so that the activation cannot be taken off the end alone,
            or the model cannot be rebuilt from its configuration.
    """
    if not getattr(model, "_is_graph_network", False) or len(model.outputs) != 1:
        return model
    from tensorflow import keras

    config = copy.deepcopy(model.get_config())
    if not _remove_activation(config, output=0):
        return model
    kind = keras.Sequential if isinstance(model, keras.Sequential) else keras.Model
    try:
        linear = kind.from_config(config, custom_objects=_classes(model))
    except Exception as error:  # whatever a layer raises for a configuration that does not suffice to rebuild it
        message = f"Invalid value for `model`: '{model.name}' cannot be copied to take its last activation off."
        raise WelError(f"{message} Expected layers that their configuration rebuilds, or a model that ends in logits.") from error
    linear.set_weights(model.get_weights())
    return linear


def _classes(model) -> dict[str, type]:
    return {type(layer).__name__: type(layer) for layer in model._flatten_layers() if layer is not model}


def _remove_activation(config: dict, output: int) -> bool:
    """Makes the layer that an output comes from linear; tells whether there was something to remove."""
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


def _made_linear(layer: dict) -> bool:
    config = layer["config"]
    if layer["class_name"] == "Softmax" or config.get("function") in OPERATIONS:
        config = {"name": config["name"], "dtype": config["dtype"], "activation": "linear"}
        layer.update(module="keras.layers", class_name="Activation", registered_name=None, config=config)
        layer.update(inbound_nodes=[_without_arguments(call) for call in layer.get("inbound_nodes", ())])
        return True
    # in a recurrent layer the activation is not what comes last
    if "recurrent_initializer" in config or _activation_name(config.get("activation")) not in SQUASHING:
        return False
    config["activation"] = "linear"
    return True


def _without_arguments(call: list) -> list:
    source = call[0] if isinstance(call[0], list) else call
    return [[*source[:3], {}]]


def _activation_name(activation: Any) -> str | None:
    """Name of an activation: of a string, of a function's configuration, or of a layer's that serves as activation."""
    if isinstance(activation, dict):
        return "softmax" if activation.get("class_name") == "Softmax" else activation.get("config")
    return activation
