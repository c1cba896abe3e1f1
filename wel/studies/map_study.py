"""What random logit and cascading randomisation share: maps as functions, how alike two maps are, and the median of that over images."""

from __future__ import annotations

import tempfile
from dataclasses import dataclass, field
from numbers import Integral
from pathlib import Path
from typing import Any, Callable, Iterable, Iterator, NamedTuple, Sequence

import numpy as np
import pandas as pd

from wel.backends import check_applies, find_backend
from wel.errors import UnsupportedError, WelError, check_whole, invalid
from wel.measures.similarity import SSIM_WINDOW, similarity
from wel.methods.options import described, settle_options
from wel.methods.patterns import with_patterns
from wel.methods.registry import PAPER_MAPS, Method, chosen_semantics, find_method
from wel.networks.network import Network, classes_told
from wel.studies.maps import attribution
from wel.system.progress import Steps
from wel.system.runs import Run

TEXT_COLUMNS = ("model", "method", "semantics", "backend", "stage", "class_from")
# (network, images (n, *input shape), classes (n,)) -> maps (n, *input shape)
Explainer = Callable[[Network, np.ndarray, np.ndarray], np.ndarray]
# two such stacks of maps -> how alike they are, (n,)
Comparison = Callable[[np.ndarray, np.ndarray], np.ndarray]
# what was measured of a cell: its parts, and the SSIM of every image, (n,)
Found = tuple["Cell", dict[str, np.ndarray]]


@dataclass(frozen=True)
class SanityResult:
    """What a study of maps found.

    Attributes:
        table: one row per method and semantics (and stage); statistics of the SSIM over images as columns.
        images: one row per row of `table` and image: classes and SSIM.
        skipped: methods of "all" that do not apply to the network, and why.
    """

    table: pd.DataFrame
    images: pd.DataFrame
    skipped: dict[str, str] = field(default_factory=dict)


class Cell(NamedTuple):
    """A method under one semantics."""

    method: Method
    semantics: str


class Classes(NamedTuple):
    """The true class of every image, and whether a "label" or the "prediction" says so; both (n,)."""

    index: np.ndarray
    known_from: np.ndarray


def choose_map_methods(names: str | Iterable[str]) -> list[Method]:
    """The methods that were asked for, "all" of the paper's figure 2 or by name, in the order asked for, each once.

    Raises:
        WelError: for an unknown name, or when none is given.
    """
    names = PAPER_MAPS if names == "all" else ([names] if isinstance(names, str) else list(names))
    if not names:
        raise invalid("methods", names, "'all' or one or more methods")
    return [find_method(name, maps=True) for name in dict.fromkeys(names)]


def true_classes(net: Network, images: np.ndarray, given: Sequence[int | None] | None) -> Classes:
    """The class of each image, a logit: the given one, and the top-1 prediction where it is None.

    A network with one logit tells two classes apart, but its labels 0 and 1 name no logit: then every class is 0, from "prediction".

    Raises:
        WelError: for classes that the network does not have, or a network whose output is not one vector of logits.
    """
    shape = net.output_shape
    if len(shape) != 1:
        raise WelError(f"Invalid value for `net`: its output has shape {shape}. Expected one vector of logits.")
    given, told = [None] * len(images) if given is None else list(given), classes_told(shape[0])
    fits = all(one is None or isinstance(one, Integral) and 0 <= one < told for one in given)
    if len(given) != len(images) or not fits:
        raise invalid("classes", given, f"{len(images)} whole numbers from 0 to {told - 1}, or None where the class is not known")
    if shape[0] == 1:
        given = [None] * len(images)
    predicted = net.model.predict(images, verbose=0).argmax(axis=1) if None in given else given
    index = np.array([top if one is None else one for one, top in zip(given, predicted)], dtype="int64")
    return Classes(index, np.array(["prediction" if one is None else "label" for one in given]))


class MapStudy:
    """The settings of a study of maps, checked, and what follows from them for each method.

    Attributes:
        cells: what is to be computed.
        skipped: methods that the backend cannot compute for this network, and why.
    """

    def __init__(self, net, images, classes, methods, seed, backend, semantics, options):
        _check(net, seed, backend, semantics)
        chosen = choose_map_methods(methods)
        self.net, self.seed, self.backend, self.options = net, seed, backend, options or {}
        for name in self.options:
            find_method(name, maps=True)
        self.images = net.checked_images(images)
        self.leave_out = methods == "all"
        self._settled: dict[str, dict] = {}
        unsupported = self._unsupported(chosen)
        self.cells = [Cell(method, one) for method in chosen if method.name not in unsupported for one in chosen_semantics(semantics)]
        if unsupported and not (self.leave_out and self.cells):
            raise next(iter(unsupported.values()))
        self.skipped = {name: error.reason for name, error in unsupported.items()}
        self.classes = true_classes(net, self.images, classes)

    def request(self) -> dict[str, Any]:
        """What decides the numbers."""
        return {
            "model": self.net.name,
            "weights_sha256": self.net.weights_hash(),
            "methods": {cell.method.name: described(self._settled[cell.method.name]) for cell in self.cells},
            "semantics": list(dict.fromkeys(cell.semantics for cell in self.cells)),
            "images": len(self.images),
            **described({"images_sha256": self.images}),
            "classes": self.classes.index.tolist(),
            "classes_from": self.classes.known_from.tolist(),
            "seed": int(self.seed),
            "backend": self.backend,
        }

    def explainer(self, cell: Cell) -> Explainer:
        """The method as a function; what it takes from the images or as patterns is settled once, for all images and all weights."""

        def explain(net: Network, images: np.ndarray, classes: np.ndarray) -> np.ndarray:
            settled = self._settled[cell.method.name]
            return attribution(net, cell.method.name, images, classes, self.backend, cell.semantics, self.seed, **settled)

        return explain

    def comparison(self, cell: Cell) -> Comparison:
        """SSIM as the paper takes it for the method's maps."""
        return lambda one, other: similarity(one, other, cell.method.reduction, cell.method.map_percentile, cell.semantics)

    def row(self, cell: Cell) -> dict[str, str]:
        """The columns that say what a row is of."""
        backend = find_backend(self.backend, cell.method).name
        return {"model": self.net.name, "method": cell.method.name, "semantics": cell.semantics, "backend": backend}

    def rows_of_images(self, key: dict[str, str], values: np.ndarray, **more: Any) -> pd.DataFrame:
        """One row per image: `key`, what all of them share; the image's index and class; `more`; and its SSIM."""
        image = {"image": np.arange(len(self.images)), "true_class": self.classes.index, "class_from": self.classes.known_from}
        return pd.DataFrame({**key, **image, **more, "ssim": values})

    def run(
        self,
        name: str,
        request: dict[str, Any],
        parts: Sequence[str],
        compute: Callable[[Cell, Sequence[str]], Iterator[tuple[str, np.ndarray]]],
        tables: Callable[[Sequence[Found]], tuple[pd.DataFrame, pd.DataFrame]],
        out: Path | None,
        context: dict[str, Any] | None,
        steps: Steps | None,
    ) -> SanityResult:
        """Computes what a run directory does not hold yet, and writes `<name>.csv` and `<name>_images.csv`.

        Args:
            name: of the study, as its files are called.
            request: what decides the numbers beside `self.request()`.
            parts: what every cell consists of.
            compute: function (cell, parts that are missing) -> pairs (part, SSIM per image).
            tables: function (what was measured) -> `table` and `images` of the result.
            out, context, steps: as for the study.
        """
        with tempfile.TemporaryDirectory() as scratch:
            run = Run(Path(out or Path(scratch) / "run"), {"study": name, **self.request(), **request}, context or {})
            if run.finished:
                return _read(run, name)
            found = self._measured(run, parts, compute, steps or Steps())
            table, images = tables([(cell, values) for cell, values in found if cell.method.name not in self.skipped])
            run.write_table(f"{name}.csv", table)
            run.write_table(f"{name}_images.csv", images)
            run.finish(skipped=self.skipped)
        return SanityResult(table, images, self.skipped)

    def _measured(self, run: Run, parts, compute, steps: Steps) -> list[Found]:
        steps.start(len(self.cells) * len(parts))
        found: list[Found] = []
        for position, cell in enumerate(self.cells):
            keys = {part: f"cell{position:04d}-{i:04d}" for i, part in enumerate(parts)}
            kept = {part: run.load_json(key) for part, key in keys.items()}
            done = {part: np.array(values, "float64") for part, values in kept.items() if values is not None}
            found.append((cell, done))
            steps.advance(len(done), cell.method.label)
            try:
                for part, values in compute(cell, [part for part in parts if part not in done]):
                    run.save_json(keys[part], values.tolist())
                    done[part] = values
                    steps.advance(1, cell.method.label, self.net.shown(part))
            except UnsupportedError as error:  # what only the package itself can tell
                if not self.leave_out:
                    raise
                self.skipped[cell.method.name] = error.reason
                steps.advance(len(parts) - len(done))
        if set(self.skipped) >= {cell.method.name for cell in self.cells}:
            raise UnsupportedError(next(iter(self.skipped.values())))
        return found

    def _unsupported(self, methods: Iterable[Method]) -> dict[str, UnsupportedError]:
        refused = {}
        for method in methods:
            try:
                check_applies(method, self.backend, self.net.graph)
                given = with_patterns(self.net, method, dict(self.options.get(method.name, {})))
                self._settled[method.name] = settle_options(method, given, self.images)
            except UnsupportedError as error:
                refused[method.name] = error
        return refused


def _check(net: Network, seed: int, backend: str, semantics: str) -> None:
    check_whole("seed", seed, 0)
    if backend == "original" and "corrected" in chosen_semantics(semantics):
        raise invalid("semantics", semantics, "'paper', the only one that the original stack computes")
    if len(net.input_shape) != 3 or min(net.input_shape[:2]) < SSIM_WINDOW:
        message = f"Invalid value for `model`: '{net.name}' takes inputs of shape {net.input_shape}."
        raise WelError(f"{message} Expected (height, width, channels) of {SSIM_WINDOW} × {SSIM_WINDOW} or more, for SSIM.")


def _read(run: Run, name: str) -> SanityResult:
    table, images = (run.read_table(file, TEXT_COLUMNS) for file in (f"{name}.csv", f"{name}_images.csv"))
    return SanityResult(table, images, run.record["context"].get("skipped", {}))
