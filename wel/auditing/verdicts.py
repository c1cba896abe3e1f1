"""From what an audit measured to what it says: an outcome for every test, and one verdict for every method."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Sequence

# the outcome of a test, as audit.json has it
SAME, DIFFERS, CONVERGED, NOT_CONVERGED, UNCLEAR, UNDEFINED = "same", "differs", "converged", "not_converged", "unclear", "undefined"
INSENSITIVE, SENSITIVE, INCONCLUSIVE = "insensitive", "sensitive", "inconclusive"
VERDICTS = (INSENSITIVE, INCONCLUSIVE, SENSITIVE)  # which counts where there are several, and the order of the report
FEWEST = 4  # images: the range of three values covers their median in three cases of four
MEASURES = {"ssim": "SSIM", "cosine": "|cos|", "effective_rank": "effective rank"}


@dataclass(frozen=True)
class Thresholds:
    """What counts as the same.

    Attributes:
        similar: SSIM of two maps from which on they are the same picture, if their |cos| as a whole has this median too: maps that
            are empty in most places are alike in SSIM. On the bundled networks methods that ignore the decision have medians of SSIM
            of 0.88 to 1, gradients and DeepLIFT 0.2 to 0.66. Where maps are no pictures, |cos| alone.
        converged_rank: effective rank at the input below which the relevance of all decisions is one map. One direction is rank 1;
            from the logits of the bundled networks LRP α1β0 has 1.0 to 1.2, gradients 4.6 to 5.6.
    """

    similar: float = 0.8
    converged_rank: float = 1.5


@dataclass(frozen=True)
class Measurement:
    """One measurement and its outcome.

    Attributes:
        test: "other_class" (the map of a random other class), "randomised" (everything above a layer has fresh weights), or
            "convergence" (what is left at the input of random relevance from a start layer).
        above: layer above which everything is random, for "randomised".
        start: start layer, for "convergence".
        measure: "ssim", "cosine" or "effective_rank"; the first two are medians over images.
        value, low, high: with the interval that covers the choice of images (99 %; of fewer than eight images their range, which
            covers less, 87 % for four), or of the vectors (± 2 standard errors).
        images: how many were measured.
        outcome: one of the words above.
        cosine: median |cos| of the two maps as a whole; NaN for "convergence".
        why: why it could not be measured, in a sentence; empty where it was.
    """

    test: str
    measure: str
    value: float
    low: float
    high: float
    images: int
    outcome: str
    above: str | None = None
    start: str | None = None
    cosine: float = math.nan
    why: str = ""


@dataclass(frozen=True)
class Verdict:
    """What a method's tests say together; `above` is the lowest layer above which nothing matters to the map."""

    verdict: str
    above: str | None
    sentence: str
    reasons: list[str]


def alike(low: float, high: float, cosine: float, images: int, thresholds: Thresholds) -> str:
    """Whether maps of so many images are the same, by the interval of their similarity and by their |cos|."""
    if images < FEWEST or math.isnan(low) or math.isnan(high):
        return UNCLEAR
    if low >= thresholds.similar:
        return SAME if cosine >= thresholds.similar else UNCLEAR
    return DIFFERS if high < thresholds.similar else UNCLEAR


def converged(low: float, high: float, thresholds: Thresholds) -> str:
    """Whether all relevance has become one direction, by the interval of the effective rank."""
    if math.isnan(low) or math.isnan(high):
        return UNDEFINED
    return CONVERGED if high < thresholds.converged_rank else NOT_CONVERGED if low > thresholds.converged_rank else UNCLEAR


def judge(tests: Sequence[Measurement], thresholds: Thresholds) -> Verdict:
    """The verdict of a method: its maps must pass both tests, another class and fresh weights above the topmost cut.

    "insensitive": both leave the maps the same, and the effective rank does not say the opposite. "sensitive": both change them, and
    the rank does not say the opposite. A test that does not exist for the network (another class of a network with two logits or
    less) does not count. Everything else is "inconclusive".
    """
    asked = deciding(tests)
    rank = next((test for test in tests if test.test == "convergence"), None)
    outcomes = {test.outcome for test in asked}
    if outcomes == {SAME} and not (rank and rank.outcome == NOT_CONVERGED):
        return _insensitive(tests, asked)
    if outcomes == {DIFFERS} and not (rank and rank.outcome == CONVERGED):
        return Verdict(SENSITIVE, None, f"The map changes {_when(asked)}.", [])
    reasons = _reasons(asked, rank, thresholds)
    return Verdict(INCONCLUSIVE, None, " ".join(reasons), reasons)


def deciding(tests: Sequence[Measurement]) -> list[Measurement]:
    """The tests on maps that count for the verdict: another class, if there is one, and random weights above the topmost cut."""
    return [test for test in tests if test.test == "other_class"] + [test for test in tests if test.test == "randomised"][:1]


def lowest_cut(tests: Sequence[Measurement]) -> str | None:
    """The lowest layer above which everything can be random without a change, from the topmost cut down without a gap."""
    found = None
    for test in tests:
        if test.test == "randomised":
            if test.outcome != SAME:
                break
            found = test.above
    return found


def _insensitive(tests: Sequence[Measurement], asked: Sequence[Measurement]) -> Verdict:
    cut = lowest_cut(tests)
    lowest = [test for test in tests if test.test == "randomised" and test.above == cut]
    shown = [test for test in asked if test.test != "randomised"] + lowest
    above = f"Insensitive to everything above {cut}: the" if cut else "The"
    return Verdict(INSENSITIVE, cut, f"{above} map stays the same {_when(shown)}.", [])


def _when(tests: Sequence[Measurement]) -> str:
    """When something happened: "when …  (SSIM 0.31) and when …"."""
    return " and ".join(f"when {_change(test)} ({_number(test)})" for test in tests)


def _change(test: Measurement) -> str:
    return "another class is asked for" if test.test == "other_class" else f"everything above {test.above} is random"


def _number(test: Measurement) -> str:
    return f"{MEASURES[test.measure]} {test.value:.2f}"


def _reasons(asked: Sequence[Measurement], rank: Measurement | None, thresholds: Thresholds) -> list[str]:
    if not asked:
        return ["No test is defined for this network."]
    if {test.outcome for test in asked} == {SAME}:
        return [f"The maps stay the same {_when(asked)}, but {rank.value:.1f} independent directions of relevance arrive at the input."]
    if {test.outcome for test in asked} == {DIFFERS}:
        return [f"The maps change {_when(asked)}, but all relevance arrives at the input as one map (effective rank {rank.value:.2f})."]
    undecided = [test for test in asked if test.outcome in (UNCLEAR, UNDEFINED)]
    if undecided:
        return [f"Whether the map changes when {_change(test)} cannot be told: {_why(test, thresholds)}." for test in undecided]
    return ["The tests disagree: " + ", ".join(f"{_number(test)} when {_change(test)}" for test in asked) + "."]


def _why(test: Measurement, thresholds: Thresholds) -> str:
    """Why a test says nothing."""
    if test.why:
        return test.why[0].lower() + test.why[1:].rstrip(".")
    if test.outcome == UNDEFINED:
        return "there is nothing to compare, or it cannot be done"
    if test.images < FEWEST:
        return f"{_images(test)} are too few" if test.images != 1 else "one image is too few"
    if test.low >= thresholds.similar:
        return f"{_number(test)} over {_images(test)}, but |cos| {test.cosine:.2f} of the maps as a whole"
    return f"{_number(test)} over {_images(test)}, somewhere from {test.low:.2f} to {test.high:.2f}"


def _images(test: Measurement) -> str:
    return f"{test.images} image" + "s" * (test.images != 1)
