"""One picture file: read, turned upright, laid on white, cut and resized."""

from __future__ import annotations

import warnings
from pathlib import Path

import numpy as np
from PIL import Image, ImageOps

from wel.errors import WelError

# Pillow reads more, some of it by calling other programs; files come from strangers
FORMATS = ("BMP", "GIF", "JPEG", "PNG", "PPM", "TIFF", "WEBP")
SUFFIXES = tuple(".jpg .jpeg .jpe .jfif .png .bmp .gif .tif .tiff .webp .ppm .pgm".split())
DEEP = "I;16"  # how the modes of 16-bit greyscale begin
TWELVE_BITS = 4095
BLACK_IS_ZERO, PHOTOMETRIC = 1, 262  # of TIFF


class PictureError(WelError):
    """A file that is no picture that can be read.

    Attributes:
        reason: why, without the file's name.
    """

    def __init__(self, path: Path, reason: str):
        self.reason = f"it cannot be read ({reason})"
        super().__init__(f"Invalid image '{path}': {self.reason}.")


def read_picture(path: Path) -> Image.Image:
    """The picture in a file, 8-bit RGB, as a viewer shows it.

    EXIF orientation is applied, transparent pixels are laid on white, of several frames or pages the first is taken. 16-bit
    greyscale becomes 8 bits (v / 257); a TIFF file whose values end at 4095 is refused, for nothing says whether it is dark or holds
    12 bits. Colour profiles are ignored: numbers are taken as sRGB, as the usual pipelines of networks do.

    Raises:
        PictureError: for anything else, such as a broken or empty file, or one with more pixels than Pillow's limit.
    """
    try:
        _check_file(path)
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # Pillow's about what it reads all the same
            with Image.open(path, formats=FORMATS) as image:
                _check_depth(image)
                return _rgb(ImageOps.exif_transpose(image))
    except Exception as error:  # Pillow's decoders raise whatever a broken file makes them stumble over
        raise PictureError(path, _reason(error)) from error


def fitted(picture: Image.Image, shape: tuple[int, int, int]) -> np.ndarray:
    """Cut to the aspect ratio around the centre and resized (bicubic): uint8 (height, width, channels), one channel is luminance.

    Args:
        picture: RGB.
        shape: (height, width, channels), channels 1 or 3.
    """
    height, width, channels = shape
    found = ImageOps.fit(picture, (width, height), Image.Resampling.BICUBIC)
    return np.asarray(found) if channels == 3 else np.asarray(found.convert("L"))[..., None]


def from_pixels(pixels: np.ndarray) -> Image.Image:
    """uint8 pixels (height, width) or (height, width, 1, 3 or 4) as an RGB picture, the fourth channel as opacity."""
    return _rgb(Image.fromarray(pixels[..., 0] if pixels.ndim == 3 and pixels.shape[-1] == 1 else pixels))


def _check_file(path: Path) -> None:
    if path.exists() and not path.is_file():  # reading from a pipe would wait for ever
        raise WelError("it is no regular file")
    if path.stat().st_size == 0:
        raise WelError("it is empty")


def _reason(error: Exception) -> str:
    text = (error.strerror if isinstance(error, OSError) and error.strerror else str(error)) or type(error).__name__
    return "no known image format" if text.startswith("cannot identify image file") else " ".join(text.split())


def _check_depth(image: Image.Image) -> None:
    if image.mode in ("F", "I"):
        raise WelError("it has more than 8 bits per channel, expected 8, or 16 in greyscale")
    if image.format == "TIFF" and image.mode.startswith(DEEP):
        most = np.asarray(image).max()
        if most <= TWELVE_BITS or image.tag_v2.get(PHOTOMETRIC) != BLACK_IS_ZERO:
            raise WelError(f"its 16-bit values end at {most}: they may be 12 bits, or inverted, expected the whole range from black on")


def _rgb(image: Image.Image) -> Image.Image:
    if image.mode.startswith(DEEP):
        image = Image.fromarray(np.round(np.asarray(image) / 257).astype("uint8"))
    if image.mode not in ("RGBA", "RGBa", "LA", "La", "PA") and "transparency" not in image.info:
        return image.convert("RGB")
    opaque = Image.new("RGBA", image.size, "white")
    opaque.alpha_composite(image.convert("RGBA"))
    return opaque.convert("RGB")
