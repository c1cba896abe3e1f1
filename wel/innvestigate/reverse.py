"""What an analyzer tells of relevance on its way down: innvestigate's `reverse_…` keywords, with wel's own answers."""

from __future__ import annotations

import warnings
from dataclasses import dataclass, fields
from typing import Any, Mapping

import numpy as np

from wel.backends import find_backend
from wel.backends.request import Request, relevance_at
from wel.errors import invalid, of_method, one_of
from wel.innvestigate.analyzers import Asked
from wel.methods.composites import described, rules_for
from wel.networks.network import Network
from wel.studies.maps import AVERAGED

PREFIX = "reverse_"
# what innvestigate does to relevance besides its rules
CHANGING = ("clip_values", "project_bottleneck_layers", "reapply_on_copied_layers")


@dataclass(frozen=True)
class Reverse:
    """What is told.

    Attributes:
        verbose: prints the rules of every layer, from the output down, when something is analyzed for the first time.
        check_finite: warns of the first layer whose relevance is not finite.
        check_min_max_values: prints the smallest and the largest relevance of every layer.
        keep_tensors: keeps the relevance of every layer as `analyzer._reversed_tensors`, pairs (name, (n, *shape)) from the input up.
    """

    verbose: bool = False
    check_finite: bool = False
    check_min_max_values: bool = False
    keep_tensors: bool = False

    @staticmethod
    def taken_from(keywords: Mapping[str, Any]) -> tuple[Reverse, dict[str, Any]]:
        """What is asked for among an analyzer's keywords, and the others.

        Raises:
            WelError: for what would change relevance, and for a keyword that there is not.
        """
        reverse = {key.removeprefix(PREFIX): value for key, value in keywords.items() if key.startswith(PREFIX)}
        for key in CHANGING:
            if reverse.pop(key, False):
                raise invalid(PREFIX + key, keywords[PREFIX + key], "False: relevance is what the rules make of it")
        known = [field.name for field in fields(Reverse)]
        for key in reverse:
            if key not in known:
                raise invalid("kwargs", PREFIX + key, one_of(PREFIX + name for name in known))
        others = {key: value for key, value in keywords.items() if not key.startswith(PREFIX)}
        return Reverse(**{key: bool(value) for key, value in reverse.items()}), others

    @property
    def reads(self) -> bool:
        """Whether the relevance of all layers has to be read."""
        return self.check_finite or self.check_min_max_values or self.keep_tensors

    def check(self, name: str, asked: Asked) -> None:
        """Raises WelError where relevance does not come down once: for inputs, and for means of maps."""
        if (self.verbose or self.reads) and (asked.method is None or asked.method.name in AVERAGED):
            raise invalid("kwargs", f"{PREFIX}…", of_method(name, "without them: it is not one way down through the layers"))

    def announce(self, net: Network, asked: Asked) -> None:
        """Prints the rules, if that is asked for."""
        if self.verbose:
            rules = rules_for(net.graph, asked.method.name, asked.semantics, {**asked.method.defaults, **asked.options})
            for name in reversed(rules):
                print(f"{name} ({net.graph[name].kind}) => {described(rules[name])}")

    def told(self, net: Network, request: Request, images: np.ndarray, heads: np.ndarray) -> list[tuple[str, np.ndarray]]:
        """The relevance of every layer, from the input up, for that at the output, (n, classes); what is asked for is told of it."""
        output, below = net.graph.output, net.graph.below(net.graph.output)
        opened = find_backend("native", request.method).open(net)
        found = relevance_at(opened, request, images, output, heads[:, None].astype("float32"), below)
        relevance = [*((name, found[name][:, 0]) for name in below), (output, heads)]
        if self.check_min_max_values:
            for name, values in reversed(relevance):
                print(f"{name}: {values.min():g} to {values.max():g}")
        bad = [name for name, values in reversed(relevance) if not np.isfinite(values).all()]
        if self.check_finite and bad:
            warnings.warn(f"Relevance is not finite at layer '{bad[0]}' ({net.graph[bad[0]].kind}) and below.", stacklevel=4)
        return relevance
