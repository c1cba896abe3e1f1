"""wel.auditing.plan: cuts of chains, of residual networks and of networks that cannot be cut."""

from __future__ import annotations

import pytest
import tensorflow as tf

import wel
from wel.auditing.depths import choose_depths, choose_layers

layers = tf.keras.layers


@pytest.fixture(scope="module")
def chain():
    names = ["a", "b", "c", "d"]
    kernels = [layers.Conv2D(2, 1, name=name) for name in names[:3]]
    stack = [layers.Input((4, 4, 2), name="picture")]
    for kernel in kernels:
        stack += [kernel, layers.BatchNormalization(name=f"bn_{kernel.name}"), layers.ReLU(name=f"relu_{kernel.name}")]
    stack += [layers.Flatten(name="flat"), layers.Dropout(0.5, name="drop"), layers.Dense(3, name="d")]
    return wel.load(tf.keras.Sequential(stack))


@pytest.fixture(scope="module")
def residual():
    x = layers.Input((4, 4, 2), name="picture")
    first = layers.Conv2D(2, 1, name="first")(x)
    branch = layers.Conv2D(2, 1, name="branch")(first)
    total = layers.Add(name="add")([branch, first])
    second = layers.Conv2D(2, 1, name="second")(total)
    out = layers.Dense(3, name="out")(layers.GlobalAveragePooling2D(name="mean")(second))
    return wel.load(tf.keras.Model(x, out))


def test_cuts_are_named_after_the_last_layer_that_changes_a_value(chain):
    assert choose_depths(chain, 10) == ["relu_c", "relu_b", "relu_a"]


@pytest.mark.parametrize("count, names", [(1, ["relu_c"]), (2, ["relu_c", "relu_a"]), (3, ["relu_c", "relu_b", "relu_a"])])
def test_the_topmost_cut_comes_first_and_the_others_lie_evenly(chain, count, names):
    assert choose_depths(chain, count) == names


def test_no_cut_inside_a_branch(residual):
    assert choose_depths(residual, 10) == ["mean", "add", "first"]


def test_relevance_is_read_at_the_input_and_from_there_up(chain):
    assert choose_layers(chain, 2) == [chain.graph.input, "relu_a", "relu_c"]


def test_of_max_pooling_relevance_is_read_below():
    stack = [layers.Conv2D(2, 1, name="a"), layers.MaxPooling2D(name="pool"), layers.MaxPooling2D(name="again"), layers.Flatten()]
    net = wel.load(tf.keras.Sequential([layers.Input((4, 4, 2)), *stack, layers.Dense(3)]))
    assert choose_depths(net, 1) == ["again"] and choose_layers(net, 1) == [net.graph.input, "a"]


def test_relevance_is_not_read_where_max_pooling_has_a_part():
    x = layers.Input((8, 8, 2))
    first = layers.Conv2D(2, 1, name="first")(x)
    pooled = layers.MaxPooling2D(2, name="pool")(first)
    mixed = layers.Concatenate(name="mixed")([layers.Conv2D(2, 2, strides=2)(first), pooled])
    second = layers.Conv2D(2, 1, name="second")(mixed)
    net = wel.load(tf.keras.Model(x, layers.Dense(3)(layers.Flatten()(second))))
    assert choose_depths(net, 10) == ["second", "mixed", "first"]
    assert choose_layers(net, 10) == [net.graph.input, "first", "second"]


def test_a_network_of_one_layer_has_no_cut():
    net = wel.load(tf.keras.Sequential([layers.Input(4), layers.Dense(3)]))
    assert choose_depths(net, 3) == [] and choose_layers(net, 3) == [net.graph.input]


def test_every_path_goes_through_a_cut():
    net = wel.load("resnet20")
    graph = net.graph
    for cut in choose_depths(net, 8):
        assert graph.input not in _reaching(graph, graph.output, cut)


def _reaching(graph, target, blocked):
    """Nodes from which `target` can be reached without going through `blocked`."""
    found = {target}
    for node in reversed(graph.nodes):
        if node.name in found and node.name != blocked:
            found.update(source for source in node.inputs if source != blocked)
    return found
