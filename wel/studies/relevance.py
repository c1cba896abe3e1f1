"""The one primitive: inject a relevance at a layer, read the relevance at the layers below it."""
from __future__ import annotations

from typing import Any, Sequence

import numpy as np

from wel.backends import find_backend
from wel.backends.request import Request
from wel.backends.wrapped import check_applies
from wel.errors import WelError, invalid
from wel.methods.options import settle_options
from wel.methods.patterns import with_patterns
from wel.methods.registry import check_semantics, find_method
from wel.networks.network import Network


def relevance(
    net: Network,
    method: str,
    images: np.ndarray,
    start: str = "output",
    vectors: np.ndarray | None = None,
    at: Sequence[str] | str | None = None,
    backend: str = "native",
    semantics: str = "paper",
    **options: Any,
) -> dict[str, np.ndarray]:
    """Injects vectors at a layer's output and returns the relevance that arrives at layers below it.

    Args:
        net: from `wel.load`.
        method: name of an attribution method.
        images: (n, *input shape), as the network takes them.
        start: the layer whose output the vectors stand for.
        vectors: (n, V, *shape of start).
        at: layers below `start`; all of them by default.
        backend: who computes.
        semantics: "paper", the numbers of the original stack, or "corrected", the published formulas.
        options: the method's own.

    Returns:
        {name as given in `at`: (n, V, *shape of the layer)}, float32.

    Raises:
        WelError: for an unknown name, a wrong shape, a value that is not finite, or a method that does not apply.
    """
    chosen = find_method(method)
    check_semantics(semantics)
    images = checked_images(net, images)
    start = net.find(start, "start")
    vectors = checked_vectors(net, vectors, start, len(images))
    names = layers_below(net, start, at)
    check_applies(chosen, backend, net.graph)
    request = Request(chosen.name, semantics, settle_options(chosen, with_patterns(net, chosen, options), images))
    read = find_backend(backend, chosen).open(net).relevance(request, images, start, vectors, names.values())
    return {shown: read[name] for shown, name in names.items()}


def layers_below(net: Network, start: str, at: Sequence[str] | str | None) -> dict[str, str]:
    """Name as given -> Keras name, for the layers at which relevance is read; each must lie below `start`.

    Raises:
        WelError: for an unknown layer or one that the start layer is not computed from.
    """
    below = net.graph.below(start)
    if at is None:
        return {net.shown(name): name for name in below}
    names = {name: net.find(name, "at") for name in ([at] if isinstance(at, str) else at)}
    for name, found in names.items():
        if found not in below:
            raise invalid("at", name, f"a layer below '{net.shown(start)}'")
    return names


def checked_images(net: Network, images: np.ndarray) -> np.ndarray:
    """The images as float32.

    Raises:
        WelError: when they are not (n, *input shape), or not finite.
    """
    return _checked("images", np.asarray(images), (None, *net.input_shape))


def checked_vectors(net: Network, vectors: np.ndarray | None, start: str, count: int) -> np.ndarray:
    """The vectors as float32.

    Raises:
        WelError: when they are not (images, V, *shape of start), or not finite.
    """
    if vectors is None:
        raise WelError(f"Invalid value for `vectors`: None. Expected an array of shape ({count}, V, *{net.graph[start].shape}).")
    return _checked("vectors", np.asarray(vectors), (count, None, *net.graph[start].shape))


def _checked(argument: str, array: np.ndarray, expected: tuple) -> np.ndarray:
    fits = array.ndim == len(expected) and all(want in (None, size) for want, size in zip(expected, array.shape))
    if not fits or 0 in array.shape:
        wanted = ", ".join("n" if size is None else str(size) for size in expected)
        raise WelError(f"Invalid value for `{argument}`: an array of shape {array.shape}. Expected shape ({wanted}).")
    if array.dtype.kind not in "fiub" or not np.isfinite(array).all():
        raise WelError(f"Invalid value for `{argument}`: values of {array.dtype} or not finite. Expected finite numbers.")
    return array.astype("float32")
