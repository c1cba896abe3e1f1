"""The quirks of the original stack one by one: its rule at residual sums, and what else `paper` and `corrected` differ in."""

from __future__ import annotations

from contextlib import contextmanager
from typing import Iterator

import wel
from wel.methods.composites import rules_for, why_not
from wel.methods.registry import CSC_METHODS, METHODS, SEMANTICS
from wel.networks.network import Network
from wel.rules.base import Rule

ADD = "Add"
# how a variant is called -> whose rules it has, and whose rule at sums
VARIANTS = {
    "paper": ("paper", "paper"),
    "its sums alone": ("corrected", "paper"),
    "its biases alone": ("paper", "corrected"),
    "corrected": ("corrected", "corrected"),
}


@contextmanager
def variant_of(net: Network, variant: str) -> Iterator[tuple[list[str], str]]:
    """The methods that differ between `paper` and `corrected` on a network, and the semantics that they have under a variant.

    Rules are registered meanwhile.
    """
    semantics, at_sums = VARIANTS[variant]
    methods = _quirky(net)
    with _sums_by(net, methods, at_sums if at_sums != semantics else None):
        yield methods, semantics


def _quirky(net: Network) -> list[str]:
    without_patterns = [name for name in CSC_METHODS if METHODS[name].paper and "patterns" not in METHODS[name].options]
    names = [name for name in without_patterns if why_not(METHODS[name], net.graph) is None]
    return [name for name in names if _rules(net, name, SEMANTICS[0]) != _rules(net, name, SEMANTICS[1])]


def _rules(net: Network, method: str, semantics: str) -> list[tuple[str, Rule]]:
    rules = rules_for(net.graph, method, semantics, METHODS[method].defaults)
    return [(part.kind, rule) for pairs in rules.values() for part, rule in pairs]


@contextmanager
def _sums_by(net: Network, methods: list[str], semantics: str | None) -> Iterator[None]:
    """Registers, for each method, the rule at sums that it has under other semantics than the study's."""
    if semantics is None:
        yield
        return
    rules = {method: next(rule for kind, rule in _rules(net, method, semantics) if kind == ADD) for method in methods}
    try:
        for method, rule in rules.items():
            wel.register_rule(ADD, rule, methods=method)
        yield
    finally:
        for method in rules:
            wel.register_rule(ADD, None, methods=method)
