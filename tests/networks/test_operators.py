"""wel.networks.operators: a function of TensorFlow is the layer in the graph that does the same, with the same relevance everywhere."""

from __future__ import annotations

import numpy as np
import pytest
import tensorflow as tf
from legacy_files import FOLDER, arrays
from tensorflow.keras import Input, Model, layers

import wel
from wel.networks.graph import build_graph
from wel.networks.loading import load

SHAPE = (4, 5, 3)
COLOURS = [0.1, 0.2, 0.3]


def kinds(function) -> list[str]:
    source = Input(SHAPE)
    return [node.kind for node in build_graph(Model(source, function(source))).nodes[1:]]


def values(function, x) -> tuple[np.ndarray, np.ndarray]:
    """What the nodes of the graph compute, and what Keras does."""
    source = Input(x.shape[1:])
    model = Model(source, function(source))
    graph = build_graph(model)
    found = {graph.input: tf.constant(x)}
    for node in graph.nodes[1:]:
        found[node.name] = node.apply([found[name] for name in node.inputs])
        assert found[node.name].shape[1:] == node.shape
    return found[graph.output].numpy(), model(x, training=False).numpy()


CASES = [
    (lambda x: x / 127.5 - 1, ["Rescaling", "Rescaling"]),
    (lambda x: 1 - 2 * x, ["Rescaling", "Rescaling"]),
    (lambda x: 0.5 + -x, ["Rescaling", "Rescaling"]),
    (lambda x: (x - np.float32(COLOURS)) / tf.constant(COLOURS), ["Rescaling", "Rescaling"]),
    (lambda x: tf.nn.bias_add(tf.math.divide(x, 3.0), COLOURS), ["Rescaling", "Rescaling"]),
    (lambda x: tf.cast(tf.identity(x), "float32"), ["Rescaling", "Rescaling"]),
    (lambda x: x - np.ones(SHAPE, "float32"), ["Rescaling"]),
    (lambda x: 1 / (x + 2), ["Rescaling", "TFOpLambda"]),
    (lambda x: x + tf.ones((2, *SHAPE)) * 1.0, ["TFOpLambda"]),  # which makes two rows of every one
    (lambda x: tf.nn.relu(tf.keras.activations.relu(x)), ["ReLU", "ReLU"]),
    (lambda x: tf.nn.relu6(tf.clip_by_value(x, 0, 0.3)), ["ReLU", "ReLU"]),
    (lambda x: tf.clip_by_value(x, 0.1, 0.3), ["TFOpLambda"]),
    (lambda x: tf.nn.leaky_relu(tf.nn.leaky_relu(x, 0.3)), ["LeakyReLU", "LeakyReLU"]),
    (lambda x: tf.nn.elu(x), ["ELU"]),
    (lambda x: tf.tanh(tf.sigmoid(tf.nn.softplus(tf.exp(x)))), ["Activation"] * 4),
    (lambda x: tf.nn.selu(tf.nn.softsign(tf.nn.swish(tf.nn.gelu(x)))), ["Activation"] * 4),
    (lambda x: tf.nn.swish(x, beta=2.0), ["TFOpLambda"]),
    (lambda x: tf.nn.gelu(x, approximate=True), ["TFOpLambda"]),
    (lambda x: tf.nn.softmax(x), ["Softmax"]),
    (lambda x: x + tf.nn.relu(x), ["ReLU", "Add"]),
    (lambda x: x - tf.nn.relu(x), ["ReLU", "Subtract"]),
    (lambda x: x * tf.nn.relu(x), ["ReLU", "Multiply"]),
    (lambda x: tf.maximum(x, tf.minimum(x, tf.nn.relu(x))), ["ReLU", "Minimum", "Maximum"]),
    (lambda x: tf.maximum(0.0, tf.maximum(x, 0)), ["ReLU", "ReLU"]),
    (lambda x: tf.maximum(x, 0.2), ["TFOpLambda"]),
    (lambda x: x * tf.Variable(2.0), ["TFOpLambda"]),  # which may change
    (lambda x: x / tf.nn.relu6(x + 3), ["Rescaling", "ReLU", "TFOpLambda"]),
    (lambda x: tf.add_n([x, x, tf.nn.relu(x)]), ["ReLU", "Add"]),
    (lambda x: tf.concat([x, tf.nn.relu(x)], -1), ["ReLU", "Concatenate"]),
    (lambda x: tf.reshape(x, [-1, 20, 3]), ["Reshape"]),
    (lambda x: tf.reshape(x, [tf.shape(x)[0], 60]), ["Reshape"]),
    (lambda x: tf.reshape(x, [-1, 3]), ["TFOpLambda"]),  # which makes 20 rows of every one
    (lambda x: tf.squeeze(tf.expand_dims(x, 1), [1]), ["Reshape", "Reshape"]),
    (lambda x: tf.transpose(x, [0, 3, 1, 2]), ["Permute"]),
    (lambda x: tf.reduce_mean(x, axis=[1, 2]), ["GlobalAveragePooling2D"]),
    (lambda x: tf.reduce_mean(x, axis=(2, 1), keepdims=True), ["GlobalAveragePooling2D"]),
    (lambda x: tf.reduce_max(x, [1, 2]), ["GlobalMaxPooling2D"]),
    (lambda x: tf.reduce_mean(x, axis=-1), ["TFOpLambda"]),
    (lambda x: tf.pad(x, [[0, 0], [1, 2], [0, 1], [0, 0]]), ["ZeroPadding2D"]),
    (lambda x: tf.pad(x, [[0, 0], [0, 0], [0, 0], [1, 0]]), ["TFOpLambda"]),
    (lambda x: tf.pad(x, [[0, 0], [1, 1], [1, 1], [0, 0]], "REFLECT"), ["TFOpLambda"]),
    (lambda x: tf.pad(x, [[0, 0], [1, 1], [1, 1], [0, 0]], constant_values=2), ["TFOpLambda"]),
    (lambda x: x[..., ::-1], ["Selection"]),
    (lambda x: x[:, 1:3, 2], ["Selection"]),
    (lambda x: tf.stack([x, x], axis=1), ["Selection"]),
    (lambda x: tf.gather(x, [2, 0], axis=-1), ["Selection"]),
    (lambda x: tf.square(x), ["TFOpLambda"]),
]


@pytest.mark.parametrize("function, expected", CASES)
def test_kinds_and_values(function, expected):
    assert kinds(function) == expected
    x = np.random.default_rng(0).normal(size=(2, *SHAPE)).astype("float32")
    found, wanted = values(function, x)
    np.testing.assert_allclose(found, wanted, rtol=1e-6, atol=1e-7)


def test_integers_are_left_alone():
    source = Input((3,), dtype="int32")
    graph = build_graph(Model(source, tf.cast(source + 1, "float32")))
    assert [node.kind for node in graph.nodes] == ["InputLayer", "TFOpLambda", "Rescaling"]


def test_the_model_stays_as_it_is():
    source = Input(SHAPE)
    model = Model(source, layers.Dense(2)(tf.nn.relu(source / 2)))
    before = [(layer.name, len(layer.inbound_nodes), len(layer.outbound_nodes)) for layer in model.layers]
    names = build_graph(model).names
    assert [layer.name for layer in model.layers] == names
    assert [(layer.name, len(layer.inbound_nodes), len(layer.outbound_nodes)) for layer in model.layers] == before


def functional():
    """A network of functions."""
    source = Input(SHAPE)
    x = layers.Conv2D(4, 3, padding="same", name="a")(source / 2 - 0.25)
    x = tf.concat([tf.nn.relu(x), x + tf.nn.relu(x)], -1)
    x = layers.Conv2D(3, 1, name="b")(tf.pad(x, [[0, 0], [1, 0], [0, 1], [0, 0]]))
    return Model(source, layers.Dense(2, name="c")(tf.reduce_mean(tf.nn.relu6(x), [1, 2])))


def layered():
    """The same of layers."""
    source = Input(SHAPE)
    x = layers.Rescaling(1.0, -0.25)(layers.Rescaling(0.5)(source))
    x = layers.Conv2D(4, 3, padding="same", name="a")(x)
    x = layers.Concatenate()([layers.ReLU()(x), layers.Add()([x, layers.ReLU()(x)])])
    x = layers.ReLU(6.0)(layers.Conv2D(3, 1, name="b")(layers.ZeroPadding2D(((1, 0), (0, 1)))(x)))
    return Model(source, layers.Dense(2, name="c")(layers.GlobalAveragePooling2D()(x)))


METHODS = ["gradient", "guided_backprop", "rectgrad", "deep_taylor", "lrp_epsilon", "lrp_alpha2_beta1", "deeplift_rescale"]


@pytest.mark.parametrize("method", METHODS)
def test_a_network_of_functions_is_one_of_layers(method):
    models = [functional(), layered()]
    models[1].set_weights(models[0].get_weights())
    rng = np.random.default_rng(0)
    images, vectors = rng.normal(size=(2, *SHAPE)), rng.normal(size=(2, 3, 2))
    left, right = (wel.relevance(wel.load(model), method, images, vectors=vectors, at=["a", "input"]) for model in models)
    for name in left:
        np.testing.assert_array_equal(left[name], right[name])


def test_a_flip_of_colours_costs_no_method():
    """keras.applications' "caffe" preprocessing, x[..., ::-1] − mean, as part of a model: LRP-z's relevance, flipped back."""
    source = Input(SHAPE)
    tail = [layers.Conv2D(4, 3, activation="relu"), layers.Flatten(), layers.Dense(2)]
    x = tf.nn.bias_add(source[..., ::-1], [-0.1, -0.2, -0.3])
    for layer in tail:
        x = layer(x)
    plain = tail_input = Input(SHAPE)
    for layer in tail:
        plain = layer(plain)
    images = np.random.default_rng(0).normal(size=(2, *SHAPE)).astype("float32")
    vectors = np.ones((2, 1, 2))
    whole = wel.relevance(wel.load(Model(source, x)), "gradient", images, vectors=vectors, at=["input"])["input"]
    inner = images[..., ::-1] - np.float32(COLOURS)
    part = wel.relevance(wel.load(Model(tail_input, plain)), "gradient", inner, vectors=vectors, at=["input"])["input"]
    np.testing.assert_allclose(whole, part[..., ::-1], rtol=1e-6)
    for method in ("lrp_z", "deep_taylor", "deeplift_rescale"):
        found = wel.relevance(wel.load(Model(source, x)), method, images, vectors=vectors, at=["input"])["input"]
        assert np.isfinite(found).all() and np.ptp(found) > 0


@pytest.mark.parametrize("method", ["gradient", "lrp_epsilon", "deep_taylor", "deeplift_rescale"])
def test_methods_for_a_file_of_affine_operators(method):
    """TensorFlow 2.3's operators: its Rescalings and the Dense layers above have a rule in all of them."""
    name = "operators_tensorflow2.3_affine.h5"
    net = load(FOLDER / name)
    assert [node.kind for node in net.graph.nodes].count("Rescaling") == 8
    images, _ = arrays(name)
    found = wel.relevance(net, method, images, vectors=np.ones((3, 1, 3)), at=["input"])["input"]
    assert np.isfinite(found).all() and np.ptp(found) > 0


def test_a_number_per_channel_may_come_with_all_axes():
    source = Input(SHAPE)
    node = build_graph(Model(source, source - np.float32(COLOURS).reshape(1, 1, 1, 3))).nodes[1]
    np.testing.assert_allclose(node.layer.offset, [-colour for colour in COLOURS], rtol=1e-6)
