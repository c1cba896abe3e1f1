"""wel.networks.inputs: one input varies, the others are held; numbers against the model itself, and everything that is refused."""

from __future__ import annotations

import numpy as np
import pytest
import tensorflow as tf
from conftest import of_methods, randomized
from replicas import relative

import wel
from wel.errors import WelError
from wel.methods.composites import PASSING
from wel.methods.registry import CSC_METHODS, METHODS
from wel.networks.kinds import CONSTANTS

layers = tf.keras.layers
RNG = np.random.default_rng(0)
LEFT, RIGHT = RNG.random((3, 6), dtype="float32"), RNG.random(6, dtype="float32")


@pytest.fixture(scope="module")
def siamese():
    """Two inputs, left and right, through one encoder (two layers), then joined by their sum and their product."""
    left, right = layers.Input(6, name="left"), layers.Input(6, name="right")
    encoder = [layers.Dense(5, activation="relu", name="one"), layers.Dense(4, activation="relu", name="two")]
    one, other = (encoder[1](encoder[0](side)) for side in (left, right))
    joined = layers.Concatenate(name="joined")([layers.Add(name="sum")([one, other]), other])
    return randomized(tf.keras.Model([left, right], layers.Dense(3, activation="softmax", name="out")(joined), name="siamese"), seed=3)


@pytest.fixture(scope="module")
def net(siamese):
    return wel.load(siamese, input="left", fixed={"right": RIGHT})


def both(model, left):
    return model([left, np.broadcast_to(RIGHT, left.shape)])


def test_it_computes_what_the_model_computes(siamese, net):
    assert net.input_shape == (6,) and net.final_activation == "softmax"
    np.testing.assert_allclose(net.probabilities(net.model.predict(LEFT, verbose=0)), both(siamese, LEFT), rtol=1e-6)
    # the encoder's second call is the one on the fixed input
    assert {"left", "right", "one", "one#2", "two", "two#2", "sum", "joined", "out"} == set(net.layers)
    assert net.graph["right"].kind == "Fixed" and {"Fixed"} == CONSTANTS <= PASSING


def test_the_gradient_is_the_models_own(siamese, net):
    vectors = RNG.standard_normal((3, 2, 3)).astype("float32")
    found = wel.relevance(net, "gradient", LEFT, vectors=vectors, at=["input", "sum"])
    for k in range(2):
        x = tf.constant(LEFT)
        with tf.GradientTape() as tape:
            tape.watch(x)
            z = net.model(x)
        assert relative(found["input"][:, k], tape.gradient(z, x, vectors[:, k]).numpy()) < 1e-6


def test_other_values_are_another_network(siamese, net):
    again, other = (wel.load(siamese, input="left", fixed={"right": values}) for values in (RIGHT, RIGHT + 1))
    assert again.weights_hash() == net.weights_hash() != other.weights_hash()


def test_the_other_input_can_vary_too(siamese):
    net = wel.load(siamese, input="right", fixed={"left": LEFT[0]})
    expected = siamese([np.broadcast_to(LEFT[0], LEFT.shape), LEFT])
    np.testing.assert_allclose(net.probabilities(net.model.predict(LEFT, verbose=0)), expected, rtol=1e-6)


@pytest.mark.parametrize("method", [name for name in CSC_METHODS if "patterns" not in METHODS[name].options])
def test_every_method_passes_what_does_not_vary(net, method):
    options = {"percentile": 0.0} if method == "rectgrad" else {}  # of so few values nothing else is left
    found = wel.relevance(net, method, LEFT, vectors=np.ones((3, 2, 3), "float32"), at=["input", "right"], **options)
    assert np.isfinite(found["input"]).all() and found["input"].any()
    # contributions of what is always the same are none
    assert method not in ("deeplift_rescale", "deeplift_reveal_cancel", "deeplift_ablation") or not found["right"].any()


def test_z_relevance_is_shared_out_between_what_varies_and_what_does_not():
    # y = 2a + 3b with a = 1 varied and b = 2 fixed: of R = 8 the varied input gets 8 · 2/8 = 2 and the fixed one 6, which stays there
    a, b = layers.Input(1, name="a"), layers.Input(1, name="b")
    model = tf.keras.Model([a, b], layers.Dense(1, use_bias=False, name="y")(layers.Concatenate(name="both")([a, b])))
    model.set_weights([np.array([[2.0], [3.0]])])
    net = wel.load(model, input="a", fixed={"b": [2.0]})
    found = wel.relevance(net, "lrp_z", [[1.0]], vectors=[[[8.0]]], at=["both", "input"])
    np.testing.assert_allclose(found["both"][0, 0], [2, 6], rtol=1e-6)
    np.testing.assert_allclose(found["input"][0, 0], [2], rtol=1e-6)


def test_studies_run(net):
    assert len(wel.csc(net, LEFT, ["gradient", "lrp_alpha1_beta0"]).table)
    assert of_methods(wel.random_logit(net, LEFT, "gradient").table)["values"].tolist() == [3, 3]
    assert of_methods(wel.cascading_randomization(net, LEFT, "gradient", layers="out").table)["values"].tolist() == [3, 3]


def test_values_come_from_a_file_too(siamese, tmp_path):
    siamese.save(tmp_path / "siamese.h5")
    np.savez(tmp_path / "others.npz", right=RIGHT)
    net = wel.load(tmp_path / "siamese.h5", input="left", fixed=tmp_path / "others.npz")
    np.testing.assert_allclose(net.probabilities(net.model.predict(LEFT, verbose=0)), both(siamese, LEFT), rtol=1e-6)
    assert "Of its inputs, 'left' varies; the others are held at values that were given." in net.origin.notes


@pytest.mark.parametrize(
    ("settings", "sentence"),
    [
        ({}, "`model`: 'siamese' has 2 inputs. Expected `input` to name the one that varies, one of left, right, and `fixed` the others.$"),
        ({"input": "top"}, "`input`: 'top'. Expected `input` to name the one that varies, one of left, right"),
        ({"input": "left"}, r"`fixed`: \[\]. Expected values for the input 'right' too, of shape \(6,\).$"),
        ({"input": "left", "fixed": {"left": RIGHT}}, "`fixed`: 'left'. Expected values for one of right"),
        ({"input": "left", "fixed": {"right": RIGHT[:5]}}, r"`fixed`: .*shape \(5,\).*Expected finite numbers of shape \(6,\).$"),
        ({"input": "left", "fixed": {"right": RIGHT * np.nan}}, "`fixed`: .*Expected finite numbers"),
        ({"input": "left", "fixed": "nowhere.npz"}, "`fixed`: 'nowhere.npz'. Expected an .npz file"),
    ],
)
def test_what_cannot_be_used_is_refused(siamese, settings, sentence):
    with pytest.raises(WelError, match="^Invalid value for " + sentence):
        wel.load(siamese, **settings)


def test_a_model_with_one_input_has_none_to_name(sequential):
    with pytest.raises(WelError, match="^Invalid value for `input`: 'image'. Expected None: 'sequential' has one input"):
        wel.load(sequential, input="image")
