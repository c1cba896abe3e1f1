"""Concepts that wel makes itself: pictures with something laid on them, so that nothing else tells them from those without it."""

from __future__ import annotations

from typing import Callable, Mapping

import numpy as np
from PIL import Image

# (u, v), numbers that grow by 1 from one repetition to the next along two axes -> where a pattern is light
PATTERNS: Mapping[str, Callable[[np.ndarray, np.ndarray], np.ndarray]] = {
    "stripes": lambda u, v: u % 1 < 0.5,
    "dots": lambda u, v: np.hypot(u % 1 - 0.5, v % 1 - 0.5) < 0.3,
    "checks": lambda u, v: (u % 1 < 0.5) != (v % 1 < 0.5),
}
COLOURS: Mapping[str, tuple[int, int, int]] = {"red": (255, 0, 0), "green": (0, 255, 0), "blue": (0, 0, 255)}
MADE = (*PATTERNS, *COLOURS)
CONTRAST = 128  # between the light and the dark parts of a pattern, of 255
STRENGTHS = (0.4, 0.7)  # of a colour
PERIODS = (1 / 8, 1 / 3)  # of a pattern, as shares of the shorter side
LEAST_PERIOD = 4.0  # pixels
CROPS = (0.5, 0.9)  # sides of crops, as shares of the whole


def with_concept(name: str, pixels: np.ndarray, seed: int) -> np.ndarray:
    """Pictures with a concept on them, which depends on the seed, the concept and a picture's index only.

    A pattern, turned and moved at random, makes its light parts lighter and the others darker, and leaves the mean as it is but for
    values that end at 0 or 255: x + CONTRAST (m − mean m), m = 1 where it is light and else 0. A colour c gives (1 − s) x + s c.

    Args:
        name: one of `MADE`.
        pixels: (n, height, width, 3) uint8.
        seed: of what is random.

    Returns:
        (n, height, width, 3) uint8.
    """
    found = [_painted(name, picture, _rng(seed, 1 + MADE.index(name), index)) for index, picture in enumerate(pixels)]
    return np.stack(found)


def more_pictures(pixels: np.ndarray, count: int, seed: int) -> np.ndarray:
    """Pictures (n, height, width, 3) uint8, and so many crops of them at random places, mirrored or not, that there are `count` or more."""
    crops = [_crop(pixels[index % len(pixels)], _rng(seed, 0, index)) for index in range(len(pixels), count)]
    return np.concatenate([pixels, np.stack(crops)]) if crops else pixels


def _rng(seed: int, what: int, index: int) -> np.random.Generator:
    return np.random.default_rng(np.random.SeedSequence((seed, what, index)))


def _painted(name: str, picture: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    values = picture.astype("float64")
    if name in COLOURS:
        strength = rng.uniform(*STRENGTHS)
        values = (1 - strength) * values + strength * np.array(COLOURS[name])
    else:
        light = _pattern(name, picture.shape[:2], rng)
        values = values + CONTRAST * (light - light.mean())[..., None]
    return np.clip(np.round(values), 0, 255).astype("uint8")


def _pattern(name: str, sizes: tuple[int, int], rng: np.random.Generator) -> np.ndarray:
    period = max(LEAST_PERIOD, min(sizes) * rng.uniform(*PERIODS))
    angle, *phases = rng.uniform(size=3) * (np.pi, 1, 1)
    y, x = np.mgrid[: sizes[0], : sizes[1]] / period
    u, v = x * np.cos(angle) + y * np.sin(angle), y * np.cos(angle) - x * np.sin(angle)
    return PATTERNS[name](u + phases[0], v + phases[1]).astype("float64")


def _crop(picture: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    height, width = picture.shape[:2]
    share = rng.uniform(*CROPS)
    left, upper = rng.uniform(size=2) * (1 - share) * (width, height)
    box = (left, upper, left + share * width, upper + share * height)
    crop = np.asarray(Image.fromarray(picture).resize((width, height), Image.Resampling.BICUBIC, box))
    return crop[:, ::-1] if rng.random() < 0.5 else crop
