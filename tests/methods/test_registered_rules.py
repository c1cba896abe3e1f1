"""wel.register_rule: whom a rule of the user's serves, what is refused, and the examples of docs/rule.md as they stand."""

from __future__ import annotations

import re
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pytest
import tensorflow as tf
from conftest import loaded

import wel
from wel.errors import UnsupportedError, WelError
from wel.methods import composites
from wel.methods.composites import rules_for, why_not
from wel.methods.registry import METHODS
from wel.rules.deeplift import Rescale
from wel.rules.gradient import Unchanged
from wel.rules.lrp import AlphaBeta
from wel.rules.parts import Weights

TUTORIAL = (Path(__file__).parents[2] / "docs" / "rule.md").read_text(encoding="utf-8")


@pytest.fixture(autouse=True)
def nothing_stays_registered():
    yield
    for layer, method in list(composites._registered):
        wel.register_rule(layer, None, method)


class Scale(tf.keras.layers.Layer):
    """y = 3x."""

    def call(self, x):
        return 3 * x


@dataclass(frozen=True)
class Times(wel.Rule):
    factor: float

    def apply(self, site, prepared, R):
        return [self.factor * R]


@dataclass(frozen=True)
class Gamma(wel.LinearRule):
    gamma: float

    def split(self, weights):
        return weights.each(lambda w: w + self.gamma * tf.maximum(w, 0))


def chain(*layers) -> wel.networks.network.Network:
    return wel.load(tf.keras.Sequential([tf.keras.layers.Input(2), *layers]))


def dense(kernel, bias, activation=None) -> tf.keras.layers.Layer:
    layer = tf.keras.layers.Dense(len(bias), activation)
    layer.build((None, 2))
    layer.set_weights([np.array(kernel, "float32"), np.array(bias, "float32")])
    return layer


def at_input(net, method: str, vector=(1.0,), image=(1.0, 2.0)) -> list[float]:
    vectors = np.array([[vector]], "float32")
    return wel.relevance(net, method, np.array([image], "float32"), vectors=vectors, backend="native")["input"][0, 0].tolist()


# --- the tutorial's examples


def test_the_examples_of_the_tutorial_run_as_they_stand():
    first, second = re.findall(r"```python\n(.*?)```", TUTORIAL, re.DOTALL)
    assert len(first.splitlines()) <= 15 and len(second.splitlines()) <= 15
    names: dict = {}
    tf.keras.utils.set_random_seed(0)  # else the denominator of LRP-z may be near 0, where single precision conserves less
    exec(first, names)
    norm, kernel = names["net"].model.layers[-2], names["net"].model.layers[-1].get_weights()[0].astype("float64")
    x = np.array([1.0, 2.0, 6.0])
    # mean 3, variance (4 + 1 + 9) / 3, y = (x − 3) / σ; LRP-z hands y_i w_i / Σ y_k w_k to y_i
    sigma = np.sqrt(14 / 3 + norm.epsilon)
    y = (x - 3) / sigma
    arrived = y * kernel[:, 0] / (y @ kernel[:, 0])
    # R_i = Σ_j x_i (δ_ij − 1/3) / (x_j − 3) R_j
    expected = x * ((np.eye(3) - 1 / 3) @ (arrived / (x - 3)))
    np.testing.assert_allclose(names["found"]["input"][0, 0], expected, rtol=1e-4)
    assert names["found"]["input"].sum() == pytest.approx(1, abs=1e-5)  # it conserves relevance

    exec(second, names)
    stressed = kernel[:, 0] + 0.25 * np.maximum(kernel[:, 0], 0)
    arrived = y * stressed / (y @ stressed)
    np.testing.assert_allclose(names["gamma"][norm.name][0, 0], arrived, rtol=1e-4)
    np.testing.assert_allclose(names["gamma"]["input"][0, 0], x * ((np.eye(3) - 1 / 3) @ (arrived / (x - 3))), rtol=1e-4)


def test_lrp_gamma_by_hand():
    net = chain(dense([[3], [-1]], [1]))
    wel.register_rule("Dense", Gamma(0.5), methods="lrp_z")
    # Ŵ = (4.5, −1), b̂ = 1.5, ẑ = 4.5·1 − 1·2 + 1.5 = 4: (4.5/4, −2/4)
    assert at_input(net, "lrp_z") == pytest.approx([1.125, -0.5])


def test_a_function_of_the_weights_is_one_of_the_whole_kernel():
    depthwise, pointwise = np.random.default_rng(0).standard_normal((2, 3, 3, 2, 2)).astype("float32")
    pointwise = pointwise[:1, :1].reshape(1, 1, 4, 1)
    whole = np.einsum("hwcm,cmo->hwco", depthwise, pointwise.reshape(2, 2, 1))
    each = Weights((tf.constant(depthwise), tf.constant(pointwise)), None).each(tf.nn.relu)
    np.testing.assert_allclose(each.kernels[0], np.maximum(whole, 0), rtol=1e-5)
    assert each.bias is None
    assert Weights((), tf.constant(-2.0)).each(abs) == Weights((), 2.0)  # average pooling


# --- whom a rule serves


def test_a_rule_goes_to_the_methods_that_have_none_for_the_layer():
    net = chain(Scale(name="three"), dense([[3], [-1]], [0]))
    assert at_input(net, "gradient") == [9, -3]
    with pytest.raises(UnsupportedError):
        at_input(net, "lrp_z")
    wel.register_rule(Scale, Times(5))
    # LRP-z: (9, −6) / 3, times 5
    assert at_input(net, "lrp_z") == pytest.approx([15, -10])
    assert at_input(net, "gradient") == [9, -3]
    assert why_not(METHODS["deeplift_rescale"], net.graph) is not None  # what it passes down is no relevance


def test_a_named_method_uses_the_rule_instead_of_its_own_and_others_do_not():
    net = chain(dense([[3], [-1]], [0], "relu"))
    before = [at_input(net, method) for method in ("lrp_z", "lrp_epsilon", "gradient")]
    wel.register_rule("relu", Times(2), methods=["lrp_z"])
    after = [at_input(net, method) for method in ("lrp_z", "lrp_epsilon", "gradient")]
    assert after[0] == pytest.approx([2 * value for value in before[0]]) and after[1:] == before[1:]


def test_what_was_compiled_before_is_of_no_use_after_a_registration():
    net = chain(Scale(), dense([[3], [-1]], [0]))
    for factor in (5, 7):
        wel.register_rule("Scale", Times(factor))
        assert at_input(net, "lrp_z") == pytest.approx([3 * factor, -2 * factor])
    wel.register_rule("Scale", None)
    with pytest.raises(UnsupportedError):
        at_input(net, "lrp_z")


def test_none_takes_back_only_what_was_registered_for_these_methods():
    graph = chain(Scale(name="three"), dense([[3], [-1]], [0])).graph
    wel.register_rule("Scale", Times(5))
    wel.register_rule("Scale", Times(7), methods=["lrp_z", "lrp_epsilon"])
    wel.register_rule("Scale", None, methods="lrp_z")
    found = {
        method: rules_for(graph, method, "paper", METHODS[method].defaults)["three"][0][1] for method in METHODS if method[:3] == "lrp"
    }
    assert found.pop("lrp_epsilon") == Times(7)
    assert set(found.values()) == {Times(5)}


def test_an_activation_function_has_the_rule_wherever_it_stands():
    layers = tf.keras.layers
    net = chain(dense([[1, 0], [0, 1]], [0, 0], "tanh"), layers.Activation("tanh", name="alone"), dense([[1], [1]], [0]))
    wel.register_rule("tanh", Times(0.5))
    rules = [rule for pairs in rules_for(net.graph, "rectgrad", "paper", {"percentile": 98}).values() for part, rule in pairs]
    assert rules.count(Times(0.5)) == 2
    rules = [rule for pairs in rules_for(net.graph, "lrp_z", "paper", {}).values() for part, rule in pairs]
    assert rules.count(Unchanged()) == 2  # LRP has one of its own
    wel.register_rule(layers.Activation, Times(3), methods="lrp_z")
    assert rules_for(net.graph, "lrp_z", "paper", {})["alone"][0][1] == Times(3)


def test_pattern_net_keeps_its_patterns_in_order_beside_a_registered_rule():
    net = chain(Scale(), dense([[1, 2], [3, 4]], [0, 0]), dense([[5], [6]], [0]))
    patterns = [np.array([[1, 0], [0, 2]], "float32"), np.array([[7], [8]], "float32")]
    wel.register_rule("Scale", Unchanged(), methods="pattern_net")
    image, vectors = np.ones((1, 2), "float32"), np.ones((1, 1, 1), "float32")
    found = wel.relevance(net, "pattern_net", image, vectors=vectors, backend="native", semantics="corrected", patterns=patterns)
    assert found["input"][0, 0].tolist() == [7, 16]  # (1·7, 2·8)


# --- what is said


REFUSED = "Method 'lrp_z' has no rule for layer 'norm' (LayerNormalization). Expected one of "


def test_a_layer_without_a_rule_is_named_with_what_still_applies():
    net = chain(tf.keras.layers.LayerNormalization(name="norm"), dense([[1], [2]], [0]))
    with pytest.raises(UnsupportedError) as caught:
        at_input(net, "lrp_z")
    assert str(caught.value) == (
        REFUSED + "gradient, guided_backprop, deconvnet, rectgrad, epsilon_plus, epsilon_plus_flat, epsilon_alpha2_beta1, "
        "epsilon_alpha2_beta1_flat, epsilon_gamma_box, beta_smooth, pattern_net, pattern_attribution, "
        "or a rule of your own: wel.register_rule('LayerNormalization', rule)."
    )
    assert why_not(METHODS["lrp_z"], net.graph) == caught.value.reason
    wel.register_rule("LayerNormalization", Unchanged(), methods=["lrp_epsilon", "deep_taylor"])
    with pytest.raises(UnsupportedError, match="deep_taylor, lrp_epsilon, epsilon_plus"):
        at_input(net, "lrp_z")


def test_what_is_suggested_works():
    net = chain(dense([[1, 0], [0, 1]], [0, 0], "tanh"), dense([[1], [1]], [0]))
    with pytest.raises(UnsupportedError) as caught:
        at_input(net, "deconvnet")
    suggestion = re.search(r"wel\.register_rule\(.*\)", str(caught.value))[0]
    eval(suggestion, {"wel": wel, "rule": Times(4)})
    assert at_input(net, "deconvnet") == [4, 4]


def test_patterns_are_for_layers_that_have_one():
    layers = [tf.keras.layers.SeparableConv2D(2, 3, name="two"), tf.keras.layers.Flatten(), tf.keras.layers.Dense(2)]
    net = wel.load(tf.keras.Sequential([tf.keras.layers.Input((4, 4, 3)), *layers]))
    assert "layer 'two' (SeparableConv2D)" in why_not(METHODS["pattern_net"], net.graph)
    assert why_not(METHODS["lrp_z"], net.graph) is None


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (("Dense", Times), "Invalid value for `rule`: .*Expected an instance of a subclass of wel.Rule"),
        (("Dense", "lrp"), "Invalid value for `rule`: 'lrp'. Expected an instance of a subclass of wel.Rule"),
        (("Dense", Times(2), "nope"), "Invalid value for `methods`: 'nope'. Expected one of gradient, "),
        (("Dense", Times(2), ["lrp_z", "smoothgrad"]), "Invalid value for `methods`: 'smoothgrad'. Expected one of gradient, "),
        (("LayerNormalization", Gamma(1.0)), r"`rule`: 'Gamma\(γ=1\)'. Expected a wel.Rule with `apply` for 'LayerNormalization'; "),
        (("Dense", Times(2), "deeplift_rescale"), r"`rule`: 'Times\(factor=2\)'. Expected for DeepLIFT a rule whose `forward`"),
    ],
)
def test_what_cannot_be_registered_is_refused_and_nothing_is(arguments, message):
    with pytest.raises(WelError, match=message):
        wel.register_rule(*arguments)
    assert not composites._registered


def test_deeplift_takes_a_rule_of_its_own_kind():
    net = chain(dense([[3], [-1]], [0], "relu"))
    wel.register_rule("relu", Rescale(), methods="deeplift_reveal_cancel")
    linear, activation = rules_for(net.graph, "deeplift_reveal_cancel", "paper", {})[net.layers[1]]
    assert activation[1] == Rescale() and linear[1] != Rescale()


def test_methods_that_only_have_maps_have_the_rules_of_the_one_behind_them(residual):
    graph = loaded(residual).graph

    def rules(method: str, **options) -> list:
        return [rule for pairs in rules_for(graph, method, "paper", {**METHODS[method].defaults, **options}).values() for _, rule in pairs]

    assert rules("smoothgrad") == rules("integrated_gradients") == rules("input_x_gradient") == rules("gradient")
    assert rules("excitation_backprop") == rules("contrastive_excitation_backprop") == rules("contrastive_lrp") == rules("lrp_alpha1_beta0")
    assert rules("contrastive_lrp", base="lrp_epsilon") == rules("lrp_epsilon")
    assert AlphaBeta(1, 0, "both") in rules("contrastive_lrp")
    assert all(why_not(method, graph) is None for method in METHODS.values())
