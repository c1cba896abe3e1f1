"""wel.networks.loading: every way to name a network, and every file that is none."""

from __future__ import annotations

import hashlib
import json
import os
import pickle
import random
import sys
import zipfile
from pathlib import Path

import h5py
import numpy as np
import pytest
from conftest import KERAS_2, randomized

from wel.errors import WelError
from wel.keras.two import private
from wel.networks.loading import load

GOLDEN = Path(__file__).resolve().parents[1] / "golden"


def logits(net, images) -> np.ndarray:
    return net.model.predict(images, verbose=0)


def refused(match: str, *args, **kwargs) -> None:
    """Loading ends in a WelError of one line that says `match`."""
    with pytest.raises(WelError, match=match) as caught:
        load(*args, **kwargs)
    message = str(caught.value)
    assert "\n" not in message and len(message) < 700


# --- live models and whole files --------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def classifier(functional):
    """The functional model with a softmax at its end."""
    from tensorflow.keras import Model, layers

    return Model(functional.input, layers.Softmax(name="softmax")(functional.output), name="classifier")


def test_live_model(functional, images):
    net = load(functional)
    assert net.model is functional and net.name == "functional" and net.architecture is None
    assert net.layers[-1] == "dense"


def test_live_model_ends_in_logits(classifier, functional, images):
    net = load(classifier)
    assert net.name == "classifier"
    np.testing.assert_allclose(logits(net, images), functional.predict(images, verbose=0), atol=1e-6)


@pytest.mark.parametrize("suffix", [".h5", ".hdf5", ".keras"])
@pytest.mark.parametrize("name", ["sequential", "functional", "nested", "shared_layer", "residual"])
def test_files(name, suffix, request, tmp_path, images):
    model = request.getfixturevalue(name)
    path = tmp_path / f"my.net{suffix}"
    model.save(path, **({} if suffix == ".keras" else {"save_format": "h5"}))
    net = load(str(path) if suffix == ".h5" else path)
    assert net.name == "my.net" and net.layers == load(model).layers
    np.testing.assert_allclose(logits(net, images), model.predict(images, verbose=0), atol=1e-6)


@pytest.mark.parametrize("suffix", [".h5", ".keras"])
def test_softmax_of_a_file_comes_off(suffix, classifier, functional, tmp_path, images):
    classifier.save(tmp_path / f"net{suffix}")
    np.testing.assert_allclose(logits(load(tmp_path / f"net{suffix}"), images), functional.predict(images, verbose=0), atol=1e-6)


@pytest.mark.parametrize("weights", ["net.h5", "net.weights.h5", "net.hdf5", "whole.h5", "whole.keras"])
def test_json_and_weights(weights, classifier, functional, tmp_path, images):
    (tmp_path / "net.json").write_text(classifier.to_json())
    save = classifier.save if weights.startswith("whole") else classifier.save_weights
    save(tmp_path / weights)
    net = load(tmp_path / "net.json", weights=str(tmp_path / weights))
    assert net.name == "net"
    np.testing.assert_allclose(logits(net, images), functional.predict(images, verbose=0), atol=1e-6)


def test_file_of_keras_2_2_4():
    with np.load(GOLDEN / "tiny_vgg.npz") as golden:
        images, expected = golden["images"], golden["logits"]
    np.testing.assert_allclose(logits(load(GOLDEN / "tiny_vgg_keras224.h5"), images), expected, atol=1e-5)


def test_operations_in_a_file_are_loaded(tmp_path, images):
    import tensorflow as tf
    from tensorflow.keras import Model, layers

    source = layers.Input((8, 8, 3))
    x = layers.Conv2D(3, 3, padding="same")(source)
    x = tf.concat([x * 2.0 + source, tf.nn.relu(x)[:, :, :, :1], tf.transpose(x, (0, 2, 1, 3))], axis=-1)
    model = randomized(Model(source, tf.nn.softmax(layers.Dense(4)(tf.reduce_mean(x, axis=[1, 2])))))
    for suffix in (".h5", ".keras"):
        model.save(tmp_path / f"net{suffix}")
        loaded = tf.nn.softmax(logits(load(tmp_path / f"net{suffix}"), images))
        np.testing.assert_allclose(loaded, model.predict(images, verbose=0), atol=1e-6)


def test_layer_class_that_the_caller_registered(tmp_path, images):
    from tensorflow import keras

    @keras.saving.register_keras_serializable("test_loading")
    class Doubled(keras.layers.Layer):
        def call(self, inputs):
            return 2 * inputs

    model = keras.Sequential([keras.layers.Input((8, 8, 3)), Doubled(), keras.layers.Flatten()])
    for suffix in (".h5", ".keras"):
        model.save(tmp_path / f"net{suffix}")
        np.testing.assert_array_equal(logits(load(tmp_path / f"net{suffix}"), images), 2 * images.reshape(3, -1))


# --- networks of the zoo ----------------------------------------------------------------------------------------------


def weights_of(**kwargs) -> list[np.ndarray]:
    return load("cifar10", weights="random", input_shape=(8, 8, 3), **kwargs).model.get_weights()


def test_random_weights_follow_the_seed():
    first, again, other = weights_of(seed=3), weights_of(seed=3), weights_of(seed=4)
    for one, two in zip(first, again):
        np.testing.assert_array_equal(one, two)
    kernels = [(one, two) for one, two in zip(first, other) if one.ndim > 1]
    assert len(kernels) == 6 and all((one != two).mean() > 0.99 for one, two in kernels)
    # he_uniform: limit √(6 / fan in), conv1 has 3·3·3 = 27 inputs
    assert 0.95 < abs(first[0]).max() / np.sqrt(6 / 27) <= 1


def test_seed_zero_is_the_default():
    np.testing.assert_array_equal(weights_of()[0], weights_of(seed=0)[0])


def drawn() -> list[float]:
    """What the random generators that a caller may have seeded give next."""
    import tensorflow as tf
    from tensorflow import keras

    kernel = keras.layers.Dense(2)
    kernel.build((None, 2))
    return [random.random(), np.random.random(), float(tf.random.uniform(())), float(kernel.kernel[0, 0])]


@pytest.mark.filterwarnings("ignore:non-integer arguments to randrange:DeprecationWarning")  # Keras's, on its own generator
@pytest.mark.parametrize("weights", ["random", "file"])
@pytest.mark.parametrize("seeded", [True, False])
def test_random_generators_of_the_caller_are_untouched(weights, seeded, functional, tmp_path):
    import tensorflow as tf
    from tensorflow import keras

    def seed():
        keras.utils.set_random_seed(5)
        if not seeded:
            private("_SEED_GENERATOR").generator = None
            random.seed(5)

    functional.save(tmp_path / "net.h5")
    seed()
    expected = drawn()
    seed()
    load("cifar10", weights="random", seed=1) if weights == "random" else load(tmp_path / "net.h5")
    try:
        assert drawn() == expected
    finally:
        private("_SEED_GENERATOR").generator = None
        tf.random.set_seed(None)


def test_other_shape_and_classes():
    net = load("cifar10", weights="random", input_shape=(16, 24, 1), classes=3)
    assert net.input_shape == (16, 24, 1) and net.graph["fc6"].shape == (3,)
    # 16×24 pooled twice by 2: 4×6, 128 channels
    assert net.graph["flatten"].shape == (4 * 6 * 128,)


@pytest.mark.parametrize("shape", [(1, 1, 3), (3, 3, 3), (0, 8, 3), (32, 32), (32, 32, 3, 1), (32, -1, 3), ("a", 3, 3), (None, None, 3)])
def test_input_shape_that_does_not_do(shape):
    refused("input_shape|fixed input shape", "cifar10", weights="random", input_shape=shape)


@pytest.mark.parametrize("seed", [-1, 1.5, "1"])
def test_seed_that_does_not_do(seed):
    refused(f"^Invalid value for `seed`: {seed!r}. Expected a whole number from 0 on", "cifar10", weights="random", seed=seed)


@pytest.mark.parametrize("kwargs", [{"classes": 4}, {"weights": "random"}])
def test_settings_of_the_zoo_are_refused_for_other_networks(kwargs, functional, tmp_path):
    functional.save(tmp_path / "net.keras")
    for model in (functional, tmp_path / "net.keras"):
        refused(f"^Invalid value for `{next(iter(kwargs))}`: .* Expected nothing", model, **kwargs)


def test_weights_file_of_a_zoo_network(tmp_path):
    source = load("cifar10", weights="random", seed=8).model
    source.save_weights(tmp_path / "w.h5")
    for one, other in zip(load("cifar10", weights=tmp_path / "w.h5").model.get_weights(), source.get_weights()):
        np.testing.assert_array_equal(one, other)


# --- weights that do not fit ------------------------------------------------------------------------------------------


@pytest.fixture
def architecture(functional, tmp_path):
    path = tmp_path / "net.json"
    path.write_text(functional.to_json())
    return path


def test_json_without_weights(architecture):
    refused(r"^Invalid value for `weights`: None\. Expected the weights file that belongs to '.*net\.json'\.$", architecture)


@pytest.mark.parametrize("name", ["w.h5", "w.weights.h5", "w.keras"])
def test_weights_of_another_network(name, architecture, sequential, tmp_path):
    (sequential.save if name.endswith(".keras") else sequential.save_weights)(tmp_path / name)
    refused(r"^Invalid value for `weights`: '.*w\..*' does not fit", architecture, weights=tmp_path / name)
    refused(r"^Invalid value for `weights`: '.*w\..*' does not fit", "cifar10", weights=tmp_path / name)


def test_weights_of_another_width(architecture, tmp_path):
    from tensorflow.keras import Model, layers

    source = layers.Input((8, 8, 3))
    x = layers.Conv2D(6, 3)(layers.Conv2D(4, 3, padding="same")(source))
    x = layers.Dense(8)(layers.Flatten()(layers.MaxPooling2D()(x)))
    Model(source, layers.Dense(4)(x)).save_weights(tmp_path / "w.h5")
    refused(r"^Invalid value for `weights`: '.*w\.h5' does not fit", architecture, weights=tmp_path / "w.h5")


@pytest.mark.parametrize("name", ["w.h5", "w.hdf5", "w.weights.h5", "w.keras"])
@pytest.mark.parametrize("content", [b"", b"junk\n" * 100, b"PK\x03\x04 no zip", b"\x89HDF\r\n\x1a\n" + bytes(50)])
def test_junk_as_weights(content, name, architecture, tmp_path):
    (tmp_path / name).write_bytes(content)
    refused("^Invalid value for `weights`: '.*' does not fit", architecture, weights=tmp_path / name)


@pytest.mark.parametrize("name", ["nothing.h5", "folder.h5", "w.txt", "w.index", "random"])
def test_weights_that_are_no_weights_file(name, architecture, tmp_path):
    (tmp_path / "folder.h5").mkdir()
    (tmp_path / "w.txt").write_text("text")
    (tmp_path / "w.index").write_bytes(b"\0" * 100)
    refused("^Invalid value for `weights`: '.*'. Expected", architecture, weights=tmp_path / name)


@pytest.mark.parametrize("value", [np.nan, np.inf])
@pytest.mark.parametrize("suffix", [".h5", ".keras", ".json", "live"])
def test_weights_that_are_not_finite(suffix, value, functional, tmp_path):
    from tensorflow import keras

    model = keras.models.clone_model(functional)
    weights = functional.get_weights()
    weights[2][1, 1, 1, 1] = value
    model.set_weights(weights)
    source, more = tmp_path / f"net{suffix}", {}
    if suffix == "live":
        source = model
    elif suffix == ".json":
        source.write_text(model.to_json())
        model.save_weights(tmp_path / "w.h5")
        more["weights"] = tmp_path / "w.h5"
    else:
        model.save(source)
    refused("^Invalid weights: layer 'conv2' holds NaN or infinite values. Expected finite numbers.$", source, **more)


# --- files that are no model ------------------------------------------------------------------------------------------


def write_junk(path: Path, functional) -> None:
    path.write_bytes(b"this is not a model\n" * 50)


def write_nothing(path: Path, functional) -> None:
    path.touch()


def write_directory(path: Path, functional) -> None:
    path.mkdir()


def write_truncated(path: Path, functional) -> None:
    functional.save(path)
    path.write_bytes(path.read_bytes()[: path.stat().st_size // 2])


def write_weights(path: Path, functional) -> None:
    functional.save_weights(path, **({} if path.suffix == ".keras" else {"save_format": "h5"}))


def write_empty_container(path: Path, functional) -> None:
    if path.suffix == ".keras":
        zipfile.ZipFile(path, "w").close()
    else:
        h5py.File(path, "w").close()


def write_other_container(path: Path, functional) -> None:
    """A zip that is called .h5; an HDF5 file of weights that is called .keras, as whole models in HDF5 once were."""
    other = path.with_suffix(".h5" if path.suffix == ".keras" else ".keras")
    (functional.save_weights if path.suffix == ".keras" else functional.save)(other)
    other.rename(path)


def write_configuration(path: Path, text) -> None:
    """A model file with any text as its configuration."""
    if path.suffix == ".keras":
        with zipfile.ZipFile(path, "w") as archive:
            archive.writestr("config.json", text)
    else:
        with h5py.File(path, "w") as file:
            file.attrs["model_config"] = text


def configured(text):
    def write(path: Path, functional) -> None:
        write_configuration(path, text)

    return write


BROKEN = {
    "junk": write_junk,
    "empty": write_nothing,
    "directory": write_directory,
    "truncated": write_truncated,
    "empty container": write_empty_container,
    "other container": write_other_container,
    "no JSON": configured("{'class_name':"),
    "no UTF-8": configured(b"\xff\xfe{}"),
    "empty list": configured("[]"),
    "a number": configured("7"),
    "no class": configured("{}"),
    "null": configured("null"),
    "unknown class": configured('{"class_name": "Nonsense", "config": {}}'),
    "a layer": configured('{"class_name": "Dense", "config": {"name": "d", "units": 3}}'),
    "deep": configured("[" * 100_000),
    "no layers": configured('{"class_name": "Functional", "config": {"name": "a", "layers": [], "input_layers": [], "output_layers": []}}'),
}


@pytest.mark.parametrize("suffix", [".h5", ".hdf5", ".keras"])
@pytest.mark.parametrize("case", BROKEN)
def test_broken_files(case, suffix, functional, tmp_path):
    path = tmp_path / f"net{suffix}"
    BROKEN[case](path, functional)
    refused("^Invalid value for `model`: '", path)


def test_file_of_weights_only(functional, tmp_path):
    functional.save_weights(tmp_path / "w.h5")
    refused(r"^Invalid value for `model`: '.*w\.h5' is not a Keras model file\. It holds no architecture\.", tmp_path / "w.h5")


@pytest.mark.parametrize("text", ["", "no JSON", "[]", "{}", '"text"', '{"class_name": "Nonsense", "config": {}}', "[" * 100_000])
def test_broken_json(text, functional, tmp_path):
    (tmp_path / "net.json").write_text(text)
    functional.save_weights(tmp_path / "w.h5")
    refused(r"^Invalid value for `model`: '.*net\.json' is not a Keras architecture", tmp_path / "net.json", weights=tmp_path / "w.h5")


def test_binary_json_and_directory(tmp_path):
    (tmp_path / "net.json").write_bytes(b"\xff\xfe\x00")
    refused("^Invalid value for `model`", tmp_path / "net.json", weights="w.h5")
    (tmp_path / "folder.json").mkdir()
    refused("^Invalid value for `model`", tmp_path / "folder.json", weights="w.h5")


def test_layer_in_json(functional, tmp_path):
    (tmp_path / "net.json").write_text('{"class_name": "Dense", "config": {"name": "d", "units": 3}}')
    functional.save_weights(tmp_path / "w.h5")
    refused("^Invalid value for `(model|weights)`", tmp_path / "net.json", weights=tmp_path / "w.h5")


@pytest.mark.parametrize("name", ["nothing.h5", "", "no/such/net.keras", "resnet51", "x" * 5000, "a\0b"])
def test_missing_path(name):
    expected = "a file that ends in" if name == "" else "one of cifar10, resnet20, vgg16, resnet50, or an existing file"
    with pytest.raises(WelError, match=f"^Invalid value for `model`: .* Expected {expected}"):
        load(name)


@pytest.mark.parametrize("name", ["net.txt", "net", "net.pb", "net.H5"])
def test_wrong_suffix(name, tmp_path):
    (tmp_path / name).write_text("text")
    refused(r"Expected a file that ends in \.h5, \.hdf5, \.keras or \.json", tmp_path / name)


@pytest.mark.parametrize("model", [None, 3, [1], np.zeros(3)])
def test_what_is_no_model(model):
    refused("^Invalid value for `model`: '.*'. Expected a Keras model", model)


def test_subclassed_model_is_one_sentence():
    from tensorflow import keras

    class Own(keras.Model):
        pass

    refused("is a subclassed or unbuilt model", Own(name="own"))


# --- files that carry code --------------------------------------------------------------------------------------------


@pytest.fixture
def trap(tmp_path):
    """A path that a Lambda layer's function touches whenever it runs."""
    return tmp_path / "the code ran"


def lambda_layer(trap: Path):
    from tensorflow.keras import layers

    # defaults travel with the function in a file
    return layers.Lambda(lambda x, trap=str(trap): (open(trap, "w").close(), x)[1], name="code")


def plain_lambda(trap):
    from tensorflow.keras import Sequential, layers

    return Sequential([layers.Input((8, 8, 3)), lambda_layer(trap), layers.Flatten(), layers.Dense(4)])


def nested_lambda(trap):
    from tensorflow.keras import Model, Sequential, layers

    inner = Sequential([layers.Input((8, 8, 3)), lambda_layer(trap)], name="inner")
    source = layers.Input((8, 8, 3))
    return Model(source, layers.Flatten()(Sequential([layers.Input((8, 8, 3)), inner])(source)))


def wrapped_lambda(trap):
    from tensorflow.keras import Sequential, layers

    return Sequential([layers.Input((8, 8, 3)), layers.TimeDistributed(lambda_layer(trap)), layers.Flatten()])


def saved(model, path: Path, *, compact: bool) -> dict:
    """Saves a model, with or without blanks in its configuration; returns what `load` takes beside the path."""
    more = {}
    if path.suffix == ".json":
        path.write_text(model.to_json())
        model.save_weights(path.with_suffix(".h5"))
        more = {"weights": path.with_suffix(".h5")}
    else:
        model.save(path)
    if compact:
        rewrite(path, lambda configuration: configuration)
    return more


def rewrite(path: Path, change) -> None:
    """Puts another configuration, written without blanks, into a model file."""

    def changed(text) -> str:
        return json.dumps(change(json.loads(text)), separators=(",", ":"))

    if path.suffix == ".json":
        path.write_text(changed(path.read_text()))
    elif path.suffix == ".keras":
        with zipfile.ZipFile(path) as archive:
            members = {name: archive.read(name) for name in archive.namelist()}
        with zipfile.ZipFile(path, "w") as archive:
            for name, content in members.items():
                archive.writestr(name, changed(content) if name == "config.json" else content)
    else:
        with h5py.File(path, "r+") as file:
            file.attrs["model_config"] = changed(file.attrs["model_config"])


@pytest.mark.parametrize("compact", [False, True])
@pytest.mark.parametrize("suffix", [".h5", ".keras", ".json"])
@pytest.mark.parametrize("build", [plain_lambda, nested_lambda, wrapped_lambda])
def test_lambda_layers_are_refused_and_not_run(build, suffix, compact, trap, tmp_path):
    path = tmp_path / f"net{suffix}"
    more = saved(build(trap), path, compact=compact)
    assert trap.exists()  # it runs when a model is built from it
    trap.unlink()
    refused(r"' carries code of its own \(layer 'code': a layer of the class (Lambda|__lambda__)\), which wel does not run\.", path, **more)
    assert not trap.exists()


def test_the_trap_works(trap, tmp_path):
    """Keras itself runs the function that lies in the file: what is refused above would have been harmful."""
    from tensorflow import keras

    plain_lambda(trap).save(tmp_path / "net.h5")
    trap.unlink()
    keras.models.load_model(tmp_path / "net.h5")
    assert trap.exists()


def test_lambda_as_activation_is_refused(tmp_path):
    from tensorflow.keras import Sequential, layers

    Sequential([layers.Input((3,)), layers.Dense(2, activation=lambda x: 2 * x)]).save(tmp_path / "net.keras")
    refused("^Invalid value for `model`", tmp_path / "net.keras")


def add_layer(part: dict):
    """Changes a configuration: the part is put behind the first layer, as Keras writes layers."""

    def change(configuration: dict) -> dict:
        configuration["config"]["layers"].insert(1, part)
        return configuration

    return change


LAMBDA = {"name": "x", "function": "f", "function_type": "function"}
CODE = {
    "lambda by qualified name": {"module": "keras", "class_name": "layers.Lambda", "config": LAMBDA, "registered_name": None},
    "lambda by package": {"class_name": "Custom>Lambda", "config": LAMBDA},
    "lambda by registered name": {"module": "keras.src.layers.core.lambda_layer", "class_name": "x", "registered_name": "Lambda"},
    "function": {"class_name": "Activation", "config": {"activation": {"class_name": "__lambda__", "config": {"value": ["", None, None]}}}},
    "module": {"module": "antigravity", "class_name": "Layer", "config": {"name": "x"}, "registered_name": None},
    "function of a module": {"module": "os", "class_name": "function", "config": "system", "registered_name": "function"},
    "built-in function": {"module": "builtins", "class_name": "function", "config": "exit", "registered_name": "function"},
    "type": {"class_name": "__typespec__", "spec_name": "x", "module": "antigravity", "registered_name": None, "config": []},
    "writing": {"class_name": "TFOpLambda", "config": {"name": "x", "function": "io.write_file"}, "inbound_nodes": []},
    "loading": {"class_name": "TFOpLambda", "config": {"name": "x", "function": "keras.models.load_model"}},
    "library": {"class_name": "SlicingOpLambda", "config": {"name": "x", "function": "compat.v1.load_op_library"}},
    "no function": {"class_name": "TFOpLambda", "config": None},
    "operation": {"class_name": "TensorFlowOpLayer", "config": {"name": "x", "node_def": '{"op": "WriteFile"}', "constants": {}}},
    "class method": {"class_name": "ClassMethod", "config": {"cls_symbol": "io.gfile.GFile", "method_name": "write"}},
    "method": {"class_name": "InstanceMethod", "config": {"attr_name": "eval"}},
}


@pytest.mark.parametrize("suffix", [".h5", ".keras", ".json"])
@pytest.mark.parametrize("case", CODE)
def test_what_would_run_or_import_is_refused(case, suffix, sequential, tmp_path):
    path = tmp_path / f"net{suffix}"
    more = saved(sequential, path, compact=False)
    rewrite(path, add_layer(CODE[case]))
    refused(r"^Invalid value for `model`: '.*' carries code of its own \(.*\), which wel does not run\.", path, **more)


class _Touch:
    def __init__(self, path: Path):
        self.path = str(path)

    def __reduce__(self):
        return open, (self.path, "w")


def test_pickled_weights_are_refused_and_not_read(sequential, trap, tmp_path):
    """Keras reads model.weights.npz, where there is one, with allow_pickle=True."""
    path = tmp_path / "net.keras"
    sequential.save(path)
    with zipfile.ZipFile(path) as archive:
        configuration = archive.read("config.json")
    np.savez(tmp_path / "model.weights.npz", a=np.array([_Touch(trap)], dtype=object))
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr("config.json", configuration)
        archive.write(tmp_path / "model.weights.npz", "model.weights.npz")
    refused("keeps its weights as pickles", path)
    assert not trap.exists()
    pickle.loads(pickle.dumps(_Touch(trap))).close()
    assert trap.exists()


def test_pickled_weights_beside_a_json_are_refused(architecture, trap, tmp_path):
    with zipfile.ZipFile(tmp_path / "w.keras", "w") as archive:
        np.savez(tmp_path / "model.weights.npz", a=np.array([_Touch(trap)], dtype=object))
        archive.write(tmp_path / "model.weights.npz", "model.weights.npz")
    refused("^Invalid value for `weights`", architecture, weights=tmp_path / "w.keras")
    assert not trap.exists()


def test_nothing_is_left_behind(functional, tmp_path):
    functional.save(tmp_path / "net.keras")
    load(tmp_path / "net.keras")
    assert os.listdir(tmp_path) == ["net.keras"]


# --- what a user may allow, and which output --------------------------------------------------------------------------


@pytest.mark.parametrize("suffix", [".h5", ".keras", ".json"])
@pytest.mark.parametrize("build", [plain_lambda, nested_lambda, wrapped_lambda])
def test_code_that_is_allowed_runs(build, suffix, trap, tmp_path, images):
    path = tmp_path / f"net{suffix}"
    model = build(trap)
    more = saved(model, path, compact=False)
    trap.unlink()
    net = load(path, **more, allow_code=True)
    assert trap.exists()
    np.testing.assert_allclose(logits(net, images), model.predict(images, verbose=0), atol=1e-6)


def test_all_that_is_foreign_is_listed(tmp_path, sequential):
    path = tmp_path / "net.h5"
    sequential.save(path)

    def change(configuration: dict) -> None:
        layers = configuration["config"]["layers"]
        layers[1].update(class_name="Mystery")
        layers[2].update(class_name="Lambda")
        layers[-1]["config"]["activation"] = "odd"
        return configuration

    rewrite(path, change)
    refused(r"conv': the class Mystery.*; layer 'relu': a layer of the class Lambda; layer 'dense': the activation odd\), which wel", path)
    refused(r"does not hold \(layer 'conv': the class Mystery.*; layer 'dense': the activation odd\)", path, allow_code=True)


@pytest.fixture
def own_objects(tmp_path, monkeypatch):
    """A module in the current directory with a layer class and an activation, and a model that has both."""
    (tmp_path / "wel_test_own.py").write_text(
        "from tensorflow import keras\n"
        "class Tripled(keras.layers.Layer):\n"
        "    def call(self, inputs):\n"
        "        return 3 * inputs\n"
        "def halved(x):\n"
        "    return 0.5 * x\n"
    )
    monkeypatch.chdir(tmp_path)
    monkeypatch.syspath_prepend(tmp_path)
    module = __import__("wel_test_own")
    from tensorflow.keras import Sequential, layers

    end = layers.Dense(4, activation=module.halved, name="end")
    model = Sequential([layers.Input((8, 8, 3)), module.Tripled(name="tripled"), layers.Flatten(), end])
    yield randomized(model), {"Tripled": module.Tripled, "halved": module.halved}
    sys.modules.pop("wel_test_own", None)


@pytest.mark.parametrize("suffix", [".h5", ".keras", ".json"])
def test_objects_that_are_given(suffix, own_objects, tmp_path, images):
    model, given = own_objects
    more = saved(model, tmp_path / f"net{suffix}", compact=False)
    refused(r"layer 'tripled': the class .*Tripled.*; layer 'end': the (function|activation) halved", tmp_path / f"net{suffix}", **more)
    for custom_objects in (given, "wel_test_own:Tripled,halved"):
        net = load(tmp_path / f"net{suffix}", **more, custom_objects=custom_objects)
        np.testing.assert_allclose(logits(net, images), model.predict(images, verbose=0), atol=1e-6)
    refused("layer 'end'", tmp_path / f"net{suffix}", **more, custom_objects={"Tripled": given["Tripled"]})
    refused("^Invalid value for `custom_objects`", tmp_path / f"net{suffix}", **more, custom_objects="wel_test_own:Missing")


def test_saved_model(classifier, functional, tmp_path, images):
    classifier.save(tmp_path / "net", save_format="tf")
    refused("is a SavedModel, a program that TensorFlow runs. Expected .*`--allow-code` when you trust it", tmp_path / "net")
    net = load(tmp_path / "net", allow_code=True)
    np.testing.assert_allclose(logits(net, images), functional.predict(images, verbose=0), atol=1e-6)
    assert net.name == "net" and net.origin.kind == "SavedModel" and net.origin.path == str(tmp_path / "net")
    assert load(tmp_path / "net", allow_code=True).origin == net.origin
    (tmp_path / "net" / "more").touch()
    assert load(tmp_path / "net", allow_code=True).origin.sha256 != net.origin.sha256
    (tmp_path / "net" / "saved_model.pb").write_bytes(b"\x00")
    refused("cannot be read as a SavedModel", tmp_path / "net", allow_code=True)


@pytest.mark.parametrize("suffix", [".h5", ".keras", ".json", "live"])
def test_output_of_several(suffix, functional, tmp_path, images):
    from tensorflow.keras import Model, layers

    hidden = functional.get_layer("hidden").output
    model = Model(functional.input, [layers.Softmax(name="classes")(functional.output), hidden], name="two")
    source, more = (model, {}) if suffix == "live" else (tmp_path / f"net{suffix}", saved(model, tmp_path / f"net{suffix}", compact=False))
    refused("^Invalid value for `output`: None. Expected one of classes, hidden, the outputs of 'two'.$", source, **more)
    refused("^Invalid value for `output`: 'pool'. Expected one of classes, hidden", source, **more, output="pool")
    net = load(source, **more, output="classes")
    np.testing.assert_allclose(logits(net, images), functional.predict(images, verbose=0), atol=1e-6)
    assert net.final_activation == "softmax"
    np.testing.assert_allclose(net.probabilities(logits(net, images)), model.predict(images, verbose=0)[0], atol=1e-6)
    net = load(source, **more, output="1")
    np.testing.assert_allclose(logits(net, images), model.predict(images, verbose=0)[1], atol=1e-6)
    assert net.final_activation is None and net.layers[-1] == "hidden"


@pytest.mark.parametrize("shape", [(100, 3), (12,), (8, 8, 1), (6, 5, 4, 2)])
def test_inputs_of_other_ranks(shape, tmp_path):
    from tensorflow.keras import Sequential, layers

    convolution = {2: [layers.Conv1D(3, 3)], 4: [layers.Conv3D(2, 2)], 3: [layers.Conv2D(3, 3)], 1: []}[len(shape)]
    model = randomized(Sequential([layers.Input(shape), *convolution, layers.Flatten(), layers.Dense(1, activation="sigmoid")]))
    model.save(tmp_path / "net.h5")
    net = load(tmp_path / "net.h5")
    inputs = np.random.default_rng(0).random((2, *shape), dtype="float32")
    assert net.input_shape == shape and net.final_activation == "sigmoid"
    np.testing.assert_allclose(net.probabilities(logits(net, inputs)), model.predict(inputs, verbose=0), atol=1e-6)


# --- where a network comes from ---------------------------------------------------------------------------------------


def test_origin_of_files(classifier, tmp_path):
    for name, kind in (("net.h5", f"Keras {KERAS_2} HDF5 file"), ("net.keras", f"Keras {KERAS_2} archive")):
        classifier.save(path := tmp_path / name)
        origin = load(path).origin
        assert (origin.kind, origin.path, origin.sha256) == (kind, str(path), hashlib.sha256(path.read_bytes()).hexdigest())
        assert origin.keras_version == KERAS_2 and origin.backend == (None if name == "net.keras" else "tensorflow")
        assert origin.notes == ("The softmax at its end was taken off, so that it ends in logits.",) and origin.weights is None
    (tmp_path / "net.json").write_text(classifier.to_json())
    origin = load(tmp_path / "net.json", tmp_path / "net.h5", output="softmax").origin
    assert origin.kind == f"Keras {KERAS_2} architecture" and origin.weights == str(tmp_path / "net.h5")
    assert origin.weights_sha256 == hashlib.sha256((tmp_path / "net.h5").read_bytes()).hexdigest()
    assert origin.notes[0] == "Of its outputs, 'softmax' was taken."


def test_origin_of_a_file_of_keras_2_2_4():
    origin = load(GOLDEN / "tiny_vgg_keras224.h5").origin
    assert (origin.kind, origin.keras_version, origin.backend) == ("Keras 2.2.4 HDF5 file", "2.2.4", "tensorflow")


def test_origin_of_the_zoo(tmp_path):
    assert load("cifar10", weights="random", seed=3).origin.notes == ("Its weights are random, of seed 3.",)
    load("cifar10", weights="random", seed=8).model.save_weights(tmp_path / "w.h5")
    origin = load("cifar10", weights=tmp_path / "w.h5").origin
    assert (origin.kind, origin.path, origin.weights) == ("zoo network", None, str(tmp_path / "w.h5"))


def test_live_models_have_no_origin(classifier):
    net = load(classifier)
    assert net.origin is None and net.final_activation == "softmax"


def test_sizes_of_zoo_weights_are_checked(tmp_path):
    with h5py.File(tmp_path / "w.h5", "w") as file:
        file.create_dataset("x", (10**5, 10**5), "float32", chunks=(1000, 1000))
    for name in ("cifar10", "vgg16"):
        refused("^Invalid value for `weights`: '.*w.h5' .*It declares 37.3 GiB and stores 0 B", name, weights=tmp_path / "w.h5")


def test_without_eager_execution_nothing_is_loaded(sequential):
    import tensorflow as tf

    # as after tf.compat.v1.disable_eager_execution(), which cannot be taken back in a process
    with tf.Graph().as_default(), pytest.raises(WelError, match="^TensorFlow does not execute eagerly here: .*Expected eager execution"):
        load(sequential)
