"""deeplift's names for how multipliers pass an activation function, and what each of them is here."""

from __future__ import annotations

from functools import partial
from typing import Callable, Mapping, NamedTuple

from wel.errors import UnsupportedError, invalid, one_of, words_on
from wel.methods.composites import Rules, rules_for
from wel.networks.graph import Graph
from wel.networks.kinds import IDENTITIES, KERNELS
from wel.rules import deeplift
from wel.rules.base import Rule
from wel.rules.parts import ACTIVATION, Part


class NonlinearMxtsMode:
    """Modes by deeplift's names."""

    Gradient = "Gradient"
    Rescale = "Rescale"
    DeconvNet = "DeconvNet"
    GuidedBackprop = "GuidedBackprop"
    GuidedBackpropRescale = "GuidedBackpropRescale"
    RevealCancel = "RevealCancel"
    PassThrough = "PassThrough"
    DeepLIFT_GenomicsDefault = "DeepLIFT_GenomicsDefault"


class Mode(NamedTuple):
    """What a mode is.

    Attributes:
        split: whether positive and negative contributions are kept apart.
        rule: function (graph, part) -> the rule of an activation function.
    """

    split: bool
    rule: Callable[[Graph, Part], Rule]


def _always(rule: Rule, graph: Graph, part: Part) -> Rule:
    return rule


def _genomics(graph: Graph, part: Part) -> Rule:
    """Rescale behind convolutions, RevealCancel behind dense layers; BatchNormalization and Dropout are looked through."""
    node = graph[part.node.inputs[0]]
    while node.kind == "BatchNormalization" or (node.kind in IDENTITIES and node.inputs):
        node = graph[node.inputs[0]]
    if node.kind in KERNELS:
        return deeplift.RevealCancel() if node.kind == "Dense" else deeplift.Rescale()
    mode = NonlinearMxtsMode.DeepLIFT_GenomicsDefault
    reason = f"Mode '{mode}' has no rule for '{part.node.name}' behind layer '{node.name}' ({node.kind})."
    raise UnsupportedError(reason, "Expected a convolution or a dense layer there, or another mode.")


MODES: Mapping[str, Mode] = {
    NonlinearMxtsMode.Gradient: Mode(False, partial(_always, deeplift.GradientMultiplier())),
    NonlinearMxtsMode.Rescale: Mode(False, partial(_always, deeplift.Rescale())),
    NonlinearMxtsMode.DeconvNet: Mode(False, partial(_always, deeplift.ReversedMultiplier())),
    NonlinearMxtsMode.GuidedBackprop: Mode(False, partial(_always, deeplift.GuidedMultiplier())),
    NonlinearMxtsMode.GuidedBackpropRescale: Mode(False, partial(_always, deeplift.GuidedRescale())),
    NonlinearMxtsMode.RevealCancel: Mode(True, partial(_always, deeplift.RevealCancel())),
    NonlinearMxtsMode.PassThrough: Mode(False, partial(_always, deeplift.PassedMultiplier())),
    NonlinearMxtsMode.DeepLIFT_GenomicsDefault: Mode(True, _genomics),
}


def check_mode(name: str) -> None:
    """Raises WelError unless there is a mode of that name."""
    if name not in tuple(MODES):
        raise invalid("nonlinear_mxts_mode", name, one_of(MODES))


def rules_of(graph: Graph, name: str, semantics: str) -> Rules:
    """The parts of every node and their rules under a mode.

    Raises:
        UnsupportedError: naming the first layer that there is no rule for.
    """
    mode = MODES[name]
    method = "deeplift_reveal_cancel" if mode.split else "deeplift_rescale"
    try:
        found = rules_for(graph, method, semantics, {})
    except UnsupportedError as error:
        raise UnsupportedError(f"Mode '{name}' {words_on(method, error.reason)}") from error
    return {node: tuple((part, _rule(graph, mode, semantics, part, rule)) for part, rule in pairs) for node, pairs in found.items()}


def _rule(graph: Graph, mode: Mode, semantics: str, part: Part, rule: Rule) -> Rule:
    if part.role == ACTIVATION and part.activation != "linear":
        return mode.rule(graph, part)
    if part.node.kind == "GlobalMaxPooling1D" and semantics == "paper":
        return deeplift.TiedPooling(mode.split, placeholder=True)
    return rule
