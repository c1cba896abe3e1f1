"""What all analyzers are: a model, what is asked of wel for it, and the relevance that comes of it."""

from __future__ import annotations

from pathlib import Path
from typing import Any, ClassVar, Sequence

import numpy as np

from wel.backends import find_backend
from wel.backends.request import Request
from wel.errors import UnsupportedError, WelError, check_whole, invalid, of_method, one_of, words_on
from wel.innvestigate.analyzers import POSTPROCESSING, Asked, asked_for, keywords_of, unchecked
from wel.innvestigate.heads import Head, from_output
from wel.innvestigate.models import as_it_ends
from wel.innvestigate.reverse import Reverse
from wel.innvestigate.state import model_of, read_state, state_of, write_state
from wel.measures.vectors import random_vectors
from wel.methods.composites import rules_for
from wel.methods.fitting import fit_patterns
from wel.methods.patterns import patterns_for
from wel.methods.registry import DEEPLIFT, GIVEN, METHODS, check_semantics
from wel.networks.kinds import activation_name
from wel.networks.loading import load
from wel.networks.network import Network
from wel.studies.maps import AVERAGED, Averaged, averaged, class_vectors, maps_of, one_hot
from wel.studies.study import settled_options

MODES = ("max_activation", "index", "all")


class NotAnalyzeableModelException(WelError):
    """A model that an analyzer cannot be had for; the message says why."""


class AnalyzerBase:
    """An analyzer of a model, which it does not copy: `model.set_weights(...)` takes effect in the next call.

    Args:
        model: a Keras model with one input and one output; an output of several axes is flattened.
        own: the analyzer's own keywords, in their order.
        neuron_selection_mode: what is analyzed: "max_activation", the output's largest entry, "index", the one that `analyze` is told, or
            "all" of them.
        disable_model_checks: takes a model with a softmax too, and for Guided Backprop and Deconvnet one with activation functions that are
            no ReLUs, which have their gradient.
        allow_lambda_layers: takes a model with Lambda layers too, for gradients.
        semantics: "paper", innvestigate's numbers (`wel.innvestigate.analyzers`), or "corrected", the published formulas.
        seed: of noise, which depends on it, the image's index and the sample's index only.
        keywords: the analyzer's own, and those of `wel.innvestigate.reverse.Reverse` with `reverse_` before them.

    Attributes:
        name: as in `create_analyzer`.

    Raises:
        WelError: for a keyword or a value that cannot be used.
        NotAnalyzeableModelException: for a model that the analyzer cannot be had for.
    """

    name: ClassVar[str] = ""
    _kinds: ClassVar[dict[str, type]] = {}

    def __init_subclass__(cls, **kwargs: Any):
        super().__init_subclass__(**kwargs)
        AnalyzerBase._kinds[cls.__name__] = cls

    def __init__(
        self,
        model: Any,
        *own: Any,
        neuron_selection_mode: str = "max_activation",
        disable_model_checks: bool = False,
        allow_lambda_layers: bool = False,
        semantics: str = "paper",
        seed: int = 0,
        **keywords: Any,
    ):
        check_semantics(semantics)
        check_whole("seed", seed, 0)
        keywords = {**keywords, **_by_name(self.name, own, keywords)}
        self._model, self._keywords = model, keywords
        self._settings = {
            "neuron_selection_mode": neuron_selection_mode,
            "disable_model_checks": disable_model_checks,
            "allow_lambda_layers": allow_lambda_layers,
            "semantics": semantics,
            "seed": seed,
        }
        self._mode, self._seed = self._checked_mode(neuron_selection_mode), seed
        self._reverse, keywords = Reverse.taken_from(keywords)
        self._net = load(as_it_ends(model))
        asked = asked_for(self.name, model, semantics, keywords, self._net.graph)
        self._asked = unchecked(asked) if disable_model_checks else asked
        if not allow_lambda_layers:
            self._refuse("Lambda layers without `allow_lambda_layers`", lambda node: node.kind == "Lambda")
        if self._asked.method and not disable_model_checks:
            self._refuse("a softmax; `model_wo_softmax` takes the last one off", _is_softmax)
        _check_rules(self.name, self._net, self._asked)
        self._reverse.check(self.name, self._asked)
        self._reverse.announce(self._net, self._asked)

    def fit(self, X: np.ndarray, batch_size: int | None = None, verbose: int = 0) -> None:
        """Fits what the analyzer learns from inputs (n, *input shape): patterns. The others learn nothing.

        `batch_size` and `verbose` are innvestigate's; nothing depends on them.
        """
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
        return self._of(images, self._classes(neuron_selection, len(images)))

    def save(self, path: str | Path | None = None) -> tuple[str, dict[str, Any]]:
        """The analyzer's class and state, `load`'s arguments: the model, the keywords, and patterns that were fitted.

        With a path they are written to it too, as by `save_npz`.
        """
        if path is not None:
            self.save_npz(path)
        return type(self).__name__, self._state()

    def save_npz(self, fname: str | Path) -> None:
        """Writes class and state to an .npz file, which holds no pickles.

        Raises:
            WelError: for a rule that is none of innvestigate's by name, or a file that cannot be written.
        """
        write_state(fname, type(self).__name__, self._state())

    @staticmethod
    def load(class_name: str | Path, state: dict[str, Any] | None = None) -> AnalyzerBase:
        """The analyzer of what `save` gave; of a file that it wrote, if there is no state.

        Raises:
            WelError: for a class that is not known, or a state or file that is none.
        """
        if state is None:
            return AnalyzerBase.load_npz(class_name)
        if class_name not in AnalyzerBase._kinds:
            raise invalid("class_name", class_name, one_of(AnalyzerBase._kinds))
        return AnalyzerBase._kinds[class_name]._of_state(state)

    @staticmethod
    def load_npz(fname: str | Path) -> AnalyzerBase:
        """The analyzer that `save_npz` wrote.

        Raises:
            WelError: for a file that it did not write. Nothing that the file holds or names is run.
        """
        return AnalyzerBase.load(*read_state(fname))

    def _state(self) -> dict[str, Any]:
        patterns = (self._asked.options if self._asked.method is not GIVEN else {}).get("patterns")
        fitted = {} if patterns is None else {"patterns": patterns_for(self._net, patterns)}
        return {**state_of(self._model), **self._settings, **self._keywords, **fitted}

    @classmethod
    def _of_state(cls, state: dict[str, Any]) -> AnalyzerBase:
        model, keywords = model_of(state)
        return cls(model, **keywords)

    def _of(self, images: np.ndarray, classes: np.ndarray | None) -> np.ndarray:
        """The analysis of images for these entries of the output; None for what the mode says."""
        if self._asked.method is None:
            return images + self._noise(images) if self._asked.stddev else images.copy()
        request = self._request(images)
        if request.method.name in AVERAGED:
            return self._mean(request, images, self._heads(images, classes))
        factor, request = (images, Request(METHODS["gradient"], "paper")) if request.method.name == "input_x_gradient" else (1, request)
        return factor * POSTPROCESSING[self._asked.postprocess](self._injected(request, images, classes))

    def _injected(self, request: Request, images: np.ndarray, classes: np.ndarray | None) -> np.ndarray:
        if self._reverse.reads:
            self._reversed_tensors = self._reverse.told(self._net, request, images, self._heads(images, classes))
            return dict(self._reversed_tensors)[self._net.graph.input]
        if request.method.family == DEEPLIFT:  # whose values are no tensors
            return maps_of(self._net, request, images, self._heads(images, classes))
        largest = self._mode == "max_activation" and classes is None
        head, count = Head(largest, request.method.head == "logit", self._asked.positive), self._net.count_logits()
        vectors = np.ones((len(images), count), "float32") if classes is None else one_hot(classes, count)
        return from_output(self._net, request, images, vectors, head)

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
        if self._mode != "all" or classes is not None:
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

    def _mean(self, request: Request, images: np.ndarray, heads: np.ndarray) -> np.ndarray:
        mean = self._smoothed(request, images) if request.method.name == "smoothgrad" else averaged(request, images, self._seed)
        return np.stack([self._mean_of(mean, index, head) for index, head in enumerate(heads)]).astype("float32")

    def _mean_of(self, mean: Averaged, index: int, head: np.ndarray) -> np.ndarray:
        points = mean.points(index)
        several = np.broadcast_to(head, (len(points), *head.shape))
        maps = maps_of(self._net, Request(METHODS["gradient"], "paper"), points, several)
        return mean.of(index, POSTPROCESSING[self._asked.postprocess](maps))

    def _smoothed(self, request: Request, images: np.ndarray) -> Averaged:
        scale, samples = request.options["noise_scale"], request.options["samples"]
        return Averaged(lambda index: noisy(images[index], index, samples, scale, self._seed), None, 1.0)

    def _noise(self, images: np.ndarray) -> np.ndarray:
        drawn = random_vectors(self._seed, "random", range(len(images)), 1, images.shape[1:])[:, 0]
        return (self._asked.stddev * drawn).astype("float32")

    @staticmethod
    def _checked_mode(mode: Any) -> str:
        if mode not in MODES:
            raise invalid("neuron_selection_mode", mode, one_of(MODES))
        return mode

    def _refuse(self, what: str, condition: Any) -> None:
        found = next((node for node in self._net.graph.nodes if condition(node)), None)
        if found is not None:
            raise NotAnalyzeableModelException(of_method(self.name, f"does not take {what}. Received layer '{found.name}' ({found.kind})."))


def _by_name(name: str, own: Sequence[Any], keywords: dict[str, Any]) -> dict[str, Any]:
    known = keywords_of(name)
    if len(own) > len(known) or not keywords.keys().isdisjoint(known[: len(own)]):
        raise invalid("kwargs", own, f"values for {one_of(known)}, each once" if known else f"none for {name}")
    return dict(zip(known, own))


def _array(X: Any) -> np.ndarray:
    return np.asarray(X[0] if isinstance(X, (list, tuple)) and len(X) == 1 else X)


def like_images(reference: Any, images: np.ndarray) -> np.ndarray:
    """innvestigate's `reference_inputs`, a number or an array, as one image.

    Raises:
        WelError: for anything else.
    """
    array, shape = np.asarray(reference), images.shape[1:]
    if array.dtype.kind not in "iuf" or array.shape not in ((), shape, (1, *shape)):
        raise invalid("reference_inputs", reference, f"a number, or an array of shape {shape}")
    return np.broadcast_to(array, (1, *shape))[0].astype("float32")


def noisy(image: np.ndarray, index: int, samples: int, scale: float, seed: int) -> np.ndarray:
    """An image with noise N(0, scale²), (samples, *input shape), that depends on the seed and the image's index."""
    return (image + scale * random_vectors(seed, "smoothgrad", [index], samples, image.shape)[0]).astype("float32")


def _is_softmax(node: Any) -> bool:
    return node.kind == "Softmax" or activation_name(node.layer) == "softmax"


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
