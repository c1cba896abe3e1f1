"""wel.modelfiles.foreign: Keras's own configurations pass, everything else is listed, and what is given or allowed passes too."""

from __future__ import annotations

import json

import pytest

from wel.errors import WelError
from wel.modelfiles.foreign import Foreign, check_own, foreign_parts, given_objects, known_activations, known_classes


def listed(configuration: dict, **given) -> list[str]:
    return [str(part) for part in foreign_parts(configuration, given)]


def model(*layers: dict) -> dict:
    return {"class_name": "Sequential", "config": {"name": "m", "layers": list(layers)}}


def layer(kind, name: str = "a", module: str | None = None, registered: str | None = None, **config) -> dict:
    return {"class_name": kind, "config": {"name": name, **config}, **({"module": module, "registered_name": registered} if module else {})}


@pytest.mark.parametrize("name", ["sequential", "functional", "nested", "shared_layer", "residual"])
def test_own_models(name, request):
    assert listed(json.loads(request.getfixturevalue(name).to_json())) == []


def variety():
    """A model with many of Keras's classes: wrappers, cells, regularisers, constraints, activations as layers, operations."""
    import tensorflow as tf
    from tensorflow.keras import Model, constraints, initializers, layers, regularizers

    source = layers.Input((8, 8, 3))
    x = layers.Conv2D(4, 3, kernel_regularizer=regularizers.L1L2(0.1, 0.1), kernel_constraint=constraints.MaxNorm(2))(source)
    x = layers.DepthwiseConv2D(3, depthwise_initializer=initializers.VarianceScaling(2), activation=layers.LeakyReLU())(x)
    x = layers.PReLU(shared_axes=[1, 2])(layers.GroupNormalization(2)(layers.BatchNormalization()(x)))
    x = layers.TimeDistributed(layers.Dense(3, activation="swish"))(x)
    x = layers.Reshape((4, 12))(tf.nn.relu6(x) * 2.0)
    x = layers.Bidirectional(layers.LSTM(4, return_sequences=True))(x)
    x = layers.RNN([layers.GRUCell(3), layers.SimpleRNNCell(2)], return_sequences=True)(x)
    x = layers.MultiHeadAttention(2, 3)(x, x)
    return Model(source, layers.Dense(2, activation="softmax", dtype="float64")(layers.LayerNormalization()(layers.Flatten()(x))))


def test_own_classes_of_every_kind():
    assert listed(json.loads(variety().to_json())) == []


@pytest.mark.parametrize(
    "part, what",
    [
        (layer("Lambda"), "a layer of the class Lambda"),
        (layer("keras.layers.Lambda"), "a layer of the class Lambda"),
        (layer("x", module="keras", registered="Custom>Lambda"), "a layer of the class Lambda"),
        (layer("Mine"), "the class Mine, which is not Keras's"),
        (layer("Custom>Mine"), "the class Custom>Mine, which is not Keras's"),
        (layer("Dense", module="keras.layers", registered="Other"), "the class Dense, which is not Keras's"),
        (layer("Dense", module="antigravity"), "the class Dense of the module antigravity"),
        (layer("Dense", module="keras_other.layers"), "the class Dense of the module keras_other.layers"),
        (layer("TFOpLambda", function="io.read_file"), "the TensorFlow function io.read_file"),
        (layer("TFOpLambda", function="compat.v1.io.write_file"), "the TensorFlow function io.write_file"),
        (layer("TFOpLambda", function=None), "the TensorFlow function None"),
        (layer("TFOpLambda", function="unstack"), "the TensorFlow function unstack, which has several outputs"),
        (layer("IntegerLookup"), "the class IntegerLookup, which reads vocabularies"),
        (layer("Dense", activation="mine"), "the activation mine"),
        (layer("GRU", recurrent_activation="mine"), "the activation mine"),
        (layer("Dense", activation={"class_name": "function", "config": "mine"}), "the function mine"),
        (layer("Dense", activation={"class_name": "function", "config": "x", "module": "os"}), "the function x of the module os"),
        (layer("Dense", activation={"class_name": "function", "config": ["x"]}), "a function without a name"),
        (layer("Dense", kernel_initializer={"class_name": "Own", "config": {}}), "the class Own, which is not Keras's"),
        (layer(None), "a class without a name"),
        (layer({"a": 1}), "a class without a name"),
    ],
)
def test_foreign(part, what):
    for configuration in (model(part), model(layer("TimeDistributed", name="outer", layer=part)), model(model(part))):
        assert listed(configuration) == [f"layer 'a': {what}"]


def test_everything_is_listed_once_in_order():
    parts = [layer("Lambda", "one"), layer("Mine", "two"), layer("Dense", "three", activation="mine"), layer("Mine", "two")]
    assert listed(model(*parts)) == [
        "layer 'one': a layer of the class Lambda",
        "layer 'two': the class Mine, which is not Keras's",
        "layer 'three': the activation mine",
    ]


def test_long_lists_and_names_are_cut():
    with pytest.raises(WelError) as caught:
        check_own(model(*(layer("M" * 300, f"{i}" * 300) for i in range(9))), {}, False)
    assert "; … (9 in all))" in str(caught.value) and len(str(caught.value)) < 1600


def refusal(configuration: dict, given=(), **options) -> str | None:
    try:
        check_own(configuration, dict(given), **{"allow_code": False, **options})
    except WelError as error:
        return str(error)
    return None


def test_what_the_sentence_advises():
    code, named, unread = model(layer("Lambda")), model(layer("Mine")), model(layer("DenseFeatures"))
    assert refusal(code).endswith("which wel does not run. Expected Keras's own layers, or `--allow-code` when you trust the file.")
    assert refusal(named).startswith("needs code that it does not hold (layer 'a': the class Mine") and "--allow-code" not in refusal(named)
    assert "`--custom-objects module:names`" in refusal(named)
    assert refusal(unread).endswith("Expected Keras's own layers.")
    imported = refusal(model(layer("D", module="mine")))
    assert "`--custom-objects" in imported and "`--allow-code`" in imported


def test_what_is_allowed():
    code, named = model(layer("Lambda")), model(layer("Mine"))
    assert refusal(code, allow_code=True) is None and refusal(code, code_only=True) is not None
    assert refusal(named, allow_code=True) is not None and refusal(named, code_only=True) is None
    both = refusal(model(layer("Lambda", "one"), layer("Mine", "two")), allow_code=True)
    assert "two" in both and "one" not in both


def test_what_is_given():
    registered = layer("Mine", module="my.layers", registered="pkg>Mine")
    for part in (layer("Mine"), layer("pkg>Mine"), registered, layer("Dense", activation="Mine")):
        assert listed(model(part), Mine=object) == []
    # Keras looks for the registered name and then imports the module
    assert listed(model(layer("Mine", module="os", registered="Other")), Mine=object) != []
    assert listed(model(layer("Mine", module="os")), Mine=object) != []


def test_given_under_every_name():
    configuration = model(layer("pkg>Mine"), layer("Mine", module="m", registered="other>Mine"), layer("Dense"))
    assert given_objects(configuration, {"Mine": int, "f": len}) == {"Mine": int, "f": len, "pkg>Mine": int, "other>Mine": int}


def test_registered_classes():
    from tensorflow import keras

    @keras.saving.register_keras_serializable("test_foreign")
    class Registered(keras.layers.Layer):
        pass

    configuration = model(layer("test_foreign>Registered"), layer("Registered", module="m", registered="test_foreign>Registered"))
    assert listed(configuration) == []
    assert given_objects(configuration, {}) == {"test_foreign>Registered": Registered}


def test_known_names():
    assert {"Dense", "Functional", "HeNormal", "L2", "MaxNorm", "zeros", "BatchNormalizationV1"} <= known_classes()
    assert not {"Lambda", "StringLookup", "add", "deserialize", "tf", "ResidualWrapper"} & known_classes()
    assert {"relu", "relu6", "softmax", "silu", "LeakyReLU"} <= known_activations()
    assert not {"get", "deserialize", "serialize", "keras_export"} & known_activations()


def test_shown_without_a_layer():
    assert str(Foreign("", "the class X")) == "the class X"
