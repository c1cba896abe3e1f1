"""Which innvestigate analyzer computes which method, and what has to be mended in it.

The analyzers themselves are the installed package's. Added here: RectGrad (Kim et al. 2019), CMP, ReLU layers, zᴮ behind padding, and the
treatment of Add and BatchNormalization (`wel.backends.innvestigate.residual`).
"""

from __future__ import annotations

import innvestigate.backend as ibackend
import innvestigate.backend.checks as ichecks
import tensorflow as tf
from innvestigate.analyzer.deeptaylor import BoundedDeepTaylor
from innvestigate.analyzer.gradient_based import Deconvnet, Gradient, GuidedBackprop
from innvestigate.analyzer.relevance_based.relevance_analyzer import LRP, AveragePoolingReverseLayer
from innvestigate.analyzer.relevance_based.relevance_rule import Alpha1Beta0IgnoreBiasRule, ZRule
from innvestigate.analyzer.reverse_base import ReverseAnalyzerBase
from tensorflow.keras import layers as klayers

from wel.backends.innvestigate.pattern_rules import PatternAttribution, PatternNet
from wel.backends.innvestigate.residual import (
    PaperLinearBatchNorm,
    add_rule,
    affine_map,
    alpha_beta_rule,
    batch_norm_rule,
    bounded_rule,
    epsilon_rule,
    linear_add,
    linear_batch_norm,
)
from wel.backends.worker import Unsupported
from wel.networks.kinds import NO_OVERSHOOT, SHAPES, activation_name

# above innvestigate's own mappings (-1), below the input layer's rule of Deep Taylor (10); and above that too
FIRST, BEFORE_ALL = 5, 11
ACTIVATION_LAYERS = (klayers.ReLU, klayers.LeakyReLU, klayers.PReLU, klayers.ELU, klayers.ThresholdedReLU)


def _is_relu(layer) -> bool:
    return ichecks.contains_activation(layer, "relu")


def _pass_on(Xs, Ys, Rs, state):
    return Rs


class _Gradient(Gradient):
    def __init__(self, model, semantics: str, **kwargs):
        super().__init__(model, **kwargs)


class _GuidedBackprop(GuidedBackprop):
    def __init__(self, model, semantics: str, **kwargs):
        super().__init__(model, **kwargs)


def _deconvnet_relu_layer(Xs, Ys, Rs, state):
    return [tf.nn.relu(R) for R in Rs]


class _Deconvnet(Deconvnet):
    """innvestigate's Deconvnet, which fails on ReLU layers: they hold no activation to remove."""

    def __init__(self, model, semantics: str, **kwargs):
        super().__init__(model, **kwargs)

    def _create_analysis(self, *args, **kwargs):
        self._add_conditional_reverse_mapping(lambda layer: isinstance(layer, klayers.ReLU), _deconvnet_relu_layer, priority=FIRST)
        return super()._create_analysis(*args, **kwargs)


class _RectGrad(ReverseAnalyzerBase):
    """RectGrad: at a ReLU with output a, gradient R is kept where a·R is above its percentile over h·w·c of that image, else 0.

    The percentile is the nearest rank; then follows the layer's own gradient, the ReLU's mask included.
    """

    def __init__(self, model, semantics: str, percentile: float, **kwargs):
        super().__init__(model, **kwargs)
        self._percentile = percentile

    def _create_analysis(self, *args, **kwargs):
        self._add_conditional_reverse_mapping(_is_relu, self._keep_important, name="rectgrad")
        return super()._create_analysis(*args, **kwargs)

    def _keep_important(self, Xs, Ys, Rs, state):
        kept = [tf.where(Y * R > self._threshold(Y * R), R, tf.zeros_like(R)) for Y, R in zip(Ys, Rs)]
        return self._gradient_reverse_mapping(Xs, Ys, kept, state)

    def _threshold(self, importance):
        flat = tf.reshape(importance, (tf.shape(importance)[0], -1))
        last = tf.cast(tf.shape(flat)[1] - 1, tf.float64)
        from_top = tf.cast(tf.round(last * (1 - self._percentile / 100)), tf.int32)
        value = tf.sort(flat, direction="DESCENDING")[:, from_top]
        return tf.reshape(value, [-1] + [1] * (importance.shape.rank - 1))


class _DeepTaylor(BoundedDeepTaylor):
    """Bounded Deep Taylor without the ReLU that innvestigate appends to the outputs; BatchNormalization passes relevance on.

    `paper`: α1β0 with the bias, as 1.0.8 has it (2.1.2 leaves the bias out, 13 % apart); Add passes relevance to each input.
    `corrected`: z⁺ without bias as published, Add included; the bounds are followed through layers that move or rescale the input.
    """

    def __init__(self, model, semantics: str, low: float, high: float, **kwargs):
        super().__init__(model, low=low, high=high, **kwargs)
        self._paper = semantics == "paper"

    def _create_analysis(self, *args, **kwargs):
        rule = alpha_beta_rule(1, 0, "paper") if self._paper else Alpha1Beta0IgnoreBiasRule
        add = self._gradient_reverse_mapping if self._paper else add_rule(1, 0, "corrected")
        for condition, mapping in (
            (ichecks.contains_kernel, rule),
            (ichecks.is_batch_normalization_layer, _pass_on),
            (ichecks.is_add_layer, add),
            (lambda layer: isinstance(layer, klayers.ReLU), self._gradient_reverse_mapping),
        ):
            self._add_conditional_reverse_mapping(condition, mapping, priority=FIRST)
        if not self._paper:
            self._add_conditional_reverse_mapping(self._is_at_input, self._bounded, priority=BEFORE_ALL)
        return super()._create_analysis(*args, **kwargs)

    def _is_at_input(self, layer) -> bool:
        return ichecks.contains_kernel(layer) and self._ends(*_sources(layer)) is not None

    def _bounded(self, layer, state):
        return bounded_rule(layer, *self._ends(*_sources(layer)))

    def _ends(self, layer) -> tuple[tf.Tensor, tf.Tensor] | None:
        """The least and the largest value of every number that a layer puts out, (1, *shape) each, if they are the input's."""
        if isinstance(layer, klayers.InputLayer):
            shape = (1, *layer.output.shape[1:])
            return tf.fill(shape, tf.constant(self._bounds_low, tf.float32)), tf.fill(shape, tf.constant(self._bounds_high, tf.float32))
        sources = [self._ends(source) for source in _sources(layer)] if _moves(layer) else [None]
        if any(ends is None for ends in sources):
            return None
        one, other = (affine_map(layer, list(several)) for several in zip(*sources))
        return tf.minimum(one, other), tf.maximum(one, other)


def _sources(layer) -> list:
    return ibackend.to_list(layer.inbound_nodes[0].inbound_layers)


def _moves(layer) -> bool:
    """Whether a layer moves its values or rescales each by itself."""
    kind = type(layer).__name__
    interpolates = getattr(layer, "interpolation", "nearest") not in NO_OVERSHOOT
    linear = kind == "Activation" and activation_name(layer) == "linear"
    return (kind in SHAPES and not interpolates) or linear or ichecks.is_batch_normalization_layer(layer)


class _LRP(LRP):
    """innvestigate's LRP with Add and BatchNormalization under the method's own rule.

    In `corrected` all activation layers pass relevance on, and Average shares it as average pooling does. In `paper` that is left to
    innvestigate: Activation layers pass it on, all others of them and Average by their gradient.
    """

    def __init__(self, model, semantics: str, rules, add, batch_norm, **kwargs):
        super().__init__(model, rule=rules, **kwargs)
        self._corrected = semantics == "corrected"
        self._add, self._batch_norm = add, batch_norm

    def _create_analysis(self, *args, **kwargs):
        mappings = [(ichecks.is_add_layer, self._add), (ichecks.is_batch_normalization_layer, self._batch_norm)]
        if self._corrected:
            mappings += [(lambda layer: isinstance(layer, ACTIVATION_LAYERS), _pass_on), (_is_average, AveragePoolingReverseLayer)]
        for condition, mapping in mappings:
            self._add_conditional_reverse_mapping(condition, mapping, priority=FIRST)
        return super()._create_analysis(*args, **kwargs)


def _is_average(layer) -> bool:
    return isinstance(layer, klayers.Average)


class _LRPZ(_LRP):
    def __init__(self, model, semantics: str, **kwargs):
        norm = PaperLinearBatchNorm if semantics == "paper" else linear_batch_norm(0.0)
        super().__init__(model, semantics, ZRule, linear_add(0.0), norm, **kwargs)


class _LRPEpsilon(_LRP):
    """LRP-ε; in `paper` Add and BatchNormalization follow innvestigate's z rules, in `corrected` LRP-ε too."""

    def __init__(self, model, semantics: str, epsilon: float, **kwargs):
        paper = semantics == "paper"
        norm = PaperLinearBatchNorm if paper else linear_batch_norm(epsilon)
        super().__init__(model, semantics, epsilon_rule(epsilon), linear_add(0.0 if paper else epsilon), norm, **kwargs)


def _lrp_alpha_beta(alpha: float, beta: float, dense_epsilon: float | None = None) -> type:
    """The LRP analyzer with αβ on every layer with a kernel, or with LRP-ε on dense layers (CMP)."""

    class AlphaBeta(_LRP):
        def __init__(self, model, semantics: str, **kwargs):
            rules = [(lambda layer: True, alpha_beta_rule(alpha, beta, semantics))]
            if dense_epsilon is not None:
                rules.insert(0, (ichecks.is_dense_layer, epsilon_rule(dense_epsilon)))
            add, batch_norm = add_rule(alpha, beta, semantics), batch_norm_rule(alpha, beta, semantics)
            super().__init__(model, semantics, rules, add, batch_norm, **kwargs)

    return AlphaBeta


ANALYZERS = {
    "gradient": _Gradient,
    "guided_backprop": _GuidedBackprop,
    "deconvnet": _Deconvnet,
    "rectgrad": _RectGrad,
    "deep_taylor": _DeepTaylor,
    "pattern_net": PatternNet,
    "pattern_attribution": PatternAttribution,
    "lrp_z": _LRPZ,
    "lrp_epsilon": _LRPEpsilon,
    "lrp_alpha1_beta0": _lrp_alpha_beta(1, 0),
    "lrp_alpha2_beta1": _lrp_alpha_beta(2, 1),
    "lrp_alpha5_beta4": _lrp_alpha_beta(5, 4),
    "lrp_cmp_alpha1_beta0": _lrp_alpha_beta(1, 0, dense_epsilon=1e-10),
    "lrp_cmp_alpha2_beta1": _lrp_alpha_beta(2, 1, dense_epsilon=1e-10),
}


def analyzer_class(method: str) -> type:
    """The analyzer of a method.

    Raises:
        Unsupported: when innvestigate does not compute the method.
    """
    if method not in ANALYZERS:
        raise Unsupported(f"Method '{method}' is not computed by the innvestigate backend.")
    return ANALYZERS[method]
