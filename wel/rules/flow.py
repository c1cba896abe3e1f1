"""What goes through a network: values up, relevance down; of DeepLIFT, differences up and multipliers down."""
from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Callable, Sequence

import tensorflow as tf

from wel.rules.base import per_image
from wel.rules.deeplift import Difference, Multipliers, one


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


@dataclass(frozen=True)
class Contributions(Relevance):
    """Values are `Difference`s from those for the reference; `Multipliers` go down; m⁺Δ⁺ + m⁻Δ⁻ is read.

    `split` says whether Δ⁺ and Δ⁻ are kept apart.
    """

    split: bool

    def enter(self, images, reference):
        delta = images - reference
        return Difference(images, reference, *((tf.maximum(delta, 0), tf.minimum(delta, 0)) if self.split else (delta, None)))

    def inject(self, vectors):
        return one(vectors)

    def read(self, value, rows):
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
