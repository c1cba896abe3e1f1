"""What a rule is: what it needs of the weights, what it prepares once per image, and what it does to a batch of vectors.

Tensors of an image batch are (n, *shape); relevance is (n, rows, *shape), where the rows of one image are the vectors of all start
layers. A rule is written for one of them: `per_image` and `rows` translate.
"""
from __future__ import annotations

from dataclasses import dataclass
from typing import Any, NamedTuple, Sequence

import tensorflow as tf

from wel.rules.parts import Part, Weights

SAFE = 1e-7  # stands in for a denominator that is exactly 0 (innvestigate's K.epsilon())


class Site(NamedTuple):
    """A part of the network at the values of some images, as a rule sees it.

    Attributes:
        part: the layer, or its kernel, or its activation function.
        inputs: (n, *shape) each; DeepLIFT's are `wel.rules.deeplift.Difference`.
        output: (n, *shape).
        parameters: what the rule's `parameters` gave.
    """

    part: Part
    inputs: Sequence[Any]
    output: Any
    parameters: Any


class Rule:
    """How relevance R at a part's output becomes relevance at its inputs. Subclasses are frozen dataclasses of named numbers."""

    def parameters(self, part: Part, pattern: Any = None) -> Any:
        """Tensors made of the part's weights, once per study; any structure of them."""
        return ()

    def forward(self, part: Part, weights: Weights | None, inputs: Sequence[Any]) -> Any:
        """The part's output."""
        return part.forward(inputs, weights)

    def prepare(self, site: Site) -> Any:
        """What does not depend on the vectors: denominators, masks, splits; once per image."""
        return ()

    def apply(self, site: Site, prepared: Any, R: Any) -> list:
        """Relevance at each input, (n, rows, *shape), for R (n, rows, *shape of the output).

        R is a tuple of tensors where the method passes several down (DeepLIFT's multipliers); so is then what is returned.
        """
        raise NotImplementedError


def per_image(tensor: tf.Tensor) -> tf.Tensor:
    """(n, *shape) as (n, 1, *shape), which broadcasts over the rows."""
    return tensor[:, None]


def kept_from_zero(z: tf.Tensor) -> tf.Tensor:
    """z with 1e-7 where it is exactly 0."""
    return tf.where(tf.equal(z, 0), tf.constant(SAFE, z.dtype), z)


@dataclass(frozen=True)
class LinearRule(Rule):
    """A rule for layers y = Wx + b: R_in = x̂ ⊙ Ŵᵀ(R / ẑ), ẑ = Ŵx̂ + b̂.

    LRP-z as it stands (Bach et al. 2015, eq. 56): x̂ = x, Ŵ = W, b̂ = b and ẑ kept from zero. Override `input`, `split` or
    `denominator` for another rule; it then serves every linear layer.
    """

    def input(self, x: tf.Tensor) -> tf.Tensor:
        """x̂."""
        return x

    def split(self, weights: Weights) -> Weights:
        """Ŵ and b̂."""
        return weights

    def denominator(self, z: tf.Tensor) -> tf.Tensor:
        """What R is divided by."""
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
