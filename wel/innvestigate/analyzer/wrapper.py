"""Analyzers that analyze what they make of an input by another analyzer, and take the mean."""

from __future__ import annotations

from typing import Any

import numpy as np

from wel.errors import check_whole, invalid
from wel.innvestigate.analyzer.base import AnalyzerBase, like_images, noisy
from wel.innvestigate.rules import checked


class WrapperBase(AnalyzerBase):
    """Another analyzer's analysis.

    Args:
        subanalyzer: the other one.
        neuron_selection_mode: in place of the other one's.

    Raises:
        WelError: for what is no analyzer of a network.
    """

    def __init__(self, subanalyzer: AnalyzerBase, neuron_selection_mode: str | None = None, **keywords: Any):
        if not isinstance(subanalyzer, AnalyzerBase):
            raise invalid("subanalyzer", subanalyzer, "an analyzer, such as `create_analyzer` gives")
        if keywords:
            raise invalid("kwargs", next(iter(keywords)), f"what {type(self).__name__} has")
        self._subanalyzer, self._keywords = subanalyzer, {}
        self._mode = subanalyzer._mode if neuron_selection_mode is None else self._checked_mode(neuron_selection_mode)
        self._net, self._seed = subanalyzer._net, subanalyzer._seed

    def fit(self, X: np.ndarray, batch_size: int | None = None, verbose: int = 0) -> None:
        self._subanalyzer.fit(X)

    def _state(self):
        kind, state = self._subanalyzer.save()
        return {"subanalyzer_class_name": kind, "subanalyzer_state": state, "neuron_selection_mode": self._mode, **self._keywords}

    @classmethod
    def _of_state(cls, state):
        keywords = dict(state)
        try:
            found = AnalyzerBase.load(keywords.pop("subanalyzer_class_name"), keywords.pop("subanalyzer_state"))
        except KeyError as error:
            raise invalid("state", sorted(state), f"{error} among the keys, as `save` gives it") from error
        return cls(found, **keywords)

    def _of(self, images, classes):
        return self._subanalyzer._of(images, self._entries(images, classes))

    def _entries(self, images: np.ndarray, classes: np.ndarray | None) -> np.ndarray | None:
        """What is analyzed, as entries of the output at the inputs themselves; None for all of them."""
        if classes is None and self._mode == "max_activation":
            return self._net.logits(images).argmax(axis=1)
        return classes


class AugmentReduceBase(WrapperBase):
    """The mean of another analyzer's analyses of what is made of an input: here of the input, `augment_by_n` times.

    In the mode "max_activation" the entry of the output is the one that is largest at the input itself.
    """

    def __init__(self, subanalyzer: AnalyzerBase, *, augment_by_n: int = 2, **keywords: Any):
        check_whole("augment_by_n", augment_by_n, 1)
        super().__init__(subanalyzer, **keywords)
        self._keywords["augment_by_n"] = self._samples = augment_by_n

    def _of(self, images, classes):
        entries = self._entries(images, classes)
        return np.stack([self._mean_at(image, index, entries) for index, image in enumerate(images)])

    def _mean_at(self, image: np.ndarray, index: int, entries: np.ndarray | None) -> np.ndarray:
        points = self._points(image, index)
        several = None if entries is None else np.repeat(entries[index], len(points))
        maps = self._subanalyzer._of(points, several).astype("float64")
        return (self._factor(image) * maps.mean(axis=0)).astype("float32")

    def _points(self, image: np.ndarray, index: int) -> np.ndarray:
        return np.repeat(image[None], self._samples, axis=0)

    def _factor(self, image: np.ndarray) -> np.ndarray | float:
        return 1.0


class GaussianSmoother(AugmentReduceBase):
    """The mean of analyses of an input with noise N(0, noise_scale²)."""

    def __init__(self, subanalyzer: AnalyzerBase, *, noise_scale: float = 1.0, **keywords: Any):
        super().__init__(subanalyzer, **keywords)
        self._keywords["noise_scale"] = self._scale = checked("noise_scale", noise_scale, 0)

    def _points(self, image, index):
        return noisy(image, index, self._samples, self._scale, self._seed)


class PathIntegrator(AugmentReduceBase):
    """Integrated gradients of any analyzer: (x − r) ∘ the mean at r + k/steps (x − r), k = 0 … steps − 1, with the reference r."""

    def __init__(self, subanalyzer: AnalyzerBase, *, steps: int = 16, reference_inputs: Any = 0, **keywords: Any):
        check_whole("steps", steps, 1)
        super().__init__(subanalyzer, augment_by_n=steps, **keywords)
        self._keywords.pop("augment_by_n")
        self._keywords.update(steps=steps, reference_inputs=reference_inputs)
        self._reference = reference_inputs

    def _points(self, image, index):
        shares = (np.arange(self._samples, dtype="float32") / self._samples).reshape(-1, *[1] * image.ndim)
        return image - (1 - shares) * self._factor(image)

    def _factor(self, image):
        return image - like_images(self._reference, image[None])
