"""Makes the Keras 2 fixtures: models with random weights, and what Keras 2 itself predicts for fixed inputs.

Run with Keras 2.0 to 2.2 (see README.md): KERAS_BACKEND=tensorflow|theano python make_keras2.py FOLDER PREFIX channels_first|channels_last
"""

import sys
from pathlib import Path

import numpy as np
from keras import backend
from keras.layers import (
    Activation,
    AveragePooling2D,
    BatchNormalization,
    Concatenate,
    Conv2D,
    Conv2DTranspose,
    Dense,
    Dropout,
    Flatten,
    GlobalAveragePooling2D,
    Input,
    LeakyReLU,
    MaxPooling2D,
    Permute,
    PReLU,
    Reshape,
    SeparableConv2D,
    SpatialDropout2D,
    UpSampling2D,
    ZeroPadding2D,
    add,
    multiply,
)
from keras.models import Model, Sequential

FOLDER, PREFIX, FORMAT = Path(sys.argv[1]), sys.argv[2], sys.argv[3]
THEANO = backend.backend() == "theano"
FIRST = FORMAT == "channels_first"
AXIS = 1 if FIRST else -1
backend.set_image_data_format(FORMAT)


def size(channels, rows, columns):
    return (channels, rows, columns) if FIRST else (rows, columns, channels)


def sequential():
    """A nested Sequential, padding, pooling, flatten, softmax."""
    inner = [Conv2D(4, 3, padding="same", input_shape=size(5, 4, 5), use_bias=False), BatchNormalization(axis=AXIS), LeakyReLU(0.2)]
    return Sequential([
        ZeroPadding2D(((1, 0), (2, 1)), input_shape=size(3, 9, 8)), Conv2D(5, (3, 3), strides=2, activation="relu"), SpatialDropout2D(0.2),
        Sequential(inner), UpSampling2D(), MaxPooling2D(), Flatten(), Dropout(0.5), Dense(4), Activation("softmax"),
    ])  # fmt: skip


def functional():
    """Residual sum, concatenation, squeeze and excitation, a nested model that is called twice."""
    image = Input(size(3, 9, 8))
    part = Input(size(4, 9, 8))
    block = Model(part, Conv2D(4, 3, padding="same", activation="relu")(BatchNormalization(axis=AXIS)(part)), name="block")
    x = Conv2D(4, 3, padding="same")(image)
    x = add([x, block(block(x))])
    weights = Reshape(size(4, 1, 1))(Dense(4, activation="sigmoid")(GlobalAveragePooling2D()(x)))
    x = multiply([x, UpSampling2D((9, 8))(weights)])
    x = Concatenate(axis=AXIS)([x, Conv2D(3, 3, dilation_rate=2, padding="same")(x)])
    x = AveragePooling2D(2)(x)
    return Model(image, Dense(3)(Flatten()(x)))


def ordered():
    """Layers that depend on the order of axes, transposed and separable convolutions."""
    image = Input(size(3, 9, 8))
    x = PReLU()(image)
    if not THEANO:
        x = Conv2DTranspose(5, 3, strides=2)(SeparableConv2D(4, 3, depth_multiplier=2)(x))
    x = Dense(6, use_bias=False)(AveragePooling2D(2)(x))
    x = Permute((2, 1, 3))(x)
    x = Dense(2, use_bias=False)(Activation("softmax")(x))
    return Model(image, Dense(3)(Flatten()(x)))


def randomize(model):
    rng = np.random.RandomState(3)
    for weight in model.weights:
        shape = backend.get_value(weight).shape
        values = rng.uniform(0.2, 1.0, shape) / len(shape)
        backend.set_value(weight, (values * rng.choice([-1, 1], shape) if len(shape) > 1 else values).astype("float32"))


for build in (sequential, functional, ordered):
    model = build()
    randomize(model)
    images = np.random.RandomState(7).uniform(-1, 1, (3, *model.input_shape[1:])).astype("float32")
    name = "{}_{}_{}_{}".format(PREFIX, backend.backend(), FORMAT, build.__name__)
    model.save(str(FOLDER / (name + ".h5")))
    np.savez_compressed(str(FOLDER / (name + ".npz")), inputs=images, outputs=model.predict(images))
    print(name, model.predict(images).round(3).tolist())
