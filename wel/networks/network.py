"""A network under study: the Keras model, its layer graph, and the names that people use for its layers."""
from __future__ import annotations

import hashlib
from functools import cached_property
from typing import Any, Iterable

import numpy as np
from scipy.special import expit, softmax

from wel.errors import invalid, one_of
from wel.modelfiles.modelfile import Origin
from wel.networks.graph import Graph, build_graph
from wel.networks.zoo import Architecture


class Network:
    """A Keras model that ends in logits, with its layer graph and layer names; weights that are not finite are refused.

    Attributes:
        model: the Keras model; `model.set_weights(...)` takes effect in the next study.
        name: shown in tables and figures.
        architecture: the zoo's entry, None for a network that wel does not know.
        origin: the file that it comes from and what was changed to read it, None for a live model.
        final_activation: "softmax", "log_softmax" or "sigmoid", which was taken off the model's end; None when it ended in logits.
    """

    def __init__(
        self,
        model: Any,
        name: str,
        architecture: Architecture | None = None,
        origin: Origin | None = None,
        final_activation: str | None = None,
    ):
        self.model = model
        self.name = name
        self.architecture = architecture
        self.origin = origin
        self.final_activation = final_activation
        self.graph: Graph = build_graph(model)
        for node in self.graph.nodes:
            node.weights()  # refuses NaN before any work is done

    def __repr__(self) -> str:
        return f"Network({self.name!r}, {len(self.layers)} layers, input {self.input_shape})"

    @property
    def layers(self) -> list[str]:
        """Layer names from input to output, as Keras has them; nested and reused layers as `outer/inner` and `name#2`."""
        return self.graph.names

    @property
    def input_shape(self) -> tuple[int, ...]:
        """Shape of one input, without the batch dimension."""
        return self.graph.nodes[0].shape

    @cached_property
    def aliases(self) -> dict[str, str]:
        """The paper's layer names -> Keras names, for the zoo's networks."""
        return dict(self.architecture.aliases) if self.architecture else {}

    def alias(self, name: str) -> str:
        """Translates a layer name: the paper's into Keras's, Keras's into the paper's; without a translation, the name itself.

        Raises:
            WelError: when there is no such layer.
        """
        if name in self.aliases:
            return self.aliases[name]
        return self.shown(self.find(name))

    def find(self, name: str, argument: str = "name") -> str:
        """The Keras name of a layer given by Keras name, by the paper's name, or as `input` or `output`.

        Raises:
            WelError: when there is no such layer; the message lists the layers.
        """
        special = {"input": self.graph.input, "output": self.graph.output}
        known = {**dict(zip(self.layers, self.layers)), **self.aliases, **special}
        if name not in known:
            raise invalid(argument, name, one_of(["input", "output", *map(self.shown, self.layers[1:])]))
        return known[name]

    def shown(self, name: str) -> str:
        """The name that tables and figures show for a Keras name: `input`, the paper's name, else the name itself."""
        if name == self.graph.input:
            return "input"
        return self._paper_names.get(name, name)

    @cached_property
    def _paper_names(self) -> dict[str, str]:
        return {keras: paper for paper, keras in self.aliases.items()}

    def start_layers(self, names: Iterable[str] | str | None) -> list[str]:
        """Keras names of the start layers that a user asked for; by default the paper's, else the output layer.

        Raises:
            WelError: for an unknown layer, or for the input, below which there is nothing.
        """
        if names is None:
            names = self.architecture.start_layers if self.architecture else ["output"]
        names = [names] if isinstance(names, str) else list(names)
        found = [self.find(name, "start") for name in names]
        if not found or self.graph.input in found:
            raise invalid("start", names, "one or more layers above the input")
        return list(dict.fromkeys(found))

    def probabilities(self, logits: np.ndarray) -> np.ndarray | None:
        """What the model's own last activation makes of logits, in float64; None when it had none.

        p = exp(z) / Σ exp(z) over the last axis for a softmax, and for a log_softmax too; p = 1 / (1 + exp(-z)) for a sigmoid.

        Args:
            logits: (…, classes), as the network gives them.
        """
        if self.final_activation is None:
            return None
        logits = np.asarray(logits, dtype="float64")
        return expit(logits) if self.final_activation == "sigmoid" else softmax(logits, axis=-1)

    def weights_hash(self) -> str:
        """sha256 over all weights as they are now, in layer order."""
        digest = hashlib.sha256()
        for key, array in self.graph.flat_weights().items():
            digest.update(key.encode() + str(array.shape).encode())
            digest.update(array.tobytes())
        return digest.hexdigest()


def weight_hashes(net: Network) -> dict[str, str]:
    """Keras name -> sha256 over the float32 bytes of the layer's weights in the order of `get_weights`, for layers with weights."""
    hashes = {}
    for node in net.graph.nodes:
        digest = hashlib.sha256()
        weights = node.layer.get_weights()
        for array in weights:
            digest.update(np.ascontiguousarray(array, dtype="float32").tobytes())
        if weights:
            hashes[node.name] = digest.hexdigest()
    return hashes


def classes_told(logits: int) -> int:
    """How many classes so many logits tell apart, their labels counted from 0: one logit, of a single sigmoid, tells two."""
    return max(logits, 2)
