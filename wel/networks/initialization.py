"""Fresh weights from a layer's own initialisers, with a seed that reaches each of them."""

from __future__ import annotations

from typing import Any, Collection

import numpy as np

from wel.keras.either import keras_of
from wel.keras.two import keras2


def initialize(model: Any, seed: int, names: Collection[str] | None = None) -> None:
    """Gives every layer of a Keras model fresh weights, or those of such names the ones that all would give them."""
    for position, layer in enumerate(model.layers):
        if hasattr(layer, "layers"):
            initialize(layer, _spread(seed, position), names)
        elif layer.weights and (names is None or layer.name in names):
            layer.set_weights(fresh_weights(layer, _spread(seed, position)))


def fresh_weights(layer: Any, seed: int) -> list[np.ndarray]:
    """What a layer's own initialisers give for each of its weights, in the order of `get_weights`; float32.

    A kernel whose own initialiser gives one number everywhere is drawn from Keras's default, Glorot's uniform distribution.
    The same seed gives the same weights, in whatever order layers are asked for.

    Raises:
        AttributeError: for a weight without an initialiser.
    """
    return [_fresh(layer, weight, _spread(seed, position)) for position, weight in enumerate(layer.weights)]


def _fresh(layer, weight, seed: int) -> np.ndarray:
    initializer = _initializer(layer, weight)
    config = initializer.get_config()
    if "seed" in config:
        initializer = type(initializer).from_config({**config, "seed": seed})
    fresh = np.asarray(initializer(weight.shape, dtype="float32"))
    if _name(weight).endswith("kernel") and fresh.size > 1 and np.ptp(fresh) == 0:
        fresh = np.asarray(keras2().initializers.GlorotUniform(seed)(weight.shape, dtype="float32"))
    return fresh


def _initializer(layer, weight):
    """The initialiser that the layer, or a layer inside it such as a recurrent cell, has for a weight of its own."""
    name = _name(weight)
    owner = next((inner for inner in keras_of(layer).layers_inside(layer) if _owns(inner, weight)), layer)
    # that of `depthwise_kernel` is `depthwise_initializer`; in Keras 3 the weight is called `kernel` and the initialiser the same
    names = (f"{name}_initializer", f"{name.removesuffix('_kernel')}_initializer", "depthwise_initializer")
    return getattr(owner, next((known for known in names if hasattr(owner, known)), names[0]))


def _name(weight) -> str:
    return weight.name.split("/")[-1].split(":")[0]


def _owns(layer, weight) -> bool:
    return any(weight is one for one in keras_of(layer).own_variables(layer))


def _spread(seed: int, position: int) -> int:
    return int(np.random.SeedSequence([seed, position]).generate_state(1)[0])
