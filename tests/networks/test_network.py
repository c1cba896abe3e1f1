"""wel.networks.network: names in both directions, start layers, hash of the weights."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from conftest import randomized

from wel.errors import WelError
from wel.networks.network import Network
from wel.networks.zoo import ZOO


@pytest.fixture(scope="module")
def plain(nested):
    return Network(nested, "mine")


@pytest.fixture(scope="module")
def known(functional):
    """The network with names as in a paper: c1 and c2 for the convolutions, top for the output."""
    aliases = {"c1": "conv1", "c2": "conv2", "top": "dense"}
    architecture = replace(ZOO["cifar10"], name="known", start_layers=("top", "hidden", "c2"), aliases=aliases)
    return Network(functional, "known", architecture)


def test_layers_and_shape(plain, nested):
    assert plain.layers == ["image", "block/conv", "block/relu", "block/conv#2", "block/relu#2", "flatten", "dense"]
    assert plain.input_shape == (8, 8, 3)
    assert plain.model is nested
    assert repr(plain) == "Network('mine', 7 layers, input (8, 8, 3))"


@pytest.mark.parametrize(
    "given, keras", [("input", "image"), ("image", "image"), ("output", "dense"), ("block/conv#2", "block/conv#2"), ("flatten", "flatten")]
)
def test_find_without_aliases(plain, given, keras):
    assert plain.find(given) == keras


@pytest.mark.parametrize("given, keras", [("c2", "conv2"), ("conv2", "conv2"), ("top", "dense"), ("output", "dense"), ("hidden", "hidden")])
def test_find_with_aliases(known, given, keras):
    assert known.find(given) == keras


def test_alias_translates_in_both_directions(known, plain):
    assert known.alias("c1") == "conv1" and known.alias("conv1") == "c1"
    assert known.alias("hidden") == "hidden"
    assert known.alias("input") == known.alias("image") == "input" and known.alias("output") == "top"
    assert plain.alias("block/conv") == "block/conv"
    assert plain.alias("output") == "dense"


@pytest.mark.parametrize("count", [1, 32, 70])
def test_logits_are_those_of_keras(plain, nested, count):
    images = np.random.default_rng(0).random((count, 8, 8, 3), dtype="float32")
    np.testing.assert_array_equal(plain.logits(images), nested.predict(images, verbose=0))


def test_shown_is_the_name_in_tables_and_can_be_given_back(known, plain):
    assert [known.shown(name) for name in known.layers] == ["input", "c1", "c2", "pool", "flatten", "hidden", "top"]
    for net in (known, plain):
        assert [net.find(net.shown(name)) for name in net.layers] == net.layers


@pytest.mark.parametrize("name", ["conv9", "", "CONV1", "conv1 ", None, 3])
def test_unknown_layer_is_one_sentence_with_all_names(known, name):
    expected = rf"^Invalid value for `at`: {name!r}\. Expected one of input, output, c1, c2, pool, flatten, hidden, top\.$"
    with pytest.raises(WelError, match=expected):
        known.find(name, "at")
    with pytest.raises(WelError, match="Invalid value for `name`"):
        known.alias(name)


def test_start_layers(known, plain):
    assert known.start_layers(None) == ["dense", "hidden", "conv2"]
    assert plain.start_layers(None) == ["dense"]
    assert known.start_layers("c2") == ["conv2"]
    assert known.start_layers(["c2", "output", "conv2", "top"]) == ["conv2", "dense"]
    assert known.start_layers(iter(["pool"])) == ["pool"]


@pytest.mark.parametrize("given, received", [([], r"\[\]"), (["c2", "image"], r"\['c2', 'image'\]"), ("input", r"\['input'\]")])
def test_start_layers_that_have_nothing_below(known, given, received):
    with pytest.raises(WelError, match=rf"^Invalid value for `start`: {received}\. Expected one or more layers above the input\.$"):
        known.start_layers(given)


def test_unknown_start_layer(known):
    with pytest.raises(WelError, match=r"^Invalid value for `start`: 'nope'\. Expected one of input, output, c1"):
        known.start_layers(["c2", "nope"])


def dense(units: int = 2):
    from tensorflow.keras import Sequential, layers

    return Sequential([layers.Input((3,)), layers.Dense(units, name="one"), layers.Dense(2, name="two")])


def test_hash_follows_the_weights(sequential):
    from tensorflow import keras

    net, copied = Network(sequential, "a"), Network(keras.models.clone_model(sequential), "b")
    copied.model.set_weights(sequential.get_weights())
    assert copied.weights_hash() == net.weights_hash() and len(net.weights_hash()) == 64
    changed = sequential.get_weights()
    changed[0][0, 0, 0, 0] = np.nextafter(changed[0][0, 0, 0, 0], np.float32(9))
    copied.model.set_weights(changed)
    assert copied.weights_hash() != net.weights_hash()


def test_hash_tells_shapes_and_places_apart():
    model = dense()
    one, other = (np.arange(6, dtype="float32").reshape(3, 2) + i for i in (0, 1))
    model.set_weights([one, np.zeros(2), np.eye(2), np.zeros(2)])
    first = Network(model, "a").weights_hash()
    model.set_weights([one, np.zeros(2), np.zeros((2, 2)), np.ones(2)])
    assert Network(model, "a").weights_hash() != first
    model.set_weights([other, np.zeros(2), np.eye(2), np.zeros(2)])
    assert Network(model, "a").weights_hash() != first


def test_weights_set_later_take_effect():
    net = Network(randomized(dense()), "a")
    before = net.weights_hash()
    net.model.set_weights([weight + 1 for weight in net.model.get_weights()])
    assert net.weights_hash() != before


@pytest.mark.parametrize("value", [np.nan, np.inf])
def test_weights_that_are_not_finite(value):
    model = dense()
    model.get_layer("two").set_weights([np.full((2, 2), value), np.zeros(2)])
    with pytest.raises(WelError, match="^Invalid weights: layer 'two' holds NaN or infinite values"):
        Network(model, "a")
    model.get_layer("two").set_weights([np.zeros((2, 2)), np.zeros(2)])
    net = Network(model, "a")
    model.get_layer("one").set_weights([np.full((3, 2), value), np.zeros(2)])
    with pytest.raises(WelError, match="^Invalid weights: layer 'one' holds NaN or infinite values"):
        net.weights_hash()


# --- the activation that was taken off --------------------------------------------------------------------------------


def test_probabilities(sequential):
    logits = np.array([[0.0, np.log(2), np.log(5), 1000.0], [1, 1, 1, 1]])
    # softmax: the first row is all but one-hot, the second uniform
    for activation in ("softmax", "log_softmax"):
        np.testing.assert_allclose(Network(sequential, "a", final_activation=activation).probabilities(logits), [[0, 0, 0, 1], [0.25] * 4])
    # sigmoid of log(k) is k / (k + 1)
    sigmoid = Network(sequential, "a", final_activation="sigmoid").probabilities(logits.astype("float32"))
    np.testing.assert_allclose(sigmoid, [[1 / 2, 2 / 3, 5 / 6, 1], [1 / (1 + np.exp(-1))] * 4], rtol=1e-7)
    assert sigmoid.dtype == "float64"


def test_probabilities_without_an_activation(sequential):
    net = Network(sequential, "a")
    assert net.final_activation is None and net.probabilities(np.zeros((1, 4))) is None
    assert net.origin is None


# --- values of layers


@pytest.mark.parametrize(
    ("model", "layer"), [("functional", "conv2"), ("sequential", "pool"), ("residual", "bn_skip"), ("residual", "dense")]
)
def test_values_are_what_keras_computes(request, images, model, layer):
    from tensorflow.keras import Model

    model = request.getfixturevalue(model)
    many = np.tile(images, (12, 1, 1, 1))  # more than go at once
    expected = Model(model.inputs, model.get_layer(layer).output)(many).numpy()
    np.testing.assert_allclose(Network(model, "a").values(many, layer), expected, rtol=0, atol=1e-6)


def test_values_are_those_of_the_weights_of_now(images):
    from tensorflow.keras import Sequential, layers

    net = Network(Sequential([layers.Input((8, 8, 3)), layers.Flatten(), layers.Dense(2, use_bias=False, name="two")]), "a")
    for factor in (1.0, 3.0):
        net.model.set_weights([np.full((192, 2), factor)])
        np.testing.assert_allclose(net.values(images, "two")[:, 0], factor * images.sum(axis=(1, 2, 3)), rtol=1e-5)


def test_a_graph_is_run_from_what_is_known(residual, images):
    graph = Network(residual, "a").graph
    known = {graph.input: images, "relu1": np.ones((3, 8, 8, 4), "float32")}
    # from a layer on, whatever the input is
    same = graph.run({**known, graph.input: np.zeros_like(images)}, "dense")
    np.testing.assert_array_equal(graph.run(known, "dense"), same)
    np.testing.assert_allclose(graph.run({graph.input: images}, "dense"), residual(images), rtol=0, atol=1e-6)
    assert graph.run({"dense": 7}, "dense") == 7
