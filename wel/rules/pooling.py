"""Max pooling on the way down: which input each output is, found once per image, for all of its vectors."""

from __future__ import annotations

import tensorflow as tf

from wel.rules.parts import Part


def is_max_pooling(part: Part) -> bool:
    """Whether it is max pooling of pictures with channels last, for which TensorFlow tells the place of a maximum."""
    return part.node.kind == "MaxPooling2D" and part.node.layer.data_format == "channels_last"


def winners(part: Part, x: tf.Tensor) -> tf.Tensor:
    """For x (n, *shape) the place of every output's input in its image, (n, *shape of the output): the first of equal ones."""
    layer = part.node.layer
    return tf.nn.max_pool_with_argmax(x, layer.pool_size, layer.strides, layer.padding.upper()).argmax


def to_winners(part: Part, places: tf.Tensor, R: tf.Tensor) -> tf.Tensor:
    """R (n, rows, *shape of the output) at the inputs that the outputs are, (n, rows, *shape of the input), 0 elsewhere.

    What several outputs have of one input adds up, in the order in which TensorFlow's gradient adds it.
    """
    layer, rows, (shape,) = part.node.layer, R.shape[1], part.input_shapes
    flat = tf.reshape(R, [-1, *part.node.shape])
    back = tf.raw_ops.MaxPoolGradWithArgmax(
        input=tf.zeros(tf.concat([tf.shape(flat)[:1], shape], 0), R.dtype),
        grad=flat,
        argmax=tf.repeat(places, rows, axis=0),
        ksize=[1, *layer.pool_size, 1],
        strides=[1, *layer.strides, 1],
        padding=layer.padding.upper(),
    )
    return tf.reshape(back, [-1, rows, *shape])
