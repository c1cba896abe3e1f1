"""The paper's claims in our words, what we take as their tests, and what came of them."""

from __future__ import annotations

from dataclasses import dataclass
from functools import partial
from typing import Callable, Mapping, NamedTuple, Sequence

import judges
import pandas as pd
from judges import CONVERGING, LARGEST_BETA, ROUNDING, UNCONVERGED, UNTESTABLE, WITHIN_CONVOLUTIONS, Outcome
from trained import FOLDER, LABELS

from wel.methods.registry import METHODS, SEMANTICS
from wel.studies.simulation import PARALLEL

PLAIN = ("vgg16", "vgg16_mri", "cifar10")
RESIDUAL = ("resnet50", "resnet50_nsfw", "efficientnet_lite0", "resnet20")
ALL = (*PLAIN[:-1], *RESIDUAL[:-1], PLAIN[-1], RESIDUAL[-1])  # the small ones last
# the plain network that a residual one is compared with
COUNTERPART = {"resnet50": "vgg16", "resnet50_nsfw": "vgg16_mri", "efficientnet_lite0": "vgg16_mri", "resnet20": "cifar10"}
# the paper's networks, and the files that claims about them can be tested with
PAPERS = {("vgg16", "vgg16_mri"): "VGG-16", ("resnet50", "resnet50_nsfw"): "ResNet-50"}
RANDOM = "random"  # weights of a run that are not trained


class Run(NamedTuple):
    """A study that was run: of which network, with "trained" or "random" weights, its table, and under which semantics."""

    study: str
    network: str
    weights: str
    table: pd.DataFrame
    semantics: str = "paper"


class Threshold(NamedTuple):
    """A number that the paper does not state, for it shows curves: the one that decides, and others that might."""

    value: float
    others: tuple[float, ...]

    def all(self) -> list[float]:
        """From the least to the largest."""
        return sorted((self.value, *self.others))


CONVERGED = Threshold(0.99, (0.9, 0.95, 0.999, 0.9999))  # median |cos| from which on directions count as one
SAME = Threshold(0.8, (0.6, 0.7, 0.9, 0.95))  # median SSIM from which on maps of two classes count as the same
SIMILAR = Threshold(0.5, (0.3, 0.4, 0.6, 0.7))  # median SSIM from which on a map is still similar to the untouched network's
ALMOST_EQUAL = Threshold(0.05, (0.01, 0.02, 0.1))  # mean L1 distance of two classes' maps
WITHIN_PRODUCTS = Threshold(8, (6, 7, 9, 10))  # "about 7" matrices
FAR_SCORE = Threshold(0.2, (0.05, 0.1, 0.3, 0.5))  # how far a score moves, a share of images
FAR = Threshold(2, (1, 1.5, 3, 5))  # how many times as large, geometric mean over layers


@dataclass(frozen=True)
class Claim:
    """A claim that numbers can decide.

    Attributes:
        number: of the claim, and a letter for its part.
        figure: of the paper; A for its appendix, "talk" for the talk on it.
        words: what the paper says.
        test: what we take for it, with {} where the threshold stands.
        study: whose table decides.
        judge: function (table) -> Outcome or None; (table, table of the plain network) if `beside`; with `at` if there is a threshold.
        threshold: of ours, where the paper states none.
        networks: that it is about; none for random matrices.
        beside: whether a residual network is compared with a plain one.
    """

    number: str
    figure: str
    words: str
    test: str
    study: str
    judge: Callable[..., Outcome | None]
    threshold: Threshold | None = None
    networks: tuple[str, ...] = ALL
    beside: bool = False

    @property
    def asked(self) -> str:
        """The test, with the threshold that decides."""
        return self.test.format(f"{self.threshold.value:g}") if self.threshold else self.test

    def judged(self, tables: Sequence[pd.DataFrame], at: float | None) -> Outcome | None:
        """What comes of it with a threshold."""
        return self.judge(*tables) if at is None else self.judge(*tables, at=at)


class Moved(NamedTuple):
    """What a claim's verdict would be with a threshold: for how many of its parts it holds, of how many."""

    threshold: float
    kept: int
    of: int


class Finding(NamedTuple):
    """What came of a claim for one network: on how many images, verdict, numbers, and how the verdict moves when the threshold does."""

    claim: Claim
    network: str
    images: str
    verdict: str
    measured: str
    moves: tuple[Moved, ...] = ()


CLAIMS = (
    Claim(
        "1a",
        "2a, 7",
        "Guided BP, Deconvnet, RectGrad, Deep Taylor, LRP α1β0 and α2β1, PatternNet and PatternAttribution give nearly "
        "the same map for another class.",
        "median SSIM ≥ {}",
        "random_logit",
        judges.same_for_another_class,
        SAME,
    ),
    Claim(
        "1b",
        "2a, 7",
        "LRP α5β4, LRP CMP, LRP-z and DeepLIFT do not.",
        "median SSIM < {}",
        "random_logit",
        judges.changed_by_another_class,
        SAME,
    ),
    Claim(
        "1c",
        "2a, 7",
        "α2β1 changes somewhat more on ResNet-50 than on VGG-16.",
        "median SSIM lower",
        "random_logit",
        judges.alpha2_changes_more,
        networks=RESIDUAL,
        beside=True,
    ),
    Claim(
        "2a",
        "2b, 7",
        "The maps of SmoothGrad, gradient, LRP-z and DeepLIFT change when the last dense layer is made random.",
        "median SSIM < {}",
        "cascading",
        judges.drops_at_last_layer,
        SIMILAR,
    ),
    Claim(
        "2b",
        "2b, 7",
        "Those of LRP α1β0 and α2β1, Deep Taylor, PatternAttribution, Guided BP, Deconvnet and RectGrad stay similar down to early layers.",
        "median SSIM ≥ {} at all stages but the third nearest the input",
        "cascading",
        judges.similar_down_to_early_layers,
        SIMILAR,
    ),
    Claim(
        "2c",
        "1, 6",
        "A random last layer sometimes flips the sign of the maps of Deep Taylor and α1β0.",
        "correlation < 0 for some maps, not all",
        "correlations",
        judges.sign_flips,
    ),
    Claim(
        "3a",
        "3",
        "On a plain network Guided BP, Deconvnet, RectGrad, Deep Taylor, LRP α1β0 and α2β1, PatternAttribution and the "
        "DeepLIFT ablation converge.",
        "median |cos| > {} at the input, from the top start layer",
        "csc",
        partial(judges.converges, CONVERGING),
        CONVERGED,
        PLAIN,
    ),
    Claim(
        "3b",
        "5",
        "On a residual network too, but for α2β1.",
        "median |cos| > {} at the input, from the top start layer",
        "csc",
        partial(judges.converges, [name for name in CONVERGING if name != "lrp_alpha2_beta1"]),
        CONVERGED,
        RESIDUAL,
    ),
    Claim(
        "3c",
        "5",
        "α2β1 does not fully converge on ResNet-50.",
        "median |cos| ≤ {} at the input, from the top start layer",
        "csc",
        partial(judges.stays_apart, ["lrp_alpha2_beta1"]),
        CONVERGED,
        RESIDUAL,
    ),
    Claim(
        "3d",
        "3, 5",
        "Gradient, LRP-z, DeepLIFT Rescale and RevealCancel do not converge.",
        "median |cos| ≤ {} at the input, from the top start layer",
        "csc",
        partial(judges.stays_apart, UNCONVERGED),
        CONVERGED,
    ),
    Claim(
        "3e",
        "3, 5",
        "α1β0 and Deep Taylor converge fastest, to within floating point.",
        f"1 − median |cos| < {ROUNDING:g} at some layer, and no method is past {{}} earlier",
        "csc",
        judges.fastest,
        CONVERGED,
    ),
    Claim("3f", "3, 5", "α5β4 converges less than α2β1.", "median |cos| at the input lower", "csc", judges.alpha5_converges_less),
    Claim(
        "3g",
        "5",
        "On residual networks convergence is less pronounced.",
        "median |cos| at the input not above the plain network's",
        "csc",
        judges.less_pronounced,
        networks=RESIDUAL,
        beside=True,
    ),
    Claim(
        "3h",
        "3, 5",
        "At the RGB input |cos| jumps, as chance does, for there are only three channels.",
        "median |cos| at the input above that of the layer before, for methods that do not converge",
        "csc",
        judges.jumps_at_input,
    ),
    Claim(
        "3i",
        "5",
        "|cos| drops at skip connections.",
        "median |cos| where branch and shortcut have joined below the highest in the branch, at most sums",
        "skips",
        judges.drops_at_skips,
        networks=RESIDUAL,
    ),
    Claim(
        "4a",
        "3",
        "LRP CMP does not converge in the dense layers, where it is LRP-z.",
        "median |cos| ≤ {} down to the last convolution's output",
        "csc",
        judges.apart_in_dense_layers,
        CONVERGED,
        PLAIN,
    ),
    Claim(
        "4b",
        "3",
        "Below, it converges within 3 to 5 convolutions.",
        f"median |cos| > {{}} after {WITHIN_CONVOLUTIONS} at most",
        "csc",
        judges.converges_in_convolutions,
        CONVERGED,
        PLAIN,
    ),
    Claim(
        "4c",
        "1",
        "With CMP coarse regions change with the class, details do not.",
        "band-pass SSIM of two classes' maps higher in the finest band than in the coarsest, median",
        "bands",
        judges.details_stay,
    ),
    Claim(
        "5a",
        "4a",
        "Chains of positive, stochastic and non-negative matrices converge to floating point within about 7 products, those "
        "with half zeros slightly slower.",
        f"1 − median |cos| < {PARALLEL:g} within {{}} products",
        "simulation",
        judges.non_negative_chains,
        WITHIN_PRODUCTS,
        (),
    ),
    Claim(
        "5b",
        "4b",
        "αW⁺ + βW⁻ converges for β below about 4.",
        f"median |cos| > {{}} at the end for β ≤ {LARGEST_BETA}, not for β > {LARGEST_BETA + 1}",
        "simulation",
        judges.alpha_beta_chains,
        CONVERGED,
        (),
    ),
    Claim(
        "5c",
        "4a",
        "Vanilla and ReLU chains do not converge.",
        "median |cos| ≤ {} everywhere",
        "simulation",
        judges.signed_chains,
        CONVERGED,
        (),
    ),
    Claim(
        "5d",
        "4a",
        "Learned weights with ReLU lie in between.",
        "after their last product, between random ReLU and non-negative chains",
        "simulation",
        judges.learned_chain_between,
        networks=PLAIN,
    ),
    Claim(
        "6a",
        "A",
        "σ₁/σ₂ of pattern ⊙ weight is far above that of the weights, layer by layer.",
        "larger in every layer, {} times on (geometric) average",
        "singular_values",
        partial(judges.patterns_dominate, "layer"),
        FAR,
        PLAIN,
    ),
    Claim(
        "6b",
        "A",
        "And between layers.",
        "larger between all layers, {} times on (geometric) average",
        "singular_values",
        partial(judges.patterns_dominate, "between"),
        FAR,
        PLAIN,
    ),
    Claim(
        "7",
        "1, 6",
        "The maps of two classes are almost equal for the methods of claim 1a, on pictures that show both.",
        "mean L1 distance ≤ {}",
        "saliency",
        judges.equal_for_two_classes,
        ALMOST_EQUAL,
    ),
    Claim(
        "8a",
        "talk",
        "Gradient, SmoothGrad, integrated gradients, LRP-z, DeepLIFT, Occlusion and IBA are sensitive to deeper layers.",
        "median SSIM < {} when the last layer is random",
        "sensitive",
        judges.sensitive_maps,
        SIMILAR,
    ),
    Claim(
        "8b",
        "talk",
        "TCAV is, too.",
        "the score of stripes, checks and red moves by ≥ {} when the last layer is random",
        "concepts",
        judges.sensitive_concepts,
        FAR_SCORE,
    ),
)


def findings(runs: Sequence[Run]) -> list[Finding]:
    """Judges every claim on what was run, network by network; where none of the paper's networks was, the file is named that is missing."""
    return [finding for claim in CLAIMS for finding in _of_claim(claim, [run for run in runs if run.study == claim.study])]


def _of_claim(claim: Claim, runs: Sequence[Run]) -> list[Finding]:
    if not claim.networks:
        return _judged(claim, ("random matrices", ""), runs[:1], trained=True) if runs else []
    first = {(run.network, run.semantics): run for run in reversed(runs)}
    found: list[Finding] = []
    for network in claim.networks:
        used = [_used(claim, network, semantics, first) for semantics in SEMANTICS]
        several = [finding for runs in used if runs for finding in _judged(claim, _label(runs[0]), runs, _all_trained(runs))]
        found += several if len({one.measured for one in several}) > 1 else several[:1]  # once where semantics make no difference
    return found + _untestable(claim, found)


def _used(claim: Claim, network: str, semantics: str, runs: Mapping[tuple[str, str], Run]) -> list[Run]:
    """The run of a network and, where a claim compares, that of the plain one; nothing where one of them is missing."""
    names = (network, COUNTERPART[network]) if claim.beside else (network,)
    used = [runs.get((name, semantics)) or runs.get((name, SEMANTICS[0])) for name in names]
    return [run for run in used if run] if None not in used and (network, semantics) in runs else []


def _all_trained(runs: Sequence[Run]) -> bool:
    return RANDOM not in {run.weights for run in runs}


def _judged(claim: Claim, label: tuple[str, str], used: Sequence[Run], trained: bool) -> list[Finding]:
    tables, threshold = [run.table for run in used], claim.threshold
    outcome = claim.judged(tables, threshold and threshold.value)
    if outcome is None:
        return []
    if not trained:
        return [Finding(claim, *label, UNTESTABLE, f"With random weights: {outcome.measured}")]
    others = [(at, claim.judged(tables, at)) for at in (threshold.all() if threshold else ())]
    moves = tuple(Moved(at, other.kept, other.of) for at, other in others if other)
    return [Finding(claim, *label, outcome.verdict, outcome.measured, moves)]


def _untestable(claim: Claim, found: Sequence[Finding]) -> list[Finding]:
    """What is missing for the paper's networks that a claim is about, where nothing trained was run."""
    tested = {finding.network for finding in found if finding.verdict != UNTESTABLE}
    return [
        Finding(claim, called, "", UNTESTABLE, f"{FOLDER / names[1]}.h5 is missing (make real), or ImageNet weights (--{names[0]}).")
        for names, called in PAPERS.items()
        if names[0] in claim.networks and tested.isdisjoint(LABELS[name] for name in names)
    ]


def _label(run: Run) -> tuple[str, str]:
    """Network, with the semantics if they are not the original stack's, and on how many images."""
    return LABELS[run.network] + ("" if run.semantics == SEMANTICS[0] else f", {run.semantics}"), _images(run.table)


def _images(table: pd.DataFrame) -> str:
    if "images" not in table and "image" not in table:
        return "weights"
    count = table["images"].iloc[0] if "images" in table else table["image"].nunique()
    return f"{count} image{'' if count == 1 else 's'}"


def summary(runs: Sequence[Run]) -> str:
    """What CSC finds on the paper's networks, in a sentence for each that a reader can quote; nothing where they were not run."""
    of_csc = {(run.network, run.semantics): run.table for run in reversed(runs) if run.study == "csc" and run.weights != RANDOM}
    words = []
    for names, semantics in (((*PAPERS,)[0], SEMANTICS[0]), ((*PAPERS,)[1], SEMANTICS[1])):
        for name in names:
            if (name, semantics) in of_csc:
                words.append(_sentence(LABELS[name], semantics, of_csc[name, semantics]))
                break
    return " ".join(words)


def _sentence(label: str, semantics: str, table: pd.DataFrame) -> str:
    start, cosines = judges.from_output(table)["start"].iloc[0], judges.at_input(table)
    parts = []
    for together in (True, False):
        found = {name: cosine for name, cosine in cosines.items() if (cosine > CONVERGED.value) == together}
        names = ", ".join(METHODS[name].label for name in sorted(found, key=lambda name: -found[name]))
        end = min(found.values(), default=0) if together else max(found.values(), default=1)
        parts.append(f"{names} (median |cos| {'≥' if together else '≤'} {judges.shown(end)})")
    under = "" if semantics == SEMANTICS[0] else " and by the published formulas"
    return (
        f"On {label}{under}, random vectors that begin at {start} arrive at the input as one direction under {parts[0]}; "
        f"they stay apart under {parts[1]}."
    )
