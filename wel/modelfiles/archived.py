"""Weights that lie where a model's attributes do: archives (.keras) and weights files (.weights.h5) of Keras 2.12 and later, of Keras 3."""

from __future__ import annotations

import re
from functools import partial
from typing import Any, Callable, Iterator, Sequence

import h5py
import numpy as np

from wel.keras.either import is_model, keras_of
from wel.modelfiles.conversion import assign, refused
from wel.modelfiles.naming import Order, notes_on, order_of_layers

# how a model's layers are called in them, by Keras 2.12 to 2.14 and by later ones
CHECKPOINT, LATER_CHECKPOINT = "_layer_checkpoint_dependencies", "layers"
VARIABLES = "vars"

Listed = Callable[[Any], Sequence[Any]]


def is_archived(file: h5py.Group) -> bool:
    """Whether it is such a file."""
    return bool({CHECKPOINT, LATER_CHECKPOINT} & set(file))


def load_archived(model: Any, file: h5py.Group, listed: Listed = lambda model: model.layers) -> tuple[str, ...]:
    """Gives a model the weights of such a file.

    Every group in it is an attribute of the layer that the group around it belongs to. The layers in a list are named after their
    classes and counted, in the list's order: `layers/conv2d_1/vars/0`. Some versions of Keras leave numbers out;
    none keeps a layer twice.

    Args:
        model: Keras model, of either Keras.
        file: the HDF5 file.
        listed: function (model) -> the layers of it, or of a model inside, in the order of the Keras that wrote the file.

    Returns:
        Sentences on what was done with them.

    Raises:
        WelError: when they do not fit the model.
    """
    keras, orders, known = keras_of(model), {}, {}
    for layer, stored in _places(model, file, listed, orders, known):
        assign(layer.name, keras.own_variables(layer), [np.asarray(stored[str(number)]) for number in range(len(stored))])
    for layer in keras.layers_inside(model):
        if keras.own_variables(layer) and id(layer) not in known:
            raise refused(f"its file has no weights of the layer '{layer.name}'.")
    return notes_on(orders)


def _places(layer: Any, group: Any, listed: Listed, orders: dict[str, Order], known: dict[int, Any]) -> Iterator[tuple[Any, Any]]:
    """Each layer with its variables in the file; adds to `orders` how the layers of models were found, to `known` the layers."""
    known[id(layer)] = layer
    yield layer, group.get(VARIABLES, {})
    for name in group:
        found = _attribute(layer, name, listed)
        if isinstance(found, (list, tuple)):
            yield from _places_listed(layer, found, group[name], listed, orders, known)
        elif _is_layer(found) and id(found) not in known:
            yield from _places(found, group[name], listed, orders, known)


def _attribute(layer: Any, name: str, listed: Listed) -> Any:
    """What a group of a layer's group is; a file names only what the layer itself holds, and nothing is computed for it."""
    if is_model(layer):
        return listed(layer) if name in (CHECKPOINT, LATER_CHECKPOINT) else None
    own = vars(layer)
    return own.get(name, own.get(f"_{name}"))  # Keras 3 leaves the first "_" out


def _is_layer(value: Any) -> bool:
    return isinstance(value, keras_of(value).module().layers.Layer)


def _places_listed(
    owner: Any, found: Sequence[Any], group: Any, listed: Listed, orders: dict[str, Order], known: dict[int, Any]
) -> Iterator[tuple[Any, Any]]:
    layers = list(_kept_here(found, set(known)))
    names = _names(group, [_snake_case(type(layer).__name__) for layer in layers])
    if is_model(owner):
        # Keras 3.4 and before, and Keras 2, write no names of layers
        told = [_name_in(group, name) or layer.name for name, layer in zip(names, layers)]
        order = orders[owner.name] = order_of_layers([layer.name for layer in layers], told)
        names = [names[place] for place in order.places]
    for layer, name in zip(layers, names):
        yield from _places(layer, group[name] if name in group else {}, listed, orders, known)


def _kept_here(found: Sequence[Any], known: set[int]) -> Iterator[Any]:
    """The layers of a list that a file keeps in the list's own group, not in that of a layer before, which they are inside."""
    for layer in filter(_is_layer, found):
        if id(layer) not in known:
            yield layer
        known.update(map(id, keras_of(layer).layers_inside(layer)))


def _names(group: Any, kinds: Sequence[str]) -> list[str]:
    """The names of the groups of a list's layers, which are of these kinds; "" where there are none left."""
    pending = {kind: sorted((name for name in group if _number(kind, name) >= 0), key=partial(_number, kind)) for kind in set(kinds)}
    return [pending[kind].pop(0) if pending[kind] else "" for kind in kinds]


def _number(kind: str, name: str) -> int:
    """The number of a name among those of its kind: 0 for conv2d, 2 for conv2d_2, -1 for one of another kind."""
    number = name.removeprefix(f"{kind}_")
    return 0 if name == kind else int(number) if name != number and re.fullmatch("[0-9]{1,9}", number) else -1


def _name_in(group: Any, name: str) -> str | None:
    return group[name][VARIABLES].attrs.get("name") if name in group and VARIABLES in group[name] else None


def _snake_case(name: str) -> str:
    """Keras's own: Conv2D -> conv2d, LeakyReLU -> leaky_re_lu."""
    return re.sub("([a-z])([A-Z])", r"\1_\2", re.sub("(.)([A-Z][a-z]+)", r"\1_\2", name)).lower()
