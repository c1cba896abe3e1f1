"""wel.methods.composites: which rule each part of a network gets, and what has none; test_registered_rules has rules of the user's own."""

from __future__ import annotations

import pytest
from conftest import loaded
from tensorflow.keras import Model, Sequential, layers

import wel
from wel.backends import find_backend
from wel.errors import UnsupportedError
from wel.methods.composites import COMPOSITES, flow_of, register_rule, rules_for, why_not
from wel.methods.registry import CSC_METHODS, METHODS
from wel.rules.deeplift import Contributions
from wel.rules.lrp import Epsilon

OPTIONS = {"deep_taylor": {"low": 0.0, "high": 1.0}}


def names(net, method: str, semantics: str) -> dict[str, list[str]]:
    """Node -> the rules of its parts."""
    options = {**METHODS[method].defaults, **OPTIONS.get(method, {})}
    found = rules_for(net.graph, method, semantics, options)
    return {name: [type(rule).__name__ for _, rule in several] for name, several in found.items()}


def test_every_composite_is_some_methods_and_every_method_has_one_or_is_made_of_another():
    assert {METHODS[name].composite.name for name in CSC_METHODS} == set(COMPOSITES)
    others = [method for method in METHODS.values() if method.composite is None]
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
        ("lrp_z", "paper", ["Z", "PaperBatchNorm", "Unchanged", "Z"]),
        ("lrp_z", "corrected", ["Z", "Z", "Unchanged", "Z"]),
        ("lrp_epsilon", "paper", ["Epsilon", "PaperBatchNorm", "Unchanged", "Z"]),
        ("lrp_epsilon", "corrected", ["Epsilon", "Epsilon", "Unchanged", "Epsilon"]),
        ("lrp_alpha1_beta0", "paper", ["AlphaBeta", "AlphaBeta", "Unchanged", "Clipped"]),
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


@pytest.mark.parametrize("kind", [layers.Rescaling(0.5, name="own"), layers.RandomFlip(name="own")])
def test_wrapped_backends_have_no_rule_for_preprocessing(kind):
    net = wel.load(Sequential([layers.Input((4, 4, 1)), kind, layers.Flatten(), layers.Dense(2)]))
    for method, backend in (("lrp_z", "innvestigate"), ("deeplift_rescale", "deeplift")):
        find_backend("native", METHODS[method]).check(METHODS[method], "paper", net.graph)
        with pytest.raises(UnsupportedError, match="no rule for layer 'own'"):
            find_backend(backend, METHODS[method]).check(METHODS[method], "paper", net.graph)
