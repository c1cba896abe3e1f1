"""Makes models with a nested model that was frozen as a whole, of which no file keeps that it was: weights in an order of its own.

Run with keras (2.2.4) or tf.keras (see README.md): python make_frozen.py FOLDER SUFFIX keras|tensorflow
"""

import importlib
import sys
from pathlib import Path

import numpy as np

FOLDER, SUFFIX, PACKAGE = Path(sys.argv[1]), sys.argv[2], {"keras": "keras", "tensorflow": "tensorflow.keras"}[sys.argv[3]]
keras = importlib.import_module(PACKAGE)
layers, Model, Sequential = keras.layers, keras.models.Model, keras.models.Sequential


def block():
    part = layers.Input((6, 6, 4))
    return Model(part, layers.BatchNormalization()(layers.Conv2D(4, 3, padding="same")(part)))


def functional():
    """Two like blocks in a model inside the model; the first one is frozen."""
    first, second = block(), block()
    part, image = layers.Input((6, 6, 4)), layers.Input((6, 6, 4))
    inner = Model(part, second(layers.Activation("relu")(first(part))))
    first.trainable = False
    return Model(image, layers.Dense(3, activation="softmax")(layers.GlobalAveragePooling2D()(inner(image))))


def sequential():
    """Sequentials in a Sequential, the first one frozen: every layer's weights have a like layer that they fit."""
    first, second = (
        Sequential([layers.Conv2D(4, 3, padding="same", input_shape=(6, 6, 4)), layers.Conv2D(4, 3, padding="same")]) for _ in "ab"
    )
    first.trainable = False
    return Sequential([Sequential([first, second]), layers.GlobalAveragePooling2D(), layers.Dense(3)])


def distributed():
    """The same inside TimeDistributed."""
    first, second = block(), block()
    part = layers.Input((6, 6, 4))
    inner = Model(part, layers.GlobalAveragePooling2D()(second(first(part))))
    first.trainable = False
    return Sequential([layers.TimeDistributed(inner, input_shape=(2, 6, 6, 4)), layers.LSTM(2), layers.Dense(2)])


rng = np.random.RandomState(3)
for build in (functional, sequential, distributed):
    model = build()
    values = [rng.uniform(0.2, 0.6, array.shape) for array in model.get_weights()]
    model.set_weights([value * rng.choice([-1, 1], value.shape) if value.ndim > 1 else value for value in values])
    inputs = rng.uniform(-1, 1, (3, *model.input_shape[1:])).astype("float32")
    name = "frozen_" + build.__name__
    model.save(str(FOLDER / (name + "_" + SUFFIX)))
    np.savez_compressed(str(FOLDER / (name + "_" + SUFFIX)).rsplit(".", 1)[0] + ".npz", inputs=inputs, outputs=model.predict(inputs))
    print(getattr(keras, "__version__", ""), name, model.predict(inputs).round(3).tolist())
