"""The attribution methods that wel knows: name, label, backend, options, source, and how they are drawn."""
from __future__ import annotations

from dataclasses import dataclass, field
from typing import Iterable, NamedTuple

from wel.errors import invalid, one_of

# seaborn's "colorblind" palette, c0 to c4, as the paper uses it
BLUE, ORANGE, GREEN, RED, PINK = "#0173b2", "#de8f05", "#029e73", "#d55e00", "#cc78bc"
BLACK = "#000000"


class Tolerance(NamedTuple):
    """How far two computations of a method may lie apart: relative L2 of the relevance, and of the CSC median."""

    l2: float | None
    csc: float


# float32 noise of the original stack itself: methods that add one term, that subtract two, and that divide by sums near zero
ONE_TERM, TWO_TERM, NEAR_ZERO = Tolerance(1e-3, 1e-3), Tolerance(1e-2, 5e-3), Tolerance(None, 1e-2)


@dataclass(frozen=True)
class Method:
    """An attribution method.

    Attributes:
        name: as it is given on the command line and stands in tables.
        label: as figures show it.
        mark: the letter, or matplotlib marker, that the paper draws it with.
        color: of its line.
        wrapped: the package that computes it, "innvestigate" or "deeplift".
        source: key of `wel.citations.CITATIONS`.
        options: its own parameters with their defaults; None stands for "taken from the images", or "must be given".
        tolerance: what `wel verify` allows.
    """

    name: str
    label: str
    mark: str
    color: str
    source: str
    wrapped: str = "innvestigate"
    options: dict = field(default_factory=dict)
    tolerance: Tolerance = ONE_TERM


METHODS = {
    method.name: method
    for method in (
        Method("gradient", "Gradient", "v", BLACK, "simonyan2014"),
        Method("guided_backprop", "Guided BP", "G", BLUE, "springenberg2015"),
        Method("deconvnet", "Deconvnet", "V", BLUE, "zeiler2014"),
        Method("rectgrad", "RectGrad", "R", BLUE, "kim2019", options={"percentile": 98.0}, tolerance=TWO_TERM),
        Method("deep_taylor", "Deep Taylor", "T", RED, "montavon2017", options={"low": None, "high": None}),
        Method("lrp_z", "LRP-z", "Z", GREEN, "bach2015", tolerance=NEAR_ZERO),
        Method("lrp_epsilon", "LRP-ε", "E", GREEN, "bach2015", options={"epsilon": 1e-7}, tolerance=NEAR_ZERO),
        Method("lrp_alpha1_beta0", "LRP α1β0", "1", GREEN, "bach2015"),
        Method("lrp_alpha2_beta1", "LRP α2β1", "2", GREEN, "bach2015", tolerance=TWO_TERM),
        Method("lrp_alpha5_beta4", "LRP α5β4", "5", GREEN, "bach2015", tolerance=TWO_TERM),
        Method("lrp_cmp_alpha1_beta0", "LRP CMP α1β0", "^", ORANGE, "lapuschkin2017", tolerance=NEAR_ZERO),
        Method("lrp_cmp_alpha2_beta1", "LRP CMP α2β1", "P", ORANGE, "lapuschkin2017", tolerance=NEAR_ZERO),
        Method("pattern_net", "PatternNet", "N", RED, "kindermans2018", options={"patterns": None}),
        Method("pattern_attribution", "PatternAttr.", "$P$", RED, "kindermans2018", options={"patterns": None}),
        Method("deeplift_reveal_cancel", "DeepLIFT RevealCancel", "L", PINK, "shrikumar2017", "deeplift", {"reference": "zero"}, TWO_TERM),
        Method("deeplift_rescale", "DeepLIFT Rescale", "D", PINK, "shrikumar2017", "deeplift", {"reference": "zero"}),
        Method("deeplift_ablation", "DeepLIFT ablation", "A", PINK, "sixt2020", "deeplift", {"reference": "zero"}),
    )
}


def find_method(name: str) -> Method:
    """Looks a method up by name.

    Raises:
        WelError: when there is none of that name.
    """
    if name not in METHODS:
        raise invalid("method", name, one_of(METHODS))
    return METHODS[name]


def choose_methods(names: str | Iterable[str]) -> list[Method]:
    """The methods that were asked for, "all" or by name, in the order asked for, each once.

    Raises:
        WelError: for an unknown name, or when none is given.
    """
    names = list(METHODS) if names == "all" else ([names] if isinstance(names, str) else list(names))
    if not names:
        raise invalid("methods", names, "'all' or one or more methods")
    return [find_method(name) for name in dict.fromkeys(names)]
