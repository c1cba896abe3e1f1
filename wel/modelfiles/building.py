"""Building a Keras model from what a file says, within the bounds of what the file stores, and giving it the file's weights."""

from __future__ import annotations

import json
import logging
import warnings
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any, Callable, Iterator, Mapping, Sequence

import numpy as np

from wel.errors import WelError, first_line
from wel.keras.either import is_model, keras_of
from wel.keras.two import keras2, private
from wel.modelfiles import channels_first, keras1, keras3, keras3_weights, natively, operators
from wel.modelfiles.archived import is_archived, load_archived
from wel.modelfiles.budget import variables_within
from wel.modelfiles.configuration import MODELS, check_model
from wel.modelfiles.conversion import Converted, FileError, assign, in_file_order
from wel.modelfiles.foreign import KERAS2, check_own, foreign_parts, given_objects
from wel.modelfiles.hdf5 import listed
from wel.modelfiles.modelfile import Weights
from wel.modelfiles.naming import leaf_layers, notes_on, order_of_layers, order_of_weights
from wel.modelfiles.precision import in_single
from wel.modelfiles.shapes import with_input_shape
from wel.modelfiles.tf_keras import in_keras2
from wel.modelfiles.theano_kernels import flip_kernels
from wel.modelfiles.training import without_training

# of other versions of Keras, into its words for this one
VERSIONS = (keras1, keras3)


@dataclass(frozen=True)
class Rules:
    """What a user adds to a file's configuration, and what it may name.

    Attributes:
        given: name -> class or function that the user vouches for.
        allow_code: runs functions that a configuration carries, and imports modules that it names.
        input_shape: of one input, channels last, for a configuration that says none or leaves sizes open.
    """

    given: Mapping[str, Any]
    allow_code: bool
    input_shape: tuple[int, ...] | None = None


class Building:
    """A model that is built from a file's configuration and waits for the file's weights.

    Args:
        configuration: as the file has it.
        keras_version: that wrote it, None where it is not known.
        numbers: how many numbers the file of weights holds; the model has no more of them.

    Raises:
        WelError: when the configuration is no model's or names what the rules forbid; or whatever Keras raises when it cannot be built.
    """

    def __init__(self, configuration: dict, keras_version: str | None, numbers: int, rules: Rules):
        self._numbers, self._rules = numbers, rules
        self._natively = natively.applies(configuration, keras_version, rules.given)
        self._configuration = configuration if self._natively else in_keras2(configuration)
        self._configuration, self._notes = without_training(self._configuration, rules.given)
        self._version = None if self._natively else _version_of(self._configuration, keras_version)
        self._converted = self._configuration
        for rewritten in self._rewritings():
            self._converted, more = rewritten(self._converted)
            self._notes += more
        shaped: tuple[str, ...] = ()
        if _is_plain(self._converted):
            self._check(self._converted)
            self._converted, shaped = with_input_shape(self._converted, rules.input_shape)
            self._notes += shaped
        with _shape_told(rules.input_shape if shaped else None):
            self._model = self._built(self._converted)

    def _rewritings(self) -> Iterator[Callable[[dict], Converted]]:
        if self._natively:
            yield from (in_single, natively.converted)
            return
        if self._version:  # whose own classes are unknown, and whose code is not
            check_own(self._configuration, self._rules.given, self._rules.allow_code, code_only=True)
            yield self._version.converted
        yield from (operators.converted, in_single)

    def loaded(self, weights: Weights) -> tuple[Any, tuple[str, ...]]:
        """The Keras model with the weights of an open file, and sentences on what was converted.

        Raises:
            WelError: or whatever Keras raises, when they do not fit.
        """
        if self._natively:
            return self._model, self._notes + keras3_weights.load_weights(self._model, weights.file)
        if self._version:
            root = weights.file.get("model_weights", weights.file)
            notes = self._notes + (self._version.load_weights(self._model, root, self._configuration) or ())
        else:
            notes = self._notes + load_weights(self._model, weights)
        if not _is_plain(self._converted) or not channels_first.applies(self._converted, None):
            return self._model, notes
        configuration, more = channels_first.converted(self._converted)
        model = self._built(configuration)
        channels_first.copy_weights(self._model, model)
        return model, notes + more

    def with_weights(self, arrays: Sequence[np.ndarray]) -> Any:
        """The Keras model with weights in the order of its `get_weights`.

        Raises:
            WelError: or whatever Keras raises, when they do not fit.
        """
        keras_of(self._model).set_weights(self._model, arrays)
        return self._model

    def _check(self, configuration: dict) -> dict[str, Any]:
        """Raises WelError for what is no model's or names what the rules forbid; returns what Keras finds by name."""
        known = natively.KNOWN if self._natively else KERAS2
        given = given_objects(configuration, self._rules.given, known)
        check_model(configuration, given)
        check_own(configuration, self._rules.given, self._rules.allow_code, known=known)
        return given

    def _built(self, configuration: dict) -> Any:
        given = self._check(configuration)
        with loading_scope(given, self._rules.allow_code), variables_within(self._numbers), _code_told(configuration):
            if self._natively:
                model = natively.built(configuration, given, self._rules.allow_code)
            else:
                model = keras2().models.model_from_json(json.dumps(configuration))
        if not is_model(model):
            raise WelError("Expected a whole model in it.")
        return model


def load_weights(model: Any, weights: Weights) -> tuple[str, ...]:
    """Gives a model the weights of a file that Keras 2 wrote.

    Returns:
        Sentences on what was done with them.

    Raises:
        WelError: or whatever Keras raises, when they do not fit.
    """
    root = weights.file.get("model_weights", weights.file)
    if "layer_names" in root.attrs or "layer_names0" in root.attrs:
        notes = _load_named(model, root, weights)
        return notes + (flip_kernels(model) if weights.backend == "theano" else ())
    if not is_archived(root):
        raise WelError("It holds no weights that Keras 2 saved.")
    notes = load_archived(model, root)
    for layer in model._flatten_layers():
        layer.finalize_state()
    return notes


def _load_named(model: Any, root: Any, weights: Weights) -> tuple[str, ...]:
    """The weights of an HDF5 file, which are those of layers that have names, and have names themselves.

    Keras 2 takes both in the file's order, in which the weights of a nested model that was frozen come last.
    """
    preprocessed = private("preprocess_weights_for_loading")
    stored = {name: names for name in listed(root, "layer_names") if (names := listed(root[name], "weight_names"))}
    layers = [layer for layer in model.layers if in_file_order([layer])]
    if len(stored) != len(layers):
        raise WelError(f"It holds the weights of {len(stored)} layers. Expected those of {len(layers)}.")
    order = order_of_layers([layer.name for layer in layers], list(stored))
    orders = {model.name: order}
    for layer, name in zip(layers, (list(stored)[place] for place in order.places)):
        variables = in_file_order([layer])
        orders[layer.name] = order_of_weights(leaf_layers(layer), variables, stored[name])
        values = [np.asarray(root[name][stored[name][place]]) for place in orders[layer.name].places]
        assign(layer.name, variables, preprocessed(layer, values, weights.keras_version or "1", weights.backend))
    if "top_level_model_weights" in root:
        top = root["top_level_model_weights"]
        variables = model._trainable_weights + model._non_trainable_weights
        assign(model.name, variables, [np.asarray(top[name]) for name in listed(top, "weight_names")])
    for layer in model._flatten_layers():
        layer.finalize_state()
    return notes_on(orders)


def _is_plain(configuration: dict) -> bool:
    return configuration.get("class_name") in MODELS


def _version_of(configuration: dict, keras_version: str | None) -> Any:
    """The module that reads a configuration of another version of Keras, None when it needs none."""
    if not _is_plain(configuration):
        return None
    return next((version for version in VERSIONS if version.applies(configuration, keras_version)), None)


@contextmanager
def _shape_told(shape: tuple[int, ...] | None) -> Iterator[None]:
    """Says of a failure that it may lie in the shape that the user gives."""
    try:
        yield
    except WelError:
        raise
    except Exception as error:
        if shape is None:
            raise
        raise FileError(
            f"cannot be built for inputs of shape {shape} ({first_line(error)}). Expected the `input_shape` it was made for."
        ) from error


@contextmanager
def _code_told(configuration: dict) -> Iterator[None]:
    """Says of a failure that it may lie in the code that a file carries."""
    try:
        yield
    except WelError:
        raise
    except Exception as error:
        if not any(part.is_code for part in foreign_parts(configuration, {})):
            raise
        expected = "Expected the version of Python that wrote it, under which alone bytecode runs"
        raise WelError(f"It cannot be built with the code that it carries ({first_line(error)}). {expected}.") from error


@contextmanager
def loading_scope(given: Mapping[str, Any], allow_code: bool) -> Iterator[None]:
    """Keras finds what is given by name, and runs functions of a configuration only when that is allowed."""
    keras = keras2()
    with keras.saving.custom_object_scope(dict(given)), private("SafeModeScope")(safe_mode=not allow_code):
        yield


@contextmanager
def quiet() -> Iterator[None]:
    """Keeps what Keras and TensorFlow log or warn about a file off the terminal."""
    before = logging.root.manager.disable
    logging.disable(logging.WARNING)
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            yield
    finally:
        logging.disable(before)
