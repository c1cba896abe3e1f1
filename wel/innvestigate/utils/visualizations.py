"""Maps as arrays for the eye: scaled to a range, in colours, with their small values raised.

They are innvestigate's, but no array is changed in place. Where innvestigate fails or mixes values up, with several maps at once, colours
that are not the last axis, and maps that are 0 everywhere, they do what they say.
"""

from __future__ import annotations

from typing import Any, Sequence

import numpy as np

from wel.errors import invalid


def project(X: np.ndarray, output_range: Sequence[float] = (0, 1), absmax: Any = None, input_is_positive_only: bool = False) -> np.ndarray:
    """Every map, divided by its largest absolute value, from [−1, 1] onto a range; from [0, 1] if none of it is negative.

    Args:
        X: (n, …).
        output_range: the ends of the range.
        absmax: what is divided by in place of the largest absolute values: a number, or one for each map.
        input_is_positive_only: whether [0, 1] is projected.

    Returns:
        (n, …); what is beyond the range is set to its ends.
    """
    X = np.asarray(X, dtype=np.result_type(X, "float32"))
    largest = np.abs(X).max(axis=tuple(range(1, X.ndim))) if absmax is None else np.broadcast_to(absmax, X.shape[:1])
    largest = np.where(largest == 0, 1, largest).astype(X.dtype).reshape(-1, *[1] * (X.ndim - 1))
    scaled = X / largest if input_is_positive_only else (X / largest + 1) / 2
    low, high = output_range
    return low + scaled.clip(0, 1) * (high - low)


def heatmap(
    X: np.ndarray, cmap_type: str = "seismic", reduce_op: str = "sum", reduce_axis: int = -1, alpha_cmap: bool = False, **kwargs: Any
) -> np.ndarray:
    """Maps in the colours of a colour map.

    Args:
        X: (n, …) with an axis of channels.
        cmap_type: matplotlib's name of the colour map.
        reduce_op: what is made of the channels: "sum"; or "absmax", which is innvestigate's, the largest value.
        reduce_axis: the axis of the channels, which is that of the colours then.
        alpha_cmap: whether there are four colours, the last one how opaque it is.
        kwargs: `project`'s.

    Returns:
        float32 from 0 to 1, of the shape of X with 3 or 4 in place of the channels.

    Raises:
        WelError: for another `reduce_op`, or a colour map that matplotlib does not have.
    """
    from matplotlib import colormaps  # takes a second

    reductions = {"sum": np.sum, "absmax": np.max}
    if reduce_op not in reductions:
        raise invalid("reduce_op", reduce_op, "'sum' or 'absmax'")
    if cmap_type not in colormaps:
        raise invalid("cmap_type", cmap_type, "a colour map of matplotlib's, such as 'seismic'")
    places = project(reductions[reduce_op](np.asarray(X), axis=reduce_axis), output_range=(0, 255), **kwargs).astype("int64")
    colours = colormaps[cmap_type](places)[..., : 3 + bool(alpha_cmap)]
    return np.moveaxis(colours, -1, reduce_axis).astype("float32")


def graymap(X: np.ndarray, **kwargs: Any) -> np.ndarray:
    """`heatmap` in grey."""
    return heatmap(X, cmap_type="gray", **kwargs)


def gamma(X: np.ndarray, gamma: float = 0.5, minamp: float = 0, maxamp: float | None = None) -> np.ndarray:
    """m + A sign(x − m) (|x − m| / A)^γ: values near the middle m are raised, for γ below 1, and signs stay.

    Args:
        X: any array.
        gamma: γ.
        minamp: m.
        maxamp: A; by default the largest |x − m|.
    """
    away = np.asarray(X, dtype=np.result_type(X, "float32")) - minamp
    most = np.abs(away).max() if maxamp is None else maxamp
    return minamp + most * np.sign(away) * (np.abs(away) / (most or 1)) ** gamma


def clip_quantile(X: np.ndarray, quantile: float | Sequence[float] = 1) -> np.ndarray:
    """The array with what is beyond two percentiles set to them: `quantile` and 100 − `quantile`, or the two that are given."""
    low, high = quantile if isinstance(quantile, (list, tuple)) else (quantile, 100 - quantile)
    X = np.asarray(X)
    return X.clip(*np.percentile(X, [low, high])).astype(X.dtype)
