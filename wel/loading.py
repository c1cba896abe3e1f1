"""From what a user names (a zoo name, a file, a live Keras model) to a Network that ends in logits."""
from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from wel.errors import WelError, invalid
from wel.imagenet import imagenet_file, load_by_name
from wel.initialization import initialize
from wel.logits import without_final_activation
from wel.network import Network
from wel.paths import file_sha256, models_folder
from wel.zoo import ZOO, Architecture

MODEL_SUFFIXES = (".h5", ".hdf5", ".keras")


def load(
    model: Any,
    weights: str | Path | None = None,
    input_shape: tuple[int, int, int] | None = None,
    classes: int | None = None,
    seed: int = 0,
) -> Network:
    """Loads a network: by zoo name, from a .h5, .hdf5 or .keras file, from .json and weights, or a live Keras model.

    A softmax or sigmoid at the end is taken off, so that the network ends in logits; then the model is a copy.

    Args:
        model: zoo name, path, or Keras model.
        weights: for the zoo "random", "imagenet" (vgg16, resnet50) or a file; by default the trained weights. For a .json file the weights file.
        input_shape: (height, width, channels), for a zoo network with random weights.
        classes: number of logits, for a zoo network with random weights.
        seed: of random weights.

    Raises:
        WelError: when there is no such network or file, or the file is no Keras model.
    """
    if not isinstance(model, (str, Path)):
        return Network(without_final_activation(model), getattr(model, "name", "model"))
    if str(model) in ZOO:
        return _from_zoo(ZOO[str(model)], weights, input_shape, classes, seed)
    path = Path(model)
    if not path.exists():
        raise invalid("model", str(model), f"one of {', '.join(ZOO)}, or an existing file ({', '.join(MODEL_SUFFIXES)} or .json with weights)")
    return Network(without_final_activation(_from_file(path, weights)), path.stem)


def _from_zoo(arch: Architecture, weights, input_shape, classes, seed: int) -> Network:
    if weights == "random":
        model = _built(arch, input_shape, classes)
        initialize(model, seed)
        return Network(model, arch.name, arch)
    if input_shape or classes:
        raise WelError("Invalid value for `input_shape` or `classes`: trained weights fit one shape only. Expected weights='random' with them.")
    return Network(_trained(arch, weights), arch.name, arch)


def _built(arch: Architecture, input_shape, classes):
    try:
        return arch.build(tuple(input_shape or arch.input_shape), arch.classes if classes is None else classes)
    except (ValueError, TypeError) as error:
        message = f"Invalid value for `input_shape` or `classes`: {arch.name} cannot be built with {input_shape} and {classes}."
        raise WelError(f"{message} {_first_line(error)}") from error


def _trained(arch: Architecture, weights):
    if arch.trained == "imagenet":
        path = imagenet_file(arch.name) if weights in (None, "imagenet") else Path(weights)
        model = arch.build(arch.input_shape, arch.classes)
        load_by_name(model, path)
        return model
    path = _bundled_weights(arch) if weights is None else Path(weights)
    model = arch.build(arch.input_shape, arch.classes)
    _load_weights_file(model, path)
    return model


def _bundled_weights(arch: Architecture) -> Path:
    folder = models_folder() / arch.name
    path = folder / f"{arch.name}.h5"
    if not (path.is_file() and (folder / "card.json").is_file()):
        raise WelError(f"The trained weights of {arch.name} are not in this checkout. Expected `--weights random`, `--weights FILE`, or '{path}'.")
    card = json.loads((folder / "card.json").read_text())
    if file_sha256(path) != card["sha256"]:
        raise WelError(f"Invalid file '{path}'. Expected the bundled weights with sha256 {card['sha256']}. Received other contents.")
    return path


def _load_weights_file(model, path: Path) -> None:
    if not path.is_file():
        raise invalid("weights", str(path), "'random' or an existing weights file")
    try:
        model.load_weights(path)
    except (OSError, ValueError, KeyError) as error:
        raise WelError(f"Invalid value for `weights`: '{path}' does not fit {model.name}. {_first_line(error)}") from error


def _from_file(path: Path, weights):
    from tensorflow import keras

    if path.suffix == ".json":
        return _from_json(path, weights)
    if path.suffix not in MODEL_SUFFIXES or not path.is_file():
        raise invalid("model", str(path), f"a file that ends in {', '.join(MODEL_SUFFIXES)} or .json")
    _refuse_code(_configuration(path), path)
    try:
        return keras.models.load_model(path, compile=False)
    except Exception as error:  # Keras raises whatever its layers raise for a file that is not one of its own
        raise WelError(f"Invalid value for `model`: '{path}' cannot be read as a Keras model. {_first_line(error)}") from error


def _from_json(path: Path, weights):
    from tensorflow import keras

    if weights is None:
        raise WelError(f"Invalid value for `weights`: None. Expected the weights file that belongs to '{path}'.")
    text = path.read_text(errors="replace")
    _refuse_code(text, path)
    try:
        model = keras.models.model_from_json(text)
    except Exception as error:  # as above
        raise WelError(f"Invalid value for `model`: '{path}' is not a Keras architecture. {_first_line(error)}") from error
    _load_weights_file(model, Path(weights))
    return model


def _configuration(path: Path) -> str:
    import zipfile

    import h5py

    try:
        if path.suffix == ".keras":
            with zipfile.ZipFile(path) as archive:
                return archive.read("config.json").decode()
        with h5py.File(path, "r") as file:
            config = file.attrs["model_config"]
            return config.decode() if isinstance(config, bytes) else str(config)
    except KeyError as error:
        message = f"Invalid value for `model`: '{path}' holds no architecture. Expected a whole model, or a zoo name with `weights`."
        raise WelError(message) from error
    except (OSError, zipfile.BadZipFile, UnicodeDecodeError) as error:
        raise WelError(f"Invalid value for `model`: '{path}' is not a Keras model file. {_first_line(error)}") from error


def _refuse_code(configuration: str, path: Path) -> None:
    for marker in ('"class_name": "Lambda"', '"class_name": "__lambda__"'):
        if marker in configuration:
            raise WelError(f"Invalid value for `model`: '{path}' carries code of its own (a Lambda layer), which wel does not run.")


def _first_line(error: Exception) -> str:
    lines = str(error).strip().splitlines()
    return lines[0][:200] if lines else type(error).__name__
