"""Makes the Keras 1 fixtures: models with random weights, and what Keras 1 itself predicts for fixed inputs.

Run with Keras 1.2.2 (see README.md), once per backend: KERAS_BACKEND=tensorflow|theano python make_keras1.py FOLDER
"""

import sys
from pathlib import Path

import numpy as np
from keras import backend
from keras.layers import (
    ELU,
    Activation,
    AtrousConvolution2D,
    AveragePooling2D,
    BatchNormalization,
    Convolution1D,
    Convolution2D,
    Cropping2D,
    Deconvolution2D,
    Dense,
    Dropout,
    Flatten,
    GlobalAveragePooling2D,
    Input,
    LeakyReLU,
    MaxPooling2D,
    PReLU,
    SeparableConvolution2D,
    UpSampling2D,
    ZeroPadding2D,
    merge,
)
from keras.models import Model, Sequential

FOLDER = Path(sys.argv[1])
THEANO = backend.backend() == "theano"


def size(ordering):
    return (3, 9, 8) if ordering == "th" else (9, 8, 3)


def sequential(ordering):
    """Convolutions of all settings, a Sequential within the Sequential, dropout, softmax."""
    backend.set_image_dim_ordering(ordering)
    channels = 1 if ordering == "th" else 3
    inner = Sequential()
    inner.add(Convolution2D(4, 3, 3, border_mode="same", input_shape=((5, 4, 5) if ordering == "th" else (4, 5, 5)), bias=False))
    inner.add(BatchNormalization(axis=channels, epsilon=0.01))
    inner.add(Convolution2D(4, 1, 1, activation="relu"))
    model = Sequential()
    model.add(ZeroPadding2D((1, 2), input_shape=size(ordering)))
    model.add(Convolution2D(5, 4, 3, subsample=(2, 2), W_regularizer="l2"))
    model.add(BatchNormalization(axis=channels))
    model.add(LeakyReLU(0.2))
    model.add(inner)
    model.add(UpSampling2D((2, 2)))
    model.add(Cropping2D(((1, 0), (0, 1))))
    model.add(MaxPooling2D((2, 2), strides=(1, 1)))
    model.add(Flatten())
    model.add(Dropout(0.5))
    model.add(Dense(6, activation="tanh"))
    model.add(ELU(0.7))
    model.add(Dense(4))
    model.add(Activation("softmax"))
    return model


def functional(ordering):
    """Every kind of merge, a nested model that is called twice, atrous, transposed and separable convolutions."""
    backend.set_image_dim_ordering(ordering)
    channels = 1 if ordering == "th" else 3
    image = Input(size(ordering))
    part = Input((4, 9, 8) if ordering == "th" else (9, 8, 4))
    inner = Convolution2D(4, 3, 3, border_mode="same", activation="relu")(BatchNormalization(axis=channels)(part))
    block = Model(part, inner, name="block")
    x = Convolution2D(4, 3, 3, border_mode="same")(image)
    x = merge([x, block(block(x))], mode="sum")
    y = AtrousConvolution2D(4, 3, 3, atrous_rate=(2, 2), border_mode="same")(x)
    x = merge([x, y, Activation("relu")(y)], mode="concat", concat_axis=channels)
    x = merge([x, Activation("sigmoid")(x)], mode="mul")
    x = PReLU()(x)
    if not THEANO:
        x = SeparableConvolution2D(4, 3, 3, depth_multiplier=2, border_mode="same")(x)
        shape = (None, 5, 19, 17) if ordering == "th" else (None, 19, 17, 5)
        x = Deconvolution2D(5, 3, 3, shape, subsample=(2, 2), border_mode="valid")(x)
    x = AveragePooling2D((2, 2))(x)
    z = Convolution2D(x._keras_shape[channels], 3, 3, border_mode="same")(x)
    x = merge([merge([x, z], mode="max"), merge([x, z], mode="ave")], mode="sum")
    x = GlobalAveragePooling2D()(x)
    return Model(image, Dense(3)(x))


def signal(ordering):
    """One-dimensional convolutions, strided and not."""
    model = Sequential()
    model.add(Convolution1D(4, 3, border_mode="same", input_shape=(10, 2), activation="relu"))
    model.add(Convolution1D(5, 2, subsample_length=2))
    model.add(Flatten())
    model.add(Dense(3))
    return model


def randomize(model):
    rng = np.random.RandomState(3)
    for weight in model.weights:
        shape = backend.get_value(weight).shape
        values = rng.uniform(0.2, 1.0, shape) / len(shape)
        backend.set_value(weight, (values * rng.choice([-1, 1], shape) if len(shape) > 1 else values).astype("float32"))


for build, orderings in ((sequential, ("tf", "th")), (functional, ("tf", "th")), (signal, ("tf",))):
    for ordering in orderings:
        model = build(ordering)
        randomize(model)
        images = np.random.RandomState(7).uniform(-1, 1, (3, *model.input_shape[1:])).astype("float32")
        name = "keras1_{}_{}_{}".format(backend.backend(), ordering, build.__name__)
        model.save(str(FOLDER / (name + ".h5")))
        np.savez_compressed(str(FOLDER / (name + ".npz")), inputs=images, outputs=model.predict(images))
        print(name, np.abs(model.predict(images)).mean())
