"""wel.methods.composites: which rule each part of a network gets, and what has none; test_registered_rules has rules of the user's own."""

from __future__ import annotations

import numpy as np
import pytest
import tensorflow as tf
from conftest import loaded
from tensorflow import keras
from tensorflow.keras import Model, Sequential, layers

import wel
from wel.backends import find_backend
from wel.errors import UnsupportedError
from wel.methods.composites import COMPOSITES, flow_of, register_rule, rules_for, why_not
from wel.methods.registry import CSC_METHODS, GIVEN, METHODS
from wel.networks.kernels import kernel_layers
from wel.rules.deeplift import Contributions
from wel.rules.gradient import Unchanged
from wel.rules.lrp import Epsilon
from wel.studies.maps import attribution

OPTIONS = {"deep_taylor": {"low": 0.0, "high": 1.0}}


def names(net, method: str, semantics: str) -> dict[str, list[str]]:
    """Node -> the rules of its parts."""
    options = {**METHODS[method].defaults, **OPTIONS.get(method, {})}
    found = rules_for(net.graph, method, semantics, options)
    return {name: [type(rule).__name__ for _, rule in several] for name, several in found.items()}


def test_every_composite_is_some_methods_and_every_method_has_one_or_is_made_of_another():
    assert {METHODS[name].composite.name for name in CSC_METHODS} | {GIVEN.composite.name} == set(COMPOSITES)
    others = [method for method in METHODS.values() if method.composite is None and method.has_rules]
    assert all((method.made_of or method.options["base"].default) in CSC_METHODS and not method.csc for method in others)


@pytest.mark.parametrize("semantics", ["paper", "corrected"])
@pytest.mark.parametrize("method", CSC_METHODS)
def test_every_method_has_a_rule_for_every_layer_of_residual_relu_networks(residual, functional, method, semantics):
    for net in (loaded(residual), loaded(functional)):
        found = names(net, method, semantics)
        assert list(found) == net.graph.names[1:] and all(found.values())


@pytest.mark.parametrize(
    "method, semantics, expected",
    [
        ("gradient", "paper", ["Transposed", "Transposed", "Derivative", "Transposed"]),
        ("guided_backprop", "paper", ["Transposed", "Transposed", "Guided", "Transposed"]),
        ("deconvnet", "paper", ["Transposed", "Transposed", "Deconvolved", "Transposed"]),
        ("rectgrad", "paper", ["Transposed", "Transposed", "Rectified", "Transposed"]),
        ("deep_taylor", "paper", ["Bounded", "Unchanged", "Derivative", "Transposed"]),
        ("deep_taylor", "corrected", ["Bounded", "Unchanged", "Derivative", "AlphaBeta"]),
        ("pattern_net", "paper", ["Pattern", "Unchanged", "Derivative", "Transposed"]),
        ("lrp_z", "paper", ["Z", "PaperBatchNorm", "Derivative", "Z"]),
        ("lrp_z", "corrected", ["Z", "Z", "Unchanged", "Z"]),
        ("lrp_epsilon", "paper", ["Epsilon", "PaperBatchNorm", "Derivative", "Z"]),
        ("lrp_epsilon", "corrected", ["Epsilon", "Epsilon", "Unchanged", "Epsilon"]),
        ("lrp_alpha1_beta0", "paper", ["AlphaBeta", "AlphaBeta", "Derivative", "Clipped"]),
        ("lrp_alpha1_beta0", "corrected", ["AlphaBeta", "AlphaBeta", "Unchanged", "AlphaBeta"]),
        ("deeplift_reveal_cancel", "paper", ["LinearDifference", "ScaledDifference", "RevealCancel", "LinearDifference"]),
        ("deeplift_rescale", "paper", ["LinearDifference", "ScaledDifference", "Rescale", "LinearDifference"]),
    ],
)
def test_rules_of_a_residual_network(residual, method, semantics, expected):
    found = names(loaded(residual), method, semantics)
    assert [found[name][0] for name in ("conv1", "bn1", "relu1", "add")] == expected


def test_dense_layers_of_cmp_and_poolings_have_rules_of_their_own(residual):
    net = loaded(residual)
    found = rules_for(net.graph, "lrp_cmp_alpha2_beta1", "paper", {})
    kinds = {name: [type(rule).__name__ for _, rule in found[name]] for name in ("conv1", "avgpool", "dense")}
    assert kinds == {"conv1": ["AlphaBeta"], "avgpool": ["Z"], "dense": ["Epsilon"]}
    ((_, rule),) = found["dense"]
    assert rule.epsilon == 1e-10


def test_a_fused_activation_is_a_part_of_its_own(functional):
    net = loaded(functional)
    assert names(net, "guided_backprop", "paper")["conv1"] == ["Transposed", "Guided"]
    assert names(net, "deep_taylor", "paper")["conv2"] == ["AlphaBeta", "Unchanged"]
    assert names(net, "gradient", "paper")["dense"] == ["Transposed"]


def test_bounded_rules_stand_at_the_input_only():
    image = layers.Input((5, 5, 1))
    padded = layers.Conv2D(2, 3, name="padded")(layers.ZeroPadding2D(name="padding")(image))
    direct = layers.Conv2D(2, 3, padding="same", name="direct")(image)
    joined = layers.Concatenate(axis=1, name="joined")([padded, direct])
    found = names(wel.load(Model(image, joined)), "deep_taylor", "paper")
    assert (found["padded"], found["direct"]) == (["AlphaBeta"], ["Bounded"])


def test_flows(residual, functional):
    net = loaded(functional)
    for method, split in (("deeplift_reveal_cancel", True), ("deeplift_rescale", False), ("deeplift_ablation", False)):
        flow, bottlenecks = flow_of(net.graph, method, "paper")
        assert flow == Contributions(split) and not bottlenecks
    # behind flatten there is one axis only
    assert flow_of(net.graph, "pattern_net", "paper")[1] == {"image", "conv1", "conv2", "pool"}
    assert flow_of(net.graph, "pattern_net", "corrected")[1] == flow_of(net.graph, "gradient", "paper")[1] == frozenset()


@pytest.mark.parametrize("method", [name for name in CSC_METHODS if name.startswith(("lrp_", "deep_", "deeplift_"))])
def test_a_layer_without_a_rule_is_named(method):
    net = wel.load(Sequential([layers.Input((3,)), layers.LayerNormalization(name="odd"), layers.Dense(2)]))
    with pytest.raises(UnsupportedError, match=rf"^Method '{method}' has no rule for layer 'odd' \(LayerNormalization\)\."):
        names(net, method, "paper")
    assert "layer 'odd'" in why_not(METHODS[method], net.graph)
    assert why_not(METHODS["guided_backprop"], net.graph) is None  # by its gradient


@pytest.mark.parametrize(
    "odd",
    [
        lambda: layers.Normalization(axis=1, name="odd", mean=[0.0, 1.0], variance=[1.0, 2.0]),
        lambda: layers.Normalization(axis=(1, 2), name="odd", mean=[[0.0] * 3] * 2, variance=[[1.0] * 3] * 2),
        lambda: layers.Normalization(invert=True, name="odd", mean=[0.0] * 3, variance=[1.0] * 3),
        lambda: layers.Rescaling([[1.0], [2.0]], name="odd"),
    ],
    ids=["rows", "everywhere", "inverted", "rescaled rows"],
)
@pytest.mark.parametrize("method", ["lrp_z", "deep_taylor", "deeplift_rescale"])
def test_a_rescaling_that_is_not_per_channel_has_gradients_only(method, odd):
    net = wel.load(Sequential([layers.Input((2, 3)), odd(), layers.Flatten(), layers.Dense(2)]))
    with pytest.raises(UnsupportedError, match=rf"^Method '{method}' has no rule for layer 'odd'"):
        names(net, method, "paper")
    assert names(net, "gradient", "paper")["odd"] == ["Gradient"]


def test_a_registered_linear_rule_is_not_for_a_normalization_over_rows():
    rows = layers.Normalization(axis=1, name="rows", mean=[0.0, 1.0], variance=[1.0, 2.0])
    net = wel.load(Sequential([layers.Input((2, 3)), layers.Normalization(name="channels", mean=0.0, variance=1.0), rows]))
    register_rule("Normalization", Epsilon(0.5), "lrp_z")
    try:
        assert "layer 'rows'" in why_not(METHODS["lrp_z"], net.graph)
    finally:
        register_rule("Normalization", None, "lrp_z")


@pytest.mark.wrapped
@pytest.mark.parametrize("kind", [layers.Rescaling(0.5, name="own"), layers.RandomFlip(name="own")])
def test_wrapped_backends_have_no_rule_for_preprocessing(kind):
    net = wel.load(Sequential([layers.Input((4, 4, 1)), kind, layers.Flatten(), layers.Dense(2)]))
    for method, backend in (("lrp_z", "innvestigate"), ("deeplift_rescale", "deeplift")):
        find_backend("native", METHODS[method]).check(METHODS[method], "paper", net.graph)
        with pytest.raises(UnsupportedError, match="no rule for layer 'own'"):
            find_backend(backend, METHODS[method]).check(METHODS[method], "paper", net.graph)


# --- what methods see through


def hiding(name: str):
    """A layer in which an activation function or a kernel may hide."""
    return {
        "time_distributed": lambda: layers.TimeDistributed(layers.Dense(2, activation="relu"), name="odd"),
        "lstm": lambda: layers.LSTM(3, return_sequences=True, name="odd"),
        "gru": lambda: layers.GRU(3, return_sequences=True, name="odd"),
        "bidirectional": lambda: layers.Bidirectional(layers.SimpleRNN(3, return_sequences=True), name="odd"),
        "cell": lambda: layers.RNN(layers.LSTMCell(2), return_sequences=True, name="odd"),
        "attention": lambda: layers.Lambda(lambda x: layers.Attention()([x, x]), name="odd"),
        "operator": lambda: layers.Lambda(tf.abs, name="odd"),
        "own": lambda: Own(name="odd"),
    }[name]()


class Own(layers.Layer):
    """y = |x|: who knows."""

    def call(self, x):
        return tf.abs(x)


HIDING = ("time_distributed", "lstm", "gru", "bidirectional", "cell", "attention", "operator", "own")


@pytest.mark.parametrize("name", HIDING)
@pytest.mark.parametrize(
    "method", ["guided_backprop", "deconvnet", "rectgrad", "deep_taylor", "pattern_net", "pattern_attribution", "lrp_z"]
)
def test_methods_refuse_what_they_cannot_see_through_by_name(method, name):
    net = wel.load(Sequential([layers.Input((4, 3)), hiding(name), layers.Flatten(), layers.Dense(2)]))
    assert f"layer 'odd' ({net.graph['odd'].kind})" in why_not(METHODS[method], net.graph)
    assert why_not(METHODS["gradient"], net.graph) is None
    register_rule(net.graph["odd"].kind, Unchanged())
    try:
        assert why_not(METHODS[method], net.graph) is None
    finally:
        register_rule(net.graph["odd"].kind, None)


@pytest.mark.wrapped
@pytest.mark.parametrize("method", ["guided_backprop", "deconvnet", "rectgrad", "pattern_net"])
@pytest.mark.parametrize("name", ["time_distributed", "lstm"])
def test_wrapped_backends_refuse_them_too(method, name):
    net = wel.load(Sequential([layers.Input((4, 3)), hiding(name), layers.Flatten(), layers.Dense(2)]))
    with pytest.raises(UnsupportedError, match="layer 'odd'"):
        find_backend("wrapped", METHODS[method]).check(METHODS[method], "paper", net.graph)


def test_patterns_are_not_fitted_past_kernels_out_of_sight():
    net = wel.load(Sequential([layers.Input((4, 3)), hiding("lstm"), layers.Flatten(), layers.Dense(2)]))
    with pytest.raises(UnsupportedError, match=r"^Layer 'odd' \(LSTM\) has no pattern\."):
        kernel_layers(net.graph)


@pytest.mark.parametrize("relu", [tf.nn.relu, keras.activations.relu, keras.backend.relu, tf.nn.relu6, lambda x: tf.maximum(x, 0.0)])
def test_a_relu_operator_is_a_relu(relu):
    image = layers.Input((4, 3))
    net = wel.load(Model(image, layers.Dense(2)(layers.Flatten()(relu(layers.Dense(5)(image))))))
    for method, rule in (
        ("guided_backprop", "Guided"),
        ("deconvnet", "Deconvolved"),
        ("rectgrad", "Rectified"),
        ("deep_taylor", "Derivative"),
    ):
        found = names(net, method, "paper")
        assert [rules for name, rules in found.items() if name.startswith("tf.")] == [[rule]]
    assert why_not(METHODS["pattern_net"], net.graph) is None


@pytest.mark.parametrize("kind", ["SeparableConv1D", "Conv1DTranspose", "LocallyConnected1D", "DepthwiseConv1D"])
def test_a_relu_within_any_kernel_layer_is_seen(kind):
    arguments = (3,) if kind == "DepthwiseConv1D" else (2, 3)
    net = wel.load(Sequential([layers.Input((6, 3)), getattr(layers, kind)(*arguments, activation="relu", name="kernel")]))
    assert names(net, "guided_backprop", "paper")["kernel"] == ["Transposed", "Guided"]
    assert names(net, "deep_taylor", "paper")["kernel"] == ["Bounded", "Unchanged"]


# --- which layers need a rule


def recurrent_ends() -> wel.networks.network.Network:
    """An LSTM at the input and one at the output, between them what every method has rules for."""
    stack = [layers.LSTM(3, return_sequences=True, name="first"), layers.Conv1D(4, 2, name="conv"), layers.ReLU(name="relu")]
    stack += [layers.Conv1D(3, 2, name="top"), layers.LSTM(2, name="last")]
    return wel.load(Sequential([layers.Input((6, 3)), *stack]))


@pytest.mark.parametrize("method", ["lrp_z", "guided_backprop", "deep_taylor", "lrp_gamma"])
def test_layers_that_relevance_does_not_pass_need_no_rule(method):
    net = recurrent_ends()
    images, vectors = np.ones((1, 6, 3), "float32"), np.ones((1, 1, 4, 3), "float32")
    found = wel.relevance(net, method, images, "top", vectors, at=["conv", "first"])
    assert found["first"].shape == (1, 1, 6, 3) and np.isfinite(found["first"]).all()
    with pytest.raises(UnsupportedError, match=r"layer 'first' \(LSTM\)"):
        wel.relevance(net, method, images, "top", vectors, at=["input"])
    with pytest.raises(UnsupportedError, match=r"layer 'last' \(LSTM\)"):
        wel.relevance(net, method, images, "last", np.ones((1, 1, 2)), at=["top"])


def test_contributions_go_up_through_all_layers_below():
    net = recurrent_ends()
    with pytest.raises(UnsupportedError, match=r"layer 'first' \(LSTM\)"):
        wel.relevance(net, "deeplift_rescale", np.ones((1, 6, 3)), "top", np.ones((1, 1, 4, 3)), at=["conv"])


@pytest.mark.parametrize("method", ["smoothgrad", "integrated_gradients"])
def test_nothing_lies_between_words(method):
    net = wel.load(Sequential([layers.Input((4,)), layers.Embedding(9, 3, name="words"), layers.Flatten(), layers.Dense(2)]))
    message = rf"^Method '{method}' computes the network between its inputs, and layer 'words' \(Embedding\) looks whole numbers up"
    with pytest.raises(UnsupportedError, match=message):
        attribution(net, method, np.array([[1, 2, 3, 8]]))
    assert why_not(METHODS["gradient"], net.graph) is why_not(METHODS["lrp_z"], net.graph) is None
