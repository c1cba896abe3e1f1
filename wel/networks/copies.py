"""Copies of models, which have the same weights and are nobody else's, and models of the same calls on other inputs."""

from __future__ import annotations

from typing import Any, Mapping, Sequence

from wel.errors import WelError
from wel.keras.call import made_again
from wel.keras.either import keras_of


def copied(model: Any, why: str) -> Any:
    """A model with layers of its own and the weights that `model` has now.

    Args:
        model: functional or Sequential, of either Keras.
        why: what it is copied for, for the error.

    Raises:
        WelError: when its configuration does not suffice.
    """
    try:
        copy = keras_of(model).copied(model)
    except Exception as error:  # whatever a layer raises for a configuration that does not suffice to rebuild it
        message = f"Invalid value for `model`: '{model.name}' cannot be copied to {why}."
        raise WelError(f"{message} Expected layers that their configuration rebuilds, or a model that needs no copy.") from error
    keras_of(copy).set_weights(copy, model.get_weights())
    return copy


def functional(model: Any, outputs: Sequence[Any], inputs: Sequence[Any] | None = None) -> Any:
    """A functional model of that name, from its own inputs or others to other outputs; of one tensor it takes the tensor, not a list."""
    ends = [several[0] if len(several) == 1 else list(several) for several in (model.inputs if inputs is None else inputs, outputs)]
    return keras_of(model).module().Model(*ends, name=model.name)


def outputs_for(model: Any, inputs: Mapping[int, Any]) -> list[Any]:
    """A model's outputs, its layers called anew, with other Keras tensors in place of its inputs.

    Args:
        inputs: id of a model's input -> what takes its place.
    """
    keras = keras_of(model)
    made = made_again(keras.calls(model), inputs, lambda layer: layer, keras.flat)
    return [made[id(tensor)] for tensor in model.outputs]
