"""Makes models with TensorFlow's operators on Keras tensors, which TensorFlow 2.0 to 2.3 keep as TensorFlowOpLayer.

Run with TensorFlow (see README.md): python make_operators.py FOLDER PREFIX
"""

import sys
from pathlib import Path

import numpy as np
import tensorflow as tf
from tensorflow.keras import Input, Model, layers

FOLDER, PREFIX = Path(sys.argv[1]), sys.argv[2]


def affine():
    """x / 127.5 − 1 and its like, with numbers, one number per channel, and the constant first."""
    image = Input((6, 5, 3))
    x = (image / 0.5 - 1.0 - np.array([0.1, 0.2, 0.3], "float32")) / tf.constant([0.5, 0.6, 0.7])
    x = layers.Conv2D(3, 3, activation="relu")(0.5 + 2.0 * (1.0 - x))
    return Model(image, layers.Dense(3)(-layers.Flatten()(x)))


def activations():
    """ReLUs and other functions, sums and products of two tensors, a softmax at the end."""
    image = Input((6, 5, 3))
    x = tf.nn.relu(layers.Conv2D(4, 3)(image))
    y = tf.nn.leaky_relu(tf.nn.relu6(layers.Conv2D(4, 1)(x)) - 0.5, 0.3)
    x = tf.maximum(tf.add(x, y) * tf.sigmoid(x), tf.minimum(tf.nn.elu(x - y), tf.nn.tanh(y)))
    x = tf.clip_by_value(tf.nn.softplus(x), 0.5, 1.5)
    return Model(image, tf.nn.softmax(layers.Dense(3)(layers.Flatten()(x))))


def shapes():
    """Slices, casts, reshapes, transposes, padding, concatenation, means and other reductions."""
    image = Input((6, 5, 3))
    x = tf.cast(image, "float32")[..., ::-1]
    x = layers.Conv2D(4, 3)(tf.pad(x, [[0, 0], [1, 1], [2, 0], [0, 0]]))
    y = tf.reshape(x[:, 1:5, :, 1], [-1, 2, 10])
    y = tf.squeeze(tf.expand_dims(tf.transpose(y, [0, 2, 1]), 1), [1])
    parts = [tf.reduce_mean(x, axis=[1, 2]), tf.reduce_max(x, [1, 2]), tf.reduce_sum(x[:, 0], axis=1), layers.Flatten()(y)]
    stacked = tf.stack([tf.concat(parts, axis=-1), tf.concat(parts, axis=1)], axis=1)
    return Model(image, layers.Dense(3)(tf.reduce_mean(tf.reshape(stacked, [tf.shape(stacked)[0], 64]), axis=-1, keepdims=True)))


rng = np.random.RandomState(3)
for build in (affine, activations, shapes):
    tf.keras.backend.clear_session()
    model = build()
    values = [rng.uniform(0.1, 0.4, array.shape) for array in model.get_weights()]
    model.set_weights([value * rng.choice([-1, 1], value.shape) if value.ndim > 1 else value for value in values])
    inputs = rng.uniform(-1, 1, (3, 6, 5, 3)).astype("float32")
    name = str(FOLDER / (PREFIX + "_" + build.__name__))
    model.save(name + ".h5")
    np.savez_compressed(name + ".npz", inputs=inputs, outputs=model.predict(inputs))
    print(tf.__version__, build.__name__, model.predict(inputs).round(3).tolist())
