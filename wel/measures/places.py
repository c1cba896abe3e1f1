"""Places of inputs and layers, (height, width) of pictures: maps of one value for each, enlarged and spread over channels."""

from __future__ import annotations

from typing import Sequence

import numpy as np


def places(shape: Sequence[int]) -> tuple[int, ...]:
    """The places of values (*places, channels); of a vector its values are the places."""
    return tuple(shape[:-1]) or tuple(shape)


def spread(maps: np.ndarray, shape: Sequence[int]) -> np.ndarray:
    """Maps (n, *places) as maps (n, *shape): a place's value in each of its channels."""
    return maps if len(shape) == 1 else np.repeat(maps[..., None], shape[-1], axis=-1)


def enlarged(maps: np.ndarray, sizes: Sequence[int]) -> np.ndarray:
    """Maps (n, *places) with `sizes` places, linearly interpolated along every axis; beyond the outermost centres they are constant."""
    for axis, size in enumerate(sizes, start=1):
        maps = np.moveaxis(np.tensordot(_interpolation(maps.shape[axis], size), maps, (1, axis)), 0, axis)
    return maps


def _interpolation(size: int, to: int) -> np.ndarray:
    """Weights (to, size) with which values at the centres of `size` equal parts make those at the centres of `to` parts."""
    at = np.clip((np.arange(to) + 0.5) * size / to - 0.5, 0, size - 1)
    return np.maximum(0, 1 - np.abs(at[:, None] - np.arange(size)))
