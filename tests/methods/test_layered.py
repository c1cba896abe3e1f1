"""wel.composite: which layers its rules are for, in all functions that take a method, and what is refused."""

from __future__ import annotations

import pickle

import numpy as np
import pytest
import tensorflow as tf
from tensorflow.keras import Model, Sequential, layers

import wel
from wel.backends import find_backend
from wel.errors import UnsupportedError, WelError
from wel.methods.composites import rules_for
from wel.methods.registry import GIVEN, METHODS
from wel.rules.gradient import Gradient, Smooth
from wel.rules.lrp import AlphaBeta, Bounded, Epsilon, Flat, Gamma, WSquare, Z
from wel.studies.study import settled_options


def small() -> wel.Network:
    """conv, act, pool, flatten, hidden with a ReLU of its own, dense."""
    stack = [layers.Conv2D(3, 2, name="conv"), layers.ReLU(name="act"), layers.MaxPooling2D(name="pool"), layers.Flatten(name="flatten")]
    dense = [layers.Dense(4, activation="relu", name="hidden"), layers.Dense(2, name="dense")]
    return wel.load(Sequential([layers.Input((5, 5, 1)), *stack, *dense]))


@pytest.fixture(scope="module")
def net():
    return small()


@pytest.fixture(scope="module")
def images() -> np.ndarray:
    return np.random.default_rng(0).random((2, 5, 5, 1), dtype="float32")


def chosen(net, method, semantics: str = "corrected") -> dict[str, list[str]]:
    """Node -> its rules in words."""
    options = settled_options(net, method, {}, np.zeros((1, *net.input_shape), "float32"))
    found = rules_for(net.graph, GIVEN.name, semantics, options)
    return {name: [str(rule) for _, rule in pairs] for name, pairs in found.items()}


BASE = {"conv": ["Z"], "act": ["Unchanged"], "hidden": ["Z", "Unchanged"], "dense": ["Z"]}


@pytest.mark.parametrize(
    "rules, expected",
    [
        ({}, {}),
        ({"conv": Flat()}, {"conv": ["Flat"]}),
        ({"Dense": Epsilon(0.5)}, {"hidden": ["Epsilon(ε=0.5)", "Unchanged"], "dense": ["Epsilon(ε=0.5)"]}),
        ({layers.Dense: WSquare()}, {"hidden": ["WSquare", "Unchanged"], "dense": ["WSquare"]}),
        ({"relu": Smooth(3)}, {"hidden": ["Z", "Smooth(β=3)"]}),
        ({"ReLU": Smooth(3)}, {"act": ["Smooth(β=3)"]}),
        ({0: Flat(), -1: WSquare()}, {"conv": ["Flat"], "dense": ["WSquare"]}),
        ({range(1, 3): Flat()}, {"hidden": ["Flat", "Unchanged"], "dense": ["Flat"]}),
        # there is no such layer, as in a network that is less deep
        ({7: Flat()}, {}),
        ({-4: Flat()}, {}),
        ({lambda part: part.is_relu: Smooth(3)}, {"act": ["Smooth(β=3)"], "hidden": ["Z", "Smooth(β=3)"]}),
        # the first one counts
        ({"dense": Flat(), "Dense": Epsilon(0.5)}, {"hidden": ["Epsilon(ε=0.5)", "Unchanged"], "dense": ["Flat"]}),
    ],
)
def test_what_a_selector_takes(net, rules, expected):
    found = chosen(net, wel.composite("mine", rules))
    assert {name: found[name] for name in BASE} == {**BASE, **expected}


def test_all_other_layers_go_by_the_base_and_its_options(net):
    found = chosen(net, wel.composite("mine", [("dense", Flat())], base="lrp_epsilon", epsilon=0.25), "paper")
    assert (found["conv"], found["hidden"][0], found["dense"]) == (["Epsilon(ε=0.25)"], "Epsilon(ε=0.25)", ["Flat"])
    # Deep Taylor's bounds are the images' unless they are given
    found = chosen(net, wel.composite("mine", {"dense": Flat()}, base="deep_taylor", high=2.0))
    assert found["conv"] == ["Bounded(low=0, high=2)"] and str(AlphaBeta(1, 0, "none")) in found["hidden"]


def test_relevance_by_hand():
    model = Sequential([layers.Input((2,)), layers.Dense(1, use_bias=False, name="first"), layers.Dense(1, use_bias=False)])
    model.set_weights([np.array([[3.0], [-1.0]]), np.array([[2.0]])])
    method = wel.composite("mine", {"first": WSquare(), 1: Epsilon(1.0)})
    found = wel.relevance(wel.load(model), method, [[1.0, 2.0]], vectors=[[[6.0]]])
    # y = 3 − 2 = 1, z = 2: 1·2·6 / (2 + 1) = 4; of that 9/10 and 1/10
    assert found["first"].item() == pytest.approx(4)
    np.testing.assert_allclose(found["input"][0, 0], [3.6, 0.4], rtol=1e-6)


@pytest.mark.parametrize("semantics", ["paper", "corrected"])
def test_a_method_of_wels_by_its_rules_is_that_method(net, images, semantics):
    whole = wel.composite("mine", {lambda part: part.has_kernel: Gamma(0.25)})
    given = {"vectors": np.ones((2, 1, 2), "float32"), "at": "input", "semantics": semantics}
    found, expected = (wel.relevance(net, method, images, **given)["input"] for method in (whole, "lrp_gamma"))
    np.testing.assert_array_equal(found, expected)


def test_all_studies_take_it(net, images, tmp_path):
    mine = wel.composite("flat at the bottom", {"conv": Flat()}, base="lrp_alpha1_beta0")
    table = wel.csc(net, images, methods=[mine, "gradient"], out=tmp_path).table
    assert list(dict.fromkeys(table["method"])) == ["flat at the bottom", "gradient"]
    # what was found before is read again, though the method is another object
    again = wel.composite("flat at the bottom", {"conv": Flat()}, base="lrp_alpha1_beta0")
    assert wel.csc(net, images, methods=[again, "gradient"], out=tmp_path).table.equals(table)
    assert "conv => Flat; else lrp_alpha1_beta0" in (tmp_path / "run.json").read_text(encoding="utf-8")
    other = wel.composite("flat at the bottom", {"conv": WSquare()}, base="lrp_alpha1_beta0")
    with pytest.raises(WelError):
        wel.csc(net, images, methods=[other, "gradient"], out=tmp_path)
    assert mine.name in set(wel.random_logit(net, images, methods=mine).table["method"])
    assert mine.name in set(wel.cascading_randomization(net, images, methods=[mine]).table["method"])
    assert wel.attribution(net, mine, images).shape == images.shape
    assert {rule for rule in wel.leaks(net, mine, images)["rule"]} >= {"Flat"}


def test_options_of_the_base_may_be_given_per_study(net, images):
    mine = wel.composite("mine", {"conv": Flat()}, base="lrp_epsilon")
    given = {"vectors": np.ones((2, 1, 2), "float32"), "at": "input"}
    found = wel.relevance(net, mine, images, epsilon=2.0, **given)["input"]
    fixed = wel.relevance(net, wel.composite("mine", {"conv": Flat()}, base="lrp_epsilon", epsilon=2.0), images, **given)["input"]
    np.testing.assert_array_equal(found, fixed)
    result = wel.csc(net, images, methods=[mine], options={"mine": {"epsilon": 2.0}})
    assert set(result.table["method"]) == {"mine"}


def test_equal_composites_share_one_compiled_sweep(images):
    net = small()
    vectors = np.ones((2, 1, 2), "float32")
    made = find_backend("native", GIVEN)._made

    def relevance(rule):
        return wel.relevance(net, wel.composite("mine", {"conv": rule, "Dense": Epsilon(0.1)}), images, vectors=vectors)

    relevance(Flat())
    assert len(made[net]) == 1
    relevance(Flat())
    assert len(made[net]) == 1
    relevance(WSquare())
    assert len(made[net]) == 2


def test_it_travels_to_other_processes():
    mine = pickle.loads(pickle.dumps(wel.composite("mine", {"conv": Flat(), range(2): Epsilon(0.1)}, base="deep_taylor")))
    assert mine.formula == "conv => Flat; range(0, 2) => Epsilon(ε=0.1); else deep_taylor"
    assert all(pickle.loads(pickle.dumps(method)) is method for method in METHODS.values())


def test_names_of_the_zoo():
    net = wel.load("vgg16", weights="random", input_shape=(32, 32, 3), classes=3)
    assert chosen(net, wel.composite("mine", {"conv1_2": Flat()}))["block1_conv2"][0] == "Flat"


@pytest.mark.parametrize(
    "rules, sentence",
    [
        ({"conv": "flat"}, r"^Invalid value for `rules`: 'flat'\. Expected an instance of a subclass of wel\.Rule\.$"),
        ({1.5: Flat()}, r"^Invalid value for `rules`: 1\.5\. Expected a layer's name, a kind of layers, a position"),
        ({True: Flat()}, r"^Invalid value for `rules`: True\."),
    ],
)
def test_what_is_no_selector_or_no_rule(rules, sentence):
    with pytest.raises(WelError, match=sentence):
        wel.composite("mine", rules)


@pytest.mark.parametrize(
    "settings, sentence",
    [
        ({"name": "lrp_z"}, r"^Invalid value for `name`: 'lrp_z'\. Expected a name that no method of wel's has\.$"),
        ({"name": ""}, "^Invalid value for `name`: ''"),
        ({"base": "deeplift_rescale"}, "^Invalid value for `base`: 'deeplift_rescale'. Expected one of gradient, "),
        ({"base": "smoothgrad"}, "^Invalid value for `base`: 'smoothgrad'."),
        ({"epsilon": 1}, "^Invalid value for `options`: 'epsilon'. Expected for lrp_z: none.$"),
    ],
)
def test_what_cannot_be_a_composite(settings, sentence):
    with pytest.raises(WelError, match=sentence):
        wel.composite(**{"name": "mine", "rules": {"conv": Flat()}, **settings})


def test_a_layer_that_there_is_not(net, images):
    with pytest.raises(WelError, match=r"^Invalid value for `rules`: 'conv9'\. Expected one of input, output, conv, act, "):
        wel.csc(net, images, methods=[wel.composite("mine", {"conv9": Flat()})])
    # a kind of layers that this network has not is none that there is not
    assert chosen(net, wel.composite("mine", {"Conv1D": Flat()}))["conv"] == ["Z"]


@pytest.mark.parametrize(
    "rules, one, before",
    [
        ({"Conv2D": Flat(), "conv": WSquare()}, "'conv'", "'Conv2D'"),
        ({layers.Conv2D: Flat(), 0: WSquare()}, "0", "'Conv2D'"),
        ({range(2): Flat(), "Dense": Z(), -1: WSquare()}, "-1", "'Dense'"),
        ({lambda part: True: Gradient(), "act": WSquare()}, "'act'", "'<lambda>'"),
    ],
)
def test_a_layer_that_an_earlier_selector_has_taken(net, rules, one, before):
    with pytest.raises(WelError, match=rf"^Invalid value for `rules`: {one}\. Expected it before {before}; the first selector that takes"):
        chosen(net, wel.composite("mine", rules))


@pytest.mark.parametrize("rules", [{"conv": Flat(), "Conv2D": Z()}, {0: Flat(), -3: Z()}, {"relu": Smooth(3), "hidden": Flat()}])
def test_selectors_that_share_a_layer(net, rules):
    # a kind may be no other layer, positions may be one in a network that is less deep, and a layer has an activation function beside
    found = chosen(net, wel.composite("mine", rules))
    assert found["hidden" if "hidden" in rules else "conv"][0] == "Flat"


def test_a_rule_for_linear_layers_elsewhere(net, images):
    with pytest.raises(WelError, match=r"^Invalid value for `rules`: 'Flat'\. Expected a wel\.Rule with `apply` for 'act' \(ReLU\)"):
        wel.csc(net, images, methods=[wel.composite("mine", {"act": Flat()})])


def test_two_methods_of_one_name(net, images):
    one, other = wel.composite("mine", {"conv": Flat()}), wel.composite("mine", {"conv": WSquare()})
    with pytest.raises(WelError, match=r"^Invalid value for `methods`: 'mine'\. Expected methods with a name of their own each"):
        wel.csc(net, images, methods=[one, other])


def test_a_layer_without_a_rule_is_told_of_the_composite():
    image = layers.Input((4,))
    net = wel.load(Model(image, layers.Dense(2)(layers.LayerNormalization(name="odd")(image))))
    mine = wel.composite("mine", {"Dense": Bounded(-1, 1)})
    with pytest.raises(UnsupportedError, match=r"^Method 'mine' has no rule for layer 'odd' \(LayerNormalization\)\."):
        wel.relevance(net, mine, tf.zeros((1, 4)).numpy(), vectors=np.ones((1, 1, 2)))
    with pytest.raises(UnsupportedError, match="'wrapped' does not compute mine"):
        wel.relevance(net, mine, tf.zeros((1, 4)).numpy(), vectors=np.ones((1, 1, 2)), backend="wrapped")
