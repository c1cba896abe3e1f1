"""Pictures and maps in the order of axes and colours that a model, or a figure, has them in."""

from __future__ import annotations

import numpy as np

from wel.errors import invalid, one_of

CODINGS = (None, "RGBtoBGR", "BGRtoRGB")


def preprocess_images(images: np.ndarray, color_coding: str | None = None) -> np.ndarray:
    """Pictures with their colours last, as wel's models have them.

    Args:
        images: (n, height, width, colours), or (n, colours, height, width) with one or three colours.
        color_coding: None, or "RGBtoBGR" or "BGRtoRGB", which both turn the colours' order round.

    Raises:
        WelError: for an array without four axes, or an unknown coding.
    """
    images = _checked(images)
    return _coded(images.transpose(0, 2, 3, 1) if images.shape[1] in (1, 3) else images, color_coding)


def postprocess_images(images: np.ndarray, color_coding: str | None = None, channels_first: bool | None = None) -> np.ndarray:
    """The way back: pictures, or maps of them, with their colours last, or first if it is asked for.

    Raises:
        WelError: as for `preprocess_images`.
    """
    images = _coded(_checked(images), color_coding)
    return images.transpose(0, 3, 1, 2) if channels_first else images


def _checked(images: np.ndarray) -> np.ndarray:
    images = np.asarray(images)
    if images.ndim != 4:
        raise invalid("images", f"an array of shape {images.shape}", "four axes")
    return images


def _coded(images: np.ndarray, color_coding: str | None) -> np.ndarray:
    if color_coding not in CODINGS:
        raise invalid("color_coding", color_coding, one_of(map(str, CODINGS)))
    return images if color_coding is None else images[..., ::-1]
