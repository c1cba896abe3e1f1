"""The native engine: one forward pass, then all vectors down through the layer graph in one sweep.

Relevance is (n, rows, *shape): for every image the vectors of all injections so far. A start layer's join the batch when the sweep comes to
it. What is injected above random layers comes down through these first, on a forward pass of their own that begins at the values of the
trained layers below; where these begin it joins the batch too.
"""

from __future__ import annotations

from collections import defaultdict
from dataclasses import dataclass, field, replace
from functools import cached_property
from itertools import accumulate
from typing import Any, Callable, Hashable, Iterator, Mapping, NamedTuple, Optional, Sequence

import tensorflow as tf

from wel.backends.request import Injection
from wel.networks.graph import Graph
from wel.rules.base import REFERENCE, VALUE, Once, Relevance, Rule, Site, anew
from wel.rules.deeplift import on_tensors
from wel.rules.parts import ACTIVATION, Part, Weights
from wel.rules.pattern import divided_by_largest

Rules = Mapping[str, Sequence[tuple[Part, Rule]]]
# values by node; inputs and output by part
Pass = tuple[dict[str, Any], dict[str, tuple[list, Any]]]
# stage from which on layers are random, None for the trained network
Stage = Optional[str]
Known = defaultdict[tuple[Stage, str], dict[Hashable, Any]]
# weights of the parts that are computed, and what the rules of those that are passed make of theirs, by the names of the parts
Tensors = tuple[Mapping[str, Weights | None], Mapping[str, Any]]


@dataclass(frozen=True)
class Passes:
    """What sweeps with the same images and random layers have in common, kept from one method to the next; of use eagerly only.

    Attributes:
        forward: stage, the nodes that are reached, and what goes through the network -> the forward pass.
        known: stage, and a part's name -> what `Site.once` knows of it.
        of_reference: the same of DeepLIFT's reference, which all images have.
        of_one_method: whether contributions are kept too, which differ between DeepLIFT's methods.
    """

    forward: dict[tuple[Stage, frozenset[str], Relevance], Pass] = field(default_factory=dict)
    known: Known = field(default_factory=lambda: defaultdict(dict))
    of_reference: Known = field(default_factory=lambda: defaultdict(dict))
    of_one_method: bool = False

    def for_groups(self, flow: Relevance) -> Passes:
        """The same, and contributions if these go through the network, for the sweeps of one method."""
        return self if flow == Relevance() else replace(self, forward=dict(self.forward), of_one_method=True)

    def value(self, stage: Stage, name: str) -> Any:
        """A node's values, if a forward pass has them; else None."""
        return next((made[name] for made, _ in self._plain(stage) if name in made), None)

    def once(self, stage: Stage, part: Part, plain: bool) -> Once:
        """A part's `Site.once`; nothing is kept of what is computed number by number, nor twice if the part's values are `plain` ones."""
        kept = not part.diagonal and part.role != ACTIVATION

        def once(name: Hashable, compute: Callable[[], Any]) -> Any:
            made = self._output(stage, part) if plain and name == VALUE else None
            if made is not None or not kept:
                return compute() if made is None else made
            known = (self.of_reference if name == REFERENCE else self.known)[stage, part.name]
            if name not in known:
                known[name] = compute()
            return known[name]

        return once

    def _output(self, stage: Stage, part: Part) -> Any:
        """A part's output, if a forward pass has it; else None."""
        return next((ends[part.name][1] for _, ends in self._plain(stage) if part.name in ends), None)

    def _plain(self, stage: Stage) -> Iterator[Pass]:
        return (made for (one, _, flow), made in self.forward.items() if one == stage and flow == Relevance())


class Arrived(NamedTuple):
    """What has come down to a node: injections by number, and the rows of each, in that order."""

    injections: tuple[int, ...]
    rows: Any


# node -> what has come down to it
Arrivals = dict[str, list[Arrived]]


@dataclass(frozen=True)
class Sweep:
    """What a pass through a network does; calling it computes, or adds its operations to the TensorFlow graph that is being built.

    Attributes:
        graph: the network's.
        rules: the parts and rules of every node but the input.
        injections: what is injected and read, from the output down.
        flow: what goes through the network.
        bottlenecks: nodes at which every row from above is divided by its largest absolute value.
        random: as `rules`, of the network with random layers; of use to injections that have some below them.
    """

    graph: Graph
    rules: Rules
    injections: tuple[Injection, ...]
    flow: Relevance = Relevance()
    bottlenecks: frozenset[str] = frozenset()
    random: Rules | None = None

    def __call__(
        self,
        images: tf.Tensor,
        vectors: Sequence[tf.Tensor],
        reference: tf.Tensor,
        tensors: Tensors,
        random: Tensors | None = None,
        passes: Passes | None = None,
    ) -> dict[tuple[str, tuple[int, ...]], Any]:
        """Runs the sweep.

        Args:
            images: (n, *input shape).
            vectors: of each injection, (n, V, *shape of its start layer).
            reference: (1 or n, *input shape); of use to DeepLIFT only.
            tensors: of the parts `computed` and `passed`.
            random: the same of the random layers.
            passes: what other sweeps have computed of these images, and this one computes for the next.

        Returns:
            (node, injections that are read there together) -> what their measure keeps.
        """
        down = _Descent(self, vectors, passes)
        values = {self.graph.input: self.flow.enter(images, reference)}
        values, ends = self._forward(None, self.rules, tensors[0], values, passes)
        for stage in self._stages:
            down.run(self._from(stage), stage, self.random, *self._forward(stage, self.random, random[0], values, passes), random[1])
        down.run(self.graph.names, None, self.rules, values, ends, tensors[1])
        return down.kept

    def output(self, images: tf.Tensor, reference: tf.Tensor, tensors: Tensors) -> tf.Tensor:
        """The forward pass alone: the value of the topmost start layer, (n, *its shape)."""
        values = {self.graph.input: self.flow.enter(images, reference)}
        values, _ = self._forward(None, self.rules, tensors[0], values, None)
        return values[self.injections[0].start]

    @cached_property
    def computed(self) -> list[Part]:
        """The parts whose output is needed."""
        return [part for name, several in self.rules.items() if name in self.reached for part, _ in several]

    @cached_property
    def passed(self) -> list[tuple[Part, Rule]]:
        """The parts that relevance passes, with their rules."""
        return [pair for name in self.on_the_way if self.leads_on(name) for pair in self.rules[name]]

    @cached_property
    def random_passed(self) -> list[tuple[Part, Rule]]:
        """The parts with random weights, all of which are computed and passed, with their rules."""
        names = self._from(self._stages[-1]) if self._stages else ()
        return [pair for name in names for pair in self.random[name]]

    @cached_property
    def rows(self) -> int:
        """How many vectors an image has."""
        return sum(injection.vectors for injection in self.injections)

    def once(self, passes: Passes | None, stage: Stage, part: Part) -> Once:
        """A part's `Site.once`."""
        return anew if passes is None else passes.once(stage, part, part.node.name in self._plain)

    @cached_property
    def _plain(self) -> frozenset[str]:
        """The nodes with the values that the network itself computes."""
        found = {self.graph.input}
        for name, pairs in self.rules.items():
            if found.issuperset(self.graph[name].inputs) and all(rule.network_values for _, rule in pairs):
                found.add(name)
        return frozenset(found)

    def leads_on(self, name: str) -> bool:
        """Whether relevance goes on from a node."""
        return not self.on_the_way.isdisjoint(self.graph[name].inputs)

    @cached_property
    def _stages(self) -> list[str]:
        """Where random layers begin, from the output down."""
        found = {injection.random_from for injection in self.injections} - {None}
        return sorted(found, key=self.graph.index, reverse=True)

    def _from(self, stage: Stage) -> list[str]:
        """The nodes from a stage on; all but the input for None."""
        return self.graph.names[1 if stage is None else self.graph.index(stage) :]

    @cached_property
    def reached(self) -> frozenset[str]:
        """The nodes that relevance can come to, and start layers."""
        starts = {injection.start for injection in self.injections}
        return frozenset(starts.union(*map(self.graph.below, starts)))

    @cached_property
    def on_the_way(self) -> frozenset[str]:
        """The nodes that relevance comes to on its way to those where it is read."""
        leading = {name for injection in self.injections for name in injection.at}
        for node in self.graph.nodes:
            if leading.intersection(node.inputs):
                leading.add(node.name)
        return self.reached & leading

    def _forward(self, stage: Stage, rules: Rules, weights: Mapping, below: dict[str, Any], passes: Passes | None) -> Pass:
        """The values of the nodes from a stage on, and of those below, and the inputs and the output of every part from there on.

        A pass that needs the same nodes is taken from `passes`.
        """
        keeps, key = passes is not None and (passes.of_one_method or self.flow == Relevance()), (stage, self.reached, self.flow)
        made = passes.forward.get(key) if keeps else None
        if made is None:
            made = dict(below), {}
            for name in filter(self.reached.__contains__, self._from(stage)):
                self._computed(name, [(*pair, self.once(passes, stage, pair[0])) for pair in rules[name]], weights, *made)
        if keeps:
            passes.forward[key] = dict(made[0]), dict(made[1])
        return dict(made[0]), dict(made[1])  # what is needed no more is taken out of them

    def _computed(self, name: str, several: Sequence[tuple[Part, Rule, Once]], weights: Mapping, values: dict, ends: dict) -> None:
        inputs = [values[source] for source in self.graph[name].inputs]
        for part, rule, once in several:
            ends[part.name] = inputs, rule.forward(part, weights[part.name], inputs, once)
            inputs = [ends[part.name][1]]
        (values[name],) = inputs


class _Descent:
    """The way down of one call of a sweep.

    Attributes:
        kept: as the sweep returns it.
    """

    def __init__(self, sweep: Sweep, vectors: Sequence[tf.Tensor], passes: Passes | None):
        self._sweep, self._graph, self._vectors, self._passes = sweep, sweep.graph, vectors, passes
        self._arrivals: Arrivals = {name: [] for name in sweep.graph.names}
        self._done: dict[tuple, tuple[list, Any]] = {}
        self.kept: dict[tuple[str, tuple[int, ...]], Any] = {}

    def run(self, names: Sequence[str], stage: Stage, rules: Rules, values: dict, ends: dict, parameters: Mapping[str, Any]) -> None:
        """Through nodes, the last one first; what they hand to other nodes waits there.

        Args:
            names: of the nodes, in execution order.
            stage: where the random layers begin that they are, None for trained ones.
            rules, parameters: of the nodes.
            values, ends: of the nodes; what is needed no more is taken out, so that its memory is free.
        """
        # of random layers their own: what waits there already is to meet the trained ones
        arrivals = self._arrivals if stage is None else {**self._arrivals, **{name: [] for name in names}}
        for name in filter(self._sweep.on_the_way.__contains__, reversed(names)):
            here = self._combined(name, arrivals[name])
            arrivals[name] = []
            here = self._joined(self._read(name, values[name], here), name, stage, values.pop(name))
            if here.injections and self._sweep.leads_on(name):
                self._pass_on(name, stage, rules[name], here, ends, parameters, arrivals)
            self._forget(arrivals)

    def _combined(self, name: str, arrivals: Sequence[Arrived]) -> Arrived:
        """The sum of what has come down from several nodes, each for injections of its own."""
        numbers = tuple(sorted({number for one in arrivals for number in one.injections}))
        if not numbers:
            return Arrived((), None)
        if all(one.injections == numbers for one in arrivals):
            rows = on_tensors(_sum, [one.rows for one in arrivals])
        else:
            parts = [on_tensors(_sum, [self._of(one, (n,)) for one in arrivals if n in one.injections]) for n in numbers]
            rows = on_tensors(_joined_rows, parts)
        return Arrived(numbers, divided_by_largest(rows) if name in self._sweep.bottlenecks else rows)

    def _of(self, arrived: Arrived, numbers: Sequence[int]) -> Any:
        """The rows of some injections."""
        if arrived.injections == tuple(numbers):
            return arrived.rows
        counts = [self._sweep.injections[number].vectors for number in arrived.injections]
        ends = dict(zip(arrived.injections, accumulate(counts)))
        spans = [(ends[number] - self._sweep.injections[number].vectors, ends[number]) for number in numbers]
        return on_tensors(lambda tensors: _joined_rows([tensors[0][:, first:last] for first, last in spans]), [arrived.rows])

    def _joined(self, here: Arrived, name: str, stage: Stage, value: Any) -> Arrived:
        """What has come down, and what is injected here."""
        for number, injection in enumerate(self._sweep.injections):
            if (injection.start, injection.random_from) == (name, stage):
                vectors = self._vectors[number]
                injected = self._sweep.flow.inject(injection.made_of(vectors, value) if injection.made_of else vectors)
                rows = on_tensors(_joined_rows, [here.rows, injected]) if here.injections else injected
                here = Arrived((*here.injections, number), rows)
        return here

    def _pass_on(
        self, name: str, stage: Stage, pairs: Sequence, here: Arrived, ends: dict, parameters: Mapping[str, Any], arrivals: Arrivals
    ) -> None:
        rows: list = [here.rows]
        for part, rule in reversed(pairs):
            site = Site(part, *ends.pop(part.name), parameters[part.name], self._sweep.once(self._passes, stage, part))
            rows = rule.apply(site, rule.prepare(site), rows[0])
        for source, several in zip(self._graph[name].inputs, rows):
            arrivals[source].append(Arrived(here.injections, several))

    def _read(self, name: str, value: Any, here: Arrived) -> Arrived:
        """Keeps what is read at a node; what passes a layer unchanged is not read twice."""
        groups = self._groups(name, here.injections)
        if not groups:
            return here
        shape, rows = self._graph[name].shape, here.rows
        if (id(rows), shape, groups) in self._done:
            kept, _ = self._done[id(rows), shape, groups]
        else:
            kept = [self._measured(name, value, here, numbers) for numbers in groups]
            rows = rows if tf.executing_eagerly() else _after(kept, rows)
            self._done[id(rows), shape, groups] = kept, rows  # which keeps the id from being another's
        self.kept.update({(name, numbers): one for numbers, one in zip(groups, kept)})
        return here._replace(rows=rows)

    def _groups(self, name: str, numbers: Sequence[int]) -> tuple[tuple[int, ...], ...]:
        """The injections that are read at a node, those together that have as many vectors and the same measure."""
        groups: dict[tuple, list[int]] = {}
        for number in numbers:
            injection = self._sweep.injections[number]
            if name in injection.at:
                groups.setdefault((injection.vectors, injection.measure), []).append(number)
        return tuple(map(tuple, groups.values()))

    def _measured(self, name: str, value: Any, here: Arrived, numbers: Sequence[int]) -> Any:
        first = self._sweep.injections[numbers[0]]
        relevance = self._sweep.flow.read(value, self._of(here, numbers))
        shape = [-1, len(numbers), first.vectors, *self._graph[name].shape]
        return first.measure.read(name, tf.reshape(relevance, shape))

    def _forget(self, arrivals: Arrivals) -> None:
        """Lets go of what was read and has been passed on."""
        waiting = {id(one.rows) for arrived in arrivals.values() for one in arrived}
        self._done = {key: done for key, done in self._done.items() if key[0] in waiting}


def _sum(tensors: Sequence[tf.Tensor]) -> tf.Tensor:
    return tensors[0] if len(tensors) == 1 else tf.add_n(tensors)


def _joined_rows(tensors: Sequence[tf.Tensor]) -> tf.Tensor:
    return tensors[0] if len(tensors) == 1 else tf.concat(tensors, axis=1)


def _after(kept: Any, rows: Any) -> Any:
    """The rows, not to be used before `kept` is done: else relevance of many layers would wait in memory for its statistics."""
    with tf.control_dependencies(tf.nest.flatten(kept)):
        return on_tensors(lambda tensors: tf.identity(tensors[0]), [rows])
