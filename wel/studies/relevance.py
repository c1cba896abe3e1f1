"""The one primitive: inject a relevance at a layer, read the relevance at the layers below it."""

from __future__ import annotations

from typing import Any, Sequence

import numpy as np

from wel.backends import check_applies, find_backend
from wel.backends.request import Request
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
    images = net.checked_images(images)
    start = net.find(start, "start")
    vectors = net.checked_vectors(vectors, start, len(images))
    names = net.layers_below(start, at)
    check_applies(chosen, backend, net.graph)
    request = Request(chosen.name, semantics, settle_options(chosen, with_patterns(net, chosen, options), images))
    read = find_backend(backend, chosen).open(net).relevance(request, images, start, vectors, names.values())
    return {shown: read[name] for shown, name in names.items()}
