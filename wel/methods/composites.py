"""Composites: which rule each part of a network gets under a method.

A composite is a function of a part. Users add rules of their own with `register_rule`.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any, Callable, Iterable, Mapping

from wel.errors import UnsupportedError, invalid, one_of
from wel.methods.registry import CSC_METHODS, METHODS, Method
from wel.networks.graph import Graph
from wel.networks.kernels import folded_norms, why_no_pattern
from wel.networks.kinds import MAX_POOLINGS, PATTERN_KINDS, SHAPES
from wel.rules import deeplift, gradient, lrp, pattern
from wel.rules import gradient as rectifier
from wel.rules.base import LinearRule, Relevance, Rule
from wel.rules.deeplift import Contributions
from wel.rules.linear_kinds import LINEAR_KINDS
from wel.rules.parts import ACTIVATION, LINEAR, Part, parts_of

CMP_EPSILON = 1e-10
# layers whose gradient every method but DeepLIFT passes relevance by
PASSING = SHAPES | {"Masking", "Multiply", "Maximum", "Minimum"} | MAX_POOLINGS
# a method that only has maps makes them of the relevance of another one; the option `base` says which, where there is one
MADE_OF = {
    **dict.fromkeys(("input_x_gradient", "smoothgrad", "integrated_gradients"), "gradient"),
    **dict.fromkeys(("excitation_backprop", "contrastive_excitation_backprop"), "lrp_alpha1_beta0"),
}
DEEPLIFT = tuple(name for name in CSC_METHODS if name.startswith("deeplift_"))
# (layer, method) -> rule; the method None stands for those that have no rule for the layer
_registered: dict[tuple[str, str | None], Rule] = {}
_registrations = 0


def register_rule(layer: type | str, rule: Rule | None, methods: str | Iterable[str] | None = None) -> None:
    """Gives a kind of layer a rule of your own, in the native backend; the next study uses it.

    Args:
        layer: a layer class or its name, such as "Conv2D"; or the name of an activation function, such as "tanh", which then has
            this rule wherever it stands.
        rule: an instance of a subclass of `wel.Rule`; None takes back what was registered for the layer and these methods.
        methods: names of methods, which then use this rule instead of their own. By default it is for every method that has no
            rule for the layer. DeepLIFT's pass something else down than relevance and have to be named.

    Raises:
        WelError: for something that is not a rule, a rule for linear layers where the layer is not known to be one, or an unknown
            method.
    """
    global _registrations
    name = layer if isinstance(layer, str) else layer.__name__
    chosen = _checked_methods(methods)
    if rule is not None:
        _check_rule(name, rule, chosen)
    for method in chosen:
        _registered.pop((name, method), None)
        if rule is not None:
            _registered[name, method] = rule
    _registrations += 1


def registered_rules() -> dict[str, str]:
    """What users have registered, in words: layer and method -> rule."""
    return {f"{layer}, {method or 'methods without a rule'}": str(rule) for (layer, method), rule in sorted(_registered.items(), key=str)}


def registrations() -> int:
    """How often rules were registered or taken back; what was made before the last time may be of other rules."""
    return _registrations


def _check_rule(layer: str, rule: Rule, methods: Iterable[str | None]) -> None:
    if not isinstance(rule, Rule):
        raise invalid("rule", rule, "an instance of a subclass of wel.Rule")
    if isinstance(rule, LinearRule) and layer not in LINEAR_KINDS:
        raise invalid("rule", str(rule), f"a wel.Rule with `apply` for '{layer}'; a wel.LinearRule is for {one_of(LINEAR_KINDS)}")
    if type(rule).forward is Rule.forward and not set(DEEPLIFT).isdisjoint(methods):
        raise invalid("rule", str(rule), "for DeepLIFT a rule whose `forward` gives differences, as those of wel.rules.deeplift do")


def _checked_methods(methods: str | Iterable[str] | None) -> list[str | None]:
    if methods is None:
        return [None]
    names = [methods] if isinstance(methods, str) else list(methods)
    for name in names:
        if name not in CSC_METHODS:
            raise invalid("methods", name, one_of(CSC_METHODS))
    return names


def rules_for(graph: Graph, method: str, semantics: str, options: Mapping[str, Any]) -> dict[str, tuple[tuple[Part, Rule], ...]]:
    """The parts of every node and their rules, in execution order; of a method that only has maps, those of the method behind it.

    Raises:
        UnsupportedError: naming the first layer that the method has no rule for, and the methods that have one for every layer.
    """
    setting = _Setting(semantics, dict(options), graph, parts_of(graph))
    chosen = _choices(method, setting)
    missing = _without_rule(chosen)
    if missing is not None:
        raise _refusal(method, missing, setting)
    return chosen


def _choices(method: str, setting: _Setting) -> dict[str, tuple[tuple[Part, Rule | None], ...]]:
    made_of = setting.options.get("base") or MADE_OF.get(method, method)
    choose = COMPOSITES[made_of](replace(setting, options={**METHODS[made_of].options, **setting.options}))
    return {name: tuple((part, _rule(made_of, part, choose)) for part in several) for name, several in setting.parts.items()}


def _rule(method: str, part: Part, choose: Callable) -> Rule | None:
    return _own(part, method) or choose(part) or (None if method in DEEPLIFT else _own(part, None))


def _own(part: Part, method: str | None) -> Rule | None:
    rule = _registered.get((part.kind, method)) or _registered.get((_registered_as(part), method))
    # a Normalization over rows is not known as a linear map, so a LinearRule has no weights there
    return None if isinstance(rule, LinearRule) and part.role != LINEAR else rule


def _registered_as(part: Part) -> str:
    return part.activation if part.role == ACTIVATION else part.kind


def _without_rule(choices: Mapping[str, Iterable[tuple[Part, Rule | None]]]) -> Part | None:
    return next((part for several in choices.values() for part, rule in several if rule is None), None)


def _refusal(method: str, part: Part, setting: _Setting) -> UnsupportedError:
    others = {name: replace(setting, options={}) for name in CSC_METHODS}
    applying = [name for name, other in others.items() if _without_rule(_choices(name, other)) is None]
    kind = _registered_as(part)
    reason = f"Method '{method}' has no rule for layer '{part.node.name}' ({kind})."
    return UnsupportedError(reason, f"Expected {one_of(applying)}, or a rule of your own: wel.register_rule({kind!r}, rule).")


def described(pairs: Iterable[tuple[Part, Rule]]) -> str:
    """A node's rules in words, `AlphaBeta(α=1, β=0, bias both); relu => Unchanged` where it has an activation function of its own."""
    return "; ".join(f"{part.kind} => {rule}" if part.fused else str(rule) for part, rule in pairs)


def flow_of(graph: Graph, method: str, semantics: str) -> tuple[Relevance, frozenset[str]]:
    """What goes through a network under a method, and the nodes at which it is divided by its largest absolute value."""
    if method.startswith("deeplift_"):
        return Contributions(split=method == "deeplift_reveal_cancel"), frozenset()
    if method.startswith("pattern_") and semantics == "paper":
        return Relevance(), frozenset(name for name in graph.bottlenecks() if len(graph[name].shape) > 1)
    return Relevance(), frozenset()


@dataclass(frozen=True)
class _Setting:
    semantics: str
    options: dict
    graph: Graph
    parts: dict[str, tuple[Part, ...]]

    @property
    def paper(self) -> bool:
        return self.semantics == "paper"


def _as_gradient(part: Part) -> Rule:
    if part.role == LINEAR:
        return gradient.Transposed()
    return gradient.Derivative() if part.elementwise else gradient.Gradient()


def _gradient(setting: _Setting) -> Callable:
    return _as_gradient


def _rectifier(rule_of: Callable) -> Callable:
    """The gradient with another rule at ReLUs; networks with other activation functions have none."""

    def composite(setting: _Setting) -> Callable:
        rule = rule_of(setting.options)

        def choose(part: Part) -> Rule | None:
            if part.role != ACTIVATION or part.activation == "linear":
                return _as_gradient(part)
            return rule if part.is_relu else None

        return choose

    return composite


def _relevance(rule: Callable, batch_norm: Callable, add: Callable, dense: Callable | None = None) -> Callable:
    """LRP: rules for kernels, BatchNormalization and Add; average pooling by the z rule; activations pass relevance unchanged.

    Rescaling and Normalization get the rule of kernels, which is BatchNormalization's without what innvestigate 1.0.8 made of it:
    that version had no such layers, so `paper` has nothing of its own to repeat.
    """

    def composite(setting: _Setting) -> Callable:
        def choose(part: Part) -> Rule | None:
            if part.has_kernel:
                return (dense if dense and part.node.kind == "Dense" else rule)(setting)
            if part.rescales:
                return rule(setting)
            if part.node.kind == "BatchNormalization":
                return batch_norm(setting)
            if part.node.kind == "Add":
                return add(setting)
            if part.role == LINEAR:
                return lrp.Z()
            if part.role == ACTIVATION:
                return gradient.Unchanged()
            return gradient.Gradient() if part.node.kind in PASSING else None

        return choose

    return composite


def _alpha_beta(alpha: float, beta: float, dense: Callable | None = None) -> Callable:
    def rule(setting: _Setting) -> Rule:
        return lrp.AlphaBeta(alpha, beta, "both" if setting.paper else "split")

    def add(setting: _Setting) -> Rule:
        return lrp.Clipped(rule(setting)) if setting.paper else rule(setting)

    return _relevance(rule, rule, add, dense)


def _cmp(setting: _Setting) -> Rule:
    return lrp.Epsilon(CMP_EPSILON)


def _z(setting: _Setting) -> Rule:
    return lrp.Z()


def _epsilon(setting: _Setting) -> Rule:
    return lrp.Epsilon(setting.options["epsilon"])


def _paper_batch_norm(otherwise: Callable) -> Callable:
    return lambda setting: lrp.PaperBatchNorm() if setting.paper else otherwise(setting)


def _deep_taylor(setting: _Setting) -> Callable:
    """zᴮ on a kernel at the input, α1β0 on the others, BatchNormalization unchanged; `paper` gives each input of Add the whole R.

    Rescaling and Normalization are as BatchNormalization: the kernel behind them is not at the input.
    """
    rule = lrp.AlphaBeta(1, 0, "both" if setting.paper else "none")

    def choose(part: Part) -> Rule | None:
        if part.has_kernel:
            return lrp.Bounded(setting.options["low"], setting.options["high"]) if part.on_input else rule
        if part.node.kind == "BatchNormalization" or part.rescales:
            return gradient.Unchanged()
        if part.fused:
            return gradient.Unchanged() if _relu_or_linear(part) else None
        if part.role == LINEAR:
            return gradient.Transposed() if setting.paper or part.node.kind != "Add" else rule
        if part.role == ACTIVATION:
            return _as_gradient(part) if _relu_or_linear(part) else None
        return gradient.Gradient() if part.node.kind in PASSING else None

    return choose


def _relu_or_linear(part: Part) -> bool:
    return part.is_relu or part.activation == "linear"


def _pattern(attribution: bool) -> Callable:
    def composite(setting: _Setting) -> Callable:
        folded = folded_norms((node.name, node.layer, node.inputs) for node in setting.graph.nodes)

        def choose(part: Part) -> Rule | None:
            if why_no_pattern(part.node.layer):
                return None
            if part.node.name in folded.values():
                return gradient.Unchanged()
            if part.role == LINEAR and part.node.kind in PATTERN_KINDS:
                norm = folded.get(part.node.name)
                return pattern.Pattern(attribution, setting.parts[norm][0] if norm else None)
            return _as_gradient(part)

        return choose

    return composite


def _deep_lift(split: bool, crossing: bool = True) -> Callable:
    def composite(setting: _Setting) -> Callable:
        def choose(part: Part) -> Rule | None:
            kind = part.node.kind
            if part.role == ACTIVATION:
                reveals = split and part.is_relu
                return deeplift.RevealCancel() if reveals else deeplift.Rescale() if part.elementwise else None
            if part.has_kernel:
                return deeplift.LinearDifference(split, crossing)
            if kind == "BatchNormalization" or part.rescales:
                return deeplift.ScaledDifference()
            if kind == "Add":
                return deeplift.LinearDifference(split)
            if part.role == LINEAR or kind in SHAPES:
                return deeplift.PositiveDifference()
            return deeplift.PooledDifference(split, setting.paper) if kind in MAX_POOLINGS else None

        return choose

    return composite


COMPOSITES = {
    "gradient": _gradient,
    "guided_backprop": _rectifier(lambda options: rectifier.Guided()),
    "deconvnet": _rectifier(lambda options: rectifier.Deconvolved()),
    "rectgrad": _rectifier(lambda options: rectifier.Rectified(options["percentile"])),
    "deep_taylor": _deep_taylor,
    "pattern_net": _pattern(attribution=False),
    "pattern_attribution": _pattern(attribution=True),
    "lrp_z": _relevance(_z, _paper_batch_norm(_z), _z),
    "lrp_epsilon": _relevance(_epsilon, _paper_batch_norm(_epsilon), lambda setting: (_z if setting.paper else _epsilon)(setting)),
    "lrp_alpha1_beta0": _alpha_beta(1, 0),
    "lrp_alpha2_beta1": _alpha_beta(2, 1),
    "lrp_alpha5_beta4": _alpha_beta(5, 4),
    "lrp_cmp_alpha1_beta0": _alpha_beta(1, 0, _cmp),
    "lrp_cmp_alpha2_beta1": _alpha_beta(2, 1, _cmp),
    "deeplift_reveal_cancel": _deep_lift(split=True),
    "deeplift_rescale": _deep_lift(split=False),
    "deeplift_ablation": _deep_lift(split=False, crossing=False),
}


def why_not(method: Method, graph: Graph) -> str | None:
    """Why the native engine cannot compute a method for a network, in one sentence; None if it can."""
    try:
        check_rules(method, graph)
    except UnsupportedError as error:
        return error.reason
    return None


def check_rules(method: Method, graph: Graph) -> None:
    """Raises UnsupportedError, with the reason, when a method has no rule for a layer of a network."""
    rules_for(graph, method.name, "paper", method.options)
