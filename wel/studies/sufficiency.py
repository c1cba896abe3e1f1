"""Sufficiency: is a class still predicted when only what its own map calls most relevant is left of an image?

For every image the class that is studied and the most likely other ones each have their map. The least relevant regions are hidden first,
as for insertion (`wel.studies.faithfulness`):

    score       of the map's class, while less and less is left
    predicted   whether that class has the largest logit of all

A map of another class that is told apart from the first one leaves what speaks for the other class: it comes to be predicted. A map that
does not depend on the class leaves the same for all of them.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Iterator

import numpy as np
import pandas as pd

from wel.errors import UnsupportedError, check_whole, invalid
from wel.measures.similarity import heats
from wel.networks.network import Network
from wel.studies.units import Arrays, Cell, Work

if TYPE_CHECKING:
    from wel.studies.faithfulness import Hiding
    from wel.studies.map_study import Block, MapStudy


def likely_classes(net: Network, images: np.ndarray, true: np.ndarray, count: int) -> np.ndarray:
    """The true class of each image, and behind it the other ones from the most likely on, (n, count).

    Raises:
        WelError: for a count that is not a whole number from 1 on, or more classes than there are.
        UnsupportedError: for a network with one logit, of which no other can be larger.
    """
    check_whole("sufficiency", count, 1)
    logits = net.logits(images).astype("float64")
    if logits.shape[1] < 2:
        raise UnsupportedError("Sufficiency needs two classes or more. Received a network with one logit.")
    if count > logits.shape[1]:
        raise invalid("sufficiency", count, f"at most {logits.shape[1]}, the classes of the network")
    logits[np.arange(len(images)), true] = np.inf
    return np.argsort(-logits, axis=1, kind="stable")[:, :count]


def sufficiency(block: Block, work: Work, hiding: Hiding, classes: np.ndarray) -> dict[str, np.ndarray]:
    """The score of every image and class, (n, K, parts + 1), and 1 where it is predicted, else 0; both NaN where its map is not finite.

    Beside them the share of regions that is left, (n, parts + 1), from 1 to 0.

    Args:
        classes: (n, K), as `likely_classes` gives them.
    """
    several = [heats(maps, work.request.method.reduction) for maps in block.maps(work, list(classes.T))]
    shape = (*classes.shape, hiding.parts + 1)
    found = {"score": np.empty(shape), "predicted": np.empty(shape), "kept": np.empty((len(classes), hiding.parts + 1))}
    for index, image in enumerate(work.images):
        for rank, chosen in enumerate(classes[index]):
            heat = several[rank][index]
            logits, found["kept"][index] = hiding.kept(work.net, block.first + index, image, np.nan_to_num(heat))
            lost = 0.0 if np.isfinite(heat).all() else np.nan
            found["score"][index, rank] = scores(work.net, logits, chosen) + lost
            found["predicted"][index, rank] = (logits.argmax(axis=1) == chosen) + lost
    return found


def scores(net: Network, logits: np.ndarray, chosen: int) -> np.ndarray:
    """A class's probabilities, where the network's last activation gives one, else its logits; float64."""
    probabilities = net.probabilities(logits)
    return (logits if probabilities is None else probabilities)[:, chosen].astype("float64")


def sufficiency_rows(study: MapStudy, cell: Cell, found: Arrays) -> Iterator[dict[str, Any]]:
    """Rows of the table: the class's rank, 1 for the image's own, the share that is left, median score, share of images predicted."""
    shares = found["kept"].mean(axis=0)
    for rank in range(found["score"].shape[1]):
        for part, kept in enumerate(shares):
            score, predicted = (pd.Series(found[name][:, rank, part]) for name in ("score", "predicted"))
            counted = {"images": len(score), "values": int(score.count())}
            place = {"class_rank": rank + 1, "kept": kept}
            yield {**study.row(cell), **place, **counted, "median": score.median(), "predicted": predicted.mean()}
