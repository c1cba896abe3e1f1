"""The patterns of a network (Kindermans et al. 2018): for each layer with a kernel an array of the kernel's shape.

A pattern says in which direction of its input a unit's signal lies; `wel.methods.fitting` estimates it, the pattern
methods use it. BatchNormalization that directly follows a layer is folded into it: w' = γ/√(σ²+ε)·w, and the pattern belongs to w'.

The schema of the file:
    pattern_000, pattern_001, …   one array per layer with a kernel, in execution order; float32 or float16
    about                         JSON text: network, layers, estimator, semantics, images, seed
    weights                       JSON text: layer -> sha256 of the weights that the patterns were fitted to
"""

from __future__ import annotations

import hashlib
import json
import zipfile
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Sequence

import numpy as np

from wel.errors import WelError, invalid
from wel.methods.registry import Method
from wel.networks.kernels import KernelLayer, kernel_layers, kernel_of
from wel.networks.network import Network
from wel.system.files import models_folder, written_whole

# the files that innvestigate 1.0.8 downloaded: arr_0, arr_1, … in layer order
PUBLISHED_MD5 = {"vgg16_pattern_type_relu_tf_dim_ordering_tf_kernels.npz": "8c2abe648e116a93fd5027fab49177b0"}
# relative L2
HALF_LOSS = 1e-3
# a fitted pattern has w·a = 1; how far float32 may be off, and for how many of a layer's units
UNIT_SIGNAL, UNITS_OFF = 0.1, 0.05


@dataclass(frozen=True)
class Patterns:
    """One pattern per layer with a kernel.

    Attributes:
        arrays: float32, each of its kernel's shape, in execution order.
        about: how they were fitted.
        weights: layer -> sha256 of the weights that they were fitted to; empty where a file does not tell.
    """

    arrays: tuple[np.ndarray, ...]
    about: dict[str, Any] = field(default_factory=dict)
    weights: dict[str, str] = field(default_factory=dict)

    def save(self, path: Path, half: bool = False) -> None:
        """Writes the file, whole or not at all; with `half` as float16 every array that this changes by less than `HALF_LOSS`.

        Raises:
            WelError: when it cannot be written.
        """
        arrays = {f"pattern_{i:03d}": _halved(array) if half else array for i, array in enumerate(self.arrays)}
        try:
            with written_whole(Path(path)) as temporary, open(temporary, "wb") as file:
                np.savez_compressed(file, about=json.dumps(self.about), weights=json.dumps(self.weights), **arrays)
        except OSError as error:
            raise invalid("out", str(path), f"a file that can be written ({error.strerror})") from error

    @staticmethod
    def load(path: Path) -> Patterns:
        """Reads a file of this module's schema, or of innvestigate 1.0.8's (arr_0, arr_1, … in layer order).

        Raises:
            WelError: when there is none, it is neither, or a published file has other contents than were published.
        """
        path = Path(path)
        try:
            with np.load(path, allow_pickle=False) as file:
                return (_positional if "arr_0" in file.files else _parsed)(file, path)
        except FileNotFoundError as error:
            raise invalid("patterns", str(path), "an existing .npz file") from error
        except (OSError, ValueError, KeyError, EOFError, AttributeError, zipfile.BadZipFile) as error:
            if isinstance(error, WelError):
                raise
            raise WelError(f"Invalid value for `patterns`: '{path}' is not a file of patterns ({error}).") from error

    def check(self, net: Network) -> None:
        """Refuses a network that the patterns do not belong to.

        Without hashes of the weights it is w·a = 1 that has to hold, which every estimator brings about.

        Raises:
            WelError: naming the first layer that differs.
            UnsupportedError: when a layer of the network cannot have a pattern.
        """
        layers = kernel_layers(net.graph)
        _check_shapes(layers, self.arrays)
        if self.weights:
            _check_hashes(net.weight_hashes(), self.weights)
        else:
            _check_signal(layers, self.arrays)


def patterns_for(net: Network, given: Patterns | Path | str | Sequence[np.ndarray]) -> list[np.ndarray]:
    """The arrays for a pattern method: from `Patterns` or a file, checked against the network; of arrays the shapes only.

    Raises:
        WelError: when they do not fit the network.
        UnsupportedError: when a layer of the network cannot have a pattern.
    """
    if isinstance(given, (str, Path)):
        given = Patterns.load(Path(given))
    if isinstance(given, Patterns):
        given.check(net)
        return list(given.arrays)
    arrays = [np.asarray(array, "float32") for array in given]
    _check_shapes(kernel_layers(net.graph), arrays)
    return arrays


def with_patterns(net: Network, method: Method, given: dict[str, Any]) -> dict[str, Any]:
    """The options given for a method, with `patterns` as arrays if it takes them: those given, else the method's own or the bundled ones.

    Raises:
        WelError: see `patterns_for`.
    """
    if "patterns" not in method.options:
        return given
    patterns = given.get("patterns", method.options["patterns"].default)
    patterns = bundled_patterns(net) if patterns is None else patterns
    return given if patterns is None else {**given, "patterns": patterns_for(net, patterns)}


def bundled_patterns(net: Network) -> Patterns | None:
    """The patterns that lie beside the bundled weights of a network of the zoo; None without such, or with other weights."""
    if net.architecture is None:
        return None
    path = models_folder() / net.architecture.name / f"{net.architecture.name}_patterns.npz"
    patterns = Patterns.load(path) if path.is_file() else None
    return patterns if patterns and patterns.weights == net.weight_hashes() else None


def _halved(array: np.ndarray) -> np.ndarray:
    with np.errstate(over="ignore"):
        half = array.astype("float16")
    loss = np.linalg.norm(half.astype("float64") - array)
    return half if loss <= HALF_LOSS * np.linalg.norm(array) else array


def _parsed(file, path: Path) -> Patterns:
    names = sorted(name for name in file.files if name.startswith("pattern_"))
    about, weights = (json.loads(str(file[key])) for key in ("about", "weights"))
    return Patterns(tuple(file[name].astype("float32") for name in names), about, weights)


def _positional(file, path: Path) -> Patterns:
    expected = PUBLISHED_MD5.get(path.name)
    found = hashlib.md5(path.read_bytes(), usedforsecurity=False).hexdigest() if expected else None
    if found != expected:
        raise WelError(f"Invalid file '{path}'. Expected md5 {expected}. Received {found}. Delete it and try again.")
    arrays = tuple(file[f"arr_{i}"].astype("float32") for i in range(len(file.files)))
    return Patterns(arrays, {"source": path.name})


def _check_shapes(layers: Sequence[KernelLayer], arrays: Sequence[np.ndarray]) -> None:
    if len(arrays) != len(layers):
        raise WelError(f"Invalid value for `patterns`: {len(arrays)} arrays. Expected {len(layers)}, one per layer with a kernel.")
    for layer, array in zip(layers, arrays):
        shape = tuple(kernel_of(layer.node.layer).shape)
        if array.shape != shape:
            message = f"Invalid value for `patterns`: shape {array.shape} for layer '{layer.node.name}'"
            raise WelError(f"{message}, the first layer that differs. Expected {shape}.")
        if not np.isfinite(array).all():
            raise WelError(f"Invalid value for `patterns`: values for layer '{layer.node.name}' are not finite. Expected finite numbers.")


def _check_hashes(found: dict[str, str], expected: dict[str, str]) -> None:
    for layer in [*found, *expected]:
        if found.get(layer) != expected.get(layer):
            raise WelError(f"Invalid value for `patterns`: they were fitted to other weights; the first layer that differs is '{layer}'.")


def _check_signal(layers: Sequence[KernelLayer], arrays: Sequence[np.ndarray]) -> None:
    for layer, array in zip(layers, arrays):
        pattern = array.reshape(-1, int(np.prod(layer.units)))
        signal = np.einsum("iu,iu->u", (layer.kernel * layer.scale).reshape(pattern.shape), pattern)
        off = np.abs(signal - 1) > UNIT_SIGNAL
        if (off & pattern.any(axis=0)).mean() > UNITS_OFF:
            name = layer.node.name
            raise WelError(f"Invalid value for `patterns`: they were fitted to other weights; the first layer that differs is '{name}'.")
