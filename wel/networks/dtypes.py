"""A layer that computes in another number type."""

from __future__ import annotations

from typing import Any

from wel.errors import WelError
from wel.keras.call import Call
from wel.keras.either import keras_of
from wel.keras.three import is_operation


def recast(layer: Any, call: Call | None, dtype: str) -> Any:
    """A copy of a layer, with its weights of now, that computes in `dtype`; a bare operation of Keras 3 computes in what comes in.

    Args:
        layer: of either Keras.
        call: one of its calls, None for an input layer.
        dtype: such as "float64".

    Raises:
        WelError: when its configuration does not rebuild it.
    """
    if is_operation(layer):
        return layer
    try:
        twin = type(layer).from_config(_in_dtype(layer.get_config(), dtype))
        if call is not None:
            args, kwargs = call.given([_shown(tensor, dtype, keras_of(layer).module()) for tensor in call.tensors])
            twin(*args, **kwargs)
    except Exception as error:  # whatever a layer raises for a configuration that does not suffice
        expected = "Expected layers that their configuration rebuilds"
        raise WelError(f"Layer '{layer.name}' ({type(layer).__name__}) cannot be rebuilt to compute in {dtype}. {expected}.") from error
    keras_of(twin).set_weights(twin, layer.get_weights())
    return twin


def _in_dtype(config: Any, dtype: str) -> Any:
    """A configuration in which every layer computes in `dtype`, those inside it too; what has whole numbers keeps them."""
    if isinstance(config, dict):
        return {key: dtype if key == "dtype" and _is_float(value) else _in_dtype(value, dtype) for key, value in config.items()}
    return [_in_dtype(value, dtype) for value in config] if isinstance(config, list) else config


def _is_float(policy: Any) -> bool:
    name = policy["config"]["name"] if isinstance(policy, dict) else policy
    return isinstance(name, str) and "float" in name


def _shown(tensor: Any, dtype: str, keras: Any) -> Any:
    import tensorflow as tf

    own = tf.as_dtype(tensor.dtype)
    return keras.Input(batch_shape=tuple(tensor.shape), dtype=dtype if own.is_floating else own.name)
