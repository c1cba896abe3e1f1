"""The native engine: one forward pass, then the vectors of all start layers down through the layer graph in one sweep.

Relevance is (n, rows, *shape): for every image the vectors of all start layers so far, the same number of each. A start layer joins
the batch when the sweep comes to it.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from typing import Any, Callable, Mapping, NamedTuple, Sequence

import tensorflow as tf

from wel.networks.graph import Graph
from wel.rules.base import Relevance, Rule, Site
from wel.rules.deeplift import on_tensors
from wel.rules.parts import Part, Weights
from wel.rules.pattern import divided_by_largest

Rules = Mapping[str, Sequence[tuple[Part, Rule]]]


class Arrived(NamedTuple):
    """What has come down to a node: start layers, and the rows of each, in that order."""

    starts: tuple[str, ...]
    rows: Any


@dataclass(frozen=True)
class Sweep:
    """What a pass through a network does; calling it adds its operations to a TensorFlow graph.

    Attributes:
        graph: the network's.
        rules: the parts and rules of every node but the input.
        starts: start layers.
        vectors: how many each of them has.
        at: nodes at which relevance is read, where a start layer lies above them.
        read: (node, relevance (n, starts, vectors, *shape)) -> any structure of tensors; what is kept of the relevance there.
        flow: what goes through the network.
        bottlenecks: nodes at which every row from above is divided by its largest absolute value.
    """

    graph: Graph
    rules: Rules
    starts: frozenset[str]
    vectors: int
    at: frozenset[str]
    read: Callable
    flow: Relevance = Relevance()
    bottlenecks: frozenset[str] = frozenset()

    def __call__(
        self,
        images: tf.Tensor,
        vectors: Mapping[str, tf.Tensor],
        reference: tf.Tensor,
        weights: Mapping[str, Weights],
        parameters: Mapping[str, Any],
    ) -> dict[str, Any]:
        """Runs the sweep.

        Args:
            images: (n, *input shape).
            vectors: start layer -> (n, V, *its shape).
            reference: (1 or n, *input shape); of use to DeepLIFT only.
            weights: part of `computed` -> its weights.
            parameters: part of `passed` -> what its rule's `parameters` gave.

        Returns:
            node of `at` -> what `read` keeps there, of the start layers `starts_above(node)` in that order.
        """
        values, ends = self._forward(images, reference, weights)
        kept: dict[str, Any] = {}
        arrivals: dict[str, list[Arrived]] = {name: [] for name in self.graph.names}
        done: dict[tuple, tuple[Any, Any]] = {}
        for name in reversed(self._on_the_way):
            here = self._combined(name, arrivals.pop(name))
            if here.starts and name in self.at:
                kept[name], rows = self._read(name, values[name], here.rows, done)
                here = here._replace(rows=rows)
            if name in self.starts:
                here = self._joined(here, name, vectors[name])
            if here.starts and self._leads_on(name):
                self._pass_on(name, here, ends, parameters, arrivals)
        return kept

    def output(self, images: tf.Tensor, reference: tf.Tensor, weights: Mapping[str, Weights]) -> tf.Tensor:
        """The forward pass alone: the value of the topmost start layer, (n, *its shape)."""
        values, _ = self._forward(images, reference, weights)
        return values[self._ordered[0]]

    def starts_above(self, name: str) -> tuple[str, ...]:
        """The start layers whose relevance arrives at a node, from the output down."""
        return tuple(start for start in self._ordered if name in self._below[start])

    @cached_property
    def computed(self) -> list[Part]:
        """The parts whose output is needed."""
        return [part for name, several in self.rules.items() if name in self._reached for part, _ in several]

    @cached_property
    def passed(self) -> list[tuple[Part, Rule]]:
        """The parts that relevance passes, with their rules."""
        return [pair for name in self._on_the_way if self._leads_on(name) for pair in self.rules[name]]

    def _leads_on(self, name: str) -> bool:
        """Whether relevance goes on from a node."""
        return not set(self._on_the_way).isdisjoint(self.graph[name].inputs)

    @cached_property
    def _ordered(self) -> list[str]:
        return sorted(self.starts, key=self.graph.index, reverse=True)

    @cached_property
    def _below(self) -> dict[str, frozenset[str]]:
        return {start: frozenset(self.graph.below(start)) for start in self._ordered}

    @cached_property
    def _reached(self) -> frozenset[str]:
        return self.starts.union(*self._below.values())

    @cached_property
    def _on_the_way(self) -> list[str]:
        """The nodes that relevance comes to on its way to those where it is read, in execution order."""
        leading = set(self.at)
        for node in self.graph.nodes:
            if leading.intersection(node.inputs):
                leading.add(node.name)
        return [name for name in self.graph.names if name in self._reached & leading]

    def _forward(self, images, reference, weights) -> tuple[dict[str, Any], dict[str, tuple[list, Any]]]:
        """The value of every node, and the inputs and the output of every part."""
        values, ends = {self.graph.input: self.flow.enter(images, reference)}, {}
        for node in self.graph.nodes[1:]:
            if node.name in self._reached:
                inputs = [values[source] for source in node.inputs]
                for part, rule in self.rules[node.name]:
                    ends[part.name] = inputs, rule.forward(part, weights[part.name], inputs)
                    inputs = [ends[part.name][1]]
                (values[node.name],) = inputs
        return values, ends

    def _combined(self, name: str, arrivals: Sequence[Arrived]) -> Arrived:
        """The sum of what has come down from several nodes, each for start layers of its own."""
        starts = self.starts_above(name) if arrivals else ()
        if all(one.starts == starts for one in arrivals):
            rows = on_tensors(_sum, [one.rows for one in arrivals]) if arrivals else None
        else:
            parts = [on_tensors(_sum, [self._of(one, start) for one in arrivals if start in one.starts]) for start in starts]
            rows = on_tensors(_joined_rows, parts)
        if rows is not None and name in self.bottlenecks:
            rows = divided_by_largest(rows)
        return Arrived(starts, rows)

    def _of(self, arrived: Arrived, start: str) -> Any:
        first = arrived.starts.index(start) * self.vectors
        return on_tensors(lambda tensors: tensors[0][:, first : first + self.vectors], [arrived.rows])

    def _joined(self, here: Arrived, start: str, vectors: tf.Tensor) -> Arrived:
        """What has come down, and the vectors that are injected here."""
        injected = self.flow.inject(vectors)
        rows = on_tensors(_joined_rows, [here.rows, injected]) if here.starts else injected
        return Arrived((*here.starts, start), rows)

    def _pass_on(self, name: str, here: Arrived, ends, parameters, arrivals) -> None:
        rows: list = [here.rows]
        for part, rule in reversed(self.rules[name]):
            site = Site(part, *ends[part.name], parameters[part.name])
            rows = rule.apply(site, rule.prepare(site), rows[0])
        for source, several in zip(self.graph[name].inputs, rows):
            arrivals[source].append(Arrived(here.starts, several))

    def _read(self, name: str, value: Any, rows: Any, done: dict) -> tuple[Any, Any]:
        """What `read` keeps of a node, and the rows as they go on; what passes a layer unchanged is not read twice."""
        shape = self.graph[name].shape
        if (id(rows), shape) in done:
            return done[id(rows), shape][0], rows
        relevance = tf.reshape(self.flow.read(value, rows), [-1, len(self.starts_above(name)), self.vectors, *shape])
        kept = self.read(name, relevance)
        rows = _after(kept, rows)
        done[id(rows), shape] = kept, rows
        return kept, rows


def _sum(tensors: Sequence[tf.Tensor]) -> tf.Tensor:
    return tensors[0] if len(tensors) == 1 else tf.add_n(tensors)


def _joined_rows(tensors: Sequence[tf.Tensor]) -> tf.Tensor:
    return tf.concat(tensors, axis=1)


def _after(kept: Any, rows: Any) -> Any:
    """The rows, not to be used before `kept` is done: else relevance of many layers would wait in memory for its statistics."""
    with tf.control_dependencies(tf.nest.flatten(kept)):
        return on_tensors(lambda tensors: tf.identity(tensors[0]), [rows])
