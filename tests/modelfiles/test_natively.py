"""wel.modelfiles.natively: files of Keras 3 that Keras 3 itself reads predict what it predicted; what is not its own is refused."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import zipfile

import h5py
import numpy as np
import pytest

from wel.errors import WelError
from wel.keras.three import keras3
from wel.modelfiles import natively
from wel.modelfiles.building import Building, Rules, quiet
from wel.modelfiles.modelfile import opened, opened_weights
from wel.networks.loading import load

if not keras3():
    pytest.skip("Keras 3 is not here, or does not run on TensorFlow", allow_module_level=True)

import keras  # noqa: E402
import keras3_models  # noqa: E402
import legacy_files  # noqa: E402
from conftest import randomized  # noqa: E402
from keras import layers, ops  # noqa: E402
from keras.src.applications.convnext import LayerScale  # noqa: E402

SUFFIXES = (".keras", ".h5")
OWN = {}


def own(build):
    OWN[build.__name__] = build
    return build


def small(shape, *stack):
    return keras.Sequential([keras.Input(shape), *stack, layers.Flatten(), layers.Dense(2)])


@own
def normalizations():
    norms = [layers.GroupNormalization(2), layers.RMSNormalization(), layers.LayerNormalization(), layers.UnitNormalization()]
    return small((6, 6, 4), *norms, layers.SpectralNormalization(layers.Conv2D(4, 3)), layers.BatchNormalization())


@own
def categories():
    given = keras.Input((4,))
    hashed = layers.CategoryEncoding(6, output_mode="multi_hot")(layers.Hashing(6)(ops.cast(given * 9, "int32")))
    embedded = layers.Flatten()(layers.Embedding(5, 3)(layers.Discretization(bin_boundaries=[0.2, 0.4, 0.6])(given)))
    return keras.Model(given, layers.Dense(3)(layers.Concatenate()([hashed, embedded])))


@own
def recurrent():
    cells = layers.RNN([layers.LSTMCell(3), layers.GRUCell(2)], return_sequences=True)
    two_ways = layers.Bidirectional(layers.LSTM(3, return_sequences=True))
    part = keras.Input((3, 3, 2))
    inner = keras.Model(part, layers.Flatten()(layers.BatchNormalization()(layers.Conv2D(2, 3)(part))))
    return small((4, 3, 3, 2), layers.TimeDistributed(inner), two_ways, cells)


@own
def attentive():
    signal = keras.Input((6, 4))
    x = layers.GroupQueryAttention(2, 4, 2)(layers.MultiHeadAttention(2, 3)(signal, signal, use_causal_mask=True), signal)
    return keras.Model(signal, layers.Dense(2)(layers.GlobalAveragePooling1D()(layers.AdditiveAttention()([x, x]) + signal)))


@own
def operations():
    image = keras.Input((8, 8, 3))
    x = ops.concatenate([ops.multiply(image, 2.0) + ops.sin(image), image], axis=-1)[:, 1:7, ::2]
    x = ops.matmul(ops.relu(ops.mean(x, axis=(1, 2))), np.linspace(-1, 1, 24, dtype="float32").reshape(6, 4))
    return keras.Model(image, layers.Dense(3)(ops.softmax(x)))


@own
def activations():
    names = "relu6 elu gelu silu mish softplus log_softmax hard_sigmoid hard_silu celu log_sigmoid squareplus soft_shrink".split()
    kinds = [*names, layers.LeakyReLU(negative_slope=0.2), keras.activations.gelu]
    given = keras.Input((6,))
    return keras.Model(given, layers.Concatenate()([layers.Dense(3, activation=kind)(given) for kind in kinds]))


@own
def stacks_in_stacks():
    inner = keras.Sequential([layers.Conv2D(3, 3), layers.ReLU()])
    return small((8, 8, 3), keras.Sequential([inner, layers.Conv2D(3, 3)]))


@own
def shape_known_later():
    model = keras.Sequential([layers.Conv2D(3, 3), layers.Flatten(), layers.Dense(2)])
    model.build((None, 8, 8, 3))
    return model


@own
def nested_with_two_outputs():
    part, given = keras.Input((6,)), keras.Input((6,))
    one, other = keras.Model(part, [layers.Dense(3)(part), layers.Dense(3)(part)])(given)
    return keras.Model(given, layers.Dense(2)(one * other))


@own
def dictionaries():
    given = keras.Input((6,), name="given")
    return keras.Model({"given": given}, {"p": layers.Dense(3)(given), "q": layers.Dense(2)(given)})


@own
def frozen_block():
    blocks = [keras.Sequential([layers.Conv2D(3, 3, padding="same"), layers.BatchNormalization()]) for _ in "ab"]
    model = small((6, 6, 3), *blocks)
    blocks[0].trainable = False
    return model


@own
def in_front_of_a_base():
    """With the class of ConvNeXt that Keras keeps for itself, and operations in place of layers."""
    base = keras.applications.MobileNetV3Small(
        input_shape=(32, 32, 3), include_top=False, weights=None, alpha=0.25, include_preprocessing=False
    )
    front = [layers.RandomFlip(), layers.RandomRotation(0.1), layers.Normalization(mean=[0.1] * 3, variance=[2.0] * 3)]
    return small((32, 32, 3), *front, base, LayerScale(1.0, 144), layers.GlobalAveragePooling2D())


def rebuilt(path) -> tuple:
    with quiet(), opened(path) as file:
        return Building(file.configuration, file.keras_version, file.weights.numbers, Rules({}, False)).loaded(file.weights)


def saved(model, folder, suffix):
    with quiet():
        model.save(path := folder / f"net{suffix}")
    return path


def outputs(model, inputs) -> list[np.ndarray]:
    found = model(inputs, training=False)
    return (
        [np.asarray(found[name]) for name in sorted(found)] if isinstance(found, dict) else list(map(np.asarray, keras.tree.flatten(found)))
    )


def check_same(model, folder, suffix) -> tuple[str, ...]:
    rng = np.random.default_rng(1)
    given = [rng.uniform(0, 1, (2, *tensor.shape[1:])).astype("float32") for tensor in model.inputs]
    read, notes = rebuilt(saved(model, folder, suffix))
    assert isinstance(read, keras.Model)
    inputs = given[0] if len(given) == 1 else given
    for found, expected in zip(outputs(read, inputs), outputs(model, inputs), strict=True):
        assert np.ptp(expected, axis=0).max() > 1e-6  # the inputs matter
        np.testing.assert_allclose(found, expected, atol=1e-5)
    return notes


@pytest.mark.parametrize("suffix", SUFFIXES)
@pytest.mark.parametrize("name", OWN)
def test_predicts_what_keras_3_predicts(name, suffix, tmp_path):
    keras.backend.clear_session()
    model = OWN[name]()
    randomized(model)
    for gamma in (weight for weight in model.weights if "gamma" in weight.path):
        gamma.assign(2 * gamma)  # else a deep base forgets its inputs
    (note,) = check_same(model, tmp_path, suffix)
    assert note == f"Read with Keras {keras.__version__}, without initialisers, regularisers and constraints."


@pytest.mark.parametrize("suffix", SUFFIXES)
@pytest.mark.parametrize("name", keras3_models.BUILDERS)
def test_models_of_the_other_tests(name, suffix, tmp_path):
    model = keras3_models.built(name)
    foreign = [layer for layer in model._flatten_layers() if not type(layer).__module__.startswith("keras.")]
    if foreign or any(type(layer).__name__ == "Lambda" for layer in model._flatten_layers()):
        with pytest.raises(WelError, match="code"):
            rebuilt(saved(model, tmp_path, suffix))
        return
    check_same(model, tmp_path, suffix)


def test_half_precision_is_read_as_single(tmp_path):
    image = keras.Input((8, 8, 3))
    x = layers.Flatten()(layers.Conv2D(3, 3, dtype="mixed_float16")(image))
    model = keras.Model(image, layers.Dense(3, dtype="float16")(x))
    read, notes = rebuilt(saved(model, tmp_path, ".keras"))
    assert {layer.compute_dtype for layer in read.layers} == {weight.dtype for weight in read.weights} == {"float32"}
    assert notes[0] == "Its float16 and mixed_float16 layers were read as float32."
    for found, stored in zip(read.get_weights(), model.get_weights()):
        np.testing.assert_array_equal(found, stored.astype("float32"))


def test_lora_is_in_the_kernel(tmp_path):
    dense = layers.Dense(6)
    model = small((6,), dense)
    dense.enable_lora(2)
    randomized(model)
    check_same(model, tmp_path, ".keras")


def test_quantized_layers_are_refused(tmp_path):
    model = small((6,), layers.Dense(4, name="small"))
    model.quantize("int8")
    with pytest.raises(WelError, match="its layer 'small' has the dtype policy QuantizedDTypePolicy, which is not read"):
        rebuilt(saved(model, tmp_path, ".keras"))


def test_given_shape(tmp_path):
    model = keras.Sequential([keras.Input((None, None, 3)), layers.Conv2D(2, 3), layers.GlobalAveragePooling2D(), layers.Dense(2)])
    with quiet(), opened(saved(model, tmp_path, ".keras")) as file:
        settings = (file.configuration, file.keras_version, file.weights.numbers)
        with pytest.raises(WelError, match="of any size"):
            Building(*settings, Rules({}, False))
        read, notes = Building(*settings, Rules({}, False, (8, 9, 3))).loaded(file.weights)
    assert read.input_shape == (None, 8, 9, 3) and notes[-1].endswith("they were taken as (8, 9, 3), as given.")


def test_an_architecture_and_weights_of_their_own(tmp_path):
    model = OWN["stacks_in_stacks"]()
    randomized(model)
    (tmp_path / "net.json").write_text(model.to_json())
    model.save_weights(tmp_path / "net.weights.h5")
    with quiet(), opened(tmp_path / "net.json") as file, opened_weights(tmp_path / "net.weights.h5") as weights:
        read, _ = Building(file.configuration, file.keras_version, weights.numbers, Rules({}, False)).loaded(weights)
    for found, expected in zip(read.get_weights(), model.get_weights(), strict=True):
        np.testing.assert_array_equal(found, expected)


@pytest.mark.parametrize("name", legacy_files.names("keras3_*") + legacy_files.names("reported_keras3*"))
def test_files_of_the_fixtures(name):
    read, _ = rebuilt(legacy_files.FOLDER / name)
    inputs, expected = legacy_files.arrays(name)
    assert isinstance(read, keras.Model)
    np.testing.assert_allclose(np.asarray(read(inputs, training=False)), expected, atol=1e-5)


def test_channels_first_files_are_converted_to_keras_2(tmp_path):
    image = keras.Input((3, 8, 8))
    model = keras.Model(image, layers.Dense(2)(layers.Flatten()(layers.MaxPooling2D(2, data_format="channels_first")(image))))
    read, notes = rebuilt(saved(model, tmp_path, ".keras"))
    assert not isinstance(read, keras.Model) and notes[0].startswith("Read as Keras 3: it was translated to Keras 2")
    images = np.random.default_rng(0).random((2, 3, 8, 8), "float32")
    expected = images.reshape(2, 3, 4, 2, 4, 2).max(axis=(3, 5)).reshape(2, -1) @ model.get_weights()[0]
    np.testing.assert_allclose(np.asarray(read(np.moveaxis(images, 1, -1))), expected, atol=1e-5)


# --- strangers --------------------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def network(tmp_path_factory):
    given = keras.Input((4, 4, 2), name="given")
    x = layers.TimeDistributed(layers.Dense(3, name="inner"), name="steps")(layers.Conv2D(2, 3, name="conv")(given))
    model = keras.Model(given, layers.Dense(2, activation="relu", name="dense")(layers.Flatten(name="flatten")(x)))
    return saved(model, tmp_path_factory.mktemp("network"), ".keras")


def changed(path, folder, change):
    with zipfile.ZipFile(path) as old, zipfile.ZipFile(folder / "changed.keras", "w") as new:
        for name in old.namelist():
            content = old.read(name)
            if name == "config.json":
                change(found := json.loads(content))
                content = json.dumps(found)
            new.writestr(name, content)
    return folder / "changed.keras"


def entry(configuration: dict, name: str) -> dict:
    return next(part for part in configuration["config"]["layers"] if part["name"] == name)


def inner(configuration: dict) -> dict:
    return entry(configuration, "steps")["config"]["layer"]


def put(name: str, **values):
    return lambda configuration: entry(configuration, name).update(values)


def setting(name: str, **values):
    return lambda configuration: entry(configuration, name)["config"].update(values)


def function(name: str, module: str) -> dict:
    return {"module": module, "class_name": "function", "config": name, "registered_name": name}


def history(layer: str, call=0) -> dict:
    return {"class_name": "__keras_tensor__", "config": {"shape": [None, 2, 2, 2], "dtype": "float32", "keras_history": [layer, call, 0]}}


HOSTILE = {
    "lambda": (put("flatten", class_name="Lambda"), "layer 'flatten': a layer of the class Lambda"),
    "lambda by its module": (
        put("flatten", class_name="Lambda", module="keras.src.layers.core.lambda_layer", registered_name="Lambda"),
        "a layer of the class Lambda",
    ),
    "lambda as activation": (setting("dense", activation={"class_name": "__lambda__", "config": {"value": []}}), "class __lambda__"),
    "another module": (put("flatten", class_name="Popen", module="subprocess"), "the class Popen of the module subprocess"),
    "module of Keras that is not loaded": (
        put("flatten", class_name="Layer", module="keras.src.legacy.nothing"),
        "the class Layer, which is not Keras's",
    ),
    "function as class": (put("flatten", class_name="get_file", module="keras.utils"), "the class get_file, which is not Keras's"),
    "model class of Keras": (put("flatten", class_name="Trainer", module="keras.src.trainers.trainer"), "the class Trainer"),
    "operation with a function": (put("flatten", class_name="Map", module="keras.src.ops.core"), "the class Map, which is not Keras's"),
    "SavedModel": (put("flatten", class_name="TFSMLayer", config={"name": "flatten", "filepath": "x"}), "a layer of the class TFSMLayer"),
    "vocabulary": (put("flatten", class_name="StringLookup"), "the class StringLookup, which reads vocabularies"),
    "inner class": (lambda c: inner(c).update(class_name="Mine", module="mine"), "the class Mine of the module mine"),
    "registered class": (put("flatten", class_name="Mine", module=None, registered_name="package>Mine"), "the class Mine"),
    "activation that nobody knows": (setting("dense", activation="mine"), "the activation mine"),
    "function of a module": (setting("dense", activation=function("system", "os")), "the function system of the module os"),
    "function of Keras": (setting("dense", activation=function("get_file", "keras.utils")), "the function get_file of the module keras"),
    "serialising function": (setting("dense", activation=function("deserialize", "keras.activations")), "the function deserialize"),
    "typespec": (setting("dense", activation={"class_name": "__typespec__", "config": []}), "__typespec__"),
    "many units": (setting("dense", units=10**9), "has more than 12,000,000,047 weights"),
    "many units inside": (lambda c: inner(c)["config"].update(units=10**9), "has more than 2,000,000,0.. weights"),
    "many filters": (setting("conv", filters=10**12), "has more than 18,000,000,000,000 weights"),
    "loop": (lambda c: entry(c, "conv")["inbound_nodes"][0].update(args=[history("flatten")]), "is called on its own output"),
    "call that is missing": (
        lambda c: entry(c, "conv")["inbound_nodes"][0].update(args=[history("given", 7), history("nobody")]),
        "called on an output of 'nobody' that is not there",
    ),
    "malformed tensor": (
        lambda c: entry(c, "conv")["inbound_nodes"][0].update(args=[history("given", None)]),
        "A tensor in it is malformed",
    ),
    "not a model": (lambda c: c.update(class_name="Conv2D"), "It is of the class 'Conv2D'"),
}


@pytest.mark.parametrize("case", HOSTILE)
def test_strangers_are_refused(case, network, tmp_path):
    change, sentence = HOSTILE[case]
    modules = set(sys.modules)
    with pytest.raises(WelError, match=sentence) as caught:
        load(changed(network, tmp_path, change))
    message = str(caught.value)
    assert "\n" not in message and len(message) < 1200
    assert not {name for name in set(sys.modules) - modules if name.split(".")[0] in ("keras", "subprocess", "mine")}


def test_missing_weights_are_refused(network, tmp_path):
    with quiet(), opened(network) as file:
        building = Building(file.configuration, file.keras_version, file.weights.numbers, Rules({}, False))
        with h5py.File(tmp_path / "less.h5", "w") as less:
            file.weights.file.copy("layers", less)
            del less["layers/time_distributed"]
            with pytest.raises(WelError, match="its layer 'inner' has 0 weights|no weights of the layer 'inner'"):
                building.loaded(type(file.weights)(less, "3", None))


def test_code_runs_when_it_is_allowed(tmp_path):
    given = keras.Input((3,))
    model = keras.Model(given, layers.Dense(2)(layers.Lambda(lambda x: 3 * x, output_shape=(3,), name="triple")(given)))
    path = saved(model, tmp_path, ".keras")
    with pytest.raises(WelError, match="layer 'triple': a layer of the class Lambda"):
        rebuilt(path)
    with quiet(), opened(path) as file:
        read, _ = Building(file.configuration, file.keras_version, file.weights.numbers, Rules({}, True)).loaded(file.weights)
    values = np.ones((1, 3), "float32")
    np.testing.assert_allclose(np.asarray(read(values)), 3 * values @ model.get_weights()[0], atol=1e-6)


def test_own_classes():
    for module, kind, found in (
        ("keras.layers", "Add", layers.Add),
        ("keras.src.ops.numpy", "Add", type(ops.add(keras.Input((2,)), 1.0)._keras_history.operation)),
        (None, "Conv2D", None), ("os", "Conv2D", None), ("keras.layers", "Lambda", None), ("keras.ops", "add", None),
    ):  # fmt: skip
        part = {"class_name": kind, "config": {"name": "a"}, **({"module": module} if module else {})}
        if module is None:
            found, part["config"]["trainable"] = layers.Conv2D, True
        assert natively.own_class(part) is found


# --- another backend --------------------------------------------------------------------------------------------------

ELSEWHERE = """
import sys
import numpy as np, wel
from wel.keras.three import keras3
net = wel.load(sys.argv[1])
assert keras3() is None and type(net.model).__module__.startswith("tf_keras")
print(net.origin.notes[0])
np.save(sys.argv[3], net.model.predict(np.load(sys.argv[2]), verbose=0))
"""


def test_beside_another_backend_it_is_converted_to_keras_2(tmp_path):
    model = keras.Sequential([keras.Input((8, 8, 3)), layers.Conv2D(2, 3), layers.BatchNormalization(), layers.Flatten(), layers.Dense(2)])
    randomized(model)
    np.save(tmp_path / "inputs.npy", inputs := np.random.default_rng(0).random((2, 8, 8, 3), "float32"))
    command = [sys.executable, "-c", ELSEWHERE, saved(model, tmp_path, ".keras"), tmp_path / "inputs.npy", tmp_path / "outputs.npy"]
    done = subprocess.run(command, env={**os.environ, "KERAS_BACKEND": "numpy"}, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    assert done.stdout.startswith("Read as Keras 3: it was translated to Keras 2")
    np.testing.assert_allclose(np.load(tmp_path / "outputs.npy"), np.asarray(model(inputs, training=False)), atol=1e-5)
