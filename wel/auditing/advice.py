"""From what an audit measured to advice: which methods to use on this network, which not, and of which it cannot be told.

Two axes decide, and each has the controls `random` and `edges` beside it:

    dependence  how much the map changes when another decision is asked for: 1 − the similarity (SSIM; |cos| where maps are no pictures)
                in that of the tests which count for the verdict in which the map changes least. 0: the same map; 1: nothing in common
    gain        insertion − deletion (`wel.studies.faithfulness`): 0 is chance. What a method gains on a control is the median, over the
                images, of the difference of the two gains on the same image, with its interval

The rule, whose first line that applies counts:

    1. A control is not to be used: it is made to fail.
    2. A method that is insensitive is not to be used, however much it gains: its map would be the same for another decision, so it does
       not show why this one was made. Only where Occlusion is insensitive too, the network looks at the same places whatever it decides,
       for Occlusion's map holds nothing but what hiding does to the score; then of a method that gains on both controls it cannot be told.
    3. A method that gains less than one of the controls, by its whole interval, is not to be used.
    4. A method that is sensitive and gains more than both controls, by its whole intervals, is to be used.
    5. Of all others it cannot be told; so too with fewer than `FEWEST` images whose score hiding changes at all.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any, Mapping, NamedTuple, Sequence

import numpy as np

from wel.auditing.verdicts import FEWEST, INSENSITIVE, MEASURES, SENSITIVE, Measurement, deciding
from wel.measures.intervals import summary
from wel.methods.registry import CONTROL, METHODS, Method
from wel.studies.faithfulness import LEAST, MOST, SHARE, measured
from wel.studies.study import Arrays

USE, CANNOT_TELL, DO_NOT_USE = "use", "cannot_tell", "do_not_use"
ADVICE = (USE, CANNOT_TELL, DO_NOT_USE)  # the order of the ranking
MORE, LESS, NEITHER, UNKNOWN = "more", "less", "neither", "unknown"  # than the controls
YARDSTICK = "occlusion"
ROUNDING = 1e-5  # of a score, in float32 through a deep network
NONE = "None of the methods measured can be recommended."


class Interval(NamedTuple):
    """A number and the 99 % interval that covers the choice of images; of fewer than eight their range. NaN where undefined."""

    value: float
    low: float
    high: float


@dataclass(frozen=True)
class Faithfulness:
    """How well a method's maps find what the class's score depends on.

    Attributes:
        gain, deletion, insertion: medians over images.
        images: how many have them.
        over: control -> what is gained on it.
        curve: rows of the share that is hidden and the median score, the `most` and the `least` relevant regions first.
    """

    gain: Interval
    deletion: float
    insertion: float
    images: int
    over: dict[str, Interval]
    curve: list[dict[str, float]]

    @property
    def standing(self) -> str:
        """Whether it gains more than both controls, less than one of them, neither, or whether that is unknown."""
        if self.images < FEWEST or any(math.isnan(one.low) for one in self.over.values()):
            return UNKNOWN
        if any(one.high < 0 for one in self.over.values()):
            return LESS
        return MORE if all(one.low > 0 for one in self.over.values()) else NEITHER

    @property
    def closest(self) -> str:
        """The control that decides: the one that it gains least on."""
        end = "high" if self.standing == LESS else "low"
        return min(self.over, key=lambda control: getattr(self.over[control], end))


@dataclass(frozen=True)
class Measured:
    """What the advice on a method is made of."""

    method: Method
    semantics: str
    verdict: str
    tests: Sequence[Measurement]
    faithfulness: Faithfulness | None


@dataclass(frozen=True)
class Advice:
    """The advice on a method, one of `ADVICE`, and why, in a clause."""

    method: str
    label: str
    semantics: str
    advice: str
    reason: str


def dependence(tests: Sequence[Measurement]) -> Interval:
    """How much the map depends on what the network decides, in [0, 1], by the test in which it changes least; NaN without a test."""
    known = [test for test in deciding(tests) if not math.isnan(test.value)]
    if not known:
        return Interval(math.nan, math.nan, math.nan)
    value, low, high = (max(getattr(test, name) for test in known) for name in ("value", "low", "high"))
    return Interval(*(min(max(1 - similar, 0.0), 1.0) if not math.isnan(similar) else similar for similar in (value, high, low)))


def faithfulness_of(curves: Arrays, controls: dict[str, Arrays], seed: int) -> Faithfulness | None:
    """What the curves of a method's images say, (n, parts + 1) each (`wel.studies.faithfulness`); None without curves.

    Args:
        controls: name -> curves, of the controls that the method is held against.
        seed: of the intervals.
    """
    if not curves:
        return None
    of_images, gains = measured(curves), _gains(curves)
    known = np.isfinite(gains)
    over = {name: _interval(gains - _gains(others), seed) for name, others in controls.items()}
    deletion, insertion = (float(np.median(of_images[name][known])) if known.any() else math.nan for name in ("deletion", "insertion"))
    return Faithfulness(_interval(gains, seed), deletion, insertion, int(known.sum()), over, _curve(curves))


def _gains(curves: Arrays) -> np.ndarray:
    """The gain of every image, (n,); NaN where what hiding does to its score cannot be told from rounding."""
    scores = np.concatenate([curves[MOST], curves[LEAST]], axis=1)
    flat = np.ptp(scores, axis=1) <= ROUNDING * np.abs(scores).max(axis=1)
    return np.where(flat, np.nan, measured(curves)["gain"])


def _interval(values: np.ndarray, seed: int) -> Interval:
    found = summary(values, seed)
    return Interval(found["median"], found["ci_low"], found["ci_high"])


def _curve(curves: Arrays) -> list[dict[str, float]]:
    kept = np.isfinite(curves[MOST][:, 0])
    if not kept.any():
        return []
    columns = [curves[SHARE].mean(axis=0), *(np.median(curves[order][kept], axis=0) for order in (MOST, LEAST))]
    return [dict(zip((SHARE, MOST, LEAST), map(float, row))) for row in zip(*columns)]


def advise(several: Sequence[Measured]) -> list[Advice]:
    """The advice on each method by the rule above, ranked: first by advice, then by gain."""
    fixed = any(one.method.name == YARDSTICK and one.verdict == INSENSITIVE for one in several)
    found = [(one, *_advice(one, fixed)) for one in several]
    ranked = sorted(found, key=lambda item: (ADVICE.index(item[1]), -_gain(item[0])))
    return [Advice(one.method.name, one.method.label, one.semantics, word, reason) for one, word, reason in ranked]


def _gain(one: Measured) -> float:
    gain = math.nan if one.faithfulness is None else one.faithfulness.gain.value
    return -math.inf if math.isnan(gain) else gain


def _advice(one: Measured, fixed: bool) -> tuple[str, str]:
    """Advice and reason; `fixed`, whether the network looks at the same places whatever it decides."""
    standing = UNKNOWN if one.faithfulness is None else one.faithfulness.standing
    if one.method.family == CONTROL:
        return DO_NOT_USE, "a control, which is made to fail"
    if one.verdict == INSENSITIVE and fixed and standing == MORE:
        return CANNOT_TELL, f"its map stays the same, {_similar(one)}, but so does Occlusion's; {_gained(one)}"
    if one.verdict == INSENSITIVE:
        return DO_NOT_USE, f"its map stays the same, {_similar(one)}"
    if standing == LESS:
        return DO_NOT_USE, _gained(one)
    if one.verdict == SENSITIVE and standing == MORE:
        return USE, f"its map changes, {_similar(one)}, and {_gained(one)}"
    return CANNOT_TELL, f"whether its map changes is open; {_gained(one)}" if standing == MORE else _gained(one)


def _similar(one: Measured) -> str:
    """How similar the map stays in the test in which it changes least."""
    test = max((test for test in deciding(one.tests) if not math.isnan(test.value)), key=lambda test: test.value)
    return f"{MEASURES[test.measure]} {test.value:.2f}"


def _gained(one: Measured) -> str:
    """What a method gains on the control that decides, in a clause."""
    found = one.faithfulness
    if found is None or not found.curve:
        return "what it gains cannot be measured"
    if not found.images:
        return "hiding changes the score no more than rounding does"
    if found.images < FEWEST:
        return "one image is too few" if found.images == 1 else f"{found.images} images are too few"
    if found.standing == UNKNOWN:
        return "what it gains cannot be held against the controls"
    value, low, high = map(shown, found.over[found.closest])
    return f"against {METHODS[found.closest].label} it gains {value}, {low} to {high}"


def shown(number: float) -> str:
    """A gain in two digits."""
    return f"{float(f'{number:.2g}'):g}"


def advised(record: Mapping[str, Any]) -> list[Advice]:
    """The advice that a record holds; none in one of an older version."""
    held = record.get("advice", {})
    return [Advice(advice=word, **item) for word in ADVICE for item in held.get(word, [])]


def sentence(advice: Sequence[Advice]) -> str:
    """ "Use …; do not use …; of … it cannot be told."."""
    if not advice:
        return "No method was measured."
    first, *more = sentences(advice)
    return "; ".join([first[:-1], *(part[0].lower() + part[1:-1] for part in more)]) + "."


def sentences(advice: Sequence[Advice]) -> list[str]:
    """The same in one sentence for each advice that is given, first what to use, be it nothing."""
    use, open_, not_ = (_listed([name for name, _ in named(advice, word)]) for word in ADVICE)
    found = [f"Use {use}." if use else NONE]
    found += [f"Do not use {not_}."] if not_ else []
    return found + ([f"Of {open_} it cannot be told."] if open_ else [])


def named(advice: Sequence[Advice], word: str) -> list[tuple[str, str]]:
    """The methods of one advice and why, in the order of the ranking.

    A name stands for both semantics, with the reason of the first, where they have the same advice.
    """
    words: dict[str, set[str]] = {}
    for one in advice:
        words.setdefault(one.method, set()).add(one.advice)
    found: dict[str, str] = {}
    for one in advice:
        if one.advice == word:
            alone = len(words[one.method]) == 1 or one.semantics == "both"
            found.setdefault(one.label if alone else f"{one.label} ({one.semantics})", one.reason)
    return list(found.items())


def _listed(names: Sequence[str]) -> str:
    """Names as a sentence has them: "a, b and c"."""
    return ", ".join(names[:-1]) + " and " + names[-1] if len(names) > 1 else "".join(names)
