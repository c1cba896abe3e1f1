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
    layer = int.from_bytes(hashlib.sha256(start.encode()).digest()[:8], "little")
    return np.stack([np.stack([_vector((seed, layer, image, k), shape) for k in range(count)]) for image in images])


def _vector(key: tuple[int, ...], shape: Sequence[int]) -> np.ndarray:
    return np.random.default_rng(np.random.SeedSequence(key)).standard_normal(tuple(shape), dtype="float32")
