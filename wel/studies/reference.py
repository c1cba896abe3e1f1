"""Reference numbers: relevances that some backend computed, in one .npz file that others can be compared with.

The schema of the file (layer names are Keras's; `/` and `%` in them are written `%2F` and `%25`):
    images                      (n, *input shape) float32, as the network takes them
    logits                      (n, classes) float32
    vectors/<start>             (n, V, *shape of start) float32: what was injected
    weights/<layer>             sha256 of the layer's weights, as text
    <method>/<start>/<layer>    (n, V, *shape of layer) float32: what arrived
    options/<method>/<option>/<k>   arrays that an option holds, such as patterns
    about                       JSON text: semantics, options {method: {option: value}}, made_by
"""

from __future__ import annotations

import json
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any
from urllib.parse import unquote
from zipfile import BadZipFile

import numpy as np

from wel.errors import WelError, invalid
from wel.networks.network import Network
from wel.system.files import written_whole


@dataclass(frozen=True)
class Reference:
    """What a reference file holds; see the module's docstring.

    Attributes:
        relevance: (method, start, layer) -> array.
        options: method -> option -> value; a list of arrays, or anything that fits into JSON.
    """

    images: np.ndarray
    logits: np.ndarray
    vectors: dict[str, np.ndarray]
    weights: dict[str, str]
    relevance: dict[tuple[str, str, str], np.ndarray]
    options: dict[str, dict[str, Any]] = field(default_factory=dict)
    semantics: str = "paper"
    made_by: str = ""

    @property
    def pairs(self) -> list[tuple[str, str]]:
        """(method, start layer) of which there are numbers, in the file's order."""
        return list(dict.fromkeys((method, start) for method, start, _ in self.relevance))

    def layers(self, method: str, start: str) -> list[str]:
        """The layers at which the relevance of a method from a start layer was read."""
        return [layer for one, other, layer in self.relevance if (one, other) == (method, start)]

    def save(self, path: Path) -> None:
        """Writes the file, whole or not at all.

        Raises:
            WelError: when it cannot be written.
        """
        arrays = {"images": self.images, "logits": self.logits, "about": json.dumps(self._about())}
        arrays.update({f"vectors/{_quoted(start)}": array for start, array in self.vectors.items()})
        arrays.update({f"weights/{_quoted(layer)}": digest for layer, digest in self.weights.items()})
        arrays.update({"/".join(map(_quoted, key)): array for key, array in self.relevance.items()})
        for method, option in self._array_options():
            listed = self.options[method][option]
            arrays.update({f"options/{method}/{option}/{k:03d}": array for k, array in enumerate(listed)})
        try:
            with written_whole(path) as temporary, open(temporary, "wb") as file:
                np.savez_compressed(file, **arrays)
        except OSError as error:
            raise invalid("save", str(path), f"a file that can be written ({error.strerror})") from error

    def _array_options(self) -> list[tuple[str, str]]:
        return [(method, key) for method, options in self.options.items() for key in options if isinstance(options[key], list)]

    def _about(self) -> dict[str, Any]:
        listed = self._array_options()
        plain = {
            method: {key: value for key, value in options.items() if (method, key) not in listed}
            for method, options in self.options.items()
        }
        return {"semantics": self.semantics, "made_by": self.made_by, "options": plain}

    @staticmethod
    def load(path: Path) -> Reference:
        """Reads a file.

        Raises:
            WelError: when there is none, or it is not of this schema.
        """
        try:
            with np.load(path, allow_pickle=False) as file:
                arrays = {key: file[key] for key in file.files}
            return _parsed(arrays)
        except FileNotFoundError as error:
            raise invalid("original", str(path), "an existing .npz file") from error
        except (OSError, ValueError, KeyError, EOFError, BadZipFile) as error:
            raise WelError(f"Invalid value for `original`: '{path}' is not a file of reference numbers ({error}).") from error

    def check(self, net: Network) -> None:
        """Refuses a network whose weights are not those that the numbers were computed with.

        Raises:
            WelError: naming the first layer that differs.
        """
        found = net.weight_hashes()
        for layer in [*found, *self.weights]:
            if found.get(layer) != self.weights.get(layer):
                raise WelError(f"Invalid value for `original`: it was made with other weights; the first layer that differs is '{layer}'.")


def _quoted(name: str) -> str:
    return name.replace("%", "%25").replace("/", "%2F")


def _parsed(arrays: dict[str, np.ndarray]) -> Reference:
    fixed = {key: arrays.pop(key) for key in ("images", "logits")}
    about = json.loads(str(arrays.pop("about")))
    named = {tuple(map(unquote, key.split("/"))): array for key, array in arrays.items()}
    options = about.pop("options")
    for _, method, option, _ in sorted(key for key in named if len(key) == 4):
        options[method][option] = [named[key] for key in sorted(named) if key[:3] == ("options", method, option)]
    return Reference(
        **fixed,
        **about,
        options=options,
        vectors={key[1]: array for key, array in named.items() if key[0] == "vectors"},
        weights={key[1]: str(array) for key, array in named.items() if key[0] == "weights"},
        relevance={key: array for key, array in named.items() if len(key) == 3},
    )
