"""What a rule is: what it needs of the weights, what it prepares once per image, and what it does to a batch of vectors.

Values of n images are (n, *shape). Relevance is (n, rows, *shape): an image's rows are the vectors that are on their way down, and each
of them passes a layer by itself. Between a value x and a relevance R stands `x[:, None]` (`per_image`), which is (n, 1, *shape).
"""

from __future__ import annotations

from dataclasses import dataclass, fields, is_dataclass
from typing import Any, Callable, ClassVar, Hashable, NamedTuple, Sequence

import tensorflow as tf

from wel.rules.parts import Part, Weights

SAFE = 1e-7  # stands in for a denominator that is exactly 0 (innvestigate's K.epsilon())
LETTERS = {"alpha": "α", "beta": "β", "gamma": "γ", "epsilon": "ε"}


REFERENCE = "reference"  # what is computed once under this name is of DeepLIFT's reference, whatever the images
VALUE = "value"  # and under this one a part's output, where DeepLIFT computes it itself
Once = Callable[[Hashable, Callable[[], Any]], Any]


def anew(name: Hashable, compute: Callable[[], Any]) -> Any:
    """Where nothing is kept from one method to the next."""
    return compute()


class Site(NamedTuple):
    """A layer, or a part of one, at the values of some images: all that a rule may look at.

    Attributes:
        part: the layer (`part.node.layer` is Keras's), or its kernel, or its activation function.
        inputs: (n, *shape) for each of its inputs; DeepLIFT's are `wel.rules.deeplift.Difference`.
        output: (n, *shape).
        parameters: what the rule's `parameters` gave.
        once: function (name, compute) that gives what `compute` does, computed by the first method that asks for it; the others of an
            audit get the same. What it is may depend on the layer and the images alone.
    """

    part: Part
    inputs: Sequence[Any]
    output: Any
    parameters: Any
    once: Once = anew


class Rule:
    """How relevance at a layer's output becomes relevance at its inputs: a class with `apply`, and where that saves time `prepare`.

    A rule's numbers are the fields of a frozen dataclass; a rule without any is a plain class:

        class Squared(wel.Rule):  # R_in = x² ∘ R
            def apply(self, site, prepared, R):
                (x,) = site.inputs
                return [x[:, None] ** 2 * R]

    All of it is TensorFlow operations that become part of a compiled graph. `wel.register_rule` says which layers get the rule; for
    one that serves all linear layers see `wel.LinearRule`.
    """

    # whether what is passed down is a linear function of R
    linear: ClassVar[bool] = True
    # whether the part's output is what the network computes, to the last bit
    network_values: ClassVar[bool] = True

    def parameters(self, part: Part, pattern: Any = None) -> Any:
        """Tensors that `site.parameters` holds then; any structure of them, made of the layer's weights once per study."""
        return ()

    def forward(self, part: Part, weights: Weights | None, inputs: Sequence[Any], once: Once = anew) -> Any:
        """The part's output; only rules of methods that send more than values up (DeepLIFT) have one of their own."""
        return part.forward(inputs, weights)

    def prepare(self, site: Site) -> Any:
        """What `prepared` is in `apply`: denominators, masks, all that does not depend on R. It is computed once per image."""
        return ()

    def apply(self, site: Site, prepared: Any, R: Any) -> list:
        """The relevance of each input, a list of (n, rows, *shape of the input), for R (n, rows, *shape of the output).

        R is a tuple of tensors where the method passes several down (DeepLIFT's multipliers); so is then what is returned.
        """
        raise NotImplementedError

    def __str__(self) -> str:
        """The rule with its numbers, such as `AlphaBeta(α=1, β=0, bias both)`; one that changes another stands before it."""
        values = {field.name: getattr(self, field.name) for field in fields(self)} if is_dataclass(self) else {}
        inner = [str(value) for value in values.values() if isinstance(value, Rule)]
        settings = [_setting(name, value) for name, value in values.items() if value is not None and not isinstance(value, Rule)]
        return " ".join([type(self).__name__ + (f"({', '.join(settings)})" if settings else ""), *inner])


def _setting(name: str, value: Any) -> str:
    if isinstance(value, bool):
        return name if value else f"no {name}"
    if isinstance(value, (int, float)):
        return f"{LETTERS.get(name, name)}={value:g}"
    return f"{name} {getattr(value, 'name', value)}"


def per_image(tensor: tf.Tensor) -> tf.Tensor:
    """(n, *shape) as (n, 1, *shape), which broadcasts over the rows."""
    return tensor[:, None]


def kept_from_zero(z: tf.Tensor, stabilizer: float | None = None) -> tf.Tensor:
    """z with 1e-7 where it is exactly 0; with a stabiliser s, z + s sign z everywhere, sign 0 = 1."""
    if stabilizer:
        return z + stabilizer * tf.where(z >= 0, tf.ones_like(z), -tf.ones_like(z))
    return tf.where(tf.equal(z, 0), tf.constant(SAFE, z.dtype), z)


@dataclass(frozen=True)
class LinearRule(Rule):
    """A rule for layers y = Wx + b: R_in = x̂ ⊙ Ŵᵀ(R / ẑ), ẑ = Ŵx̂ + b̂.

    LRP-z as it stands (Bach et al. 2015, eq. 56): x̂ = x, Ŵ = W, b̂ = b and ẑ kept from zero. Override `input`, `split` or
    `denominator` for another rule; it then serves every linear layer: dense layers, convolutions, BatchNormalization, Add, average
    pooling.
    """

    def input(self, x: tf.Tensor) -> tf.Tensor:
        """x̂, (n, *shape), for x (n, *shape)."""
        return x

    def split(self, weights: Weights) -> Weights:
        """Ŵ and b̂ for W and b; `weights.each(function)` is a function of all coefficients."""
        return weights

    def denominator(self, z: tf.Tensor) -> tf.Tensor:
        """What R is divided by, (n, *shape of the output), for ẑ."""
        return kept_from_zero(z)

    def parameters(self, part, pattern=None):
        return self.split(part.weights())

    def prepare(self, site):
        inputs = [self.input(x) for x in site.inputs]
        return inputs, self.denominator(site.part.map(inputs, site.parameters))

    def apply(self, site, prepared, R):
        inputs, denominator = prepared
        back = site.part.transposed(R / per_image(denominator), site.parameters)
        return [per_image(x) * c for x, c in zip(inputs, back)]


@dataclass(frozen=True)
class Relevance:
    """Values are tensors (n, *shape); relevance (n, rows, *shape) is what goes down and what is read."""

    def enter(self, images: tf.Tensor, reference: tf.Tensor) -> Any:
        """The network's input as a value."""
        return images

    def inject(self, vectors: tf.Tensor) -> Any:
        """Vectors (n, V, *shape) as they go down."""
        return vectors

    def read(self, value: Any, rows: Any) -> tf.Tensor:
        """The relevance, (n, rows, *shape), of what has come down to a value."""
        return rows
