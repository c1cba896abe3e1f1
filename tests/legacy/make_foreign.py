"""Makes a model with initialisers, regularisers, constraints, a dropout layer, loss, metric and optimiser of the user's own.

Run with Keras (see README.md): python make_foreign.py FOLDER NAME
"""

import sys
from pathlib import Path

import keras
import numpy as np
from keras import layers

FOLDER, NAME = Path(sys.argv[1]), sys.argv[2]


class Tenths(keras.initializers.Initializer):
    def __call__(self, shape, dtype=None, **settings):
        return np.full(shape, 0.1, "float32")

    def get_config(self):
        return {"part": 1}


class Weak(keras.regularizers.Regularizer):
    def __call__(self, weight):
        return 0.0 * weight

    def get_config(self):
        return {"part": 1}


class Free(keras.constraints.Constraint):
    def __call__(self, weight):
        return weight


class FixedDropout(layers.Dropout):
    """As in the package efficientnet: a Dropout with a noise shape."""


class Descent(keras.optimizers.SGD):
    pass


def weak(weight):
    return 0.0 * weight


def tenths(shape, dtype=None, **settings):
    return np.full(shape, 0.1, "float32")


def distance(true, predicted):
    return (true - predicted) ** 2


image = layers.Input((6, 5, 3))
settings = {"kernel_regularizer": Weak(), "bias_constraint": Free()} if keras.__version__ < "3" else {"bias_constraint": Free()}
x = layers.Conv2D(4, 3, kernel_initializer=Tenths(), activation="relu", **settings)(image)
x = layers.Conv2D(4, 2, kernel_initializer=tenths)(FixedDropout(0.2)(x))
x = layers.GlobalAveragePooling2D()(layers.Conv2D(4, 1, kernel_initializer=lambda shape, dtype=None: np.full(shape, 0.1, "float32"))(x))
model = keras.models.Model(image, layers.Dense(3)(x))
model.compile(Descent(), distance, metrics=[distance])
rng = np.random.RandomState(3)
values = [rng.uniform(0.2, 0.6, array.shape) for array in model.get_weights()]
model.set_weights([value * rng.choice([-1, 1], value.shape) if value.ndim > 1 else value for value in values])
inputs = rng.uniform(-1, 1, (3, 6, 5, 3)).astype("float32")
model.save(str(FOLDER / NAME))
np.savez_compressed(str(FOLDER / NAME).rsplit(".", 1)[0] + ".npz", inputs=inputs, outputs=model.predict(inputs))
print(keras.__version__, model.predict(inputs).round(3).tolist())
