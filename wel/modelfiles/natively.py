"""Files of Keras 3 that Keras 3 itself builds, where it is there: what of their configurations is its own, and only computes."""

from __future__ import annotations

import inspect
import json
import re
import sys
from functools import cache
from typing import Any, Iterator, Mapping

from wel.keras.three import keras3
from wel.modelfiles import keras3 as down
from wel.modelfiles.configuration import objects
from wel.modelfiles.conversion import MODELS, Converted, malformed_refused, name_of, refused
from wel.modelfiles.foreign import CODE, NO_ACTIVATIONS, UNREAD, Known, known_classes

# modules of Keras 3's own layers, models and operations; those of keras.src.ops.core can run functions, but for a few
MODELS_IN = {
    "Sequential": "keras.src.models.sequential",
    "Functional": "keras.src.models.functional",
    "Model": "keras.src.models.functional",
}
OPERATIONS = tuple(f"keras.src.ops.{name}" for name in ("numpy", "nn", "math", "linalg", "image", "core"))
CORE = frozenset("Cast SaturateCast Scatter ScatterUpdate Slice SliceUpdate StopGradient".split())
OWN = re.compile(r"keras\.src\.(layers|applications)\..+")
INITIAL = ("keras.initializers", "keras.regularizers", "keras.constraints")
# how it writes plain values
VALUES = frozenset("DTypePolicy __keras_tensor__ __slice__ __numpy__ __tensor__".split())
# of a layer, what predictions do not depend on; LoRA's small matrices are in the file's kernel already
TRAINING = re.compile(r".*_(initializer|regularizer|constraint)|lora_rank|lora_alpha")
# their order of channels says nothing
WITHOUT_CHANNELS = re.compile(r"Flatten|SpatialDropout.*")


def applies(configuration: dict, keras_version: str | None, given: Mapping[str, Any]) -> bool:
    """Whether Keras 3 is there and builds the model: a file of Keras 3 whose images have the channels last.

    Args:
        configuration: of a model.
        keras_version: that wrote it, None where it is not known.
        given: name -> class or function that the user vouches for; a model of such a class is Keras 3's where the class is.

    Raises:
        WelError: for what is no model's configuration.
    """
    if not keras3():
        return False
    kind = configuration.get("class_name")
    if kind not in MODELS:
        own = given.get(kind) if isinstance(kind, str) else None
        return inspect.isclass(own) and issubclass(own, keras3().Model)
    return down.applies(configuration, keras_version) and not any(map(_is_channels_first, _parts(configuration)))


def _is_channels_first(part: dict) -> bool:
    config = part["config"]
    return isinstance(config, dict) and config.get("data_format") == "channels_first" and not WITHOUT_CHANNELS.fullmatch(part["class_name"])


def _parts(configuration: Any) -> Iterator[dict]:
    """Everything in a configuration that is a class and its arguments."""
    return (part for part, _ in objects(configuration) if isinstance(part.get("class_name"), str) and "config" in part)


def converted(configuration: dict) -> Converted:
    """The configuration for inference, with the modules of Keras 3 that is installed, which alone it imports.

    Initialisers, regularisers and constraints of Keras's own layers are left out, and arguments at the values at which they change nothing,
    which another version of Keras 3 may not know.

    Raises:
        WelError: for quantized layers.
    """
    note = f"Read with Keras {keras3().__version__}, without initialisers, regularisers and constraints."
    with malformed_refused("Keras 3"):
        for part in _parts(configuration):
            _check_quantized(part)
        return Converted(_rewritten(configuration), (note,))


def _check_quantized(part: dict) -> None:
    config = part["config"] if isinstance(part["config"], dict) else {}
    policy = config.get("dtype")
    kind = policy.get("class_name") if isinstance(policy, dict) else "DTypePolicy"
    if kind != "DTypePolicy":
        raise refused(f"its layer '{name_of(part)}' has the dtype policy {str(kind)[:80]}, which is not read.")
    if config.get("quantization_config") is not None:
        raise refused(f"its layer '{name_of(part)}' is quantized, which is not read.")


def _rewritten(part: Any) -> Any:
    if isinstance(part, list):
        return [_rewritten(value) for value in part]
    if not isinstance(part, dict):
        return part
    own = own_class(part)
    if part.get("class_name") == "function" and str(part.get("config")) in known_activations() and _is_of_keras(part.get("module")):
        return {"module": "builtins", "class_name": "function", "config": part["config"], "registered_name": part["config"]}
    if own is None:
        return {key: _rewritten(value) for key, value in part.items()}
    config = part["config"]
    if isinstance(config, dict):
        config = {key: _rewritten(value) for key, value in config.items() if not _is_left_out(key, value)}
        if own is keras3().layers.InputLayer and "batch_shape" in config:
            config["batch_input_shape"] = config.pop("batch_shape")  # which both Keras know
    more = {key: _rewritten(part[key]) for key in ("name", "inbound_nodes", "shared_object_id") if key in part}
    return {"module": _module(own), "class_name": own.__name__, "config": config, "registered_name": None, **more}


def _is_of_keras(module: Any) -> bool:
    return module is None or str(module).split(".")[0] in ("keras", "builtins")


def _is_left_out(key: str, value: Any) -> bool:
    return bool(TRAINING.fullmatch(key)) or (key in down.GONE and not isinstance(value, (dict, list)) and value in down.GONE[key])


def _module(own: type) -> str:
    return "keras.layers" if vars(keras3().layers).get(own.__name__) is own else own.__module__


def own_class(part: Any) -> type | None:
    """Keras 3's own class of a layer, a model or an operation that only computes; None for anything else. Nothing is imported."""
    kind, module = (part.get("class_name"), part.get("module")) if isinstance(part, dict) and "config" in part else (None, None)
    if not isinstance(kind, str) or not isinstance(module, (str, type(None))) or kind in CODE or kind in UNREAD:
        return None
    return next((found for home in _homes(part, kind, module) if (found := _own_in(home, kind))), None)


def _homes(part: dict, kind: str, module: str | None) -> Iterator[str]:
    """The modules in which a class can be; HDF5 files name none."""
    if kind in MODELS_IN:
        yield MODELS_IN[kind] if module is None or module.split(".")[0] == "keras" else module
    elif module is not None:
        yield module
    else:
        layers = ("keras.layers", *(name for name in sorted(sys.modules) if OWN.fullmatch(name)))
        is_layer = isinstance(part["config"], dict) and bool({"trainable", "batch_shape", "batch_input_shape"} & set(part["config"]))
        yield from (layers if is_layer else (*OPERATIONS, *layers))


def _own_in(module: str, kind: str) -> type | None:
    found = vars(sys.modules[module]).get(kind) if module in sys.modules else None
    if not inspect.isclass(found) or not issubclass(found, keras3().Operation):
        return None
    home = found.__module__
    computes = home in OPERATIONS and (home != "keras.src.ops.core" or kind in CORE)
    return found if computes or OWN.fullmatch(home) or home == MODELS_IN.get(kind) else None


def _is_own(part: dict) -> bool:
    kind, module = part["class_name"], part.get("module")
    if kind in VALUES or own_class(part) is not None:
        return True
    return kind in known_classes() and module in (None, *INITIAL)


@cache
def known_activations() -> frozenset[str]:
    """Names that Keras 3 accepts for an activation function."""
    return frozenset(name for name, value in vars(keras3().activations).items() if inspect.isfunction(value)) - NO_ACTIVATIONS


KNOWN = Known(_is_own, known_activations, lambda name: keras3().saving.get_registered_object(name))


def built(configuration: dict, given: Mapping[str, Any], allow_code: bool) -> Any:
    """What Keras 3 builds of a configuration that has been checked."""
    return keras3().saving.deserialize_keras_object(
        json.loads(json.dumps(configuration)), custom_objects=dict(given), safe_mode=not allow_code
    )
