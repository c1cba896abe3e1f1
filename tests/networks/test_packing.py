"""Networks as bytes: the same network comes out, and a file that carries code, or is of another network, does not."""

from __future__ import annotations

import numpy as np
import pytest
from conftest import loaded

import wel
from wel.networks.packing import identity_of, packed, unpacked


@pytest.mark.parametrize("name", ["functional", "sequential"])
def test_the_network_that_comes_out_is_the_one_that_went_in(name, request, images):
    net = loaded(request.getfixturevalue(name))
    again = unpacked(packed(net))
    assert again.layers == net.layers and identity_of(again) == identity_of(net)
    np.testing.assert_array_equal(again.logits(images), net.logits(images))


def test_a_network_that_ended_in_a_softmax_ends_in_logits_at_the_other_end_too():
    from tensorflow.keras import Sequential, layers

    net = wel.load(Sequential([layers.Input((3,), name="x"), layers.Dense(2, activation="softmax", name="end")]))
    again = unpacked(packed(net))
    image = np.ones((1, 3), "float32")
    np.testing.assert_array_equal(again.logits(image), image @ net.model.get_weights()[0])


def test_weights_are_those_that_the_network_has_now():
    from tensorflow.keras import Sequential, layers

    net = wel.load(Sequential([layers.Input((3,), name="x"), layers.Dense(2, name="end")]))
    before = packed(net)
    net.model.set_weights([np.full((3, 2), 0.5, "float32"), np.zeros(2, "float32")])
    assert identity_of(unpacked(packed(net))) == identity_of(net) != before.identity
    assert unpacked(packed(net)).logits(np.ones((1, 3), "float32")).tolist() == [[1.5, 1.5]]  # 3 × 0.5


@pytest.mark.parametrize("keras", ["tensorflow.keras", "keras"])
def test_inputs_that_do_not_vary_travel(keras):
    keras = pytest.importorskip(keras)
    left, right = (keras.Input((3,), name=name) for name in ("left", "right"))
    model = keras.Model([left, right], keras.layers.Dense(2, name="end")(keras.layers.Concatenate(name="both")([left, right])))
    x, fixed = np.ones((2, 3), "float32"), np.array([0.1, -0.2, 0.3], "float32")
    net, other = (wel.load(model, input="left", fixed={"right": values}) for values in (fixed, -fixed))
    again = unpacked(packed(net))
    np.testing.assert_array_equal(again.logits(x), net.logits(x))
    assert identity_of(again) == identity_of(net) != identity_of(other)


def test_what_layers_do_with_the_same_weights_is_told_apart():
    from tensorflow.keras import Sequential, layers

    def net(activation):
        end = layers.Dense(2, activation, kernel_initializer="ones", name="end")
        return wel.load(Sequential([layers.Input((3,), name="x"), end], name="small"))

    several = [packed(net(activation)).content for activation in ("relu", "tanh", "relu")]
    assert several[0] == several[2] != several[1]


def test_code_in_a_file_is_not_run():
    from tensorflow.keras import Sequential, layers

    model = Sequential([layers.Input((3,), name="x"), layers.Lambda(lambda x: x + 1, name="code"), layers.Dense(2, name="end")])
    net = wel.load(model)
    with pytest.raises(wel.WelError, match="cannot be sent to workers: .*'code'.* Expected a network of layers that wel reads from files"):
        unpacked(packed(net))


def test_bytes_of_another_network_are_refused(functional, sequential):
    sent = packed(loaded(functional))
    with pytest.raises(wel.WelError, match="its layers are others when its file is read"):
        unpacked(sent._replace(identity=identity_of(loaded(sequential))))
