"""Fresh weights from a layer's own initialisers, with a seed that reaches each of them."""
from __future__ import annotations

from typing import Any

import numpy as np


def initialize(model: Any, seed: int) -> None:
    """Gives every layer of a Keras model fresh weights."""
    for position, layer in enumerate(model.layers):
        if hasattr(layer, "layers"):
            initialize(layer, seed=_spread(seed, position))
        elif layer.weights:
            layer.set_weights(fresh_weights(layer, _spread(seed, position)))


def fresh_weights(layer: Any, seed: int) -> list[np.ndarray]:
    """What a layer's own initialisers give for each of its weights, in the order of `get_weights`; float32.

    The same seed gives the same weights, in whatever order layers are asked for.
    """
    return [_fresh(layer, weight, _spread(seed, position)) for position, weight in enumerate(layer.weights)]


def _fresh(layer, weight, seed: int) -> np.ndarray:
    name = weight.name.split("/")[-1].split(":")[0]
    initializer = getattr(layer, f"{name}_initializer")
    config = initializer.get_config()
    if "seed" in config:
        initializer = type(initializer).from_config({**config, "seed": seed})
    return np.asarray(initializer(weight.shape, dtype="float32"))


def _spread(seed: int, position: int) -> int:
    return int(np.random.SeedSequence([seed, position]).generate_state(1)[0])
