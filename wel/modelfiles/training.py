"""What a configuration has for training alone: where it is foreign, it is left out, because no prediction depends on it."""

from __future__ import annotations

import re
from typing import Any, Mapping

from wel.modelfiles.conversion import Converted
from wel.modelfiles.foreign import foreign_parts, known_classes, known_strings

ARGUMENT = re.compile(r"(?:.*_)?(initializer|regularizer|constraint)")
WORDS = {"initializer": "initialiser", "regularizer": "regulariser", "constraint": "constraint"}
# layers of published packages that do nothing at inference, and the packages: a Dropout with a noise shape, one of whole samples
DROPOUTS = {"FixedDropout": "efficientnet", "DropConnect": "keras_efficientnets"}


def without_training(configuration: Any, given: Mapping[str, Any]) -> Converted:
    """The configuration without foreign initialisers, regularisers and constraints of Keras's own layers, and without foreign dropout.

    Args:
        configuration: of a model, as its file has it.
        given: name -> class or function that the user vouches for, which stays.
    """
    found: list[str] = []
    changed = _rewritten(configuration, given, found)
    notes = (f"Left out, as it matters in training only: {', '.join(dict.fromkeys(found))}.",) if found else ()
    return Converted(changed, notes)


def _rewritten(part: Any, given: Mapping[str, Any], found: list[str]) -> Any:
    """A copy; adds to `found` what was left out."""
    if isinstance(part, list):
        return [_rewritten(value, given, found) for value in part]
    if not isinstance(part, dict):
        return part
    kind, config = part.get("class_name"), part.get("config")
    if isinstance(kind, str) and isinstance(config, dict):
        if kind in DROPOUTS and kind not in given:
            found.append(f"the layer {kind} of the package {DROPOUTS[kind]}")
            return _dropout(part)
        if kind in known_classes():
            foreign = {key: words for key, value in config.items() if (words := _foreign(key, value, given))}
            found.extend(words for key, words in foreign.items() if not _is_of_keras(config[key]))
            part = {**part, "config": {key: value for key, value in config.items() if key not in foreign}}
    return {key: _rewritten(value, given, found) for key, value in part.items()}


def _foreign(key: str, value: Any, given: Mapping[str, Any]) -> str | None:
    """A foreign initialiser, regulariser or constraint in words; None for other arguments and for Keras's own."""
    role = ARGUMENT.fullmatch(key)
    if not role or not isinstance(value, (str, dict)):
        return None
    if value in known_strings() | given.keys() if isinstance(value, str) else not foreign_parts(value, given):
        return None
    name = value
    if isinstance(value, dict):
        name = value.get("config") if value.get("class_name") == "function" else value.get("class_name")
    return f"the {WORDS[role[1]]} {str(name)[:80]}"


def _is_of_keras(value: Any) -> bool:
    """Whether it is one that only another version of Keras has, which is nothing of the user's."""
    return isinstance(value, dict) and str(value.get("module")).split(".")[0] == "keras"


def _dropout(layer: dict) -> dict:
    config = {key: value for key, value in layer["config"].items() if key in ("name", "trainable", "dtype", "batch_input_shape")}
    own = {"module": "keras.layers", "registered_name": None} if "module" in layer else {}
    return {**layer, **own, "class_name": "Dropout", "config": {**config, "rate": 0.5}}
