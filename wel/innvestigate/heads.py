"""What begins at the output: what analyzers make there of the network's own output."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import tensorflow as tf

from wel.backends import find_backend
from wel.backends.request import Injection, Request, Whole, times_value
from wel.networks.network import Network


@dataclass(frozen=True)
class Head:
    """Vectors (n, V, classes) as they begin at an output (n, classes).

    Attributes:
        largest: whether only the output's largest entry begins, else all.
        logit: whether they are multiplied with the output.
        positive: whether what is negative is left out.
    """

    largest: bool
    logit: bool
    positive: bool

    def __call__(self, vectors: Any, output: Any) -> Any:
        if self.largest:
            vectors = vectors * tf.one_hot(tf.argmax(output, axis=-1), output.shape[-1], dtype=output.dtype)[:, None]
        if self.logit:
            vectors = times_value(vectors, output)
        return tf.maximum(vectors, 0) if self.positive else vectors


def from_output(net: Network, request: Request, images: np.ndarray, vectors: np.ndarray, head: Head) -> np.ndarray:
    """Relevance at the input, (n, *input shape), of what a head makes of vectors (n, classes): one pass up and one down, batch by batch."""
    opened = find_backend("native", request.method).open(net)
    injection = Injection(net.graph.output, 1, frozenset([net.graph.input]), Whole(), made_of=head)
    size, found = opened.images_at_once(1, request), []
    for first in range(0, len(images), size):
        batch = slice(first, first + size)
        (read,) = opened.inject(request, images[batch], [injection], [vectors[batch, None]], len(images) - first)
        found.append(read[net.graph.input][:, 0])
    return np.concatenate(found)
