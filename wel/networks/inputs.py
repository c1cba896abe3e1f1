"""Networks with several inputs: one of them varies, the others are held at values that the user gives."""

from __future__ import annotations

import zipfile
from pathlib import Path
from types import ModuleType
from typing import Any, Mapping

import numpy as np

from wel.errors import WelError, invalid, one_of
from wel.keras.either import is_listed, keras_of
from wel.networks.copies import copied, functional, outputs_for


def one_input(model: Any, name: str | None, fixed: Mapping[str, Any] | str | Path | None) -> Any:
    """The model itself when it has one input, else a copy with the same weights that has the input `name` alone.

    In place of every other input stands a layer that gives its values, the same for every row of a batch. It hands no relevance on.

    Args:
        model: a functional Keras model.
        name: of the input that varies; None for the only one.
        fixed: for every other input one array without the batch dimension, {name: array}, or an .npz file with them.

    Raises:
        WelError: when there is no such input, or an input has no values, or values of another shape.
    """
    if not is_listed(model) or (len(model.inputs) == 1 and name is None and fixed is None):
        return model
    keras = keras_of(model)
    names = keras.input_names(model)
    if len(names) == 1:
        raise invalid("input" if name else "fixed", name or "values", f"None: '{model.name}' has one input, '{names[0]}'")
    if name not in names:
        what = f"`model`: '{model.name}' has {len(names)} inputs" if name is None else f"`input`: {name!r}"
        raise WelError(f"Invalid value for {what}. Expected `input` to name the one that varies, {one_of(names)}, and `fixed` the others.")
    values = _values(dict(zip(names, model.inputs)), name, {} if fixed is None else fixed)
    copy = copied(model, "give its other inputs fixed values")
    inputs = dict(zip(names, copy.inputs))
    kind = fixed_class(keras)
    given = {other: kind(array, name=other, dtype=str(array.dtype))(inputs[name]) for other, array in values.items()}
    outputs = outputs_for(copy, {id(tensor): given.get(other, tensor) for other, tensor in inputs.items()})
    return functional(model, outputs, [inputs[name]])


def _values(inputs: Mapping[str, Any], varied: str, given: Mapping[str, Any] | str | Path) -> dict[str, np.ndarray]:
    import tensorflow as tf

    arrays = given if isinstance(given, Mapping) else _read(Path(given))
    expected = {name: tensor for name, tensor in inputs.items() if name != varied}
    for name in arrays:
        if name not in expected:
            raise invalid("fixed", name, f"values for {one_of(expected)}, the inputs that do not vary")
    for name, tensor in expected.items():
        shape = tuple(tensor.shape[1:])
        if name not in arrays:
            raise invalid("fixed", sorted(arrays), f"values for the input '{name}' too, of shape {shape}")
        array = np.asarray(arrays[name])
        fits = array.ndim == len(shape) and all(size in (None, found) for size, found in zip(shape, array.shape))
        if not fits or array.dtype.kind not in "fiub" or not np.isfinite(array).all():
            message = f"an array of shape {array.shape} and type {array.dtype} for the input '{name}'"
            raise invalid("fixed", message, f"finite numbers of shape {shape}")
    return {name: np.asarray(arrays[name], tf.as_dtype(tensor.dtype).as_numpy_dtype) for name, tensor in expected.items()}


def _read(path: Path) -> dict[str, np.ndarray]:
    try:
        with np.load(path, allow_pickle=False) as arrays:
            return {name: arrays[name] for name in arrays.files}
    except (OSError, ValueError, EOFError, AttributeError, TypeError, zipfile.BadZipFile) as error:
        raise invalid("fixed", str(path), "an .npz file with one array for every other input, by its name") from error


def fixed_class(keras: ModuleType) -> type:
    """The class of what stands in for an input, a layer of that Keras: `wel.keras.two` or `wel.keras.three`."""
    import tensorflow as tf

    class Fixed(keras.module().layers.Layer):
        """Stands in for an input: gives the same values for every row of its own input, the one that varies."""

        def __init__(self, values: Any, **settings: Any):
            super().__init__(**settings)
            self._values = np.asarray(values, self.compute_dtype)

        def call(self, x: Any) -> Any:
            return tf.broadcast_to(tf.constant(self._values), tf.concat([tf.shape(x)[:1], self._values.shape], 0))

        def compute_output_shape(self, shape: Any) -> Any:
            return (shape[0], *self._values.shape)

        def get_config(self) -> dict[str, Any]:
            return {**super().get_config(), "values": self._values.tolist()}

    return Fixed
