"""A job's network as a Keras 2.2.4 model in a TensorFlow graph and session of its own.

The network arrives as the flat functional configuration that Keras 2.14 writes. The layer classes of 2.2.4 know fewer
arguments, so each layer's configuration is translated, and a layer that 2.2.4 cannot express is refused.
"""

from __future__ import annotations

import contextlib
import inspect
import json
import os

import keras
import keras.backend as K
import numpy as np
import tensorflow as tf
from worker import Unsupported

# arguments of every Keras 2.2.4 layer; they come in through **kwargs and do not show in the constructors
COMMON_ARGUMENTS = {"name", "batch_input_shape", "dtype"}
# they matter for training or for fresh weights only, and the weights come with the job
TRAINING_ARGUMENTS = ("_initializer", "_regularizer", "_constraint")


class Network:
    """The model of one job, alone in its graph and session.

    Attributes:
        model: the Keras 2.2.4 model, in inference mode.
        config: its configuration in Keras 2.2.4's terms, with one node per layer.
        input: name of the input layer.
    """

    def __init__(self, folder):
        with open(os.path.join(folder, "network.json")) as file:
            description = json.load(file)
        self._layer_names = description["nodes"]
        self.input = self.layer_name(description["input"])
        self.config = translate_config(description["config"])
        self._graph = tf.Graph()
        self._session = tf.Session(graph=self._graph, config=_session_config())
        with self.active():
            K.set_learning_phase(0)
            self.model = _build_model(self.config)

    @contextlib.contextmanager
    def active(self):
        """Makes this network's graph and session Keras's current ones for a `with` block."""
        with self._graph.as_default(), self._session.as_default():
            yield

    def layer_name(self, node):
        """The layer that stands for a node of the caller's graph."""
        return self._layer_names[node]

    def tensor(self, node):
        """The forward tensor of a node: its layer's output."""
        return self.model.get_layer(self.layer_name(node)).output

    def load_weights(self, folder):
        """Sets the weights of every layer from the job's `weights.npz`."""
        feeds = {}
        for name, arrays in _read_weights(folder).items():
            for variable, array in zip(self.model.get_layer(name).weights, arrays):
                feeds[variable.initializer.inputs[1]] = array
        # not through Keras, which would give memory to the unused variables of the packages' helper layers too
        self._session.run([variable.initializer for variable in self.model.weights], feed_dict=feeds)

    def run(self, tensors, feeds):
        """Values of `tensors` for the fed values, float32 arrays."""
        return self._session.run(tensors, feed_dict=feeds)

    def close(self):
        """Frees the session, and the graph that Keras would otherwise hold on to."""
        self._session.close()
        backend = keras.backend.tensorflow_backend
        backend._GRAPH_LEARNING_PHASES.pop(self._graph, None)
        backend._GRAPH_UID_DICTS.pop(self._graph, None)


def _read_weights(folder):
    """Reads `weights.npz` as {layer name: arrays in the order of `get_weights`}."""
    weights = {}
    with np.load(os.path.join(folder, "weights.npz")) as arrays:
        for key in sorted(arrays.files, key=_layer_and_position):
            weights.setdefault(_layer_and_position(key)[0], []).append(arrays[key])
    return weights


def _layer_and_position(key):
    name, position = key.rsplit("/", 1)
    return name, int(position)


def _session_config():
    # wel says the former, as last bits depend on it; 0 lets TensorFlow use every core
    threads = int(os.environ.get("TF_NUM_INTRAOP_THREADS") or os.environ.get("OMP_NUM_THREADS") or 0)
    return tf.ConfigProto(intra_op_parallelism_threads=threads, inter_op_parallelism_threads=threads)


def _build_model(config):
    try:
        return keras.models.Model.from_config(config)
    except (ValueError, TypeError) as error:
        raise Unsupported("Keras 2.2.4 cannot build this network: {}".format(error))


def translate_config(config):
    """Translates the configuration of a flat functional model from Keras 2.14's terms to Keras 2.2.4's.

    Raises:
        Unsupported: for a layer, or a setting of a layer, that Keras 2.2.4 does not have.
    """
    return {
        "name": "model",
        "layers": [_translate_layer(layer) for layer in config["layers"]],
        "input_layers": [list(entry) for entry in config["input_layers"]],
        "output_layers": [list(entry) for entry in config["output_layers"]],
    }


def _translate_layer(layer):
    kind, config = _plain_relu(layer["class_name"], layer["config"])
    config = _translate_arguments(kind, config)
    return {
        "class_name": kind,
        "name": config["name"],
        "config": config,
        "inbound_nodes": [[_translate_source(kind, source) for source in call] for call in layer["inbound_nodes"]],
    }


def _plain_relu(kind, config):
    """A ReLU layer without limits becomes the Activation that innvestigate 1.0.8 knows; other layers stay."""
    if kind != "ReLU" or config.get("max_value") is not None or config.get("negative_slope") or config.get("threshold"):
        return kind, config
    return "Activation", {"name": config["name"], "activation": "relu"}


def _translate_source(kind, source):
    name, call, output = source[:3]
    settings = {key: value for key, value in (source[3] if len(source) > 3 else {}).items() if value and key != "training"}
    if call or output or settings:
        raise Unsupported("The {} layer is called in a way that Keras 2.2.4 does not know: {}.".format(kind, source))
    return [name, 0, 0, {}]


def _translate_arguments(kind, config):
    known = _arguments(kind)
    translated = {}
    for key, value in config.items():
        if key == "trainable" or key.endswith(TRAINING_ARGUMENTS):
            continue
        value = _translate_value(kind, key, value)
        if key in known:
            translated[key] = value
        elif not _is_neutral(key, value):
            raise Unsupported("{} layers of Keras 2.2.4 have no `{}`, which this network sets to {}.".format(kind, key, value))
    return translated


def _arguments(kind):
    """The constructor arguments of a layer class of Keras 2.2.4."""
    layer_class = getattr(keras.layers, kind, None)
    if not (inspect.isclass(layer_class) and issubclass(layer_class, keras.layers.Layer)):
        raise Unsupported("Keras 2.2.4 has no {} layer.".format(kind))
    if layer_class is keras.layers.Lambda:
        raise Unsupported("A Lambda layer carries code, which is not run.")
    return COMMON_ARGUMENTS.union(inspect.signature(layer_class.__init__).parameters) - {"self", "kwargs"}


def _translate_value(kind, key, value):
    if key == "dtype":
        return _float32(kind, value)
    if key == "axis" and kind == "BatchNormalization" and isinstance(value, list):
        return _single_axis(value)
    if key == "activation" and not _is_known_activation(value):
        raise Unsupported("Keras 2.2.4 has no activation {}, which a {} layer uses.".format(value, kind))
    if isinstance(value, dict):
        raise Unsupported("{} layers hold another object as their `{}`, which is not translated.".format(kind, key))
    return value


def _float32(kind, dtype):
    """The number type of a layer, which may come as a dtype policy."""
    name = dtype["config"]["name"] if isinstance(dtype, dict) else dtype
    if name not in (None, "float32"):
        raise Unsupported("The original stack computes in float32, but a {} layer of this network in {}.".format(kind, name))
    return "float32"


def _single_axis(axes):
    if len(axes) != 1:
        raise Unsupported("BatchNormalization layers of Keras 2.2.4 normalise over one axis, but this network has {}.".format(axes))
    return axes[0]


def _is_known_activation(activation):
    return activation is None or (isinstance(activation, str) and hasattr(keras.activations, activation))


def _is_neutral(key, value):
    """Whether leaving the argument out gives the same layer: it is off, or the 1 of an ordinary convolution."""
    return not value or (key in ("groups", "dilation_rate") and np.all(np.equal(value, 1)))
