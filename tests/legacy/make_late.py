"""Makes models of many kinds of layers with the last versions of Keras 2, as archives (.keras) and HDF5 files.

Run with TensorFlow 2.12 to 2.15 or with tf_keras (see README.md): python make_late.py FOLDER PREFIX tensorflow.keras|tf_keras
"""

import importlib
import sys
from pathlib import Path

import numpy as np

FOLDER, PREFIX = Path(sys.argv[1]), sys.argv[2]
keras = importlib.import_module(sys.argv[3])
layers, Model, Sequential = keras.layers, keras.Model, keras.Sequential


def functional():
    """A residual sum, a nested model that is called twice, a shared layer, and like layers under names in another order."""
    part = layers.Input((7, 6, 4))
    inner = Model(part, layers.Conv2D(4, 3, padding="same", activation="relu")(layers.BatchNormalization()(part)), name="block")
    image, shared = layers.Input((7, 6, 3), name="image"), layers.Conv2D(4, 1, name="shared")
    x = layers.BatchNormalization()(layers.Conv2D(4, 3, padding="same", use_bias=False, name="stem")(image))
    x = layers.Add()([shared(x), inner(inner(shared(x)))])
    x = layers.Concatenate()([layers.Conv2D(4, 1, name="z_first")(x), layers.Conv2D(4, 1, name="a_second")(x)])
    x = layers.SeparableConv2D(3, 3)(layers.DepthwiseConv2D(3)(layers.LeakyReLU(0.2)(x)))
    return Model(image, layers.Dense(3, activation="softmax")(layers.GlobalAveragePooling2D()(x)))


def sequential():
    """A stack with a stack inside."""
    head = Sequential([layers.Dense(4, activation="relu"), layers.Dropout(0.3), layers.Dense(3)], name="head")
    stack = [
        layers.InputLayer((7, 6, 3)), layers.Rescaling(2.0, 0.1), layers.Normalization(mean=[0.1, 0.2, 0.3], variance=[1.0, 2.0, 3.0]),
        layers.RandomFlip(), layers.Conv2D(4, 3, activation="relu"), layers.BatchNormalization(), layers.MaxPooling2D(),
        layers.Flatten(), head,
    ]  # fmt: skip
    return Sequential(stack)


def recurrent():
    """Recurrent layers, wrappers, cells."""
    stack = [
        layers.InputLayer((4, 5)), layers.TimeDistributed(layers.Dense(3)), layers.Bidirectional(layers.LSTM(3, return_sequences=True)),
        layers.GRU(3, return_sequences=True), layers.RNN([layers.LSTMCell(3), layers.GRUCell(2)], return_sequences=True),
        layers.SimpleRNN(3), layers.Dense(2),
    ]  # fmt: skip
    return Sequential(stack)


def attention():
    """Attention over the embedded steps of a signal."""
    signal = layers.Input((6,), name="signal")
    x = layers.Embedding(9, 4)(signal)
    x = layers.LayerNormalization()(layers.Add()([x, layers.MultiHeadAttention(2, 3)(x, x)]))
    return Model(signal, layers.Dense(2, activation="softmax")(layers.GlobalAveragePooling1D()(x)))


rng = np.random.RandomState(3)
for build in (functional, sequential, recurrent, attention):
    keras.backend.clear_session()
    model = build()
    for weight in model.weights:
        if weight.dtype.is_floating:
            values = rng.uniform(0.2, 0.6, weight.shape)
            weight.assign(values * rng.choice([-1, 1], values.shape) if values.ndim > 1 else values)
    shape = (3, *model.input_shape[1:])
    inputs = rng.randint(0, 9, shape) if build is attention else rng.uniform(-1, 1, shape).astype("float32")
    path = FOLDER / (PREFIX + "_" + build.__name__)
    for suffix in (".keras", ".h5"):
        model.save(str(path) + suffix)
    outputs = model.predict(inputs, verbose=0)
    np.savez_compressed(str(path) + ".npz", inputs=inputs, outputs=outputs)
    print(PREFIX, build.__name__, outputs.round(3).tolist())
