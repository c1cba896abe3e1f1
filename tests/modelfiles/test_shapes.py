"""wel.modelfiles.shapes: a file that says no input shape, or leaves sizes open, is read with the one that is given."""

from __future__ import annotations

import json

import h5py
import numpy as np
import pytest
from conftest import randomized

from wel.errors import WelError
from wel.networks.loading import load


def saved(model, path, change=lambda configuration: None):
    """A model in an HDF5 file, its configuration changed in place."""
    model.save(path)
    with h5py.File(path, "r+") as file:
        configuration = json.loads(file.attrs["model_config"])
        change(configuration["config"])
        file.attrs["model_config"] = json.dumps(configuration)
    return path


def without_shape(config: dict) -> None:
    """As Keras 2.2.4 writes a Sequential that begins with an InputLayer: the other layers alone."""
    config.pop("build_input_shape", None)
    del config["layers"][0]
    for layer in config["layers"]:
        layer["config"].pop("batch_input_shape", None)


@pytest.fixture
def sequential():
    from tensorflow.keras import Sequential, layers

    return randomized(Sequential([layers.InputLayer((6, 5, 3)), layers.Conv2D(4, 3), layers.Flatten(), layers.Dense(2)]))


def size_free(kind: str):
    from tensorflow.keras import Input, Model, Sequential, layers

    convs = [layers.Conv2D(4, 3, activation="relu"), layers.Conv2D(3, 3), layers.GlobalAveragePooling2D(), layers.Dense(2)]
    if kind == "sequential":
        return randomized(Sequential([layers.InputLayer((None, None, 3)), *convs]))
    if kind == "nested":
        model = Sequential([Sequential([layers.InputLayer((None, None, 3)), *convs[:2]]), *convs[2:]])
        model.build((None, None, None, 3))
        return randomized(model)
    x = source = Input((None, None, 3))
    for layer in convs:
        x = layer(x)
    return randomized(Model(source, x))


def same(net, model, shape) -> None:
    images = np.random.default_rng(0).normal(size=(2, *shape)).astype("float32")
    assert net.input_shape == shape
    np.testing.assert_allclose(net.model.predict(images, verbose=0), model.predict(images, verbose=0), rtol=1e-6)


def test_no_shape(sequential, tmp_path):
    path = saved(sequential, tmp_path / "net.h5", without_shape)
    with pytest.raises(WelError, match=r"net.h5' says no shape of its input, as a Sequential .* in Keras 2.2. Expected `--input-shape`"):
        load(path)
    net = load(path, input_shape=(6, 5, 3))
    same(net, sequential, (6, 5, 3))
    assert net.origin.notes == ("It says no input shape: they were taken as (6, 5, 3), as given.",)


@pytest.mark.parametrize(
    "shape, sentence",
    [
        ((6, 5), "cannot be built for inputs of shape (6, 5) ("),
        ((6, 5, 4), "holds weights that do not fit its architecture"),
        ((7, 5, 3), "holds weights that do not fit its architecture"),
        ((2, 2, 3), "cannot be built for inputs of shape (2, 2, 3) ("),
    ],
)
def test_a_shape_that_is_not_the_networks(sequential, tmp_path, shape, sentence):
    path = saved(sequential, tmp_path / "net.h5", without_shape)
    with pytest.raises(WelError) as caught:
        load(path, input_shape=shape)
    assert sentence in str(caught.value)


@pytest.mark.parametrize("kind", ["sequential", "nested", "functional"])
def test_open_sizes(kind, tmp_path):
    model = size_free(kind)
    path = saved(model, tmp_path / "net.h5")
    with pytest.raises(WelError, match=r"net.h5' takes inputs of shape \(None, None, 3\), of any size. Expected `--input-shape`"):
        load(path)
    for shape in ((7, 6, 3), (9, 12, 3)):
        net = load(path, input_shape=list(shape))
        same(net, model, shape)
        assert net.origin.notes == (f"It says inputs of shape (None, None, 3): they were taken as {shape}, as given.",)
    for shape in ((7, 6, 4), (7, 6), (7,)):
        with pytest.raises(WelError) as caught:
            load(path, input_shape=shape)
        assert f"takes inputs of shape (None, None, 3). Expected an `input_shape` that fits them. Received {shape}." in str(caught.value)


@pytest.mark.parametrize("given", [None, (6, 5, 3)])
def test_a_shape_that_is_said_inside(given, tmp_path):
    """Only the inner Sequential says it."""
    from tensorflow.keras import Sequential, layers

    model = Sequential([Sequential([layers.InputLayer((6, 5, 3)), layers.Conv2D(4, 3)]), layers.Flatten(), layers.Dense(2)])
    model.build((None, 6, 5, 3))
    net = load(saved(randomized(model), tmp_path / "net.h5", lambda config: config["layers"].pop(0)), input_shape=given)
    same(net, model, (6, 5, 3))
    assert net.origin.notes == ()


@pytest.mark.parametrize("suffix", [".keras", ".json"])
def test_other_files(suffix, tmp_path):
    model = size_free("functional")
    model.save(tmp_path / "net.keras")
    model.save_weights(tmp_path / "net.h5")
    (tmp_path / "net.json").write_text(model.to_json())
    same(load(tmp_path / f"net{suffix}", tmp_path / "net.h5" if suffix == ".json" else None, input_shape=(7, 6, 3)), model, (7, 6, 3))


def test_a_shape_that_is_said_already(sequential, tmp_path):
    path = saved(sequential, tmp_path / "net.h5")
    assert load(path, input_shape=(6, 5, 3)).origin.notes == ()
    with pytest.raises(
        WelError, match=r"takes inputs of shape \(6, 5, 3\). Expected an `input_shape` that fits them. Received \(7, 5, 3\)"
    ):
        load(path, input_shape=(7, 5, 3))


def test_channels_first(tmp_path):
    """The shape is the network's, channels last, whatever the file has."""
    from tensorflow.keras import Sequential, layers

    stack = [
        layers.Conv2D(4, 3, data_format="channels_first", input_shape=(3, 6, 5)),
        layers.GlobalAveragePooling2D(data_format="channels_first"),
        layers.Dense(2),
    ]
    model = randomized(Sequential(stack))

    def open_sizes(config: dict) -> None:
        for holder in (config, *(layer["config"] for layer in config["layers"])):
            for key in ("batch_input_shape", "build_input_shape"):
                if key in holder:
                    holder[key] = [None, 3, None, None]

    path = saved(model, tmp_path / "net.h5", open_sizes)
    with pytest.raises(WelError, match=r"takes inputs of shape \(None, None, 3\), of any size"):
        load(path)
    net = load(path, input_shape=(6, 5, 3))
    assert net.input_shape == (6, 5, 3)
    # the kernel's own order is the same in both: a mean over places of x ∘ W, times the dense layer
    images = np.random.default_rng(0).normal(size=(2, 6, 5, 3)).astype("float32")
    kernel, bias, dense, last = model.get_weights()
    patches = np.lib.stride_tricks.sliding_window_view(images, (3, 3), axis=(1, 2))  # (n, 4, 3, channels, rows, columns)
    expected = (np.einsum("nijcxy,xycf->nijf", patches, kernel) + bias).mean((1, 2)) @ dense + last
    np.testing.assert_allclose(net.model.predict(images, verbose=0), expected, rtol=1e-5, atol=1e-6)


def test_several_inputs_are_left_to_others(tmp_path):
    from tensorflow.keras import Input, Model, layers

    sources = [Input((None, None, 3)), Input((4,))]
    model = Model(sources, layers.Dense(2)(layers.Concatenate()([layers.GlobalMaxPooling2D()(sources[0]), sources[1]])))
    with pytest.raises(WelError, match="2 inputs"):
        load(saved(model, tmp_path / "net.h5"), input_shape=(4, 4, 3))


@pytest.mark.parametrize("shape", [(), 3, "224", (0, 3), (2.5, 3), (-1,), [None, 3]])
def test_no_shapes(shape):
    with pytest.raises(WelError, match="Invalid value for `input_shape`: .* Expected whole numbers from 1 on"):
        load("net.h5", input_shape=shape)


def test_live_models(sequential):
    with pytest.raises(
        WelError, match="Invalid value for `input_shape`: .* Expected nothing: it is for networks of the zoo .*, and for files"
    ):
        load(sequential, input_shape=(6, 5, 3))
