"""Where a method loses or makes relevance: at every layer, what comes in from above and what the layer hands to its inputs."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Sequence

import numpy as np
import pandas as pd
import tensorflow as tf

from wel.backends import find_backend
from wel.backends.native.adaptive import Compiled
from wel.backends.native.backend import full_precision, tensors_for
from wel.backends.native.sweep import Sweep
from wel.backends.request import Injection, Request
from wel.methods.composites import described, flow_of, rules_for
from wel.methods.registry import Method, check_semantics, find_method
from wel.networks.graph import Graph
from wel.networks.network import Network
from wel.rules.base import Relevance, Rule, Site, anew
from wel.studies.maps import class_vectors
from wel.studies.study import settled_options

BACKEND, DTYPE = "native", "float32"


def leaks(
    net: Network,
    method: str | Method,
    images: np.ndarray,
    classes: Sequence[int] | int | None = None,
    semantics: str = "paper",
    **options: Any,
) -> pd.DataFrame:
    """What every layer does to the sum of relevance on the way from a class's logit to the input, in the native backend.

    With R the relevance at a layer's output, from all layers that it feeds, and R_k what its rule makes of that for its k-th input,

        leak = Σ_k Σ R_k − Σ R,   relative = leak / Σ R,

    sums over all values of an image, then means over the images. Relevance appears where `leak` has the sign of `arrived`, and
    vanishes where it has the other. Summed over all layers, `leak` is what the input receives minus what the output was given,
    PatternNet's and PatternAttribution's `paper` division at bottlenecks aside. Of DeepLIFT it is contributions m⁺Δ⁺ + m⁻Δ⁻ that
    are summed up.

    Args:
        net: from `wel.load`.
        method: name of an attribution method.
        images: (n, *input shape), as the network takes them.
        classes: whose logit, one for all images or one for each; the top-1 predictions by default.
        semantics: "paper" or "corrected".
        options: the method's own.

    Returns:
        One row per layer, from the output down to the input: layer, kind, rule, arrived (Σ R), handed_down (Σ_k Σ R_k), leak,
        relative; float64. The input hands nothing down: NaN.

    Raises:
        WelError: for an argument that cannot be used, or a network whose output is not one vector of logits.
        UnsupportedError: for a method that does not apply to the network.
    """
    chosen = find_method(method)
    check_semantics(semantics)
    images = net.checked_images(images)
    native = find_backend(BACKEND, chosen)
    native.check(chosen, semantics, net.graph)
    settled = settled_options(net, chosen, options, images)
    heads = class_vectors(net, chosen, images, classes)
    watched = _Watched(net.graph.in_dtype(DTYPE), chosen.key, semantics, settled)
    size = native.open(net).images_at_once(1, Request(chosen, semantics, settled))
    batches = [watched.sums(images[first : first + size], heads[first : first + size]) for first in range(0, len(images), size)]
    sums = {name: np.concatenate([batch[name] for batch in batches]).mean(axis=0) for name in batches[0]}
    return _table(net, watched.rules, sums)


@dataclass(frozen=True)
class _Recorded(Rule):
    """A rule as it is, with note taken of the sums of what comes in and of what it hands down, (n,) each."""

    rule: Rule
    flow: Relevance
    notes: dict

    def parameters(self, part, pattern=None):
        return self.rule.parameters(part, pattern)

    def forward(self, part, weights, inputs, once=anew):
        return self.rule.forward(part, weights, inputs, once)

    def prepare(self, site):
        return self.rule.prepare(site)

    def apply(self, site: Site, prepared, R):
        handed = self.rule.apply(site, prepared, R)
        down = [_sum(self.flow.read(x, rows)) for x, rows in zip(site.inputs, handed)]
        self.notes[site.part.name] = _sum(self.flow.read(site.output, R)), tf.add_n(down)
        return handed


@dataclass(frozen=True)
class _Sums:
    """Measures the sum of relevance."""

    def read(self, name, relevance):
        return _sum(relevance)


class _Watched:
    """A method's sweep from the output to the input of a network, with its rules recorded.

    Attributes:
        rules: of every node but the input.
    """

    def __init__(self, graph: Graph, method: str, semantics: str, options: dict[str, Any]):
        self.rules = rules_for(graph, method, semantics, options)
        self._notes: dict[str, tuple[tf.Tensor, tf.Tensor]] = {}
        self._reference = options.get("reference")
        flow, bottlenecks = flow_of(graph, method, semantics)
        recorded = {name: tuple((part, _Recorded(rule, flow, self._notes)) for part, rule in pairs) for name, pairs in self.rules.items()}
        injection = Injection(graph.output, 1, frozenset([graph.input]), _Sums())
        self._sweep = Sweep(graph, recorded, (injection,), flow, bottlenecks)
        self._tensors = tensors_for(self._sweep, options)
        self._compiled = Compiled(self, DTYPE)

    def __call__(self, *arguments) -> tuple[tf.Tensor, dict]:
        (arrived,) = self._sweep(*arguments).values()
        return arrived, dict(self._notes)

    def sums(self, images: np.ndarray, heads: np.ndarray) -> dict[str, np.ndarray]:
        """Node -> (n, 2): the sum of relevance that arrives at its output, and of what it hands down (NaN for the input)."""
        graph = self._sweep.graph
        reference = np.zeros_like(images[:1]) if self._reference is None else self._reference[None]
        given = tf.nest.map_structure(tf.convert_to_tensor, (images, [heads[:, None]], reference))
        with full_precision():
            arrived, notes = self._compiled(*given, *self._tensors)
        found = {graph.input: (arrived, np.full(len(images), np.nan))}
        for name, pairs in self.rules.items():
            first, last = pairs[0][0], pairs[-1][0]
            found[name] = notes[last.name][0], notes[first.name][1]
        return {name: np.stack([np.asarray(column) for column in columns], axis=1) for name, columns in found.items()}


def _sum(relevance: tf.Tensor) -> tf.Tensor:
    """(n,) float64."""
    return tf.reduce_sum(tf.cast(relevance, "float64"), axis=range(1, relevance.shape.rank))


def _table(net: Network, rules, sums: dict[str, np.ndarray]) -> pd.DataFrame:
    rows = [(net.shown(node.name), node.kind, described(rules.get(node.name, ())), *sums[node.name]) for node in reversed(net.graph.nodes)]
    table = pd.DataFrame(rows, columns=["layer", "kind", "rule", "arrived", "handed_down"])
    table["leak"] = table["handed_down"] - table["arrived"]
    table["relative"] = table["leak"] / table["arrived"]
    return table
