"""wel.modelfiles.theano_kernels: Theano's convolutions become TensorFlow's."""

from __future__ import annotations

import sys

import numpy as np
import pytest
from legacy_files import arrays, built, names, opened

from wel.errors import WelError
from wel.keras.two import private
from wel.modelfiles import channels_first
from wel.modelfiles.theano_kernels import flip_kernels


def test_kernels_are_turned_and_nothing_else(functional):
    from tensorflow import keras

    model = keras.models.clone_model(functional)
    model.set_weights(functional.get_weights())
    assert flip_kernels(model) == (
        "The kernels of 2 convolutions were turned by 180°, because Theano convolves where TensorFlow correlates.",
    )
    for old, new in zip(functional.get_weights(), model.get_weights()):
        np.testing.assert_array_equal(old[::-1, ::-1] if old.ndim == 4 else old, new)


@pytest.mark.parametrize("name", names("keras2.0.9_theano*"))
def test_files_of_keras2(name):
    load_weights_from_hdf5_group = sys.modules[private("preprocess_weights_for_loading").__module__].load_weights_from_hdf5_group

    configuration, weights = opened(name)
    images, expected = arrays(name)
    source, model = built(configuration), built(channels_first.converted(configuration).configuration)
    load_weights_from_hdf5_group(weights, source)
    flip_kernels(source)
    channels_first.copy_weights(source, model)
    np.testing.assert_allclose(model.predict(np.moveaxis(images, 1, -1), verbose=0), expected, atol=1e-5)


@pytest.mark.parametrize("kind, config", [
    ("Conv2D", dict(filters=1, kernel_size=3, strides=2, padding="same")),
    ("Conv2D", dict(filters=1, kernel_size=2, padding="same")),
    ("MaxPooling2D", dict(pool_size=2, padding="same")),
    ("SeparableConv2D", dict(filters=1, kernel_size=3)),
])  # fmt: skip
def test_layers_that_theano_computes_otherwise_are_refused(kind, config):
    from tensorflow import keras

    model = keras.Sequential([keras.layers.Input((8, 8, 1)), getattr(keras.layers, kind)(name="it", **config)])
    with pytest.raises(WelError, match="'it' .* saved with the Theano backend"):
        flip_kernels(model)
