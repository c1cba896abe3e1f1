"""One network under one DeepLIFT method: multipliers go in at any node, contributions are read at any node below it."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import tensorflow as tf

from wel.backends.deeplift.conversion import build_layers
from wel.backends.deeplift.layers import Weight
from wel.backends.graphs import in_batches


class Contributions:
    """deeplift's graph of a flat network in a TensorFlow 1 graph of its own.

    Args:
        job: the relevance job that it is built for.

    Raises:
        Unsupported: for a layer that has no rule.
    """

    def __init__(self, job: dict):
        folder = Path(job["network"])
        network = json.loads((folder / "network.json").read_text())
        self._nodes, self._input = network["nodes"], network["input"]
        self._weights_hash = None
        graph = tf.Graph()
        self._session = tf.compat.v1.Session(graph=graph)
        with graph.as_default(), np.load(folder / "weights.npz") as weights:
            self._variables = {key: _variable(weights[key].shape) for key in weights.files}
            self._layers = build_layers(network, job["method"], job["semantics"], _by_layer(self._variables))

    def set_weights(self, job: dict) -> None:
        """Gives the variables the job's weights, unless they have them already."""
        if job["weights_hash"] == self._weights_hash:
            return
        with np.load(Path(job["network"]) / "weights.npz") as weights:
            for key, variable in self._variables.items():
                self._session.run(variable.initializer, {variable.initializer.inputs[1]: weights[key]})
        self._weights_hash = job["weights_hash"]

    def relevance(self, job: dict, images: np.ndarray, vectors: np.ndarray, reference: np.ndarray | None = None) -> dict[str, np.ndarray]:
        """Contributions m⁺Δ⁺ + m⁻Δ⁻ at `job["at"]` for vectors (n, V, *start) set as m⁺ and m⁻ of `job["start"]`.

        Args:
            reference: what Δ is measured from, (*input) or one per image; 0 if there is none.

        Returns:
            {`at_<i>`: (n, V, *shape of the i-th node)} float32.
        """
        reference = np.zeros(images.shape[1:], "float32") if reference is None else reference.astype("float32", copy=False)
        source, start = self._layer(self._input), self._layer(job["start"])
        fetches = [self._layer(name).get_target_contrib_vars() for name in job["at"]]

        def run(owners: np.ndarray, rows: np.ndarray) -> list[np.ndarray]:
            feeds = {
                source.get_activation_vars(): images[owners],
                source.get_reference_vars(): reference[owners] if reference.ndim == images.ndim else reference[None],
                start.get_pos_mxts(): rows,
                start.get_neg_mxts(): rows,
            }
            return self._session.run(fetches, feeds)

        return in_batches(run, vectors, job["batch_rows"])

    def close(self) -> None:
        """Frees the graph's memory."""
        self._session.close()

    def _layer(self, node: str):
        return self._layers[self._nodes[node]]


def _variable(shape: tuple[int, ...]) -> tf.Variable:
    return tf.compat.v1.Variable(lambda: tf.zeros(shape), use_resource=True, trainable=False)


def _by_layer(variables: dict[str, tf.Variable]) -> dict[str, list[Weight]]:
    """Layer name -> weights, from the keys `<layer>/<k>` of `weights.npz`."""
    layers: dict[str, list[Weight]] = {}
    for key in sorted(variables, key=lambda key: int(key.rsplit("/", 1)[1])):
        layers.setdefault(key.rsplit("/", 1)[0], []).append(Weight(variables[key].read_value()))
    return layers
