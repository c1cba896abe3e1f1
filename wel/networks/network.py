"""A network under study: the Keras model, its layer graph, and the names that people use for its layers."""

from __future__ import annotations

import hashlib
from functools import cached_property
from typing import Any, Callable, Iterable, Sequence

import numpy as np
from scipy.special import expit, softmax

from wel.errors import WelError, invalid, one_of
from wel.modelfiles.modelfile import Origin
from wel.networks.graph import Graph, Node, build_graph
from wel.networks.kinds import CONSTANTS
from wel.networks.zoo import Architecture

PREDICTED_AT_ONCE = 32  # images, as in Keras's `predict`


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
            node.check_finite()  # before any work is done

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

    @property
    def output_shape(self) -> tuple[int, ...]:
        """Shape of one output, without the batch dimension."""
        return self.graph[self.graph.output].shape

    def count_logits(self) -> int:
        """How many logits the output has.

        Raises:
            WelError: for an output that is not one vector, or one that layers without trained weights give.
        """
        if problem := self._untrained(self.graph.output):
            raise WelError(f"Invalid value for `net`: {problem}. Expected a file with the weights of all layers, for maps of a class.")
        if len(self.output_shape) != 1:
            message = f"Invalid value for `net`: its output has shape {self.output_shape}. Expected one vector of logits"
            raise WelError(f"{message}; `output_index` makes one of an output with several places.")
        return self.output_shape[0]

    def logits(self, images: np.ndarray) -> np.ndarray:
        """The model's output for images (n, *input shape), (n, *output shape).

        The numbers of Keras's `predict`, in its batches, without the input pipeline that it sets up in every call: 20 ms, more than a
        small network takes; and without XLA, by which Keras 3 has models compiled.
        """
        return self._in_batches(self._predict, images)

    def values(self, images: np.ndarray, name: str, apply: Callable[[Node, list], Any] = Node.apply) -> np.ndarray:
        """The output of a layer, by its Keras name, for images (n, *input shape), (n, *its shape); `apply` as for `Graph.run`."""
        if (name, apply) not in self._passes:
            self._passes[name, apply] = self._function(lambda batch: self.graph.run({self.graph.input: batch}, name, apply))
        return self._in_batches(self._passes[name, apply], images)

    @cached_property
    def _predict(self):
        return self._function(lambda batch: self.model(batch, training=False))

    @cached_property
    def _passes(self) -> dict[tuple[str, Callable], Callable]:
        return {}

    def _function(self, forward: Callable) -> Callable:
        return traced(forward, self.input_shape)

    def _in_batches(self, forward: Callable, images: np.ndarray) -> np.ndarray:
        batches = [images[first : first + PREDICTED_AT_ONCE] for first in range(0, len(images), PREDICTED_AT_ONCE)]
        return np.concatenate([forward(np.asarray(batch, "float32")).numpy() for batch in batches])

    @property
    def class_names(self) -> tuple[str, ...] | None:
        """What the classes of a network of the zoo are called; None where wel does not know."""
        names = self.architecture.class_names if self.architecture else ()
        return names if names and self.output_shape == (len(names),) else None

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
            WelError: for an unknown layer, or for the input, below which there is nothing; as for `check_start`.
        """
        if names is None:
            names = self.architecture.start_layers if self.architecture else ["output"]
        names = [names] if isinstance(names, str) else list(names)
        found = [self.find(name, "start") for name in names]
        if not found or self.graph.input in found:
            raise invalid("start", names, "one or more layers above the input")
        for name in found:
            self.check_start(name)
        return list(dict.fromkeys(found))

    @property
    def random_layers(self) -> tuple[str, ...]:
        """Keras names of layers whose weights are random because the file that has the others' is without them."""
        return self.origin.random if self.origin else ()

    def check_start(self, name: str) -> None:
        """Refuses a start layer, by its Keras name, whose values depend on random weights beside trained ones.

        Raises:
            WelError: when it is one of `random_layers`, or above one.
        """
        if problem := self._untrained(name):
            first = next(layer for layer in self.layers if layer in self.random_layers)
            top = self.shown(self.graph[first].inputs[0])
            raise WelError(f"Invalid value for `start`: {problem}. Expected '{top}' or a layer below it{self._left()}.")

    def _untrained(self, name: str) -> str:
        """That a layer depends on `random_layers`, in words; nothing where it does not."""
        found = [layer for layer in self.layers if layer in self.random_layers and layer in (name, *self.graph.below(name))]
        if not found:
            return ""
        return f"'{self.shown(name)}' depends on '{self.shown(found[0])}', for which the file of weights has none, so that they are random"

    def _left(self) -> str:
        """The paper's start layers that have trained weights only, in words."""
        starts = map(self.find, self.architecture.start_layers if self.architecture else ())
        left = [self.shown(name) for name in starts if not self._untrained(name)]
        return f", such as {','.join(left)}" if left else ""

    def layers_below(self, start: str, at: Sequence[str] | str | None) -> dict[str, str]:
        """Name as given -> Keras name, for the layers at which relevance is read; each must lie below `start`.

        Raises:
            WelError: for an unknown layer or one that the start layer is not computed from.
        """
        below = self.graph.below(start)
        if at is None:
            return {self.shown(name): name for name in below}
        names = {name: self.find(name, "at") for name in ([at] if isinstance(at, str) else at)}
        for name, found in names.items():
            if found not in below:
                raise invalid("at", name, f"a layer below '{self.shown(start)}'")
        return names

    def checked_images(self, images: np.ndarray, argument: str = "images") -> np.ndarray:
        """The images as float32; the message of an error names the argument that they were given as.

        Raises:
            WelError: when they are not (n, *input shape), or not finite.
        """
        return _checked(argument, np.asarray(images), (None, *self.input_shape))

    def checked_vectors(self, vectors: np.ndarray | None, start: str, count: int) -> np.ndarray:
        """The vectors as float32.

        Raises:
            WelError: when they are not (images, V, *shape of start), or not finite.
        """
        if vectors is None:
            raise WelError(f"Invalid value for `vectors`: None. Expected an array of shape ({count}, V, *{self.graph[start].shape}).")
        return _checked("vectors", np.asarray(vectors), (count, None, *self.graph[start].shape))

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
        """sha256 over all weights as they are now, in layer order, and over the values of inputs that do not vary."""
        digest = hashlib.sha256()
        for key, array in self.graph.each_weight():
            digest.update(key.encode() + str(array.shape).encode())
            digest.update(np.ascontiguousarray(array))
        for node in self.graph.nodes:
            if node.kind in CONSTANTS:
                digest.update(repr((node.name, node.layer.get_config()["values"])).encode())
        return digest.hexdigest()

    def weight_hashes(self) -> dict[str, str]:
        """Keras name -> sha256 over the float32 bytes of the layer's weights in the order of `get_weights`, for layers with weights."""
        hashes = {}
        for node in self.graph.nodes:
            digest = hashlib.sha256()
            weights = node.arrays()
            for array in weights:
                digest.update(np.ascontiguousarray(array, dtype="float32"))
            if weights:
                hashes[node.name] = digest.hexdigest()
        return hashes


def traced(forward: Callable, shape: Sequence[int]) -> Callable:
    """A function of a float32 batch (n, *shape) as one of TensorFlow's graphs, or as it is where it cannot be one."""
    import tensorflow as tf

    function = tf.function(forward, [tf.TensorSpec([None, *shape])], autograph=False)
    try:
        return function.get_concrete_function()  # TensorFlow takes those of several networks for one that is traced too often
    except ValueError:  # Keras 3 cannot trace names with spaces, say, which are none of scopes; what else is wrong is so eagerly too
        return lambda batch: forward(tf.constant(batch))


def _checked(argument: str, array: np.ndarray, expected: tuple) -> np.ndarray:
    fits = array.ndim == len(expected) and all(want in (None, size) for want, size in zip(expected, array.shape))
    if not fits or 0 in array.shape:
        wanted = ", ".join("n" if size is None else str(size) for size in expected)
        raise WelError(f"Invalid value for `{argument}`: an array of shape {array.shape}. Expected shape ({wanted}).")
    if array.dtype.kind not in "fiub" or not np.isfinite(array).all():
        raise WelError(f"Invalid value for `{argument}`: values of {array.dtype} or not finite. Expected finite numbers.")
    return array.astype("float32")


def classes_told(logits: int) -> int:
    """How many classes so many logits tell apart, their labels counted from 0: one logit, of a single sigmoid, tells two."""
    return max(logits, 2)
