"""Cosine similarity convergence (CSC): do random relevances injected at a layer become parallel on their way down?"""

from __future__ import annotations

import hashlib
import tempfile
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Iterable, Mapping, NamedTuple, Sequence

import numpy as np
import pandas as pd

from wel.backends import check_applies, find_backend
from wel.backends.request import DTYPES, Precision, Request
from wel.errors import UnsupportedError, check_whole, invalid, one_of
from wel.measures.cosine import chance_level
from wel.measures.counts import HISTOGRAM_EDGES, CosineCounts
from wel.measures.vectors import random_vectors
from wel.methods.options import described, settle_options
from wel.methods.patterns import with_patterns
from wel.methods.registry import Method, choose_methods, chosen_semantics
from wel.networks.network import Network
from wel.system.progress import Steps
from wel.system.runs import Run


class Cell(NamedTuple):
    """What is computed together: a method under one semantics, from all start layers."""

    method: Method
    semantics: str


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
    methods: str | Iterable[str] = "all",
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
        memory: bytes that a batch may take, by default a part of what is free.
        out: run directory; nothing is written without it.
        context: kept in `run.json` beside the settings.
        steps: is told of progress, (method × start layer × image) steps in all.

    Raises:
        WelError: for anything in the arguments that cannot be used.
    """
    images = net.checked_images(images)
    study = CosineStudy(net, images, start, vectors, seed, backend, options or {}, Precision(dtype, memory), batch_size)
    cells = study.cells(choose_methods(methods), semantics)
    skipped = study.left_out(cells, methods == "all")
    cells = [cell for cell in cells if cell.method.name not in skipped]
    request = {"study": "csc", **study.request(cells)}
    with tempfile.TemporaryDirectory() as scratch:
        run = Run(Path(out or Path(scratch) / "run"), request, context or {})
        if run.finished:
            return _read(run)
        result = study.result(run, cells, steps or Steps(), skipped, leave_out=methods == "all")
        _write(run, result)
    return result


def _registered_rules() -> dict[str, str]:
    from wel.methods.composites import registered_rules  # imports TensorFlow

    return registered_rules()


def _named(start, vectors):
    return list(vectors) if start is None and isinstance(vectors, Mapping) else start


class CosineStudy:
    """The settings that all cells share, and how a cell is computed from them."""

    def __init__(self, net, images, start, vectors, seed, backend, options, precision, batch_size):
        self.net, self.images, self.seed, self.backend, self.options = net, images, seed, backend, options
        self.precision = precision
        self.given = {net.find(name, "vectors"): array for name, array in vectors.items()} if isinstance(vectors, Mapping) else None
        self.count = vectors if self.given is None else None
        self.starts = net.start_layers(_named(start, vectors))
        self.batch_size = batch_size
        self._opened: dict[str, Any] = {}
        self._settled: dict[str, dict] = {}
        self._check()

    def _check(self) -> None:
        if self.given is None:
            check_whole("vectors", self.count, 2, ": similarity needs pairs")
        for name, value in (("batch_size", self.batch_size), ("memory", self.precision.memory)):
            if value is not None:
                check_whole(name, value, 1)
        if self.precision.dtype not in DTYPES:
            raise invalid("dtype", self.precision.dtype, one_of(DTYPES))
        if self.precision.dtype != "float32" and self.backend != "native":
            raise invalid("dtype", self.precision.dtype, f"'float32', the only one that the backend '{self.backend}' computes in")
        check_whole("seed", self.seed, 0)

    def cells(self, methods: Sequence[Method], semantics: str) -> list[Cell]:
        wanted = chosen_semantics(semantics)
        if self.backend == "original" and "corrected" in wanted:
            raise invalid("semantics", semantics, "'paper', the only one that the original stack computes")
        for name in self.options:
            choose_methods(name)
        for start in self.starts:
            self.vectors(start, [0])
        return [Cell(method, one) for method in methods for one in wanted]

    def request(self, cells: Sequence[Cell]) -> dict[str, Any]:
        return {
            "model": self.net.name,
            "weights_sha256": self.net.weights_hash(),
            "methods": {cell.method.name: described(self.settled(cell.method)) for cell in cells},
            "start_layers": [self.net.shown(start) for start in self.starts],
            "semantics": list(dict.fromkeys(cell.semantics for cell in cells)),
            "images": len(self.images),
            "images_sha256": _sha256([self.images]),
            "vectors": int(self.count) if self.given is None else _sha256(self.given.values()),
            "seed": int(self.seed),
            "backend": self.backend,
            "dtype": self.precision.dtype,
            "registered_rules": _registered_rules() if self.backend == "native" else {},
        }

    def opened(self, method: Method):
        """The network in the hands of the method's backend, with the weights that it had when the study first asked."""
        backend = find_backend(self.backend, method)
        if backend.name not in self._opened:
            self._opened[backend.name] = backend.open(self.net, self.precision)
        return self._opened[backend.name]

    def settled(self, method: Method) -> dict:
        if method.name not in self._settled:
            given = with_patterns(self.net, method, dict(self.options.get(method.name, {})))
            self._settled[method.name] = settle_options(method, given, self.images)
        return self._settled[method.name]

    def vectors(self, start: str, images: Sequence[int]) -> np.ndarray:
        if self.given is None:
            return random_vectors(self.seed, start, images, self.count, self.net.graph[start].shape)
        if start not in self.given:
            raise invalid("vectors", list(self.given), f"vectors for the start layer '{self.net.shown(start)}' too")
        vectors = self.net.checked_vectors(self.given[start], start, len(self.images))
        if vectors.shape[1] < 2:
            raise invalid("vectors", f"{vectors.shape[1]} per image", "two or more: similarity needs pairs")
        return vectors[list(images)]

    def left_out(self, cells: Sequence[Cell], leave_out: bool) -> dict[str, str]:
        """Methods that the backend cannot compute for this network, and why.

        Raises:
            UnsupportedError: for the first of them, unless they are to be left out.
        """
        reasons = {}
        for method in {cell.method.name: cell.method for cell in cells}.values():
            try:
                check_applies(method, self.backend, self.net.graph)
                self.settled(method)
            except UnsupportedError as error:
                if not leave_out:
                    raise
                reasons[method.name] = error.reason
        return reasons

    def result(self, run: Run, cells: Sequence[Cell], steps: Steps, skipped: dict[str, str], leave_out: bool) -> CSCResult:
        steps.start(len(cells) * len(self.starts) * len(self.images))
        rows, histograms, non_finite = [], {}, {}
        for position, cell in enumerate(cells):
            try:
                done = None if cell.method.name in skipped else self.cell(run, f"cell{position:04d}", cell, steps)
            except UnsupportedError as error:  # what only the package itself can tell
                if not leave_out:
                    raise
                skipped[cell.method.name], done = error.reason, None
            if done is None:
                steps.advance(len(self.starts) * len(self.images))
                continue
            rows += done["rows"]
            for start, layer, counts, broken in done["layers"]:
                key = (cell.method.name, cell.semantics, start)
                histograms[(*key, layer)] = np.array(counts)
                if broken:
                    non_finite.setdefault(key, layer)
        return CSCResult(pd.DataFrame(rows), histograms, skipped, non_finite)

    def cell(self, run: Run, key: str, cell: Cell, steps: Steps) -> dict:
        """Rows, and the counts of every layer on the way down, from what an interrupted run has left and what is still to be done."""
        done = run.load_json(key)
        if done is not None:
            steps.advance(len(self.starts) * len(self.images))
            return done
        parts = run.load_parts(f"{key}-")
        counted = [int(image) for part in parts for image in part["done"]]
        steps.advance(len(self.starts) * len(counted), cell.method.label, cell.semantics)
        for batch in self._batches(cell, sorted(set(range(len(self.images))) - set(counted))):
            parts.append(self._part(cell, batch))
            run.save_part(f"{key}-{batch[0]:06d}", parts[-1])
            steps.advance(len(self.starts) * len(batch), cell.method.label, cell.semantics)
        done = self._summary(cell, parts)
        run.save_json(key, done)
        run.drop_parts(f"{key}-")
        return done

    def _batches(self, cell: Cell, images: list[int]) -> list[list[int]]:
        per_image = sum(self.vectors(start, [0]).shape[1] for start in self.starts)
        size = self.batch_size or self.opened(cell.method).images_at_once(per_image)
        return [images[first : first + size] for first in range(0, len(images), size)]

    def _part(self, cell: Cell, batch: list[int]) -> dict[str, np.ndarray]:
        request = Request(cell.method.name, cell.semantics, self.settled(cell.method))
        vectors = {start: self.vectors(start, batch) for start in self.starts}
        found = self.opened(cell.method).cosines(request, self.images[batch], vectors, batch)
        arrays = {"done": np.array(batch)}
        for (start, layer), (counts, broken) in found.items():
            prefix = self._prefix(start, layer)
            arrays[f"{prefix}broken"] = np.array(broken)
            arrays.update({prefix + name: array for name, array in counts.to_arrays().items()})
        return arrays

    def _prefix(self, start: str, layer: str) -> str:
        return f"{self.net.graph.index(start)}/{self.net.graph.index(layer)}/"

    def _summary(self, cell: Cell, parts: list[dict[str, np.ndarray]]) -> dict:
        rows, layers = [], []
        for start in self.starts:
            for layer in reversed(self.net.graph.below(start)):
                several = [stripped(part, self._prefix(start, layer)) for part in parts]
                counts = CosineCounts.merged(map(CosineCounts.from_arrays, several))
                rows.append({**self._row(cell, start, layer), **counts.summary(self.seed), **self._chance(layer)})
                broken = int(sum(part["broken"] for part in several))
                layers.append((self.net.shown(start), self.net.shown(layer), counts.histogram().tolist(), broken))
        return {"rows": rows, "layers": layers}

    def _row(self, cell: Cell, start: str, layer: str) -> dict[str, Any]:
        return {
            "model": self.net.name,
            "method": cell.method.name,
            "semantics": cell.semantics,
            "backend": find_backend(self.backend, cell.method).name,
            "start": self.net.shown(start),
            "layer": self.net.shown(layer),
            "layer_index": self.net.graph.index(layer),
            "channels": self.net.graph[layer].shape[-1],
            "images": len(self.images),
            "vectors": self.vectors(start, [0]).shape[1],
        }

    def _chance(self, layer: str) -> dict[str, float]:
        return {"baseline": chance_level(self.net.graph[layer].shape[-1])}


def _sha256(arrays: Iterable[np.ndarray]) -> str:
    digest = hashlib.sha256()
    for array in arrays:
        digest.update(np.ascontiguousarray(array, dtype="float32").tobytes())
    return digest.hexdigest()


def stripped(arrays: dict[str, np.ndarray], prefix: str) -> dict[str, np.ndarray]:
    return {key[len(prefix) :]: array for key, array in arrays.items() if key.startswith(prefix)}


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
