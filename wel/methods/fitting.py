"""Estimators of patterns (Kindermans et al. 2018, section 4), fitted in one pass over batches of images.

For every unit y = w·x without its bias, x the unit's input (of a convolution every patch of every image) and a mask m,

    a = c / (w·c),  c = E_m[xy] − E_m[x] E_m[y].

`linear` takes every input (m = 1), `relu.positive` those where the unit's activation comes out positive, bias included,
`relu.negative` the others. `corrected` is this formula; a unit with no activation behind it is linear. `paper` is
innvestigate 1.0.8: E[y] is the mean over all inputs, a unit without activation is masked by its own output, and
Dropout is at work, drawn anew from the seed for every image and layer.
"""

from __future__ import annotations

import hashlib
from dataclasses import replace
from typing import NamedTuple, Sequence

import numpy as np

from wel.errors import check_whole, invalid, one_of
from wel.methods.patterns import Patterns
from wel.methods.registry import check_semantics
from wel.networks.graph import Graph, Node
from wel.networks.kernels import KernelLayer, consumers_of, kernel_layers, linear_map
from wel.networks.kinds import REGULARIZERS, is_linear
from wel.networks.network import Network
from wel.system.progress import Steps

ESTIMATORS = ("linear", "relu.positive", "relu.negative")
# bytes that a batch may take, and how often all layer outputs are held at once
MEMORY, COPIES = 1 << 29, 4
# w·c below this part of E_m[y²] is rounding: a unit whose masked inputs do not vary
ROUNDING = 1e-12
# between a layer and its activation function
BETWEEN = REGULARIZERS | {"BatchNormalization", "Add", "Activation"}


def fit_patterns(
    net: Network,
    images: np.ndarray,
    estimator: str = "relu.positive",
    semantics: str = "paper",
    batch_size: int | None = None,
    seed: int = 0,
    steps: Steps | None = None,
) -> Patterns:
    """Fits one pattern per layer with a kernel; see this module's docstring for the formula.

    Sums are accumulated in float64, so that the patterns do not depend on the batch size; memory does not grow with
    the number of images.

    Args:
        net: from `wel.load`.
        images: (n, *input shape), as the network takes them; anything with a length and slices.
        estimator: "linear", "relu.positive" or "relu.negative".
        semantics: "paper" or "corrected".
        batch_size: images at once; sized from memory by default.
        seed: of Dropout, in `paper`.
        steps: is told of progress, one step per image.

    Raises:
        WelError: for anything in the arguments that cannot be used.
        UnsupportedError: when a layer with a kernel is none that patterns are defined for.
    """
    _check(images, estimator, batch_size, seed)
    check_semantics(semantics)
    steps = steps or Steps()
    fit = _Fit(net.graph, estimator, semantics, seed)
    size, digest = batch_size or _images_at_once(net.graph), hashlib.sha256()
    steps.start(len(images))
    for first in range(0, len(images), size):
        batch = net.checked_images(images[first : first + size])
        digest.update(batch.tobytes())
        fit.add(batch, range(first, first + len(batch)))
        steps.advance(len(batch), estimator, net.name)
    about = {
        "network": net.name,
        "layers": [layer.node.name for layer in fit.layers],
        "estimator": estimator,
        "semantics": semantics,
        "images": len(images),
        "images_sha256": digest.hexdigest(),
        "seed": int(seed),
    }
    return Patterns(fit.patterns(), about, net.weight_hashes())


def _check(images, estimator: str, batch_size, seed) -> None:
    if estimator not in ESTIMATORS:
        raise invalid("estimator", estimator, one_of(ESTIMATORS))
    if not len(images):
        raise invalid("images", "no images", "one or more")
    if batch_size is not None:
        check_whole("batch_size", batch_size, 1)
    check_whole("seed", seed, 0)


def _images_at_once(graph: Graph) -> int:
    return max(1, MEMORY // (8 * COPIES * sum(int(np.prod(node.shape)) for node in graph.nodes)))


class _Fit:
    """The sums of every layer with a kernel, so far."""

    def __init__(self, graph: Graph, estimator: str, semantics: str, seed: int):
        self.layers = kernel_layers(graph)
        self._estimator, self._paper = estimator, semantics == "paper"
        self._forward = _Forward(graph, self.layers, seed if self._paper else None)
        self._masked_by = [activation_behind(graph, layer) or (layer.output if self._paper else None) for layer in self.layers]
        self._moments = [_Moments(layer) for layer in self.layers]

    def add(self, images: np.ndarray, indices: Sequence[int]) -> None:
        """Adds a batch, whose images have these indices in the whole set."""
        values, calls = self._forward(images, indices)
        for moments, call, name in zip(self._moments, calls, self._masked_by):
            moments.add(call, self._mask(call.y, values.get(name)))

    def _mask(self, y, value):
        import tensorflow as tf

        if self._estimator == "linear" or value is None:
            return tf.ones_like(y)
        return tf.cast(value > 0 if self._estimator == "relu.positive" else value <= 0, y.dtype)

    def patterns(self) -> tuple[np.ndarray, ...]:
        """The patterns of the batches added."""
        return tuple(moments.pattern(masked_mean=not self._paper).astype("float32") for moments in self._moments)


def activation_behind(graph: Graph, layer: KernelLayer) -> str | None:
    """The node whose activation function the layer's units go through, in the layer or behind it; None if there is none."""
    consumers = consumers_of({node.name: node.inputs for node in graph.nodes})
    name = layer.output
    while is_linear(graph[name].layer):
        following = consumers[name]
        if len(following) != 1 or (graph[following[0]].kind not in BETWEEN and is_linear(graph[following[0]].layer)):
            return None
        name = following[0]
    return name


class _Call(NamedTuple):
    """A layer's call on a batch: kernel, output y without bias, and the tape that knows how y comes from the kernel."""

    kernel: object
    y: object
    tape: object


class _Forward:
    """The network in float64, one layer after the other, with Dropout at work if a seed is given.

    Args:
        layers: those whose calls are wanted.
    """

    def __init__(self, graph: Graph, layers: Sequence[KernelLayer], seed: int | None):
        self._graph, self._seed = graph, seed
        self._kernels = {layer.node.name: layer.kernel for layer in layers}
        self._twins = {node.name: replace(node, layer=node.recast("float64")) for node in graph.nodes if self._has_twin(node)}

    def _has_twin(self, node: Node) -> bool:
        return bool(node.inputs) and node.name not in self._kernels and node.kind not in REGULARIZERS

    def __call__(self, images: np.ndarray, indices: Sequence[int]) -> tuple[dict, list[_Call]]:
        """Outputs of all nodes by name, and the calls of the layers with a kernel."""
        import tensorflow as tf

        values, calls = {self._graph.input: tf.constant(images, "float64")}, []
        for node in self._graph.nodes[1:]:
            inputs = [values[source] for source in node.inputs]
            if node.name in self._kernels:
                calls.append(self._call(node, inputs[0]))
                values[node.name] = _activated(node.layer, calls[-1].y)
            elif node.name in self._twins:
                values[node.name] = self._twins[node.name].apply(inputs)
            else:
                values[node.name] = inputs[0] * self._dropout(node, indices)
        return values, calls

    def _call(self, node: Node, x) -> _Call:
        import tensorflow as tf

        kernel = tf.constant(self._kernels[node.name])
        with tf.GradientTape(persistent=True) as tape:
            tape.watch(kernel)
            y = linear_map(node.layer, x, kernel)
        return _Call(kernel, y, tape)

    def _dropout(self, node: Node, indices: Sequence[int]):
        """Zero with probability `rate`, else 1/(1 − rate); each image has its own generator, whatever batch it is in."""
        if self._seed is None or node.kind != "Dropout":
            return 1.0
        name = int.from_bytes(hashlib.sha256(node.name.encode()).digest()[:8], "little")
        fixed = (node.layer.noise_shape or [None] * (1 + len(node.shape)))[1:]
        shape = tuple(size if noise is None else noise for size, noise in zip(node.shape, fixed))
        drawn = [np.random.default_rng(np.random.SeedSequence((self._seed, name, index))).random(shape) for index in indices]
        return (np.stack(drawn) >= node.layer.rate) / (1 - node.layer.rate)


def _activated(layer, y):
    return layer.activation(y + np.asarray(layer.bias, "float64") if layer.use_bias else y)


class _Moments:
    """Sums over all patches so far: of m, my and y per unit, of xm and xmy per kernel entry."""

    def __init__(self, layer: KernelLayer):
        self._scale, self._kernel = layer.scale, layer.kernel * layer.scale
        self._patches = 0
        self._m, self._my, self._y = (np.zeros(layer.units) for _ in range(3))
        self._xm, self._xmy = (np.zeros(self._kernel.shape) for _ in range(2))

    def add(self, call: _Call, mask) -> None:
        """Adds a batch. The gradient of y in the kernel, from m above, is Σ xm over all patches."""
        y = call.y * self._scale.ravel()
        self._xm += call.tape.gradient(call.y, call.kernel, mask).numpy()
        self._xmy += call.tape.gradient(call.y, call.kernel, mask * y).numpy()
        self._patches += int(np.prod(y.shape[:-1]))
        self._m += self._per_unit(mask)
        self._my += self._per_unit(mask * y)
        self._y += self._per_unit(y)

    def _per_unit(self, tensor) -> np.ndarray:
        return tensor.numpy().reshape(-1, self._m.size).sum(axis=0).reshape(self._m.shape)

    def pattern(self, masked_mean: bool) -> np.ndarray:
        """a; 0 for a unit that the mask leaves no input, or none that varies."""
        count = np.maximum(self._m, 1)
        mean_y = self._my / count if masked_mean else self._y / self._patches
        covariance = self._xmy / count - self._xm / count * mean_y
        variance = self._along(covariance)
        varies = np.abs(variance) > ROUNDING * self._along(self._xmy / count)
        return covariance * np.divide(1, variance, out=np.zeros_like(variance), where=varies)

    def _along(self, array: np.ndarray) -> np.ndarray:
        """w·array for each unit."""
        return (self._kernel * array).sum(axis=tuple(range(array.ndim - self._m.ndim)))
