"""LRP's rules of wel.rules.lrp that have no test among all layers: γ, stabilisers, products, LayerNormalization, embeddings; by hand."""

from __future__ import annotations

import numpy as np
import pytest
from conftest import randomized
from engines import Opened, vectors_for
from tensorflow.keras import Model, Sequential, layers

import wel
from wel.errors import UnsupportedError

LRP = ("lrp_z", "lrp_epsilon", "lrp_gamma", "lrp_alpha1_beta0", "lrp_cmp_alpha2_beta1")


def at_input(layer, weights, x, R, method: str, semantics: str = "corrected", **options) -> list:
    """Relevance of one image and one vector below one layer."""
    model = Sequential([layers.Input(np.shape(x)), layer])
    model.set_weights([np.array(array, "float32") for array in weights])
    images, vectors = np.array([x], "float32"), np.array([[R]], "float32")
    return wel.relevance(wel.load(model), method, images, vectors=vectors, semantics=semantics, **options)["input"][0, 0].tolist()


@pytest.mark.parametrize(
    "method, options, expected",
    [
        # x = (1, 2), w = (3, -1), b = 1, R = 4; γ = ½: ŵ = (4.5, -1); b̂ = 1.5: ẑ = 4.5 - 2 + 1.5 = 4
        ("lrp_gamma", {"gamma": 0.5}, [4.5, -2]),
        # b̂ = 1: ẑ = 3.5
        ("lrp_gamma", {"gamma": 0.5, "bias": "unscaled"}, [4.5 * 4 / 3.5, -2 * 4 / 3.5]),
        # ẑ + 4 = 8
        ("lrp_gamma", {"gamma": 0.5, "stabilizer": 4}, [2.25, -1]),
        # γ = 0 is LRP-z: z = 3 - 2 + 1 = 2
        ("lrp_gamma", {"gamma": 0}, [6, -4]),
        # z+ = 3 + 1 = 4, with 1 added 5: 2·3·4/5; z- = -2, with 1 taken off -3: -(-2/-3)·4
        ("lrp_alpha2_beta1", {"stabilizer": 1}, [24 / 5, -8 / 3]),
        # of CMP's dense layers it is none of the αβ rule: z = 2
        ("lrp_cmp_alpha2_beta1", {"stabilizer": 1}, [6, -4]),
    ],
)
def test_gamma_and_stabilizers_by_hand(method, options, expected):
    found = at_input(layers.Dense(1), [[[3], [-1]], [1]], [1, 2], [4], method, **options)
    np.testing.assert_allclose(found, expected, rtol=1e-6)


def test_a_stabilizer_of_zero_only_replaces_zeros():
    # z+ = 0 for w = -1: 0/1e-7; a stabiliser of ½ leaves 0/½
    for stabilizer in (0, 0.5):
        assert at_input(layers.Dense(1, use_bias=False), [[[-1]]], [1], [4], "lrp_alpha1_beta0", stabilizer=stabilizer) == [0]
    # x = 0, b = 0: z = 0 and 0·4/1e-7 = 0
    assert at_input(layers.Dense(1), [[[1]], [0]], [0], [4], "lrp_gamma", gamma=0) == [0]


def test_wrapped_packages_know_no_stabilizer(functional, images):
    net = wel.load(functional)
    with pytest.raises(
        UnsupportedError, match=r"^The option `stabilizer` of lrp_alpha1_beta0 is the native backend's alone\. Expected 0\.$"
    ):
        wel.relevance(net, "lrp_alpha1_beta0", images, vectors=vectors_for(net, "dense", 3), backend="innvestigate", stabilizer=1e-6)
    with pytest.raises(UnsupportedError, match=r"'wrapped' does not compute lrp_gamma\. Expected 'native'\.$"):
        wel.relevance(net, "lrp_gamma", images, vectors=vectors_for(net, "dense", 3), backend="wrapped")


# --- products


def product(gates: str, merge=None, shape=(2,)) -> wel.Network:
    """x and a function of x, or two of them, multiplied."""
    image = layers.Input(shape, name="x")
    x = layers.Activation("linear", name="signal")(image)
    branches = {
        "none": [x, layers.Activation("linear", name="other")(image)],
        "one": [x, layers.Activation("sigmoid", name="other")(image)],
        "behind a shape": [layers.Reshape(shape, name="other")(layers.Activation("hard_sigmoid")(image)), x],
        "all": [layers.Softmax(name="signal_gate")(x), layers.Dense(2, "sigmoid", name="other")(image)],
        "one of three": [x, layers.Activation("sigmoid", name="other")(image), layers.Activation("tanh")(image)],
    }[gates]
    return wel.load(Model(image, (merge or layers.Multiply())(branches)))


@pytest.mark.parametrize(
    "gates, signal, gate",
    [
        # R = (8, -2): the signal takes all, and two without a gate, or only gates, half of it each
        ("none", [4, -1], [4, -1]),
        ("one", [8, -2], [0, 0]),
        ("behind a shape", [8, -2], [0, 0]),
        ("one of three", [4, -1], [0, 0]),
    ],
)
@pytest.mark.parametrize("method", LRP)
def test_the_signal_takes_all_by_hand(gates, signal, gate, method):
    net = product(gates)
    found = wel.relevance(net, method, np.array([[0.0, 3.0]]), vectors=[[[8, -2]]], semantics="corrected", at=["signal", "other"])
    assert found["signal"][0, 0].tolist() == signal and found["other"][0, 0].tolist() == gate


def test_gates_among_themselves_share():
    net = product("all")
    found = wel.relevance(net, "lrp_z", np.array([[1.0, 3.0]]), vectors=[[[8, -2]]], semantics="corrected", at=["other"])
    assert found["other"][0, 0].tolist() == [4, -1]


def test_innvestigate_passes_products_by_their_gradient():
    # y = x·x: ∂y/∂x of each is the other's value (0, 3)
    net = product("none")
    found = wel.relevance(net, "lrp_z", np.array([[0.0, 3.0]]), vectors=[[[8, -2]]], semantics="paper", at=["signal", "other"])
    assert found["signal"][0, 0].tolist() == found["other"][0, 0].tolist() == [0, -6]


def test_a_gate_per_channel_by_hand():
    """Squeeze and excitation: the gate has one value per channel, and the signal of every place keeps its relevance."""
    image = layers.Input((2, 2, 3), name="x")
    gate = layers.Activation("sigmoid", name="gate")(layers.GlobalAveragePooling2D(keepdims=True)(image))
    signal = layers.Activation("linear", name="signal")(image)
    net = wel.load(Model(image, layers.Multiply()([signal, gate])))
    R = np.arange(12, dtype="float32").reshape(1, 1, 2, 2, 3)
    found = wel.relevance(net, "lrp_alpha1_beta0", np.ones((1, 2, 2, 3)), vectors=R, semantics="corrected", at=["signal", "gate"])
    np.testing.assert_array_equal(found["signal"], R)
    assert not found["gate"].any() and found["gate"].shape == (1, 1, 1, 1, 3)


@pytest.mark.parametrize("gates, shares", [("none", (0.5, 0.5)), ("one", (1, 0))])
def test_dot_by_hand(gates, shares):
    # y = Σ x_k o_k: R_k = share·x_k o_k R / y, R = 6
    net = product(gates, layers.Dot(1))
    x = np.array([1.0, 3.0])
    other = x if gates == "none" else 1 / (1 + np.exp(-x))
    found = wel.relevance(net, "lrp_z", x[None], vectors=[[[6]]], semantics="corrected", at=["signal", "other"])
    for name, share in zip(("signal", "other"), shares):
        np.testing.assert_allclose(found[name][0, 0], share * 6 * x * other / (x @ other), rtol=1e-6)


def test_a_dot_of_normalised_vectors_has_no_rule():
    with pytest.raises(UnsupportedError, match=r"^Method 'lrp_z' has no rule for layer 'dot.*' \(Dot\)"):
        wel.relevance(product("none", layers.Dot(1, normalize=True)), "lrp_z", [[1, 3]], vectors=[[[6]]], semantics="corrected")


# --- normalization, lookups


@pytest.mark.parametrize("method", LRP)
def test_layer_normalization_by_hand(method):
    # x = (1, 2, 6), μ = 3, x - μ = (-2, -1, 3), R = (4, 3, 6): shares (-2, -3, 2), their mean -1: x·(-1, -2, 3); γ and β take nothing
    found = at_input(layers.LayerNormalization(), [[2, 3, 4], [1, 1, 1]], [1, 2, 6], [4, 3, 6], method)
    np.testing.assert_allclose(found, [-1, -4, 18], rtol=1e-6)


def test_layer_normalization_over_several_axes_conserves_relevance():
    net = wel.load(Sequential([layers.Input((2, 3, 4)), layers.LayerNormalization(axis=(1, 3), name="norm")]))
    x = np.random.default_rng(0).standard_normal((2, 2, 3, 4)).astype("float32")
    R = vectors_for(net, "norm")
    found = Opened(net).relevance("lrp_z", x, "norm", R)[net.graph.input]
    # every column is normalised by itself
    np.testing.assert_allclose(found.sum(axis=(2, 4)), R.astype("float64").sum(axis=(2, 4)), rtol=1e-9)


def test_innvestigate_refuses_layer_normalization():
    with pytest.raises(UnsupportedError, match=r"\(LayerNormalization\)"):
        at_input(layers.LayerNormalization(), [[1, 1], [0, 0]], [1, 2], [1, 1], "lrp_z", "paper")


@pytest.mark.parametrize("semantics", ["paper", "corrected"])
def test_an_embedding_sums_its_vector_by_hand(semantics):
    # words 2, 0, each of two numbers: R = (1, 2), (3, -5)
    found = at_input(layers.Embedding(3, 2), [np.ones((3, 2))], [2, 0], [[1, 2], [3, -5]], "lrp_alpha1_beta0", semantics)
    assert found == [3, -2]


@pytest.mark.parametrize(
    "semantics, method, expected",
    [
        # y = a - b = 3 - 1, R = 4; the gradient
        ("paper", "lrp_z", [4, -4]),
        # a R / y, -b R / y
        ("corrected", "lrp_z", [6, -2]),
        # z+ = a = 3, z- = -b = -1: 2·4, -(-1/-1)·4
        ("corrected", "lrp_alpha2_beta1", [8, -4]),
    ],
)
def test_subtract_by_hand(semantics, method, expected):
    x = layers.Input(1)
    branches = [layers.Dense(1, use_bias=False, name=name)(x) for name in ("a", "b")]
    model = Model(x, layers.Subtract()(branches))
    model.set_weights([np.full((1, 1), 3.0), np.full((1, 1), 1.0)])
    found = wel.relevance(wel.load(model), method, [[1.0]], vectors=[[[4]]], semantics=semantics, at=["a", "b"])
    np.testing.assert_allclose([found["a"].item(), found["b"].item()], expected, rtol=1e-6)


def test_two_kernels_in_a_row_by_hand():
    """x = 1, depthwise -2, pointwise -3: z = 6. innvestigate splits each kernel by its sign, -2·-3 and 0·0, which leaves nothing."""
    layer, weights = layers.SeparableConv1D(1, 1, use_bias=False), [[[[-2]]], [[[-3]]]]
    assert at_input(layer, weights, [[1]], [[5]], "lrp_alpha1_beta0") == [[5]]
    layer = layers.SeparableConv1D(1, 1, use_bias=False)
    assert at_input(layer, weights, [[1]], [[5]], "lrp_alpha1_beta0", "paper") == [[0]]


def test_gamma_between_z_and_z_plus(images):
    """γ = 10¹² is z+ but for 10⁻¹² on values that are not negative; γ = 0 is LRP-z."""
    stack = [layers.Input((8, 8, 3)), layers.Conv2D(4, 3, activation="relu", use_bias=False, name="conv"), layers.Flatten()]
    opened = Opened(wel.load(randomized(Sequential([*stack, layers.Dense(3, use_bias=False, name="dense")]))))
    vectors = vectors_for(opened.net, "dense", 3)

    def found(method, **options):
        return opened.relevance(method, images, "dense", vectors, **options)[opened.net.graph.input]

    whole, none = ({"gamma": gamma, "bias": "scaled", "stabilizer": 0.0} for gamma in (1e12, 0.0))
    np.testing.assert_allclose(found("lrp_gamma", **whole), found("lrp_alpha1_beta0", stabilizer=0.0), rtol=1e-6, atol=1e-12)
    np.testing.assert_allclose(found("lrp_gamma", **none), found("lrp_z"), rtol=1e-9)


@pytest.mark.parametrize(
    ("activation", "semantics", "sums"),
    [
        ("relu", "paper", 1),  # W⁺x + b, behind which is a ReLU; W⁻x + b may cancel
        (None, "paper", 0),
        ("relu", "corrected", 2),  # W⁺x + b⁺ and W⁻x + b⁻
        (None, "corrected", 2),
    ],
)
def test_denominators_that_a_bias_may_cancel_add_up_as_the_forward_pass_does(images, monkeypatch, activation, semantics, sums):
    from wel.rules.parts import Part

    model = Sequential([layers.Input((8, 8, 3)), layers.ReLU(), layers.Conv2D(4, 3, activation=activation), layers.Flatten()])
    calls, add = [], Part.sums
    monkeypatch.setattr(Part, "sums", lambda part, *values: calls.append(part.name) or add(part, *values))
    vectors = np.ones((len(images), 1, 144))
    wel.relevance(wel.load(randomized(model)), "lrp_alpha2_beta1", images, vectors=vectors, at="input", semantics=semantics)
    assert len(calls) == sums
