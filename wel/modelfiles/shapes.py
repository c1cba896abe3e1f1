"""The shape of one input, where a file says none or leaves sizes open: the user gives it."""

from __future__ import annotations

import copy
from typing import Any, Sequence

from wel.modelfiles import channels_first
from wel.modelfiles.conversion import Converted, FileError, is_model, malformed_refused, name_of, parts, triples

ADVICE = "`--input-shape` (`input_shape` in Python), such as 224,224,3"
SAID = "batch_input_shape"


def with_input_shape(configuration: dict, given: Sequence[int] | None) -> Converted:
    """The configuration with a fixed shape of its input; itself where it has one, or several inputs.

    Args:
        configuration: of a Sequential or functional model, in the words of Keras 2.
        given: shape of one input, channels last, without the batch; None where the user says nothing.

    Raises:
        WelError: when no shape is said or sizes are open and none is given, or another one is said.
    """
    with malformed_refused("Keras"):
        if configuration["class_name"] != "Sequential" and len(_inputs(configuration["config"])) != 1:
            return Converted(configuration, ())
        batch = _batch_shape(configuration)
        said = None if batch is None else _turned(batch[1:], configuration, to_file=False)
        if given is None:
            _check_fixed(said)
            return Converted(_put(configuration, batch) if _says_it_inside(configuration) else configuration, ())
        if said == list(given) and not _says_it_inside(configuration):
            return Converted(configuration, ())
        if said is not None and not _fits(said, given):
            raise FileError(f"takes inputs of shape {_shown(said)}. Expected an `input_shape` that fits them. Received {_shown(given)}.")
        size = None if batch is None else batch[0]
        words = "no input shape" if said is None else f"inputs of shape {_shown(said)}"
        notes = (f"It says {words}: they were taken as {_shown(given)}, as given.",) if said != list(given) else ()
        return Converted(_put(configuration, [size, *_turned(given, configuration, to_file=True)]), notes)


def _batch_shape(model: dict) -> list | None:
    """The shape of a model's input as it says it, the batch included; None where it says none."""
    layers, config = parts(model), model["config"]
    if model["class_name"] != "Sequential":
        return _input_config(layers, config).get(SAID)
    first = layers[0]
    if not is_model(first) and SAID in first["config"]:
        return first["config"][SAID]
    if isinstance(config, dict) and config.get("build_input_shape"):
        return config["build_input_shape"]
    return _batch_shape(first) if is_model(first) else None


def _says_it_inside(model: dict) -> bool:
    """Whether a Sequential begins with one that has the InputLayer, of which Keras 2.14 learns no shape."""
    first, own = parts(model)[0], model["config"] if isinstance(model["config"], dict) else {}
    return "Sequential" == model["class_name"] == first["class_name"] and not own.get("build_input_shape")


def _put(configuration: dict, batch: list) -> dict:
    """A copy of a model's configuration with another shape of its input."""
    model = copy.deepcopy(configuration)
    layers, config = parts(model), model["config"]
    if model["class_name"] != "Sequential":
        _input_config(layers, config)[SAID] = batch
    elif not is_model(layers[0]) and SAID in layers[0]["config"]:
        layers[0]["config"][SAID] = batch
    else:
        layers.insert(0, {"class_name": "InputLayer", "config": {"name": f"{name_of(layers[0])}_input", SAID: batch}})
    if isinstance(config, dict):
        config.pop("build_input_shape", None)
    return model


def _input_config(layers: list[dict], config: dict) -> dict:
    name = _inputs(config)[0][0]
    return next(layer["config"] for layer in layers if name_of(layer) == name)


def _inputs(config: dict) -> list[tuple[str, int, int]]:
    ends = config["input_layers"]
    return triples(list(ends.values()) if isinstance(ends, dict) else ends)


def _turned(shape: Sequence[Any], configuration: dict, to_file: bool) -> list:
    """A shape with the channels where the file has them, or back with the channels last."""
    if not channels_first.has_images(configuration, len(shape) + 1):
        return list(shape)
    return [shape[-1], *shape[:-1]] if to_file else [*shape[1:], shape[0]]


def _check_fixed(said: list | None) -> None:
    if said is None:
        sequential = "as a Sequential that begins with an InputLayer does in Keras 2.2"
        raise FileError(f"says no shape of its input, {sequential}. Expected {ADVICE}.")
    if None in said:
        raise FileError(f"takes inputs of shape {_shown(said)}, of any size. Expected {ADVICE}.")


def _fits(said: list, given: Sequence[int]) -> bool:
    return len(said) == len(given) and all(one in (None, other) for one, other in zip(said, given))


def _shown(shape: Sequence[Any]) -> str:
    return str(tuple(shape))
