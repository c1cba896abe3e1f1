"""The shape of one input, where a file says none or leaves sizes open: the user gives it."""

from __future__ import annotations

import copy
from typing import Any, NamedTuple, Sequence

from wel.modelfiles import channels_first
from wel.modelfiles.conversion import Converted, FileError, is_model, malformed_refused, name_of, parts, triples

ADVICE = "`--input-shape` (`input_shape` in Python), such as 224,224,3"
SAID = "batch_input_shape"


class Place(NamedTuple):
    """Where a configuration says the shape of its input, the batch included.

    Attributes:
        holder: a dictionary.
        key: in it; nothing says the shape where it is not there.
    """

    holder: dict
    key: str


def with_input_shape(configuration: dict, given: Sequence[int] | None) -> Converted:
    """The configuration with a fixed shape of its input; itself where it has one, or several inputs.

    Args:
        configuration: of a Sequential or functional model, in the words of Keras 2.
        given: shape of one input, channels last, without the batch; None where the user says nothing.

    Raises:
        WelError: when no shape is said or sizes are open and none is given, or another one is said.
    """
    with malformed_refused("Keras"):
        changed = copy.deepcopy(configuration)
        place = _place(changed)
        if place is None:
            return Converted(configuration, ())
        said = _said(place, configuration)
        if given is None:
            _check_fixed(said)
        if given is None or said == list(given):
            return Converted(configuration, ())
        if said is not None and not _fits(said, given):
            raise FileError(f"takes inputs of shape {_shown(said)}. Expected an `input_shape` that fits them. Received {_shown(given)}.")
        batch = place.holder[place.key][0] if said is not None else None
        place.holder[place.key] = [batch, *_turned(given, configuration, to_file=True)]
        words = "no input shape" if said is None else f"inputs of shape {_shown(said)}"
        return Converted(changed, (f"It says {words}: they were taken as {_shown(given)}, as given.",))


def _place(model: dict) -> Place | None:
    """Where the shape is said, or is to be said: in a new InputLayer then, that a Sequential begins with. None with several inputs."""
    layers, config = parts(model), model["config"]
    if model["class_name"] != "Sequential":
        ends = triples(config["input_layers"])
        return Place(next(layer for layer in layers if name_of(layer) == ends[0][0])["config"], SAID) if len(ends) == 1 else None
    first = layers[0]
    if not is_model(first) and SAID in first["config"]:
        return Place(first["config"], SAID)
    if isinstance(config, dict) and config.get("build_input_shape"):
        return Place(config, "build_input_shape")
    if is_model(first):
        return _place(first)
    layers.insert(0, {"class_name": "InputLayer", "config": {"name": f"{name_of(first)}_input"}})
    return Place(layers[0]["config"], SAID)


def _said(place: Place, configuration: dict) -> list | None:
    said = place.holder.get(place.key)
    return None if said is None else _turned(list(said)[1:], configuration, to_file=False)


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
