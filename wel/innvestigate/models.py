"""Models as analyzers take them: without their softmax, and so that nothing else is taken off."""

from __future__ import annotations

from typing import Any

from wel.errors import invalid
from wel.keras.either import is_listed, keras_of
from wel.networks.copies import functional
from wel.networks.logits import before_activation, logits_and_activation


def model_wo_softmax(model: Any) -> Any:
    """A copy of a Keras model that ends before its softmax, with the weights that the model has now.

    innvestigate's shares its weights with the model; of a model that is trained further another copy is needed.

    Raises:
        WelError: when it does not end in a softmax, or cannot be copied.
    """
    logits, activation = logits_and_activation(_listed(model))
    if activation != "softmax":
        raise invalid("model", f"'{model.name}', which ends in {activation or 'no softmax'}", "a model that ends in a softmax")
    return logits


def model_wo_output_activation(model: Any) -> Any:
    """The same for a model that ends in a softmax or a sigmoid.

    Raises:
        WelError: as for `model_wo_softmax`.
    """
    logits, activation = logits_and_activation(_listed(model))
    if activation is None:
        raise invalid("model", f"'{model.name}', which ends in neither", "a model that ends in a softmax or sigmoid")
    return logits


def pre_softmax_tensors(Xs: Any, should_find_softmax: bool = True) -> list[Any]:
    """The outputs of a model, Keras tensors, as they are before their softmax.

    Args:
        Xs: a tensor, or a list of them.
        should_find_softmax: whether one without a softmax is refused; else it is given back as it is.

    Raises:
        WelError: for a tensor that comes from no softmax.
    """
    tensors = Xs if isinstance(Xs, list) else [Xs]
    found = [before_activation(tensor) for tensor in tensors]
    if should_find_softmax and any(activation != "softmax" for _, activation in found):
        raise invalid("Xs", Xs, "outputs of a softmax")
    return [logits if activation == "softmax" else tensor for tensor, (logits, activation) in zip(tensors, found)]


def as_it_ends(model: Any) -> Any:
    """The model with its own layers and one vector of outputs: the flattened output, its sigmoid or softmax included."""
    layers = keras_of(_listed(model)).module().layers
    if len(model.outputs) != 1:
        raise invalid("model", f"'{model.name}' with {len(model.outputs)} outputs", "a model with one output")
    if len(model.inputs) != 1:
        one = "a model with one input, such as `wel.load(model, input=…, fixed=…).model`, in which the others are held"
        raise invalid("model", f"'{model.name}' with {len(model.inputs)} inputs", one)
    (end,) = model.outputs
    flat = layers.Flatten(name="wel_flat")(end) if len(end.shape) > 2 else end
    return functional(model, [layers.Activation("linear", name="wel_end")(flat)])


def _listed(model: Any) -> Any:
    if not is_listed(model):
        raise invalid("model", model, "a functional or Sequential Keras model that has been built")
    return model
