"""The random vectors that studies inject."""

from __future__ import annotations

import hashlib
from typing import Sequence

import numpy as np


def random_vectors(seed: int, start: str, images: Sequence[int], count: int, shape: Sequence[int]) -> np.ndarray:
    """Vectors v ~ N(0, I), (n, count, *shape) float32, that depend on (seed, start layer, image index, vector index) only.

    Args:
        seed: the study's seed.
        start: Keras name of the start layer.
        images: index of each image in the study.
        count: vectors per image.
        shape: of the start layer's output.
    """
    layer = key_of(start)
    return np.stack([np.stack([_vector((seed, layer, image, k), shape) for k in range(count)]) for image in images])


def noise(seed: int, name: str, index: int, image: np.ndarray, samples: int, scale: float) -> np.ndarray:
    """σ ε_k, (samples, *shape of the image), σ = scale · (max x − min x), ε_k ~ N(0, I); ε depends on (seed, name, index, k) only."""
    spread = scale * (image.max() - image.min())
    return spread * random_vectors(seed, name, [index], samples, image.shape)[0]


def key_of(name: str) -> int:
    """A name as a part of a seed, 0 to 2⁶⁴ − 1."""
    return int.from_bytes(hashlib.sha256(name.encode()).digest()[:8], "little")


def _vector(key: tuple[int, ...], shape: Sequence[int]) -> np.ndarray:
    return np.random.default_rng(np.random.SeedSequence(key)).standard_normal(tuple(shape), dtype="float32")
