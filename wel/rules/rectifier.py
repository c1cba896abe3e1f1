"""Methods that treat the gradient at a ReLU in a way of their own."""
from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import tensorflow as tf

from wel.rules.base import Rule, per_image
from wel.rules.gradient import Derivative


@dataclass(frozen=True)
class Guided(Derivative):
    """R_in = [x > 0] max(R, 0): Guided Backprop (Springenberg et al. 2015)."""

    def apply(self, site, prepared, R):
        return super().apply(site, prepared, tf.nn.relu(R))


@dataclass(frozen=True)
class Deconvolved(Rule):
    """R_in = max(R, 0): Deconvnet (Zeiler and Fergus 2014)."""

    def apply(self, site, prepared, R):
        return [tf.nn.relu(R)]


@dataclass(frozen=True)
class Rectified(Derivative):
    """R_in = [x > 0] R where y ⊙ R is strictly above its percentile over the layer's values, else 0: RectGrad (Kim et al. 2019).

    The percentile is the nearest rank, counted from the top: of n values the one after the first k = round((n − 1)(1 − q/100)),
    halves rounded to even.
    """

    percentile: float

    def prepare(self, site):
        return site.output, super().prepare(site)

    def apply(self, site, prepared, R):
        output, derivative = prepared
        importance = per_image(output) * R
        kept = tf.where(importance > self._threshold(importance), R, tf.zeros_like(R))
        return super().apply(site, derivative, kept)

    def _threshold(self, importance: tf.Tensor) -> tf.Tensor:
        size = int(np.prod(importance.shape[2:]))
        rank = int(np.round((size - 1) * (1 - self.percentile / 100)))
        largest = tf.math.top_k(tf.reshape(importance, [-1, importance.shape[1], size]), rank + 1, sorted=False).values
        return tf.reshape(tf.reduce_min(largest, axis=-1), [-1, importance.shape[1], *[1] * (importance.shape.rank - 2)])
