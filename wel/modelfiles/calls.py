"""The calls of layers in the configuration of a functional model: `inbound_nodes`, `input_layers` and `output_layers` of Keras 1 and 2."""
from __future__ import annotations

from wel.modelfiles.conversion import is_model, parts, refused


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
