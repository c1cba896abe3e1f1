"""LRP at activation functions: in `paper` as innvestigate has it, in `corrected` unchanged; by hand, and drawn against the replica."""

from __future__ import annotations

import numpy as np
import pytest
from conftest import randomized
from engines import Opened, assert_equals_replica
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from tensorflow.keras import Sequential, layers

import wel

slopes = st.floats(0.1, 0.5)
LAYERS = {
    "leaky": slopes.map(lambda slope: lambda: layers.LeakyReLU(slope)),
    "prelu": st.just(lambda: layers.PReLU()),
    "elu": st.just(lambda: layers.ELU()),
    "threshold": slopes.map(lambda theta: lambda: layers.ThresholdedReLU(theta)),
    "relu": st.just(lambda: layers.ReLU()),
    "limited": slopes.map(lambda limit: lambda: layers.ReLU(limit)),
    "sloped": slopes.map(lambda slope: lambda: layers.ReLU(negative_slope=slope)),
    **{
        name: st.just(lambda name=name: layers.Activation(name))
        for name in ("relu", "relu6", "elu", "sigmoid", "tanh", "softplus", "swish")
    },
}
FUSED = ("linear", "relu", "elu", "sigmoid", "tanh", "softplus", "swish")
METHODS = ("lrp_z", "lrp_epsilon", "lrp_alpha1_beta0", "lrp_alpha2_beta1", "lrp_cmp_alpha2_beta1", "gradient")


@settings(max_examples=8, derandomize=True, suppress_health_check=[HealthCheck.too_slow])
@given(st.data())
def test_activation_functions_of_every_kind(data):
    stack = [layers.Input((3, 3, 2))]
    for name in data.draw(st.lists(st.sampled_from(sorted(LAYERS)), min_size=1, max_size=4)):
        stack += [layers.Conv2D(3, 2, padding="same", activation=data.draw(st.sampled_from(FUSED))), data.draw(LAYERS[name])()]
    stack += [layers.Flatten(), layers.Dense(2, activation=data.draw(st.sampled_from(FUSED)))]
    opened = Opened(wel.load(randomized(Sequential(stack), seed=len(stack))))
    images = np.random.default_rng(1).standard_normal((1, 3, 3, 2), dtype="float32")
    for method in data.draw(st.lists(st.sampled_from(METHODS), min_size=2, max_size=2, unique=True)):
        for semantics in ("paper", "corrected"):
            options = {"epsilon": 0.01} if method == "lrp_epsilon" else {}
            assert_equals_replica(opened, method, semantics, images, {}, tolerance=1e-8, **options)


@pytest.mark.parametrize(
    "layer, paper",
    [
        # x = (-1, 2), R = (4, 6): the gradient at -1 and 2
        (lambda: layers.LeakyReLU(0.5), [2, 6]),
        (lambda: layers.PReLU(alpha_initializer="ones"), [4, 6]),
        (lambda: layers.ELU(0.5), [4 * 0.5 / np.e, 6]),
        (lambda: layers.ThresholdedReLU(3.0), [0, 0]),
        (lambda: layers.ReLU(), [0, 6]),
        (lambda: layers.ReLU(1.0), [0, 0]),
        (lambda: layers.ReLU(negative_slope=0.25), [1, 6]),
        # Activation layers pass it on, whatever their function
        (lambda: layers.Activation("relu"), [4, 6]),
        (lambda: layers.Activation("elu"), [4, 6]),
        (lambda: layers.Activation("tanh"), [4, 6]),
    ],
)
@pytest.mark.parametrize("method", ["lrp_z", "lrp_gamma", "lrp_alpha2_beta1", "lrp_cmp_alpha1_beta0"])
def test_activation_layers_by_hand(layer, paper, method):
    net = wel.load(Sequential([layers.Input(2), layer()]))
    images, vectors = np.array([[-1, 2]], "float32"), np.array([[[4, 6]]], "float32")
    found = {one: wel.relevance(net, method, images, vectors=vectors, semantics=one)["input"][0, 0] for one in ("paper", "corrected")}
    np.testing.assert_allclose(found["paper"], paper, rtol=1e-6)
    np.testing.assert_array_equal(found["corrected"], [4, 6])
