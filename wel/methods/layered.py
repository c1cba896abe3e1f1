"""Composites of the user's own, for one request: which layers get which rule, and the method that all others go by."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any, Callable, Iterable, Mapping, Sequence, Tuple, Union

from wel.errors import invalid, one_of
from wel.methods.options import Rules
from wel.methods.registry import CSC_METHODS, DEEPLIFT, GIVEN, METHODS, PATTERN, Method
from wel.networks.kinds import ACTIVATION_LAYERS, ELEMENTWISE, KERNELS, LINEAR_LAYERS, SEEN_THROUGH
from wel.networks.network import Network

# what needs rules imports them where it is called, for they import TensorFlow
if TYPE_CHECKING:
    from wel.rules.base import Rule
    from wel.rules.parts import Part

# a layer's name or kind, a layer class, the position of a kernel or a range of them, or a function of a part that says whether it is meant
Selector = Union[str, type, int, range, Callable[["Part"], bool]]
BASES = tuple(name for name in CSC_METHODS if METHODS[name].family not in (DEEPLIFT, PATTERN))
KINDS = ACTIVATION_LAYERS | ELEMENTWISE | KERNELS | LINEAR_LAYERS | SEEN_THROUGH


@dataclass(frozen=True)
class Layered:
    """Rules by layer.

    Attributes:
        rules: selectors and their rules; the first that takes a part counts.
        base: the method that gives all other parts their rule.
    """

    rules: Tuple[Tuple[Selector, "Rule"], ...]
    base: str

    def rule_of(self, part: Part, kernels: Sequence[str]) -> Rule | None:
        """The rule of the first selector that takes a part, None without any; `kernels` are the nodes that have one, in execution order.

        Raises:
            WelError: for a `wel.LinearRule` where the part is no linear map.
        """
        from wel.rules.base import LinearRule
        from wel.rules.parts import LINEAR

        _, rule = _first(self.rules, part, kernels) or (None, None)
        if isinstance(rule, LinearRule) and part.role != LINEAR:
            raise invalid("rules", str(rule), f"a wel.Rule with `apply` for '{part.name}' ({part.kind}), which is no linear layer")
        return rule

    def check_used(self, parts: Sequence[Part], kernels: Sequence[str]) -> None:
        """Refuses a selector of one layer whose parts all go by selectors before it; what takes nothing is as in another network.

        Raises:
            WelError: naming the two.
        """
        for place, (selector, _) in enumerate(self.rules):
            meant = [part for part in parts if _takes(selector, part, kernels)] if _of_one_layer(selector) else []
            before = [_first(self.rules[:place], part, kernels) for part in meant]
            # in a network with one kernel 0 and -1 are one layer
            if before and None not in before and not isinstance(before[0][0], int):
                raise invalid("rules", selector, f"it before {_shown(before[0][0])!r}; the first selector that takes a layer counts")

    def named(self, net: Network) -> Layered:
        """The same with layers by their Keras names.

        Raises:
            WelError: for a word that is no layer of the network and no kind of layers.
        """
        return replace(self, rules=tuple((_named(net, selector), rule) for selector, rule in self.rules))

    def __str__(self) -> str:
        return "; ".join([*(f"{_shown(selector)} => {rule}" for selector, rule in self.rules), f"else {self.base}"])


def composite(name: str, rules: Mapping[Selector, Rule] | Iterable[tuple[Selector, Rule]], base: str = "lrp_z", **options: Any) -> Method:
    """A method of your own, for `method` and `methods` of wel's functions: some layers have your rules, all others those of a method.

    The first selector that takes a layer counts. It is a layer's name, or a kind of layers by name or class ("Conv2D"); the name of an
    activation function ("relu"), wherever it stands; the position of a layer with a kernel, 0 for the first in execution order and -1 for
    the last, or a `range` of them; or a function that gets a `wel.rules.parts.Part` and says whether it is meant.

        first = wel.composite("flat first", {0: Flat(), "Dense": Epsilon(0.1)}, base="lrp_alpha1_beta0")
        wel.csc(net, images, methods=[first, "gradient"])

    Compiled sweeps are used again where name-giving aside all is equal; a function is equal to itself alone.

    Args:
        name: as it stands in tables.
        rules: selector -> rule, one of `wel.rules.lrp`, `wel.rules.gradient` or your own.
        base: one of wel's methods with rules of LRP, deep Taylor or the gradient.
        options: of that method.

    Raises:
        WelError: for something that is no selector or no rule, or a method that cannot be the base.
    """
    pairs = tuple(rules.items() if isinstance(rules, Mapping) else rules)
    for selector, rule in pairs:
        _check(selector, rule)
    if not isinstance(name, str) or not name or name in METHODS:
        raise invalid("name", name, "a name that no method of wel's has")
    if base not in BASES:
        raise invalid("base", base, one_of(BASES))
    behind = METHODS[base]
    for key in options:
        if key not in behind.options:
            raise invalid("options", key, f"for {base}: {one_of(behind.options) if behind.options else 'none'}")
    given = {key: replace(option, default=options.get(key, option.default)) for key, option in behind.options.items()}
    facts = {fact: getattr(behind, fact) for fact in ("family", "head", "reduction", "relu_only", "cost")}
    words = {"name": name, "label": name, "formula": str(Layered(pairs, base)), "computed_as": GIVEN.name}
    return replace(GIVEN, **facts, **words, options={"rules": Rules(Layered(pairs, base)), **given})


def with_rules(net: Network, method: Method, given: dict[str, Any]) -> dict[str, Any]:
    """The options given for a method, with the rules of a composite for this network."""
    rules = given.get("rules", method.options["rules"].default) if "rules" in method.options else None
    return {**given, "rules": rules.named(net)} if isinstance(rules, Layered) else given


def _first(pairs: Sequence[tuple[Selector, Rule]], part: Part, kernels: Sequence[str]) -> tuple[Selector, Rule] | None:
    """The first selector that takes a part, and its rule."""
    return next(((selector, rule) for selector, rule in pairs if _takes(selector, part, kernels)), None)


def _takes(selector: Selector, part: Part, kernels: Sequence[str]) -> bool:
    from wel.rules.parts import ACTIVATION

    if isinstance(selector, type):
        return not part.fused and part.kind == selector.__name__
    if isinstance(selector, str):
        return (not part.fused and selector in (part.node.name, part.kind)) or (part.role == ACTIVATION and part.activation == selector)
    if isinstance(selector, (int, range)):
        return part.has_kernel and kernels.index(part.node.name) in _positions(selector, len(kernels))
    return bool(selector(part))


def _of_one_layer(selector: Selector) -> bool:
    return isinstance(selector, int) or (isinstance(selector, str) and selector not in KINDS)


def _positions(selector: int | range, count: int) -> Sequence[int]:
    return selector if isinstance(selector, range) else [selector % count if -count <= selector < count else -1]


def _named(net: Network, selector: Selector) -> Selector:
    return net.find(selector, "rules") if isinstance(selector, str) and _of_one_layer(selector) else selector


def _shown(selector: Selector) -> str:
    return selector if isinstance(selector, str) else getattr(selector, "__name__", str(selector))


def _check(selector: Any, rule: Any) -> None:
    from wel.rules.base import Rule

    if isinstance(selector, bool) or not (isinstance(selector, (str, int, range)) or callable(selector)):
        raise invalid("rules", selector, "a layer's name, a kind of layers, a position or a range of them, or a function of a part")
    if not isinstance(rule, Rule):
        raise invalid("rules", rule, "an instance of a subclass of wel.Rule")
