"""Composites: which rule each part of a network gets under a method.

A composite is a function of a part. Users add rules for layers that wel does not know with `register_rule`; these come first.
"""
from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Callable, Iterable, Mapping

from wel.errors import UnsupportedError, invalid, one_of
from wel.graph import Graph
from wel.methods import CSC_METHODS
from wel.patterns import PATTERN_KINDS, folded_norms
from wel.rules import deeplift, gradient, lrp, pattern, rectifier
from wel.rules.base import Rule
from wel.rules.flow import Contributions, Relevance
from wel.rules.parts import ACTIVATION, LINEAR, POOLINGS, SHAPES, Part, parts_of

CMP_EPSILON = 1e-10
# layers whose gradient every method but DeepLIFT passes relevance by
PASSING = SHAPES | {"Multiply", "Maximum", "Minimum"} | {kind for kind in POOLINGS if "Max" in kind}
MAX_POOLINGS = frozenset(kind for kind in POOLINGS if "Max" in kind)

_registered: dict[tuple[str, str], Rule] = {}


def register_rule(layer: type | str, rule: Rule, methods: str | Iterable[str] = "all") -> None:
    """Gives a layer class a rule of your own, in the native backend.

    Args:
        layer: the layer's class, or its name.
        rule: an instance of a subclass of `wel.Rule`.
        methods: for which methods; all of them by default.

    Raises:
        WelError: for something that is not a rule, or an unknown method.
    """
    if not isinstance(rule, Rule):
        raise invalid("rule", rule, "an instance of a subclass of wel.Rule")
    names = CSC_METHODS if methods == "all" else [methods] if isinstance(methods, str) else list(methods)
    for name in names:
        if name not in CSC_METHODS:
            raise invalid("methods", name, f"'all' or {one_of(CSC_METHODS)}")
        _registered[name, layer if isinstance(layer, str) else layer.__name__] = rule


def rules_for(graph: Graph, method: str, semantics: str, options: Mapping[str, Any]) -> dict[str, tuple[tuple[Part, Rule], ...]]:
    """The parts of every node and their rules, in execution order.

    Raises:
        UnsupportedError: naming the first layer that the method has no rule for.
    """
    parts = parts_of(graph)
    choose = COMPOSITES[method](_Setting(semantics, dict(options), graph, parts))
    return {name: tuple((part, _rule(method, part, choose)) for part in several) for name, several in parts.items()}


def flow_of(graph: Graph, method: str, semantics: str) -> tuple[Relevance, frozenset[str]]:
    """What goes through a network under a method, and the nodes at which it is divided by its largest absolute value."""
    if method.startswith("deeplift_"):
        return Contributions(split=method == "deeplift_reveal_cancel"), frozenset()
    if method.startswith("pattern_") and semantics == "paper":
        return Relevance(), frozenset(name for name in graph.bottlenecks() if len(graph[name].shape) > 1)
    return Relevance(), frozenset()


def _rule(method: str, part: Part, choose: Callable) -> Rule:
    rule = _registered.get((method, part.kind)) or choose(part)
    if rule is None:
        raise UnsupportedError(f"Method '{method}' has no rule for layer '{part.node.name}' ({part.kind}).")
    return rule


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
    """LRP: rules for kernels, BatchNormalization and Add; average pooling by the z rule; activations pass relevance unchanged."""

    def composite(setting: _Setting) -> Callable:
        def choose(part: Part) -> Rule | None:
            if part.has_kernel:
                return (dense if dense and part.node.kind == "Dense" else rule)(setting)
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
    """zᴮ on a kernel at the input, α1β0 on the others, BatchNormalization unchanged; `paper` gives each input of Add the whole R."""
    rule = lrp.AlphaBeta(1, 0, "both" if setting.paper else "none")

    def choose(part: Part) -> Rule | None:
        if part.has_kernel:
            return lrp.Bounded(setting.options["low"], setting.options["high"]) if part.on_input else rule
        if part.node.kind == "BatchNormalization" or part.fused:
            return gradient.Unchanged() if part.node.kind == "BatchNormalization" or _relu_or_linear(part) else None
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

        def choose(part: Part) -> Rule:
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
            if kind == "BatchNormalization":
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
