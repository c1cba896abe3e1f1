"""Cosine similarity convergence (CSC): do random relevances injected at a layer become parallel on their way down?"""

from __future__ import annotations

from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import Any, Mapping, Sequence

import numpy as np
import pandas as pd

from wel.backends.request import Precision
from wel.measures.cosine import chance_level
from wel.measures.counting import Cosines, Counted
from wel.measures.counts import HISTOGRAM_EDGES, CosineCounts
from wel.methods.registry import Names, choose_methods
from wel.networks.network import Network
from wel.studies.study import Arrays, Cell, Settings, run_study
from wel.studies.vector_study import Drawn, VectorStudy
from wel.system.progress import Steps
from wel.system.runs import Run


@dataclass(frozen=True)
class CSCResult:
    """What the study found.

    Attributes:
        table: one row per method, semantics, start layer and layer; statistics of |cos| as columns.
        histograms: (method, semantics, start, layer) -> counts for `wel.measures.counts.HISTOGRAM_EDGES`.
        skipped: methods of "all" that do not apply to the network, and why.
        non_finite: (method, semantics, start) -> the first layer on the way down at which relevance is not finite.
    """

    table: pd.DataFrame
    histograms: dict[tuple[str, str, str, str], np.ndarray]
    skipped: dict[str, str] = field(default_factory=dict)
    non_finite: dict[tuple[str, str, str], str] = field(default_factory=dict)


def csc(
    net: Network,
    images: np.ndarray,
    methods: Names = "all",
    start: Sequence[str] | str | None = None,
    vectors: int | Mapping[str, np.ndarray] = 5,
    seed: int = 0,
    backend: str = "native",
    semantics: str = "paper",
    options: Mapping[str, dict] | None = None,
    dtype: str = "float32",
    batch_size: int | None = None,
    memory: int | None = None,
    out: Path | None = None,
    context: dict[str, Any] | None = None,
    steps: Steps | None = None,
    client: Any = None,
) -> CSCResult:
    """Measures CSC (Sixt et al. 2020, section 4): |cos| between relevances that began as different vectors v ~ N(0, I).

    For every image, layer and feature-map location, |cos| over the channels of each of the V(V−1)/2 pairs of results;
    pairs with a zero or non-finite result are dropped; pooled over images, locations and pairs.

    Args:
        net: from `wel.load`.
        images: (n, *input shape), as the network takes them.
        methods: "all" or names; of "all" those that apply to the network.
        start: start layers; the paper's for networks of the zoo, else the output.
        vectors: how many random vectors per image, or the vectors themselves, {start layer: (n, V, *shape)}.
        seed: of the random vectors and the bootstrap.
        backend: who computes.
        semantics: "paper", "corrected" or "both".
        options: {method: {option: value}}.
        dtype: "float32", or "float64" to resolve 1 − |cos| below 1e-14; of the native backend only.
        batch_size: images that are computed at once; sized from memory by default.
        memory: bytes that a batch may take, by default a part of what there is.
        out: run directory; nothing is written without it.
        context: kept in `run.json` beside the settings.
        steps: is told of progress, (method × start layer × image) steps in all.
        client: a `dask.distributed.Client`, whose workers compute; the numbers stay the same to the last bit.

    Raises:
        WelError: for anything in the arguments that cannot be used.
    """
    chosen = choose_methods(methods)
    settings = Settings(net, images, chosen, methods == "all", semantics, backend, options, seed, Precision(dtype, memory), client)
    study = VectorStudy(settings, Drawn(start, vectors, 2, "similarity needs pairs", batch_size))

    def make(run: Run) -> CSCResult:
        found = study.rows(run, steps or Steps(), Cosines(), _kept, partial(_summary, study))
        result = _result(study, found)
        _write(run, result)
        return result

    return run_study(out, {"study": "csc", **study.record()}, context, make, _read)


def _kept(counted: Counted) -> dict[str, np.ndarray]:
    return {"broken": np.array(counted.broken), **counted.counts.to_arrays()}


def _summary(
    study: VectorStudy, cell: Cell, start: str, layer: str, parts: Sequence[Arrays], batches: Sequence[np.ndarray]
) -> dict[str, Any]:
    """A row of the table, the counts of the histogram, and how many vectors are not finite."""
    each = [CosineCounts.from_arrays(part).numbered(images) for part, images in zip(parts, batches)]
    counts = CosineCounts.merged(each)
    baseline = chance_level(study.net.graph[layer].shape[-1])
    row = {**study.layer_row(cell, start, layer), **counts.summary(study.seed), "baseline": baseline}
    return {"row": row, "histogram": counts.histogram().tolist(), "broken": int(sum(part["broken"] for part in parts))}


def _result(study: VectorStudy, found: Mapping[Cell, list[dict[str, Any]]]) -> CSCResult:
    histograms: dict[tuple[str, str, str, str], np.ndarray] = {}
    non_finite: dict[tuple[str, str, str], str] = {}
    entries = [entry for several in found.values() for entry in several]
    for entry in entries:
        *key, layer = (entry["row"][name] for name in ("method", "semantics", "start", "layer"))
        histograms[(*key, layer)] = np.array(entry["histogram"])
        if entry["broken"]:
            non_finite.setdefault(tuple(key), layer)
    return CSCResult(pd.DataFrame([entry["row"] for entry in entries]), histograms, study.skipped, non_finite)


def _write(run: Run, result: CSCResult) -> None:
    run.write_table("csc.csv", result.table)
    run.write_table("histograms.csv", _histogram_table(result))
    run.finish(skipped=result.skipped, non_finite=[[*key, layer] for key, layer in result.non_finite.items()])


def _histogram_table(result: CSCResult) -> pd.DataFrame:
    names = ("method", "semantics", "start", "layer")
    return pd.DataFrame(
        {**dict(zip(names, key)), "low": low, "high": high, "count": int(count)}
        for key, counts in result.histograms.items()
        for low, high, count in zip(HISTOGRAM_EDGES[:-1], HISTOGRAM_EDGES[1:], counts)
    )


def _read(run: Run) -> CSCResult:
    table, counts = (run.read_table(file) for file in ("csc.csv", "histograms.csv"))
    groups = counts.groupby(["method", "semantics", "start", "layer"], sort=False)["count"]
    context = run.record["context"]
    non_finite = {tuple(key): layer for *key, layer in context["non_finite"]}
    return CSCResult(table, {key: group.to_numpy() for key, group in groups}, context["skipped"], non_finite)
