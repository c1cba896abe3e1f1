"""What each of innvestigate's names stands for in wel: a method, its rules and its options.

An entry of `analyzers` is a function (semantics, the analyzer's own keywords) -> `Asked`. With `semantics` "paper" the numbers are those of
innvestigate 2.1.2, which are not `paper` everywhere in wel, where the stack of the paper is 1.0.8:

    integrated gradients    the way begins at the reference, not at x
    Deep Taylor             without bias; bounded only by its own name; begins at max(0, logit)
    LRP                     BatchNormalization is one linear layer (`wel.rules.lrp.Fused`) under the rule of kernels; Add has LRP-z,
                            whatever the others have
    SmoothGrad              noise N(0, noise_scale²), whatever the range of the image (2.1.2 itself takes 1 for every noise_scale)
"""

from __future__ import annotations

from dataclasses import replace
from functools import partial
from inspect import signature
from typing import Any, Callable, Mapping, NamedTuple, Sequence

import numpy as np

from wel.errors import WelError, check_whole, invalid, one_of
from wel.methods.composites import Given
from wel.methods.fitting import ESTIMATORS
from wel.methods.options import Number
from wel.methods.registry import GIVEN, METHODS, Method
from wel.rules import gradient, lrp
from wel.rules.base import Rule

POSTPROCESSING: Mapping[str | None, Callable] = {None: lambda maps: maps, "abs": np.abs, "square": np.square}


class Asked(NamedTuple):
    """What an analyzer asks of wel.

    Attributes:
        method: the method; None for what is no method of wel, the input and the input with noise.
        semantics: its semantics.
        options: its options, not settled yet.
        postprocess: what is done to gradients: None, "abs" or "square".
        positive: whether relevance begins at max(0, logit).
        stddev: of the noise that is added to the input.
        estimator: of patterns (`wel.fit_patterns`).
    """

    method: Method | None
    semantics: str
    options: dict[str, Any] = {}
    postprocess: str | None = None
    positive: bool = False
    stddev: float = 0.0
    estimator: str = "relu.positive"


def _input(semantics: str) -> Asked:
    return Asked(None, semantics)


def _random(semantics: str, stddev: float = 1.0) -> Asked:
    return Asked(None, semantics, stddev=_number("stddev", stddev, 0))


def _gradient(semantics: str, postprocess: str | None = None, name: str = "gradient", **options: Any) -> Asked:
    if postprocess not in tuple(POSTPROCESSING):
        raise invalid("postprocess", postprocess, "None, 'abs' or 'square'")
    return Asked(METHODS[name], semantics, options, postprocess)


def _input_t_gradient(semantics: str, postprocess: str | None = None) -> Asked:
    return _gradient(semantics, postprocess, "input_x_gradient")


def _integrated_gradients(semantics: str, steps: int = 64, reference_inputs: Any = 0, postprocess: str | None = None) -> Asked:
    check_whole("steps", steps, 1)
    rule = {"rule": "left"} if semantics == "paper" else {}
    return _gradient("corrected", postprocess, "integrated_gradients", steps=steps, reference=reference_inputs, **rule)


def _smoothgrad(semantics: str, augment_by_n: int = 64, noise_scale: float = 1.0, postprocess: str | None = None) -> Asked:
    check_whole("augment_by_n", augment_by_n, 1)
    return _gradient(semantics, postprocess, "smoothgrad", samples=augment_by_n, noise_scale=_number("noise_scale", noise_scale, 0))


def _plain(semantics: str, name: str) -> Asked:
    return Asked(METHODS[name], semantics)


def _number(name: str, value: Any, least: float) -> float:
    return Number(least=least).settled(name, value, np.empty(0))


def _alpha_beta_rule(semantics: str, alpha: float, beta: float, bias: bool = True) -> Rule:
    if semantics == "paper":
        return lrp.AlphaBeta(alpha, beta, "both" if bias else "none", two_kernels=None if bias else "each")
    return lrp.AlphaBeta(alpha, beta, "split" if bias else "none")


RULES: Mapping[str, Callable[[str], Rule]] = {
    "Z": lambda semantics: lrp.Z(),
    "ZIgnoreBias": lambda semantics: lrp.Unbiased(),
    "Epsilon": lambda semantics: lrp.Epsilon(1e-7),
    "EpsilonIgnoreBias": lambda semantics: lrp.Unbiased(1e-7),
    "WSquare": lambda semantics: lrp.WSquare(),
    "Flat": lambda semantics: lrp.Flat(),
    "Alpha2Beta1": lambda semantics: _alpha_beta_rule(semantics, 2, 1),
    "Alpha2Beta1IgnoreBias": lambda semantics: _alpha_beta_rule(semantics, 2, 1, False),
    "Alpha1Beta0": lambda semantics: _alpha_beta_rule(semantics, 1, 0),
    "Alpha1Beta0IgnoreBias": lambda semantics: _alpha_beta_rule(semantics, 1, 0, False),
    "ZPlus": lambda semantics: _alpha_beta_rule(semantics, 1, 0, False),
    "ZPlusFast": lambda semantics: lrp.ZPlusFast(),
    "Bounded": lambda semantics: _bounded(semantics, -1, 1),
}


def _named(argument: str, name: Any, semantics: str) -> Rule:
    if not isinstance(name, str) or name not in RULES:
        raise invalid(argument, name, one_of(RULES))
    return RULES[name](semantics)


def _bounded(semantics: str, low: Any, high: Any) -> Rule:
    for name, value in (("low", low), ("high", high)):
        if value is None:
            raise WelError(f"Invalid value for `{name}`: None. Expected a number, the end of the range of the inputs.")
    ends = Number().settled("low", low, np.empty(0)), Number().settled("high", high, np.empty(0))
    if ends[0] > ends[1]:
        raise invalid("low", low, f"at most `high`, {high}")
    return lrp.Bounded(*ends, two_kernels="each" if semantics == "paper" else None)


def _lrp(
    semantics: str,
    kernel: Rule,
    batch_norm: Rule | None = None,
    dense: Rule | None = None,
    input_layer_rule: str | Sequence[float] | None = None,
) -> Asked:
    """LRP with these rules; in `corrected` BatchNormalization and Add have the rule of kernels."""
    at_input = None if input_layer_rule is None else _at_input(input_layer_rule, semantics)
    paper = Given(kernel, batch_norm or lrp.Fused(kernel), lrp.Z(), dense, at_input)
    return Asked(GIVEN, semantics, {"rules": paper if semantics == "paper" else Given(kernel, kernel, kernel, dense, at_input)})


def _at_input(chosen: Any, semantics: str) -> Rule:
    if isinstance(chosen, tuple) and len(chosen) == 2:
        return _bounded(semantics, *chosen)
    return _named("input_layer_rule", chosen, semantics)


def _lrp_by_name(semantics: str, rule: str | None = None, input_layer_rule: Any = None, bn_layer_rule: str | None = None) -> Asked:
    batch_norm = lrp.PaperBatchNorm() if bn_layer_rule is None else lrp.Fused(_named("bn_layer_rule", bn_layer_rule, semantics))
    return _lrp(semantics, _named("rule", rule, semantics), batch_norm, input_layer_rule=input_layer_rule)


def _lrp_fixed(semantics: str, rule: str, input_layer_rule: Any = None) -> Asked:
    return _lrp(semantics, _named("rule", rule, semantics), input_layer_rule=input_layer_rule)


def _lrp_epsilon(semantics: str, epsilon: float = 1e-7, bias: bool = True, input_layer_rule: Any = None) -> Asked:
    epsilon = Number(above=0).settled("epsilon", epsilon, np.empty(0))
    return _lrp(semantics, lrp.Epsilon(epsilon) if bias else lrp.Unbiased(epsilon), input_layer_rule=input_layer_rule)


def _lrp_epsilon_ib(semantics: str, epsilon: float = 1e-7, input_layer_rule: Any = None) -> Asked:
    return _lrp_epsilon(semantics, epsilon, False, input_layer_rule)


def _lrp_alpha_beta(
    semantics: str, alpha: float | None = None, beta: float | None = None, bias: bool = True, input_layer_rule: Any = None
) -> Asked:
    """α and β with α − β = 1, α ≥ 1 and β ≥ 0, of which one is enough."""
    if alpha is None and beta is None:
        raise WelError("Invalid value for `alpha`: None. Expected `alpha`, a number from 1 on, or `beta`, a number from 0 on.")
    alpha = _number("beta", beta, 0) + 1 if alpha is None else _number("alpha", alpha, 1)
    beta = alpha - 1 if beta is None else _number("beta", beta, 0)
    if alpha - beta != 1:
        raise invalid("beta", beta, f"`alpha` − 1, {alpha - 1:g}")
    return _lrp(semantics, _alpha_beta_rule(semantics, alpha, beta, bias), input_layer_rule=input_layer_rule)


def _preset(semantics: str, convolution: str, at_input: str | None = None, epsilon: float = 0.1) -> Asked:
    """LRP-ε at dense layers, αβ at convolutions, and another rule at the input if one is named."""
    dense = lrp.Epsilon(Number(above=0).settled("epsilon", epsilon, np.empty(0)))
    return _lrp(semantics, _named("rule", convolution, semantics), lrp.Fused(lrp.Excess()), dense, at_input)


def _preset_until(semantics: str, epsilon: float = 0.1, until_layer_idx: Sequence[str] = ()) -> Asked:
    """Preset B with the flat rule at the input and at the layers of these names."""
    asked = _preset(semantics, "Alpha2Beta1", "Flat", epsilon)
    given = replace(asked.options["rules"], until=frozenset(until_layer_idx), until_rule=lrp.Flat())
    return asked._replace(options={"rules": given})


def _deep_taylor(semantics: str) -> Asked:
    return _taylor(semantics, None)


def _deep_taylor_bounded(semantics: str, low: float | None = None, high: float | None = None) -> Asked:
    return _taylor(semantics, _bounded(semantics, low, high))


def _taylor(semantics: str, at_input: Rule | None) -> Asked:
    kernel = _alpha_beta_rule(semantics, 1, 0, False)
    batch_norm = gradient.Transposed() if semantics == "paper" else gradient.Unchanged()
    return Asked(GIVEN, semantics, {"rules": Given(kernel, batch_norm, at_input=at_input, taylor=True)}, positive=True)


def _deep_lift(semantics: str, nonlinear_mode: str = "rescale", reference_inputs: Any = 0) -> Asked:
    modes = {"rescale": "deeplift_rescale", "reveal_cancel": "deeplift_reveal_cancel"}
    if nonlinear_mode not in tuple(modes):
        raise invalid("nonlinear_mode", nonlinear_mode, one_of(modes))
    return Asked(METHODS[modes[nonlinear_mode]], semantics, {"reference": reference_inputs})


def _pattern(semantics: str, name: str, patterns: Sequence[np.ndarray] | None = None, pattern_type: str | None = None) -> Asked:
    estimators = {None: "relu.positive", "relu": "relu.positive", **{estimator: estimator for estimator in ESTIMATORS}}
    if pattern_type not in tuple(estimators):
        raise invalid("pattern_type", pattern_type, f"None, 'relu', or {one_of(ESTIMATORS)}")
    options = {} if patterns is None else {"patterns": patterns}
    return Asked(METHODS[name], semantics, options, estimator=estimators[pattern_type])


# name -> function (semantics, the analyzer's own keywords) -> what it asks of wel
analyzers: Mapping[str, Callable[..., Asked]] = {
    "input": _input,
    "random": _random,
    "gradient": partial(_gradient, name="gradient"),
    "gradient.baseline": partial(_gradient, name="gradient"),
    "input_t_gradient": _input_t_gradient,
    "deconvnet": partial(_plain, name="deconvnet"),
    "guided_backprop": partial(_plain, name="guided_backprop"),
    "integrated_gradients": _integrated_gradients,
    "smoothgrad": _smoothgrad,
    "lrp": _lrp_by_name,
    "lrp.z": partial(_lrp_fixed, rule="Z"),
    "lrp.z_IB": partial(_lrp_fixed, rule="ZIgnoreBias"),
    "lrp.epsilon": _lrp_epsilon,
    "lrp.epsilon_IB": _lrp_epsilon_ib,
    "lrp.w_square": partial(_lrp_fixed, rule="WSquare"),
    "lrp.flat": partial(_lrp_fixed, rule="Flat"),
    "lrp.alpha_beta": _lrp_alpha_beta,
    "lrp.alpha_2_beta_1": partial(_lrp_fixed, rule="Alpha2Beta1"),
    "lrp.alpha_2_beta_1_IB": partial(_lrp_fixed, rule="Alpha2Beta1IgnoreBias"),
    "lrp.alpha_1_beta_0": partial(_lrp_fixed, rule="Alpha1Beta0"),
    "lrp.alpha_1_beta_0_IB": partial(_lrp_fixed, rule="Alpha1Beta0IgnoreBias"),
    "lrp.z_plus": partial(_lrp_fixed, rule="ZPlus"),
    "lrp.z_plus_fast": partial(_lrp_fixed, rule="ZPlusFast"),
    "lrp.sequential_preset_a": partial(_preset, convolution="Alpha1Beta0", at_input=None),
    "lrp.sequential_preset_b": partial(_preset, convolution="Alpha2Beta1", at_input=None),
    "lrp.sequential_preset_a_flat": partial(_preset, convolution="Alpha1Beta0", at_input="Flat"),
    "lrp.sequential_preset_b_flat": partial(_preset, convolution="Alpha2Beta1", at_input="Flat"),
    "lrp.sequential_preset_b_flat_until_idx": _preset_until,
    "deep_taylor": _deep_taylor,
    "deep_taylor.bounded": _deep_taylor_bounded,
    "deep_lift.wrapper": _deep_lift,
    "pattern.net": partial(_pattern, name="pattern_net"),
    "pattern.attribution": partial(_pattern, name="pattern_attribution"),
}


def keywords_of(name: str) -> list[str]:
    """An analyzer's own keywords, those that its name settles left out."""
    found = analyzers[name]
    settled = found.keywords if isinstance(found, partial) else {}
    return [key for key, one in signature(found).parameters.items() if key not in ("semantics", *settled) and one.kind != one.VAR_KEYWORD]
