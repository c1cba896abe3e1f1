"""Random logit: is the map of an image's true class the map of any other class too?"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any, Mapping, Sequence

import numpy as np
import pandas as pd

from wel.errors import UnsupportedError
from wel.measures.likeness import Likeness
from wel.methods.registry import Names, choose_map_methods
from wel.networks.network import Network
from wel.studies.map_study import Block, Found, Kept, MapStudy, SanityResult, comparison, named
from wel.studies.study import Settings
from wel.studies.units import Work
from wel.system.progress import Steps

OTHER = "other"  # all that a cell of this study consists of: the map that begins at another logit


@dataclass(frozen=True, eq=False)
class OtherMaps:
    """Computes a unit: how alike the maps of the classes of some images and of the other ones are."""

    block: Block
    others: np.ndarray
    likeness: Likeness

    def __call__(self, work: Work) -> dict[str, np.ndarray]:
        maps = self.block.maps(work, [self.block.classes, self.others])
        return named(OTHER, comparison(self.likeness, work.request)(*maps))


def random_logit(
    net: Network,
    images: np.ndarray,
    methods: Names = "all",
    classes: Sequence[int | None] | None = None,
    seed: int = 0,
    backend: str = "native",
    semantics: str = "paper",
    options: Mapping[str, dict] | None = None,
    out: Path | None = None,
    context: dict[str, Any] | None = None,
    steps: Steps | None = None,
    client: Any = None,
) -> SanityResult:
    """Compares each image's map of its true class with its map of a random other class (Sixt et al. 2020, figure 2a).

    SSIM as in `wel.measures.similarity.ssim`, of maps reduced and cut as the method says (`wel.methods.registry`). High SSIM: the map
    does not depend on the class. `ci_low` and `ci_high` are the bootstrap 99 % interval of the median over images.

    Args:
        net: from `wel.load`; its output is one vector of two logits or more.
        images: (n, *input shape), as the network takes them.
        methods: "all", those of the paper's figure 2 that apply to the network, or names.
        classes: the true class of each image; where it is None, or by default, the top-1 prediction.
        seed: of the other classes, of SmoothGrad's noise and of the bootstrap.
        backend: who computes.
        semantics: "paper", "corrected" or "both".
        options: {method: {option: value}}.
        out: run directory; nothing is written without it.
        context: kept in `run.json` beside the settings.
        steps: is told of progress, (method × semantics × image) steps in all.
        client: a `dask.distributed.Client`, whose workers compute; the numbers stay the same to the last bit.

    Raises:
        WelError: for anything in the arguments that cannot be used.
    """
    settings = Settings(net, images, choose_map_methods(methods), methods == "all", semantics, backend, options, seed, client=client)
    study = MapStudy(settings, classes)
    others = other_classes(study.classes.index, net.output_shape[0], seed)

    def make(block: Block) -> OtherMaps:
        return OtherMaps(block, block.of(others), study.likeness)

    def tables(found: Found) -> tuple[pd.DataFrame, pd.DataFrame]:
        rows, of_images = [], []
        for cell, parts in found.items():
            rows += study.summaries(study.row(cell), parts[OTHER])
            key = {"method": cell.method.name, "semantics": cell.semantics}
            of_images.append(study.rows_of_images(key, parts[OTHER], other_class=others))
        return pd.DataFrame(rows), pd.concat(of_images, ignore_index=True)

    return study.result("random_logit", 2, make, tables, {}, Kept(out, context, steps))


def other_classes(true: np.ndarray, count: int, seed: int) -> np.ndarray:
    """A class other than the true one for each image, (n,), all of them equally likely.

    true + d modulo `count`, with d drawn uniformly from 1 … count − 1; d depends on (seed, image index) only.

    Raises:
        UnsupportedError: for a network with one logit.
    """
    if count < 2:
        raise UnsupportedError("A random other class needs two classes or more. Received a network with one logit.")
    steps = [np.random.default_rng(np.random.SeedSequence((seed, image))).integers(1, count) for image in range(len(true))]
    return (true + np.array(steps)) % count
