"""Information bottleneck attribution (IBA): how much of a layer the decision needs, in bits for every place.

With R a layer's values for an image, μ and σ their mean and standard deviation over other images, and a mask λ in [0, 1], the layer hands
on Z = λR + (1 − λ)ε, ε ~ N(μ, σ²). What Z tells of R is at most, in nats,

    I = −½ (1 + log (1 − λ)² − (λ (R − μ)/σ)² − (1 − λ)²)

and 0 at a value that is 0 in 99 % of these images. The mask, the sigmoid of α smoothed over places by a Gaussian, makes the cross-entropy
of the class + β mean(I) small: α begins at 5, and Adam takes one step after the other, each with noise of its own for every sample.
The map is I of the last pass, summed over channels, in bits.

Source: Schulz, Sixt, Tombari & Landgraf (2020), the per-sample bottleneck, with the constants of the authors' software.
"""

from __future__ import annotations

import weakref
from functools import partial
from typing import Callable, NamedTuple

import numpy as np
import tensorflow as tf

from wel.errors import UnsupportedError, of_method
from wel.measures.places import enlarged, places, spread
from wel.measures.vectors import random_vectors
from wel.methods.options import arrays_sha256
from wel.networks.graph import Graph
from wel.networks.network import PREDICTED_AT_ONCE, Network
from wel.studies.query import Query

FIRST_ALPHA = 5.0
LEAST_DEVIATION = 0.01
LEAST_ACTIVE = 0.01  # share of images in which a value is not 0
DECAYS, TINY = (0.9, 0.999), 1e-8  # Adam's

_estimated: weakref.WeakKeyDictionary[Network, dict[tuple, Statistics]] = weakref.WeakKeyDictionary()
_compiled: weakref.WeakKeyDictionary[Network, dict[str, Callable]] = weakref.WeakKeyDictionary()


class Statistics(NamedTuple):
    """Of a layer's values over images, each (1, *shape) float32: mean, standard deviation, and 1 where a value is active, else 0."""

    mean: np.ndarray
    deviation: np.ndarray
    active: np.ndarray


def iba(query: Query) -> np.ndarray:
    """Maps in bits, (n, *input shape).

    Raises:
        UnsupportedError: for a network with one logit.
    """
    name = query.options["layer"]
    if query.head.shape[1] < 2:
        raise UnsupportedError(of_method(query.request.method.name, "needs two classes or more. Received a network with one logit."))
    statistics = _statistics(query.net, name, query.options["sample"])
    # one image at a time: memory does not grow with their number
    maps = [capacity(query, index, statistics).sum(axis=-1) for index in range(len(query.images))]
    shape = query.net.input_shape
    return spread(enlarged(np.stack(maps) / np.log(2), places(shape)), shape)


def capacity(query: Query, index: int, statistics: Statistics) -> np.ndarray:
    """I of the last pass for one image, (*layer's shape) float64, in nats."""
    options, image = query.options, query.images[index : index + 1]
    values = query.net.values(image, options["layer"])
    smoothing = [_smoothing(size, options["smoothing"]) for size in places(values.shape[1:])]
    settings = [tf.constant(options[name], "float32") for name in ("beta", "learning_rate")]
    step = _step(query.net, options["layer"])
    state, information = (np.full_like(values, FIRST_ALPHA), np.zeros_like(values), np.zeros_like(values)), values
    for number in range(options["steps"]):
        noise = _noise(query, index, number, values.shape[1:])
        images, target = (np.repeat(one, len(noise), axis=0) for one in (image, query.head[index : index + 1]))
        state, information = step(state, tf.constant(number + 1.0), (images, values, statistics, noise, target, smoothing), *settings)
    return np.asarray(information, "float64")[0]


def _noise(query: Query, index: int, step: int, shape: tuple[int, ...]) -> np.ndarray:
    return random_vectors(query.seed, f"iba {step}", [query.first + index], query.options["samples"], shape)[0]


def _statistics(net: Network, layer: str, images: np.ndarray) -> Statistics:
    """Estimated once for a network's weights, a layer and images."""
    known, key = _estimated.setdefault(net, {}), (net.weights_hash(), layer, arrays_sha256(images))
    if key not in known:
        known.clear()
        known[key] = _estimate(net, layer, images)
    return known[key]


def _estimate(net: Network, layer: str, images: np.ndarray) -> Statistics:
    shape, n = (1, *net.graph[layer].shape), len(images)
    total, squares, active = (np.zeros(shape) for _ in range(3))
    for first in range(0, n, PREDICTED_AT_ONCE):
        values = net.values(images[first : first + PREDICTED_AT_ONCE], layer).astype("float64")
        total += values.sum(axis=0)
        squares += (values**2).sum(axis=0)
        active += (values != 0).sum(axis=0)
    variance = np.maximum(0, squares - total**2 / n) / (n - 1)
    found = (total / n, np.maximum(LEAST_DEVIATION, np.sqrt(variance)), active / n > LEAST_ACTIVE)
    return Statistics(*(array.astype("float32") for array in found))


def _smoothing(size: int, sigma: float) -> np.ndarray:
    """Weights (size, size) by which a Gaussian smooths along an axis, cut at two standard deviations, values mirrored beyond the ends."""
    if not sigma:
        return np.eye(size, dtype="float32")
    reach = round(2 * sigma)
    kernel = np.exp(-(np.arange(-reach, reach + 1) ** 2) / (2 * sigma**2))
    seen = np.pad(np.arange(size), reach, mode="reflect")
    weights = np.zeros((size, size))
    for place in range(size):
        np.add.at(weights[place], seen[place : place + 2 * reach + 1], kernel / kernel.sum())
    return weights.astype("float32")


def _step(net: Network, layer: str) -> Callable:
    """What `_one_step` does with what lies above the layer, compiled."""
    compiled = _compiled.setdefault(net, {})
    if layer not in compiled:
        above = partial(_above, net.graph, layer)
        compiled[layer] = tf.function(partial(_one_step, above), autograph=False, reduce_retracing=True)
    return compiled[layer]


def _above(graph: Graph, layer: str, images: tf.Tensor, values: tf.Tensor) -> tf.Tensor:
    """The logits where the layer's values are these; of the images nothing passes it, but inputs that do not vary take their number."""
    return graph.run({graph.input: images, layer: values}, graph.output)


def _one_step(above: Callable, state: tuple, number: tf.Tensor, fixed: tuple, beta: tf.Tensor, rate: tf.Tensor) -> tuple:
    """A pass and a step of Adam.

    Args:
        above: function of images and the layer's values, one for each sample, that gives the logits.
        state: α, and Adam's means of its gradient and of the gradient's square.
        number: of the step, 1 for the first.
        fixed: as of `_pass`.
        beta, rate: the weight of the information, and how far a step goes.

    Returns:
        The next state, and I.
    """
    alpha, *moments = map(tf.convert_to_tensor, state)
    with tf.GradientTape() as tape:
        tape.watch(alpha)
        information, entropy = _pass(above, alpha, *fixed)
        loss = entropy + beta * tf.reduce_mean(information)
    gradient = tape.gradient(loss, alpha)
    moments = [decay * mean + (1 - decay) * power for decay, mean, power in zip(DECAYS, moments, (gradient, gradient**2))]
    first, second = (mean / (1 - tf.pow(decay, number)) for decay, mean in zip(DECAYS, moments))
    return (alpha - rate * first / (tf.sqrt(second) + TINY), *moments), information


def _pass(above: Callable, alpha, images, values, statistics: Statistics, noise, target, smoothing: list) -> tuple[tf.Tensor, tf.Tensor]:
    """I (1, *shape), and the mean cross-entropy of the class over samples of noise."""
    mean, deviation, active = statistics
    hidden = _smoothed(tf.sigmoid(-alpha), smoothing)  # 1 − λ, which is no difference of two numbers that round to 1
    signal = (1 - hidden) * (values - mean) / deviation
    information = -0.5 * (1 + 2 * tf.math.log(hidden) - signal**2 - hidden**2) * active
    handed_on = ((1 - hidden) * values + hidden * (deviation * noise + mean)) * active
    return information, tf.reduce_mean(tf.nn.softmax_cross_entropy_with_logits(target, above(images, handed_on)))


def _smoothed(values: tf.Tensor, smoothing: list) -> tf.Tensor:
    """Values (1, *places, channels) with each axis of places smoothed by its weights."""
    for axis, weights in enumerate(smoothing, start=1):
        values = tf.experimental.numpy.moveaxis(tf.tensordot(weights, values, (1, axis)), 0, axis)
    return values
