"""Whose weights are whose: files list the weights of several layers in an order that training settings change, and name them."""

from __future__ import annotations

import re
from collections import Counter, defaultdict
from typing import Any, Iterator, Mapping, NamedTuple, Sequence

from wel.keras.either import is_model
from wel.modelfiles.conversion import in_file_order, refused

# by which Keras tells layers of one class apart, and TensorFlow names that are taken: dense, dense_1, dense_2, dense_1_1
NUMBERS, LAST_NUMBER = re.compile(r"(?:_\d+)*$"), re.compile(r"_\d+$")


class Order(NamedTuple):
    """In which order a file has what a model needs.

    Attributes:
        places: for each thing that the model needs the place in the file.
        is_named: whether the file's names say so, or there is nothing to tell apart; else the file's own order is taken.
    """

    places: list[int]
    is_named: bool


def order_of_layers(layers: Sequence[str], names: Sequence[str]) -> Order:
    """Which of the names of a file's layers means which layer.

    Raises:
        WelError: when the names contradict the order, and do not tell another one.
    """
    return _order([[place] for place in range(len(layers))], layers, [(name,) for name in names])


def order_of_weights(layers: Sequence[Any], variables: Sequence[Any], names: Sequence[str]) -> Order:
    """Which of the names of weights in a file means which variable.

    Args:
        layers: Keras layers that have the variables, none of them a model.
        variables: in the order in which Keras reads them from a file.
        names: such as "outer/conv/kernel:0", or "convolution2d_1_W" of Keras 1.

    Raises:
        WelError: when the names contradict the order, and do not tell another one.
    """
    places = {id(variable): place for place, variable in enumerate(variables)}
    owned = [(layer.name, [places[id(variable)] for variable in in_file_order([layer])]) for layer in layers]
    owned = [(name, mine) for name, mine in owned if mine]
    return _order([mine for _, mine in owned], [name for name, _ in owned], [tuple(_parts(name)) for name in names])


def _order(owned: list[list[int]], layers: Sequence[str], names: Sequence[tuple[str, ...]]) -> Order:
    """Layer by layer, the names that mean it take the places that it owns, in their order."""
    unchanged = Order(list(range(len(names))), len(owned) == 1)
    if len(owned) == 1 or sum(map(len, owned)) != len(names):  # which whoever assigns the weights refuses
        return unchanged
    found = _matched(layers, names)
    if found is not None and Counter(found) == {layer: len(mine) for layer, mine in enumerate(owned)}:
        places = list(unchanged.places)
        for layer, mine in enumerate(owned):
            for place, named in zip(mine, (named for named, meant in enumerate(found) if meant == layer)):
                places[place] = named
        return Order(places, True)
    _check_order(owned, layers, names)
    return unchanged


def _check_order(owned: list[list[int]], layers: Sequence[str], names: Sequence[tuple[str, ...]]) -> None:
    """Raises WelError when the file's own order gives a layer weights that are named as another's."""
    for layer, mine in zip(layers, owned):
        for place in mine:
            others = [part for part in names[place] if part in layers and layer not in names[place]]
            if others:
                raise refused(f"its layer '{layer}' would get weights that are named as those of '{others[0]}'.")


def _matched(layers: Sequence[str], names: Sequence[tuple[str, ...]]) -> list[int] | None:
    """The layer that each name means; None where the names do not say it of all of them.

    Names are the layers' own; or these with a number that TensorFlow added; or, as in files of another session, the same but for the
    numbers, by which Keras counts the layers of one class.
    """
    known, bases = {layer: place for place, layer in enumerate(layers)}, {_base(layer) for layer in layers}
    labels = [next((part for part in parts if part in known), None) for parts in names]
    if None in labels:
        labels = [next((part for part in parts if _base(part) in bases), None) for parts in names]
    if None in labels or not len(set(labels)) == len(known) == len(layers):
        return None
    for meant in (_themselves(labels), _without_last_number(labels), _by_numbers(layers, labels)):
        if set(meant.values()) == set(known):
            return [known[meant[label]] for label in labels]
    return None


def _themselves(labels: Sequence[str]) -> dict[str, str]:
    return {label: label for label in labels}


def _without_last_number(labels: Sequence[str]) -> dict[str, str]:
    return {label: LAST_NUMBER.sub("", label) for label in labels}


def _by_numbers(layers: Sequence[str], labels: Sequence[str]) -> dict[str, str]:
    """Label -> layer: those that are alike but for their numbers, in the order of the numbers."""
    ordered: list[dict[str, list[str]]] = []
    for several in (set(labels), layers):
        groups: dict[str, list[str]] = defaultdict(list)
        for name in sorted(several, key=_numbers):
            groups[_base(name)].append(name)
        ordered.append(groups)
    return {label: layer for base, some in ordered[0].items() for label, layer in zip(some, ordered[1][base])}


def _base(name: str) -> str:
    return NUMBERS.sub("", name)


def _numbers(name: str) -> list[int]:
    return [int(number) for number in NUMBERS.search(name)[0].split("_") if number]


def _parts(name: str) -> Iterator[str]:
    """What in the name of a weight may be a layer's name, the innermost first."""
    if "/" in name:
        yield from reversed(name.split("/")[:-1])
        return
    while "_" in name:  # Keras 1
        name = name.rpartition("_")[0]
        yield name


def leaf_layers(layer: Any) -> list[Any]:
    """The layers that hold a layer's weights: of a model, or a wrapper around one, those inside, each once."""
    wrapped = getattr(layer, "layer", None)
    inner = layer.layers if is_model(layer) else [wrapped] if is_model(wrapped) else None
    if inner is None:
        return [layer]
    return list({id(leaf): leaf for part in inner for leaf in leaf_layers(part)}.values())


def notes_on(orders: Mapping[str, Order]) -> tuple[str, ...]:
    """Sentences on how the weights of layers, by name, were found in a file."""
    unnamed = [name for name, order in orders.items() if not order.is_named]
    moved = [name for name, order in orders.items() if order.places != sorted(order.places)]
    notes = []
    if moved:
        notes.append(f"Its file keeps the weights of {_listed(moved)} in another order than the layers: their names say whose they are.")
    if unnamed:
        notes.append(f"Its file names the weights of {_listed(unnamed)} otherwise than its layers: they were taken in the file's order.")
    return tuple(notes)


def _listed(names: Sequence[str]) -> str:
    return ", ".join(map(repr, names[:6])) + ", …" * (len(names) > 6)
