"""Weights that Keras 3 saved, for a model of either Keras: of archives (.keras, .weights.h5) and of HDF5 files."""

from __future__ import annotations

from typing import Any, Iterator

import h5py
import numpy as np

from wel.keras.either import is_model, keras_of
from wel.modelfiles.archived import Listed, load_archived
from wel.modelfiles.conversion import assign, in_file_order, malformed_refused, refused
from wel.modelfiles.hdf5 import listed
from wel.modelfiles.naming import leaf_layers, notes_on, order_of_weights


def load_weights(model: Any, file: h5py.Group, layers_of: Listed = lambda model: model.layers) -> tuple[str, ...]:
    """Puts the weights of a Keras 3 file into a model.

    Args:
        model: Keras model.
        file: as `load_archived` takes, or an HDF5 model file or weights file (`conv/conv/kernel`: named by layer).
        layers_of: function (model) -> the layers of it, or of a model inside, in Keras 3's order.

    Returns:
        Sentences on what was done with them.

    Raises:
        WelError: when they do not fit the model.
    """
    with malformed_refused("Keras 3"):
        group = file["model_weights"] if "model_weights" in file else file
        notes = (_load_by_name if "layer_names" in group.attrs else load_archived)(model, group, layers_of)
    for layer in keras_of(model).layers_inside(model):
        if hasattr(layer, "finalize_state"):
            layer.finalize_state()
    return notes


def _load_by_name(model: Any, group: h5py.Group, layers_of: Listed) -> tuple[str, ...]:
    orders = {}
    for layer in layers_of(model):
        variables = in_file_order(list(_leaves(layer, layers_of)))
        if not variables:
            continue
        if layer.name not in group:
            raise refused(f"its file has no weights of the layer '{layer.name}'.")
        stored = group[layer.name]
        names = listed(stored, "weight_names")
        orders[layer.name] = order_of_weights(leaf_layers(layer), variables, names)
        assign(layer.name, variables, [np.asarray(stored[names[place]]) for place in orders[layer.name].places])
    return notes_on(orders)


def _leaves(layer: Any, layers_of: Listed) -> Iterator[Any]:
    """A layer; of a model its layers, those of models inside it in place of the models."""
    if not is_model(layer):
        yield layer
        return
    for inner in layers_of(layer):
        yield from _leaves(inner, layers_of)
