"""From what a user names (a zoo name, a file, a live Keras model) to a Network that ends in logits."""

from __future__ import annotations

import json
import math
import os
import random
import re
from contextlib import contextmanager
from dataclasses import dataclass, replace
from numbers import Integral
from pathlib import Path
from typing import Any, Iterator, Mapping, Sequence

import numpy as np

from wel.errors import WelError, check_whole, first_line, invalid
from wel.keras.two import keras2, private
from wel.modelfiles import hdf5
from wel.modelfiles.budget import free, size
from wel.modelfiles.building import Building, Rules, load_weights, loading_scope, quiet
from wel.modelfiles.configuration import parsed
from wel.modelfiles.conversion import FileError, RefusedError
from wel.modelfiles.custom import custom_objects_of
from wel.modelfiles.modelfile import (
    MODEL_SUFFIXES,
    WEIGHTS_SUFFIXES,
    ModelFile,
    Origin,
    Weights,
    check_weights_path,
    opened,
    opened_weights,
)
from wel.networks.graph import Graph
from wel.networks.imagenet import imagenet_file, load_by_name
from wel.networks.initialization import initialize
from wel.networks.inputs import one_input
from wel.networks.logits import logits_and_activation, one_vector, with_output
from wel.networks.network import Network
from wel.networks.zoo import ZOO, Architecture
from wel.system.files import file_sha256, listing_sha256, models_folder

# what makes a directory a SavedModel
SAVED_MODEL = "saved_model.pb"


@dataclass(frozen=True)
class Loaded:
    """A Keras model as it was loaded, with all of its outputs and its last activation."""

    model: Any
    name: str
    origin: Origin | None
    architecture: Architecture | None = None


def load(
    model: Any,
    weights: str | Path | None = None,
    input_shape: Sequence[int] | None = None,
    classes: int | None = None,
    seed: int = 0,
    output: str | None = None,
    output_index: str | Sequence[int] | None = None,
    input: str | None = None,
    fixed: Mapping[str, Any] | str | Path | None = None,
    allow_code: bool = False,
    custom_objects: Mapping[str, Any] | str | None = None,
) -> Network:
    """Loads a network: by zoo name, from a .h5, .hdf5 or .keras file, from .json and weights, a SavedModel, or a live Keras model.

    A softmax or sigmoid at the end is taken off, so that the network ends in logits; then the model is a copy.
    A file is data from strangers: it is read within bounds, and nothing that it carries or names is run or imported unless that is allowed.

    Args:
        model: zoo name, path, or Keras model.
        weights: for the zoo "random", "imagenet" (vgg16, resnet50) or a file; by default the trained weights. A file of these two may be
            without the dense layers, which are random then.
            For a .json file the weights file.
        input_shape: (height, width, channels), for a zoo network with random weights, or the shape of one input, channels last, for a file
            that says none or leaves sizes open.
        classes: number of logits, for a zoo network with random weights.
        seed: of random weights. The caller's own random generators stay as they are.
        output: which output of a model with several: its name, its layer's name or its number.
        output_index: of an output (*places, classes), such as a segmentation's, the place whose logits count, "12,40" or (12, 40), or
            "mean" over all places.
        input: which input varies of a model with several; its name.
        fixed: the values of the other inputs, one array each without the batch dimension: {name: array}, or an .npz file.
        allow_code: runs Lambda layers and other code that a file carries, imports modules that it names, and loads SavedModels.
        custom_objects: classes and functions that a file names and the caller vouches for: {name: class}, or "module:Name,Other".

    Raises:
        WelError: when there is no such network or file, the file is no Keras model, carries code, or declares more than it stores;
            when weights are not finite, or the layers' values of one image do not fit into memory; when TensorFlow does not execute
            eagerly.
    """
    _check_eager()
    with _random_state_kept():
        rules = Rules(custom_objects_of(custom_objects), bool(allow_code))
        with quiet():
            loaded = _loaded(model, weights, input_shape, classes, seed, rules)
            with loading_scope(rules.given, rules.allow_code):
                alone = replace(loaded, model=one_input(loaded.model, input, fixed))
                return _network(alone, output, output_index, input)


def check_named(model: str | Path) -> None:
    """Raises WelError for a name that is neither a network's of the zoo nor that of a file that might be a model; imports no TensorFlow."""
    path = Path(model)
    if str(model) in ZOO:
        return
    if not os.path.exists(path):
        files = f"an existing file ({', '.join(WEIGHTS_SUFFIXES)} or .json with weights)"
        raise invalid("model", str(path), f"one of {', '.join(ZOO)}, or {files}")
    if not _is_saved_model(path) and (path.suffix not in MODEL_SUFFIXES or not path.is_file()):
        raise invalid("model", str(path), f"a file that ends in {', '.join(WEIGHTS_SUFFIXES)} or .json")


def _is_saved_model(path: Path) -> bool:
    return (path / SAVED_MODEL).is_file()


def rebuilt(configuration: str, arrays: Sequence[np.ndarray]) -> Any:
    """A Keras model of a configuration as `to_json` gives it, read as a file's is, with weights in the order of its `get_weights`.

    Raises:
        WelError: when it is no model of Keras's own layers, or the weights do not fit.
    """
    try:
        with _random_state_kept(), quiet():
            found = parsed(configuration)
            building = Building(found, found.get("keras_version"), sum(np.size(array) for array in arrays), Rules({}, False))
            return building.with_weights(arrays)
    except FileError as error:
        raise WelError(f"Invalid value for `model_json`: the model {error}") from error
    except WelError as error:
        raise WelError(f"Invalid value for `model_json`: {error}") from error
    except Exception as error:
        raise WelError(
            f"Invalid value for `model_json` or `model_weights`: {first_line(error)}. Expected a model as Keras writes it."
        ) from error


def _check_eager() -> None:
    import tensorflow as tf

    if not tf.executing_eagerly():
        where = "tf.compat.v1.disable_eager_execution() was called, or another graph is the default"
        message = f"TensorFlow does not execute eagerly here: {where}. Expected eager execution, in which wel computes"
        raise WelError(f"{message}; the command line, or a Python process without that call, has it.")


def _loaded(model: Any, weights, input_shape, classes, seed: int, rules: Rules) -> Loaded:
    if str(model) in ZOO:
        return _from_zoo(ZOO[str(model)], weights, input_shape, classes, seed)
    _refuse_settings(classes=classes)
    if isinstance(model, (str, Path)):
        return _from_file(Path(model), weights, replace(rules, input_shape=_checked_shape(input_shape)))
    _refuse_settings(weights=weights, input_shape=input_shape)
    return Loaded(model, getattr(model, "name", "model"), None)


def _network(loaded: Loaded, output: str | None, index: str | Sequence[int] | None, varied: str | None) -> Network:
    model, activation = logits_and_activation(with_output(loaded.model, output))
    model = one_vector(model, index)
    origin = loaded.origin and replace(loaded.origin, notes=loaded.origin.notes + _changed(varied, output, index, activation))
    network = Network(model, loaded.name, loaded.architecture, origin, activation)
    if origin:
        check_activations(network.graph)
    return network


def _changed(varied: str | None, output: str | None, index: str | Sequence[int] | None, activation: str | None) -> tuple[str, ...]:
    notes = []
    if varied is not None:
        notes.append(f"Of its inputs, {varied!r} varies; the others are held at values that were given.")
    if output is not None:
        notes.append(f"Of its outputs, {output!r} was taken.")
    if index is not None:
        notes.append(f"Of the places of its output, {'the mean' if index == 'mean' else index} was taken.")
    if activation is not None:
        notes.append(f"The {activation} at its end was taken off, so that it ends in logits.")
    return tuple(notes)


@contextmanager
def _random_state_kept() -> Iterator[None]:
    """Puts back the generators from which Keras draws a seed for every layer that it builds: Python's, or its own when one was set."""
    generators = [random, getattr(private("_SEED_GENERATOR"), "generator", None) or random]
    states = [generator.getstate() for generator in generators]
    try:
        yield
    finally:
        for generator, state in zip(generators, states):
            generator.setstate(state)


def _refuse_settings(**settings: Any) -> None:
    for name, value in settings.items():
        if value is not None:
            expected = {"weights": ", and for a .json file", "input_shape": ", and for files"}.get(name, "")
            raise invalid(name, value, f"nothing: it is for networks of the zoo ({', '.join(ZOO)}){expected}")


def parse_shape(text: str | None) -> tuple[int, ...] | None:
    """ "224,224,3" or "224x224x3" as numbers.

    Raises:
        WelError: for anything else.
    """
    if text is None:
        return None
    sizes = [size.strip() for size in text.replace("x", ",").strip("() ,").split(",")]
    if not all(re.fullmatch(r"[1-9]\d{0,8}", size) for size in sizes):
        raise invalid("input-shape", text, "whole numbers from 1 on, such as 224,224,3")
    return tuple(map(int, sizes))


def _checked_shape(shape: Sequence[int] | None) -> tuple[int, ...] | None:
    if shape is None:
        return None
    if not isinstance(shape, Sequence) or not shape or not all(isinstance(size, Integral) and size > 0 for size in shape):
        raise invalid("input_shape", shape, "whole numbers from 1 on, such as (224, 224, 3)")
    return tuple(map(int, shape))


def _from_zoo(arch: Architecture, weights, input_shape, classes, seed: int) -> Loaded:
    if weights == "random":
        check_whole("seed", seed, 0)
        model = _built(arch, input_shape, classes)
        initialize(model, seed)
        return Loaded(model, arch.name, Origin("zoo network", notes=(f"Its weights are random, of seed {seed}.",)), arch)
    if input_shape is not None or classes is not None:
        message = "Invalid value for `input_shape` or `classes`: trained weights fit one shape only."
        raise WelError(f"{message} Expected weights='random' with them.")
    return _trained(arch, weights, seed)


def _built(arch: Architecture, input_shape, classes):
    if classes is not None:
        check_whole("classes", classes, 1)
    try:
        return arch.build(tuple(input_shape or arch.input_shape), classes or arch.classes)
    except (ValueError, TypeError) as error:
        expected = f"(height, width, channels), large enough for the pooling layers of {arch.name}"
        raise invalid("input_shape", input_shape, expected) from error


def _trained(arch: Architecture, weights, seed: int) -> Loaded:
    if arch.trained == "imagenet":
        path = imagenet_file(arch.name) if weights in (None, "imagenet") else Path(weights)
        model = arch.build(arch.input_shape, arch.classes)
        _check_sizes(path)
        return _zoo_network(arch, model, path, **_without_weights(model, load_by_name(model, path), seed))
    path = _bundled_weights(arch) if weights is None else Path(weights)
    model = arch.build(arch.input_shape, arch.classes)
    return _zoo_network(arch, model, path, notes=_load_weights_file(model, path))


def _without_weights(model, names: tuple[str, ...], seed: int) -> dict[str, Any]:
    """Gives layers that a file has no weights for random ones; what `Origin` says of them."""
    if not names:
        return {}
    check_whole("seed", seed, 0)
    initialize(model, seed, names)
    return {"random": names, "notes": (f"The file has no weights for {', '.join(names)}: these layers are random, of seed {seed}.",)}


def _zoo_network(arch: Architecture, model, path: Path, **about: Any) -> Loaded:
    return Loaded(model, arch.name, Origin("zoo network", weights=str(path), weights_sha256=file_sha256(path), **about), arch)


def _check_sizes(path: Path) -> None:
    """A first look at a file of weights, before its sizes are believed."""
    if path.is_file():
        with _refused("weights", path, "cannot be read"), hdf5.opened(path, path.stat().st_size):
            pass


def _bundled_weights(arch: Architecture) -> Path:
    folder = models_folder() / arch.name
    path = folder / f"{arch.name}.h5"
    if not (path.is_file() and (folder / "card.json").is_file()):
        expected = f"Expected `--weights random`, `--weights FILE`, or '{path}' with its card.json"
        raise WelError(f"The trained weights of {arch.name} are not in this checkout. {expected}.")
    card = json.loads((folder / "card.json").read_text())
    if file_sha256(path) != card["sha256"]:
        raise WelError(f"Invalid file '{path}'. Expected the bundled weights with sha256 {card['sha256']}. Received other contents.")
    return path


def _load_weights_file(model, path: Path) -> tuple[str, ...]:
    check_weights_path(path)
    with _refused("weights", path, "does not fit the network"), opened_weights(path) as weights:
        return load_weights(model, weights)


def _from_file(path: Path, weights, rules: Rules) -> Loaded:
    check_named(path)
    if _is_saved_model(path):
        _refuse_settings(weights=weights, input_shape=rules.input_shape)
        return _from_saved_model(path, rules)
    if path.suffix == ".json":
        return _from_json(path, weights, rules)
    _refuse_settings(weights=weights)
    with _refused("model", path, "is not a Keras model file"), opened(path) as file:
        building = Building(file.configuration, file.keras_version, file.weights.numbers, rules)
        with _refused("model", path, "holds weights that do not fit its architecture"):
            model, notes = building.loaded(file.weights)
        return Loaded(model, path.stem, _origin(file, path, notes=notes))


def _from_json(path: Path, weights, rules: Rules) -> Loaded:
    if weights is None:
        raise WelError(f"Invalid value for `weights`: None. Expected the weights file that belongs to '{path}'.")
    with _refused("model", path, "is not a Keras architecture"), opened(path) as file:
        pass
    check_weights_path(weights := Path(weights))
    with _refused("weights", weights, "does not fit the network"), opened_weights(weights) as stored:
        with _refused("model", path, "is not a Keras architecture"):
            building = Building(file.configuration, file.keras_version or stored.keras_version, stored.numbers, rules)
        model, notes = building.loaded(stored)
        return Loaded(model, path.stem, _origin(file, path, weights=weights, stored=stored, notes=notes))


def _origin(file: ModelFile, path: Path, notes: tuple[str, ...], weights: Path | None = None, stored: Weights | None = None) -> Origin:
    version, backend = (stored or file).keras_version, (stored or file).backend
    return Origin(
        file.kind,
        str(path),
        file_sha256(path),
        weights and str(weights),
        weights and file_sha256(weights),
        version or file.keras_version,
        backend or file.backend,
        notes,
    )


def _from_saved_model(path: Path, rules: Rules) -> Loaded:
    if not rules.allow_code:
        message = f"Invalid value for `model`: '{path}' is a SavedModel, a program that TensorFlow runs"
        raise WelError(f"{message}. Expected {', '.join(MODEL_SUFFIXES)}, or `--allow-code` when you trust it.")
    with _refused("model", path, "cannot be read as a SavedModel"):
        with loading_scope(rules.given, rules.allow_code):
            model = keras2().models.load_model(path, compile=False)
        if not isinstance(model, keras2().Model):
            raise WelError("Expected one that Keras saved.")
    return Loaded(model, path.name, Origin("SavedModel", str(path), listing_sha256(path, file_sha256)))


class _Named(WelError):
    """A sentence that says already which file is meant."""


@contextmanager
def _refused(argument: str, path: Path, problem: str) -> Iterator[None]:
    """Whatever Keras and the readers of the file raise becomes one sentence that names the file."""
    try:
        yield
    except _Named:
        raise
    except FileError as error:
        raise _Named(f"Invalid value for `{argument}`: '{path}' {error}") from error
    except WelError as error:
        reason = error.reason if isinstance(error, RefusedError) else str(error)
        raise _Named(f"Invalid value for `{argument}`: '{path}' {problem}. {reason[:1].upper()}{reason[1:]}") from error
    except Exception as error:
        message = f"Invalid value for `{argument}`: '{path}' {problem} ({first_line(error)})"
        raise _Named(f"{message}. Expected a whole file as Keras saves it.") from error


# layers' values of one image may take this part of what is free; four bytes each
PART, ITEM = 4, 4


def check_activations(graph: Graph) -> None:
    """Raises WelError when the values of all layers for one image take more than a quarter of the memory that is free."""
    needed = ITEM * sum(math.prod(node.shape) for node in graph.nodes)
    if needed > free() // PART:
        largest = max(graph.nodes, key=lambda node: math.prod(node.shape))
        message = f"Invalid value for `model`: the values of its layers take {size(needed)} for one image"
        most = f"most of it those of '{largest.name}', of shape {largest.shape}"
        raise WelError(f"{message}, {most}. Expected {size(free() // PART)} at most, a quarter of what is free.")
