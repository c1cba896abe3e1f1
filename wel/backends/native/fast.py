"""Speed alone: the same relevance with fewer operations. Nothing but `wel.backends.native.backend` knows of it."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Mapping, Sequence

import tensorflow as tf

from wel.rules.base import LinearRule, Rule, per_image
from wel.rules.lrp import AlphaBeta, Clipped
from wel.rules.parts import Part


@dataclass(frozen=True)
class Factor(Rule):
    """A rule on a diagonal part, where each number is treated by itself: R_in = F ⊙ R, F being what the rule makes of ones."""

    rule: Rule

    def parameters(self, part, pattern=None):
        return self.rule.parameters(part, pattern)

    def prepare(self, site):
        ones = per_image(tf.ones_like(site.output))
        return [factor[:, 0] for factor in self.rule.apply(site, self.rule.prepare(site), ones)]

    def apply(self, site, prepared, R):
        return [R * per_image(factor) for factor in prepared]


def accelerated(rules: Mapping[str, Sequence[tuple[Part, Rule]]]) -> dict[str, tuple[tuple[Part, Rule], ...]]:
    """The rules of every node, with those in their place that compute the same faster."""
    return {name: tuple((part, _faster(part, rule)) for part, rule in several) for name, several in rules.items()}


def _faster(part: Part, rule: Rule) -> Rule:
    if isinstance(rule, Clipped):
        return replace(rule, rule=_faster(part, rule.rule))
    return Factor(rule) if part.diagonal and isinstance(rule, (LinearRule, AlphaBeta)) else rule
