"""Analyzers, as innvestigate makes and calls them."""

from __future__ import annotations

from typing import Any, Sequence

import numpy as np

from wel.backends import find_backend
from wel.backends.request import Request
from wel.errors import UnsupportedError, WelError, check_whole, invalid, of_method, one_of, words_on
from wel.innvestigate.analyzers import POSTPROCESSING, Asked, analyzers, keywords_of
from wel.innvestigate.utils import as_it_ends
from wel.measures.vectors import random_vectors
from wel.methods.composites import rules_for
from wel.methods.fitting import fit_patterns
from wel.methods.registry import GIVEN, METHODS, check_semantics
from wel.networks.kinds import activation_name
from wel.networks.loading import load
from wel.networks.network import Network
from wel.studies.maps import AVERAGED, Averaged, averaged, class_vectors, maps_of
from wel.studies.study import settled_options

MODES = ("max_activation", "index", "all")


class NotAnalyzeableModelException(WelError):
    """A model that an analyzer cannot be had for; the message says why."""


class UnknownAnalyzer(WelError, KeyError):
    """A name that no analyzer has; innvestigate raises KeyError for it."""

    __str__ = Exception.__str__


def create_analyzer(name: str, model: Any, **kwargs: Any) -> Analyzer:
    """An analyzer by innvestigate's name.

    Args:
        name: one of `analyzers`.
        model: a Keras model with one input and one output.
        kwargs: `Analyzer`'s, and the analyzer's own, as innvestigate has them.

    Raises:
        WelError: for a name, a keyword or a value that cannot be used.
        NotAnalyzeableModelException: for a model that the analyzer cannot be had for.
    """
    return Analyzer(name, model, **kwargs)


class Analyzer:
    """An analyzer of a model, which it does not copy: `model.set_weights(...)` takes effect in the next call.

    Args:
        name: one of `analyzers`.
        model: a Keras model with one input and one output; an output of several axes is flattened.
        neuron_selection_mode: what is analyzed: the output's largest entry, the one that `analyze` is told, or all of them.
        disable_model_checks: takes a model with a softmax too.
        allow_lambda_layers: takes a model with Lambda layers too, for gradients.
        semantics: "paper", innvestigate's numbers (`wel.innvestigate.analyzers`), or "corrected", the published formulas.
        seed: of noise, which depends on it, the image's index and the sample's index only.
        kwargs: the analyzer's own.
    """

    def __init__(
        self,
        name: str,
        model: Any,
        neuron_selection_mode: str = "max_activation",
        disable_model_checks: bool = False,
        allow_lambda_layers: bool = False,
        semantics: str = "paper",
        seed: int = 0,
        **kwargs: Any,
    ):
        check_semantics(semantics)
        check_whole("seed", seed, 0)
        if neuron_selection_mode not in MODES:
            raise invalid("neuron_selection_mode", neuron_selection_mode, one_of(MODES))
        self.name, self._mode, self._seed = name, neuron_selection_mode, seed
        self._net = load(as_it_ends(model))
        self._asked = asked_for(name, model, semantics, kwargs)
        if not allow_lambda_layers:
            _refuse(name, self._net, "Lambda layers without `allow_lambda_layers`", lambda node: node.kind == "Lambda")
        if self._asked.method and not disable_model_checks:
            _refuse(name, self._net, "a softmax; `model_wo_softmax` takes the last one off", _is_softmax)
        _check_rules(name, self._net, self._asked)

    def fit(self, X: np.ndarray) -> None:
        """Fits what the analyzer learns from inputs (n, *input shape): patterns. The others learn nothing."""
        asked = self._asked
        if asked.method and "patterns" in asked.method.options:
            asked.options["patterns"] = fit_patterns(self._net, _array(X), asked.estimator, asked.semantics).arrays

    def analyze(self, X: np.ndarray | Sequence[np.ndarray], neuron_selection: int | Sequence[int] | None = None) -> np.ndarray:
        """The analysis of inputs, (n, *input shape) float32.

        Args:
            X: (n, *input shape), or a list of one such array.
            neuron_selection: in the mode "index", the output's entry, one for all inputs or one for each.

        Raises:
            WelError: for an argument that cannot be used.
        """
        images = self._net.checked_images(_array(X), "X")
        classes = self._classes(neuron_selection, len(images))
        if self._asked.method is None:
            return images + self._noise(images) if self._asked.stddev else images.copy()
        request = self._request(images)
        if request.method.name in AVERAGED:
            return self._mean(request, images, self._heads(images, classes))
        return self._maps(request, images, self._heads(images, classes))

    def _classes(self, selection: Any, images: int) -> np.ndarray | None:
        if (selection is None) == (self._mode == "index"):
            expected = "whole numbers in the mode 'index'" if selection is None else f"None in the mode '{self._mode}'"
            raise invalid("neuron_selection", selection, expected)
        if selection is None:
            return None
        chosen, count = np.asarray(selection).ravel(), self._net.count_logits()
        if chosen.dtype.kind not in "iu" or chosen.size not in (1, images) or not ((chosen >= 0) & (chosen < count)).all():
            raise invalid("neuron_selection", selection, f"whole numbers from 0 to {count - 1}, one or {images}")
        return np.broadcast_to(chosen, images)

    def _heads(self, images: np.ndarray, classes: np.ndarray | None) -> np.ndarray:
        method = self._asked.method
        if self._mode != "all":
            heads = class_vectors(self._net, method, images, classes)
        else:
            logits = self._net.logits(images)
            heads = np.ones_like(logits) if method.head == "one" else logits
        return np.maximum(heads, 0) if self._asked.positive else heads

    def _request(self, images: np.ndarray) -> Request:
        method, semantics, options = self._asked[:3]
        if method is GIVEN:
            return Request(method, semantics, options)
        if "reference" in options:
            options = {**options, "reference": like_images(options["reference"], images)}
        return Request(method, semantics, settled_options(self._net, method, options, images))

    def _maps(self, request: Request, images: np.ndarray, heads: np.ndarray) -> np.ndarray:
        if request.method.name == "input_x_gradient":
            return images * self._maps(Request(METHODS["gradient"], "paper"), images, heads)
        return POSTPROCESSING[self._asked.postprocess](maps_of(self._net, request, images, heads))

    def _mean(self, request: Request, images: np.ndarray, heads: np.ndarray) -> np.ndarray:
        mean = self._smoothed(request, images) if request.method.name == "smoothgrad" else averaged(request, images, self._seed)
        return np.stack([self._mean_of(mean, index, head) for index, head in enumerate(heads)]).astype("float32")

    def _mean_of(self, mean: Averaged, index: int, head: np.ndarray) -> np.ndarray:
        points = mean.points(index)
        maps = self._maps(Request(METHODS["gradient"], "paper"), points, np.broadcast_to(head, (len(points), *head.shape)))
        return mean.of(index, maps)

    def _smoothed(self, request: Request, images: np.ndarray) -> Averaged:
        scale, samples = request.options["noise_scale"], request.options["samples"]

        def points(index: int) -> np.ndarray:
            noise = random_vectors(self._seed, "smoothgrad", [index], samples, images.shape[1:])[0]
            return (images[index] + scale * noise).astype("float32")

        return Averaged(points, None, 1.0)

    def _noise(self, images: np.ndarray) -> np.ndarray:
        drawn = random_vectors(self._seed, "random", range(len(images)), 1, images.shape[1:])[:, 0]
        return (self._asked.stddev * drawn).astype("float32")


def asked_for(name: str, model: Any, semantics: str, keywords: dict[str, Any]) -> Asked:
    """What an analyzer with these keywords asks of wel, for a model.

    Raises:
        WelError: for a name, a keyword or a value that cannot be used.
    """
    if name not in tuple(analyzers):
        raise UnknownAnalyzer(f"Invalid value for `name`: {name!r}. Expected {one_of(analyzers)}.")
    for key in keywords:
        if key not in keywords_of(name):
            raise invalid("kwargs", key, f"for {name}: {one_of(keywords_of(name)) if keywords_of(name) else 'none'}")
    if "until_layer_idx" in keywords:
        keywords = {**keywords, "until_layer_idx": _names_until(model, keywords["until_layer_idx"])}
    return analyzers[name](semantics, **keywords)


def _names_until(model: Any, index: int | None) -> list[str]:
    """The names of a model's first layers, the one at the index included, counted as `model.layers` has them; none for None."""
    if index is None:
        return []
    check_whole("until_layer_idx", index, 0)
    if index >= len(model.layers):
        raise invalid("until_layer_idx", index, f"at most {len(model.layers) - 1}, the model's last layer")
    return [layer.name for layer in model.layers[: index + 1]]


def _array(X: Any) -> np.ndarray:
    return np.asarray(X[0] if isinstance(X, (list, tuple)) and len(X) == 1 else X)


def like_images(reference: Any, images: np.ndarray) -> np.ndarray:
    """innvestigate's `reference_inputs`, a number or an array, as one image."""
    array, shape = np.asarray(reference), images.shape[1:]
    if array.dtype.kind not in "iuf" or array.shape not in ((), shape, (1, *shape)):
        raise invalid("reference_inputs", reference, f"a number, or an array of shape {shape}")
    return np.broadcast_to(array, (1, *shape))[0].astype("float32")


def _is_softmax(node: Any) -> bool:
    return node.kind == "Softmax" or activation_name(node.layer) == "softmax"


def _refuse(name: str, net: Network, what: str, condition: Any) -> None:
    found = next((node for node in net.graph.nodes if condition(node)), None)
    if found is not None:
        raise NotAnalyzeableModelException(of_method(name, f"does not take {what}. Received layer '{found.name}' ({found.kind})."))


def _check_rules(name: str, net: Network, asked: Asked) -> None:
    method = asked.method
    if method is None:
        return
    try:
        if method is GIVEN:
            rules_for(net.graph, method.name, asked.semantics, asked.options)
        else:
            find_backend("native", method).check(method, asked.semantics, net.graph)
    except UnsupportedError as error:
        raise NotAnalyzeableModelException(of_method(name, words_on(method.name, error.reason))) from error
