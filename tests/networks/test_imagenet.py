"""wel.networks.imagenet: weights by name in either naming, equality with keras.applications, refusal of what does not fit."""

from __future__ import annotations

import inspect
import re
import shutil
from dataclasses import replace
from pathlib import Path

import h5py
import numpy as np
import pytest
from conftest import randomized

from wel.errors import WelError
from wel.keras.two import keras2, private
from wel.networks import imagenet
from wel.networks.architectures import build_resnet20, build_resnet50, build_vgg16
from wel.networks.imagenet import imagenet_file, load_by_name, published
from wel.networks.loading import load
from wel.networks.zoo import ZOO
from wel.studies.relevance import relevance
from wel.system.files import file_hash

keras, resnet, vgg16 = keras2(), private("resnet"), private("vgg16")

SHAPE, CLASSES = (32, 32, 3), 10
FILES = {name: f"{name}_weights_tf_dim_ordering_tf_kernels.h5" for name in ("vgg16", "resnet50")}


def with_epsilon(model, epsilon: float):
    for layer in model.layers:
        if isinstance(layer, keras.layers.BatchNormalization):
            layer.epsilon = epsilon
    return model


def caffe_pixels() -> np.ndarray:
    return np.random.default_rng(0).uniform(-120, 150, (2, *SHAPE)).astype("float32")


def arrays_by_layer(model) -> dict[str, list[np.ndarray]]:
    return {layer.name: layer.get_weights() for layer in model.layers if layer.weights}


def relative(found: np.ndarray, expected: np.ndarray) -> float:
    return float(np.abs(found - expected).max() / np.abs(expected).max())


@pytest.fixture(scope="module")
def keras_resnet50(tmp_path_factory):
    """Weights file with the names of Keras 2.14, its logits for `caffe_pixels`, and what the file holds."""
    model = keras.applications.ResNet50(weights=None, input_shape=SHAPE, classes=CLASSES, classifier_activation=None)
    randomized(with_epsilon(model, 1e-3))
    path = tmp_path_factory.mktemp("keras") / "resnet50.h5"
    model.save_weights(path)
    return path, model.predict(caffe_pixels(), verbose=0), arrays_by_layer(model)


@pytest.fixture(scope="module")
def resnet50():
    return build_resnet50(SHAPE, CLASSES)


@pytest.fixture(scope="module")
def resnet20_file(tmp_path_factory):
    """A small weights file, for what is common to all networks."""
    path = tmp_path_factory.mktemp("own") / "resnet20.h5"
    randomized(build_resnet20()).save_weights(path)
    return path


@pytest.fixture
def changed(resnet20_file, tmp_path):
    """A copy of the small weights file that may be spoilt."""
    return Path(shutil.copy(resnet20_file, tmp_path / "changed.h5"))


def layer_names(file: h5py.File) -> list[str]:
    return [str(name) for name in file.attrs["layer_names"]]


def list_layers(file: h5py.File, names: list[str]) -> None:
    file.attrs["layer_names"] = np.array(names, dtype="S")


def test_resnet50_equals_keras_applications(keras_resnet50, resnet50):
    path, logits, _ = keras_resnet50
    load_by_name(resnet50, path)
    assert relative(resnet50.predict(caffe_pixels(), verbose=0), logits) < 1e-4


def test_resnet50_layers_get_the_weights_of_their_namesakes(keras_resnet50, resnet50):
    path, _, arrays = keras_resnet50
    load_by_name(resnet50, path)
    # the third convolution and the shortcut of stage 2 have the same shape: only names tell them apart
    pairs = {
        "conv1": "conv1_conv",
        "bn_conv1": "conv1_bn",
        "res2a_branch1": "conv2_block1_0_conv",
        "res2a_branch2c": "conv2_block1_3_conv",
        "bn2a_branch1": "conv2_block1_0_bn",
        "res4f_branch2b": "conv4_block6_2_conv",
        "bn5c_branch2a": "conv5_block3_1_bn",
        "fc1000": "predictions",
    }
    for ours, theirs in pairs.items():
        for found, expected in zip(resnet50.get_layer(ours).get_weights(), arrays[theirs]):
            np.testing.assert_array_equal(found, expected)
    assert resnet50.count_params() == sum(array.size for layer in arrays.values() for array in layer)


def test_resnet50_last_layer_may_be_called_probs(keras_resnet50, resnet50, tmp_path):
    path = Path(shutil.copy(keras_resnet50[0], tmp_path / "probs.h5"))
    with h5py.File(path, "r+") as file:
        file.move("predictions", "probs")
        list_layers(file, [*(name for name in layer_names(file) if name != "predictions"), "probs"])
    randomized(resnet50, seed=3)
    load_by_name(resnet50, path)
    np.testing.assert_array_equal(resnet50.get_layer("fc1000").get_weights()[0], keras_resnet50[2]["predictions"][0])


@pytest.mark.parametrize("build, save", [(build_resnet50, "save_weights"), (build_resnet20, "save")])
def test_file_with_our_own_names(build, save, tmp_path):
    model = randomized(build(SHAPE, CLASSES), seed=1)
    expected = model.get_weights()
    getattr(model, save)(tmp_path / "own.h5")
    model.set_weights([np.zeros_like(array) for array in expected])
    load_by_name(model, tmp_path / "own.h5")
    for found, array in zip(model.get_weights(), expected):
        np.testing.assert_array_equal(found, array)


def test_vgg16_equals_keras_applications(tmp_path):
    original = keras.applications.VGG16(weights=None, input_shape=SHAPE, classes=CLASSES, classifier_activation=None)
    randomized(original)
    original.save_weights(tmp_path / "vgg16.h5")
    logits = original.predict(caffe_pixels(), verbose=0)
    names, parameters = [layer.name for layer in original.layers], original.count_params()
    del original
    model = build_vgg16(SHAPE, CLASSES)
    assert [layer.name for layer in model.layers][1:] == names[1:] and model.count_params() == parameters
    load_by_name(model, tmp_path / "vgg16.h5")
    assert relative(model.predict(caffe_pixels(), verbose=0), logits) < 1e-4


def test_half_precision_is_read(changed, resnet20_file):
    with h5py.File(changed, "r+") as file:
        kernel = file["dense/dense/kernel:0"][...]
        del file["dense/dense/kernel:0"]
        file["dense/dense/kernel:0"] = kernel.astype("float16")
    model = build_resnet20()
    load_by_name(model, changed)
    np.testing.assert_array_equal(model.get_layer("dense").get_weights()[0], kernel.astype("float16").astype("float32"))


def test_first_missing_layer_is_named(changed):
    with h5py.File(changed, "r+") as file:
        list_layers(file, [name for name in layer_names(file) if name not in ("dense", "conv3_skip", "bn_conv4_1a")])
    with pytest.raises(WelError, match="^Invalid value for `weights`: '.*' does not fit resnet20. Layer 'conv3_skip' is not in the file.$"):
        load_by_name(build_resnet20(), changed)


def test_first_layer_of_another_shape_is_named(resnet20_file):
    with pytest.raises(WelError, match=r"Layer 'dense' has weights of shape \[\(64, 7\), \(7,\)\], the file has \[\(64, 10\), \(10,\)\]."):
        load_by_name(build_resnet20(classes=7), resnet20_file)


def test_layer_with_other_number_of_weights_is_named(changed):
    with h5py.File(changed, "r+") as file:
        file["dense"].attrs["weight_names"] = [b"dense/kernel:0"]
    with pytest.raises(WelError, match=r"Layer 'dense' has weights of shape \[\(64, 10\), \(10,\)\], the file has \[\(64, 10\)\]."):
        load_by_name(build_resnet20(), changed)


def test_layer_too_much_is_named(changed):
    # as when ResNet-101's weights, whose first blocks have ResNet-50's names and shapes, are given for ResNet-50
    with h5py.File(changed, "r+") as file:
        file.copy("dense", "dense_2")
        list_layers(file, [*layer_names(file), "dense_2"])
    with pytest.raises(WelError, match="Layer 'dense_2' of the file is not in the network."):
        load_by_name(build_resnet20(), changed)


def spoilt(kind: str, path: Path) -> None:
    if kind == "text":
        path.write_text("no weights")
    elif kind == "cut":
        path.write_bytes(path.read_bytes()[:5000])
    elif kind == "no names":
        with h5py.File(path, "w") as file:
            file["kernel"] = np.ones(3)
    elif kind == "no array":
        with h5py.File(path, "r+") as file:
            del file["conv1/conv1/kernel:0"]


@pytest.mark.parametrize("kind", ["text", "cut", "no names", "no array"])
def test_file_that_holds_no_weights(changed, kind):
    spoilt(kind, changed)
    with pytest.raises(WelError, match=r"^Invalid value for `weights`: '.*changed.h5'. Expected a Keras file with weights by layer name"):
        load_by_name(build_resnet20(), changed)


def test_file_that_is_not_there(tmp_path):
    with pytest.raises(WelError, match="Expected 'imagenet', 'random' or an existing weights file."):
        load_by_name(build_resnet20(), tmp_path / "none.h5")


def test_published_vgg16_is_the_one_of_keras():
    """Keras has the hash inside its function, next to the name of the file with the dense layers."""
    source = inspect.getsource(vgg16.VGG16)
    found = published("vgg16")
    asked = re.search(rf'get_file\(\s*"{found.file}",\s*WEIGHTS_PATH,.*?file_hash="(\w+)"', source, re.DOTALL)
    assert (found.file, found.origin, found.md5) == (FILES["vgg16"], vgg16.WEIGHTS_PATH, asked[1])
    assert found.origin.endswith("/" + found.file)


def test_published_resnet50_is_the_one_of_keras():
    with_dense_layer, without = resnet.WEIGHTS_HASHES["resnet50"]
    found = published("resnet50")
    assert (found.file, found.origin) == (FILES["resnet50"], resnet.BASE_WEIGHTS_PATH + FILES["resnet50"])
    assert found.md5 == with_dense_layer != without


@pytest.fixture
def cache(tmp_path, monkeypatch):
    """An empty Keras cache; `get_file` finds no network."""
    monkeypatch.setenv("KERAS_HOME", str(tmp_path))
    (tmp_path / "models").mkdir()

    def get_file(*_, **__):
        raise Exception("URL fetch failure")

    monkeypatch.setattr(keras.utils, "get_file", get_file)
    return tmp_path / "models"


@pytest.mark.parametrize("name", FILES)
@pytest.mark.parametrize("weights", [None, "imagenet"])
def test_without_network_and_cache(cache, name, weights):
    with pytest.raises(WelError) as raised:
        load(name, weights=weights)
    assert str(raised.value) == (
        f"The ImageNet weights of {name} cannot be downloaded (URL fetch failure). "
        f"Expected `--weights random`, `--weights FILE`, or the file '{cache / FILES[name]}' from another machine."
    )


@pytest.mark.parametrize("name", FILES)
def test_cached_file_with_another_hash_is_refused_and_kept(cache, name):
    (cache / FILES[name]).write_text("something else")
    expected = f"Expected Keras's ImageNet weights of {name} with md5 {published(name).md5}. Received other contents."
    with pytest.raises(WelError, match=expected):
        imagenet_file(name)
    assert (cache / FILES[name]).read_text() == "something else"


def test_downloaded_file_with_another_hash_is_refused(cache, monkeypatch):
    def get_file(file, origin, cache_subdir, cache_dir):
        path = Path(cache_dir) / cache_subdir / file
        path.write_text(f"from {origin}")
        return str(path)

    monkeypatch.setattr(keras.utils, "get_file", get_file)
    with pytest.raises(WelError, match="Invalid file .* Received other contents."):
        imagenet_file("resnet50")
    assert (cache / FILES["resnet50"]).read_text() == f"from {published('resnet50').origin}"


@pytest.mark.parametrize("weights", [None, "imagenet", "FILE"])
def test_cached_file_with_the_published_hash_is_loaded(cache, resnet20_file, monkeypatch, weights):
    # a small network stands for ResNet-50, its weights file for the published one
    path = Path(shutil.copy(resnet20_file, cache / "small.h5"))
    monkeypatch.setattr(imagenet, "published", lambda name: imagenet.Published("small.h5", "nowhere", file_hash(path, "md5")))
    monkeypatch.setitem(ZOO, "resnet50", replace(ZOO["resnet20"], name="resnet50", trained="imagenet"))
    found = load("resnet50", weights=path if weights == "FILE" else weights).model
    expected = build_resnet20()
    expected.load_weights(resnet20_file)
    for array, other in zip(found.get_weights(), expected.get_weights()):
        np.testing.assert_array_equal(array, other)


def test_of_a_download_only_its_bar_is_shown(capsys):
    progress = imagenet._Progress()
    progress.write("Downloading data from somewhere\n")
    progress.write("  8192/102967424 [..............................] - ETA: 0s")
    assert capsys.readouterr() == ("", "  8192/102967424 [..............................] - ETA: 0s")


@pytest.fixture(scope="module")
def notop(tmp_path_factory):
    """A small VGG-16 as Keras's "notop" file: its convolutions only."""
    model = randomized(build_vgg16(SHAPE, CLASSES))
    path = tmp_path_factory.mktemp("notop") / "notop.h5"
    keras.Model(model.input, model.get_layer("block5_pool").output).save_weights(path)
    return path, arrays_by_layer(model)


@pytest.fixture(scope="module")
def without_top(notop):
    """What `load` makes of that file, for a VGG-16 that is as small."""
    with pytest.MonkeyPatch.context() as patched:
        patched.setitem(ZOO, "vgg16", replace(ZOO["vgg16"], input_shape=SHAPE, classes=CLASSES))
        return load("vgg16", weights=notop[0], seed=3), load("vgg16", weights="random", seed=3)


def test_convolutions_of_a_file_without_dense_layers_are_its_own_and_the_rest_is_that_of_the_seed(notop, without_top):
    net, random = without_top
    found, untrained = arrays_by_layer(net.model), arrays_by_layer(random.model)
    assert list(found)[-3:] == ["fc1", "fc2", "predictions"] == list(net.random_layers)
    for name, arrays in found.items():
        for array, expected in zip(arrays, (untrained if name in net.random_layers else notop[1])[name]):
            np.testing.assert_array_equal(array, expected)
    assert net.origin.notes == ("The file has no weights for fc1, fc2, predictions: these layers are random, of seed 3.",)
    assert random.random_layers == ()


@pytest.mark.parametrize(
    "start, first", [("fc1", "fc1"), ("fc2", "fc2"), ("fc3", "fc3"), (None, "fc3"), (["conv1_1", "predictions"], "fc3")]
)
def test_start_layers_above_trained_ones_are_refused(without_top, start, first):
    message = f"^Invalid value for `start`: '{first}' depends on 'fc1', for which the file of weights has none, so that they are random. "
    with pytest.raises(WelError, match=message + "Expected 'flatten' or a layer below it, such as conv4_3,conv3_3,conv2_2.$"):
        without_top[0].start_layers(start)


def test_start_layers_that_are_trained_are_taken(without_top):
    assert without_top[0].start_layers(["flatten", "conv4_3"]) == ["flatten", "block4_conv3"]


def test_maps_of_a_class_need_trained_logits(without_top):
    with pytest.raises(
        WelError, match="^Invalid value for `net`: 'fc3' depends on 'fc1', .* random. Expected a file with the weights of all"
    ):
        without_top[0].count_logits()
    with pytest.raises(WelError, match="^Invalid value for `start`: 'fc2' depends on 'fc1'"):
        relevance(without_top[0], "gradient", np.zeros((1, *SHAPE)), "fc2", np.ones((1, 1, 4096)))


def test_a_file_with_some_of_the_dense_layers_is_refused(notop, tmp_path):
    model = build_vgg16(SHAPE, CLASSES)
    keras.Model(model.input, model.get_layer("fc1").output).save_weights(tmp_path / "fc1.h5")
    with pytest.raises(WelError, match="Layer 'fc2' is not in the file"):
        load_by_name(model, tmp_path / "fc1.h5")


def test_a_file_without_the_last_layer_of_resnet50(keras_resnet50, resnet50, tmp_path):
    path = Path(shutil.copy(keras_resnet50[0], tmp_path / "notop.h5"))
    with h5py.File(path, "r+") as file:
        del file["predictions"]
        list_layers(file, [name for name in layer_names(file) if name != "predictions"])
    assert load_by_name(resnet50, path) == ("fc1000",)
    np.testing.assert_array_equal(resnet50.get_layer("conv1").get_weights()[0], keras_resnet50[2]["conv1_conv"][0])
