"""Small models of Keras 3, of every kind that wel reads, with weights that depend on a seed only. Import it behind `importorskip`."""

from __future__ import annotations

from typing import Any, Callable

import keras
import numpy as np
from conftest import randomized
from keras import layers, ops

SHAPE = (8, 8, 3)
BUILDERS: dict[str, Callable[[], Any]] = {}


def built(name: str):
    """The model of that name."""
    keras.backend.clear_session()
    model = BUILDERS[name]()
    return model if name == "seen_statistics" else randomized(model, seed=len(name))


def builder(function: Callable[[], Any]) -> Callable[[], Any]:
    BUILDERS[function.__name__] = function
    return function


def _head(image, x, classes: int = 3, **settings):
    return keras.Model(image, layers.Dense(classes, name="head", **settings)(layers.Flatten(name="flatten")(x)), name="small")


@builder
def functional():
    image = keras.Input(SHAPE, name="image")
    x = layers.Conv2D(4, 3, activation="relu", name="conv1")(image)
    x = layers.MaxPooling2D(name="pool")(x)
    x = layers.BatchNormalization(name="bn")(layers.Conv2D(4, 3, padding="same", name="conv2")(x))
    return _head(image, layers.ReLU(name="relu")(x), activation="softmax")


@builder
def sequential():
    stack = [layers.Rescaling(2.0, -1.0), layers.RandomFlip(), layers.Conv2D(4, 3, activation="relu"), layers.SeparableConv2D(4, 3)]
    stack += [
        layers.ReLU(),
        layers.DepthwiseConv2D(3),
        layers.GlobalAveragePooling2D(),
        layers.Dropout(0.5),
        layers.Dense(4),
        layers.Softmax(),
    ]
    return keras.Sequential([keras.Input(SHAPE), *stack], name="sequential")


@builder
def nested():
    block = keras.Sequential([keras.Input(SHAPE), layers.Conv2D(3, 3, padding="same", name="conv"), layers.ReLU(name="relu")], name="block")
    source = keras.Input(SHAPE)
    squeeze = keras.Model(source, layers.Conv2D(3, 1, name="conv1x1")(source), name="squeeze")
    image = keras.Input(SHAPE, name="image")
    end = keras.Sequential([keras.Input(SHAPE), layers.Flatten(), layers.Dense(3), layers.Activation("sigmoid")], name="end")
    return keras.Model(image, end(block(squeeze(squeeze(image)))), name="nested")


@builder
def shared():
    image, conv, relu = keras.Input(SHAPE, name="image"), layers.Conv2D(3, 3, padding="same", name="conv"), layers.ReLU(name="relu")
    return _head(image, relu(conv(relu(conv(image)))))


@builder
def operations():
    """keras.ops that are layers."""
    image = keras.Input(SHAPE, name="image")
    x = ops.relu(layers.Conv2D(4, 3, padding="same", name="conv")(image / 0.5 - 1))
    x = ops.concatenate([x, 1.0 - x], axis=-1)[:, 1:]
    x = ops.transpose(ops.pad(x + ops.maximum(x, 0.0), [[0, 0], [1, 1], [1, 1], [0, 0]]), (0, 2, 1, 3))
    return keras.Model(image, ops.softmax(layers.Dense(3, name="head")(ops.mean(x, axis=(1, 2)))), name="operations")


@builder
def gated():
    image = keras.Input(SHAPE, name="image")
    x = layers.Conv2D(4, 3, name="conv")(image)
    gate = ops.sigmoid(layers.Dense(4, name="gate")(layers.GlobalAveragePooling2D(keepdims=True)(x)))
    return _head(image, x * gate)


@builder
def unknown_operation():
    image = keras.Input(SHAPE, name="image")
    x = layers.Conv2D(4, 3, name="conv")(image)
    return keras.Model(image, layers.Dense(3, name="head")(ops.einsum("bijc,bijc->bc", x, x)), name="unknown_operation")


@builder
def dictionaries():
    image = {"image": keras.Input(SHAPE, name="image")}
    x = layers.Flatten()(layers.Conv2D(4, 3, name="conv")(image["image"]))
    return keras.Model(image, {"logits": layers.Dense(3, name="head")(x)}, name="dictionaries")


@builder
def steps():
    source = keras.Input((12, 3), name="source")
    x = layers.Conv1D(4, 3, padding="causal", dilation_rate=2, activation="relu", name="causal")(source)
    x = layers.Conv1DTranspose(4, 3, strides=2, padding="same", name="transposed")(x)
    x = layers.DepthwiseConv1D(3, padding="same", name="depthwise")(layers.SeparableConv1D(4, 3, padding="same", name="separable")(x))
    return keras.Model(source, layers.Dense(3, name="head")(layers.GlobalMaxPooling1D()(x)), name="steps")


@builder
def convolutions():
    image = keras.Input(SHAPE, name="image")
    x = layers.Conv2D(4, 3, strides=2, padding="same", name="strided")(image)
    x = layers.Conv2DTranspose(4, 3, strides=2, padding="same", activation="relu", name="transposed")(x)
    x = layers.Conv2D(4, 2, groups=4, name="one_by_one")(layers.Conv2D(4, 3, groups=2, name="grouped")(x))
    return _head(image, layers.AveragePooling2D(3, padding="same")(layers.UpSampling2D(interpolation="bilinear")(x)))


@builder
def room():
    source = keras.Input((4, 4, 4, 2), name="source")
    x = layers.Conv3DTranspose(3, 2, strides=2, name="transposed")(layers.Conv3D(3, 2, activation="relu", name="conv")(source))
    return keras.Model(source, layers.Dense(3, name="head")(layers.GlobalAveragePooling3D()(x)), name="room")


@builder
def attention():
    source = keras.Input((5, 6), name="source")
    x = layers.LayerNormalization(name="norm")(source)
    x = layers.Add(name="sum")([layers.MultiHeadAttention(2, 3, name="attention")(x, x), source])
    return keras.Model(source, layers.Dense(3, name="head")(layers.GlobalAveragePooling1D()(x)), name="attention")


@builder
def activations():
    image = keras.Input(SHAPE, name="image")
    x = layers.Conv2D(4, 3, activation="gelu", name="conv")(layers.GroupNormalization(3, name="groups")(image))
    x = layers.PReLU(name="prelu")(layers.LeakyReLU(name="leaky")(layers.UnitNormalization(name="unit")(x)))
    return _head(image, layers.Activation("hard_swish", name="hard_swish")(layers.ELU(name="elu")(x)))


@builder
def seen_statistics():
    """A Normalization with statistics of data."""
    normalization = layers.Normalization(name="normalization")
    normalization.adapt(np.random.default_rng(0).random((20, *SHAPE)))
    image = keras.Input(SHAPE, name="image")
    return _head(image, layers.Conv2D(4, 3, activation="relu", name="conv")(normalization(image)), activation="softmax")


@builder
def recurrent():
    source = keras.Input((5, 6), name="source")
    x = layers.TimeDistributed(layers.Dense(3))(layers.Bidirectional(layers.LSTM(4, return_sequences=True))(source))
    return keras.Model(source, layers.Dense(3, name="head")(layers.GRU(4)(x)), name="recurrent")


@builder
def own_layer():
    class Scaled(layers.Layer):
        def build(self, shape):
            self.factor = self.add_weight(shape=(shape[-1],), initializer="ones", name="factor")

        def call(self, x, training=None):
            return self.factor * x

    image = keras.Input(SHAPE, name="image")
    x = Scaled(name="scaled")(layers.Lambda(lambda x: 2 * x, name="doubled")(image))
    return _head(image, layers.Conv2D(4, 3, name="conv")(x), activation="softmax")
