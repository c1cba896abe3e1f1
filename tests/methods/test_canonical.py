"""zennit's composites: its own numbers, and what is refused."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from replicas import relative
from tensorflow.keras import Sequential, layers

import wel

GOLDEN = np.load(Path(__file__).parents[1] / "golden" / "zennit.npz")
BOUNDS = {"epsilon_gamma_box": {"low": -1.5, "high": 2.0}}
METHODS = sorted({key.split("/")[1] for key in GOLDEN} - {"weights", "images", "vectors"})
STACKS = {
    "plane": lambda: [
        layers.Conv2D(4, 3),
        layers.ZeroPadding2D(),
        layers.Conv2D(5, 3, strides=2, activation="relu"),
        layers.AveragePooling2D(2, 1),
        layers.Conv2D(4, 2, activation="relu"),
        layers.MaxPooling2D(2, 1),
        layers.Flatten(),
        layers.Dense(6, activation="relu"),
        layers.Dense(3),
    ],
    "line": lambda: [
        layers.Conv1D(5, 3, activation="relu"),
        layers.Conv1D(4, 3, padding="same"),
        layers.Conv1D(4, 2),
        layers.ReLU(),
        layers.MaxPooling1D(2),
        layers.Flatten(),
        layers.Dense(5, activation="relu"),
        layers.Dense(3),
    ],
}


@pytest.fixture(scope="module")
def nets() -> dict[str, wel.Network]:
    return {name: net_of(name) for name in STACKS}


def net_of(name: str):
    model = Sequential([layers.Input(GOLDEN[f"{name}/images"].shape[1:]), *STACKS[name]()])
    model.set_weights([GOLDEN[key] for key in sorted(GOLDEN) if key.startswith(f"{name}/weights/")])
    return wel.load(model)


@pytest.mark.parametrize("method", METHODS)
@pytest.mark.parametrize("name", STACKS)
def test_numbers_are_zennits(nets, name, method):
    images, vectors = GOLDEN[f"{name}/images"], GOLDEN[f"{name}/vectors"][:, None]
    found = wel.relevance(nets[name], method, images, vectors=vectors, at="input", **BOUNDS.get(method, {}))["input"][:, 0]
    assert relative(found, GOLDEN[f"{name}/{method}"]) < 1e-5
