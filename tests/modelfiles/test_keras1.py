"""wel.modelfiles.keras1: files that Keras 1.2.2 saved predict what Keras 1.2.2 predicted; what cannot be translated is refused by name."""

from __future__ import annotations

import copy

import numpy as np
import pytest
from legacy_files import arrays, broken, built, names, opened

from wel.errors import WelError
from wel.modelfiles import channels_first, keras1


def layer(kind: str, **config) -> dict:
    return {"class_name": kind, "config": {"name": "it", **config}}


def translated(kind: str, **config) -> dict:
    """The configuration of the one layer of a converted Sequential."""
    (only,) = keras1.converted({"class_name": "Sequential", "config": [layer(kind, **config)]}).configuration["config"]["layers"]
    return only


def refused(match: str, kind: str, **config) -> None:
    with pytest.raises(WelError, match=match):
        translated(kind, **config)


# --- files ------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", names("keras1_*"))
def test_file_predicts_what_keras1_predicted(name):
    configuration, weights = opened(name)
    images, expected = arrays(name)
    assert keras1.applies(configuration, None) and keras1.applies(configuration, "1.2.2")
    assert np.ptp(expected, axis=0).max() > 1e-3  # the images matter
    converted, notes = keras1.converted(configuration)
    model = built(converted)
    said = keras1.load_weights(model, weights, configuration)
    assert ("Theano" in " ".join(said)) == ("theano" in name)
    assert ("dim_ordering" in " ".join(notes)) == ("sequential" in name)  # only those have layers whose ordering is not stored
    if "_th_" in name:
        assert channels_first.applies(converted, None)
        source, model = model, built(channels_first.converted(converted).configuration)
        channels_first.copy_weights(source, model)
        images = np.moveaxis(images, 1, -1)
    np.testing.assert_allclose(model.predict(images, verbose=0), expected, atol=1e-5)


def test_kernels_of_theano_have_to_be_turned(monkeypatch):
    name = "keras1_theano_tf_signal.h5"
    configuration, weights = opened(name)
    images, expected = arrays(name)
    model = built(keras1.converted(configuration).configuration)
    monkeypatch.setattr(keras1, "flip_kernels", lambda model: ())
    keras1.load_weights(model, weights, configuration)
    assert np.abs(model.predict(images, verbose=0) - expected).max() > 0.1


def test_the_given_configuration_stays():
    configuration = opened("keras1_tensorflow_th_functional.h5")[0]
    before = copy.deepcopy(configuration)
    keras1.converted(configuration)
    assert configuration == before


def test_weights_of_another_model_are_refused():
    configuration, _ = opened("keras1_tensorflow_tf_signal.h5")
    model = built(keras1.converted(configuration).configuration)
    with pytest.raises(WelError, match="weights of .* layers. Expected 3"):
        keras1.load_weights(model, opened("keras1_tensorflow_tf_sequential.h5")[1], configuration)


def test_weights_of_another_shape_are_refused():
    configuration, weights = opened("keras1_tensorflow_tf_signal.h5")
    configuration["config"][0]["config"]["nb_filter"] = 6
    model = built(keras1.converted(configuration).configuration)
    with pytest.raises(WelError, match=r"weight of shape \(3, 2, 4\) in the file. Expected \(3, 2, 6\)"):
        keras1.load_weights(model, weights, configuration)


def test_output_shape_that_keras2_does_not_infer_is_refused():
    configuration, weights = opened("keras1_tensorflow_tf_functional.h5")
    model = built(keras1.converted(configuration).configuration)
    deconvolution = next(part for part in configuration["config"]["layers"] if part["class_name"] == "Deconvolution2D")
    deconvolution["config"]["output_shape"] = [None, 20, 18, 5]
    with pytest.raises(WelError, match=r"output shape \(None, 20, 18, 5\). Expected \(None, 19, 17, 5\)"):
        keras1.load_weights(model, weights, configuration)


# --- which configurations ---------------------------------------------------------------------------------------------


@pytest.mark.parametrize("version", ["1.2.2", "1.0.0", "0.3.3"])
def test_applies_by_version(version):
    assert keras1.applies({"class_name": "Sequential", "config": []}, version)


@pytest.mark.parametrize("version", ["2.0.9", "2.1.6-tf", "3.1.0"])
def test_does_not_apply_by_version(version):
    assert not keras1.applies({"class_name": "Sequential", "config": []}, version)


def test_applies_by_arguments():
    assert keras1.applies({"class_name": "Sequential", "config": [layer("Convolution2D", nb_filter=3)]}, None)
    assert not keras1.applies(opened("keras2.2.4_tensorflow_channels_first_sequential.h5")[0], None)
    assert not keras1.applies(opened("keras2.0.9_theano_channels_first_functional.h5")[0], None)


def test_applies_by_the_version_in_an_architecture():
    assert keras1.applies({"class_name": "Sequential", "config": [], "keras_version": "1.2.2"}, None)


# --- layers -----------------------------------------------------------------------------------------------------------


def test_convolution():
    found = translated(
        "Convolution2D", nb_filter=4, nb_row=3, nb_col=5, border_mode="same", subsample=[2, 1], dim_ordering="th", bias=False,
        init="uniform", W_regularizer=None, activation="relu", batch_input_shape=[None, 3, 8, 8], input_dtype="float32",
    )  # fmt: skip
    assert found == {"class_name": "Conv2D", "config": {
        "name": "it", "filters": 4, "kernel_size": [3, 5], "padding": "same", "strides": [2, 1], "data_format": "channels_first",
        "use_bias": False, "activation": "relu", "batch_input_shape": [None, 3, 8, 8], "dtype": "float32",
    }}  # fmt: skip


@pytest.mark.parametrize("kind, config, expected", [
    ("Dense", dict(output_dim=3, input_dim=7, init="he_normal", bias=True), ("Dense", dict(units=3, use_bias=True))),
    ("Dropout", dict(p=0.25), ("Dropout", dict(rate=0.25))),
    ("GaussianNoise", dict(sigma=0.1), ("GaussianNoise", dict(stddev=0.1))),
    ("MaxPooling1D", dict(pool_length=2, stride=3, border_mode="same"), ("MaxPooling1D", dict(pool_size=2, strides=3, padding="same"))),
    ("UpSampling1D", dict(length=2), ("UpSampling1D", dict(size=2))),
    ("AtrousConvolution2D", dict(nb_filter=1, nb_row=2, nb_col=3, atrous_rate=[2, 2]),
     ("Conv2D", dict(filters=1, kernel_size=[2, 3], dilation_rate=[2, 2]))),
    ("BatchNormalization", dict(mode=0, axis=1, epsilon=0.1), ("BatchNormalization", dict(axis=1, epsilon=0.1))),
    ("ZeroPadding2D", dict(padding=[1, 2, 3, 4]), ("ZeroPadding2D", dict(padding=[[1, 2], [3, 4]], data_format="channels_last"))),
    ("ZeroPadding2D", dict(padding={"top_pad": 1, "left_pad": 2}),
     ("ZeroPadding2D", dict(padding=[[1, 0], [2, 0]], data_format="channels_last"))),
    ("Embedding", dict(input_dim=9, output_dim=2, dropout=0.1), ("Embedding", dict(input_dim=9, output_dim=2))),
    ("Merge", dict(mode="concat", mode_type="raw", concat_axis=1, dot_axes=-1), ("Concatenate", dict(axis=1))),
    ("Merge", dict(mode="ave", mode_type="raw", concat_axis=1), ("Average", {})),
])  # fmt: skip
def test_translations(kind, config, expected):
    assert translated(kind, **config) == {"class_name": expected[0], "config": {"name": "it", **expected[1]}}


def test_wrapped_dense():
    found = translated("TimeDistributed", layer={"class_name": "Dense", "config": {"name": "inner", "output_dim": 2}})
    assert found["config"]["layer"] == {"class_name": "Dense", "config": {"name": "inner", "units": 2}}


@pytest.mark.parametrize("match, kind, config", [
    ("'it' is a Highway of Keras 1, which cannot be read", "Highway", {}),
    ("MaxoutDense", "MaxoutDense", {}),
    ("bytecode", "Lambda", {}),
    ("'it' is a LSTM of Keras 1", "LSTM", {}),
    ("mode 2, .* statistics of the batch", "BatchNormalization", dict(mode=2)),
    ("mode 1, .* each image", "BatchNormalization", dict(mode=1)),
    ("border_mode 'full'", "Convolution2D", dict(nb_filter=1, nb_row=1, nb_col=1, border_mode="full")),
    ("mode 'cos'", "Merge", dict(mode="cos", mode_type="raw")),
    ("mode 'f'", "Merge", dict(mode="f", mode_type="lambda")),
    ("starts with a Merge", "Merge", dict(mode="sum", layers=[])),
    ("argument 'colour'", "Dense", dict(output_dim=1, colour=3)),
    ("neither 'tf' nor 'th'", "MaxPooling2D", dict(dim_ordering="x")),
    ("TimeDistributed Convolution2D", "TimeDistributed", dict(layer={"class_name": "Convolution2D", "config": {}})),
    (r"malformed for a model of Keras 1 \(KeyError\)", "Convolution2D", dict(nb_filter=1)),
])  # fmt: skip
def test_refusals(match, kind, config):
    refused(match, kind, **config)


def test_mixed_orderings_are_refused():
    layers = [layer("MaxPooling2D", dim_ordering=ordering) for ordering in ("tf", "th")]
    with pytest.raises(WelError, match="mix the dim_orderings"):
        keras1.converted({"class_name": "Sequential", "config": layers})


@pytest.mark.parametrize("name", ["keras1_tensorflow_th_functional.h5", "keras1_theano_tf_sequential.h5"])
def test_broken_configurations_end_in_a_sentence(name):
    for mutant in broken(opened(name)[0], seed=1, count=150):
        for call in (keras1.converted, lambda given: keras1.applies(given, None)):
            try:
                call(mutant)
            except WelError as error:
                assert "\n" not in str(error)
