"""Makes the Keras 3 fixtures: models with random weights, and what Keras 3 itself predicts for fixed inputs.

Run with Keras 3 (see README.md): KERAS_BACKEND=jax python make_keras3.py FOLDER PREFIX
"""

import sys
from pathlib import Path

import keras
import numpy as np
from keras import layers

FOLDER, PREFIX = Path(sys.argv[1]), sys.argv[2]


def functional():
    """A residual sum with two branches of like layers, and a nested model that is called twice."""
    image = keras.Input((9, 8, 3), name="image")
    x = layers.ReLU()(layers.BatchNormalization()(layers.Conv2D(4, 3, padding="same", use_bias=False, name="stem")(image)))
    part = keras.Input((9, 8, 4))
    inner = layers.Conv2D(4, 3, padding="same", activation="relu")(layers.BatchNormalization(axis=-1)(part))
    block = keras.Model(part, inner, name="block")
    x = layers.Add()([x, block(block(x))])
    skip = layers.Conv2D(4, 1, name="a_skip")(x)
    x = layers.Add()([layers.Conv2D(4, 1)(layers.Conv2D(4, 1, activation="swish")(x)), skip])
    return keras.Model(image, layers.Dense(3, activation="softmax")(layers.GlobalAveragePooling2D()(x)))


def assorted():
    """Layers whose arguments or weights differ from those of other layers, and a nested Sequential."""
    image = keras.Input((9, 8, 4), name="image")
    x = layers.Concatenate()([image, layers.LeakyReLU(negative_slope=0.15)(image)])
    x = layers.SeparableConv2D(5, 3, depth_multiplier=2)(layers.DepthwiseConv2D(3, depthwise_regularizer="l2")(x))
    x = layers.PReLU(shared_axes=[1, 2])(layers.LayerNormalization()(layers.ZeroPadding2D(1)(x)))
    x = layers.GlobalMaxPooling2D()(layers.AveragePooling2D(2)(layers.UpSampling2D()(x)))
    head = keras.Sequential([layers.Dense(4, activation="gelu"), layers.Dropout(0.3), layers.Dense(3)], name="head")
    return keras.Model(image, head(x))


def sequential():
    """Convolution, pooling, dense, softmax."""
    stack = [
        keras.Input((9, 8, 3)), layers.Rescaling(2.0, 0.1), layers.Conv2D(4, 3, strides=2, activation="relu"), layers.BatchNormalization(),
        layers.MaxPooling2D(), layers.Flatten(), layers.Dense(5, activation="elu"), layers.Dense(4, activation="softmax"),
    ]  # fmt: skip
    return keras.Sequential(stack)


def augmented():
    """Augmentation in a Sequential of its own; a nested functional model at the end."""
    image = keras.Input((9, 8, 3), name="image")
    kinds = [layers.RandomFlip("horizontal"), layers.RandomRotation(0.1), layers.RandomZoom(0.1), layers.RandomContrast(0.1)]
    x = keras.Sequential(kinds, name="augmentation")(image)
    part = keras.Input((5, 5, 3))
    inner = layers.Dense(3, activation=layers.LeakyReLU(negative_slope=0.3))(layers.Flatten()(layers.Conv2D(4, 3)(part)))
    return keras.Model(image, keras.Model(part, inner, name="head")(layers.Resizing(5, 5)(layers.CenterCrop(7, 8)(x))))


def recurrent():
    """Recurrent layers and wrappers, one of them around a model with a frozen block."""
    part = keras.Input((3, 3, 2))
    first, second = (keras.Sequential([layers.Conv2D(2, 3, padding="same"), layers.BatchNormalization()]) for _ in "ab")
    cnn = keras.Model(part, layers.Flatten()(second(first(part))))
    first.trainable = False
    stack = [keras.Input((4, 3, 3, 2)), layers.TimeDistributed(cnn), layers.Bidirectional(layers.LSTM(3, return_sequences=True))]
    return keras.Sequential([*stack, layers.Flatten(), layers.Dense(2)])


def cells():
    """Recurrent layers of cells, and of GRU's other form."""
    stack = [
        keras.Input((4, 6)), layers.TimeDistributed(layers.Dense(3)), layers.GRU(3, reset_after=False, return_sequences=True),
        layers.RNN([layers.LSTMCell(3), layers.GRUCell(2)], return_sequences=True), layers.Flatten(), layers.Dense(2),
    ]  # fmt: skip
    return keras.Sequential(stack)


def attention():
    """Attention over the steps of a signal."""
    signal = keras.Input((6, 4), name="signal")
    x = layers.LayerNormalization()(layers.Add()([signal, layers.MultiHeadAttention(2, 3)(signal, signal)]))
    return keras.Model(signal, layers.Dense(2, activation="softmax")(layers.GlobalAveragePooling1D()(x)))


rng = np.random.default_rng(3)
for build in (functional, assorted, sequential, augmented, recurrent, cells, attention):
    model = build()
    for weight in model.weights:
        values = rng.uniform(0.2, 1.0, weight.shape) * (rng.choice([-1, 1], weight.shape) if len(weight.shape) > 1 else 1)
        weight.assign(0.5 * values.astype("float32"))
    images = rng.uniform(-1, 1, (3, *model.input_shape[1:])).astype("float32")
    for suffix in ("keras", "h5"):
        model.save(FOLDER / f"{PREFIX}_{build.__name__}.{suffix}")
    outputs = np.asarray(model.predict(images, verbose=0))
    np.savez_compressed(FOLDER / f"{PREFIX}_{build.__name__}.npz", inputs=images, outputs=outputs)
    print(keras.__version__, outputs.round(3).tolist())
