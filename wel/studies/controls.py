"""Controls that other maps are held against: one without information, and one that does not look at the network."""

from __future__ import annotations

import hashlib

import numpy as np
from scipy import ndimage

from wel.measures.places import places
from wel.studies.query import Query


def random(query: Query) -> np.ndarray:
    """Values from N(0, 1), (n, *input shape), that depend on the seed, the image, its class and the network's weights only.

    Whoever asks whether a map changes with the class or the network finds that this one does.
    Source: Binder et al. (2023).
    """
    weights = query.net.weights_hash()
    return np.stack([_drawn(query.seed, weights, image, head) for image, head in zip(query.images, query.head)])


def _drawn(seed: int, weights: str, image: np.ndarray, head: np.ndarray) -> np.ndarray:
    digest = hashlib.sha256(weights.encode() + image.tobytes() + head.tobytes()).digest()
    return np.random.default_rng(np.random.SeedSequence((seed, int.from_bytes(digest[:8], "little")))).standard_normal(image.shape)


def edges(query: Query) -> np.ndarray:
    """The size of the image's gradient by Sobel's operator, channel by channel, (n, *input shape).

    Source: Adebayo et al. (2018), who compare maps with an edge detector.
    """
    return np.stack([_edges(image) for image in query.images])


def _edges(image: np.ndarray) -> np.ndarray:
    channels = image.reshape(*places(image.shape), -1).astype("float64")
    found = [ndimage.generic_gradient_magnitude(channel, ndimage.sobel, mode="nearest") for channel in np.moveaxis(channels, -1, 0)]
    return np.stack(found, axis=-1).reshape(image.shape)
