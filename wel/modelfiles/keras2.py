"""Models of Keras 2, whichever package wrote them: keras up to 2.15, tf_keras from 2.16 on, in the words of the one that is there."""

from __future__ import annotations

from typing import Any

from wel.keras.either import OWN
from wel.keras.two import root
from wel.modelfiles.conversion import Converted, name_of, refused

# arguments that came with a later Keras 2 -> the values at which they change nothing
LATER: dict[str, tuple] = {"optional": (False, None), "softmax_robust_masking": (False, None), "rng_type": None}


def converted(configuration: dict) -> Converted:
    """The configuration with the modules of the Keras 2 that is there, and without what only later ones know.

    Raises:
        WelError: for an argument that says something, and that not every Keras 2 knows.
    """
    return Converted(_rewritten(configuration), ())


def _rewritten(part: Any) -> Any:
    if isinstance(part, list):
        return [_rewritten(value) for value in part]
    if not isinstance(part, dict):
        return part
    if isinstance(part.get("config"), dict) and "class_name" in part:
        part = {**part, "config": _without_later(part)}
    return {key: _here(value) if key == "module" else _rewritten(value) for key, value in part.items()}


def _without_later(layer: dict) -> dict:
    for key, harmless in LATER.items():
        value = layer["config"].get(key)
        if harmless is not None and value not in harmless:
            raise refused(f"its layer '{name_of(layer)}' has {key}={str(value)[:60]}, which Keras 2.14 has not.")
    return {key: value for key, value in layer["config"].items() if key not in LATER}


def _here(module: Any) -> Any:
    """A module of Keras's own as it is called here."""
    if not isinstance(module, str):
        return module
    first, *rest = module.split(".")
    return ".".join([root() if first in OWN else first, *rest])
