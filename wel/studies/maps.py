"""Heat maps at the input: every method of the registry, those included that have no CSC.

With g(x) the gradient of the class's logit at x and r the reference,

    input_x_gradient        x ∘ g(x)
    smoothgrad              mean of g(x + noise_k), noise_k ~ N(0, (noise_scale · (max x − min x))²)
    integrated_gradients    (x − r) ∘ mean of g(begin + t_k (x − r)), with n steps and the option `rule`:
        corrected           begin = r, so the way leads from r to x; rule "midpoint", t_k = (k + ½)/n, k = 0 … n − 1
        paper               begin = x, as innvestigate 1.0.8 has it: the way begins at x and leads away from r; rule "left",
                            t_k = k/n, k = 0 … n − 1
        rule "trapezoid"    t_k = k/n, k = 0 … n, the two ends with half the weight
        `corrected` with rule "left" is what innvestigate 2.1.2 computes
    excitation_backprop     LRP α1β0
    contrastive_lrp         max(0, R(class) − R(others)), the class's relevance being shared equally by all other classes in the second
    contrastive_excitation_backprop     at the layer below the last one with weights, LRP α1β0 of the class minus the same with
                            those last weights negated; the difference goes on down under α1β0
    others                  `wel.studies.occlusion`, `wel.studies.activation_maps`, `wel.studies.bottleneck`, `wel.studies.controls`
"""

from __future__ import annotations

from contextlib import contextmanager
from typing import Any, Callable, Iterator, NamedTuple, Sequence

import numpy as np

from wel.backends import find_backend
from wel.backends.request import Opened, Request, relevance_at
from wel.errors import UnsupportedError, check_whole, invalid, of_method
from wel.measures.vectors import noise, random_vectors
from wel.methods.registry import BY_SEMANTICS, Method, check_semantics, find_method
from wel.networks.graph import Node
from wel.networks.network import Network
from wel.studies import activation_maps, controls
from wel.studies.occlusion import occlusion
from wel.studies.query import Query
from wel.studies.study import settled_options


def attribution(
    net: Network,
    method: str | Method,
    images: np.ndarray,
    classes: Sequence[int] | int | None = None,
    backend: str = "native",
    semantics: str = "paper",
    seed: int = 0,
    **options: Any,
) -> np.ndarray:
    """The map of a class at the input: the relevance there of the class's logit.

    At the output begins the one-hot vector of the class times its logit, or times 1 for the gradient, what is built on it, and
    DeepLIFT (`Method.head`; so do innvestigate and deeplift).

    Args:
        net: from `wel.load`.
        method: name of any attribution method, or one of your own (`wel.composite`).
        images: (n, *input shape), as the network takes them.
        classes: one class for all images or one for each; the top-1 predictions by default.
        backend: who computes.
        semantics: "paper", the numbers of the original stack, or "corrected", the published formulas.
        seed: of SmoothGrad's noise, which depends on it, the image's index and the sample's index only; of IBA's, and of
            `random`.
        options: the method's own.

    Returns:
        (n, *input shape) float32.

    Raises:
        WelError: for an argument that cannot be used, or a network whose output is not one vector of logits.
        UnsupportedError: for a method that does not apply to the network.
    """
    chosen = find_method(method, maps=True)
    check_semantics(semantics)
    check_whole("seed", seed, 0)
    images = net.checked_images(images)
    find_backend(backend, chosen).check(chosen, semantics, net.graph)
    request = Request(chosen, semantics, settled_options(net, chosen, options, images))
    return maps_of(net, request, images, class_vectors(net, chosen, images, classes), backend, seed)


def maps_of(
    net: Network,
    request: Request,
    images: np.ndarray,
    heads: np.ndarray,
    backend: str = "native",
    seed: int = 0,
    first: int = 0,
) -> np.ndarray:
    """Maps (n, *input shape) float32 of what was settled before, with the weights that the network has now.

    Args:
        heads: (n, classes), the relevance at the output, such as `class_vectors` gives.
        first: number of the first image, on which noise depends.
    """
    maker = MAKERS.get(request.method.key, _injected)
    return maker(Query(net, request, images, heads, backend, seed, first)).astype("float32")


def class_vectors(net: Network, method: Method, images: np.ndarray, classes: Sequence[int] | int | None) -> np.ndarray:
    """What a class's map begins with at the output, (n, classes): one-hot vectors times the logit, or 1 (`Method.head`).

    Raises:
        WelError: for a class that the network does not have, or a network whose output is not one vector of logits.
    """
    count = net.count_logits()
    chosen = None if classes is None else _checked_classes(classes, len(images), count)
    if chosen is not None and method.head == "one":
        return one_hot(chosen, count)
    logits = net.logits(images)
    onehot = one_hot(logits.argmax(axis=1) if chosen is None else chosen, count)
    return onehot if method.head == "one" else onehot * logits


def one_hot(classes: np.ndarray, count: int) -> np.ndarray:
    """Vectors (n, count) float32, 1 at the class of each and else 0."""
    return np.eye(count, dtype="float32")[classes]


def _checked_classes(classes, images: int, count: int) -> np.ndarray:
    array = np.asarray(classes)
    if array.dtype.kind not in "iu" or array.shape not in ((), (images,)) or not ((array >= 0) & (array < count)).all():
        raise invalid("classes", classes, f"whole numbers from 0 to {count - 1}, one or {images}")
    return np.broadcast_to(array, images)


def _injected(query: Query) -> np.ndarray:
    return query.relevance(query.request, query.head[:, None])[:, 0]


def _of_behind(query: Query) -> np.ndarray:
    return query.relevance(query.behind(), query.head[:, None])[:, 0]


def _input_x_gradient(query: Query) -> np.ndarray:
    return query.images * _of_behind(query)


class Averaged(NamedTuple):
    """A map that is a mean of gradients, factor ∘ Σ w_k g(x_k) / Σ w_k.

    Attributes:
        points: function of an image's index -> (points, *input shape), at which gradients are taken.
        weights: of the points; all the same if it is None.
        factor: (n, *input shape), or a number.
    """

    points: Callable[[int], np.ndarray]
    weights: np.ndarray | None
    factor: np.ndarray | float

    def of(self, index: int, gradients: np.ndarray) -> np.ndarray:
        """The map of an image, (…, *input shape), for gradients (points, …, *input shape), which are added up in float64."""
        factor = self.factor if isinstance(self.factor, float) else self.factor[index]
        return factor * np.average(gradients.astype("float64"), axis=0, weights=self.weights)


def averaged(request: Request, images: np.ndarray, seed: int, first: int = 0) -> Averaged:
    """Which gradients the maps of a method in `AVERAGED` are the means of; `seed` is of SmoothGrad's noise, and `first` the number of the
    first image, on which that depends too."""
    return AVERAGED[request.method.key](request, images, seed, first)


def _smoothgrad(request: Request, images: np.ndarray, seed: int, first: int) -> Averaged:
    return Averaged(lambda index: (images[index] + _noise(request, images[index], first + index, seed)).astype("float32"), None, 1.0)


def _noise(request: Request, image: np.ndarray, index: int, seed: int) -> np.ndarray:
    given = request.options["noise"]
    if not isinstance(given, str):
        return given[index]
    scale = request.options["noise_scale"]
    if request.options["noise_unit"] == "one":
        return scale * random_vectors(seed, "smoothgrad", [index], request.options["samples"], image.shape)[0]
    return noise(seed, "smoothgrad", index, image, request.options["samples"], scale)


def _integrated_gradients(request: Request, images: np.ndarray, seed: int, first: int) -> Averaged:
    difference, steps = images - request.options["reference"], request.options["steps"]
    corrected = request.semantics == "corrected"
    rule, begin = request.options["rule"], request.options["begin"]
    at_reference = corrected if begin == BY_SEMANTICS else begin == "reference"
    away = np.broadcast_to(request.options["reference"], images.shape) if at_reference else images
    shares, weights = _quadrature(("midpoint" if corrected else "left") if rule == BY_SEMANTICS else rule, steps)
    shares = shares.reshape(-1, *[1] * (images.ndim - 1))
    return Averaged(lambda index: (away[index] + shares * difference[index]).astype("float32"), weights, difference)


AVERAGED = {"smoothgrad": _smoothgrad, "integrated_gradients": _integrated_gradients}


def _quadrature(rule: str, steps: int) -> tuple[np.ndarray, np.ndarray]:
    """Where a rule evaluates a function on [0, 1], and with which weights: float32."""
    places = np.arange(steps + (rule == "trapezoid"), dtype="float32")
    weights = np.ones_like(places)
    if rule == "trapezoid":
        weights[[0, -1]] = 0.5
    return (places + (0.5 if rule == "midpoint" else 0.0)) / steps, weights


def _mean(query: Query) -> np.ndarray:
    request, mean = query.behind(), averaged(query.request, query.images, query.seed, query.first)
    opened = find_backend(query.backend, request.method).open(query.net)
    # one image at a time: what is computed together, and so its rounding, does not depend on the other images
    return np.stack([mean.of(i, _gradients(query.net, opened, request, mean.points(i), head)) for i, head in enumerate(query.head)])


def _gradients(net: Network, opened: Opened, request: Request, points: np.ndarray, head: np.ndarray) -> np.ndarray:
    vectors = np.broadcast_to(head, (len(points), 1, *head.shape))
    return relevance_at(opened, request, points, net.graph.output, vectors, [net.graph.input])[net.graph.input][:, 0]


def _contrastive_lrp(query: Query) -> np.ndarray:
    classes = query.head.shape[1]
    if classes < 2:
        raise UnsupportedError(of_method("contrastive_lrp", "needs two classes or more to compare. Received a network with one logit."))
    total = query.head.sum(axis=1, keepdims=True)
    others = np.where(query.head == 0, total / (classes - 1), 0)
    # two vectors, not their difference: Add cuts negative relevance off in `paper`
    both = query.relevance(query.behind(), np.stack([query.head, others], axis=1))
    return np.maximum(0, both[:, 0] - both[:, 1])


def _contrastive_excitation_backprop(query: Query) -> np.ndarray:
    top = _top_kernel(query.net)
    below = top.inputs[0]
    if below == query.net.graph.input:
        name = query.request.method.name
        raise UnsupportedError(of_method(name, f"needs a layer below the last one with weights, '{top.name}', to contrast at."))
    request = query.behind()
    excited = query.relevance(request, query.head[:, None], at=below)
    with _negated(top.layer):
        inhibited = query.relevance(request, query.head[:, None], at=below)
    return query.relevance(request, excited - inhibited, start=below)[:, 0]


def _top_kernel(net: Network) -> Node:
    """The last node with weights, through which alone everything reaches the output."""
    graph = net.graph
    top = graph[graph.output]
    while not top.variables and len(top.inputs) == 1:
        top = graph[top.inputs[0]]
    called = sum(node.layer is top.layer for node in graph.nodes)
    if called > 1 or not hasattr(top.layer, "kernel"):
        received = f"'{top.name}' ({top.kind}{', called more than once' if called > 1 else ''})"
        raise UnsupportedError(of_method("contrastive_excitation_backprop", f"needs a last layer with a kernel. Received {received}."))
    return top


@contextmanager
def _negated(layer) -> Iterator[None]:
    """The layer with its weights negated, biases too; afterwards they are as before."""
    weights = layer.get_weights()
    layer.set_weights([-array for array in weights])
    try:
        yield
    finally:
        layer.set_weights(weights)


def _iba(query: Query) -> np.ndarray:
    from wel.studies.bottleneck import iba  # imports TensorFlow

    return iba(query)


MAKERS = {
    "input_x_gradient": _input_x_gradient,
    **dict.fromkeys(AVERAGED, _mean),
    "excitation_backprop": _of_behind,
    "contrastive_lrp": _contrastive_lrp,
    "contrastive_excitation_backprop": _contrastive_excitation_backprop,
    "occlusion": occlusion,
    **dict.fromkeys(activation_maps.COMBINED, activation_maps.activation_map),
    "guided_grad_cam": activation_maps.guided_grad_cam,
    "iba": _iba,
    "random": controls.random,
    "edges": controls.edges,
}
