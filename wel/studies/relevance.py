"""The one primitive: inject a relevance at a layer, read the relevance at the layers below it."""

from __future__ import annotations

from typing import Any, Sequence

import numpy as np

from wel.backends import find_backend
from wel.backends.request import Request, relevance_at
from wel.methods.registry import Method, check_semantics, find_method
from wel.networks.network import Network
from wel.studies.study import settled_options


def relevance(
    net: Network,
    method: str | Method,
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
        method: name of an attribution method, or one of your own (`wel.composite`).
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
    net.check_start(start)
    vectors = net.checked_vectors(vectors, start, len(images))
    names = net.layers_below(start, at)
    found = find_backend(backend, chosen)
    found.check(chosen, semantics, net.graph, ([start], list(names.values())))
    request = Request(chosen, semantics, settled_options(net, chosen, options, images))
    read = relevance_at(found.open(net), request, images, start, vectors, list(names.values()))
    return {shown: read[name] for shown, name in names.items()}
