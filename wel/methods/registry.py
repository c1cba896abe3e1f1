"""The attribution methods that wel knows: name, label, backend, options, source, and how they are drawn."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Iterable, NamedTuple

from wel.errors import WelError, invalid, one_of

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
        source: key of `wel.methods.registry.CITATIONS`.
        options: its own parameters with their defaults; None stands for "taken from the images", or "must be given".
        tolerance: what `wel verify` allows.
        csc: whether it passes relevance from layer to layer, so that CSC is defined; the others have maps of the input only.
        head: what a map begins with at the output: "logit", the class's logit, or "one", 1.
        reduction: how a map's channels become one, "sum" or "max_abs", the largest absolute value.
        map_percentile: at which maps are cut before they are compared (`wel.measures.similarity.ssim`).
    """

    name: str
    label: str
    mark: str
    color: str
    source: str
    wrapped: str = "innvestigate"
    options: dict = field(default_factory=dict)
    tolerance: Tolerance = ONE_TERM
    csc: bool = True
    head: str = "logit"
    reduction: str = "sum"
    map_percentile: float = 99.5


METHODS = {
    method.name: method
    for method in (
        Method("gradient", "Gradient", "v", BLACK, "simonyan2014", head="one", reduction="max_abs"),
        Method("guided_backprop", "Guided BP", "G", BLUE, "springenberg2015", reduction="max_abs"),
        Method("deconvnet", "Deconvnet", "V", BLUE, "zeiler2014", reduction="max_abs"),
        Method(
            "rectgrad",
            "RectGrad",
            "R",
            BLUE,
            "kim2019",
            options={"percentile": 98.0},
            tolerance=TWO_TERM,
            reduction="max_abs",
            map_percentile=100.0,
        ),
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
        Method(
            "deeplift_reveal_cancel",
            "DeepLIFT RevealCancel",
            "L",
            PINK,
            "shrikumar2017",
            "deeplift",
            {"reference": "zero"},
            TWO_TERM,
            head="one",
        ),
        Method("deeplift_rescale", "DeepLIFT Rescale", "D", PINK, "shrikumar2017", "deeplift", {"reference": "zero"}, head="one"),
        Method("deeplift_ablation", "DeepLIFT ablation", "A", PINK, "sixt2020", "deeplift", {"reference": "zero"}, head="one"),
        Method("input_x_gradient", "Input × gradient", "X", BLACK, "shrikumar2016", csc=False, head="one"),
        Method(
            "smoothgrad",
            "SmoothGrad",
            "o",
            ORANGE,
            "smilkov2017",
            options={"samples": 50, "noise_scale": 0.15, "noise": "random"},
            csc=False,
            head="one",
            reduction="max_abs",
        ),
        Method(
            "integrated_gradients",
            "Integrated gradients",
            "I",
            BLACK,
            "sundararajan2017",
            options={"steps": 64, "reference": "zero"},
            csc=False,
            head="one",
        ),
        Method("excitation_backprop", "Excitation BP", "B", GREEN, "zhang2018", csc=False),
        Method("contrastive_lrp", "Contrastive LRP", "C", GREEN, "gu2018", options={"base": "lrp_alpha1_beta0"}, csc=False),
        Method("contrastive_excitation_backprop", "Contrastive Excitation BP", "K", GREEN, "zhang2018", csc=False),
    )
}
CSC_METHODS = tuple(name for name, method in METHODS.items() if method.csc)
# what "all" means: LRP-ε is not one of the paper's methods
PAPER_METHODS = tuple(name for name in CSC_METHODS if name != "lrp_epsilon")


def find_method(name: str, maps: bool = False) -> Method:
    """Looks a method up by name.

    Args:
        name: key of `METHODS`.
        maps: whether a method that only has maps of the input is accepted too.

    Raises:
        WelError: when there is none of that name, or it only has maps.
    """
    if name in METHODS and (maps or METHODS[name].csc):
        return METHODS[name]
    if name in METHODS:
        raise WelError(f"Invalid value for `method`: '{name}', which has maps of the input only. Expected {one_of(CSC_METHODS)}.")
    raise invalid("method", name, one_of(METHODS if maps else CSC_METHODS))


def choose_methods(names: str | Iterable[str]) -> list[Method]:
    """The methods that were asked for, "all" of the paper's 16 or by name, in the order asked for, each once.

    Raises:
        WelError: for an unknown name or a method that has no CSC, or when none is given.
    """
    names = PAPER_METHODS if names == "all" else ([names] if isinstance(names, str) else list(names))
    if not names:
        raise invalid("methods", names, "'all' or one or more methods")
    return [find_method(name) for name in dict.fromkeys(names)]


CITATIONS = {
    "bach2015": "Bach, Binder, Montavon, Klauschen, Müller & Samek 2015, layer-wise relevance propagation, PLoS ONE 10(7)",
    "gu2018": "Gu, Yang & Tresp 2018, Understanding individual decisions of CNNs via contrastive backpropagation, ACCV",
    "kim2019": "Kim, Seo, Jeon, Koo, Choe & Jeon 2019, Why are saliency maps noisy?, ICCV workshops",
    "kindermans2018": "Kindermans, Schütt, Alber, Müller, Erhan, Kim & Dähne 2018, Learning how to explain neural networks, ICLR",
    "lapuschkin2017": "Lapuschkin, Binder, Müller & Samek 2017, Age and gender classification (CMP), ICCV workshops",
    "montavon2017": "Montavon, Lapuschkin, Binder, Samek & Müller 2017, deep Taylor decomposition, Pattern Recognition 65",
    "shrikumar2016": "Shrikumar, Greenside, Shcherbina & Kundaje 2016, Not just a black box, arXiv 1605.01713",
    "shrikumar2017": "Shrikumar, Greenside & Kundaje 2017, Learning important features (DeepLIFT), ICML",
    "simonyan2014": "Simonyan, Vedaldi & Zisserman 2014, Deep inside convolutional networks, ICLR workshop",
    "sixt2020": "Sixt, Granz & Landgraf 2020, When explanations lie, ICML",
    "smilkov2017": "Smilkov, Thorat, Kim, Viégas & Wattenberg 2017, SmoothGrad, ICML workshop",
    "springenberg2015": "Springenberg, Dosovitskiy, Brox & Riedmiller 2015, Striving for simplicity, ICLR workshop",
    "sundararajan2017": "Sundararajan, Taly & Yan 2017, Axiomatic attribution for deep networks, ICML",
    "zeiler2014": "Zeiler & Fergus 2014, Visualizing and understanding convolutional networks, ECCV",
    "zhang2018": "Zhang, Bargal, Lin, Brandt, Shen & Sclaroff 2018, Top-down neural attention by excitation backprop, IJCV 126",
}
SEMANTICS = ("paper", "corrected")


def check_semantics(semantics: str) -> None:
    """Raises WelError unless `semantics` is "paper" or "corrected"."""
    if semantics not in SEMANTICS:
        raise invalid("semantics", semantics, "'paper' or 'corrected'")


def chosen_semantics(name: str) -> tuple[str, ...]:
    """The semantics that "paper", "corrected" or "both" stands for. Raises WelError for another name."""
    if name not in (*SEMANTICS, "both"):
        raise invalid("semantics", name, one_of((*SEMANTICS, "both")))
    return SEMANTICS if name == "both" else (name,)
