"""Are two sets of numbers the same? One backend against another, or against a file of reference numbers."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Iterable, Sequence

import numpy as np
import pandas as pd

from wel.backends import check_backend, find_backend
from wel.backends.request import Request, relevance_at
from wel.errors import UnsupportedError, WelError, invalid, one_of
from wel.measures.cosine import pairwise_abs_cosine
from wel.measures.vectors import random_vectors
from wel.methods.options import settle_options
from wel.methods.registry import Method, check_semantics, choose_methods, find_method
from wel.networks.network import Network
from wel.studies.reference import Reference
from wel.studies.study import settled_options
from wel.system.progress import Steps


@dataclass(frozen=True)
class Verification:
    """What was compared.

    Attributes:
        table: one row per method, start layer and layer: relative L2 difference, CSC medians, tolerances, verdict.
        left_out: (method, backend) pairs that cannot be computed, and why.
    """

    table: pd.DataFrame
    left_out: dict[tuple[str, str], str]

    @property
    def passed(self) -> bool:
        """Whether every row is within its tolerance."""
        return bool(self.table["passed"].all())


def verify(
    net: Network,
    images: np.ndarray | None = None,
    methods: str | Iterable[str] = "all",
    start: Sequence[str] | str | None = None,
    vectors: int = 3,
    seed: int = 0,
    backends: Sequence[str] = ("native", "wrapped"),
    semantics: str = "paper",
    original: Path | None = None,
    save: Path | None = None,
    steps: Steps | None = None,
) -> Verification:
    """Compares relevances: ‖a − b‖ / ‖b‖ at every layer below every start layer, and the difference of the CSC medians.

    b is the file `original` if one is given (images, vectors, options and start layers are then the file's), else what the
    last of the backends computes. NaN equals NaN. `zero_mismatches` counts entries that are exactly zero in b only: where
    two stacks round a pre-activation to different sides of 0, a ReLU's mask flips, and a gradient with it.

    Args:
        net: from `wel.load`.
        images: (n, *input shape), as the network takes them.
        methods: "all" or names.
        start: start layers; the paper's for networks of the zoo, else the output.
        vectors: random vectors per image.
        seed: of the vectors.
        backends: who computes.
        semantics: "paper" or "corrected".
        original: file of reference numbers.
        save: where to write the first backend's numbers as such a file.
        steps: is told of progress.

    Raises:
        WelError: for anything in the arguments that cannot be used, and for a file that comes from other weights.
    """
    check_semantics(semantics)
    if not backends or (original is None and save is None and len(backends) < 2):
        raise invalid("backends", ",".join(backends), "two backends, or one and a file of reference numbers")
    for name in backends:
        check_backend(name)
    if original is not None:
        reference = Reference.load(Path(original))
        reference.check(net)
        jobs = _jobs_of_file(net, reference, methods)
    else:
        jobs = _jobs(net, net.checked_images(images), methods, start, vectors, seed, semantics)
        reference = None
    steps = steps or Steps()
    steps.start(len(jobs))
    return _compare(net, jobs, list(backends), reference, save, steps)


@dataclass(frozen=True)
class _Job:
    request: Request
    start: str
    images: np.ndarray
    vectors: np.ndarray
    at: tuple[str, ...]


def _jobs(net, images, methods, start, vectors, seed, semantics) -> list[_Job]:
    jobs = []
    for method in choose_methods(methods):
        try:
            options = settled_options(net, method, {}, images)
        except UnsupportedError:
            if methods != "all":
                raise
            continue
        request = Request(method, semantics, options)
        for name in net.start_layers(start):
            drawn = random_vectors(seed, name, range(len(images)), vectors, net.graph[name].shape)
            jobs.append(_Job(request, name, images, drawn, tuple(net.graph.below(name))))
    return jobs


def _jobs_of_file(net, reference: Reference, methods) -> list[_Job]:
    wanted = None if methods == "all" else {method.name for method in choose_methods(methods)}
    jobs = [
        _Job(
            Request(find_method(method), reference.semantics, _options(method, reference)),
            net.find(start, "start"),
            reference.images,
            reference.vectors[start],
            tuple(reference.layers(method, start)),
        )
        for method, start in reference.pairs
        if wanted is None or method in wanted
    ]
    if not jobs:
        raise invalid("methods", methods, f"{one_of(sorted({method for method, _ in reference.pairs}))}, which the file holds")
    return jobs


def _options(method: str, reference: Reference) -> dict:
    return settle_options(find_method(method), reference.options.get(method, {}), reference.images)


def _compare(net, jobs, backends, reference, save, steps) -> Verification:
    rows, left_out, kept = [], {}, {}
    opened: dict[str, object] = {}
    for job in jobs:
        method = job.request.method
        read = {name: _read(net, method, name, job, opened, left_out) for name in backends if (method.name, name) not in left_out}
        read = {name: found for name, found in read.items() if found is not None}
        if save is not None and backends[0] in read:
            kept.update({(method.name, job.start, layer): array for layer, array in read[backends[0]].items()})
        rows += _rows(net, job, method, read, reference)
        steps.advance(1, method.label, net.shown(job.start))
    if save is not None:
        _saved(net, jobs, kept, backends[0]).save(Path(save))
    return Verification(pd.DataFrame(rows, columns=COLUMNS), left_out)


def _read(net, method: Method, name: str, job: _Job, opened: dict, left_out: dict) -> dict[str, np.ndarray] | None:
    try:
        backend = find_backend(name, method)
        if backend.name not in opened:
            opened[backend.name] = backend.open(net)
        return relevance_at(opened[backend.name], job.request, job.images, job.start, job.vectors, job.at)
    except UnsupportedError as error:
        left_out[(method.name, name)] = str(error)
        return None


COLUMNS = (
    "model, method, semantics, start, layer, layer_index, backend, reference, relative_l2, csc_median, reference_csc_median, "
    "csc_difference, nan_mismatches, zero_mismatches, tolerance_l2, tolerance_csc, passed"
).split(", ")


def _rows(net, job: _Job, method: Method, read: dict[str, dict[str, np.ndarray]], reference: Reference | None) -> list[dict]:
    names = list(read)
    if reference is None:
        if len(names) < 2:
            return []
        against, known = names[-1], read[names[-1]]
        names = names[:-1]
    else:
        against, known = "file", {layer: reference.relevance[(method.name, job.start, layer)] for layer in job.at}
    return [
        {
            "model": net.name,
            "method": method.name,
            "semantics": job.request.semantics,
            "start": net.shown(job.start),
            "layer": net.shown(layer),
            "layer_index": net.graph.index(layer),
            "backend": name,
            "reference": against,
            **_difference(read[name][layer], known[layer], method),
        }
        for name in names
        for layer in job.at
    ]


def _difference(found: np.ndarray, known: np.ndarray, method: Method) -> dict:
    nan = int((np.isfinite(found) != np.isfinite(known)).sum())
    zero = int(((known == 0) & (found != 0)).sum())
    l2 = relative_l2(found, known)
    medians = csc_median(found), csc_median(known)
    apart = 0.0 if np.isnan(medians).all() else abs(medians[0] - medians[1])
    tolerance = method.tolerance
    close = (tolerance.l2 is None or l2 <= tolerance.l2) and apart <= tolerance.csc
    return {
        "relative_l2": l2,
        "csc_median": medians[0],
        "reference_csc_median": medians[1],
        "csc_difference": apart,
        "nan_mismatches": nan,
        "zero_mismatches": zero,
        "tolerance_l2": np.nan if tolerance.l2 is None else tolerance.l2,
        "tolerance_csc": tolerance.csc,
        "passed": bool(close and nan == 0),
    }


def relative_l2(found: np.ndarray, known: np.ndarray) -> float:
    """‖found − known‖ / ‖known‖ over the entries that are finite in both, in float64; 0 if both are zero."""
    both = np.isfinite(found) & np.isfinite(known)
    a, b = found[both].astype("float64"), known[both].astype("float64")
    apart, size = np.linalg.norm(a - b), np.linalg.norm(b)
    return float(apart / size) if size else float(apart)


def csc_median(relevance: np.ndarray) -> float:
    """Median |cos| over images, locations and pairs of relevances (n, V, *shape); NaN where there is none."""
    cosines = np.concatenate([pairwise_abs_cosine(one).ravel() for one in relevance])
    cosines = cosines[~np.isnan(cosines)]
    return float(np.median(cosines)) if len(cosines) else float("nan")


def _saved(net, jobs: list[_Job], kept: dict, backend: str) -> Reference:
    if not kept:
        raise WelError("Nothing to save: none of the methods can be computed for this network.")
    images = jobs[0].images
    return Reference(
        images=images,
        logits=net.logits(images),
        vectors={job.start: job.vectors for job in jobs},
        weights=net.weight_hashes(),
        relevance=kept,
        options={job.request.method.name: dict(job.request.options) for job in jobs},
        semantics=jobs[0].request.semantics,
        made_by=backend,
    )
