"""The naive replica of DeepLIFT, in the terms of `replicas`: float64, one image at a time, every layer an explicit matrix."""

from __future__ import annotations

from typing import Callable, NamedTuple

import numpy as np
from replicas import SAFE, Replica, activation_of, has_kernel, is_relu


class Differences(NamedTuple):
    """Of a layer, flat: its value, its value for the reference, and Δ⁺, Δ⁻."""

    value: np.ndarray
    reference: np.ndarray
    positive: np.ndarray
    negative: np.ndarray

    @property
    def total(self) -> np.ndarray:
        """Δ."""
        return self.value - self.reference


class DeepLiftReplica(Replica):
    """DeepLIFT with both contributions and both multipliers kept apart everywhere, as experiments/original/README.md has it."""

    def _one(self, image, start: str, vectors) -> dict[str, np.ndarray]:
        forward = self._differences(image)
        rows = np.asarray(vectors, np.float64).reshape(len(vectors), -1)
        arrived = {start: (rows, rows)}
        for name in [start, *reversed(self._graph.below(start))]:
            node = self._graph[name]
            if name in arrived and node.inputs:
                x = self._joined(node, forward)
                both = self._linear_back(node, x, *self._function_back(node, self._after_linear(node, x), *arrived[name]))
                cuts = np.cumsum([forward[source].value.size for source in node.inputs])[:-1]
                for source, *parts in zip(node.inputs, *(np.split(m, cuts, axis=1) for m in both)):
                    arrived[source] = tuple(a + b for a, b in zip(arrived.get(source, (0, 0)), parts))
        read = {name: arrived[name][0] * forward[name].positive + arrived[name][1] * forward[name].negative for name in arrived}
        return {name: read[name].reshape(len(vectors), *self._graph[name].shape) for name in self._graph.below(start)}

    def _differences(self, image) -> dict[str, Differences]:
        value, reference = (np.asarray(one, np.float64).ravel() for one in (image, self._options["reference"]))
        found = {self._graph.input: Differences(value, reference, *_parts(value - reference))}
        for node in self._graph.nodes[1:]:
            found[node.name] = self._after_function(node, self._after_linear(node, self._joined(node, found)))
        return found

    def _joined(self, node, found: dict[str, Differences]) -> Differences:
        return Differences(*(np.concatenate(several) for several in zip(*(found[source] for source in node.inputs))))

    def _after_linear(self, node, x: Differences) -> Differences:
        """What stands before the activation function."""
        value, reference = (self._before_activation(node, one) for one in (x.value, x.reference))
        if "MaxPool" in node.kind:
            both = _parts((value - reference) * (self._semantics == "corrected"))
        else:
            up, down = _parts(self.affine(node).weights)
            # a layer with weights of its own looks at its input's Δ, the others at its Δ⁺ and Δ⁻
            plus, minus = _parts(x.total) if has_kernel(node.layer) or node.kind in ("Add", "Subtract") else (x.positive, x.negative)
            both = plus @ up + minus @ down, minus @ up + plus @ down
        return Differences(value, reference, *both)

    def _linear_back(self, node, x: Differences, plus, minus):
        if "MaxPool" in node.kind:
            matrix = self._matrix(node, x.value)
            return plus @ matrix.T, minus @ matrix.T
        up, down = _parts(self.affine(node).weights)
        if not has_kernel(node.layer) and node.kind not in ("Add", "Subtract"):
            return plus @ up.T + minus @ down.T, minus @ up.T + plus @ down.T
        above, below, equal = x.total > 0, x.total < 0, x.total == 0
        if self._method == "deeplift_ablation" and node.kind not in ("Add", "Subtract"):
            m = above * (plus @ up.T) + below * (minus @ up.T)
        else:
            m = above * (plus @ up.T + minus @ down.T) + below * (plus @ down.T + minus @ up.T)
            m += equal * ((plus + minus) @ (up + down).T / 2)
        return m, m

    def _after_function(self, node, x: Differences) -> Differences:
        function = activation_of(node.layer, node.shape)[0]
        if self._reveals(node):
            both = self._revealed(function, x)
        else:
            both = (part * self._ratio(node, x) for part in (x.positive, x.negative))
        return Differences(function(x.value), function(x.reference), *both)

    def _function_back(self, node, x: Differences, plus, minus):
        if not self._reveals(node):
            return plus * self._ratio(node, x), minus * self._ratio(node, x)
        after = self._revealed(activation_of(node.layer, node.shape)[0], x)
        return tuple(m * a / _away_from_zero(b) for m, a, b in zip((plus, minus), after, (x.positive, x.negative)))

    def _reveals(self, node) -> bool:
        return self._method == "deeplift_reveal_cancel" and is_relu(node.layer)

    def _revealed(self, f: Callable, x: Differences):
        r, p, n = x.reference, _away_from_zero(x.positive), _away_from_zero(x.negative)
        return (f(r + p) - f(r) + f(r + n + p) - f(r + n)) / 2, (f(r + n) - f(r) + f(r + p + n) - f(r + p)) / 2

    def _ratio(self, node, x: Differences):
        function, derivative = activation_of(node.layer, node.shape)
        near = np.abs(x.total) < SAFE
        return np.where(near, derivative(x.reference), (function(x.value) - function(x.reference)) / np.where(near, 1, x.total))


def _parts(values: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    return np.maximum(values, 0), np.minimum(values, 0)


def _away_from_zero(delta: np.ndarray) -> np.ndarray:
    return np.where(np.abs(delta) < SAFE / 2, delta + SAFE * np.where(delta >= 0, 1, -1), delta)
