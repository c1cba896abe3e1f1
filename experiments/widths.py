"""How wide the interval of CSC's median is, by the number of images and of vectors."""

from __future__ import annotations

from typing import Any, Sequence

import numpy as np
import pandas as pd
from trained import top_start

from wel.measures.counting import Cosines, Counted
from wel.measures.counts import CosineCounts
from wel.methods.registry import find_method
from wel.studies.study import Arrays, Cell, Settings, run_study
from wel.studies.vector_study import Drawn, VectorStudy
from wel.system.progress import Steps
from wel.system.runs import Run

DRAWS = 10  # subsets of each size
FILE = "widths.csv"


def widths(
    net: Any, images: np.ndarray, methods: Sequence[str], vectors: int, sizes: Sequence[int], layers: Sequence[str], seed: int, **kept: Any
) -> pd.DataFrame:
    """Mean width of the 99 % bootstrap interval of median |cos| over random subsets of the images, from the top start layer.

    Args:
        net, images, methods, vectors, seed: as for `wel.csc`.
        sizes: of subsets.
        layers: at which |cos| is measured.
        kept: `out`, `context` and `steps`, as for `wel.csc`.
    """
    settings = Settings(net, images, [find_method(name) for name in methods], False, seed=seed)
    study = VectorStudy(settings, Drawn(top_start(net), vectors, 2, "similarity needs pairs", 1))

    def summarise(cell: Cell, start: str, layer: str, parts: Sequence[Arrays], batches: Sequence[np.ndarray]) -> dict[str, Any]:
        if net.shown(layer) not in layers:
            return {}
        counts = [CosineCounts.from_arrays(part).numbered(image) for part, image in zip(parts, batches)]
        return {**study.layer_row(cell, start, layer), "widths": {size: _width(counts, size, seed) for size in sizes}}

    def make(run: Run) -> pd.DataFrame:
        found = study.rows(run, kept["steps"] or Steps(), Cosines(), _arrays, summarise)
        entries = [entry for several in found.values() for entry in several if entry]
        rows = [{**entry, "images": int(size), "width": width} for entry in entries for size, width in entry.pop("widths").items()]
        run.write_table(FILE, pd.DataFrame(rows))
        run.finish(skipped=study.skipped)
        return pd.DataFrame(rows)

    request = {"study": "widths", **study.record(), "sizes": list(sizes), "layers": list(layers)}
    return run_study(kept["out"], request, kept["context"], make, lambda run: run.read_table(FILE))


def _arrays(counted: Counted) -> dict[str, np.ndarray]:
    return counted.counts.to_arrays()


def _width(counts: Sequence[CosineCounts], size: int, seed: int) -> float:
    """The mean over subsets of that many images."""
    random = np.random.default_rng(seed)
    subsets = [random.choice(len(counts), size, replace=False) for _ in range(DRAWS)]
    found = [CosineCounts.merged([counts[index] for index in subset]).summary(seed) for subset in subsets]
    return float(np.mean([summary["ci_high"] - summary["ci_low"] for summary in found]))
