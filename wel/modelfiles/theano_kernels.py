"""Kernels that were trained with Keras's Theano backend: it convolves, where TensorFlow and CNTK correlate."""

from __future__ import annotations

from typing import Any

import numpy as np

from wel.modelfiles.conversion import refused

FLIPPED = ("Conv1D", "Conv2D", "Conv3D", "Conv2DTranspose")
POOLING = ("MaxPooling1D", "MaxPooling2D", "MaxPooling3D", "AveragePooling1D", "AveragePooling2D", "AveragePooling3D")


def flip_kernels(model: Any) -> tuple[str, ...]:
    """Turns each convolution kernel of a model by 180°, in place, so that correlating with it is what Theano's convolution was.

    Args:
        model: Keras model with the weights as they lie in the file, of Keras 1 or of Keras 2 whose `backend` is 'theano'.

    Returns:
        Sentences on what was done.

    Raises:
        WelError: for layers that Theano computed otherwise: windows of padding 'same' that it places elsewhere, and separable convolutions.
    """
    leaves = [layer for layer in model._flatten_layers() if not hasattr(layer, "_is_graph_network")]
    for layer in leaves:
        _check(layer)
    convolutions = [layer for layer in leaves if type(layer).__name__ in FLIPPED]
    for layer in convolutions:
        kernel = layer.kernel.numpy()
        layer.kernel.assign(np.flip(kernel, axis=tuple(range(kernel.ndim - 2))))
    return (f"The kernels of {len(convolutions)} convolutions were turned by 180°, because Theano convolves where TensorFlow correlates.",)


def _check(layer: Any) -> None:
    kind, same = type(layer).__name__, getattr(layer, "padding", None) == "same"
    if "Conv" in kind and kind not in FLIPPED:
        raise refused(f"its layer '{layer.name}' is a {kind} saved with the Theano backend, which is not read.")
    if not same or kind not in (*FLIPPED, *POOLING):
        return
    # Theano pads both sides alike, TensorFlow the end more than the start
    window = layer.pool_size if kind in POOLING else layer.kernel_size
    if any(stride != 1 for stride in _tuple(layer.strides)) or any(size % 2 == 0 for size in _tuple(window)):
        placed = "whose windows of padding 'same' Theano places differently from TensorFlow"
        raise refused(f"its layer '{layer.name}' was saved with the Theano backend, {placed}. Expected stride 1 and odd windows.")


def _tuple(value: Any) -> tuple[int, ...]:
    return (value,) if isinstance(value, int) else tuple(value)
