"""The methods' own parameters: what each may be, and what it becomes for the images of a study."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from numbers import Real
from typing import TYPE_CHECKING, Any, Callable, ClassVar, Mapping, Sequence

import numpy as np

from wel.errors import UnsupportedError, check_whole, invalid, of_method, one_of
from wel.measures.places import places

if TYPE_CHECKING:
    from wel.methods.registry import Method


@dataclass(frozen=True)
class Option:
    """A parameter of a method.

    Attributes:
        default: what it is unless it is given; None stands for `derived`, or "must be given".
        needed: what of a network has to be given, in a word; empty for an option that may be left out.
        given: what is needed, as it can be given.
        derived: where it comes from if it has no default, in words.
    """

    default: Any = None
    needed: ClassVar[str] = ""
    given: ClassVar[str] = ""
    derived: ClassVar[str] = "from the images"

    def settled(self, name: str, value: Any, images: np.ndarray) -> Any:
        """The value as rules take it.

        Raises:
            WelError: for a value that it cannot take; the message names the option.
        """
        raise NotImplementedError


@dataclass(frozen=True)
class Number(Option):
    """A finite number within [least, most], or where `above` is set (above, ∞); by default perhaps what a function of the images says."""

    least: float = -np.inf
    most: float = np.inf
    above: float | None = None
    of_images: Callable[[np.ndarray], Any] | None = None

    def settled(self, name, value, images):
        if value is None and self.of_images:
            return float(self.of_images(images))
        if not isinstance(value, Real) or not np.isfinite(value) or not self._fits(float(value)):
            raise invalid(name, value, self.expected)
        return float(value)

    def _fits(self, value: float) -> bool:
        return self.least <= value <= self.most and (self.above is None or value > self.above)

    @property
    def expected(self) -> str:
        """What it may be, in words."""
        if self.above is not None:
            return f"a number above {self.above:g}"
        if np.isfinite(self.most):
            return f"a number from {self.least:g} to {self.most:g}"
        return f"a number from {self.least:g} on" if np.isfinite(self.least) else "a finite number"


@dataclass(frozen=True)
class Count(Option):
    """A whole number of at least 1."""

    def settled(self, name, value, images):
        check_whole(name, value, 1)
        return int(value)


@dataclass(frozen=True)
class Patch(Option):
    """How many places a patch takes along every axis of an image, at most all of the shortest one."""

    derived = "an eighth of the shortest side"

    def settled(self, name, value, images):
        shortest = min(places(images.shape[1:]))
        if value is None:
            return max(1, shortest // 8)
        check_whole(name, value, 1)
        if value > shortest:
            raise invalid(name, value, f"at most {shortest}, the shortest side of an image")
        return int(value)


@dataclass(frozen=True)
class Stride(Option):
    """How many places a patch moves on, at most as many as it takes, `patch`, so that none is left out."""

    derived = "half of patch"

    def settled(self, name, value, images):
        if value is not None:
            check_whole(name, value, 1)
        return value


@dataclass(frozen=True)
class Layer(Option):
    """A layer that maps are taken from (`wel.methods.layers`)."""

    derived = "the end of the last convolutional block"

    def settled(self, name, value, images):
        return value


@dataclass(frozen=True)
class Choice(Option):
    """One of several words."""

    among: tuple[str, ...] = ()

    def settled(self, name, value, images):
        if value not in self.among:
            raise invalid(name, value, one_of(self.among))
        return value


@dataclass(frozen=True)
class Reference(Option):
    """An input that others are compared with, an array shaped like one image: "zero", "mean" (of the images), a colour, or an array."""

    default: Any = "zero"

    def settled(self, name, value, images):
        if isinstance(value, str):
            if value not in ("zero", "mean"):
                raise invalid(name, value, "'zero', 'mean', a colour (one number per channel), or an array shaped like an image")
            return np.zeros_like(images[0]) if value == "zero" else images.mean(axis=0, dtype="float64").astype("float32")
        array = np.asarray(value, dtype="float32")
        if array.shape not in (images.shape[1:], images.shape[-1:]):
            raise invalid(name, f"an array of shape {array.shape}", f"shape {images.shape[1:]} or {images.shape[-1:]}")
        return np.broadcast_to(array, images.shape[1:]).copy()


@dataclass(frozen=True)
class Noise(Option):
    """What is added to every image: "random", drawn from the seed, or an array (n, samples, *one image)."""

    default: Any = "random"

    def settled(self, name, value, images):
        if isinstance(value, str):
            if value != "random":
                raise invalid(name, value, "'random', or an array (n, samples, *one image)")
            return value
        array = np.asarray(value, dtype="float32")
        if array.ndim != images.ndim + 1 or (array.shape[0], *array.shape[2:]) != images.shape or not array.size:
            raise invalid(name, f"an array of shape {array.shape}", f"shape (n, samples, *one image), here of images {images.shape}")
        return array


@dataclass(frozen=True)
class Sample(Option):
    """Images that something is estimated from, two or more."""

    derived = "the images"

    def settled(self, name, value, images):
        array = images if value is None else np.asarray(value, dtype="float32")
        if array.shape[1:] != images.shape[1:] or len(array) < 2:
            raise invalid(name, f"an array of shape {array.shape}", f"two images or more, of shape {images.shape[1:]}")
        return array


@dataclass(frozen=True)
class PatternArrays(Option):
    """One array per layer with a kernel (`wel.methods.patterns`); they have to be given."""

    needed, given = "patterns", "a file that `wel fit-patterns` wrote, or arrays"

    def settled(self, name, value, images):
        return [np.asarray(array, dtype="float32") for array in value]


@dataclass(frozen=True)
class Rules(Option):
    """Which rule each layer gets: `wel.methods.composites.Given`, `BySemantics`, or `wel.methods.layered.Layered`."""

    def settled(self, name, value, images):
        if value != self.default and not isinstance(value, type(self.default)):
            raise invalid(name, value, "what the method came with")
        return value


def settle_options(method: Method, given: Mapping[str, Any], images: np.ndarray) -> dict[str, Any]:
    """A method's options with what was given and, where None is the default, what the images say.

    Deep Taylor's `low` and `high` are the range of all images of the study.

    Raises:
        WelError: for an option that the method does not have, or a value that it cannot take.
        UnsupportedError: when patterns are needed and none are given.
    """
    for key in given:
        if key not in method.options:
            raise invalid("options", key, f"for {method.name}: {one_of(method.options) if method.options else 'none'}")
    settled = {name: _settled(method, name, given.get(name, option.default), images) for name, option in method.options.items()}
    if "low" in settled and settled["low"] > settled["high"]:
        raise invalid("low", settled["low"], f"at most `high`, {settled['high']}")
    if "stride" in settled:
        settled["stride"] = _stride(settled["stride"], settled["patch"])
    return settled


def _stride(given: int | None, patch: int) -> int:
    if given is not None and given > patch:
        raise invalid("stride", given, f"at most `patch`, {patch}")
    return given or max(1, patch // 2)


def _settled(method: Method, name: str, value: Any, images: np.ndarray) -> Any:
    option = method.options[name]
    if value is None and option.needed:
        message = of_method(method.name, f"needs {option.needed} of this network.")
        raise UnsupportedError(message, f"Expected the option `{name}`: {option.given}.")
    return option.settled(name, value, images)


def described(options: Mapping[str, Any]) -> dict[str, Any]:
    """Options as they go into a run's record: arrays as their sha256, rules in words."""
    return {key: _described(value) for key, value in options.items()}


def _described(value: Any) -> Any:
    if isinstance(value, (list, np.ndarray)):
        return arrays_sha256(value)
    return value if value is None or isinstance(value, (str, Real)) else str(value)


def arrays_sha256(arrays: Sequence[np.ndarray] | np.ndarray) -> str:
    """sha256 over the float32 bytes of arrays, one after the other."""
    digest = hashlib.sha256()
    for array in arrays:
        digest.update(np.ascontiguousarray(array, dtype="float32").tobytes())
    return digest.hexdigest()
