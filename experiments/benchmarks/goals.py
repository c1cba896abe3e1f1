"""What speed is wanted, and the ratios that tell whether it is there."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import pandas as pd

GRADIENTS = ("gradient", "guided_backprop", "deconvnet")
ALPHA_BETA = ("lrp_alpha1_beta0", "lrp_alpha2_beta1", "lrp_alpha5_beta4")
DEEPLIFT = ("deeplift_reveal_cancel", "deeplift_rescale", "deeplift_ablation")
ONE_TERM = (
    *GRADIENTS,
    "lrp_z",
    "lrp_epsilon",
    "lrp_gamma",
    "lrp_unbiased",
    "lrp_alpha1_beta0",
    "deep_taylor",
    "deep_taylor_unbounded",
    "w_square",
    "flat",
    "z_plus_fast",
    "lrp_composite_a",
    "lrp_composite_a_flat",
    "epsilon_plus",
    "epsilon_plus_flat",
    "beta_smooth",
    "lrp_cmp_alpha1_beta0",
    "pattern_net",
    "pattern_attribution",
    "deeplift_rescale",
)
TWO_TERM = (
    "lrp_alpha_beta",
    "lrp_alpha2_beta1",
    "lrp_alpha5_beta4",
    "lrp_cmp_alpha2_beta1",
    "lrp_composite_b",
    "lrp_composite_b_flat",
    "epsilon_alpha2_beta1",
    "epsilon_alpha2_beta1_flat",
    "epsilon_gamma_box",
    "deeplift_reveal_cancel",
    "deeplift_ablation",
)
LARGE = ("vgg16", "resnet50")
# a gradient beside ours, with the original's arithmetic and with the fastest one
YARDSTICKS = ("yardstick", "yardstick (fastest)")
# the original stack, beside us likewise
ORIGINALS = ("original", "original (fastest)")


@dataclass(frozen=True)
class Goal:
    """How fast we want to be beside somebody.

    Attributes:
        beside: one of `YARDSTICKS` or `ORIGINALS`, "wrapped", "zennit", "other tensorflow", "one by one", "first innvestigate",
            "first map" or "further maps".
        bound: the ratio that is wanted; of the yardstick at most, of others at least.
        methods, networks: what it holds for; all if empty.
        aim: a ratio that would be better still.
    """

    beside: str
    bound: float
    methods: tuple[str, ...] = ()
    networks: tuple[str, ...] = ()
    aim: float | None = None

    def holds_for(self, network: str, method: str) -> bool:
        """Whether the goal is about a network and a method."""
        return (not self.methods or method in self.methods) and (not self.networks or network in self.networks)


GOALS = (
    Goal("yardstick", 1.0, GRADIENTS, ("vgg16",)),
    Goal("yardstick", 1.1, tuple(method for method in ONE_TERM if method not in GRADIENTS), ("vgg16",)),
    Goal("yardstick", 1.6, TWO_TERM, ("vgg16",)),
    Goal("yardstick", 1.2, ONE_TERM, ("resnet50",), aim=1.0),
    Goal("yardstick", 1.8, TWO_TERM, ("resnet50",), aim=1.6),
    Goal("yardstick", 3.0, ("rectgrad",), LARGE),
    Goal("yardstick (fastest)", 0.75, ("gradient",), ("vgg16",)),
    Goal("yardstick (fastest)", 0.85, ("lrp_alpha1_beta0",), ("vgg16",)),
    Goal("yardstick (fastest)", 1.3, ("lrp_alpha2_beta1",), ("vgg16",)),
    Goal("wrapped", 3.0, ALPHA_BETA),
    Goal("wrapped", 1.2, GRADIENTS),
    *(Goal(beside, 10.0, ALPHA_BETA) for beside in ORIGINALS),
    Goal("original", 50.0, DEEPLIFT),
    Goal("zennit", 6.0, ("lrp_alpha1_beta0",), ("vgg16",)),
    Goal("other tensorflow", 0.95),
    Goal("first innvestigate", 10.0),
    Goal("first map", 10.0, networks=("vgg16",)),
    Goal("further maps", 5.0, networks=("vgg16",)),
    Goal("one by one", 1.15),
)


def ratios(seconds: pd.DataFrame) -> pd.DataFrame:
    """Ratios of the medians of two that took turns, and the goals that they are held to.

    Of the yardstick ours / its: our time as a multiple of a gradient's. Of others theirs / ours: how many times as fast we are.

    Args:
        seconds: network, method, beside, whose ("ours" or "theirs"), seconds; a row per counted run.

    Returns:
        network, method, beside, ours, theirs (medians in s), runs (theirs), ratio, goal, aim, met; the last three empty without a goal.
    """
    rows = []
    for key, runs in seconds.groupby(["network", "method", "beside"], sort=False):
        ours, theirs = (runs.loc[runs["whose"] == whose, "seconds"] for whose in ("ours", "theirs"))
        if len(ours) and len(theirs):
            rows.append((*key, ours.median(), theirs.median(), len(theirs), *_held(*key, ours.median() / theirs.median())))
    return pd.DataFrame(rows, columns=["network", "method", "beside", "ours", "theirs", "runs", "ratio", "goal", "aim", "met"])


def _held(network: str, method: str, beside: str, quotient: float) -> tuple:
    ratio = quotient if beside in YARDSTICKS else 1 / quotient
    for goal in GOALS:
        if goal.beside == beside and goal.holds_for(network, method):
            met = ratio <= goal.bound if beside in YARDSTICKS else ratio >= goal.bound
            return ratio, goal.bound, np.nan if goal.aim is None else goal.aim, "yes" if met else "no"
    return ratio, np.nan, np.nan, ""
