"""ImageNet weights of vgg16 and resnet50: Keras's published files, and weights files that are read by layer name."""

from __future__ import annotations

import io
import re
import sys
from contextlib import contextmanager, redirect_stdout
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Iterator

import numpy as np

from wel.errors import WelError, invalid
from wel.keras.two import keras2, private
from wel.modelfiles.hdf5 import listed
from wel.system.files import file_hash, in_image, keras_home


@dataclass(frozen=True)
class Published:
    """A weights file as Keras publishes it: file name, address, md5 in hexadecimal."""

    file: str
    origin: str
    md5: str


def published(name: str) -> Published:
    """Keras's own weights file of "vgg16" or "resnet50", as `keras.applications` names it."""
    file = f"{name}_weights_tf_dim_ordering_tf_kernels.h5"
    if name == "vgg16":
        # Keras writes this hash inside the function VGG16, so it cannot be imported
        return Published(file, private("vgg16").WEIGHTS_PATH, "64373286793e3c8b2b4e3219cbf3544b")
    return Published(file, private("resnet").BASE_WEIGHTS_PATH + file, private("resnet").WEIGHTS_HASHES[name][0])


def imagenet_file(name: str) -> Path:
    """The published ImageNet weights of a network, from Keras's cache (`models` in `keras_home`), else downloaded to there.

    Raises:
        WelError: when the file is not there and cannot be downloaded, or its md5 is not the published one.
    """
    source = published(name)
    path = keras_home() / "models" / source.file
    if not path.is_file():
        path = _downloaded(name, source, path)
    if file_hash(path, "md5") != source.md5:
        raise WelError(
            f"Invalid file '{path}'. Expected Keras's ImageNet weights of {name} with md5 {source.md5}. Received other contents. "
            "Delete it to have it downloaded anew, or pass it with `--weights FILE` if it is what you want."
        )
    return path


def _downloaded(name: str, source: Published, path: Path) -> Path:
    keras = keras2()
    try:
        with redirect_stdout(_Progress()):
            return Path(keras.utils.get_file(source.file, source.origin, cache_subdir="models", cache_dir=str(keras_home())))
    except Exception as error:  # get_file raises a bare Exception for every network failure
        reason = str(error).rpartition(" -- ")[2]  # what stands before it names the address, as does get_file's first line
        raise WelError(
            f"The ImageNet weights of {name} cannot be downloaded ({reason}). "
            f"Expected `--weights random`, `--weights FILE`, or the file '{path}' from another machine{_advice(name, path)}."
        ) from error


class _Progress(io.TextIOBase):
    """Keras's download bar on standard error, without the line before it, which stands alone where nothing can be downloaded."""

    def write(self, text: str) -> int:
        if not text.startswith("Downloading data from"):
            sys.stderr.write(text)
        return len(text)

    def flush(self) -> None:
        sys.stderr.flush()


def _advice(name: str, path: Path) -> str:
    if not in_image():
        return ""
    return f": `docker run -v FOLDER:{path.parent} …` with the folder that holds it, or an image built with `--build-arg WEIGHTS={name}`"


def load_by_name(model: Any, path: Path) -> tuple[str, ...]:
    """Sets a model's weights from a Keras HDF5 file (weights or whole model), layer by layer, by name.

    The file may be without the dense layers, as Keras's "notop" files are; their names are given back, and they keep their weights.
    ResNet-50 may have keras-applications 1.0.8's layer names (`res2a_branch2a`) or those of Keras 2.14 (`conv2_block1_1_conv`).

    Raises:
        WelError: when the file is no such file, or a layer is missing, is too much, or has weights of another shape;
            the first one is named.
    """
    with _weight_groups(path) as groups:
        layers = [(layer, _name_in_file(layer.name, groups)) for layer in model.layers if layer.weights]
        unknown = [name for name in groups if name not in {found for _, found in layers}]
        dense = {layer.name: found for layer, found in layers if type(layer).__name__ == "Dense"}
        missing = () if any(dense.values()) else tuple(dense)
        for layer, found in layers:
            if layer.name in missing:
                continue
            if found is None:
                raise _misfit(path, model, f"Layer '{layer.name}' is not in the file")
            layer.set_weights(_arrays(groups[found], layer, path, model))
        if unknown:
            raise _misfit(path, model, f"Layer '{unknown[0]}' of the file is not in the network")
        return missing


@contextmanager
def _weight_groups(path: Path) -> Iterator[dict[str, Any]]:
    """The HDF5 groups of all layers with weights, by layer name; whatever cannot be read from the file is the user's error."""
    import h5py

    if not path.is_file():
        raise invalid("weights", str(path), "'imagenet', 'random' or an existing weights file")
    try:
        with h5py.File(path, "r") as file:
            root: Any = file.get("model_weights", file)
            groups = {name: root[name] for name in listed(root, "layer_names")}
            if not groups:
                raise KeyError("layer_names")
            yield {name: group for name, group in groups.items() if listed(group, "weight_names")}
    except (OSError, KeyError) as error:
        expected = "a Keras file with weights by layer name, as `save_weights('….h5')` and `save('….h5')` write it"
        raise invalid("weights", str(path), expected) from error


def _name_in_file(name: str, groups: dict[str, Any]) -> str | None:
    return next((known for known in (name, *_later_names(name)) if known in groups), None)


def _later_names(name: str) -> tuple[str, ...]:
    """What later versions call a layer of keras-applications 1.0.8's ResNet-50: res2b_branch2a -> conv2_block2_1_conv.

    The shortcut's branch "1" has number 0; "probs" is the last layer in keras-applications 1.0.8's `resnet` module.
    """
    block = re.fullmatch(r"(res|bn)(\d)([a-f])_branch(1|2[abc])", name)
    if block is None:
        return {"conv1": ("conv1_conv",), "bn_conv1": ("conv1_bn",), "fc1000": ("predictions", "probs")}.get(name, ())
    kind, stage, letter, branch = block.groups()
    number = {"1": 0, "2a": 1, "2b": 2, "2c": 3}[branch]
    return (f"conv{stage}_block{'abcdef'.index(letter) + 1}_{number}_{'conv' if kind == 'res' else 'bn'}",)


def _arrays(group, layer, path: Path, model) -> list:
    arrays = [np.asarray(group[name]) for name in listed(group, "weight_names")]
    expected, received = [tuple(weight.shape) for weight in layer.weights], [array.shape for array in arrays]
    if expected != received:
        raise _misfit(path, model, f"Layer '{layer.name}' has weights of shape {expected}, the file has {received}")
    return arrays


def _misfit(path: Path, model, reason: str) -> WelError:
    return WelError(f"Invalid value for `weights`: '{path}' does not fit {model.name}. {reason}.")
