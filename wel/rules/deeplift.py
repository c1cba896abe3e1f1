"""DeepLIFT (Shrikumar et al. 2017): what goes down are multipliers m⁺, m⁻ of a layer's positive and negative contributions.

Forward, a layer's value x is kept beside its value for the reference and the contributions Δ⁺, Δ⁻ that make up their difference.
What is read at a layer is m⁺Δ⁺ + m⁻Δ⁻. While nothing has told m⁺ from m⁻ they are one tensor, and one pass serves both.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any, Callable, Collection, Mapping, NamedTuple, Sequence

import tensorflow as tf

from wel.networks.graph import Graph
from wel.rules.base import REFERENCE, VALUE, Relevance, Rule, Site, anew, per_image
from wel.rules.gradient import Gradient
from wel.rules.parts import LINEAR, Part

NEAR_ZERO = 1e-7


class Difference(NamedTuple):
    """A layer's value, (n, *shape), its value for the reference, and the contributions to their difference.

    `negative` is None where a method only needs their sum, which then is `positive`.
    """

    value: tf.Tensor
    reference: tf.Tensor
    positive: tf.Tensor
    negative: tf.Tensor | None

    @property
    def total(self) -> tf.Tensor:
        """value − reference."""
        return self.value - self.reference

    def contributions(self, function: Callable) -> tuple:
        """A function of each contribution that is kept."""
        return function(self.positive), None if self.negative is None else function(self.negative)


class Multipliers(NamedTuple):
    """m⁺ and m⁻, (n, rows, *shape) each."""

    positive: tf.Tensor
    negative: tf.Tensor

    @property
    def same(self) -> bool:
        """Whether both are one tensor."""
        return self.positive is self.negative


def one(tensor: tf.Tensor) -> Multipliers:
    """Equal multipliers."""
    return Multipliers(tensor, tensor)


def _each(function: Callable, m: Multipliers) -> list[Multipliers]:
    """A rule's function of one multiplier, applied to both; a Multipliers for each input."""
    positive = function(m.positive)
    return [Multipliers(*pair) for pair in zip(positive, positive if m.same else function(m.negative))]


class _DifferenceRule(Rule):
    """A rule whose forward pass carries differences."""

    def forward(self, part, weights, inputs, once=anew):
        value = once(VALUE, lambda: self.value(part, weights, [x.value for x in inputs]))
        reference = once(REFERENCE, lambda: self.value(part, weights, [x.reference for x in inputs]))
        return Difference(value, reference, *self.contributions(part, weights, inputs, value - reference))

    def value(self, part, weights, inputs) -> tf.Tensor:
        """The output for tensors."""
        return part.forward(inputs, weights)

    def contributions(self, part, weights, inputs, total) -> tuple:
        """Δ⁺ and Δ⁻ of the output."""
        raise NotImplementedError


@dataclass(frozen=True)
class LinearDifference(_DifferenceRule):
    """Δ⁺ = W⁺Δx⁺ + W⁻Δx⁻, Δ⁻ = W⁺Δx⁻ + W⁻Δx⁺; m_in = ½(Wᵀ(m⁺ + m⁻) + sign(Δx) ⊙ |W|ᵀ(m⁺ − m⁻)).

    The second is m⁺ through W⁺ and m⁻ through W⁻ where the input is above its reference, the other way round where it is below,
    and their mean where it is equal. `split` says whether Δ⁺, Δ⁻ and so m⁺, m⁻ are kept apart at all. Without `crossing` W⁺ stands in
    place of W on the way down: the ablation of Sixt et al. 2020.
    """

    split: bool
    crossing: bool = True

    def parameters(self, part, pattern=None):
        weights = part.weights()._replace(bias=None)
        whole = weights if self.crossing else weights.part(tf.maximum)
        return whole, weights.absolute() if self.split else None

    def contributions(self, part, weights, inputs, total):
        if not self.split:
            return total, None
        up, down = ([keep(x.total, 0) for x in inputs] for keep in (tf.maximum, tf.minimum))
        positive, negative = weights.part(tf.maximum), weights.part(tf.minimum)
        return self._paired(part, (up, positive), (down, negative)), self._paired(part, (down, positive), (up, negative))

    def _paired(self, part, *pairs) -> tf.Tensor:
        # sums of one sign: half of W Δx ± |W| |Δx| would be noise where they cancel
        return tf.add_n([part.sums(inputs, weights) for inputs, weights in pairs if weights.kernels is not None])

    def apply(self, site, prepared, m):
        whole, absolute = site.parameters
        if m.same:
            return [one(back) for back in site.part.transposed(m.positive, whole)]
        signed = site.part.transposed(m.positive + m.negative, whole)
        crossed = site.part.transposed(m.positive - m.negative, absolute)
        signs = [per_image(tf.sign(x.total)) for x in site.inputs]
        return [one((u + sign * v) / 2) for u, v, sign in zip(signed, crossed, signs)]


@dataclass(frozen=True)
class ScaledDifference(_DifferenceRule):
    """BatchNormalization, or a rescaling layer, with scale s: Δ± = s⁺Δ± + s⁻Δ∓ and m±_in = s⁺m± + s⁻m∓."""

    network_values = False

    def parameters(self, part, pattern=None):
        (scale,) = part.weights().kernels
        return scale, tf.maximum(scale, 0), tf.minimum(scale, 0)

    def value(self, part, weights, inputs):
        return part.map(inputs, weights)  # sx + shift, rounded as the package does it

    def contributions(self, part, weights, inputs, total):
        (x,), (scale,) = inputs, weights.kernels
        if x.negative is None:
            return scale * x.positive, None
        up, down = tf.maximum(scale, 0), tf.minimum(scale, 0)
        return up * x.positive + down * x.negative, up * x.negative + down * x.positive

    def apply(self, site, prepared, m):
        scale, up, down = site.parameters
        if m.same:
            return [one(scale * m.positive)]
        return [Multipliers(up * m.positive + down * m.negative, up * m.negative + down * m.positive)]


@dataclass(frozen=True)
class PositiveDifference(_DifferenceRule):
    """A map L without negative coefficients, such as padding and average pooling: Δ± = LΔ±, m±_in = Lᵀm±."""

    def contributions(self, part, weights, inputs, total):
        merged = list(zip(*(x.contributions(lambda delta: delta) for x in inputs)))
        return tuple(None if several[0] is None else part.forward(several, weights) for several in merged)

    def parameters(self, part, pattern=None):
        return part.weights()

    def apply(self, site, prepared, m):
        part = site.part
        if part.role == LINEAR:
            return _each(lambda R: part.transposed(R, site.parameters), m)
        return _each(lambda R: Gradient().apply(site, (), R), m)


@dataclass(frozen=True)
class PooledDifference(_DifferenceRule):
    """Max pooling: m±_in follow its gradient. `placeholder`: Δ± = 0, as the package has it; else Δ± are the parts of Δ."""

    split: bool
    placeholder: bool

    def contributions(self, part, weights, inputs, total):
        if self.placeholder:
            total = tf.zeros_like(total)
        return (tf.maximum(total, 0), tf.minimum(total, 0)) if self.split else (total, None)

    def prepare(self, site):
        return Gradient().prepare(_of_values(site))

    def apply(self, site, prepared, m):
        return _each(lambda R: Gradient().apply(_of_values(site), prepared, R), m)


@dataclass(frozen=True)
class TiedPooling(PooledDifference):
    """The maximum over a sequence: m±_in go to every place that has it, as deeplift has it."""

    def prepare(self, site):
        x = site.inputs[0].value
        return tf.cast(tf.equal(x, tf.reduce_max(x, axis=1, keepdims=True)), x.dtype)

    def apply(self, site, prepared, m):
        channels = prepared.shape[-1]
        return _each(lambda R: [tf.reshape(R, [-1, R.shape[1], 1, channels]) * per_image(prepared)], m)


def _of_values(site: Site) -> Site:
    """A layer at its values alone, whose last bits are DeepLIFT's own."""
    return site._replace(inputs=[x.value for x in site.inputs], once=lambda name, compute: site.once((VALUE, name), compute))


@dataclass(frozen=True)
class Rescale(_DifferenceRule):
    """m±_in = (Δy/Δx) ⊙ m±, the derivative at the reference where |Δx| < 1e-7; Δ± likewise."""

    def contributions(self, part, weights, inputs, total):
        ratio = self._ratio(part, inputs[0], total)
        return inputs[0].contributions(lambda delta: ratio * delta)

    def prepare(self, site):
        return self._ratio(site.part, site.inputs[0], site.output.total)

    def apply(self, site, prepared, m):
        return _each(lambda R: [R * per_image(prepared)], m)

    def _ratio(self, part, x: Difference, total):
        near = tf.abs(x.total) < NEAR_ZERO
        return tf.where(near, part.slope(x.reference), total / tf.where(near, tf.ones_like(total), x.total))


@dataclass(frozen=True)
class GradientMultiplier(Rescale):
    """m_in = f′(x) ⊙ m; Δ± as of Rescale."""

    def prepare(self, site):
        return site.part.slope(site.inputs[0].value)


@dataclass(frozen=True)
class GuidedMultiplier(GradientMultiplier):
    """m_in = f′(x) ⊙ max(m, 0): deeplift's GuidedBackprop."""

    linear = False

    def apply(self, site, prepared, m):
        return _each(lambda R: [tf.nn.relu(R) * per_image(prepared)], m)


@dataclass(frozen=True)
class GuidedRescale(Rescale):
    """m_in = (Δy/Δx) ⊙ max(m, 0): deeplift's GuidedBackpropRescale."""

    linear = False

    def apply(self, site, prepared, m):
        return _each(lambda R: [tf.nn.relu(R) * per_image(prepared)], m)


@dataclass(frozen=True)
class ReversedMultiplier(Rescale):
    """m_in = f(m): deeplift's DeconvNet; Δ± as of Rescale."""

    linear = False

    def prepare(self, site):
        return ()

    def apply(self, site, prepared, m):
        part = site.part
        return _each(lambda R: [tf.reshape(part.forward([tf.reshape(R, [-1, *part.node.shape])], None), tf.shape(R))], m)


@dataclass(frozen=True)
class PassedMultiplier(Rescale):
    """m_in = m: deeplift's PassThrough; Δ± as of Rescale."""

    def prepare(self, site):
        return ()

    def apply(self, site, prepared, m):
        return [m]


@dataclass(frozen=True)
class RevealCancel(_DifferenceRule):
    """A function f at reference r with p = Δ⁺, n = Δ⁻ of its input, kept 1e-7 away from zero:

    Δ⁺ = ½(f(r + p) − f(r) + f(r + n + p) − f(r + n)), Δ⁻ with p and n exchanged, m±_in = m± Δ±/(p, n).
    """

    def contributions(self, part, weights, inputs, total):
        (x,) = inputs
        r, p, n = x.reference, _away_from_zero(x.positive), _away_from_zero(x.negative)
        at, up, down = (part.forward([value], None) for value in (r, r + p, r + n))
        positive, negative = part.forward([r + n + p], None) - down, part.forward([r + p + n], None) - up
        return ((up - at) + positive) / 2, ((down - at) + negative) / 2

    def prepare(self, site):
        (x,) = site.inputs
        return site.output.positive / _away_from_zero(x.positive), site.output.negative / _away_from_zero(x.negative)

    def apply(self, site, prepared, m):
        return [Multipliers(*(R * per_image(ratio) for R, ratio in zip(m, prepared)))]


def _away_from_zero(delta: tf.Tensor) -> tf.Tensor:
    moved = delta + tf.where(delta < 0, -tf.constant(NEAR_ZERO, delta.dtype), tf.constant(NEAR_ZERO, delta.dtype))
    return tf.where(tf.abs(delta) < NEAR_ZERO / 2, moved, delta)


# their Δ± are made of their input's, and their multipliers are not
HANDING_ON = (ScaledDifference, PositiveDifference, Rescale)


@dataclass(frozen=True)
class Contributions(Relevance):
    """Values are `Difference`s from those for the reference; `Multipliers` go down; m⁺Δ⁺ + m⁻Δ⁻ is read.

    `split` says whether Δ⁺ and Δ⁻ are kept apart, `multipliers` that ½(m⁺ + m⁻) is read instead.
    """

    split: bool
    multipliers: bool = False

    def enter(self, images, reference):
        delta = images - reference
        return Difference(images, reference, *((tf.maximum(delta, 0), tf.minimum(delta, 0)) if self.split else (delta, None)))

    def inject(self, vectors):
        return one(vectors)

    def read(self, value, rows):
        if self.multipliers:
            return (rows.positive + rows.negative) / 2
        if value.negative is None:
            return rows.positive * per_image(value.positive)
        return rows.positive * per_image(value.positive) + rows.negative * per_image(value.negative)


def on_tensors(function: Callable, several: Sequence[Any]) -> Any:
    """A function of a list of tensors on a list of what goes down: multipliers that are one tensor everywhere stay one."""
    if not isinstance(several[0], Multipliers):
        return function(several)
    if all(m.same for m in several):
        return one(function([m.positive for m in several]))
    return Multipliers(function([m.positive for m in several]), function([m.negative for m in several]))


def without_unseen_placeholders(
    graph: Graph, rules: Mapping[str, Sequence[tuple[Part, Rule]]], at: Collection[str]
) -> Mapping[str, Sequence[tuple[Part, Rule]]]:
    """Rules that give the same where relevance is read: max pooling without its placeholder, if that shows at none of the nodes `at`, and
    multipliers do not depend on it."""
    made_of_it: set[str] = set()
    for name, pairs in rules.items():
        placeholder = not made_of_it.isdisjoint(graph[name].inputs)
        for _, rule in pairs:
            if placeholder and not isinstance(rule, (LinearDifference, PooledDifference, *HANDING_ON)):
                return rules
            placeholder = rule.placeholder if isinstance(rule, PooledDifference) else placeholder and isinstance(rule, HANDING_ON)
        if placeholder:
            made_of_it.add(name)
    if not made_of_it.isdisjoint(at):
        return rules
    return {name: tuple((part, _without_placeholder(rule)) for part, rule in pairs) for name, pairs in rules.items()}


def _without_placeholder(rule: Rule) -> Rule:
    return replace(rule, placeholder=False) if isinstance(rule, PooledDifference) else rule
