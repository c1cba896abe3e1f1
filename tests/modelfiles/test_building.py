"""wel.modelfiles.building: models of files are built and given their weights, through every conversion; nothing else is touched."""

from __future__ import annotations

import json
import logging
import sys
import warnings

import h5py
import legacy_files
import numpy as np
import pytest
from conftest import randomized

from wel.errors import WelError
from wel.keras.two import private
from wel.modelfiles.building import Building, Rules, load_weights, loading_scope, quiet
from wel.modelfiles.modelfile import opened, opened_weights
from wel.networks.loading import load

OWN = Rules({}, allow_code=False)


@pytest.mark.parametrize("name", legacy_files.names("*"))
def test_files_of_other_versions_predict_what_they_did(name):
    inputs, expected = legacy_files.arrays(name)
    net = load(legacy_files.FOLDER / name)
    inputs = inputs if inputs.shape[1:] == net.input_shape else np.moveaxis(inputs, 1, -1)
    logits = net.model.predict(inputs, verbose=0)
    np.testing.assert_allclose(logits if net.final_activation is None else net.probabilities(logits), expected, atol=1e-5)
    is_plain = name.startswith("late_") and net.final_activation is None  # nothing to convert or to take off
    assert bool(net.origin.notes) is not is_plain


def test_building_and_loading(functional, images, tmp_path):
    functional.save(tmp_path / "net.h5")
    with opened(tmp_path / "net.h5") as file:
        building = Building(file.configuration, file.keras_version, functional.count_params(), OWN)
        model, notes = building.loaded(file.weights)
    assert notes == () and model is not functional
    np.testing.assert_array_equal(model.predict(images, verbose=0), functional.predict(images, verbose=0))


def test_architecture_larger_than_its_file(functional):
    configuration = json.loads(functional.to_json())
    with pytest.raises(WelError, match="more than 3,000,000 weights and its file stores 1. Expected an architecture and weights"):
        configuration["config"]["layers"][1]["config"]["kernel_size"] = [500, 500]
        Building(configuration, None, 1, OWN)


@pytest.mark.parametrize("name", ["w.h5", "w.weights.h5", "whole.h5", "whole.keras"])
def test_every_form_of_weights(name, functional, images, tmp_path):
    from tensorflow import keras

    (functional.save if name.startswith("whole") else functional.save_weights)(tmp_path / name)
    model = keras.models.clone_model(functional)
    with opened_weights(tmp_path / name) as weights:
        assert load_weights(model, weights) == ()
    np.testing.assert_array_equal(model.predict(images, verbose=0), functional.predict(images, verbose=0))


def test_weights_of_the_theano_backend_are_turned(functional, tmp_path):
    from tensorflow import keras

    functional.save_weights(tmp_path / "w.h5")
    with h5py.File(tmp_path / "w.h5", "r+") as file:
        file.attrs["backend"] = b"theano"
    model = keras.models.clone_model(functional)
    with opened_weights(tmp_path / "w.h5") as weights:
        notes = load_weights(model, weights)
    assert len(notes) == 1 and "turned by 180°" in notes[0]
    for name in ("conv1", "conv2"):
        np.testing.assert_array_equal(model.get_layer(name).kernel, functional.get_layer(name).kernel.numpy()[::-1, ::-1])
    np.testing.assert_array_equal(model.get_layer("hidden").kernel, functional.get_layer("hidden").kernel)


def test_file_of_other_numbers(functional, tmp_path):
    with h5py.File(tmp_path / "w.h5", "w") as file:
        file["x"] = np.zeros(3)
    with opened_weights(tmp_path / "w.h5") as weights, pytest.raises(WelError, match="no weights that Keras 2 saved"):
        load_weights(functional, weights)


def lambda_model():
    from tensorflow.keras import Sequential, layers

    return randomized(Sequential([layers.Input((3,)), layers.Dense(2), layers.Lambda(lambda x: 2 * x)]))


def test_code_runs_only_when_it_is_allowed():
    configuration = json.loads(lambda_model().to_json())
    with pytest.raises(WelError, match="carries code of its own"):
        Building(configuration, None, 8, OWN)
    Building(configuration, None, 8, Rules({}, allow_code=True))


def test_scope_refuses_code_even_if_it_came_so_far():
    from tensorflow import keras

    text = lambda_model().to_json()
    with loading_scope({}, allow_code=False), pytest.raises(ValueError, match="arbitrary code execution"):
        keras.models.model_from_json(text)
    with loading_scope({}, allow_code=True):
        keras.models.model_from_json(text)


def test_scope_ends():
    in_safe_mode = sys.modules[private("SafeModeScope").__module__].in_safe_mode
    from tensorflow import keras

    before = in_safe_mode()
    with loading_scope({"Mine": dict}, allow_code=True):
        assert keras.saving.get_registered_object("Mine") is dict and in_safe_mode() is False
    assert keras.saving.get_registered_object("Mine") is None and in_safe_mode() is before


def test_quiet(capfd):
    level = logging.root.manager.disable
    with quiet():
        warnings.warn("hidden", stacklevel=1)
        logging.getLogger("tensorflow").warning("hidden")
    assert logging.root.manager.disable == level
    with pytest.warns(UserWarning, match="shown"):
        warnings.warn("shown", stacklevel=1)
    out, err = capfd.readouterr()
    assert "hidden" not in out + err
