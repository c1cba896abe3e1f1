"""What the conversions of foreign model configurations share: their result, walking through layers, refusing what is malformed."""

from __future__ import annotations

from contextlib import contextmanager
from typing import Any, Iterator, NamedTuple

import numpy as np

from wel.errors import WelError

MODELS = ("Sequential", "Model", "Functional")
# arguments that are layers
INSIDE = ("layer", "backward_layer", "cell")


class Converted(NamedTuple):
    """A model configuration as Keras 2.14 builds it, and sentences on what was changed for that."""

    configuration: dict
    notes: tuple[str, ...]


class FileError(WelError):
    """What is wrong with a file, as the end of a sentence that begins with its name."""


class RefusedError(WelError):
    """What is wrong with a model in a file.

    Attributes:
        reason: the message without the argument's name, a sentence that begins small.
    """

    def __init__(self, reason: str):
        super().__init__(f"Invalid value for `model`: {reason}")
        self.reason = reason


def refused(why: str) -> WelError:
    """The error for a configuration that cannot be converted; `why` is a sentence."""
    return RefusedError(why)


@contextmanager
def malformed_refused(kind: str) -> Iterator[None]:
    """A configuration with something missing, of the wrong type or nested without end becomes one sentence.

    Raises:
        WelError: instead of what Python raises for it.
    """
    try:
        yield
    except WelError:
        raise
    except (KeyError, TypeError, ValueError, IndexError, AttributeError, RecursionError) as error:
        raise refused(f"its configuration is malformed for a model of {kind} ({type(error).__name__}).") from error


def parts(configuration: dict) -> list[dict]:
    """The layers that a model's configuration lists, in the list itself, not copied.

    Raises:
        WelError: unless it is the configuration of a Sequential or functional model.
    """
    inner = configuration.get("config") if isinstance(configuration, dict) else None
    listed = inner.get("layers") if isinstance(inner, dict) else inner
    if not is_model(configuration) or not isinstance(listed, list) or not all(isinstance(layer, dict) for layer in listed):
        raise refused("its configuration is not that of a Sequential or functional Keras model.")
    return listed


def is_model(layer: Any) -> bool:
    """Whether a layer's configuration is that of a nested model."""
    return isinstance(layer, dict) and layer.get("class_name") in MODELS


def name_of(layer: dict) -> str:
    """A layer's name for a sentence, its class where it has no name."""
    config = layer.get("config")
    name = layer.get("name") or (config.get("name") if isinstance(config, dict) else None) or layer.get("class_name")
    return str(name)[:80]


def all_layers(configuration: dict) -> Iterator[dict]:
    """Every layer of a model's configuration, those of nested models and inside others, such as in TimeDistributed, included."""
    for layer in parts(configuration):
        yield layer
        inner = layer if is_model(layer) else {"class_name": "Sequential", "config": list(inside(layer).values())}
        yield from all_layers(inner)


def inside(layer: dict) -> dict[str, dict]:
    """Argument -> the configuration of a layer that a layer has inside, such as a wrapper or a recurrent layer; of a list, `cells/0`."""
    config = layer.get("config")
    found = {key: config[key] for key in INSIDE if isinstance(config.get(key), dict)} if isinstance(config, dict) else {}
    cells = config.get("cells") if isinstance(config, dict) else None
    return found | {f"cells/{place}": cell for place, cell in enumerate(cells if isinstance(cells, list) else ())}


def leaves(model: Any, configuration: dict) -> Iterator[Any]:
    """A Keras model's layers, those of nested models in place of the models, in the order of the configuration that it was built from.

    `Model.layers` can have another order.
    """
    for part in parts(configuration):
        if configuration["class_name"] == "Sequential" and part["class_name"] == "InputLayer":
            continue
        layer = model.get_layer(name_of(part))
        if is_model(part):
            yield from leaves(layer, part)
        else:
            yield layer


def in_file_order(layers: list[Any]) -> list[Any]:
    """The variables of some layers as HDF5 files keep them: the trainable ones of all layers, then the others."""
    return [weight for layer in layers for weight in layer.trainable_weights] + [
        weight for layer in layers for weight in layer.non_trainable_weights
    ]


def assign(name: str, variables: list[Any], values: list[np.ndarray]) -> None:
    """Sets variables of the layer `name`.

    Raises:
        WelError: when number or shapes do not agree.
    """
    if len(values) != len(variables):
        raise refused(f"its layer '{name}' has {len(values)} weights in the file. Expected {len(variables)}.")
    for variable, value in zip(variables, values):
        if value.shape != tuple(variable.shape):
            raise refused(f"its layer '{name}' has a weight of shape {value.shape} in the file. Expected {tuple(variable.shape)}.")
        variable.assign(value)


def first_node(layer: dict) -> int:
    """The node index of a layer's first call: a model with an input of its own has a node before."""
    if not is_model(layer):
        return 0
    first = parts(layer)[0]
    return int(first["class_name"] == "InputLayer" or is_model(first) or "batch_input_shape" in first["config"])


def sources_of(call: list) -> list[tuple[str, int, int]]:
    """The tensors that one call takes: (layer, node, tensor).

    Raises:
        WelError: when it takes some as keyword arguments.
    """
    entries = [call] if isinstance(call[0], str) else call
    if any(len(entry) > 3 and _names_tensors(entry[3]) for entry in entries):
        raise refused("a layer takes tensors as keyword arguments, which wel cannot rewrite to channels_last.")
    return [tuple(entry[:3]) for entry in entries]


def _names_tensors(arguments: dict) -> bool:
    return any(isinstance(value, list) and len(value) >= 3 and isinstance(value[0], str) for value in arguments.values())


def with_sources(call: list, sources: list[list]) -> list:
    """A call like this one that takes other tensors."""
    if isinstance(call[0], str):
        return [*sources[0], *call[3:]]
    return [[*source, *entry[3:]] for source, entry in zip(sources, call)]


def triples(ends: list) -> list[tuple[str, int, int]]:
    """A model's inputs or outputs as (layer, node, tensor); a single one can be without the outer list.

    Raises:
        WelError: when they have names of their own.
    """
    if not isinstance(ends, list):
        raise refused("its inputs or outputs have names of their own. Expected a list of them.")
    return [tuple(ends)] if isinstance(ends[0], str) else [tuple(end) for end in ends]
