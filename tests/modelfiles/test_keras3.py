"""wel.modelfiles.keras3: files that Keras 3 saved predict what Keras 3 predicted; what Keras 2 has not is refused by name."""

from __future__ import annotations

import copy

import h5py
import numpy as np
import pytest
from legacy_files import arrays, broken, built, names, opened

from wel.errors import WelError
from wel.modelfiles import keras3


def sequential(kind: str, module: str = "keras.layers", **config) -> dict:
    layers = [
        {"module": "keras.layers", "class_name": "InputLayer", "config": {"batch_shape": [None, 4, 4, 2], "name": "image"}},
        {"module": module, "class_name": kind, "config": {"name": "it", **config}, "registered_name": None},
    ]
    return {"module": "keras", "class_name": "Sequential", "config": {"name": "net", "layers": layers}}


def translated(kind: str, **config) -> dict:
    return keras3.converted(sequential(kind, **config)).configuration["config"]["layers"][1]["config"]


# --- files ------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", names("keras3_*"))
def test_file_predicts_what_keras3_predicted(name):
    configuration, weights = opened(name)
    images, expected = arrays(name)
    assert keras3.applies(configuration, None) and keras3.applies(configuration, "3.15.1")
    assert np.ptp(expected, axis=0).max() > 1e-3  # the images matter
    model = built(keras3.converted(configuration).configuration)
    keras3.load_weights(model, weights, configuration)
    np.testing.assert_allclose(model.predict(images, verbose=0), expected, atol=1e-5)


def test_the_given_configuration_stays():
    configuration = opened("keras3_functional.keras")[0]
    before = copy.deepcopy(configuration)
    keras3.converted(configuration)
    assert configuration == before


def test_archive_and_hdf5_file_hold_the_same_weights():
    models = []
    for name in ("keras3_functional.keras", "keras3_functional.h5"):
        configuration, weights = opened(name)
        models.append(built(keras3.converted(configuration).configuration))
        keras3.load_weights(models[-1], weights, configuration)
    for left, right in zip(*(model.get_weights() for model in models)):
        np.testing.assert_array_equal(left, right)


def changed(name: str, tmp_path, change) -> tuple:
    """Configuration, model and a changed copy of a file's weights."""
    configuration, weights = opened(name)
    copied = h5py.File(tmp_path / "weights.h5", "w")
    for key in weights:
        weights.copy(key, copied)
    for key, value in weights.attrs.items():
        copied.attrs[key] = value
    change(copied)
    return built(keras3.converted(configuration).configuration), copied, configuration


def test_missing_weights_of_an_archive_are_refused(tmp_path):
    given = changed("keras3_sequential.keras", tmp_path, lambda file: file.pop("layers/dense/vars"))
    with pytest.raises(WelError, match=r"'dense\w*' has 0 weights in the file. Expected 2"):
        keras3.load_weights(*given)


def test_missing_weights_of_an_hdf5_file_are_refused(tmp_path):
    given = changed("keras3_sequential.h5", tmp_path, lambda file: file.pop(next(name for name in file if name.startswith("conv2d"))))
    with pytest.raises(WelError, match="no weights of the layer 'conv2d"):
        keras3.load_weights(*given)


def test_swapped_weights_of_like_layers_go_by_their_names(tmp_path):
    """The three 1×1 convolutions have weights of the same shapes: only the stored names tell them apart."""

    def swapped(file):
        for source, target in (("conv2d_1", "aside"), ("conv2d_2", "conv2d_1"), ("aside", "conv2d_2")):
            file.move(f"layers/{source}", f"layers/{target}")

    given = changed("keras3_functional.keras", tmp_path, swapped)
    (note,) = keras3.load_weights(*given)
    assert note.startswith("Its file keeps the weights of 'functional' in another order than the layers")
    images, expected = arrays("keras3_functional.keras")
    np.testing.assert_allclose(given[0].predict(images, verbose=0), expected, atol=1e-5)


def test_weights_of_another_layer_are_refused(tmp_path):
    def replaced(file):
        file.move("layers/conv2d_1", "layers/aside")
        file.move("layers/conv2d_2", "layers/conv2d_1")

    given = changed("keras3_functional.keras", tmp_path, replaced)
    with pytest.raises(WelError, match="its layer 'conv2d_2' would get weights that are named as those of 'conv2d_1'"):
        keras3.load_weights(*given)


# --- configurations ---------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("version", ["3.0.0", "3.15.1", "4.0"])
def test_applies_by_version(version):
    assert keras3.applies({"class_name": "Sequential", "config": []}, version)


@pytest.mark.parametrize("version", ["2.14.0", "2.2.4-tf", "1.2.2", "x"])
def test_does_not_apply_by_version(version):
    assert not keras3.applies({"class_name": "Sequential", "config": []}, version)


def test_applies_by_what_only_keras3_writes(functional, sequential):
    assert not keras3.applies({"class_name": "Functional", "config": functional.get_config()}, None)
    assert not keras3.applies({"class_name": "Sequential", "config": sequential.get_config()}, None)


def test_input_and_dtype():
    policy = {"module": "keras", "class_name": "DTypePolicy", "config": {"name": "mixed_bfloat16"}, "registered_name": None}
    converted, notes = keras3.converted(sequential("Flatten", dtype=policy))
    image, flatten = converted["config"]["layers"]
    assert image["config"] == {"batch_input_shape": [None, 4, 4, 2], "name": "image", "dtype": "float32"}
    assert flatten == {"class_name": "Flatten", "config": {"name": "it", "dtype": "float32"}}
    assert notes[1] == "It computes in mixed_bfloat16; here it computes in float32."


def test_renamed_and_removed_arguments():
    assert translated("LeakyReLU", negative_slope=0.2) == {"name": "it", "alpha": 0.2, "dtype": "float32"}
    assert translated("ReLU", negative_slope=0.2)["negative_slope"] == 0.2
    assert "quantization_config" not in translated("Dense", units=1, activation="relu", quantization_config=None)
    assert "kernel_initializer" not in translated("Dense", units=1, kernel_initializer={"class_name": "Zeros"})


def test_shape_that_was_known_only_later():
    configuration = sequential("Flatten")
    del configuration["config"]["layers"][0]
    configuration["config"]["build_input_shape"] = [None, 4, 4, 2]
    assert built(keras3.converted(configuration).configuration).output_shape == (None, 32)


@pytest.mark.parametrize("match, given", [
    (r"does not translate these layers of Keras 3 to Keras 2: 'it' \(keras.layers.RMSNormalization\)", sequential("RMSNormalization")),
    (r"'it' \(my.code.Conv2D\)", sequential("Conv2D", module="my.code")),
    (r"'it' \(keras.src.ops.numpy.Add\)", sequential("Add", module="keras.src.ops.numpy")),
    (r"'it' \(keras.layers.Lambda\)", sequential("Lambda")),
    ("activation 'hard_sigmoid'", sequential("Dense", units=1, activation="hard_sigmoid")),
    ("activation 'mine'", sequential("Activation", activation={"module": "a", "class_name": "function", "config": "mine"})),
    ("renorm=True", sequential("BatchNormalization", renorm=True)),
    ("quantization_config={}", sequential("Dense", units=1, quantization_config={})),
    ("dtype policy QuantizedDTypePolicy", sequential("Dense", units=1, dtype={"class_name": "QuantizedDTypePolicy"})),
    ("channels_first", sequential("UpSampling1D", data_format="channels_first")),
])  # fmt: skip
def test_refusals(match, given):
    with pytest.raises(WelError, match=match):
        keras3.converted(given)


def test_calls_with_tensors_as_keyword_arguments_are_refused():
    configuration = opened("keras3_functional.keras")[0]
    configuration["config"]["layers"][1]["inbound_nodes"][0]["kwargs"] = {"mask": {"class_name": "__keras_tensor__"}}
    with pytest.raises(WelError, match="'stem' is called with 'mask'"):
        keras3.converted(configuration)


@pytest.mark.parametrize("name", ["keras3_functional.keras", "keras3_assorted.h5"])
def test_broken_configurations_end_in_a_sentence(name):
    for mutant in broken(opened(name)[0], seed=1, count=150):
        for call in (keras3.converted, lambda given: keras3.applies(given, None)):
            try:
                call(mutant)
            except WelError as error:
                assert "\n" not in str(error)
