"""wel.modelfiles.conversion: walking through configurations, and giving weights to a model."""

from __future__ import annotations

import numpy as np
import pytest

from wel.errors import WelError
from wel.modelfiles.conversion import all_layers, assign, in_file_order, leaves, malformed_refused, name_of, parts

DENSE = {"class_name": "Dense", "config": {"name": "dense"}}
NESTED = {"class_name": "Sequential", "config": [DENSE]}
WRAPPED = {"class_name": "TimeDistributed", "config": {"name": "each", "layer": NESTED}}


def test_parts_of_both_forms():
    assert parts(NESTED) == parts({"class_name": "Sequential", "config": {"name": "net", "layers": [DENSE]}}) == [DENSE]


@pytest.mark.parametrize("given", [None, 3, [], {}, {"class_name": "Dense", "config": []}, {"class_name": ["Model"], "config": []},
                                   {"class_name": "Model", "config": {}}, {"class_name": "Model", "config": {"layers": [1]}}])  # fmt: skip
def test_what_is_no_model_is_refused(given):
    with pytest.raises(WelError, match="not that of a Sequential or functional"):
        parts(given)


def test_all_layers_enters_models_and_wrappers():
    assert list(all_layers({"class_name": "Sequential", "config": [NESTED, WRAPPED]})) == [NESTED, DENSE, WRAPPED, NESTED, DENSE]


def test_names_for_sentences():
    assert name_of(DENSE) == "dense" and name_of({**DENSE, "name": "call"}) == "call"
    assert name_of(NESTED) == "Sequential"
    assert len(name_of({"class_name": "x" * 1000})) == 80


def test_malformed_configurations_become_sentences():
    with pytest.raises(WelError, match=r"malformed for a model of Keras 9 \(KeyError\)"), malformed_refused("Keras 9"):
        {}["layers"]
    with pytest.raises(WelError, match="^own$"), malformed_refused("Keras 9"):
        raise WelError("own")


def test_leaves_come_in_the_order_of_the_configuration(nested):
    configuration = {"class_name": "Functional", "config": nested.get_config()}
    assert [layer.name for layer in leaves(nested, configuration)] == ["image", "conv", "relu", "flatten", "dense"]
    configuration["config"]["layers"].reverse()
    assert [layer.name for layer in leaves(nested, configuration)] == ["dense", "flatten", "conv", "relu", "image"]


def test_variables_in_file_order(residual):
    layers = [residual.get_layer("bn1"), residual.get_layer("dense")]
    order = [weight.name.split("/")[-1] for weight in in_file_order(layers)]
    assert order == ["gamma:0", "beta:0", "kernel:0", "bias:0", "moving_mean:0", "moving_variance:0"]


def test_assign():
    import tensorflow as tf

    variable = tf.Variable(np.zeros((2, 3), "float32"))
    assign("it", [variable], [np.ones((2, 3))])
    assert variable.numpy().sum() == 6
    with pytest.raises(WelError, match=r"'it' has a weight of shape \(3, 2\) in the file. Expected \(2, 3\)"):
        assign("it", [variable], [np.ones((3, 2))])
    with pytest.raises(WelError, match="'it' has 0 weights in the file. Expected 1"):
        assign("it", [variable], [])
