"""The methods of innvestigate 1.0.8 as the paper used them: a relevance goes in at one node, others are read.

The package reverses a network once, into one reversed tensor per layer output. Feeding the reversed tensor of the start
node replaces all that comes from above it; a zero fed at the head keeps the branches beside it silent.
"""

from __future__ import annotations

from functools import partial

import keras
import keras.backend as K
import numpy as np
import residual
import tensorflow as tf
from innvestigate import layers as ilayers
from innvestigate.analyzer import base, deeptaylor, gradient_based, pattern_based
from innvestigate.analyzer.relevance_based import relevance_analyzer, relevance_rule
from innvestigate.utils.keras import checks
from worker import Unsupported

CMP_EPSILON = 1e-10
# the package's checks end in a bare exception at these
UNKNOWN_ACTIVATIONS = (
    keras.layers.ELU,
    keras.layers.LeakyReLU,
    keras.layers.PReLU,
    keras.layers.Softmax,
    keras.layers.ThresholdedReLU,
)


class Injectable:
    """Mix-in for a reverse analyzer: an input takes the place of the logits, and all reversed tensors are kept."""

    def _head_mapping(self, X):
        self.head = keras.layers.Input(batch_shape=K.int_shape(X))
        return self.head

    def _reverse_model(self, model, stop_analysis_at_tensors=(), return_all_reversed_tensors=False):
        inputs, self.reversed_tensors = super()._reverse_model(
            model, stop_analysis_at_tensors=stop_analysis_at_tensors, return_all_reversed_tensors=True
        )
        return inputs


class RectGrad(base.ReverseAnalyzerBase):
    """At every ReLU only gradients g with y·g above a percentile over the image's y·g pass, y the ReLU's output."""

    def __init__(self, model, percentile, **kwargs):
        self._percentile = percentile
        super().__init__(model, **kwargs)

    def _create_analysis(self, *args, **kwargs):
        self._add_conditional_reverse_mapping(lambda layer: checks.contains_activation(layer, "relu"), self._rectify)
        return super()._create_analysis(*args, **kwargs)

    def _rectify(self, Xs, Ys, reversed_Ys, reverse_state):
        kept = keras.layers.Lambda(lambda pair: _above_percentile(pair[0], pair[1], self._percentile))(Ys + reversed_Ys)
        return ilayers.GradientWRT(len(Xs))(Xs + Ys + [kept])


def _above_percentile(activation, gradient, percentile):
    """The gradient where activation × gradient exceeds its nearest-rank percentile over all but the first axis, else 0."""
    product = activation * gradient
    count = int(np.prod(K.int_shape(activation)[1:]))
    rank = int(round((count - 1) * (1.0 - percentile / 100.0)))  # from the top; a half rounds to the even rank
    largest = tf.nn.top_k(tf.reshape(product, [-1, count]), rank + 1).values
    threshold = tf.reshape(largest[:, -1], [-1] + [1] * (K.ndim(activation) - 1))
    return gradient * tf.cast(product > threshold, tf.float32)


class RuleLRP(relevance_analyzer.LRP):
    """LRP with one rule for convolutions, one for dense layers; the former at sums and normalisations too, if asked to."""

    def __init__(self, model, conv_rule, dense_rule, residual_rule=None, **kwargs):
        self._residual_rule = residual_rule
        rules = [(checks.is_dense_layer, dense_rule), (lambda layer, state: True, conv_rule)]
        super().__init__(model, rule=rules, **kwargs)

    def _create_analysis(self, *args, **kwargs):
        if self._residual_rule:
            for condition, mapping in residual.conditional_mappings(self._residual_rule):
                self._add_conditional_reverse_mapping(condition, mapping, priority=10)
        return super()._create_analysis(*args, **kwargs)


def _alpha_beta(alpha, beta):
    rule = partial(relevance_rule.AlphaBetaRule, alpha=alpha, beta=beta)
    return RuleLRP, dict(conv_rule=rule, dense_rule=rule, residual_rule=rule)


def _cmp(alpha, beta):
    rule = partial(relevance_rule.AlphaBetaRule, alpha=alpha, beta=beta)
    epsilon = partial(relevance_rule.EpsilonRule, epsilon=CMP_EPSILON)
    return RuleLRP, dict(conv_rule=rule, dense_rule=epsilon, residual_rule=rule)


def _single_rule(rule, **settings):
    rule = partial(rule, **settings)
    return RuleLRP, dict(conv_rule=rule, dense_rule=rule)


# method -> function (options, patterns) -> (innvestigate class, its arguments)
METHODS = {
    "gradient": lambda options, patterns: (gradient_based.Gradient, {}),
    "guided_backprop": lambda options, patterns: (gradient_based.GuidedBackprop, {}),
    "deconvnet": lambda options, patterns: (gradient_based.Deconvnet, {}),
    "rectgrad": lambda options, patterns: (RectGrad, dict(percentile=options.get("percentile", 98.0))),
    "deep_taylor": lambda options, patterns: (deeptaylor.BoundedDeepTaylor, _bounds(options)),
    "lrp_z": lambda options, patterns: _single_rule(relevance_rule.ZRule),
    "lrp_epsilon": lambda options, patterns: _single_rule(relevance_rule.EpsilonRule, epsilon=options.get("epsilon", 1e-7)),
    "lrp_alpha1_beta0": lambda options, patterns: _alpha_beta(1, 0),
    "lrp_alpha2_beta1": lambda options, patterns: _alpha_beta(2, 1),
    "lrp_alpha5_beta4": lambda options, patterns: _alpha_beta(5, 4),
    "lrp_cmp_alpha1_beta0": lambda options, patterns: _cmp(1, 0),
    "lrp_cmp_alpha2_beta1": lambda options, patterns: _cmp(2, 1),
    "pattern_net": lambda options, patterns: (pattern_based.PatternNet, _given(patterns)),
    "pattern_attribution": lambda options, patterns: (pattern_based.PatternAttribution, _given(patterns)),
}
PATTERN_METHODS = ("pattern_net", "pattern_attribution")


def _given(patterns):
    if not patterns:
        raise Unsupported("The pattern methods need patterns: pattern_000, pattern_001, … in the job's arrays.")
    return dict(patterns=patterns)


def _bounds(options):
    if options.get("low") is None or options.get("high") is None:
        raise Unsupported("deep_taylor needs the range of the images in its options `low` and `high`.")
    return {end: np.asarray(options[end], "float32") for end in ("low", "high")}


class Analysis:
    """One method's reversed graph of one network.

    Args:
        network: `network.Network` with its weights loaded.
        method: key of `METHODS`.
        options: the method's own.
        patterns: for the pattern methods, one array per layer with a kernel, in node order.

    Raises:
        Unsupported: when innvestigate 1.0.8 does not apply the method to such a network.
    """

    def __init__(self, network, method, options, patterns=()):
        _check_activations(network.model, method)
        analyzer_class, arguments = METHODS[method](options, patterns and _in_model_order(network, patterns))
        injectable = type(analyzer_class.__name__, (Injectable, analyzer_class), {})
        self._network = network
        with network.active():
            try:
                self._analyzer = injectable(network.model, **arguments)
                self._analyzer._create_analysis(network.model)
            except (base.NotAnalyzeableModelException, NotImplementedError) as error:
                raise Unsupported("innvestigate 1.0.8 does not apply {} here: {}".format(method, str(error).split("\n")[0]))

    def relevance(self, images, vectors, start, at):
        """Relevance at the nodes `at` for the vectors injected at the node `start`; one row per image and vector."""
        head = self._analyzer.head
        feeds = {self._network.model.input: images, head: np.zeros((len(images),) + K.int_shape(head)[1:], "float32")}
        feeds[self._reversed_tensor(start)] = vectors
        return self._network.run([self._reversed_tensor(node) for node in at], feeds)

    def _reversed_tensor(self, node):
        return self._analyzer.reversed_tensors[self._network.tensor(node)]["final_tensor"]


def _check_activations(model, method):
    refused = UNKNOWN_ACTIVATIONS + ((keras.layers.ReLU,) if method == "deconvnet" else ())  # it strips activations off by argument
    for layer in model.layers:
        if isinstance(layer, refused):
            raise Unsupported("innvestigate 1.0.8 has no {} for a {} layer.".format(method, type(layer).__name__))


def _in_model_order(network, patterns):
    """Patterns given in the order of the network's nodes, in the order of the Keras model's layers, which may differ."""
    nodes = [layer["name"] for layer in network.config["layers"]]
    kernels = [layer.name for layer in network.model.layers if checks.contains_kernel(layer)]
    if len(patterns) != len(kernels):
        raise Unsupported("This network has {} layers with a kernel, but {} patterns came.".format(len(kernels), len(patterns)))
    given = dict(zip(sorted(kernels, key=nodes.index), patterns))
    return [given[name] for name in kernels]
