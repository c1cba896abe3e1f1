"""Composites: which rule each part of a network gets under a method.

A composite is a function of a part. Users add rules of their own with `register_rule`.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any, Callable, Collection, Dict, Iterable, Mapping, NamedTuple, Optional, Sequence, Tuple
from weakref import WeakKeyDictionary

import numpy as np

from wel.errors import UnsupportedError, invalid, of_method, one_of, words_on
from wel.methods.layered import Layered
from wel.methods.layers import layer_of
from wel.methods.registry import CSC_METHODS, DEEPLIFT, METHODS, PATTERN, Method, record
from wel.networks.graph import Graph
from wel.networks.kernels import folded_norms, why_no_pattern
from wel.networks.kinds import (
    AUGMENTATIONS,
    AVERAGE_POOLINGS,
    CONSTANTS,
    LOOKUPS,
    MAX_POOLINGS,
    PATTERN_KINDS,
    RESCALINGS,
    SEEN_THROUGH,
    SHAPES,
    TWO_KERNELS,
    has_maximum,
)
from wel.rules import deeplift, gradient, lrp, pattern
from wel.rules.base import LinearRule, Relevance, Rule
from wel.rules.deeplift import Contributions
from wel.rules.linear_kinds import LINEAR_KINDS
from wel.rules.parts import ACTIVATION, LINEAR, OTHER, Part, parts_of

# layers whose gradient LRP and Deep Taylor pass relevance by
PASSING = SHAPES | CONSTANTS | {"Masking", "Multiply", "Maximum", "Minimum"} | MAX_POOLINGS
# what innvestigate 1.0.8 looks through for the kernel at the input, and preprocessing layers, which it does not know
PAPER_MOVED = AUGMENTATIONS | RESCALINGS | {"Flatten", "Permute", "Reshape"}
# what goes down is contributions, not relevance: rules have to be made for them
CONTRIBUTING = frozenset(name for name in CSC_METHODS if METHODS[name].family == DEEPLIFT)
# node -> its parts and their rules; where the method has none, None
Rules = Dict[str, Tuple[Tuple[Part, Rule], ...]]
Choices = Dict[str, Tuple[Tuple[Part, Optional[Rule]], ...]]
# names of start layers, and of layers below them at which relevance is read
Between = Tuple[Collection[str], Collection[str]]
# (layer, method) -> rule; the method None stands for those that have no rule for the layer
_registered: dict[tuple[str, str | None], Rule] = {}
_registrations = 0
_built: WeakKeyDictionary[Graph, dict[tuple, Choices]] = WeakKeyDictionary()


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
    _built.clear()


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
    if type(rule).forward is Rule.forward and not CONTRIBUTING.isdisjoint(methods):
        raise invalid("rule", str(rule), "for DeepLIFT a rule whose `forward` gives differences, as those of wel.rules.deeplift do")


def _checked_methods(methods: str | Iterable[str] | None) -> Sequence[str | None]:
    if methods is None:
        return [None]
    names = [methods] if isinstance(methods, str) else list(methods)
    for name in names:
        if name not in CSC_METHODS:
            raise invalid("methods", name, one_of(CSC_METHODS))
    return names


def rules_for(graph: Graph, method: str, semantics: str, options: Mapping[str, Any], between: Between | None = None) -> Rules:
    """The parts of every node and their rules, in execution order; of a method that only has maps, those of the method behind it.

    They are built once for a graph and what was asked for, until a rule is registered.

    Args:
        graph: the network's.
        method: its name.
        semantics: "paper" or "corrected".
        options: the method's own, settled.
        between: start layers, and layers at which relevance is read, by name; only what lies between them needs rules. By default all
            layers do.

    Raises:
        UnsupportedError: naming the first layer that the method has no rule for, and the methods that have one for every layer.
    """
    known, key = _built.setdefault(graph, {}), (method, semantics, scalars(options))
    if key not in known:
        known[key] = _build(graph, method, semantics, options)
    chosen, needed = known[key], _needed(graph, method, between)
    missing = _without_rule(chosen, needed)
    if missing is not None:
        raise _refusal(method, missing, _Setting(semantics, {}, graph, parts_of(graph)), needed)
    # the base class computes a part's output, and that is all that is asked of the others
    return {name: tuple((part, rule or Rule()) for part, rule in pairs) for name, pairs in chosen.items()}


def _build(graph: Graph, method: str, semantics: str, options: Mapping[str, Any]) -> Choices:
    return _choices(method, _Setting(semantics, dict(options), graph, parts_of(graph)))


def scalars(options: Mapping[str, Any]) -> tuple[tuple[str, Any], ...]:
    """The options that decide about rules: numbers and words, not arrays, which reach them with every call."""
    return tuple(sorted((name, value) for name, value in options.items() if not isinstance(value, (list, np.ndarray))))


def _needed(graph: Graph, method: str, between: Between | None) -> Collection[str]:
    """The nodes that need a rule: those that relevance passes; where contributions go up too, all that a start layer is computed from."""
    if between is None:
        return graph.names
    starts, at = between
    return {name for start in starts for name in (start, *graph.below(start))} if method in CONTRIBUTING else graph.passed(starts, at)


def _choices(method: str, setting: _Setting) -> Choices:
    behind = record(setting.options.get("base") or record(method).made_of or method)
    choose_by, numbers = behind.composite
    choose = COMPOSITES[choose_by](replace(setting, options={**behind.defaults, **setting.options}), **numbers)
    return {name: tuple((part, _rule(behind.name, part, choose)) for part in several) for name, several in setting.parts.items()}


def _rule(method: str, part: Part, choose: Callable) -> Rule | None:
    return _own(part, method) or choose(part) or (None if method in CONTRIBUTING else _own(part, None))


def _own(part: Part, method: str | None) -> Rule | None:
    rule = _registered.get((part.kind, method)) or _registered.get((_registered_as(part), method))
    # a Normalization over rows is not known as a linear map, so a LinearRule has no weights there
    return None if isinstance(rule, LinearRule) and part.role != LINEAR else rule


def _registered_as(part: Part) -> str:
    return part.activation if part.role == ACTIVATION else part.kind


def _without_rule(choices: Choices, needed: Collection[str]) -> Part | None:
    return next((part for name, pairs in choices.items() if name in needed for part, rule in pairs if rule is None), None)


def _refusal(method: str, part: Part, setting: _Setting, needed: Collection[str]) -> UnsupportedError:
    others = {name: replace(setting, options={}) for name in CSC_METHODS}
    applying = [name for name, other in others.items() if _without_rule(_choices(name, other), needed) is None]
    kind = _registered_as(part)
    reason = of_method(method, f"has no rule for layer '{part.node.name}' ({kind}).")
    return UnsupportedError(reason, f"Expected {one_of(applying)}, or a rule of your own: wel.register_rule({kind!r}, rule).")


def described(pairs: Iterable[tuple[Part, Rule]]) -> str:
    """A node's rules in words, `AlphaBeta(α=1, β=0, bias both); relu => Unchanged` where it has an activation function of its own."""
    return "; ".join(f"{part.kind} => {rule}" if part.fused else str(rule) for part, rule in pairs)


def flow_of(graph: Graph, method: str, semantics: str) -> tuple[Relevance, frozenset[str]]:
    """What goes through a network under a method, and the nodes at which it is divided by its largest absolute value."""
    family, chosen = record(method).family, record(method).composite
    if family == DEEPLIFT:
        return Contributions(split=chosen.numbers["split"]), frozenset()
    if family == PATTERN and semantics == "paper":
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

    @property
    def stabilizer(self) -> float | None:
        return self.options.get("stabilizer") or None


def _as_gradient(part: Part) -> Rule:
    if part.role == LINEAR:
        return gradient.Transposed()
    return gradient.Derivative() if part.elementwise else gradient.Gradient()


def _gradient(setting: _Setting) -> Callable:
    return _as_gradient


RECTIFIERS = {
    "guided": lambda options: gradient.Guided(),
    "deconvolved": lambda options: gradient.Deconvolved(),
    "percentile": lambda options: gradient.Rectified(options["percentile"]),
}


def _rectified(setting: _Setting, rule: str) -> Callable:
    """The gradient with another rule at ReLUs; none for other activation functions, nor for layers in which one may hide."""
    at_relu = RECTIFIERS[rule](setting.options)

    def choose(part: Part) -> Rule | None:
        if part.role == ACTIVATION and part.activation != "linear":
            return at_relu if part.is_relu else None
        return _as_gradient(part) if part.role != OTHER or part.node.kind in SEEN_THROUGH else None

    return choose


def _relevance(setting: _Setting, kernel: Rule, batch_norm: Rule, add: Rule, dense: Rule | None = None) -> Callable:
    """LRP: rules for kernels, BatchNormalization and sums; average pooling by the z rule.

    `paper` is innvestigate: activation functions within a layer and Activation layers pass relevance unchanged, ReLU, LeakyReLU, PReLU,
    ELU and ThresholdedReLU layers by their gradient, Subtract, Average, Multiply and Dot too. `corrected`: all activation functions pass
    it unchanged, Subtract has the rule of Add, Average the z rule, and of a product the signal takes all (`wel.rules.lrp.Gated`).
    Rescaling and Normalization get the rule of kernels, which is BatchNormalization's without what innvestigate 1.0.8 made of it:
    that version had no such layers, so `paper` has nothing of its own to repeat.
    """

    def choose(part: Part) -> Rule | None:
        kind = part.node.kind
        if part.has_kernel:
            return dense if dense and kind == "Dense" else kernel
        if part.rescales:
            return kernel
        if kind == "BatchNormalization":
            return batch_norm
        if setting.paper and kind in ("Subtract", "Average"):
            return gradient.Transposed()
        if kind in ("Add", "Subtract"):
            return add
        if part.role == LINEAR:
            return lrp.Z()
        if part.role == ACTIVATION:
            return _as_gradient(part) if setting.paper and not part.fused and kind != "Activation" else gradient.Unchanged()
        if kind == "Embedding":
            return lrp.Summed()
        if setting.paper:
            return gradient.Gradient() if kind in PASSING or kind == "Dot" else None
        return _corrected(part) or (gradient.Gradient() if kind in PASSING else None)

    return choose


def _corrected(part: Part) -> Rule | None:
    """LRP's rules, in `corrected`, for layers that are not linear."""
    kind = part.node.kind
    if kind == "Multiply" or (kind == "Dot" and not part.node.layer.normalize):
        return lrp.Gated(_shares(part.gates))
    centred = kind == "LayerNormalization" and not getattr(part.node.layer, "rms_scaling", False)
    return lrp.Centred() if centred else None


def _shares(gates: tuple[bool, ...]) -> tuple[float, ...]:
    """Of a product's inputs: none for gates, the same for the others; the same for all where that leaves none, or all."""
    signals = [not gate for gate in gates] if any(gates) and not all(gates) else [True] * len(gates)
    return tuple(signal / sum(signals) for signal in signals)


def _smooth(setting: _Setting) -> Callable:
    """The gradient, ReLUs without a maximum made smooth."""
    at_relu = gradient.Smooth(setting.options["beta"])
    return lambda part: at_relu if part.is_relu and not has_maximum(part.node.layer) else _as_gradient(part)


def _alpha_beta(setting: _Setting, alpha: float, beta: float, dense_epsilon: float | None = None) -> Callable:
    rule = lrp.AlphaBeta(alpha, beta, "both" if setting.paper else "split", setting.stabilizer)
    return _relevance(setting, rule, rule, lrp.Clipped(rule) if setting.paper else rule, dense_epsilon and lrp.Epsilon(dense_epsilon))


def _z(setting: _Setting) -> Callable:
    rule = lrp.Z()
    return _relevance(setting, rule, lrp.PaperBatchNorm() if setting.paper else rule, rule)


def _epsilon(setting: _Setting) -> Callable:
    rule = lrp.Epsilon(setting.options["epsilon"])
    return _relevance(setting, rule, lrp.PaperBatchNorm() if setting.paper else rule, lrp.Z() if setting.paper else rule)


def _own_alpha_beta(setting: _Setting) -> Callable:
    """αβ with the numbers that were asked for; without bias innvestigate splits each of two kernels by itself."""
    biased = setting.options["bias"] == "with"
    whole, parts = ("both", None) if setting.paper else ("split", None)
    bias, two_kernels = (whole, parts) if biased else ("none", "each" if setting.paper else None)
    rule = lrp.AlphaBeta(setting.options["alpha"], setting.options["beta"], bias, setting.stabilizer, two_kernels)
    return _relevance(setting, rule, rule, lrp.Clipped(rule) if setting.paper else rule)


SINGLE = {
    "unbiased": lambda setting: lrp.Unbiased(setting.options["epsilon"]),
    "w_square": lambda setting: lrp.WSquare(),
    "flat": lambda setting: lrp.Flat(),
    "z_plus_fast": lambda setting: lrp.ZPlusFast(of_each=setting.paper),
}


def _single(setting: _Setting, rule: str) -> Callable:
    """One rule for all kernels; `paper` has innvestigate 1.0.8's LRP-z at BatchNormalization and Add."""
    chosen = SINGLE[rule](setting)
    return _relevance(setting, chosen, lrp.PaperBatchNorm(), lrp.Z()) if setting.paper else _relevance(setting, chosen, chosen, chosen)


def _sequential(setting: _Setting, alpha: float, beta: float, flat: bool) -> Callable:
    """innvestigate's presets: LRP-ε at dense layers, αβ at the others, at the input perhaps the flat rule."""
    kernel = lrp.AlphaBeta(alpha, beta, "both" if setting.paper else "split")
    batch_norm, add = (lrp.PaperBatchNorm(), lrp.Z()) if setting.paper else (kernel, kernel)
    dense, at_input = lrp.Epsilon(setting.options["epsilon"]), lrp.Flat() if flat else None
    return _as_given(setting, Given(kernel, batch_norm, add, dense, at_input))


def _canonical(setting: _Setting, convolution: str, at_input: str | None = None) -> Callable:
    """zennit's composites: LRP-ε at dense layers, another rule at convolutions, at the input perhaps a third one.

    Activation functions and BatchNormalization pass relevance unchanged, sums and averages have LRP-z; all else has its gradient. All
    denominators are stabilised. The rule "bounded" is for convolutions at the input, "flat" for any kernel there.
    """
    options, stabilizer = setting.options, setting.stabilizer
    found = {
        "z_plus": lambda: lrp.AlphaBeta(1, 0, "split", stabilizer),
        "alpha2_beta1": lambda: lrp.AlphaBeta(2, 1, "split", stabilizer),
        "gamma": lambda: lrp.SignedGamma(options["gamma"], stabilizer),
    }
    norm, corrected = lrp.Epsilon(stabilizer or 0.0), replace(setting, semantics="corrected")
    others = _relevance(corrected, found[convolution](), gradient.Unchanged(), norm, lrp.Epsilon(options["epsilon"]))

    def choose(part: Part) -> Rule | None:
        if part.has_kernel and at_input and _at_input(part, corrected) and (at_input == "flat" or part.node.kind != "Dense"):
            return lrp.Flat() if at_input == "flat" else _bounded(part, corrected)
        if part.role == LINEAR and part.node.kind in AVERAGE_POOLINGS | {"Average"}:
            return norm
        return gradient.Gradient() if part.role == OTHER and part.node.kind in SEEN_THROUGH - {"Embedding"} else others(part)

    return choose


def _gamma(setting: _Setting) -> Callable:
    rule = lrp.Gamma(setting.options["gamma"], setting.options["bias"], setting.stabilizer)
    return _relevance(setting, rule, rule, rule)


def _deep_taylor(setting: _Setting, bounded: bool = True) -> Callable:
    """zᴮ on kernels at the input if it is `bounded`, α1β0 on the others, BatchNormalization unchanged.

    `paper` gives each input of Add the whole R.

    A kernel is at the input where the layers before it only move the input's values or rescale each by itself: in `paper` Flatten,
    Reshape and Permute, as in innvestigate 1.0.8, and preprocessing layers; in `corrected` cropping, padding, Dropout, noise,
    BatchNormalization and the like too.
    """
    rule = lrp.AlphaBeta(1, 0, "both" if setting.paper else "none", setting.stabilizer)

    def choose(part: Part) -> Rule | None:
        if part.has_kernel:
            return _bounded(part, setting) if bounded and _at_input(part, setting) else rule
        if part.node.kind == "BatchNormalization" or part.rescales:
            return gradient.Unchanged()
        if part.fused:
            return gradient.Unchanged() if _relu_or_linear(part) else None
        if part.role == LINEAR:
            return gradient.Transposed() if setting.paper or part.node.kind not in ("Add", "Subtract") else rule
        if part.role == ACTIVATION:
            return _as_gradient(part) if _relu_or_linear(part) else None
        return gradient.Gradient() if part.node.kind in PASSING else None

    return choose


def _at_input(part: Part, setting: _Setting) -> bool:
    (moved,) = part.moved
    return moved is not None and (not setting.paper or moved.through <= PAPER_MOVED)


def _bounded(part: Part, setting: _Setting) -> Rule:
    two_kernels = "each" if setting.paper and part.node.kind in TWO_KERNELS else None
    return lrp.Bounded(setting.options["low"], setting.options["high"], two_kernels, setting.stabilizer)


def _relu_or_linear(part: Part) -> bool:
    return part.is_relu or part.activation == "linear"


@dataclass(frozen=True)
class Given:
    """Rules that come with a request, as the option `rules` of `wel.methods.registry.GIVEN`, in place of LRP's or Deep Taylor's.

    Attributes:
        kernel: of dense and convolutional layers.
        batch_norm: of BatchNormalization.
        add: of Add, in `corrected` of Subtract too.
        dense: of dense layers, if that is another one than `kernel`.
        at_input: of a kernel at the input, if that is another one.
        own: layers whose kernels have a rule of their own, that at the input aside, and these rules; of two for a layer the last.
        taylor: whether all other layers are as in Deep Taylor, Add included; else they are as in LRP.
    """

    kernel: Rule
    batch_norm: Rule
    add: Rule = lrp.Z()
    dense: Rule | None = None
    at_input: Rule | None = None
    own: tuple[tuple[str, Rule], ...] = ()
    taylor: bool = False


class BySemantics(NamedTuple):
    """Rules that differ between the semantics."""

    paper: Given
    corrected: Given


def _given(setting: _Setting) -> Callable:
    given = setting.options["rules"]
    if isinstance(given, BySemantics):
        given = given.paper if setting.paper else given.corrected
    return _as_layered(setting, given) if isinstance(given, Layered) else _as_given(setting, given)


def _as_layered(setting: _Setting, layered: Layered) -> Callable:
    """The rule of the first selector that takes a part; where there is none, that of the method `base`."""
    choose_by, numbers = METHODS[layered.base].composite
    others = COMPOSITES[choose_by](setting, **numbers)
    kernels = [name for name, parts in setting.parts.items() if parts[0].has_kernel]
    layered.check_used([part for several in setting.parts.values() for part in several], kernels)

    def choose(part: Part) -> Rule | None:
        return layered.rule_of(part, kernels) or others(part)

    return choose


def _as_given(setting: _Setting, given: Given) -> Callable:
    own = dict(given.own)
    others = _deep_taylor(setting) if given.taylor else _relevance(setting, given.kernel, given.batch_norm, given.add, given.dense)

    def choose(part: Part) -> Rule | None:
        if part.has_kernel and given.at_input and _at_input(part, setting):
            return given.at_input
        if part.has_kernel and part.node.name in own:
            return own[part.node.name]
        if part.has_kernel and given.taylor:
            return given.kernel
        return given.batch_norm if part.node.kind == "BatchNormalization" else others(part)

    return choose


def _pattern(setting: _Setting, attribution: bool) -> Callable:
    folded = folded_norms((node.name, node.layer, node.inputs) for node in setting.graph.nodes)

    def choose(part: Part) -> Rule | None:
        if why_no_pattern(part.node.layer):
            return None
        if part.node.name in folded.values():
            return gradient.Unchanged()
        if part.role == LINEAR and part.node.kind in PATTERN_KINDS:
            norm = folded.get(part.node.name)
            return pattern.Pattern(attribution, setting.parts[norm][0] if norm else None)
        # whatever an activation function is, its gradient is what patterns need
        seen = part.role != OTHER or part.node.kind in SEEN_THROUGH or part.node.kind == "Softmax"
        return _as_gradient(part) if seen else None

    return choose


def _deeplift(setting: _Setting, split: bool, crossing: bool) -> Callable:
    def choose(part: Part) -> Rule | None:
        kind = part.node.kind
        if part.role == ACTIVATION:
            reveals = split and part.is_relu
            return deeplift.RevealCancel() if reveals else deeplift.Rescale() if part.elementwise else None
        if part.has_kernel:
            return deeplift.LinearDifference(split, crossing)
        if kind == "BatchNormalization" or part.rescales:
            return deeplift.ScaledDifference()
        if kind in ("Add", "Subtract"):
            return deeplift.LinearDifference(split)
        if part.role == LINEAR or kind in SHAPES:
            return deeplift.PositiveDifference()
        if kind in CONSTANTS:
            return deeplift.PooledDifference(split, placeholder=False)
        return deeplift.PooledDifference(split, setting.paper) if kind in MAX_POOLINGS else None

    return choose


# a composite: function (setting, the composite's numbers) -> function of a part that gives its rule, None where there is none
COMPOSITES = {
    "gradient": _gradient,
    "smooth": _smooth,
    "rectified": _rectified,
    "deep_taylor": _deep_taylor,
    "z": _z,
    "epsilon": _epsilon,
    "gamma": _gamma,
    "alpha_beta": _alpha_beta,
    "own_alpha_beta": _own_alpha_beta,
    "single": _single,
    "sequential": _sequential,
    "canonical": _canonical,
    "pattern": _pattern,
    "deeplift": _deeplift,
    "given": _given,
}


def why_not(method: Method, graph: Graph, semantics: str = "paper") -> str | None:
    """Why the native engine cannot compute a method for a network, in one sentence; None if it can."""
    try:
        check_rules(method, graph, semantics)
    except UnsupportedError as error:
        return error.reason
    return None


def check_rules(method: Method, graph: Graph, semantics: str = "paper", between: Between | None = None) -> None:
    """Refuses a method for a network.

    Args:
        method: the method.
        graph: the network's.
        semantics: "paper" or "corrected".
        between: as in `rules_for`.

    Raises:
        UnsupportedError: when it has no rule for a layer, finds none to take its maps from, or computes between the inputs of a network
            that looks whole numbers up.
    """
    lookup = next((node for node in graph.nodes if node.kind in LOOKUPS), None)
    if method.between_inputs and lookup is not None:
        reason = of_method(method.name, f"computes the network between its inputs, and layer '{lookup.name}' ({lookup.kind}) ")
        raise UnsupportedError(f"{reason}looks whole numbers up, which have nothing between them.")
    layer_of(method, graph)
    if method.has_rules:
        try:
            rules_for(graph, method.key, semantics, method.defaults, between)
        except UnsupportedError as error:
            raise UnsupportedError(of_method(method.name, words_on(method.key, error.reason)), error.advice) from error
