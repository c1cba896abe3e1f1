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
from wel.innvestigate.rules import AlphaBetaRule, AlphaBetaX2m100Rule, BoundedRule, EpsilonRule, ZPlusRule, checked, rule_of
from wel.methods.composites import Given
from wel.methods.fitting import ESTIMATORS
from wel.methods.layered import Layered
from wel.methods.registry import GIVEN, METHODS, Method
from wel.networks.graph import Graph, Node
from wel.networks.kinds import KERNELS
from wel.rules import gradient, lrp
from wel.rules.base import Rule
from wel.rules.parts import Part

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
    return Asked(None, semantics, stddev=checked("stddev", stddev, 0))


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
    return _gradient(semantics, postprocess, "smoothgrad", samples=augment_by_n, noise_scale=checked("noise_scale", noise_scale, 0))


def _plain(semantics: str, name: str) -> Asked:
    return Asked(METHODS[name], semantics)


def _lrp(semantics: str, kernel: Any, batch_norm: Any = None, dense: Any = None, **placed: Any) -> Asked:
    """LRP with these rules of innvestigate's; BatchNormalization has that of kernels by default, in `corrected` Add too.

    Args:
        kernel: a rule, or a mapping from names of layers to the rules of their kernels, all of them.
        placed: keywords of `_placed`.
    """
    own = tuple((name, rule_of("rule", one, semantics)) for name, one in kernel.items()) if isinstance(kernel, Mapping) else ()
    rule = lrp.Z() if own else rule_of("rule", kernel, semantics)
    at_norm = rule if batch_norm is None else rule_of("bn_layer_rule", batch_norm, semantics)
    dense = dense and rule_of("rule", dense, semantics)
    at_input, until, fused = _placed(semantics, **placed)
    add = lrp.Z() if semantics == "paper" else rule
    return Asked(GIVEN, semantics, {"rules": Given(rule, fused(at_norm), add, dense, at_input, own + until)})


def _placed(
    semantics: str,
    input_layer_rule: Any = None,
    until_layer_idx: Sequence[str] = (),
    until_layer_rule: Any = None,
    bn_layer_fuse_mode: str = "one_linear",
) -> tuple[Rule | None, tuple[tuple[str, Rule], ...], Callable[[Rule], Rule]]:
    """What every LRP takes: the rule at the input, those of the first layers by name, and what is made of BatchNormalization's."""
    if bn_layer_fuse_mode not in tuple(FUSED):
        raise invalid("bn_layer_fuse_mode", bn_layer_fuse_mode, one_of(FUSED))
    at_input = None if input_layer_rule is None else rule_of("input_layer_rule", _bounds(input_layer_rule), semantics)
    rule = None if until_layer_rule is None else rule_of("until_layer_rule", until_layer_rule, semantics)
    until = () if rule is None else tuple((name, rule) for name in until_layer_idx)
    return at_input, until, FUSED[bn_layer_fuse_mode] if semantics == "paper" else lambda rule: rule


FUSED: Mapping[str, Callable[[Rule], Rule]] = {"one_linear": lrp.Fused, "two_linear": lrp.FusedTwice}


def _lrp_by_name(semantics: str, rule: Any = None, bn_layer_rule: Any = None, **placed: Any) -> Asked:
    if bn_layer_rule is not None or semantics != "paper":
        return _lrp(semantics, rule, bn_layer_rule, **placed)
    asked = _lrp(semantics, rule, **placed)
    return asked._replace(options={"rules": replace(asked.options["rules"], batch_norm=lrp.PaperBatchNorm())})


def _lrp_fixed(semantics: str, rule: str, **placed: Any) -> Asked:
    return _lrp(semantics, rule, **placed)


def _lrp_epsilon(semantics: str, epsilon: float = 1e-7, bias: bool = True, **placed: Any) -> Asked:
    return _lrp(semantics, EpsilonRule(epsilon=epsilon, bias=bias), **placed)


def _lrp_epsilon_ib(semantics: str, epsilon: float = 1e-7, **placed: Any) -> Asked:
    return _lrp_epsilon(semantics, epsilon, False, **placed)


def _lrp_alpha_beta(semantics: str, alpha: float | None = None, beta: float | None = None, bias: bool = True, **placed: Any) -> Asked:
    return _lrp(semantics, AlphaBetaRule(alpha=alpha, beta=beta, bias=bias), **placed)


def _preset(semantics: str, convolution: str, epsilon: float = 0.1, bn_layer_rule: Any = AlphaBetaX2m100Rule, **placed: Any) -> Asked:
    """LRP-ε at dense layers, αβ at convolutions."""
    return _lrp(semantics, convolution, bn_layer_rule, EpsilonRule(epsilon=epsilon), **placed)


def _preset_until(
    semantics: str,
    epsilon: float = 0.1,
    until_layer_idx: Sequence[str] = (),
    bn_layer_rule: Any = AlphaBetaX2m100Rule,
    bn_layer_fuse_mode: str = "one_linear",
) -> Asked:
    """Preset B with the flat rule at the input and at the layers of these names."""
    placed = {"input_layer_rule": "Flat", "until_layer_idx": until_layer_idx, "until_layer_rule": "Flat"}
    return _preset(semantics, "Alpha2Beta1", epsilon, bn_layer_rule, bn_layer_fuse_mode=bn_layer_fuse_mode, **placed)


def _deep_taylor(semantics: str) -> Asked:
    return _taylor(semantics, None)


def _deep_taylor_bounded(semantics: str, low: float | None = None, high: float | None = None) -> Asked:
    return _taylor(semantics, BoundedRule(low=low, high=high).of(semantics))


def _taylor(semantics: str, at_input: Rule | None) -> Asked:
    kernel = ZPlusRule().of(semantics)
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
    "lrp.sequential_preset_a": partial(_preset, convolution="Alpha1Beta0"),
    "lrp.sequential_preset_b": partial(_preset, convolution="Alpha2Beta1"),
    "lrp.sequential_preset_a_flat": partial(_preset, convolution="Alpha1Beta0", input_layer_rule="Flat"),
    "lrp.sequential_preset_b_flat": partial(_preset, convolution="Alpha2Beta1", input_layer_rule="Flat"),
    "lrp.sequential_preset_b_flat_until_idx": _preset_until,
    "deep_taylor": _deep_taylor,
    "deep_taylor.bounded": _deep_taylor_bounded,
    "deep_lift.wrapper": _deep_lift,
    "pattern.net": partial(_pattern, name="pattern_net"),
    "pattern.attribution": partial(_pattern, name="pattern_attribution"),
}


def _is_relu(part: Part) -> bool:
    return part.is_relu


AT_RELUS = {"guided_backprop": gradient.Guided(), "deconvnet": gradient.Deconvolved()}


def unchecked(asked: Asked) -> Asked:
    """The same without a check of activation functions: Guided Backprop and Deconvnet have the gradient at what is no ReLU."""
    rule = AT_RELUS.get(asked.method.name) if asked.method else None
    if rule is None:
        return asked
    return asked._replace(method=GIVEN, options={"rules": Layered(((_is_relu, rule),), "gradient")})


class UnknownAnalyzer(WelError, KeyError):
    """A name that no analyzer has; innvestigate raises KeyError for it."""

    __str__ = Exception.__str__


def keywords_of(name: str) -> list[str]:
    """An analyzer's own keywords, those that its name settles left out, in the order in which they may be given without their names.

    Raises:
        WelError: for a name that there is not.
    """
    if name not in tuple(analyzers):
        raise UnknownAnalyzer(f"Invalid value for `name`: {name!r}. Expected {one_of(analyzers)}.")
    found = analyzers[name]
    keys = [*signature(found).parameters, *(signature(_placed).parameters if "placed" in signature(found).parameters else ())]
    settled = found.keywords if isinstance(found, partial) else {}
    return [key for key in keys if key not in ("semantics", "placed", "options", *settled)]


def asked_for(name: str, model: Any, semantics: str, keywords: Mapping[str, Any], graph: Graph) -> Asked:
    """What an analyzer asks of wel for a model.

    Args:
        name: one of `analyzers`.
        model: whose `layers` an `until_layer_idx` counts.
        semantics: "paper" or "corrected".
        keywords: the analyzer's own.
        graph: the model's.

    Raises:
        WelError: for a name or keyword that there is not, or a value that cannot be used.
    """
    known = keywords_of(name)
    for key in keywords:
        if key not in known:
            raise invalid("kwargs", key, f"for {name}: {one_of(known) if known else 'none'}")
    settled = dict(keywords)
    if settled.get("until_layer_idx") is not None:
        settled["until_layer_idx"] = _names_until(model.layers, settled["until_layer_idx"], graph)
    if isinstance(settled.get("rule"), Mapping):
        raise invalid("rule", settled["rule"], "a rule, or a list of them")
    if isinstance(settled.get("rule"), (list, tuple)) and settled["rule"]:
        settled = _by_layer(settled, model.layers, graph, semantics)
    return analyzers[name](semantics, **{key: value for key, value in settled.items() if key != "until_layer_idx" or value is not None})


def _names_until(layers: Sequence[Any], index: int, graph: Graph) -> list[str]:
    """The names of the calls of a model's first layers, the one at the index included, counted as `model.layers` has them."""
    check_whole("until_layer_idx", index, 0)
    if index >= len(layers):
        raise invalid("until_layer_idx", index, f"at most {len(layers) - 1}, the model's last layer")
    first = set(map(id, layers[: index + 1]))
    return [node.name for node in graph.nodes if id(node.layer) in first]


def _by_layer(keywords: dict[str, Any], layers: Sequence[Any], graph: Graph, semantics: str) -> dict[str, Any]:
    """The keywords with a list of rules as {layer: rule}: of pairs (condition, rule) the first that holds, or one rule for each kernel.

    innvestigate puts the rule at the input before the list, and hands it out backwards: the first kernel has the last rule. In `corrected`
    the first kernel has the first, or that at the input, for which the list may be one shorter.
    """
    rules, calls = list(keywords["rule"]), [node for node in graph.nodes if node.kind in KERNELS]
    kernels = _in_order([id(node.layer) for node in calls], [id(layer) for layer in layers])
    if any(isinstance(rule, tuple) for rule in rules):
        if not all(isinstance(rule, tuple) and len(rule) == 2 and callable(rule[0]) for rule in rules):
            raise invalid("rule", rules, "pairs (condition, rule) throughout, the condition a function of a layer")
        return {**keywords, "rule": {node.name: _first_rule(rules, node) for node in calls}}
    if keywords.get("until_layer_rule") is not None:
        raise invalid("until_layer_rule", keywords["until_layer_rule"], "None with a list of rules, which says what each layer has")
    at_input = keywords.get("input_layer_rule")
    if len(rules) != len(kernels) and (at_input is None or len(rules) != len(kernels) - 1):
        raise invalid("rule", rules, f"a rule for each of the {len(kernels)} layers with a kernel, or pairs (condition, rule)")
    if semantics == "corrected":
        of_layer = dict(zip(reversed(kernels), reversed(rules)))
        return {**keywords, "rule": {node.name: of_layer[id(node.layer)] for node in calls if id(node.layer) in of_layer}}
    of_layer = dict(zip(kernels, reversed(rules if at_input is None else [_bounds(at_input), *rules])))
    return {**keywords, "input_layer_rule": None, "rule": {node.name: of_layer[id(node.layer)] for node in calls}}


def _in_order(found: Sequence[int], layers: Sequence[int]) -> list[int]:
    """Each of what was found once, as `model.layers` has them; in the order of the calls where some lie in a model within the model."""
    return [layer for layer in layers if layer in found] if set(found) <= set(layers) else list(dict.fromkeys(found))


def _bounds(rule: Any) -> Any:
    """The rule at the input; a pair of numbers is zᴮ's bounds."""
    return BoundedRule(None, None, *rule) if isinstance(rule, tuple) and len(rule) == 2 else rule


def _first_rule(pairs: Sequence[tuple[Callable[[Any], bool], Any]], node: Node) -> Any:
    for condition, rule in pairs:
        if condition(node.layer):
            return rule
    raise WelError(f"Invalid value for `rule`: no condition holds for layer '{node.name}' ({node.kind}). Expected a rule for each kernel.")
