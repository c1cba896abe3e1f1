"""Taking the softmax or sigmoid off a model's end."""
from __future__ import annotations

import copy
from typing import Any

SQUASHING = ("softmax", "sigmoid")


def without_final_activation(model: Any) -> Any:
    """The model itself when it ends in logits, else a copy with the same weights that ends before its softmax or sigmoid.

    The activation may be part of the last layer, a layer of its own, or lie in a nested model.
    """
    if not getattr(model, "_is_graph_network", False):
        return model
    config = copy.deepcopy(model.get_config())
    if not _remove_activation(config):
        return model
    linear = type(model).from_config(config)
    linear.set_weights(model.get_weights())
    return linear


def _remove_activation(config: dict) -> bool:
    """Makes the layer that the output comes from linear; tells whether there was something to remove."""
    last = _output_layer(config)
    inner = last["config"]
    if "layers" in inner:
        return _remove_activation(inner)
    if last["class_name"] == "Softmax":
        last.update(class_name="Activation", config={"name": inner["name"], "dtype": inner["dtype"], "activation": "linear"})
        last.pop("module", None)
        last.pop("registered_name", None)
        return True
    if _activation_name(inner.get("activation")) not in SQUASHING:
        return False
    inner["activation"] = "linear"
    return True


def _activation_name(activation) -> str | None:
    return activation.get("config") if isinstance(activation, dict) else activation


def _output_layer(config: dict) -> dict:
    if "output_layers" not in config:
        return config["layers"][-1]
    name = config["output_layers"][0][0]
    return next(layer for layer in config["layers"] if layer["config"]["name"] == name)
