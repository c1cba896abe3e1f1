"""wel.modelfiles.naming: weights go where their names say; where these say nothing, in the file's order; a contradiction is refused."""

from __future__ import annotations

import json

import h5py
import numpy as np
import pytest
from conftest import randomized

from wel.errors import WelError
from wel.modelfiles.naming import leaf_layers, notes_on, order_of_layers, order_of_weights
from wel.networks.loading import load


@pytest.mark.parametrize(
    "layers, names, places",
    [
        (["a", "b"], ["a", "b"], [0, 1]),
        (["a", "b"], ["b", "a"], [1, 0]),
        # TensorFlow adds a number to names that are taken
        (["dense", "dense_1"], ["dense_1_1", "dense_2"], [1, 0]),
        (["dense_1", "dense_2"], ["dense_2_1", "dense_1_1"], [1, 0]),
        # of another session: the k-th of a class is the k-th, and the second comes before the tenth
        (["dense", "dense_1"], ["dense_6", "dense_5"], [1, 0]),
        (["dense_1", "dense_2"], ["dense_10", "dense_2"], [1, 0]),
        (["conv2d", "dense"], ["dense_3", "conv2d_7"], [1, 0]),
        (["dense", "dense_1", "dense_2"], ["dense_1", "dense_2", "dense_3"], [0, 1, 2]),
    ],
)
def test_layers_by_their_names(layers, names, places):
    assert order_of_layers(layers, names) == (places, True)


@pytest.mark.parametrize(
    "layers, names",
    [
        (["a", "b"], ["c", "d"]),
        (["a", "a"], ["a", "b"]),
        (["conv2d", "dense"], ["dense_1", "dense_2"]),
        (["a", "dense"], ["dense_1", "b"]),
    ],
)
def test_names_that_say_nothing(layers, names):
    assert order_of_layers(layers, names) == ([0, 1], False)


def test_one_layer_needs_no_name():
    assert order_of_layers(["a"], ["b"]) == ([0], True)


def test_names_that_contradict_the_order():
    with pytest.raises(WelError, match="its layer 'b' would get weights that are named as those of 'a'"):
        order_of_layers(["a", "b"], ["c", "a"])


@pytest.fixture
def blocks():
    """Two convolutions and a BatchNormalization, built; and their variables as Keras reads them: trainable ones first."""
    from tensorflow import keras

    layers = [keras.layers.Conv2D(2, 1, name="one"), keras.layers.BatchNormalization(name="norm"), keras.layers.Conv2D(2, 1, name="two")]
    for layer in layers:
        layer.build((None, 3, 3, 2))
    return layers, [v for part in ("trainable_weights", "non_trainable_weights") for layer in layers for v in getattr(layer, part)]


# 0, 1 kernel and bias of one; 2, 3 gamma and beta; 4, 5 of two; 6, 7 mean and variance
FROZEN_FIRST = ["two/k", "two/b", "one/k", "one/b", "norm/gamma", "norm/beta", "norm/mean", "norm/variance"]


@pytest.mark.parametrize("form", ["{}:0", "outer/{}:0", "outer_1/{}", "outer/inner/{}:0"])
def test_weights_by_their_names(blocks, form):
    order = order_of_weights(*blocks, [form.format(name) for name in FROZEN_FIRST])
    assert order == ([2, 3, 4, 5, 0, 1, 6, 7], True)


def test_weights_of_keras1(blocks):
    names = ["two_W", "two_b", "one_W", "one_b", "norm_gamma", "norm_beta", "norm_running_mean:0", "norm_running_std:0"]
    assert order_of_weights(*blocks, names) == ([2, 3, 4, 5, 0, 1, 6, 7], True)


def test_weights_whose_names_say_nothing(blocks):
    assert order_of_weights(*blocks, [f"w{i}/v" for i in range(8)]) == (list(range(8)), False)


def test_weights_of_a_layer_that_was_renamed(blocks):
    """One layer's weights have another name: its own order says nothing, and that of the others contradicts nothing."""
    names = ["x/k", "x/b", "norm/gamma", "norm/beta", "two/k", "two/b", "norm/mean", "norm/variance"]
    assert order_of_weights(*blocks, names) == (list(range(8)), False)
    with pytest.raises(WelError, match="its layer 'one' would get weights that are named as those of 'two'"):
        order_of_weights(*blocks, ["two/k", "two/b", *names[2:4], "x/k", "x/b", *names[6:]])


def test_too_few_weights_are_left_to_whoever_assigns_them(blocks):
    assert order_of_weights(*blocks, ["one/k"]).places == [0]


def test_leaf_layers():
    from tensorflow.keras import Sequential, layers

    shared = layers.Dense(2, name="shared")
    inner = Sequential([layers.Input((2,)), shared, layers.ReLU(name="relu")])
    model = Sequential([layers.TimeDistributed(inner, input_shape=(3, 2)), layers.Bidirectional(layers.LSTM(1), name="both"), shared])
    assert [layer.name for layer in leaf_layers(model)] == ["shared", "relu", "both"]


def test_notes():
    orders = {
        "m": order_of_layers(["a", "b"], ["b", "a"]),
        "n": order_of_layers(["a", "b"], ["c", "d"]),
        "o": order_of_layers(["a"], ["a"]),
    }
    assert notes_on(orders) == (
        "Its file keeps the weights of 'm' in another order than the layers: their names say whose they are.",
        "Its file names the weights of 'n' otherwise than its layers: they were taken in the file's order.",
    )


# --- files: two like layers, in a json with weights, in a whole file and in a nested Sequential ---------------------------------------


def two(first: str, second: str, nested: bool):
    from tensorflow.keras import Sequential, layers

    convs = [layers.Conv2D(3, 3, padding="same", name=name, input_shape=(4, 4, 3)) for name in (first, second)]
    inner = [Sequential(convs, name="inner")] if nested else convs
    return randomized(Sequential([*inner, layers.Flatten(name="flat"), layers.Dense(2, name="end")], name="net"))


def swap(path, nested: bool) -> None:
    """Has the file list the weights of the second convolution first, under their own names."""
    with h5py.File(path, "r+") as file:
        root = file.get("model_weights", file)
        holder, key = (root["inner"], "weight_names") if nested else (root, "layer_names")
        names, size = list(holder.attrs[key]), 2 if nested else 1
        first = [i for i, name in enumerate(names) if b"one" in (name if isinstance(name, bytes) else name.encode())][0]
        holder.attrs[key] = [
            *names[:first],
            *names[first + size : first + 2 * size],
            *names[first : first + size],
            *names[first + 2 * size :],
        ]


@pytest.mark.parametrize("nested", [False, True])
@pytest.mark.parametrize("form", ["whole", "json"])
def test_swapped_like_layers_go_by_their_names(form, nested, tmp_path):
    model, path = two("one", "two", nested), tmp_path / "net.h5"
    (model.save if form == "whole" else model.save_weights)(path)
    (tmp_path / "net.json").write_text(model.to_json())
    swap(path, nested)
    net = load(path) if form == "whole" else load(tmp_path / "net.json", path)
    images = np.random.default_rng(0).normal(size=(2, 4, 4, 3)).astype("float32")
    np.testing.assert_array_equal(net.model.predict(images, verbose=0), model.predict(images, verbose=0))
    assert "in another order than the layers" in " ".join(net.origin.notes)


def test_json_of_another_session(tmp_path):
    """The json counts its layers from 1, the file from 4: the first is the first, in whatever order the file lists them."""
    model = two("conv_4", "conv_5", False)
    model.save_weights(tmp_path / "net.h5")
    configuration = json.dumps(json.loads(model.to_json())).replace("conv_4", "conv_1").replace("conv_5", "conv_2")
    (tmp_path / "net.json").write_text(configuration)
    images = np.random.default_rng(0).normal(size=(2, 4, 4, 3)).astype("float32")
    net = load(tmp_path / "net.json", tmp_path / "net.h5")
    np.testing.assert_array_equal(net.model.predict(images, verbose=0), model.predict(images, verbose=0))


def test_weights_of_another_architecture_are_refused(tmp_path):
    model, other = two("one", "two", False), two("two", "three", False)
    other.save_weights(tmp_path / "net.h5")
    (tmp_path / "net.json").write_text(model.to_json())
    with pytest.raises(WelError, match="Its layer 'one' would get weights that are named as those of 'two'"):
        load(tmp_path / "net.json", tmp_path / "net.h5")
