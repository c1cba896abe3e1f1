"""innvestigate's rules of LRP, as classes and by name, and the rules of wel that they stand for.

innvestigate makes a rule for a layer and a state, with the rule's numbers as keywords of its class. Here the first two may be left out:
`EpsilonRule(epsilon=0.1)` is a rule, and so is the class of a script that settles the numbers in its `__init__`.
"""

from __future__ import annotations

from dataclasses import dataclass
from inspect import isclass
from typing import Any, Mapping

import numpy as np

from wel.errors import WelError, invalid, one_of
from wel.methods.options import Number
from wel.rules import lrp
from wel.rules.base import Rule


def checked(name: str, value: Any, least: float = -np.inf, above: float | None = None) -> float:
    """A number that is finite and within these bounds.

    Raises:
        WelError: for anything else.
    """
    return Number(least=least, above=above).settled(name, value, np.empty(0))


@dataclass
class LRPRule:
    """What all rules have.

    Attributes:
        layer, state: innvestigate's first two arguments, of which wel needs neither.
    """

    layer: Any = None
    state: Any = None

    def of(self, semantics: str) -> Rule:
        """wel's rule, in "paper" with innvestigate's numbers, in "corrected" with those of the published formula.

        Raises:
            WelError: for numbers that it cannot have.
        """
        raise NotImplementedError


@dataclass
class ZRule(LRPRule):
    """LRP-z."""

    bias: bool = True

    def of(self, semantics):
        return lrp.Z() if self.bias else lrp.Unbiased()


@dataclass
class ZIgnoreBiasRule(ZRule):
    """LRP-z without bias."""

    bias: bool = False


@dataclass
class EpsilonRule(LRPRule):
    """LRP-ε."""

    epsilon: float = 1e-7
    bias: bool = True

    def of(self, semantics):
        epsilon = checked("epsilon", self.epsilon, above=0)
        return lrp.Epsilon(epsilon) if self.bias else lrp.Unbiased(epsilon)


@dataclass
class EpsilonIgnoreBiasRule(EpsilonRule):
    """LRP-ε without bias."""

    bias: bool = False


@dataclass
class WSquareRule(LRPRule):
    """The w² rule."""

    def of(self, semantics):
        return lrp.WSquare()


@dataclass
class FlatRule(LRPRule):
    """The flat rule."""

    def of(self, semantics):
        return lrp.Flat()


@dataclass
class AlphaBetaRule(LRPRule):
    """LRP-αβ with α − β = 1, α ≥ 1 and β ≥ 0, of which one is enough."""

    alpha: float | None = None
    beta: float | None = None
    bias: bool = True

    def of(self, semantics):
        alpha, beta = self._numbers()
        if semantics == "paper":
            return lrp.AlphaBeta(alpha, beta, "both" if self.bias else "none", two_kernels=None if self.bias else "each")
        return lrp.AlphaBeta(alpha, beta, "split" if self.bias else "none")

    def _numbers(self) -> tuple[float, float]:
        if self.alpha is None and self.beta is None:
            raise WelError("Invalid value for `alpha`: None. Expected `alpha`, a number from 1 on, or `beta`, a number from 0 on.")
        alpha = checked("beta", self.beta, 0) + 1 if self.alpha is None else checked("alpha", self.alpha, 1)
        beta = alpha - 1 if self.beta is None else checked("beta", self.beta, 0)
        if alpha - beta != 1:
            raise invalid("beta", beta, f"`alpha` − 1, {alpha - 1:g}")
        return alpha, beta


@dataclass
class AlphaBetaIgnoreBiasRule(AlphaBetaRule):
    """LRP-αβ without bias."""

    bias: bool = False


@dataclass
class Alpha2Beta1Rule(AlphaBetaRule):
    """LRP-α2β1."""

    alpha: float | None = 2


@dataclass
class Alpha2Beta1IgnoreBiasRule(Alpha2Beta1Rule):
    """LRP-α2β1 without bias."""

    bias: bool = False


@dataclass
class Alpha1Beta0Rule(AlphaBetaRule):
    """LRP-α1β0."""

    alpha: float | None = 1


@dataclass
class Alpha1Beta0IgnoreBiasRule(Alpha1Beta0Rule):
    """LRP-α1β0 without bias."""

    bias: bool = False


@dataclass
class ZPlusRule(Alpha1Beta0IgnoreBiasRule):
    """The same by another name: the z⁺ rule where no input is negative."""


@dataclass
class ZPlusFastRule(LRPRule):
    """The z⁺ rule with the inputs as they are."""

    def of(self, semantics):
        return lrp.ZPlusFast()


@dataclass
class AlphaBetaX2m100Rule(LRPRule):
    """What innvestigate's presets have at BatchNormalization."""

    def of(self, semantics):
        return lrp.Excess()


@dataclass
class BoundedRule(LRPRule):
    """zᴮ, with the range of the network's inputs."""

    low: float = -1
    high: float = 1

    def of(self, semantics):
        for name, value in (("low", self.low), ("high", self.high)):
            if value is None:
                raise WelError(f"Invalid value for `{name}`: None. Expected a number, the end of the range of the inputs.")
        low, high = checked("low", self.low), checked("high", self.high)
        if low > high:
            raise invalid("low", self.low, f"at most `high`, {self.high}")
        return lrp.Bounded(low, high, two_kernels="each" if semantics == "paper" else None)


# name -> class
RULES: Mapping[str, type[LRPRule]] = {
    kind.__name__.removesuffix("Rule"): kind
    for kind in (
        ZRule,
        ZIgnoreBiasRule,
        EpsilonRule,
        EpsilonIgnoreBiasRule,
        WSquareRule,
        FlatRule,
        AlphaBetaRule,
        AlphaBetaIgnoreBiasRule,
        Alpha2Beta1Rule,
        Alpha2Beta1IgnoreBiasRule,
        Alpha1Beta0Rule,
        Alpha1Beta0IgnoreBiasRule,
        ZPlusRule,
        ZPlusFastRule,
        AlphaBetaX2m100Rule,
        BoundedRule,
    )
}


def rule_of(argument: str, chosen: Any, semantics: str) -> Rule:
    """wel's rule for what a script gives: a name, a class, an instance of one, or a rule of wel's.

    Raises:
        WelError: for anything else, naming the argument.
    """
    if isinstance(chosen, str) and chosen in RULES:
        chosen = RULES[chosen]
    if isclass(chosen) and issubclass(chosen, LRPRule):
        chosen = chosen(None, None)  # as innvestigate calls it, but for what they are
    if isinstance(chosen, LRPRule):
        return chosen.of(semantics)
    if isinstance(chosen, Rule):
        return chosen
    raise invalid(argument, chosen, f"{one_of(RULES)}, a class of these rules, or a wel.Rule")
