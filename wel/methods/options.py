"""The methods' own parameters: what was given, checked, and what the images say where nothing was given."""

from __future__ import annotations

import hashlib
import math
from numbers import Real
from typing import Any

import numpy as np

from wel.errors import UnsupportedError, check_whole, invalid, one_of
from wel.methods.registry import METHODS, Method

# what numeric options may be
NUMBERS = {
    "percentile": (lambda value: 0 <= value <= 100, "a number from 0 to 100"),
    "epsilon": (lambda value: 0 < value < math.inf, "a number above 0"),
    "low": (math.isfinite, "a finite number"),
    "high": (math.isfinite, "a finite number"),
    "noise_scale": (lambda value: 0 <= value < math.inf, "a number from 0 on"),
}
COUNTS = ("samples", "steps")


def settle_options(method: Method, given: dict[str, Any], images: np.ndarray) -> dict[str, Any]:
    """A method's options with what was given and, where None is the default, what the images say.

    Deep Taylor's `low` and `high` are the range of all images of the study (DESIGN: the range of the example image).
    `reference` becomes an array shaped like one image: "zero", "mean" (of the images), a colour, or an array.
    `noise` stays "random", or is an array (n, samples, *one image).

    Raises:
        WelError: for an option that the method does not have, or a value that it cannot take.
        UnsupportedError: when patterns are needed and none are given.
    """
    for key in given:
        if key not in method.options:
            raise invalid("options", key, f"for {method.name}: {one_of(method.options) if method.options else 'none'}")
    settled = {key: _settled(method, key, value, images) for key, value in {**method.options, **given}.items()}
    if "low" in settled and settled["low"] > settled["high"]:
        raise invalid("low", settled["low"], f"at most `high`, {settled['high']}")
    return settled


def described(options: dict[str, Any]) -> dict[str, Any]:
    """Options as they go into a run's record: arrays as their sha256."""
    return {key: _digest(value) if isinstance(value, (list, np.ndarray)) else value for key, value in options.items()}


def _settled(method: Method, option: str, value: Any, images: np.ndarray) -> Any:
    if option in NUMBERS:
        bounds = {"low": images.min, "high": images.max}
        return float(bounds[option]()) if value is None else _number(option, value)
    if option in COUNTS:
        return _count(option, value)
    if option == "reference":
        return _reference(value, images)
    if option == "noise":
        return _noise(value, images)
    if option == "base":
        return _base(value)
    if value is None:
        raise UnsupportedError(f"Method '{method.name}' needs patterns of this network.", "Expected the option patterns=[array, …].")
    return [np.asarray(array, dtype="float32") for array in value]


def _number(option: str, value: Any) -> float:
    fits, expected = NUMBERS[option]
    if not isinstance(value, Real) or not fits(value):
        raise invalid(option, value, expected)
    return float(value)


def _count(option: str, value: Any) -> int:
    check_whole(option, value, 1)
    return int(value)


def _noise(value: Any, images: np.ndarray) -> str | np.ndarray:
    if isinstance(value, str):
        if value != "random":
            raise invalid("noise", value, "'random', or an array (n, samples, *one image)")
        return value
    array = np.asarray(value, dtype="float32")
    if array.ndim != images.ndim + 1 or (array.shape[0], *array.shape[2:]) != images.shape or not array.size:
        raise invalid("noise", f"an array of shape {array.shape}", f"shape (n, samples, *one image), here of images {images.shape}")
    return array


def _base(value: Any) -> str:
    names = [name for name in METHODS if name.startswith("lrp_")]
    if value not in names:
        raise invalid("base", value, one_of(names))
    return value


def _reference(value: Any, images: np.ndarray) -> np.ndarray:
    if isinstance(value, str):
        if value not in ("zero", "mean"):
            raise invalid("reference", value, "'zero', 'mean', a colour (one number per channel), or an array shaped like an image")
        return np.zeros_like(images[0]) if value == "zero" else images.mean(axis=0, dtype="float64").astype("float32")
    array = np.asarray(value, dtype="float32")
    if array.shape not in (images.shape[1:], images.shape[-1:]):
        raise invalid("reference", f"an array of shape {array.shape}", f"shape {images.shape[1:]} or {images.shape[-1:]}")
    return np.broadcast_to(array, images.shape[1:]).copy()


def _digest(arrays) -> str:
    digest = hashlib.sha256()
    for array in arrays:
        digest.update(np.ascontiguousarray(array, dtype="float32").tobytes())
    return digest.hexdigest()
