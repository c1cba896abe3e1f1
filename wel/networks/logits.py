"""What a model ends in: which of its outputs, and its logits, without the softmax or sigmoid at the end."""

from __future__ import annotations

from typing import Any, Sequence

from wel.errors import WelError, invalid, one_of
from wel.keras.call import Call
from wel.keras.either import call_of, is_listed, is_model, keras_of
from wel.networks.copies import copied, functional
from wel.networks.operators import function_called

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
    if not is_listed(model) or (len(model.outputs) == 1 and output is None):
        return model
    keras = keras_of(model)
    # the name that Keras gives an output comes before the layer that it comes from, and both before its number
    known = {str(place): place for place in reversed(range(len(model.outputs)))}
    known.update((keras.source(tensor).name, place) for place, tensor in reversed(list(enumerate(model.outputs))))
    known.update((name, place) for place, name in enumerate(keras.output_names(model)))
    if str(output) not in known:
        raise invalid("output", output, f"{one_of(keras.output_names(model))}, the outputs of '{model.name}'")
    if len(model.outputs) == 1:
        return model
    return functional(model, [model.outputs[known[str(output)]]])


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
    layers = keras_of(model).module().layers
    (shape,) = [tuple(tensor.shape[1:]) for tensor in model.outputs]
    places = shape[:-1]
    if not 1 <= len(places) <= 3 or None in shape:
        raise invalid(
            "output_index", index, f"None: the output of '{model.name}' has shape {shape}, not (*places, classes) with 1 to 3 axes"
        )
    if index == "mean":
        pooling = getattr(layers, f"GlobalAveragePooling{len(places)}D")(name="output_mean")
        return functional(model, [pooling(model.outputs[0])])
    place = _chosen(index, places)
    cropping = [(first, size - 1 - first) for first, size in zip(place, places)]
    at_place = getattr(layers, f"Cropping{len(places)}D")(cropping[0] if len(places) == 1 else tuple(cropping), name="output_place")
    return functional(model, [layers.Flatten(name="output_vector")(at_place(model.outputs[0]))])


def _chosen(index: str | Sequence[int], places: tuple[int, ...]) -> list[int]:
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
    if not is_listed(model) or len(model.outputs) != 1:
        return model, None
    activation = _last_activation(model, 0)
    if activation is None:
        return functional(model, model.outputs) if len(model.inputs) == 1 and not keras_of(model).is_plain(model) else model, None
    return _linear(copied(model, "take its last activation off"), 0), activation


def before_activation(tensor: Any) -> tuple[Any, str | None]:
    """A Keras tensor as it is before the softmax or sigmoid that it comes from, which is named; itself and None without one."""
    call = call_of(tensor)
    activation = None if call is None else _activation_of(call)
    return (tensor, None) if activation is None else (_without_activation(call, keras_of(call.layer).module()), activation)


def _last_call(model: Any, output: int) -> Call | None:
    """The call that an output comes from; None where the output is an input."""
    return next((call for call in keras_of(model).calls(model) if any(one is model.outputs[output] for one in call.outputs)), None)


def _place(call: Call, model: Any, output: int) -> int:
    """Which of a call's outputs is an output of the model."""
    return next(place for place, one in enumerate(call.outputs) if one is model.outputs[output])


def _last_activation(model: Any, output: int) -> str | None:
    """Name of the softmax or sigmoid that an output comes from, None where there is none."""
    call = _last_call(model, output)
    if call is None:
        return None
    found = _last_activation(call.layer, _place(call, model, output)) if _is_listed_model(call.layer) else _activation_of(call)
    if found and sum(other.layer is call.layer for other in keras_of(model).calls(model)) > 1:
        message = f"Invalid value for `model`: its last layer '{call.layer.name}' is called elsewhere in the model too"
        raise WelError(f"{message}, so that its softmax or sigmoid cannot be taken off. Expected a model that ends in logits.")
    return found


def _is_listed_model(layer: Any) -> bool:
    return is_model(layer) and is_listed(layer)


def _activation_of(call: Call) -> str | None:
    """Name of the softmax or sigmoid that a layer ends in, or that a layer or function is."""
    function = function_called(call)
    if function in OPERATIONS:
        return function.split(".")[-1]
    if type(call.layer).__name__ == "Softmax":
        return "softmax"
    activation = getattr(call.layer, "activation", None)
    name = "softmax" if type(activation).__name__ == "Softmax" else getattr(activation, "__name__", None)
    # in a recurrent layer the activation is not what comes last
    return name if name in SQUASHING and not hasattr(call.layer, "recurrent_initializer") else None


def _linear(model: Any, output: int) -> Any:
    """The model without the activation that an output comes from; it has the other layers of `model`, and their weights."""
    keras, call = keras_of(model), _last_call(model, output)
    if is_model(call.layer):
        layer = _linear(call.layer, _place(call, model, output))
        end = keras.flat(layer(*call.args, **call.kwargs))[_place(call, model, output)]
    else:
        end = _without_activation(call, keras.module())
    outputs = [end if place == output else tensor for place, tensor in enumerate(model.outputs)]
    return functional(model, outputs)


def _without_activation(call: Call, keras: Any) -> Any:
    """What a call gives without its activation."""
    layer = call.layer
    if function_called(call) or type(layer).__name__ == "Softmax":
        return keras.layers.Activation("linear", name=layer.name)(call.tensors[0])
    linear = type(layer).from_config({**layer.get_config(), "activation": "linear"})
    end = linear(*call.args, **call.kwargs)
    linear.set_weights(layer.get_weights())
    return end
