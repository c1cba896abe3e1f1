"""The attribution methods that wel knows: all facts of a method in one record, and the citations.

A new method is a record here and, unless it is made of another one, a composite in `wel.methods.composites`.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from types import MappingProxyType
from typing import Any, Iterable, Mapping, NamedTuple, Union

import numpy as np

from wel.errors import WelError, invalid, one_of
from wel.methods.options import Choice, Count, Layer, Noise, Number, Option, Patch, PatternArrays, Reference, Sample, Stride

CITATIONS = {
    "bach2015": "Bach, Binder, Montavon, Klauschen, Müller & Samek 2015, layer-wise relevance propagation, PLoS ONE 10(7)",
    "anders2021": "Anders, Neumann, Samek, Müller & Lapuschkin 2021, Software for dataset-wide XAI (zennit), arXiv 2106.13200",
    "adebayo2018": "Adebayo, Gilmer, Muelly, Goodfellow, Hardt & Kim 2018, Sanity checks for saliency maps, NeurIPS",
    "binder2023": "Binder, Weber, Lapuschkin, Montavon et al. 2023, Shortcomings of top-down randomization-based sanity checks, CVPR",
    "chattopadhay2018": "Chattopadhay, Sarkar, Howlader & Balasubramanian 2018, Grad-CAM++, WACV",
    "dalal2005": "Dalal & Triggs 2005, Histograms of oriented gradients for human detection, CVPR",
    "dombrowski2019": "Dombrowski, Alber, Anders, Ackermann, Müller & Kessel 2019, Explanations can be manipulated, NeurIPS",
    "freedman1981": "Freedman & Diaconis 1981, On the histogram as a density estimator, Zeitschrift für Wahrscheinlichkeitstheorie 57",
    "gu2018": "Gu, Yang & Tresp 2018, Understanding individual decisions of CNNs via contrastive backpropagation, ACCV",
    "hedstrom2024": "Hedström, Weber, Lapuschkin & Höhne 2024, A fresh look at sanity checks for saliency maps (sMPRT, eMPRT), xAI",
    "jiang2021": "Jiang, Zhang, Hou, Cheng & Wei 2021, LayerCAM, IEEE Transactions on Image Processing 30",
    "kim2018": "Kim, Wattenberg, Gilmer, Cai, Wexler, Viégas & Sayres 2018, Interpretability beyond feature attribution (TCAV), ICML",
    "kim2019": "Kim, Seo, Jeon, Koo, Choe & Jeon 2019, Why are saliency maps noisy?, ICCV workshops",
    "kindermans2018": "Kindermans, Schütt, Alber, Müller, Erhan, Kim & Dähne 2018, Learning how to explain neural networks, ICLR",
    "lapuschkin2017": "Lapuschkin, Binder, Müller & Samek 2017, Age and gender classification (CMP), ICCV workshops",
    "montavon2019": "Montavon, Binder, Lapuschkin, Samek & Müller 2019, Layer-wise relevance propagation: an overview, LNCS 11700",
    "montavon2017": "Montavon, Lapuschkin, Binder, Samek & Müller 2017, deep Taylor decomposition, Pattern Recognition 65",
    "schulz2020": "Schulz, Sixt, Tombari & Landgraf 2020, Restricting the flow: information bottlenecks for attribution, ICLR",
    "selvaraju2017": "Selvaraju, Cogswell, Das, Vedantam, Parikh & Batra 2017, Grad-CAM, ICCV",
    "shrikumar2016": "Shrikumar, Greenside, Shcherbina & Kundaje 2016, Not just a black box, arXiv 1605.01713",
    "shrikumar2017": "Shrikumar, Greenside & Kundaje 2017, Learning important features (DeepLIFT), ICML",
    "simonyan2014": "Simonyan, Vedaldi & Zisserman 2014, Deep inside convolutional networks, ICLR workshop",
    "sixt2020": "Sixt, Granz & Landgraf 2020, When explanations lie, ICML",
    "smilkov2017": "Smilkov, Thorat, Kim, Viégas & Wattenberg 2017, SmoothGrad, ICML workshop",
    "springenberg2015": "Springenberg, Dosovitskiy, Brox & Riedmiller 2015, Striving for simplicity, ICLR workshop",
    "sundararajan2017": "Sundararajan, Taly & Yan 2017, Axiomatic attribution for deep networks, ICML",
    "zeiler2014": "Zeiler & Fergus 2014, Visualizing and understanding convolutional networks, ECCV",
    "zhou2016": "Zhou, Khosla, Lapedriza, Oliva & Torralba 2016, Learning deep features for discriminative localization (CAM), CVPR",
    "zhang2018": "Zhang, Bargal, Lin, Brandt, Shen & Sclaroff 2018, Top-down neural attention by excitation backprop, IJCV 126",
}

SEMANTICS = ("paper", "corrected")

# seaborn's "colorblind" palette, c0 to c4, as the paper uses it
BLUE, ORANGE, GREEN, RED, PINK = "#0173b2", "#de8f05", "#029e73", "#d55e00", "#cc78bc"
BLACK = "#000000"
# c5, c7 and c9 of the same palette
BROWN, GREY, SKY = "#ca9161", "#949494", "#56b4e9"

GRADIENT, RECTIFIED, TAYLOR, LRP, PATTERN, DEEPLIFT = "gradient", "rectified gradient", "deep Taylor", "LRP", "patterns", "DeepLIFT"
ACTIVATION_MAP, PERTURBATION, CONTROL = "class activation maps", "perturbation", "controls"

# layers that maps come from: the end of the last convolutional block, the same where nothing leads past it, and the one below a global
# average pooling
CONVOLUTION, BOTTLENECK, POOLED = "convolution", "bottleneck", "pooled"


class Tolerance(NamedTuple):
    """How far two computations of a method may lie apart: relative L2 of the relevance, and of the CSC median."""

    l2: float | None
    csc: float


# float32 noise of the original stack itself: methods that add one term, that subtract two, and that divide by sums near zero
ONE_TERM, TWO_TERM, NEAR_ZERO = Tolerance(1e-3, 1e-3), Tolerance(1e-2, 5e-3), Tolerance(None, 1e-2)


class Composite(NamedTuple):
    """Which rule each part of a network gets: a function of `wel.methods.composites.COMPOSITES` by its name, and its numbers."""

    name: str
    numbers: Mapping[str, Any] = MappingProxyType({})


def composite(name: str, **numbers: Any) -> Composite:
    """A composite with its numbers."""
    return Composite(name, numbers)


@dataclass(frozen=True, eq=False)
class Method:
    """An attribution method.

    Attributes:
        name: as it is given on the command line and stands in tables.
        label: as figures show it.
        mark: the letter, or matplotlib marker, that the paper draws it with.
        color: of its line.
        family: what it is a kind of, one of this module's names for them.
        source: key of `CITATIONS`.
        formula: what it does at a layer, or at the input, in one line; R is relevance, x a layer's input, W and b its weights.
        composite: its rules; None for a method that is made of another one.
        made_of: the method whose relevance its maps are made of; the option `base` says which, where it has one.
        layer: which layer its maps come from, `CONVOLUTION` or `BOTTLENECK`, unless the option `layer` names another, or `POOLED`.
        wrapped: the package that computes it, "innvestigate" or "deeplift"; None where none does.
        options: its own parameters by name.
        tolerance: what `wel verify` allows.
        between_inputs: whether it computes the network at inputs that nobody gave, such as those on the way from one to another.
        csc: whether it passes relevance from layer to layer, so that CSC is defined; the others have maps of the input only.
        paper: whether it is one of the paper's, and so of "all".
        relu_only: whether it is defined for ReLU networks only.
        two_kernels: whether it is the same for two kernels one after the other as for their product.
        same_semantics: whether `paper` and `corrected` are the same for every network; else rules are compared.
        cost: how long it takes, gradient 1.
        audit_rank: its place in the order of an audit, whose end `--minutes` drops: what people use first, of every family one; where two
            have the same, the paper's comes first; None: last.
        full_audit: whether a full audit takes it although it is not one of the paper's.
        head: what a map begins with at the output: "logit", the class's logit, or "one", 1.
        reduction: how a map's channels become one, "sum", "mean", or "max_abs", the largest absolute value.
        map_percentile: at which maps are cut before they are compared (`wel.measures.similarity.ssim`).
        computed_as: the method whose rules or maker it has, if it is one of the user's own: an analyzer, or `wel.composite`.
    """

    name: str
    label: str
    mark: str
    color: str
    family: str
    source: str
    formula: str
    composite: Composite | None = None
    made_of: str | None = None
    layer: str | None = None
    wrapped: str | None = "innvestigate"
    options: Mapping[str, Option] = field(default_factory=dict)
    tolerance: Tolerance = ONE_TERM
    between_inputs: bool = False
    csc: bool = True
    paper: bool = True
    relu_only: bool = False
    two_kernels: bool = True
    same_semantics: bool = False
    cost: float = 1
    audit_rank: int | None = None
    full_audit: bool = False
    head: str = "logit"
    reduction: str = "sum"
    map_percentile: float = 99.5
    computed_as: str | None = None

    def __reduce__(self):
        # workers of a cluster know the registry, whose methods are compared by what they are
        return (find_method, (self.name, True)) if METHODS.get(self.name) is self else super().__reduce__()

    @property
    def key(self) -> str:
        """The name by which rules and makers of maps know it."""
        return self.computed_as or self.name

    @property
    def defaults(self) -> dict[str, Any]:
        """Its options as they are unless they are given."""
        return {name: option.default for name, option in self.options.items()}

    @property
    def has_rules(self) -> bool:
        """Whether relevance passes layers by rules, its own or those of the method that it is made of."""
        return bool(self.composite or self.made_of or "base" in self.options)


# how integrated gradients sum up along their path; `paper` takes the left ends of the steps, `corrected` their middles
QUADRATURES = ("left", "midpoint", "trapezoid")
# where the way of integrated gradients begins; `paper` at the image, `corrected` at the reference
BEGINNINGS = ("image", "reference")
BY_SEMANTICS = "by semantics"
# what is added, with its sign, to all denominators; 0: those that are exactly 0 become 1e-7, and the others stay as they are
STABILIZED = MappingProxyType({"stabilizer": Number(0.0, 0)})


def _rectified(name: str, *drawn: str, **facts: Any) -> Method:
    return Method(name, *drawn[:2], BLUE, RECTIFIED, *drawn[2:], relu_only=True, reduction="max_abs", **facts)


def _alpha_beta(alpha: int, beta: int, mark: str, **facts: Any) -> Method:
    name, label = f"lrp_alpha{alpha}_beta{beta}", f"LRP α{alpha}β{beta}"
    formula = f"R_in = {alpha} x·W⁺ᵀ(R/z⁺) − {beta} x·W⁻ᵀ(R/z⁻) for x ≥ 0" if beta else "R_in = x·W⁺ᵀ(R/z⁺) for x ≥ 0"
    chosen = composite("alpha_beta", alpha=alpha, beta=beta)
    return Method(name, label, mark, GREEN, LRP, "bach2015", formula, chosen, options=STABILIZED, two_kernels=False, **facts)


def _cmp(alpha: int, beta: int, mark: str, **facts: Any) -> Method:
    name, label = f"lrp_cmp_alpha{alpha}_beta{beta}", f"LRP CMP α{alpha}β{beta}"
    formula = f"LRP α{alpha}β{beta} at convolutions, LRP-ε with ε = 1e-10 at dense layers"
    chosen = composite("alpha_beta", alpha=alpha, beta=beta, dense_epsilon=1e-10)
    facts = {"tolerance": NEAR_ZERO, "two_kernels": False, **facts}
    return Method(name, label, mark, ORANGE, LRP, "lapuschkin2017", formula, chosen, options=STABILIZED, **facts)


def _lrp(name: str, label: str, mark: str, source: str, formula: str, chosen: Composite, **facts: Any) -> Method:
    """One of LRP's rules for every layer with a kernel, or several, which none of the wrapped packages computes."""
    facts = {"wrapped": None, "tolerance": NEAR_ZERO, "paper": False, "two_kernels": False, **facts}
    return Method(name, label, mark, facts.pop("color", GREEN), LRP, source, formula, chosen, **facts)


def _sequential(letter: str, alpha: int, beta: int, mark: str, flat: bool = False) -> Method:
    name, label = f"lrp_composite_{letter}", f"LRP composite {letter.upper()}"
    formula = f"LRP α{alpha}β{beta} at convolutions, LRP-ε at dense layers" + (", flat at the input" if flat else "")
    chosen = composite("sequential", alpha=alpha, beta=beta, flat=flat)
    facts = {"options": {"epsilon": Number(0.1, above=0)}, "cost": 1 + beta, "color": ORANGE}
    names = (f"{name}_flat", f"{label}, flat") if flat else (name, label)
    return _lrp(*names, mark, "lapuschkin2017", formula, chosen, **facts)


def _canonical(*drawn: str, cost: float = 1.2, options: Mapping[str, Option] = MappingProxyType({}), **rules: str) -> Method:
    """One of zennit's composites, the same under all semantics, with its stabiliser."""
    name, label, mark, formula = drawn
    settings = {"epsilon": Number(1e-6, above=0), **options, "stabilizer": Number(1e-6, 0)}
    facts = {"options": settings, "same_semantics": True, "cost": cost, "color": BROWN}
    return _lrp(name, label, mark, "anders2021", formula, composite("canonical", **rules), **facts)


def _pattern(name: str, label: str, mark: str, formula: str, attribution: bool) -> Method:
    chosen = composite("pattern", attribution=attribution)
    return Method(name, label, mark, RED, PATTERN, "kindermans2018", formula, chosen, options={"patterns": PatternArrays()})


def _deeplift(name: str, label: str, mark: str, source: str, formula: str, split: bool, crossing: bool = True, **facts: Any) -> Method:
    chosen = composite("deeplift", split=split, crossing=crossing)
    facts = {"wrapped": "deeplift", "options": {"reference": Reference()}, "head": "one", **facts}
    return Method(name, label, mark, PINK, DEEPLIFT, source, formula, chosen, **facts)


def _maps(*drawn: str, made_of: str | None, **facts: Any) -> Method:
    return Method(*drawn, made_of=made_of, csc=False, **{"paper": False, **facts})


def _of_places(*drawn: str, made_of: str | None = None, **facts: Any) -> Method:
    """A method whose maps have one value for each place."""
    facts = {"wrapped": None, "same_semantics": True, "head": "one", "reduction": "mean", **facts}
    return _maps(*drawn, made_of=made_of, **facts)


def _activation_map(name: str, label: str, mark: str, source: str, formula: str, **facts: Any) -> Method:
    facts = {"made_of": "gradient", "layer": CONVOLUTION, "options": {"layer": Layer()}, **facts}
    return _of_places(name, label, mark, SKY, ACTIVATION_MAP, source, formula, **facts)


CSC = (
    Method(
        "gradient", "Gradient", "v", BLACK, GRADIENT, "simonyan2014", "R_in = Wᵀ(f′ ⊙ R)", composite("gradient"),
        same_semantics=True, audit_rank=0, head="one", reduction="max_abs",
    ),
    _rectified(
        "guided_backprop", "Guided BP", "G", "springenberg2015", "R_in = [x > 0] max(R, 0) at ReLUs, else the gradient",
        composite=composite("rectified", rule="guided"), audit_rank=3, same_semantics=True,
    ),
    _rectified(
        "deconvnet", "Deconvnet", "V", "zeiler2014", "R_in = max(R, 0) at ReLUs, else the gradient",
        composite=composite("rectified", rule="deconvolved"), audit_rank=6, same_semantics=True,
    ),
    _rectified(
        "rectgrad", "RectGrad", "R", "kim2019", "R_in = [x > 0] R where y ⊙ R is above its percentile at ReLUs, else 0",
        composite=composite("rectified", rule="percentile"), options={"percentile": Number(98.0, 0, 100)},
        tolerance=TWO_TERM, cost=1.5, audit_rank=7, same_semantics=True, map_percentile=100.0,
    ),
    Method(
        "deep_taylor", "Deep Taylor", "T", RED, TAYLOR, "montavon2017", "R_in = x·W⁺ᵀ(R/W⁺x), zᴮ at the input", composite("deep_taylor"),
        options={"low": Number(of_images=np.min), "high": Number(of_images=np.max), **STABILIZED},
        relu_only=True, two_kernels=False, audit_rank=4,
    ),
    Method(
        "lrp_z", "LRP-z", "Z", GREEN, LRP, "bach2015", "R_in = x·Wᵀ(R/(Wx + b))", composite("z"), tolerance=NEAR_ZERO, audit_rank=5,
    ),
    Method(
        "lrp_epsilon", "LRP-ε", "E", GREEN, LRP, "bach2015", "R_in = x·Wᵀ(R/(z + ε sign z)), z = Wx + b", composite("epsilon"),
        options={"epsilon": Number(1e-7, above=0)}, tolerance=NEAR_ZERO, paper=False, audit_rank=9, full_audit=True,
    ),
    Method(
        "lrp_gamma", "LRP-γ", "Y", GREEN, LRP, "montavon2019", "R_in = x·Ŵᵀ(R/(Ŵx + b̂)), Ŵ = W + γW⁺", composite("gamma"), wrapped=None,
        options={"gamma": Number(0.25, 0), "bias": Choice("scaled", ("scaled", "unscaled", "none")), **STABILIZED},
        tolerance=NEAR_ZERO, paper=False, two_kernels=False,
    ),
    _lrp(
        "lrp_unbiased", "LRP-ε without bias", "u", "bach2015", "R_in = x·Wᵀ(R/(z + ε sign z)), z = Wx",
        composite("single", rule="unbiased"), options={"epsilon": Number(0.0, 0)}, two_kernels=True,
    ),
    _lrp(
        "lrp_alpha_beta", "LRP-αβ", "a", "bach2015", "R_in = α x·W⁺ᵀ(R/z⁺) − β x·W⁻ᵀ(R/z⁻) for x ≥ 0", composite("own_alpha_beta"),
        options={"alpha": Number(2.0, above=0), "beta": Number(1.0, 0), "bias": Choice("with", ("with", "without")), **STABILIZED}, cost=2,
    ),
    _lrp(
        "w_square", "LRP-w²", "w", "montavon2017", "R_in = W²ᵀ(R/W²1)", composite("single", rule="w_square"), tolerance=ONE_TERM,
    ),
    _lrp("flat", "LRP flat", "f", "lapuschkin2017", "R_in = 1ᵀ(R/n), n inputs of each output", composite("single", rule="flat")),
    _lrp("z_plus_fast", "LRP-z⁺", "p", "montavon2017", "R_in = x·W⁺ᵀ(R/W⁺x)", composite("single", rule="z_plus_fast")),
    Method(
        "deep_taylor_unbounded", "Deep Taylor, unbounded", "t", RED, TAYLOR, "montavon2017", "R_in = x·W⁺ᵀ(R/W⁺x), at the input too",
        composite("deep_taylor", bounded=False), wrapped=None, options=STABILIZED, relu_only=True, two_kernels=False, paper=False,
    ),
    _sequential("a", 1, 0, "c"),
    _sequential("b", 2, 1, "e"),
    _sequential("a", 1, 0, "h", flat=True),
    _sequential("b", 2, 1, "i", flat=True),
    _canonical("epsilon_plus", "ε, z⁺", "1", "LRP α1β0 at convolutions, LRP-ε at dense layers", convolution="z_plus"),
    _canonical(
        "epsilon_plus_flat", "ε, z⁺, flat", "d", "LRP α1β0 at convolutions, LRP-ε at dense layers, flat at the input",
        convolution="z_plus", at_input="flat",
    ),
    _canonical(
        "epsilon_alpha2_beta1", "ε, α2β1", "2", "LRP α2β1 at convolutions, LRP-ε at dense layers", convolution="alpha2_beta1", cost=2,
    ),
    _canonical(
        "epsilon_alpha2_beta1_flat", "ε, α2β1, flat", "D", "LRP α2β1 at convolutions, LRP-ε at dense layers, flat at the input",
        convolution="alpha2_beta1", at_input="flat", cost=2,
    ),
    _canonical(
        "epsilon_gamma_box", "ε, γ, zᴮ", "s", "LRP-γ at convolutions, LRP-ε at dense layers, zᴮ at convolutions at the input",
        convolution="gamma", at_input="bounded", cost=2,
        options={"gamma": Number(0.25, 0), "low": Number(of_images=np.min), "high": Number(of_images=np.max)},
    ),
    Method(
        "beta_smooth", "Smooth gradient, σ(βx)", "b", BLACK, GRADIENT, "dombrowski2019", "R_in = σ(βx) ⊙ R at ReLUs, else the gradient",
        composite("smooth"), wrapped=None, options={"beta": Number(10.0, above=0)}, paper=False, same_semantics=True, head="one",
        reduction="max_abs",
    ),
    _alpha_beta(1, 0, "1", cost=1.2, audit_rank=1),
    _alpha_beta(2, 1, "2", tolerance=TWO_TERM, cost=2, audit_rank=8),
    _alpha_beta(5, 4, "5", tolerance=TWO_TERM, cost=2, audit_rank=12),
    _cmp(1, 0, "^", cost=1.2, audit_rank=10),
    _cmp(2, 1, "P", cost=2, audit_rank=13),
    _pattern("pattern_net", "PatternNet", "N", "the gradient with patterns A in place of W: R_in = Aᵀ(f′ ⊙ R)", attribution=False),
    _pattern("pattern_attribution", "PatternAttr.", "$P$", "the gradient with A ⊙ W: R_in = (A ⊙ W)ᵀ(f′ ⊙ R)", attribution=True),
    _deeplift(
        "deeplift_reveal_cancel", "DeepLIFT RevealCancel", "L", "shrikumar2017", "m±_in = m± Δy±/Δx± at activations, Δ⁺ and Δ⁻ apart",
        split=True, tolerance=TWO_TERM, cost=2.8, audit_rank=11,
    ),
    _deeplift("deeplift_rescale", "DeepLIFT Rescale", "D", "shrikumar2017", "m_in = m Δy/Δx at activations", split=False, audit_rank=2),
    _deeplift(
        "deeplift_ablation", "DeepLIFT ablation", "A", "sixt2020", "Rescale with W⁺ in place of W: no contribution changes its sign",
        split=False, crossing=False, audit_rank=14,
    ),
)  # fmt: skip
MAPS = (
    _maps(
        "input_x_gradient", "Input × gradient", "X", BLACK, GRADIENT, "shrikumar2016", "x ⊙ ∂y/∂x",
        made_of="gradient", same_semantics=True, full_audit=True, head="one",
    ),
    _maps(
        "smoothgrad", "SmoothGrad", "o", ORANGE, GRADIENT, "smilkov2017", "mean of ∂y/∂x at x + N(0, σ²), σ = noise_scale × range of x",
        made_of="gradient", between_inputs=True, cost=100,
        options={
            "samples": Count(50), "noise_scale": Number(0.15, 0), "noise_unit": Choice("range", ("range", "one")), "noise": Noise(),
        },
        paper=True, same_semantics=True, full_audit=True, head="one", reduction="max_abs",
    ),
    _maps(
        "integrated_gradients", "Integrated gradients", "I", BLACK, GRADIENT, "sundararajan2017",
        "(x − r) ⊙ mean of ∂y/∂x at r + t(x − r); `paper`: at x + t(x − r), as innvestigate 1.0.8 has it; t from 0 to 1",
        made_of="gradient", between_inputs=True, cost=130, full_audit=True, head="one",
        options={
            "steps": Count(64), "rule": Choice(BY_SEMANTICS, (BY_SEMANTICS, *QUADRATURES)),
            "begin": Choice(BY_SEMANTICS, (BY_SEMANTICS, *BEGINNINGS)), "reference": Reference(),
        },
    ),
    _maps("excitation_backprop", "Excitation BP", "B", GREEN, LRP, "zhang2018", "LRP α1β0", made_of="lrp_alpha1_beta0", two_kernels=False),
    _maps(
        "contrastive_lrp", "Contrastive LRP", "C", GREEN, LRP, "gu2018", "max(0, R(class) − R(all others, with the same sum))",
        made_of=None, two_kernels=False,
        options={"base": Choice("lrp_alpha1_beta0", tuple(method.name for method in CSC if method.family == LRP))},
    ),
    _maps(
        "contrastive_excitation_backprop", "Contrastive Excitation BP", "K", GREEN, LRP, "zhang2018",
        "LRP α1β0 of the class minus LRP α1β0 with the last kernel negated", made_of="lrp_alpha1_beta0", two_kernels=False,
    ),
    _of_places(
        "occlusion", "Occlusion", "O", BROWN, PERTURBATION, "zeiler2014",
        "mean of y(x) − y(x with a patch hidden) over the patches that a place lies in",
        audit_rank=2, options={"patch": Patch(), "stride": Stride(), "baseline": Reference()},
    ),
    _activation_map(
        "grad_cam", "Grad-CAM", "M", "selvaraju2017", "max(0, Σ_k w_k A_k), w_k the mean of ∂y/∂A_k over places", audit_rank=0,
    ),
    _activation_map(
        "grad_cam_plus_plus", "Grad-CAM++", "P", "chattopadhay2018",
        "max(0, Σ_k w_k A_k), w_k = Σ α_k max(0, g_k), α_k = g_k² / (2 g_k² + g_k³ ΣA_k), g = ∂y/∂A",
    ),
    _activation_map("layer_cam", "LayerCAM", "J", "jiang2021", "max(0, Σ_k max(0, ∂y/∂A_k) A_k)"),
    _activation_map(
        "cam", "CAM", "W", "zhou2016", "Σ_k w_k A_k, w the weights behind the global average pooling", layer=POOLED, options={},
    ),
    _activation_map(
        "guided_grad_cam", "Guided Grad-CAM", "U", "selvaraju2017", "Guided BP ⊙ Grad-CAM",
        made_of="guided_backprop", relu_only=True, reduction="max_abs",
    ),
    _of_places(
        "iba", "IBA", "I", BROWN, PERTURBATION, "schulz2020",
        "bits that a layer has to hand on, where noise takes the place of the others", layer=BOTTLENECK,
        options={
            "layer": Layer(), "beta": Number(10.0, 0), "steps": Count(10), "samples": Count(10), "learning_rate": Number(1.0, above=0),
            "smoothing": Number(1.0, 0), "sample": Sample(),
        },
    ),
    _of_places("random", "Random", "N", GREY, CONTROL, "binder2023", "N(0, 1), drawn from seed, image, class and weights", reduction="sum"),
    _of_places("edges", "Edges", "E", GREY, CONTROL, "adebayo2018", "√Σ s_a(x)², s_a Sobel's derivative along axis a", reduction="sum"),
)  # fmt: skip
METHODS = {method.name: method for method in (*CSC, *MAPS)}
CSC_METHODS = tuple(method.name for method in CSC)
# whose rules come with the request, as the option `rules` (`wel.methods.composites.Given`); it is no name that can be asked for
GIVEN = Method("given", "Given", "", BLACK, LRP, "bach2015", "as the request has it", composite("given"), wrapped=None, paper=False)
# names of methods as functions take them: "all", one, or several; a method of the user's own stands for itself
Names = Union[str, Method, Iterable[Union[str, Method]]]
# what "all" means
PAPER_METHODS = tuple(method.name for method in CSC if method.paper)
PAPER_MAPS = tuple(method.name for method in METHODS.values() if method.paper)
# what stands beside all methods in studies of maps
CONTROLS = tuple(method for method in METHODS.values() if method.family == CONTROL)


def record(name: str) -> Method:
    """The method of a name, or `GIVEN`."""
    return GIVEN if name == GIVEN.name else METHODS[name]


def find_method(name: str | Method, maps: bool = False) -> Method:
    """Looks a method up by name.

    Args:
        name: key of `METHODS`, or a method of the user's own.
        maps: whether a method that only has maps of the input is accepted too.

    Raises:
        WelError: when there is none of that name, or it only has maps.
    """
    found = name if isinstance(name, Method) else METHODS.get(name)
    if found is None:
        raise invalid("method", name, one_of(METHODS if maps else CSC_METHODS))
    if not (maps or found.csc):
        raise WelError(f"Invalid value for `method`: '{found.name}', which has maps of the input only. Expected {one_of(CSC_METHODS)}.")
    return found


def choose_methods(names: Names) -> list[Method]:
    """The methods that were asked for, "all" of the paper's 16 or by name, in the order asked for, each once.

    Raises:
        WelError: for an unknown name or a method that has no CSC, for two of one name, or when none is given.
    """
    return _chosen(PAPER_METHODS if names == "all" else names, maps=False)


def choose_map_methods(names: Names) -> list[Method]:
    """The methods that were asked for, "all" of the paper's figure 2 or by name, in the order asked for, each once.

    Raises:
        WelError: for an unknown name, for two of one name, or when none is given.
    """
    return _chosen(PAPER_MAPS if names == "all" else names, maps=True)


def _chosen(names: Names, maps: bool) -> list[Method]:
    names = [names] if isinstance(names, (str, Method)) else list(names)
    if not names:
        raise invalid("methods", names, "'all' or one or more methods")
    found = list(dict.fromkeys(find_method(name, maps) for name in names))
    for position, method in enumerate(found):
        if method.name in (other.name for other in found[:position]):
            raise invalid("methods", method.name, "methods with a name of their own each; two of this name are not the same")
    return found


def drawn_with(names: Names) -> dict[str, Method]:
    """All of wel's methods by name and, behind them, those of the user's own among some that were asked for: what figures know."""
    own = [name for name in ([] if isinstance(names, (str, Method)) else names) if isinstance(name, Method)]
    return {**METHODS, **{method.name: method for method in own}}


def check_semantics(semantics: str) -> None:
    """Raises WelError unless `semantics` is "paper" or "corrected"."""
    if semantics not in SEMANTICS:
        raise invalid("semantics", semantics, "'paper' or 'corrected'")


def chosen_semantics(name: str) -> tuple[str, ...]:
    """The semantics that "paper", "corrected" or "both" stands for. Raises WelError for another name."""
    if name not in (*SEMANTICS, "both"):
        raise invalid("semantics", name, one_of((*SEMANTICS, "both")))
    return SEMANTICS if name == "both" else (name,)
