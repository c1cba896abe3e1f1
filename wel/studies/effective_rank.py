"""Effective rank: how many dimensions are left of random relevances injected at a layer, on their way down?"""

from __future__ import annotations

from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import Any, Mapping, Sequence

import numpy as np
import pandas as pd

from wel.backends.request import Precision
from wel.errors import invalid
from wel.measures.participation import Participation, Ratios
from wel.methods.composites import flow_of, rules_for
from wel.methods.registry import Names, choose_methods
from wel.networks.network import Network
from wel.studies.study import Arrays, Cell, Settings, run_study
from wel.studies.vector_study import Drawn, VectorStudy
from wel.system.progress import Steps
from wel.system.runs import Run

VECTORS = 16  # a relative error of about 2/16 for one image and location, less for medians over them


@dataclass(frozen=True)
class EffectiveRankResult:
    """What the study found.

    Attributes:
        table: one row per method, semantics, start layer and layer. `rank_location` is the median over images of the median over
            feature-map locations, `rank_layer` the median over images for the whole layer, each with its standard error from the
            number of vectors. `linear` tells whether relevance up to there is a linear function of the vector; `bound_location` and
            `bound_layer` what neither rank can exceed: channels, resp. size of the layer, and if linear the start layer's size.
            `undefined` is the share of locations, over all images, at which fewer than two vectors leave relevance other than zero.
        skipped: methods of "all" that do not apply to the network, and why.
    """

    table: pd.DataFrame
    skipped: dict[str, str] = field(default_factory=dict)


def effective_rank(
    net: Network,
    images: np.ndarray,
    methods: Names = "all",
    start: Sequence[str] | str | None = None,
    vectors: int | Mapping[str, np.ndarray] = VECTORS,
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
) -> EffectiveRankResult:
    """Measures the effective rank of the chain of matrices that takes relevance from a start layer down to each layer below it.

    It is the participation ratio p = tr(S)² / tr(S²) of S = E[R Rᵀ] for the results R of vectors v ~ N(0, I), by an estimate that V
    does not limit (`wel.measures.participation`): per feature-map location, R in R^channels, as CSC has it, and for the whole
    layer. p = 1: the paper's rank-1 matrix C = cγᵀ. Where a method is linear, R = Jv, p is the effective rank of J; where it is not
    (`linear`), it is an effective dimension of the results, and nothing is said about a matrix.

    Standard errors are from the jackknife over vectors, one left out for all images at once, so they cover the choice of the
    vectors, not that of the images. They err on the large side, by √2 where the spectrum is flat (Efron & Stein 1981), and by more than
    the estimate's bias.
    float32 relevance ends at p − 1 of about 1e-14.

    Args:
        net, images, methods, start, options, dtype, batch_size, memory, context, steps, client: as for `wel.csc`.
        vectors: how many random vectors per image, at least 3, or the vectors themselves, {start layer: (n, V, *shape)}; of a seed
            the first five are those of `wel.csc`.
        seed: of the random vectors.
        backend: "native"; the others do not compute it.
        semantics: "paper", "corrected" or "both".
        out: run directory; nothing is written without it.

    Raises:
        WelError: for anything in the arguments that cannot be used.
    """
    if backend != "native":
        raise invalid("backend", backend, "'native', the only one that computes effective ranks")
    chosen = choose_methods(methods)
    settings = Settings(net, images, chosen, methods == "all", semantics, backend, options, seed, Precision(dtype, memory), client)
    study = VectorStudy(settings, Drawn(start, vectors, 3, "the error takes pairs without one of them", batch_size))

    def make(run: Run) -> EffectiveRankResult:
        found = study.rows(run, steps or Steps(), Participation(), _kept, partial(_summary, study))
        result = EffectiveRankResult(pd.DataFrame([row for several in found.values() for row in several]), study.skipped)
        run.write_table("effective_rank.csv", result.table)
        run.finish(skipped=result.skipped)
        return result

    return run_study(out, {"study": "effective-rank", **study.record()}, context, make, _read)


def jackknife(values: np.ndarray) -> tuple[float, float]:
    """A median over images and its standard error from the number of vectors, √((V−1)/V Σ(θ_v − θ̄)²).

    values: (images, 1 + V): a number from all vectors, then from all but the first, the second, …; NaN is dropped.
    """
    estimate, *without = median(values)
    with np.errstate(invalid="ignore"):  # infinite ones have no spread
        return float(estimate), float(np.std(without) * np.sqrt(len(without) - 1))


def median(values: np.ndarray) -> np.ndarray:
    """The median over the last axis but one, NaN dropped; NaN where nothing else is."""
    ordered = np.sort(values, axis=-2)  # NaN last
    count = np.sum(~np.isnan(values), axis=-2, keepdims=True)
    middle = [np.take_along_axis(ordered, rank, axis=-2) for rank in (np.maximum(count - 1, 0) // 2, count // 2)]
    return np.squeeze((middle[0] + middle[1]) / 2, axis=-2)


def _kept(ratios: Ratios) -> dict[str, Any]:
    undefined = np.isnan(ratios.locations[..., 0]).mean(axis=1)
    return {"location": median(ratios.locations), "layer": np.asarray(ratios.layer), "undefined": undefined}


def _summary(
    study: VectorStudy, cell: Cell, start: str, layer: str, parts: Sequence[Arrays], batches: Sequence[np.ndarray]
) -> dict[str, Any]:
    order = np.argsort(np.concatenate(batches))
    found = {name: np.concatenate([part[name] for part in parts])[order] for name in parts[0]}
    shape, linear = study.net.graph[layer].shape, _is_linear(study, cell, start, layer)
    most = int(np.prod(study.net.graph[start].shape)) if linear else np.inf
    location, location_error = jackknife(found["location"])
    whole, whole_error = jackknife(found["layer"])
    return {
        **study.layer_row(cell, start, layer),
        "linear": linear,
        "rank_location": location,
        "rank_location_error": location_error,
        "rank_layer": whole,
        "rank_layer_error": whole_error,
        "bound_location": int(min(shape[-1], most)),
        "bound_layer": int(min(np.prod(shape), most)),
        "undefined": float(found["undefined"].mean()),
    }


def _is_linear(study: VectorStudy, cell: Cell, start: str, layer: str) -> bool:
    """Whether what comes from a start layer down to a layer is a linear function of the vector."""
    graph, request = study.net.graph, study.requests[cell]
    rules = rules_for(graph, cell.method.key, cell.semantics, request.options)
    _, bottlenecks = flow_of(graph, cell.method.key, cell.semantics)
    between = graph.names[graph.index(layer) : graph.index(start) + 1]
    # a rule acts below its node, a bottleneck on what comes to it from above
    return bottlenecks.isdisjoint(between[:-1]) and all(rule.linear for name in between[1:] for _, rule in rules[name])


def _read(run: Run) -> EffectiveRankResult:
    return EffectiveRankResult(run.read_table("effective_rank.csv"), run.record["context"]["skipped"])
