"""One network reversed by one innvestigate analyzer: inject at any node, read at any node below it."""

from __future__ import annotations

import inspect
from contextlib import contextmanager
from pathlib import Path
from typing import Iterator

import innvestigate.backend as ibackend
import numpy as np
import tensorflow as tf
from innvestigate.backend.graph import ReverseMappingBase
from keras.src.engine import base_layer_utils
from tensorflow import keras

from wel.backends.innvestigate.analyzers import analyzer_class
from wel.backends.innvestigate.pattern_rules import load_patterns


class Reversal:
    """A flat Keras model in a TensorFlow 1 graph of its own, and the analyzer's reversed tensor for each of its nodes."""

    def __init__(self, network: dict, method: str, semantics: str, options: dict):
        self._graph = tf.Graph()
        self._session = tf.compat.v1.Session(graph=self._graph, config=_unoptimized())
        self._weights_hash = None
        with self._active():
            self._model = _build(network["config"])
            self._forward = {name: self._model.get_layer(flat).output for name, flat in network["nodes"].items()}
            self._reversed, analyzer = _reverse(analyzer_class(method), self._model, semantics, options)
            patterns = getattr(analyzer, "patterns", {})
            self._patterns = [patterns[layer["name"]] for layer in network["config"]["layers"] if layer["name"] in patterns]
            self._session.run(tf.compat.v1.global_variables_initializer())

    def set_weights(self, weights_hash: str, path: Path) -> None:
        """Gives the model the weights that lie in a file, unless it has them already."""
        if weights_hash == self._weights_hash:
            return
        with self._active(), np.load(path) as weights:
            for layer in self._model.layers:
                if layer.weights:
                    layer.set_weights([weights[f"{layer.name}/{k}"] for k in range(len(layer.weights))])
        self._weights_hash = weights_hash

    def set_patterns(self, arrays: dict[str, np.ndarray]) -> None:
        """Gives a pattern method the job's patterns. Raises Unsupported when they do not fit."""
        load_patterns(self._session, self._patterns, arrays)

    def relevance(self, job: dict, images: np.ndarray, vectors: np.ndarray) -> dict[str, np.ndarray]:
        """Relevance at the nodes `job["at"]` for vectors (n, V, *start) injected at `job["start"]`, each (n, V, *shape)."""
        count, per_image = vectors.shape[:2]
        rows = vectors.reshape(count * per_image, *vectors.shape[2:])
        fetches = [self._tensor(name) for name in job["at"]]
        parts = []
        for first in range(0, len(rows), job["batch_rows"]):
            chosen = np.arange(first, min(first + job["batch_rows"], len(rows)))
            feeds = {self._model.input: images[chosen // per_image], self._tensor(job["start"]): rows[chosen]}  # pyright: ignore[reportUnhashable]
            parts.append(self._session.run(fetches, feeds))
        joined = [np.concatenate(part) for part in zip(*parts)]
        return {f"at_{i}": array.reshape(count, per_image, *array.shape[1:]) for i, array in enumerate(joined)}

    def close(self) -> None:
        """Frees the graph's memory."""
        self._session.close()

    def _tensor(self, name: str):
        return self._reversed[id(self._forward[name])]

    @contextmanager
    def _active(self) -> Iterator[None]:
        with self._graph.as_default(), self._session.as_default(), _without_keras_history():
            tf.compat.v1.keras.backend.set_session(self._session)
            keras.backend.set_learning_phase(0)
            yield


def _unoptimized() -> tf.compat.v1.ConfigProto:
    """Grappler's rewriting of a ResNet-50's reversed graph takes longer than building it, and saves little."""
    config = tf.compat.v1.ConfigProto()
    config.graph_options.rewrite_options.disable_meta_optimizer = True
    return config


def _build(config: dict):
    base_layer_utils.needs_keras_history, off = _needs_keras_history, base_layer_utils.needs_keras_history
    try:
        return keras.Model.from_config({**config, "layers": _with_distinct_inputs(config["layers"])})
    finally:
        base_layer_utils.needs_keras_history = off


def _with_distinct_inputs(layers: list[dict]) -> list[dict]:
    """Where a layer takes one output twice, the second goes through a linear Activation: analyzers know inputs by their tensor."""
    distinct = []
    for layer in layers:
        sources = []
        for inbound in (inbound for call in layer["inbound_nodes"] for inbound in call):
            if inbound[0] in sources:
                copy = f"{layer['name']}_input{len(sources)}"
                config = {"name": copy, "activation": "linear"}
                distinct.append({"class_name": "Activation", "name": copy, "config": config, "inbound_nodes": [[list(inbound)]]})
                inbound[0] = copy
            sources.append(inbound[0])
        distinct.append(layer)
    return distinct


_needs_keras_history = base_layer_utils.needs_keras_history


@contextmanager
def _without_keras_history() -> Iterator[None]:
    """Keeps Keras from wrapping every operation of the reversed graph in a layer, which takes minutes and serves nobody here."""
    base_layer_utils.needs_keras_history = lambda tensors, ignore_call_context=False: False
    try:
        yield
    finally:
        base_layer_utils.needs_keras_history = _needs_keras_history


def _reverse(analyzer_type, model, semantics: str, options: dict) -> tuple[dict[int, tf.Tensor], object]:
    """Runs the analyzer's own reversal; returns the reversed tensor of each forward tensor, by id, and the analyzer."""
    kept: dict[int, tf.Tensor] = {}

    class Injectable(analyzer_type):
        """The analyzer with relevance 0 at the head, and a reversed tensor of its own for every forward tensor.

        Analyzers hand one tensor on where relevance passes unchanged; feeding it would inject at several nodes at once.
        """

        def _head_mapping(self, X):
            return tf.zeros_like(X)

        def _reverse_mapping(self, layer):
            apply = _applied(super()._reverse_mapping(layer) or self._default_reverse_mapping, layer, model)
            return lambda Xs, Ys, Rs, state: [tf.identity(R) for R in ibackend.to_list(apply(Xs, Ys, Rs, state))]

        def _reverse_model(self, model, stop_analysis_at_tensors=None, return_all_reversed_tensors=False):
            inputs, tensors = super()._reverse_model(model, stop_analysis_at_tensors, return_all_reversed_tensors=True)
            kept.update({key: entry["final_tensor"] for key, entry in tensors.items()})
            return inputs, None

    analyzer = Injectable(model, semantics=semantics, neuron_selection_mode="all", disable_model_checks=True, **options)
    # not `_prepare_model`: it fails at outputs with feature maps, and Deep Taylor's appends a ReLU to the output
    analyzer._create_analysis(model, stop_analysis_at_tensors=[])
    return kept, analyzer


def _applied(mapping, layer, model):
    """innvestigate's three kinds of mapping (a class, a function of the layer, a function of tensors) as the last kind."""
    if inspect.isclass(mapping) and issubclass(mapping, ReverseMappingBase):
        return mapping(layer, {"model": model, "layer": layer}).apply
    if len(inspect.signature(mapping).parameters) == 2:
        return mapping(layer, {"model": model, "layer": layer})
    return mapping
