"""wel.methods.layers: which layer maps come from in networks of many kinds, and what is refused."""

from __future__ import annotations

import numpy as np
import pytest
from conftest import INPUT_SHAPE, randomized

import wel
from wel.errors import UnsupportedError, WelError
from wel.measures.places import enlarged
from wel.methods.layers import layer_of, with_layer
from wel.methods.registry import METHODS
from wel.networks.zoo import ZOO

GRAD_CAM, CAM = METHODS["grad_cam"], METHODS["cam"]


def network(*stack):
    from tensorflow.keras import Sequential, layers

    return wel.load(Sequential([layers.Input(INPUT_SHAPE), *stack]))


def branched(end):
    """A network of two convolutions, `left` and `right`, put together by the layers that `end` makes of them."""
    from tensorflow.keras import Model, layers

    image = layers.Input(INPUT_SHAPE)
    left, right = (layers.Conv2D(2, 3, padding="same", activation="relu", name=name)(image) for name in ("left", "right"))
    return wel.load(Model(image, layers.Dense(3)(end(left, right))))


@pytest.mark.parametrize(
    ("model", "name"),
    [("sequential", "relu"), ("functional", "conv2"), ("nested", "block/relu#2"), ("shared_layer", "relu#2"), ("residual", "relu3")],
)
def test_the_end_of_the_last_block(request, model, name):
    assert layer_of(GRAD_CAM, wel.load(request.getfixturevalue(model)).graph) == name


@pytest.mark.parametrize(
    ("name", "expected"), [("cifar10", "relu4"), ("resnet20", "block4_3"), ("vgg16", "conv5_3"), ("resnet50", "block5_3")]
)
def test_of_the_zoo(name, expected):
    net = wel.load(ZOO[name].build((64, 64, 3), 3))
    named = {keras: paper for paper, keras in ZOO[name].aliases.items()}
    found = layer_of(GRAD_CAM, net.graph)
    assert named.get(found, found) == expected


def test_branches_come_together():
    from tensorflow.keras import layers

    both = branched(lambda left, right: layers.GlobalMaxPooling2D()(layers.Concatenate(name="both")([left, right])))
    assert layer_of(GRAD_CAM, both.graph) == "both"


def test_convolutions_of_one_place_are_passed_over():
    from tensorflow.keras import layers

    def gated(left, right):
        gate = layers.Conv2D(2, 1, activation="sigmoid")(layers.GlobalAveragePooling2D(keepdims=True)(right))
        return layers.Flatten()(layers.Conv2D(3, 8)(layers.Multiply(name="gated")([right, gate])))

    assert layer_of(GRAD_CAM, branched(gated).graph) == "gated"


def test_what_follows_a_pooling_is_no_part_of_the_block():
    from tensorflow.keras import layers

    behind = [layers.BatchNormalization(), layers.Dropout(0.5), layers.Flatten(), layers.Dense(3)]
    assert layer_of(GRAD_CAM, network(layers.Conv2D(2, 3, name="conv"), layers.MaxPooling2D(), *behind).graph) == "conv"
    # a pooling that leaves all places
    same = layers.MaxPooling2D(3, 1, padding="same")
    assert layer_of(GRAD_CAM, network(layers.Conv2D(2, 3, name="conv"), same, layers.Flatten(), layers.Dense(3)).graph) == "conv"


def test_a_network_without_a_convolution_has_none():
    from tensorflow.keras import layers

    net = network(layers.Rescaling(2.0), layers.Flatten(), layers.Dense(3))
    with pytest.raises(UnsupportedError, match="^Method 'layer_cam' needs a convolution with more than one place.$"):
        wel.attribution(net, "layer_cam", np.ones((1, *INPUT_SHAPE)))
    assert wel.random_logit(net, np.random.default_rng(0).random((2, *INPUT_SHAPE)), ["occlusion"]).skipped == {}


def test_the_layer_below_a_global_average_pooling():
    from tensorflow.keras import layers

    def pooled(*stack):
        return layer_of(CAM, network(layers.Conv2D(2, 3, name="conv"), layers.ReLU(name="relu"), *stack).graph)

    assert pooled(layers.GlobalAveragePooling2D(), layers.Dropout(0.5), layers.Dense(3), layers.Activation("linear")) == "relu"
    assert pooled(layers.AveragePooling2D(6), layers.Conv2D(3, 1), layers.Reshape((3,))) == "relu"


@pytest.mark.parametrize(
    "names", ["Flatten Dense", "GlobalMaxPooling2D Dense", "GlobalAveragePooling2D Dense Dense", "GlobalAveragePooling2D Dense ReLU",
              "GlobalAveragePooling2D", "AveragePooling2D Flatten Dense"]
)  # fmt: skip
def test_other_ends_have_no_cam(names):
    from tensorflow.keras import layers

    stack = [getattr(layers, name)(*((3,) if name == "Dense" else ())) for name in names.split()]
    with pytest.raises(
        UnsupportedError, match="^Method 'cam' needs a global average pooling that goes into one dense layer, and that into"
    ):
        layer_of(CAM, network(layers.Conv2D(2, 3), *stack).graph)


def test_a_layer_is_given_by_any_of_its_names():
    net = wel.load("vgg16", weights="random", input_shape=(32, 32, 3), classes=3)
    assert with_layer(net, GRAD_CAM, {"layer": "conv4_1"}) == {"layer": "block4_conv1"}
    assert with_layer(net, GRAD_CAM, {}) == {"layer": "block5_conv3"}
    assert with_layer(net, METHODS["gradient"], {}) == {}


@pytest.mark.parametrize(
    ("layer", "sentence"),
    [
        ("conv9", "^Invalid value for `layer`: 'conv9'. Expected one of input, output, conv, relu, pool, flatten, drop, dense.$"),
        ("flatten", "^Invalid value for `layer`: 'flatten'. Expected a layer below the output with places as the input has them, such as"),
        ("output", "^Invalid value for `layer`: 'output'. Expected a layer below the output with places .*, such as 'relu'.$"),
        (3, "^Invalid value for `layer`: 3. Expected one of input"),
    ],
)
def test_a_layer_that_cannot_be_taken(sequential, images, layer, sentence):
    with pytest.raises(WelError, match=sentence):
        wel.attribution(wel.load(sequential), "grad_cam", images, layer=layer)


def test_cam_has_no_choice(residual, images):
    with pytest.raises(WelError, match="^Invalid value for `options`: 'layer'. Expected for cam: none.$"):
        wel.attribution(wel.load(residual), "cam", images, layer="relu1")


@pytest.fixture(scope="module")
def siamese():
    """Two pictures through one encoder, then side by side; the right one does not vary."""
    from tensorflow.keras import Model, layers

    left, right = (layers.Input(INPUT_SHAPE, name=name) for name in ("left", "right"))
    conv, pool = layers.Conv2D(4, 3, activation="relu", name="conv"), layers.GlobalAveragePooling2D(name="pool")
    joined = layers.Concatenate(name="joined")([pool(conv(one)) for one in (left, right)])
    model = randomized(Model([left, right], layers.Dense(3, name="out")(joined)), seed=6)
    return wel.load(model, input="left", fixed={"right": np.full(INPUT_SHAPE, 0.3)})


def test_what_an_input_that_does_not_vary_goes_through_is_no_layer_to_look_at(siamese, images):
    assert layer_of(GRAD_CAM, siamese.graph) == layer_of(METHODS["iba"], siamese.graph) == "conv#2"  # Keras calls it on `right` first
    with pytest.raises(
        WelError, match="^Invalid value for `layer`: 'conv'. Expected a layer below the output with places .*, such as 'conv#2'.$"
    ):
        with_layer(siamese, GRAD_CAM, {"layer": "conv"})
    # the mean gradient of a channel is its weight over the number of places, 36
    values, kernel = siamese.values(images, "conv#2"), siamese.model.get_layer("out").get_weights()[0]
    expected = np.maximum(0, values @ kernel[:4, 1] / 36)
    found = wel.attribution(siamese, "grad_cam", images, 1)[..., 0]
    np.testing.assert_allclose(found, enlarged(expected, (8, 8)), rtol=0, atol=1e-6)
    assert np.isfinite(wel.attribution(siamese, "iba", images, 1, steps=2)).all()


def test_an_output_that_is_the_only_convolution_is_no_layer_below_it():
    from tensorflow.keras import Sequential, layers

    net = wel.load(Sequential([layers.Input((8, 8, 1)), layers.Conv2D(3, 1)]))
    with pytest.raises(UnsupportedError, match="^Method 'grad_cam' needs a convolution with more than one place, below the output.$"):
        with_layer(net, GRAD_CAM, {})
