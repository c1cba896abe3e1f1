"""Seeded pictures that two conversions of a network are compared on, and the predictions of reference for them."""

from __future__ import annotations

from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from wel.errors import WelError
from wel.images.preprocessing import parse_preprocessing
from wel.system.files import written_whole

COUNT, SEED, BLOCK = 3, 16, 8
TOLERANCE = 1e-5
SHIPPED = Path(__file__).parent / "predictions"


class Reference(NamedTuple):
    """`predictions` (n, classes) of another runtime for the probes, and the logits that they are made of."""

    predictions: np.ndarray
    logits: np.ndarray


def probes(shape: tuple[int, int, int], preprocessing: str) -> np.ndarray:
    """Inputs (n, height, width, channels): squares of eight pixels in random colours, with noise of its own on each pixel.

    NumPy keeps the stream of RandomState as it is.
    """
    random = np.random.RandomState(SEED)
    height, width, channels = shape
    squares = random.randint(0, 192, (COUNT, height // BLOCK, width // BLOCK, channels))
    noise = random.randint(0, 64, (COUNT, *shape))
    return parse_preprocessing(preprocessing)(squares.repeat(BLOCK, 1).repeat(BLOCK, 2) + noise)


def shipped(name: str) -> Reference:
    """The predictions that lie beside this file."""
    with np.load(SHIPPED / f"{name}.npz", allow_pickle=False) as arrays:
        return Reference(arrays["predictions"], arrays["logits"])


def ship(name: str, reference: Reference) -> None:
    """Writes what `shipped` reads."""
    SHIPPED.mkdir(exist_ok=True)
    with written_whole(SHIPPED / f"{name}.npz") as path:
        np.savez_compressed(path, **reference._asdict())


def difference(net: Any, inputs: np.ndarray, reference: Reference) -> float:
    """How far a network, as `wel.load` gives it, is from the predictions of reference.

    The larger one of max |p − p'| of probabilities p, which a network that ends in logits has none of, and ‖z − z'‖ / ‖z'‖ of logits z.

    Raises:
        WelError: when it is above 1e-5.
    """
    logits = net.logits(inputs)
    probabilities = net.probabilities(logits)
    apart = np.linalg.norm(logits - reference.logits) / np.linalg.norm(reference.logits)
    if probabilities is not None:
        apart = max(apart, np.abs(probabilities - reference.predictions).max())
    if not apart <= TOLERANCE:
        raise WelError(f"{net.name} predicts something else than its file does: difference {apart:.1e}. Expected {TOLERANCE} at most.")
    return float(apart)
