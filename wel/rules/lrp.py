"""Layer-wise relevance propagation (Bach et al. 2015) and Deep Taylor's bounded rule (Montavon et al. 2017)."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any, Callable, NamedTuple

import tensorflow as tf

from wel.networks.kinds import TWO_KERNELS, is_relu
from wel.rules.base import SAFE, LinearRule, Rule, Site, anew, kept_from_zero, per_image
from wel.rules.derivatives import derivatives
from wel.rules.parts import Part, Weights

CLIP = (0.0, 1000.0)


@dataclass(frozen=True)
class Z(LinearRule):
    """LRP-z: R_i = x_i Σ_j w_ij R_j / z_j (Bach et al. 2015, eq. 56)."""

    def prepare(self, site):
        # what a kernel gives is z already; other layers have kernels of TensorFlow's own, which round otherwise
        return (site.inputs, self.denominator(site.output)) if site.part.has_kernel else super().prepare(site)


@dataclass(frozen=True)
class Epsilon(Z):
    """LRP-ε: R_i = x_i Σ_j w_ij R_j / (z_j + ε sign z_j), sign 0 = 1 (Bach et al. 2015, eq. 58)."""

    epsilon: float

    def denominator(self, z):
        return kept_from_zero(z, self.epsilon)


@dataclass(frozen=True)
class Gamma(LinearRule):
    """LRP-γ: R_i = x_i Σ_j ŵ_ij R_j / ẑ_j, ŵ = w + γw⁺ (Montavon et al. 2019).

    `bias` "scaled": b̂ = b + γb⁺, the bias being the weight of an input that is 1; "unscaled": b̂ = b; "none": b̂ = 0. The denominators are
    kept from zero, or have `stabilizer` added with their sign.
    """

    gamma: float
    bias: str = "scaled"
    stabilizer: float | None = None

    def split(self, weights):
        stressed = weights.each(lambda w: w + self.gamma * tf.maximum(w, 0))
        return stressed if self.bias == "scaled" else stressed._replace(bias=None if self.bias == "none" else weights.bias)

    def denominator(self, z):
        return kept_from_zero(z, self.stabilizer)


@dataclass(frozen=True)
class SignedGamma(Rule):
    """LRP-γ for inputs and outputs of both signs (Andéol et al. 2021): with z the output,

        R_in = x⁺ ⊙ (Ŵᵀp + W̌ᵀn) + x⁻ ⊙ (W̌ᵀp + Ŵᵀn),   Ŵ = W + γW⁺,  W̌ = W + γW⁻,

    p = R / (Ŵx⁺ + W̌x⁻ + b + γb⁺) where z > 0 and n = R / (W̌x⁺ + Ŵx⁻ + b + γb⁻) where z < 0, else 0. The denominators have `stabilizer`
    added with their sign.
    """

    gamma: float
    stabilizer: float | None = None

    def parameters(self, part, pattern=None):
        return tuple(part.weights().each(lambda w, keep=keep: w + self.gamma * keep(w, 0)) for keep in _SIGNS)

    def prepare(self, site):
        plus, minus = zip(*(_by_sign(x, False) for x in site.inputs))
        up, down = site.parameters
        rising, falling = self._denominator(site, (plus, up), (minus, down)), self._denominator(site, (plus, down), (minus, up))
        zeros = tf.zeros_like(site.output)
        shares = tf.where(site.output > 0, 1 / rising, zeros), tf.where(site.output < 0, 1 / falling, zeros)
        return plus, minus, *shares

    def _denominator(self, site, first, second):
        (xs, weights), (others, less) = first, second
        return kept_from_zero(site.part.map(xs, weights) + site.part.map(others, less._replace(bias=None)), self.stabilizer)

    def apply(self, site, prepared, R):
        plus, minus, rising, falling = prepared
        up, down = (weights._replace(bias=None) for weights in site.parameters)
        p, n = R * per_image(rising), R * per_image(falling)
        on_plus, on_minus = _back(site.part, (p, up), (n, down)), _back(site.part, (p, down), (n, up))
        return [_total(_times(x, a), _times(y, b)) for x, y, a, b in zip(plus, minus, on_plus, on_minus)]


@dataclass(frozen=True)
class Unbiased(LinearRule):
    """LRP-z or, with ε, LRP-ε without bias: R_i = x_i Σ_j w_ij R_j / (z_j + ε sign z_j), z = Wx, sign 0 = 1."""

    epsilon: float = 0.0

    def split(self, weights):
        return weights._replace(bias=None)

    def denominator(self, z):
        return kept_from_zero(z, self.epsilon)


@dataclass(frozen=True)
class ZPlusFast(LinearRule):
    """R_i = x_i Σ_j w⁺_ij R_j / Σ_i x_i w⁺_ij, the z⁺ rule for x ≥ 0 (Montavon et al. 2017, eq. 15); x keeps its sign.

    `of_each`: of two kernels that follow one another the positive parts of both, as innvestigate has it.
    """

    of_each: bool = True

    def split(self, weights):
        return weights.part(tf.maximum, self.of_each)


@dataclass(frozen=True)
class WSquare(LinearRule):
    """R_i = Σ_j w²_ij R_j / Σ_i w²_ij, whatever the input is (Montavon et al. 2017, eq. 13); of two kernels each is squared by itself."""

    def input(self, x):
        return tf.ones_like(x)

    def split(self, weights):
        return weights._replace(kernels=tuple(self.coefficients(kernel) for kernel in weights.kernels), bias=None)

    def coefficients(self, kernel: tf.Tensor) -> tf.Tensor:
        """What stands in place of a kernel."""
        return kernel**2


@dataclass(frozen=True)
class Flat(WSquare):
    """R_i = Σ_j R_j / n_j with the number n_j of inputs of output j, padding not counted (Lapuschkin et al. 2017)."""

    def coefficients(self, kernel):
        return tf.ones_like(kernel)


@dataclass(frozen=True)
class Excess(Rule):
    """R_in = x⁺ ⊙ (2 W⁺ᵀ(R / (W⁺x⁺ + b⁺)) − W⁻ᵀ(R / (W⁻x⁺ + b⁻))): innvestigate's AlphaBetaX2m100, which it has for BatchNormalization."""

    def parameters(self, part, pattern=None):
        weights = part.weights()
        return tuple(self._kept(weights, keep) for keep in _SIGNS)

    def _kept(self, weights: Weights, keep: Callable) -> Weights:
        return Weights(tuple(keep(k, 0) for k in weights.kernels), None if weights.bias is None else keep(weights.bias, 0))

    def prepare(self, site):
        x = tf.maximum(site.inputs[0], 0)
        return x, [kept_from_zero(site.part.map([x], weights)) for weights in site.parameters]

    def apply(self, site, prepared, R):
        x, denominators = prepared
        up, down = (site.part.transposed(R / per_image(z), w)[0] for z, w in zip(denominators, site.parameters))
        return [per_image(x) * (2 * up - down)]


_SIGNS = (tf.maximum, tf.minimum)


class _Signs(NamedTuple):
    """A layer's weights by sign: W⁺, W⁻, and the biases c⁺, c⁻ of the two denominators."""

    up: Weights
    down: Weights
    activator_bias: Any
    inhibitor_bias: Any


@dataclass(frozen=True)
class AlphaBeta(Rule):
    """LRP-αβ (Bach et al. 2015, eq. 60). With z⁺ = W⁺x⁺ + W⁻x⁻ + c⁺ and z⁻ = W⁻x⁺ + W⁺x⁻ + c⁻,

        R_in = x⁺ ⊙ (W⁺ᵀp + W⁻ᵀq) + x⁻ ⊙ (W⁻ᵀp + W⁺ᵀq),   p = αR / z⁺,  q = −βR / z⁻.

    `bias` "split": c⁺ = b⁺ and c⁻ = b⁻, as published; "both": c± = b, as innvestigate has it (its report #273), which also splits each
    of two kernels that follow one another by itself; "none": 0, and `two_kernels` "each" splits them so. Denominators are kept from zero,
    or have `stabilizer` added with their sign.
    """

    alpha: float
    beta: float
    bias: str
    stabilizer: float | None = None
    two_kernels: str | None = None

    @property
    def of_each(self) -> bool:
        """Whether two kernels that follow one another are split each by itself."""
        return self.bias == "both" or self.two_kernels == "each"

    def parameters(self, part, pattern=None):
        weights = part.weights()
        split = {"both": lambda b: (b, b), "split": lambda b: (tf.maximum(b, 0), tf.minimum(b, 0)), "none": lambda b: (None, None)}
        biases = (None, None) if weights.bias is None else split[self.bias](weights.bias)
        return _Signs(weights.part(tf.maximum, self.of_each), weights.part(tf.minimum, self.of_each), *biases)

    def prepare(self, site):
        signs = site.parameters
        plus, minus = zip(*(_by_sign(x, site.part.nonnegative_inputs) for x in site.inputs))
        up, down, cancels = ("W⁺", signs.up), ("W⁻", signs.down), self.bias == "both" and signs.activator_bias is not None
        # where a bias cancels z⁺, Wx + b is not above 0 either, and through a ReLU nothing comes to it
        exactly = cancels and not is_relu(site.part.node.layer)
        activators = self._denominator(site, ("x⁺", plus, *up), ("x⁻", minus, *down), signs.activator_bias, exactly)
        several = ("x⁺", plus, *down), ("x⁻", minus, *up)
        inhibitors = self._denominator(site, *several, signs.inhibitor_bias, cancels) if self.beta else None
        return plus, minus, activators / self.alpha, None if inhibitors is None else inhibitors / -self.beta

    def _denominator(self, site, on_plus, on_minus, bias, exactly: bool):
        products = [self._product(site, *pair, exactly) for pair in (on_plus, on_minus)]
        z = _total(*products, bias)
        return None if z is None else kept_from_zero(z, self.stabilizer)

    def _product(self, site, of_x: str, xs, of_weights: str, weights: Weights, exactly: bool):
        """W±x±, None where one of them is 0; `exactly` as in the forward pass, or in any order, all terms having one sign."""
        if xs[0] is None or weights.kernels is None:
            return None
        of_each = self.of_each and site.part.node.kind in TWO_KERNELS
        multiplied = site.part.map if exactly else site.part.sums
        return site.once((of_weights, of_each, of_x, exactly), lambda: multiplied(xs, weights))

    def apply(self, site, prepared, R):
        plus, minus, activators, inhibitors = prepared
        signs = site.parameters
        p = R / per_image(activators)
        q = None if inhibitors is None else R / per_image(inhibitors)
        on_plus = _back(site.part, (p, signs.up), (q, signs.down))
        on_minus = [None] * len(plus) if minus[0] is None else _back(site.part, (p, signs.down), (q, signs.up))
        return [_total(_times(x, a), _times(y, b)) for x, y, a, b in zip(plus, minus, on_plus, on_minus)]


def _by_sign(x, nonnegative: bool):
    """x⁺ and x⁻; None for an x⁻ that is known to be 0."""
    return (x, None) if nonnegative else (tf.maximum(x, 0), tf.minimum(x, 0))


def _back(part, *pairs) -> list:
    """Σ WᵀS for each input over the pairs (S, W) that are there; None where none is."""
    terms = [part.transposed(s, weights) for s, weights in pairs if s is not None and weights.kernels is not None]
    return [_total(*several) for several in zip(*terms)] if terms else [None] * len(part.input_shapes)


def _times(x, c):
    return None if x is None or c is None else per_image(x) * c


def _total(*terms):
    """The sum of the terms that are there; None if none is."""
    kept = [term for term in terms if term is not None]
    return sum(kept[1:], kept[0]) if kept else None


@dataclass(frozen=True)
class Bounded(Rule):
    """zᴮ for inputs within [l, h]: R_in = (x − l) ⊙ W⁺ᵀs + (x − h) ⊙ W⁻ᵀs, s = R / (W⁺(x − l) + W⁻(x − h)) (Montavon et al. 2017, eq. 16).

    It is 0 where l = h, as of padding. `low` and `high` bound the network's input; l and h, a number for each input of the layer, are
    what the layers before it make of them. `two_kernels` "each" splits each of two kernels that follow one another by itself, as
    innvestigate has it: what then is missing of W has the weight x.
    """

    low: float
    high: float
    two_kernels: str | None = None
    stabilizer: float | None = None

    def parameters(self, part, pattern=None):
        weights, of_each = part.weights(), self.two_kernels == "each"
        up, down = weights.part(tf.maximum, of_each), weights.part(tf.minimum, of_each)
        return up, down, weights.without(up, down) if of_each else None

    def prepare(self, site):
        (x,), (moved,) = site.inputs, site.part.moved
        low, high = moved.ends(tf.constant(self.low, x.dtype), tf.constant(self.high, x.dtype))
        terms = [(value, weights) for value, weights in zip((x - low, x - high, x), site.parameters) if weights is not None]
        z = tf.add_n([site.part.map([value], weights) for value, weights in terms])
        return [value for value, _ in terms], kept_from_zero(z, self.stabilizer)

    def apply(self, site, prepared, R):
        values, denominator = prepared
        share = R / per_image(denominator)
        return [tf.add_n([per_image(x) * site.part.transposed(share, weights)[0] for x, weights in zip(values, site.parameters)])]


@dataclass(frozen=True)
class Gated(Rule):
    """A product of inputs, elementwise or over an axis: R_i = s_i R ∂y/∂x_i x_i / y, with shares s_i that add up to 1.

    The signal takes all: gates, values of a sigmoid or softmax, have the share 0, and the others the same each (Arras et al. 2017; Ali
    et al. 2022). Where no input or every input is a gate all have the same. For an elementwise product ∂y/∂x_i x_i / y is 1.
    """

    shares: tuple[float, ...]

    def apply(self, site, prepared, R):
        part, rows = site.part, R.shape[1]
        inputs = [tf.repeat(x, rows, axis=0) for x in site.inputs]
        flat = tf.reshape(R, [-1, *part.node.shape])
        if part.node.kind == "Multiply":
            inputs = [tf.ones_like(x) for x in inputs]
        else:
            flat /= kept_from_zero(part.forward(inputs, None))
        back = derivatives(lambda xs: part.forward(xs, None), inputs, flat)
        return [tf.reshape(s * x * r, [-1, rows, *x.shape[1:]]) for s, x, r in zip(self.shares, inputs, back)]


@dataclass(frozen=True)
class Centred(Rule):
    """LayerNormalization with its standard deviation held constant: R_i = x_i Σ_j (δ_ij − 1/N) R_j / (x_j − μ) (Ali et al. 2022).

    N values are normalised together; γ cancels, and β takes nothing.
    """

    def prepare(self, site):
        (x,) = site.inputs
        return kept_from_zero(x - tf.reduce_mean(x, axis=_axes(site), keepdims=True))

    def apply(self, site, prepared, R):
        share = R / per_image(prepared)
        axes = [axis + 1 for axis in _axes(site)]
        return [per_image(site.inputs[0]) * (share - tf.reduce_mean(share, axis=axes, keepdims=True))]


def _axes(site: Site) -> list[int]:
    """The axes over which a LayerNormalization normalises, from 0, the batch."""
    axis = site.part.node.layer.axis
    return [one % site.inputs[0].shape.rank for one in ([axis] if isinstance(axis, int) else axis)]


@dataclass(frozen=True)
class Summed(Rule):
    """An embedding: R_in of a place is the sum of R over its vector's entries."""

    def apply(self, site, prepared, R):
        return [tf.reduce_sum(R, axis=-1)]


@dataclass(frozen=True)
class PaperBatchNorm(Rule):
    """R_in = x (y − β) R / ((x − μ) y ± 1e-7), innvestigate 1.0.8's LRP-z for BatchNormalization."""

    def prepare(self, site):
        layer, (x,) = site.part.node.layer, site.inputs
        mean = site.part.over_axis(layer.moving_mean)
        excess = site.output - site.part.over_axis(layer.beta) if layer.center else site.output
        product = (x - mean) * site.output
        return x * excess / (product + SAFE * tf.where(product >= 0, tf.ones_like(product), -tf.ones_like(product)))

    def apply(self, site, prepared, R):
        return [R * per_image(prepared)]


@dataclass(frozen=True)
class Fused(Rule):
    """Another rule at BatchNormalization, taken for a linear layer as innvestigate 2.1.2 takes it: w = γ/s, b = β − μ/s, s = √(v² + ε).

    It squares the variance v, and leaves γ out of the bias; the layer itself has s = √(v + ε) and b = β − γμ/s.
    """

    rule: Rule

    def parameters(self, part, pattern=None):
        return self.rule.parameters(_FusedPart(**vars(part)))

    def prepare(self, site):
        # what others have computed once is of the layer's own weights
        return self.rule.prepare(site._replace(once=anew))

    def apply(self, site, prepared, R):
        return self.rule.apply(site, prepared, R)


@dataclass(frozen=True)
class FusedTwice(Rule):
    """Another rule at BatchNormalization, taken for two linear layers, u = (x − μ)/s and γu + β, s = √(v² + ε); see `Fused`."""

    rule: Rule

    def parameters(self, part, pattern=None):
        first, second = _Centring(**vars(part)), _Scaling(**{**vars(part), "nonnegative_inputs": False})
        return first.weights(), self.rule.parameters(first), self.rule.parameters(second)

    def prepare(self, site):
        weights, *parameters = site.parameters
        between = site.part.map(site.inputs, weights)
        second = replace(site.part, nonnegative_inputs=False)
        sites = (
            Site(site.part, site.inputs, between, parameters[0]),
            Site(second, [between], site.output, parameters[1]),
        )
        return [(one, self.rule.prepare(one)) for one in sites]

    def apply(self, site, prepared, R):
        for one, made in reversed(prepared):
            (R,) = self.rule.apply(one, made, R)
        return [R]


class _FusedPart(Part):
    """A BatchNormalization as one linear map."""

    def weights(self):
        layer = self.node.layer
        kernel = self._scale / self._deviation
        bias = (layer.beta if layer.center else 0) - layer.moving_mean / self._deviation
        return Weights((self.over_axis(kernel),), self.over_axis(bias))

    @property
    def _scale(self) -> Any:
        layer = self.node.layer
        return layer.gamma if layer.scale else tf.ones_like(layer.moving_mean)

    @property
    def _deviation(self) -> tf.Tensor:
        return tf.sqrt(tf.square(self.node.layer.moving_variance) + self.node.layer.epsilon)


class _Centring(_FusedPart):
    """The first of its two."""

    def weights(self):
        return Weights((self.over_axis(1 / self._deviation),), self.over_axis(-self.node.layer.moving_mean / self._deviation))


class _Scaling(_FusedPart):
    """The second."""

    def weights(self):
        layer = self.node.layer
        return Weights((self.over_axis(self._scale),), self.over_axis(layer.beta if layer.center else tf.zeros_like(layer.moving_mean)))


@dataclass(frozen=True)
class Clipped(Rule):
    """Another rule's result, cut to [0, 1000]: the paper authors' residual Add."""

    linear = False

    rule: Rule

    def parameters(self, part, pattern=None):
        return self.rule.parameters(part, pattern)

    def prepare(self, site):
        return self.rule.prepare(site)

    def apply(self, site, prepared, R):
        return [tf.clip_by_value(r, *CLIP) for r in self.rule.apply(site, prepared, R)]
