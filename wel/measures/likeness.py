"""By what maps are compared: one measure or several, of values with their signs or without."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Callable, Iterable, Mapping, NamedTuple

import numpy as np

from wel.errors import check_whole, invalid, one_of
from wel.measures.complexity import complexity_rises
from wel.measures.similarity import hog_correlation, rank_correlations, reduce_channels, ssim, whole_cosines


class Look(NamedTuple):
    """How a method's maps are looked at: how channels are reduced, where maps are cut, and under which semantics."""

    reduction: str
    percentile: float
    semantics: str


@dataclass(frozen=True)
class Likeness:
    """Compares maps.

    Attributes:
        measures: keys of `MEASURES`.
        absolute: whether the values that a measure takes, reduced ones or all, are made absolute first.
        bins: of the histograms of "complexity_rise"; None for the number by `histogram_bins`.
    """

    measures: tuple[str, ...]
    absolute: bool = False
    bins: int | None = None

    def of(self, one: np.ndarray, other: np.ndarray, look: Look) -> dict[str, np.ndarray]:
        """Measure -> how alike two maps (n, *input shape) of each image are by it, (n,); where a map is flipped, it is the second."""
        return {name: MEASURES[name].of(self, one, other, look) for name in self.measures}

    def signed(self, maps: np.ndarray) -> np.ndarray:
        """Maps as they are, or without their signs."""
        return np.abs(maps) if self.absolute else maps


def chosen_measures(names: str | Iterable[str]) -> tuple[str, ...]:
    """The measures that were asked for, each once.

    Raises:
        WelError: for an unknown one, or when none is given.
    """
    names = tuple(dict.fromkeys([names] if isinstance(names, str) else names))
    for name in names:
        if name not in MEASURES:
            raise invalid("measures", name, one_of(MEASURES))
    if not names:
        raise invalid("measures", list(names), "one or more measures")
    return names


def likeness(drawn: bool, measures: str | Iterable[str] | None = None, absolute: bool = False, bins: int | None = None) -> Likeness:
    """What maps are compared by: pictures by SSIM unless `measures` says otherwise, others by |cos| and rank correlation.

    Raises:
        WelError: for a measure that there is none of, or that needs pictures where maps are none; for bins that cannot be, or that no
            measure takes.
    """
    chosen = (PICTURES if drawn else OTHERS) if measures is None else chosen_measures(measures)
    for name in chosen:
        if MEASURES[name].pictures and not drawn:
            fitting = [known for known, measure in MEASURES.items() if not measure.pictures]
            raise invalid("measures", name, f"{one_of(fitting)} for inputs that are no pictures")
    if bins is not None:
        check_whole("bins", bins, 2)
        if "complexity_rise" not in chosen:
            raise invalid("bins", bins, "none without the measure 'complexity_rise'")
    return Likeness(chosen, bool(absolute), bins)


class Measure(NamedTuple):
    """A measure.

    Attributes:
        label: as tables and figures call it.
        of: function (likeness, one, other, look) -> its value for every image.
        pictures: whether it needs maps that are pictures.
    """

    label: str
    of: Callable[[Likeness, np.ndarray, np.ndarray, Look], np.ndarray]
    pictures: bool = False


def _whole(compare: Callable[[np.ndarray, np.ndarray], np.ndarray]) -> Callable:
    """Of all values of maps."""
    return lambda like, one, other, look: compare(like.signed(one), like.signed(other))


def _reduced(compare: Callable[[np.ndarray, np.ndarray, Look], float]) -> Callable:
    """Of maps with their channels reduced, image by image."""

    def of(like: Likeness, one: np.ndarray, other: np.ndarray, look: Look) -> np.ndarray:
        pairs = zip(*(like.signed(reduce_channels(maps, look.reduction)) for maps in (one, other)))
        return np.array([compare(a, b, look) for a, b in pairs])

    return of


MEASURES: Mapping[str, Measure] = {
    "ssim": Measure("SSIM", _reduced(lambda a, b, look: ssim(a, b, look.semantics, look.percentile)), pictures=True),
    "cosine": Measure("|cos|", _whole(whole_cosines)),
    "rank_correlation": Measure("|rank correlation|", _whole(rank_correlations)),
    "hog": Measure("HOG correlation", _reduced(lambda a, b, look: hog_correlation(a, b, look.percentile)), pictures=True),
    "complexity_rise": Measure(
        "rise of complexity",
        lambda like, one, other, look: complexity_rises(like.signed(one), like.signed(other), like.bins),
    ),
}
PICTURES, OTHERS = ("ssim",), ("cosine", "rank_correlation")
