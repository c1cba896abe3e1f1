"""The native engine against the wrapped packages, float32 against float32, on networks with other kinds of layers."""

from __future__ import annotations

import numpy as np
import pytest
from conftest import randomized
from engines import vectors_for
from replicas import relative
from tensorflow.keras import Model, Sequential, layers

import wel
from wel.measures.cosine import pairwise_abs_cosine

pytestmark = pytest.mark.wrapped

SHAPE = (10, 10, 3)


def mobile():
    """Depthwise blocks with ReLU6, a stride, a residual sum."""
    image = layers.Input(SHAPE, name="image")
    x = layers.ReLU(6.0)(layers.BatchNormalization()(layers.Conv2D(6, 3, padding="same", use_bias=False)(image)))
    y = layers.ReLU(6.0)(layers.BatchNormalization()(layers.DepthwiseConv2D(3, padding="same", use_bias=False)(x)))
    x = layers.Add(name="sum")([x, layers.BatchNormalization()(layers.Conv2D(6, 1, use_bias=False)(y))])
    x = layers.ReLU(6.0)(layers.DepthwiseConv2D(3, strides=2, padding="same")(layers.ZeroPadding2D()(x)))
    return Model(image, layers.Dense(4, name="logits")(layers.GlobalAveragePooling2D()(x)))


def inception():
    """Branches side by side, average pooling that keeps the size, BatchNormalization without a scale."""
    image = layers.Input(SHAPE, name="image")
    x = layers.ReLU()(layers.BatchNormalization(scale=False)(layers.Conv2D(5, 3, use_bias=False)(image)))
    branches = [layers.AveragePooling2D(3, strides=1, padding="same")(x), layers.MaxPooling2D(3, strides=1, padding="same")(x)]
    branches += [layers.Conv2D(4, size, padding="same", activation="relu")(x) for size in (1, 3)]
    x = layers.MaxPooling2D(2)(layers.Concatenate(name="side_by_side")(branches))
    return Model(image, layers.Dense(4, name="logits")(layers.Flatten()(x)))


def leaky():
    """A VGG with LeakyReLU."""
    x = image = layers.Input(SHAPE, name="image")
    for channels in (5, 7):
        x = layers.LeakyReLU(0.1)(layers.Conv2D(channels, 3, padding="same")(x))
        x = layers.MaxPooling2D(2)(x)
    x = layers.LeakyReLU(0.1)(layers.Dense(6)(layers.Flatten()(x)))
    return Model(image, layers.Dense(4, name="logits")(x))


def perceptron():
    """Dense layers behind Flatten, as image MLPs begin."""
    image = layers.Input((5, 4, 2), name="image")
    x = layers.ReLU()(layers.Dense(6)(layers.Dense(7, activation="relu")(layers.Flatten()(image))))
    return Model(image, layers.Dense(4, name="logits")(x))


def steps():
    """One dimension: every kind of kernel that it has, behind Permute."""
    image = layers.Input((3, 12), name="image")
    x = layers.Conv1D(5, 3, padding="same", activation="relu")(layers.Permute((2, 1))(image))
    x = layers.Conv1DTranspose(3, 3, strides=2, activation="relu")(layers.MaxPooling1D(2)(x))
    x = layers.LocallyConnected1D(3, 3, strides=2, activation="relu")(layers.DepthwiseConv1D(2, activation="relu")(x))
    return Model(image, layers.Dense(4, name="logits")(layers.Flatten()(x)))


def room():
    """Three dimensions."""
    image = layers.Input((6, 6, 6, 2), name="image")
    x = layers.Conv3DTranspose(2, 2, strides=2, activation="relu")(layers.Conv3D(3, 3, activation="relu")(image))
    return Model(image, layers.Dense(4, name="logits")(layers.GlobalAveragePooling3D()(layers.MaxPooling3D(2)(x))))


def nested():
    """The first kernel lies in a model within a model within the model, behind Reshape."""
    inner = Sequential([layers.Input((6, 6, 2)), layers.Conv2D(4, 3), layers.BatchNormalization(), layers.ReLU()])
    middle = Sequential([layers.Input((72,)), layers.Reshape((6, 6, 2)), inner])
    image = layers.Input((72,), name="image")
    return Model(image, layers.Dense(4, name="logits")(layers.GlobalAveragePooling2D()(middle(image))))


def branches():
    """Several first kernels, of several kinds."""
    image = layers.Input((6, 6, 2), name="image")
    kernels = [
        layers.Conv2D(3, 3, activation="relu")(image),
        layers.DepthwiseConv2D(2, activation="relu")(layers.Permute((2, 1, 3))(image)),
    ]
    flat = [layers.Flatten()(x) for x in (*kernels, image)]
    return Model(image, layers.Dense(4, name="logits")(layers.Concatenate()([*flat[:2], layers.Dense(5, activation="relu")(flat[2])])))


def separable():
    """Two kernels in a row, at the input and behind it: innvestigate splits each of them by its sign."""
    image = layers.Input((6, 6, 2), name="image")
    x = layers.SeparableConv2D(3, 2, depth_multiplier=2, activation="relu")(image)
    x = layers.SeparableConv1D(3, 2, activation="relu")(layers.Reshape((25, 3))(x))
    return Model(image, layers.Dense(4, name="logits")(layers.Flatten()(x)))


def wrapped_up():
    """What may stand before a first kernel: padding, cropping, noise, a linear layer, BatchNormalization, a concatenation."""
    image = layers.Input((6, 6, 2), name="image")
    x = layers.Cropping2D(((1, 0), (0, 1)))(layers.ZeroPadding2D(1)(layers.Dropout(0.3)(image)))
    x = layers.BatchNormalization()(layers.GaussianNoise(0.1)(x))
    x = layers.Conv2D(4, 3, activation="relu")(layers.Concatenate()([x, layers.Activation("linear")(x)]))
    return Model(image, layers.Dense(4, name="logits")(layers.Flatten()(layers.LocallyConnected2D(3, 2, activation="relu")(x))))


def curved():
    """Activation functions of every kind, as layers and within them."""
    x = image = layers.Input((6, 6, 2), name="image")
    stack = [
        layers.LeakyReLU(0.2),
        layers.ELU(),
        layers.PReLU(),
        layers.ThresholdedReLU(0.05),
        layers.ReLU(),
        layers.ReLU(negative_slope=0.1),
    ]
    for layer in (*stack, layers.Activation("tanh"), layers.Activation("elu")):
        x = layer(layers.Conv2D(4, 2, padding="same")(x))
    x = layers.Conv2D(4, 2, activation="softplus")(layers.Conv2D(4, 2, activation="tanh")(x))
    return Model(image, layers.Dense(4, name="logits")(layers.Flatten()(x)))


def merged():
    """Everything that takes two inputs."""
    image = layers.Input((6, 6, 2), name="image")
    a, b, c = (layers.Conv2D(3, 2, activation=activation)(image) for activation in ("relu", None, None))
    several = [layers.Average()([a, b, c]), layers.Subtract()([a, b]), layers.Multiply()([a, b]), layers.Maximum()([a, b])]
    x = layers.Flatten()(layers.Concatenate()([*several, layers.Minimum()([a, c])]))
    return Model(image, layers.Dense(4, name="logits")(layers.Dot(1)([layers.Dense(4)(x), layers.Dense(4)(layers.Flatten()(b))])))


def words():
    """An embedding."""
    image = layers.Input((6,), name="image")
    x = layers.GlobalMaxPooling1D()(layers.Conv1D(5, 3, activation="relu")(layers.Embedding(20, 4)(image)))
    return Model(image, layers.Dense(4, name="logits")(x))


@pytest.fixture(scope="module")
def networks() -> dict:
    return {make.__name__: wel.load(randomized(make(), seed=11)) for make in (mobile, inception, leaky)}


@pytest.fixture(scope="module")
def images() -> np.ndarray:
    return np.random.default_rng(2).uniform(-1, 1, (3, *SHAPE)).astype("float32")


@pytest.mark.parametrize(
    "name, method, semantics",
    [
        ("mobile", "gradient", "paper"),
        ("mobile", "lrp_alpha1_beta0", "corrected"),
        ("mobile", "guided_backprop", "paper"),
        ("inception", "gradient", "paper"),
        ("inception", "lrp_alpha1_beta0", "corrected"),
        ("inception", "deep_taylor", "corrected"),
        ("inception", "rectgrad", "paper"),
        ("leaky", "gradient", "paper"),
        ("leaky", "lrp_alpha1_beta0", "corrected"),
        ("leaky", "deeplift_rescale", "paper"),
    ],
)
def test_native_equals_wrapped(networks, images, name, method, semantics):
    net = networks[name]
    vectors = vectors_for(net, "logits", 3, 4)
    settings = {"vectors": vectors, "semantics": semantics}
    native, wrapped = (wel.relevance(net, method, images, backend=backend, **settings) for backend in ("native", "wrapped"))
    assert list(native) == list(wrapped)
    for layer, expected in wrapped.items():
        assert np.abs(expected).max() > 0 or method == "deeplift_rescale"  # which reads 0 behind max pooling
        assert relative(native[layer], expected) <= 1e-4, layer
        assert expected.any() or not native[layer].any()
        assert abs(csc(native[layer]) - csc(expected)) <= 1e-3, layer


ALL = ("guided_backprop", "rectgrad", "deep_taylor", "lrp_z", "lrp_alpha2_beta1", "lrp_cmp_alpha1_beta0")
LRP = ("lrp_z", "lrp_epsilon", "lrp_alpha2_beta1")


@pytest.mark.wrapped
@pytest.mark.parametrize(
    "make, paper, corrected",
    [
        (perceptron, ALL, ("deep_taylor", "lrp_alpha2_beta1")),
        (steps, ALL, ("deep_taylor", "lrp_alpha2_beta1")),
        (room, ALL, ("deep_taylor", "lrp_alpha2_beta1")),
        (nested, ("deep_taylor", "lrp_z"), ("deep_taylor",)),
        (branches, ("deep_taylor", "lrp_alpha2_beta1"), ("deep_taylor",)),
        (separable, ("deep_taylor", "lrp_z", "lrp_alpha2_beta1"), ("lrp_z",)),
        (wrapped_up, ("deep_taylor", "lrp_alpha2_beta1"), ("deep_taylor", "lrp_alpha2_beta1")),
        (curved, LRP, LRP),
        (merged, LRP, ()),
        (words, LRP, ("lrp_alpha2_beta1",)),
    ],
    ids=lambda value: getattr(value, "__name__", ""),
)
def test_networks_of_other_kinds_are_verified(make, paper, corrected):
    net = wel.load(randomized(make(), seed=5))
    rng = np.random.default_rng(1)
    images = rng.integers(0, 20, (2, 6)) if make is words else rng.uniform(-1, 1, (2, *net.input_shape))
    for methods, semantics in ((paper, "paper"), (corrected, "corrected")):
        if methods:
            found = wel.verify(net, images, methods, vectors=2, semantics=semantics)
            assert set(found.table["method"]) == set(methods) and not found.left_out
            assert found.passed and found.table["relative_l2"].max() <= 1e-4


def csc(relevance: np.ndarray) -> float:
    """The median |cos| over images, locations and pairs; 0 where nothing arrives."""
    if not relevance.any():
        return 0.0
    return float(np.nanmedian(np.concatenate([pairwise_abs_cosine(image) for image in relevance])))
