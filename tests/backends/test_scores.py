"""wel.backends.native.scores: the network's output, whatever the order of summation."""

import numpy as np
import pytest
import tensorflow as tf

import wel
from wel.backends.native.scores import fast_logits

layers = tf.keras.layers


@pytest.fixture
def net():
    tf.keras.utils.set_random_seed(0)
    x = inputs = layers.Input((13, 13, 3))
    for settings in (
        {"padding": "same", "activation": "relu"},
        {"strides": 2, "use_bias": False},
        {"dilation_rate": 2, "activation": "tanh"},
    ):
        x = layers.Conv2D(8, 3, kernel_initializer="he_normal", bias_initializer="normal", **settings)(x)
    x = layers.BatchNormalization()(layers.Conv2D(8, 3, groups=2, padding="same")(layers.ZeroPadding2D(2)(x)))
    return wel.load(tf.keras.Model(inputs, layers.Dense(4)(layers.Flatten()(x))))


def test_they_are_the_networks(net):
    images = np.random.default_rng(0).standard_normal((5, 13, 13, 3)).astype("float32")
    np.testing.assert_allclose(fast_logits(net, images), net.logits(images), rtol=1e-5, atol=1e-6)


def test_they_follow_the_weights(net):
    images = np.random.default_rng(0).standard_normal((2, 13, 13, 3)).astype("float32")
    before = fast_logits(net, images)
    kernel, *others = net.model.layers[1].get_weights()
    net.model.layers[1].set_weights([-kernel, *others])
    after = fast_logits(net, images)
    np.testing.assert_allclose(after, net.logits(images), rtol=1e-5, atol=1e-6)
    assert np.abs(after - before).max() > 0.01
