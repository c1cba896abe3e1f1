"""The paper's claims in our words, what we take as their tests, and what came of them."""

from __future__ import annotations

from dataclasses import dataclass
from functools import partial
from typing import Callable, NamedTuple, Sequence

import judges
import pandas as pd
from judges import (
    ALMOST_EQUAL,
    CONVERGED,
    CONVERGING,
    FAR,
    LARGEST_BETA,
    ROUNDING,
    SAME,
    SIMILAR,
    UNCONVERGED,
    UNTESTABLE,
    WITHIN_CONVOLUTIONS,
    WITHIN_PRODUCTS,
    Outcome,
)

from wel.studies.simulation import PARALLEL

PLAIN, RESIDUAL = ("vgg16", "cifar10"), ("resnet50", "resnet20")
COUNTERPART = dict(zip(RESIDUAL, PLAIN))  # the plain network that a residual one is compared with
IMAGENET = (PLAIN[0], RESIDUAL[0])
RANDOM = "random"  # weights of a run that are not trained


class Run(NamedTuple):
    """A study that was run: of which network, with "trained" or "random" weights, and its table."""

    study: str
    network: str
    weights: str
    table: pd.DataFrame


@dataclass(frozen=True)
class Claim:
    """A claim that numbers can decide.

    Attributes:
        number: of the claim, and a letter for its part.
        figure: of the paper; A for its appendix.
        words: what the paper says.
        test: what we take for it.
        study: whose table decides.
        judge: function (table) -> Outcome; (table, table of the plain network) if `beside`.
        networks: that it is about; none for random matrices.
        beside: whether a residual network is compared with a plain one.
    """

    number: str
    figure: str
    words: str
    test: str
    study: str
    judge: Callable[..., Outcome]
    networks: tuple[str, ...] = (*PLAIN, *RESIDUAL)
    beside: bool = False


class Finding(NamedTuple):
    """What came of a claim for one network."""

    claim: Claim
    network: str
    verdict: str
    measured: str


CLAIMS = (
    Claim(
        "1a",
        "2a, 7",
        "Guided BP, Deconvnet, RectGrad, Deep Taylor, LRP α1β0 and α2β1, PatternNet and PatternAttribution give nearly "
        "the same map for another class.",
        f"median SSIM ≥ {SAME}",
        "random_logit",
        judges.same_for_another_class,
    ),
    Claim(
        "1b",
        "2a, 7",
        "LRP α5β4, LRP CMP, LRP-z and DeepLIFT do not.",
        f"median SSIM < {SAME}",
        "random_logit",
        judges.changed_by_another_class,
    ),
    Claim(
        "1c",
        "2a, 7",
        "α2β1 changes somewhat more on ResNet-50 than on VGG-16.",
        "median SSIM lower",
        "random_logit",
        judges.alpha2_changes_more,
        RESIDUAL,
        True,
    ),
    Claim(
        "2a",
        "2b, 7",
        "The maps of SmoothGrad, gradient, LRP-z and DeepLIFT change when the last dense layer is made random.",
        f"median SSIM < {SIMILAR}",
        "cascading",
        judges.drops_at_last_layer,
    ),
    Claim(
        "2b",
        "2b, 7",
        "Those of LRP α1β0 and α2β1, Deep Taylor, PatternAttribution, Guided BP, Deconvnet and RectGrad stay similar down to early layers.",
        f"median SSIM ≥ {SIMILAR} at all stages but the third nearest the input",
        "cascading",
        judges.similar_down_to_early_layers,
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
        f"median |cos| > {CONVERGED} at the input, from the logits",
        "csc",
        partial(judges.converges, CONVERGING),
        PLAIN,
    ),
    Claim(
        "3b",
        "5",
        "On a residual network too, but for α2β1.",
        f"median |cos| > {CONVERGED} at the input, from the logits",
        "csc",
        partial(judges.converges, [name for name in CONVERGING if name != "lrp_alpha2_beta1"]),
        RESIDUAL,
    ),
    Claim(
        "3c",
        "5",
        "α2β1 does not fully converge on ResNet-50.",
        f"median |cos| ≤ {CONVERGED} at the input, from the logits",
        "csc",
        partial(judges.stays_apart, ["lrp_alpha2_beta1"]),
        RESIDUAL,
    ),
    Claim(
        "3d",
        "3, 5",
        "Gradient, LRP-z, DeepLIFT Rescale and RevealCancel do not converge.",
        f"median |cos| ≤ {CONVERGED} at the input, from the logits",
        "csc",
        partial(judges.stays_apart, UNCONVERGED),
    ),
    Claim(
        "3e",
        "3, 5",
        "α1β0 and Deep Taylor converge fastest, to within floating point.",
        f"1 − median |cos| < {ROUNDING:g} at some layer, and no method is past {CONVERGED} earlier",
        "csc",
        judges.fastest,
    ),
    Claim("3f", "3, 5", "α5β4 converges less than α2β1.", "median |cos| at the input lower", "csc", judges.alpha5_converges_less),
    Claim(
        "3g",
        "5",
        "On residual networks convergence is less pronounced.",
        "median |cos| at the input not above the plain network's",
        "csc",
        judges.less_pronounced,
        RESIDUAL,
        True,
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
        "4a",
        "3",
        "LRP CMP does not converge in the dense layers, where it is LRP-z.",
        f"median |cos| ≤ {CONVERGED} down to the last convolution's output",
        "csc",
        judges.apart_in_dense_layers,
        PLAIN,
    ),
    Claim(
        "4b",
        "3",
        "Below, it converges within 3 to 5 convolutions.",
        f"median |cos| > {CONVERGED} after {WITHIN_CONVOLUTIONS} at most",
        "csc",
        judges.converges_in_convolutions,
        PLAIN,
    ),
    Claim(
        "5a",
        "4a",
        "Chains of positive, stochastic and non-negative matrices converge to floating point within about 7 products, those "
        "with half zeros slightly slower.",
        f"1 − median |cos| < {PARALLEL:g} within {WITHIN_PRODUCTS} products",
        "simulation",
        judges.non_negative_chains,
        (),
    ),
    Claim(
        "5b",
        "4b",
        "αW⁺ + βW⁻ converges for β below about 4.",
        f"median |cos| > {CONVERGED} at the end for β ≤ {LARGEST_BETA}, not for β > {LARGEST_BETA + 1}",
        "simulation",
        judges.alpha_beta_chains,
        (),
    ),
    Claim(
        "5c",
        "4a",
        "Vanilla and ReLU chains do not converge.",
        f"median |cos| ≤ {CONVERGED} everywhere",
        "simulation",
        judges.signed_chains,
        (),
    ),
    Claim(
        "5d",
        "4a",
        "Learned weights with ReLU lie in between.",
        "after their last product, between random ReLU and non-negative chains",
        "simulation",
        judges.learned_chain_between,
        PLAIN,
    ),
    Claim(
        "6a",
        "A",
        "σ₁/σ₂ of pattern ⊙ weight is far above that of the weights, layer by layer.",
        f"larger in every layer, {FAR} times on (geometric) average",
        "singular_values",
        partial(judges.patterns_dominate, "layer"),
        PLAIN,
    ),
    Claim(
        "6b",
        "A",
        "And between layers.",
        f"larger between all layers, {FAR} times on (geometric) average",
        "singular_values",
        partial(judges.patterns_dominate, "between"),
        PLAIN,
    ),
    Claim(
        "7",
        "1, 6",
        "The maps of two classes are almost equal for the methods of claim 1a, on pictures that show both.",
        f"mean L1 distance ≤ {ALMOST_EQUAL}",
        "saliency",
        judges.equal_for_two_classes,
    ),
)


def findings(runs: Sequence[Run]) -> list[Finding]:
    """Judges every claim on what was run.

    Where an ImageNet network was not run with trained weights, the claim is not testable on it; what it measures with random ones is told.
    """
    return [finding for claim in CLAIMS for finding in _of_claim(claim, runs)]


def _of_claim(claim: Claim, runs: Sequence[Run]) -> list[Finding]:
    of_study = {run.network: run for run in reversed(runs) if run.study == claim.study}  # the first one counts
    if not claim.networks:
        return [Finding(claim, "random matrices", *claim.judge(run.table)) for run in of_study.values()]
    found, absent = [], []
    for network in claim.networks:
        used = [of_study.get(one) for one in ((network, COUNTERPART[network]) if claim.beside else (network,))]
        if None in used:
            absent.append(network)
            continue
        outcome = claim.judge(*(run.table for run in used))
        if any(run.weights == RANDOM for run in used):
            outcome = Outcome(UNTESTABLE, f"With random weights: {outcome.measured}")
        found.append(Finding(claim, f"{network}, {_images(used[0].table)}", *outcome))
    missing = ", ".join(network for network in absent if network in IMAGENET)
    return found + ([Finding(claim, missing, UNTESTABLE, "")] if missing else [])


def _images(table: pd.DataFrame) -> str:
    if "images" not in table and "image" not in table:
        return "weights"
    count = table["images"].iloc[0] if "images" in table else table["image"].nunique()
    return f"{count} image{'' if count == 1 else 's'}"
