"""The model files of old and new Keras versions in tests/legacy, and broken versions of their configurations."""

from __future__ import annotations

import copy
import io
import json
import zipfile
from pathlib import Path
from typing import Any, Iterator

import h5py
import numpy as np

FOLDER = Path(__file__).resolve().parent / "legacy"
WRONG = (None, 3, -1, 1.5, "x", "", [], {}, [[]], [None], {"config": 1}, True, [1, 2], ["a", 0, 0], "__keras_tensor__")


def names(pattern: str) -> list[str]:
    """Names of the files that match, sorted."""
    found = sorted(path.name for path in FOLDER.glob(pattern) if path.suffix in (".h5", ".keras"))
    assert found
    return found


def opened(name: str) -> tuple[dict, h5py.Group]:
    """A file's configuration and its group of weights."""
    path = FOLDER / name
    if path.suffix == ".keras":
        with zipfile.ZipFile(path) as archive:
            return json.loads(archive.read("config.json")), h5py.File(io.BytesIO(archive.read("model.weights.h5")), "r")
    file = h5py.File(path, "r")
    return json.loads(file.attrs["model_config"]), file["model_weights"]


def arrays(name: str) -> tuple[np.ndarray, np.ndarray]:
    """The inputs of a file's model and what the Keras that made it predicts for them."""
    with np.load((FOLDER / name).with_suffix(".npz") if name.endswith((".h5", ".keras")) else FOLDER / name) as stored:
        return stored["inputs"], stored["outputs"]


def built(configuration: dict) -> Any:
    """The Keras model of a configuration."""
    from tensorflow import keras

    return keras.models.model_from_json(json.dumps(configuration))


def broken(configuration: dict, seed: int, count: int) -> Iterator[dict]:
    """Copies of a configuration in which one to three entries are missing or of a wrong type."""
    rng = np.random.default_rng(seed)
    for _ in range(count):
        mutant = copy.deepcopy(configuration)
        for _ in range(rng.integers(1, 4)):
            _break(mutant, rng)
        yield mutant


def _break(configuration: dict, rng: np.random.Generator) -> None:
    """Walks down at random and breaks what it finds there."""
    part, depth = configuration, rng.integers(0, 9)
    while True:
        keys = list(part) if isinstance(part, dict) else range(len(part))
        if not len(keys):
            return
        key = keys[rng.integers(len(keys))]
        if depth > 0 and isinstance(part[key], (dict, list)) and len(part[key]):
            part, depth = part[key], depth - 1
            continue
        if rng.random() < 0.3:
            del part[key]
        else:
            part[key] = copy.deepcopy(WRONG[rng.integers(len(WRONG))])
        return
