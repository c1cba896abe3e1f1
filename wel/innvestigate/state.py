"""The state of an analyzer: its model, its keywords and its patterns, as a dictionary and as a file."""

from __future__ import annotations

import json
import zipfile
from inspect import isclass
from pathlib import Path
from typing import Any, Mapping

import numpy as np

from wel.errors import WelError, invalid
from wel.innvestigate.rules import RULES
from wel.modelfiles.configuration import parsed
from wel.networks.loading import rebuilt
from wel.system.files import written_whole

# what stands in the JSON for an array, which lies beside it, and for what JSON has no words for
ARRAY, TUPLE = "array", "tuple"
MODEL = ("model_json", "model_weights")


def state_of(model: Any) -> dict[str, Any]:
    """A model as a part of a state.

    Raises:
        WelError: when its configuration cannot be written.
    """
    try:
        return dict(zip(MODEL, (model.to_json(), model.get_weights())))
    except Exception as error:  # whatever a layer raises for a configuration that is no JSON
        raise invalid("model", f"'{model.name}'", "layers whose configuration can be written as JSON") from error


def model_of(state: Mapping[str, Any]) -> tuple[Any, dict[str, Any]]:
    """The model of a state, built anew, and the rest of the state.

    Raises:
        WelError: when there is none in it, or it is none that Keras's own layers make.
    """
    if not isinstance(state, Mapping) or not set(MODEL) <= set(state) or "model" in state or not all(isinstance(key, str) for key in state):
        raise WelError(f"Invalid value for `state`: Expected a dictionary with {' and '.join(MODEL)}, as `save` gives it.")
    model = rebuilt(*(state[key] for key in MODEL))
    return model, {key: value for key, value in state.items() if key not in MODEL}


def write_state(path: str | Path, class_name: str, state: Mapping[str, Any]) -> None:
    """Writes an .npz file of JSON and arrays.

    Raises:
        WelError: for a value that neither is, or a file that cannot be written.
    """
    path, arrays = Path(path), []
    path = path if path.suffix == ".npz" else path.with_name(f"{path.name}.npz")  # as numpy names it
    text = json.dumps({"class_name": class_name, "state": _packed(dict(state), arrays)})
    try:
        with written_whole(path) as temporary, open(temporary, "wb") as file:
            np.savez(file, analyzer=text, **{f"{ARRAY}_{place}": array for place, array in enumerate(arrays)})
    except OSError as error:
        raise invalid("fname", str(path), f"a file that can be written ({error.strerror})") from error


def read_state(path: str | Path) -> tuple[str, dict[str, Any]]:
    """What `write_state` has written: class name and state.

    Raises:
        WelError: for another file, or one with pickles.
    """
    if not isinstance(path, (str, Path)):
        raise invalid("fname", path, "an existing .npz file")
    try:
        with np.load(path, allow_pickle=False) as file:
            found = parsed(str(file["analyzer"]))
            return str(found["class_name"]), _unpacked(found["state"], file)
    except FileNotFoundError as error:
        raise invalid("fname", str(path), "an existing .npz file") from error
    except (OSError, ValueError, TypeError, KeyError, EOFError, AttributeError, zipfile.BadZipFile) as error:
        raise WelError(f"Invalid value for `fname`: '{path}' is no analyzer that was saved here ({error}).") from error


def _packed(value: Any, arrays: list[np.ndarray]) -> Any:
    if isclass(value) and value in RULES.values():
        return value.__name__.removesuffix("Rule")
    if isinstance(value, np.ndarray) and value.dtype.kind in "biuf":
        arrays.append(value)
        return {ARRAY: len(arrays) - 1}
    if isinstance(value, np.generic):
        return value.item()
    if isinstance(value, Mapping):
        return {key: _packed(one, arrays) for key, one in value.items()}
    if isinstance(value, (list, tuple)):
        several = [_packed(one, arrays) for one in value]
        return several if isinstance(value, list) else {TUPLE: several}
    if value is None or isinstance(value, (bool, int, float, str)):
        return value
    raise invalid("state", value, "numbers, text, arrays, and rules by innvestigate's names, which a file can hold")


def _unpacked(value: Any, file: Mapping[str, np.ndarray]) -> Any:
    if isinstance(value, list):
        return [_unpacked(one, file) for one in value]
    if not isinstance(value, dict):
        return value
    if set(value) == {ARRAY}:
        return file[f"{ARRAY}_{value[ARRAY]}"]
    if set(value) == {TUPLE}:
        return tuple(_unpacked(one, file) for one in value[TUPLE])
    return {key: _unpacked(one, file) for key, one in value.items()}
