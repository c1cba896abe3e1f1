"""wel.modelfiles.training: what matters in training only is left out where it is foreign, and told; nothing else is touched."""

from __future__ import annotations

import json

import pytest

from wel.errors import WelError
from wel.modelfiles.training import without_training
from wel.networks.loading import load


def model(*layers: dict) -> dict:
    return {"class_name": "Sequential", "config": {"name": "m", "layers": list(layers)}}


def layer(kind: str, **config) -> dict:
    return {"class_name": kind, "config": {"name": "a", **config}}


def first(configuration: dict, **given) -> tuple[dict, tuple[str, ...]]:
    found, notes = without_training(configuration, given)
    return found["config"]["layers"][0], notes


OWN = [
    {"class_name": "GlorotUniform", "config": {"seed": None}},
    {"class_name": "L1L2", "config": {"l1": 0.1, "l2": 0.0}},
    {"module": "keras.initializers", "class_name": "HeNormal", "config": {}, "registered_name": None},
    "glorot_uniform", "l2", "l1_l2", "zeros", None,
]  # fmt: skip
FOREIGN = [
    ({"class_name": "Mine", "config": {"a": 1}}, "Mine"),
    ({"module": "subprocess", "class_name": "Popen", "config": {"args": ["true"]}, "registered_name": "Popen"}, "Popen"),
    ({"module": "builtins", "class_name": "function", "config": "my_init", "registered_name": "function"}, "my_init"),
    ({"class_name": "__lambda__", "config": {"value": "e30="}}, "__lambda__"),
    ("my_init", "my_init"),
    ("<lambda>", "<lambda>"),
]


@pytest.mark.parametrize("value", OWN)
def test_keras_own_stays(value):
    configuration = model(layer("Dense", units=2, kernel_initializer=value, bias_regularizer=value))
    assert without_training(configuration, {}) == (configuration, ())


@pytest.mark.parametrize("value, name", FOREIGN)
@pytest.mark.parametrize(
    "key, words",
    [
        ("kernel_initializer", "initialiser"),
        ("bias_regularizer", "regulariser"),
        ("activity_regularizer", "regulariser"),
        ("beta_constraint", "constraint"),
        ("W_regularizer", "regulariser"),
    ],
)
def test_foreign_goes_and_is_told(value, name, key, words):
    expected = f"Left out, as it matters in training only: the {words} {name}."
    assert first(model(layer("Dense", units=2, **{key: value}))) == (layer("Dense", units=2), (expected,))
    inner = layer("Dense", units=2, **{key: value})
    for outer in (layer("TimeDistributed", layer=inner), model(inner)):
        assert without_training(model(outer), {})[1] == (expected,)


@pytest.mark.parametrize("value", [value for value, name in FOREIGN if name in ("Mine", "my_init")])
def test_what_is_given_stays(value):
    configuration = model(layer("Dense", kernel_initializer=value))
    assert without_training(configuration, {"Mine": object, "my_init": object}) == (configuration, ())


def test_a_foreign_layer_keeps_its_arguments():
    configuration = model(layer("MyDense", kernel_initializer={"class_name": "Mine", "config": {}}))
    assert without_training(configuration, {}) == (configuration, ())


def test_dropout_of_packages():
    found, notes = first(model(layer("FixedDropout", rate=0.2, noise_shape=[None, 1], seed=3, trainable=True)))
    assert found == layer("Dropout", trainable=True, rate=0.5)
    assert notes == ("Left out, as it matters in training only: the layer FixedDropout of the package efficientnet.",)
    keras3 = {**layer("DropConnect", drop_connect_rate=0.2), "module": "my.code", "registered_name": "DropConnect"}
    assert first(model(keras3))[0] == {**layer("Dropout", rate=0.5), "module": "keras.layers", "registered_name": None}
    assert first(model(layer("FixedDropout", rate=0.2)), FixedDropout=object) == (layer("FixedDropout", rate=0.2), ())


def test_another_versions_own_goes_untold():
    orthogonal = {"module": "keras.initializers", "class_name": "OrthogonalInitializer", "config": {}, "registered_name": None}
    assert first(model(layer("Dense", units=2, kernel_initializer=orthogonal))) == (layer("Dense", units=2), ())


def test_the_same_is_told_once():
    mine = {"class_name": "Mine", "config": {}}
    configuration = model(layer("Dense", kernel_initializer=mine, bias_initializer=mine), layer("Dense", kernel_initializer=mine))
    assert without_training(configuration, {})[1] == ("Left out, as it matters in training only: the initialiser Mine.",)


def test_losses_metrics_and_optimisers_are_not_read(functional, tmp_path):
    from tensorflow import keras

    def mine(true, predicted):
        return predicted - true

    class Mine(keras.optimizers.legacy.SGD):
        pass

    functional.compile(Mine(), mine, metrics=[mine])
    for name in ("net.h5", "net.keras"):
        functional.save(tmp_path / name)
        assert load(tmp_path / name).origin.notes == ()


def test_activations_are_no_training_matter(functional, tmp_path):
    configuration = json.loads(functional.to_json())
    configuration["config"]["layers"][-1]["config"]["activation"] = "mine"
    (tmp_path / "net.json").write_text(json.dumps(configuration))
    functional.save_weights(tmp_path / "net.h5")
    with pytest.raises(WelError, match="the activation mine"):
        load(tmp_path / "net.json", tmp_path / "net.h5")
