"""wel.rules.deeplift.without_unseen_placeholders: where it says that the semantics are the same, relevance is, to the last bit."""

from __future__ import annotations

import numpy as np
import pytest
import tensorflow as tf
from conftest import randomized

import wel
from wel.methods.composites import rules_for
from wel.rules.deeplift import without_unseen_placeholders

layers = tf.keras.layers
METHODS = ["deeplift_rescale", "deeplift_reveal_cancel", "deeplift_ablation"]


def network(*between):
    stack = [layers.Conv2D(4, 3, activation="relu", name="first"), layers.MaxPooling2D(name="pool"), *between]
    return wel.load(randomized(tf.keras.Sequential([layers.Input((8, 8, 3)), *stack, layers.Flatten(name="flat"), layers.Dense(3)])))


def same(net, method, at):
    several = (rules_for(net.graph, method, semantics, {}) for semantics in ("paper", "corrected"))
    one, other = (without_unseen_placeholders(net.graph, rules, at) for rules in several)
    return [[rule for _, rule in pairs] for pairs in one.values()] == [[rule for _, rule in pairs] for pairs in other.values()]


def differs(net, method, at):
    """At which layers the relevance of the semantics differs, the output's vector being random."""
    images = np.random.default_rng(0).normal(size=(2, 8, 8, 3)).astype("float32")
    vectors = np.random.default_rng(1).normal(size=(2, 2, 3)).astype("float32")
    paper, corrected = (wel.relevance(net, method, images, vectors=vectors, at=at, semantics=one) for one in ("paper", "corrected"))
    return {name for name in at if not np.array_equal(paper[name], corrected[name])}


@pytest.mark.parametrize("method", METHODS)
def test_they_show_at_the_pooling_and_at_the_flattening_behind_it_only(method):
    net = network()
    assert differs(net, method, ["input", "first", "pool", "flat"]) == {"pool", "flat"}
    assert same(net, method, ["input", "first"])
    assert not same(net, method, ["first", "pool"]) and not same(net, method, ["flat"])


@pytest.mark.parametrize("method", METHODS)
def test_behind_the_next_kernel_there_are_contributions_again(method):
    net = network(layers.Conv2D(5, 1, name="second"))
    assert differs(net, method, ["input", "first", "second", "flat"]) == set()
    assert same(net, method, ["input", "first", "second", "flat"])


def test_reveal_cancel_makes_multipliers_of_them():
    net = network(layers.ReLU(name="relu"))
    assert differs(net, "deeplift_reveal_cancel", ["input", "first"]) == {"input", "first"}
    assert not same(net, "deeplift_reveal_cancel", ["input", "first"])
    assert differs(net, "deeplift_rescale", ["input", "first"]) == set() and same(net, "deeplift_rescale", ["input", "first"])


def test_rules_of_other_methods_stay():
    net = network()
    rules = rules_for(net.graph, "lrp_z", "paper", {})
    assert without_unseen_placeholders(net.graph, rules, ["pool"]) == rules
