"""What must hold before an audit measures anything: wel computes what the model computes, and the model what it once did."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import numpy as np

from wel.backends.native.backend import NativeBackend
from wel.errors import WelError
from wel.networks.network import Network

FORWARD_TOLERANCE = 1e-4
EXPECT_TOLERANCE = 1e-3  # predictions of another version of TensorFlow, on another device
MOST_CHECKED = 16  # images


@dataclass(frozen=True)
class Check:
    """A comparison of two outputs: the relative L2 distance, what it may be, and a sentence."""

    name: str
    passed: bool
    value: float
    tolerance: float
    sentence: str


def checked(net: Network, images: np.ndarray, expect: Path | None) -> list[Check]:
    """The forward pass of wel's layer graph against Keras's, and predictions that somebody has stored against those of now.

    Args:
        images: (n, *input shape); the forward pass is compared for up to 16 of them.
        expect: .npz with `predictions` (n, outputs), as the model gave them, and `inputs` (n, *input shape); without these the
            predictions are of `images`.

    Raises:
        WelError: when the file cannot be used.
    """
    few = images[:MOST_CHECKED]
    found = [
        _compared(
            "forward pass",
            NativeBackend().open(net).output(few),
            net.logits(few),
            FORWARD_TOLERANCE,
            "The forward pass of wel's layer graph",
            "Keras's own",
        )
    ]
    if expect is not None:
        inputs, predictions = stored_predictions(net, Path(expect), images)
        found.append(
            _compared(
                "expected predictions",
                _predictions(net, inputs),
                predictions,
                EXPECT_TOLERANCE,
                "What the model predicts now",
                "the stored predictions",
            )
        )
    return found


def _compared(name: str, one: np.ndarray, other: np.ndarray, tolerance: float, subject: str, object_: str) -> Check:
    distance = float(np.linalg.norm(one - other.astype("float64")) / max(np.linalg.norm(other), np.finfo("float32").tiny))
    passed = distance <= tolerance
    verb = "equals" if passed else "differs from"
    sentence = f"{subject} {verb} {object_}: relative difference {distance:.1e}, allowed {tolerance:.0e}."
    return Check(name, passed, distance, tolerance, sentence)


def _predictions(net: Network, inputs: np.ndarray) -> np.ndarray:
    logits = net.logits(inputs)
    probabilities = net.probabilities(logits)
    return logits if probabilities is None else probabilities


def stored_predictions(net: Network, path: Path, images: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """The inputs of a file of predictions, those of `images` where it has none, and what was predicted.

    Raises:
        WelError: when it cannot be used.
    """
    try:
        with np.load(path, allow_pickle=False) as arrays:
            predictions = np.asarray(arrays["predictions"], "float64")
            inputs = np.asarray(arrays["inputs"]) if "inputs" in arrays else None
    except (OSError, ValueError, KeyError, EOFError, AttributeError, TypeError) as error:
        raise WelError(f"Invalid value for `expect`: '{path}' cannot be read. Expected an .npz with `predictions` and `inputs`.") from error
    inputs = images[: len(predictions)] if inputs is None else net.checked_images(inputs)
    expected = (len(inputs), *net.output_shape)
    if predictions.shape != expected:
        raise WelError(f"Invalid value for `expect`: predictions of shape {predictions.shape}. Expected {expected}.")
    return inputs, predictions
