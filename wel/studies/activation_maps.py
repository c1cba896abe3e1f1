"""Class activation maps: the channels of a layer, weighted by what the class's logit makes of them.

With A_k the channels of a layer, Z its number of places, g_k = ∂y/∂A_k, and sums over places where no index stands,

    cam                 Σ_k w_k A_k, where y = Σ_k w_k ΣA_k / Z + b: w_k = Z g_k
    grad_cam            max(0, Σ_k w_k A_k), w_k = Σ g_k / Z
    grad_cam_plus_plus  max(0, Σ_k w_k A_k), w_k = Σ α_k max(0, g_k), α_k = g_k² / (2 g_k² + g_k³ ΣA_k), and 0 where that is 0/0:
                        equation 19 of Chattopadhay et al. (2018), of the score exp(y), without the factor exp(y) that all w_k share
    layer_cam           max(0, Σ_k max(0, g_k) A_k)
    guided_grad_cam     grad_cam ⊙ guided_backprop

enlarged to the input's places by linear interpolation, the same in every channel. On a network that `cam` is defined for,
grad_cam = max(0, cam) / Z at the layer, before it is enlarged.
"""

from __future__ import annotations

from typing import Callable, Mapping

import numpy as np

from wel.backends.request import Request
from wel.measures.places import enlarged, places, spread
from wel.methods.layers import layer_of
from wel.methods.registry import METHODS
from wel.networks.graph import Graph
from wel.studies.query import Query

# channels A and gradients g of a layer, both (n, places, channels) float64, to maps (n, places)
Combine = Callable[[np.ndarray, np.ndarray], np.ndarray]


def activation_map(query: Query) -> np.ndarray:
    """The map of a method of `COMBINED`, (n, *input shape)."""
    return _map(query, COMBINED[query.request.method.name])


def guided_grad_cam(query: Query) -> np.ndarray:
    """Selvaraju et al. (2017), (n, *input shape)."""
    return _map(query, COMBINED["grad_cam"]) * query.relevance(query.behind(), query.head[:, None])[:, 0]


def looked_at(request: Request, graph: Graph) -> str:
    """The layer that maps of a method of `COMBINED` come from."""
    return request.options["layer"] if "layer" in request.options else str(layer_of(request.method, graph))


def combined(combine: Combine, A: np.ndarray, gradients: np.ndarray, shape: tuple[int, ...]) -> np.ndarray:
    """Maps (n, *input shape) of what `combine` makes of a layer's values and gradients, (n, *shape) each."""
    maps = combine(_flat(A), _flat(gradients)).reshape(-1, *places(A.shape[1:]))
    return spread(enlarged(maps, places(shape)), shape)


def _map(query: Query, combine: Combine) -> np.ndarray:
    request, layer = gradient_for(query.request), looked_at(query.request, query.net.graph)
    maps = []
    for part in query.batches(request):
        A, gradients = query.net.values(part.images, layer), part.relevance(request, part.head[:, None], at=layer)[:, 0]
        maps.append(combined(combine, A, gradients, query.net.input_shape))
    return np.concatenate(maps)


def gradient_for(request: Request) -> Request:
    """What gives the gradients at the layer that a method looks at."""
    return Request(METHODS["gradient"], request.semantics)


def _cam(A: np.ndarray, g: np.ndarray) -> np.ndarray:
    return _weighted(A, g.sum(axis=1))  # the gradient of a mean is the same at every place


def _grad_cam(A: np.ndarray, g: np.ndarray) -> np.ndarray:
    return np.maximum(0, _weighted(A, g.mean(axis=1)))


def _layer_cam(A: np.ndarray, g: np.ndarray) -> np.ndarray:
    return np.maximum(0, (np.maximum(0, g) * A).sum(axis=-1))


def _plus_plus(A: np.ndarray, g: np.ndarray) -> np.ndarray:
    denominator = 2 * g**2 + g**3 * A.sum(axis=1, keepdims=True)
    alpha = np.divide(g**2, denominator, out=np.zeros_like(g), where=denominator != 0)
    return np.maximum(0, _weighted(A, (alpha * np.maximum(0, g)).sum(axis=1)))


def _weighted(A: np.ndarray, weights: np.ndarray) -> np.ndarray:
    """Σ_k w_k A_k (n, places) for weights (n, channels)."""
    return np.einsum("npk,nk->np", A, weights)


def _flat(array: np.ndarray) -> np.ndarray:
    return array.reshape(len(array), -1, array.shape[-1]).astype("float64")


# method -> its function; Zhou et al. (2016), Selvaraju et al. (2017), Chattopadhay et al. (2018), Jiang et al. (2021)
COMBINED: Mapping[str, Combine] = {"cam": _cam, "grad_cam": _grad_cam, "grad_cam_plus_plus": _plus_plus, "layer_cam": _layer_cam}
