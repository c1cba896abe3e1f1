"""Files of tf_keras, as Keras 2 is called beside Keras 3: its configurations in the words that all of Keras 2 knows."""

from __future__ import annotations

from typing import Any

from wel.modelfiles.conversion import name_of, refused

# class -> arguments that TensorFlow's own Keras 2 has not -> the values at which they change nothing at inference
GONE: dict[str, dict[str, tuple]] = {
    "InputLayer": {"optional": (False, None)},
    "Softmax": {"robust_masking": (False, True)},
    "MultiHeadAttention": {"softmax_robust_masking": (False, True)},
}


def in_keras2(part: Any) -> Any:
    """A copy of a configuration, or a part of one, with Keras's modules in place of tf_keras's.

    Raises:
        WelError: for an argument that changes something.
    """
    if isinstance(part, list):
        return [in_keras2(value) for value in part]
    if not isinstance(part, dict):
        return part
    module, gone, config = part.get("module"), GONE.get(_kind(part), {}), part.get("config")
    if isinstance(module, str) and module.split(".")[0] == "tf_keras":
        part = {**part, "module": module.removeprefix("tf_")}
    if gone and isinstance(config, dict):
        changing = [key for key, values in gone.items() if key in config and config[key] not in values]
        if changing:
            raise refused(f"its layer '{name_of(part)}' has {changing[0]}={config[changing[0]]!r}, which wel does not read.")
        part = {**part, "config": {key: value for key, value in config.items() if key not in gone}}
    return {key: in_keras2(value) for key, value in part.items()}


def _kind(part: dict) -> str:
    kind = part.get("class_name")
    return kind if isinstance(kind, str) else ""
