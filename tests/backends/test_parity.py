"""The native engine against the wrapped packages, float32 against float32, on networks with other kinds of layers."""

from __future__ import annotations

import numpy as np
import pytest
from conftest import randomized
from engines import vectors_for
from replicas import relative
from tensorflow.keras import Model, layers

import wel
from wel.measures.cosine import pairwise_abs_cosine

pytestmark = pytest.mark.xdist_group("wrapped")

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


def csc(relevance: np.ndarray) -> float:
    """The median |cos| over images, locations and pairs; 0 where nothing arrives."""
    if not relevance.any():
        return 0.0
    return float(np.nanmedian(np.concatenate([pairwise_abs_cosine(image) for image in relevance])))
