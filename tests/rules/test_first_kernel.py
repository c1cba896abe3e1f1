"""Deep Taylor's zᴮ at the first kernel, whatever stands before it, against the naive replica and by hand."""

from __future__ import annotations

import numpy as np
import pytest
from conftest import randomized
from engines import Opened, assert_equals_replica
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from tensorflow.keras import Model, Sequential, layers

import wel
from wel.methods.composites import rules_for
from wel.rules.lrp import AlphaBeta, Bounded

SHAPE = (4, 5, 2)
BOUNDS = {"low": -0.5, "high": 1.5}
STABILIZED = {**BOUNDS, "stabilizer": 0.0}
# layers that only move values or rescale each by itself: those that innvestigate 1.0.8 looks through, or does not know, and all others
PAPER = {
    "permute": lambda: layers.Permute((2, 1, 3)),
    "reshape": lambda: layers.Reshape((5, 4, 2)),
    "rescaling": lambda: layers.Rescaling(0.5, -1.0),
    "turned": lambda: layers.Rescaling([-2.0, 1.0], offset=[0.5, 0.0]),
    "normalization": lambda: layers.Normalization(mean=[0.5, -1.0], variance=[4.0, 0.25]),
}
OTHERS = {
    "padding": lambda: layers.ZeroPadding2D(((1, 0), (0, 2))),
    "cropping": lambda: layers.Cropping2D(((1, 0), (0, 1))),
    "dropout": lambda: layers.Dropout(0.5),
    "spatial": lambda: layers.SpatialDropout2D(0.5),
    "alpha": lambda: layers.AlphaDropout(0.5),
    "noise": lambda: layers.GaussianNoise(0.1),
    "upsampling": lambda: layers.UpSampling2D((1, 2)),
    "linear": lambda: layers.Activation("linear"),
    "norm": lambda: layers.BatchNormalization(),
}
# whatever comes before them, the values at these are no longer the input's
ENDS = {
    "pooling": lambda: layers.AveragePooling2D(2, strides=1),
    "relu": lambda: layers.ReLU(),
    "largest": lambda: layers.MaxPooling2D(2, 1),
}
KERNELS = {
    "convolution": lambda: [layers.Conv2D(3, 2, padding="same"), layers.Flatten()],
    "depthwise": lambda: [layers.DepthwiseConv2D(2, depth_multiplier=2), layers.Flatten()],
    "separable": lambda: [layers.SeparableConv2D(3, 2), layers.Flatten()],
    "local": lambda: [layers.LocallyConnected2D(2, 2), layers.Flatten()],
    "dense": lambda: [layers.Flatten(), layers.Dense(4)],
}


def network(before, kernels, nested: bool, seed: int) -> wel.Network:
    """Layers before one or more first kernels, which may all lie in a model within the model; ReLU and a dense layer behind them."""
    x = inner = layers.Input(SHAPE)
    for layer in before:
        x = layer(x)
    several = [x] * len(kernels)
    for position, stack in enumerate(kernels):
        for layer in stack:
            several[position] = layer(several[position])
    image = layers.Input(SHAPE) if nested else inner
    branches = Model(inner, several)(image) if nested else several
    x = layers.Concatenate()(branches) if len(kernels) > 1 else branches[0] if isinstance(branches, list) else branches
    return wel.load(randomized(Model(image, layers.Dense(3)(layers.ReLU()(x))), seed))


def images() -> np.ndarray:
    return np.random.default_rng(3).uniform(-0.5, 1.5, (1, *SHAPE)).astype("float32")


@settings(max_examples=8, derandomize=True, suppress_health_check=[HealthCheck.too_slow])
@given(st.data())
def test_whatever_stands_before_the_first_kernel(data):
    names = data.draw(st.lists(st.sampled_from(sorted({**PAPER, **OTHERS})), max_size=3))
    names += data.draw(st.lists(st.sampled_from(sorted(ENDS)), max_size=1)) if data.draw(st.integers(0, 3)) == 0 else []
    drawn = data.draw(st.lists(st.sampled_from(sorted(KERNELS)), min_size=1, max_size=2, unique=True))
    made = [{**PAPER, **OTHERS, **ENDS}[name]() for name in names]
    net = network(made, [KERNELS[name]() for name in drawn], data.draw(st.booleans()), seed=len(names))
    opened = Opened(net)
    for semantics in ("paper", "corrected"):
        assert_equals_replica(opened, "deep_taylor", semantics, images(), {}, **BOUNDS)


@pytest.mark.parametrize("name", [*PAPER, *OTHERS, *ENDS])
@pytest.mark.parametrize("semantics", ["paper", "corrected"])
def test_what_zb_is_seen_through(name, semantics):
    net = network([{**PAPER, **OTHERS, **ENDS}[name]()], [KERNELS["convolution"](), KERNELS["dense"]()], nested=False, seed=0)
    rules = [
        rule for pairs in rules_for(net.graph, "deep_taylor", semantics, STABILIZED).values() for part, rule in pairs if part.has_kernel
    ]
    at_input = name in PAPER or (name in OTHERS and semantics == "corrected")
    assert [type(rule) for rule in rules] == [*[Bounded if at_input else AlphaBeta] * 2, AlphaBeta]


@pytest.mark.parametrize("interpolation", ["bilinear", "bicubic"])
def test_interpolation_beyond_the_values_ends_the_bounds(interpolation):
    layer = layers.UpSampling2D(2, interpolation=interpolation)
    net = network([layer], [KERNELS["convolution"]()], nested=False, seed=0)
    rules = [
        rule for pairs in rules_for(net.graph, "deep_taylor", "corrected", STABILIZED).values() for part, rule in pairs if part.has_kernel
    ]
    assert isinstance(rules[0], Bounded if interpolation == "bilinear" else AlphaBeta)


def one(stack, weights, x, R, semantics, **options) -> list:
    model = Sequential([layers.Input(np.shape(x)), *stack])
    model.set_weights([np.array(array, "float32") for array in weights])
    net = wel.load(model)
    found = wel.relevance(net, "deep_taylor", np.array([x], "float32"), vectors=np.array([[R]], "float32"), semantics=semantics, **options)
    return found["input"][0, 0].tolist()


@pytest.mark.parametrize("semantics", ["paper", "corrected"])
def test_bounds_behind_flatten_by_hand(semantics):
    # x = (1, 2), w = (1, -2), l = -1, h = 3: x w - l w+ - h w- = (1 + 1, -4 + 6) = (2, 2) share 6
    assert one([layers.Flatten(), layers.Dense(1)], [[[1], [-2]], [1]], [[1], [2]], [6], semantics, low=-1, high=3) == [[3], [3]]


@pytest.mark.parametrize("semantics", ["paper", "corrected"])
def test_bounds_behind_a_rescaling_by_hand(semantics):
    # y = -2x + 1 = (-1, -3), and [-1, 3] becomes [-5, 3]; w = (1, -2): y w - l w+ - h w- = (-1 + 5, 6 + 6) = (4, 12) share 8
    stack = [layers.Rescaling(-2.0, 1.0), layers.Dense(1)]
    assert one(stack, [[[1], [-2]], [1]], [1, 2], [8], semantics, low=-1, high=3) == [2, 6]


def test_bounds_behind_padding_by_hand():
    # x = (2) padded to (0, 2), w = (5, 3), l = 1, h = 4: 0 is 0 for sure, so l = (0, 1): 0·5 - 0·5 = 0 and 2·3 - 1·3 = 3 takes all of 6
    stack = [layers.ZeroPadding1D((1, 0)), layers.Conv1D(1, 2)]
    assert one(stack, [[[[5]], [[3]]], [0]], [[2]], [[6]], "corrected", low=1, high=4) == [[6]]
    # `paper` has α1β0 there: 2·3 / (0·5 + 2·3)·6
    assert one(stack, [[[[5]], [[3]]], [0]], [[2]], [[6]], "paper", low=1, high=4) == [[6]]
    # and with a bias of 6: 6/12·6
    assert one(stack, [[[[5]], [[3]]], [6]], [[2]], [[6]], "paper", low=1, high=4) == [[3]]


def test_a_stabilizer_has_the_sign_of_what_it_is_added_to():
    # x = (1, 2), w = (1, -2), l = -1, h = 3: z = 4, with s = 2: (2, 2)·6/6
    assert one([layers.Dense(1)], [[[1], [-2]], [0]], [1, 2], [6], "paper", low=-1, high=3, stabilizer=2) == [2, 2]
