"""What all studies share: methods settled once, backends opened once, and work that an interrupted run goes on from."""

from __future__ import annotations

import tempfile
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any, Callable, Dict, Iterable, Iterator, Mapping, NamedTuple, Sequence, TypeVar

import numpy as np

from wel.backends import find_backend
from wel.backends.request import Opened, Precision, Request
from wel.errors import UnsupportedError, check_whole, invalid
from wel.methods.layered import with_rules
from wel.methods.layers import with_layer
from wel.methods.options import described, settle_options
from wel.methods.patterns import with_patterns
from wel.methods.registry import Method, chosen_semantics, find_method
from wel.networks.network import Network
from wel.studies.units import Arrays, Cell, Opening, Unit, Work, computed_by
from wel.system.cluster import check_client
from wel.system.progress import Steps
from wel.system.runs import Run

Result = TypeVar("Result")


class Piece(NamedTuple):
    """A piece of work, as a run directory keeps it.

    Attributes:
        name: its own within the cell.
        arrays: what was computed.
        words: of what, for the progress bar.
        told: how many of its steps the bar knows of already.
    """

    name: str
    arrays: Arrays
    words: tuple[str, ...] = ()
    told: int = 0


# from the pieces that are there, by name, those that are missing
Compute = Callable[[Mapping[str, Arrays]], Iterator[Piece]]
Pieces = Dict[str, Arrays]


def one_step(arrays: Arrays) -> int:
    """How many steps a piece is worth: one."""
    return 1


def run_study(
    out: Path | None,
    request: Mapping[str, Any],
    context: Mapping[str, Any] | None,
    make: Callable[[Run], Result],
    read: Callable[[Run], Result],
) -> Result:
    """Makes a study's result in its run directory, or reads it there if it is done.

    Args:
        out: run directory; nothing is kept without it.
        request: what decides the numbers.
        context: what else is worth keeping.
        make: function (run) -> the result, which it has written.
        read: function (finished run) -> the result.

    Raises:
        WelError: when the directory cannot be written, or holds something else.
    """
    with tempfile.TemporaryDirectory() as scratch:
        run = Run(Path(out or Path(scratch) / "run"), dict(request), dict(context or {}))
        return read(run) if run.finished else make(run)


def pieces_of(
    run: Run, key: str, compute: Compute, steps: Steps, words: tuple[str, ...], weigh: Callable[[Arrays], int] = one_step
) -> Pieces:
    """The pieces of work called `key`, by name: those that an interrupted run has left, and those that `compute` gives, kept at once.

    Args:
        compute: function (pieces that are there) -> the missing ones.
        steps: is told of every piece, of the kept ones together.
        words: of what, for the progress bar.
        weigh: how many steps a piece is worth.
    """
    found: Pieces = {**run.load_parts(f"{key}-")}
    steps.advance(sum(map(weigh, found.values())), *words)
    for piece in compute(dict(found)):
        run.save_part(f"{key}-{piece.name}", piece.arrays)
        found[piece.name] = piece.arrays
        steps.advance(weigh(piece.arrays) - piece.told, *words, *piece.words)
    return found


def settled_options(net: Network, method: Method, given: Mapping[str, Any], images: np.ndarray) -> dict[str, Any]:
    """A method's options for a network and its images, with patterns as they were given, or the bundled ones, and the layer by its name.

    Raises:
        WelError: for an option that the method does not have, or a value that it cannot take.
        UnsupportedError: when patterns or a layer are needed and there are none.
    """
    return settle_options(method, with_rules(net, method, with_layer(net, method, with_patterns(net, method, dict(given)))), images)


@dataclass(frozen=True)
class Settings:
    """What a user asks every study of methods for.

    Attributes:
        net: from `wel.load`.
        images: (n, *input shape), as the network takes them.
        methods: to be studied.
        all_methods: whether they stand for "all": then what does not apply is left out.
        semantics: "paper", "corrected" or "both".
        backend: who computes.
        options: {method: {option: value}}.
        seed: of everything random.
        precision: of the backend.
        client: a `dask.distributed.Client`, whose workers compute; None where this process does.
    """

    net: Network
    images: np.ndarray
    methods: Sequence[Method]
    all_methods: bool
    semantics: str = "paper"
    backend: str = "native"
    options: Mapping[str, Mapping[str, Any]] | None = None
    seed: int = 0
    precision: Precision = Precision()
    client: Any = None


class Study:
    """Settings, checked, and what follows from them for each cell.

    Attributes:
        net, images, seed, backend, precision, client: as they were set; images as float32.
        opening: the network, as units are computed with it.
        requests: cell -> what its backend is asked for; the cells in the order of their computation.
        refused: cells that the backend cannot compute for this network, and why.
    """

    def __init__(self, settings: Settings):
        self.net, self.seed, self.backend = settings.net, settings.seed, settings.backend
        self.precision, self.client, self.leave_out = settings.precision, settings.client, settings.all_methods
        check_whole("seed", self.seed, 0)
        if self.client is not None:
            check_client(self.client)
        semantics = chosen_semantics(settings.semantics)
        if self.backend == "original" and "corrected" in semantics:
            raise invalid("semantics", settings.semantics, "'paper', the only one that the original stack computes")
        own = [method.name for method in settings.methods]
        for name in settings.options or {}:
            if name not in own:
                find_method(name, maps=True)
        self.images = self.net.checked_images(settings.images)
        self.requests: dict[Cell, Request] = {}
        self.refused: dict[Cell, str] = {}
        self.opening = Opening(self.net)
        for method in settings.methods:
            self._settle(method, semantics, (settings.options or {}).get(method.name, {}))

    @property
    def cells(self) -> list[Cell]:
        """What is to be computed."""
        return list(self.requests)

    def _settle(self, method: Method, semantics: Sequence[str], given: Mapping[str, Any]) -> None:
        options: dict[str, Any] | None = None
        for one in semantics:
            cell = Cell(method, one)
            try:
                find_backend(computed_by(self.backend, method), method).check(method, one, self.net.graph)
                options = settled_options(self.net, method, given, self.images) if options is None else options
                self.requests[cell] = Request(method, one, options)
            except UnsupportedError as error:
                self.refuse(cell, error)

    def refuse(self, cell: Cell, error: UnsupportedError) -> None:
        """Leaves a cell out, if methods stand for "all"; else raises the error."""
        if not self.leave_out:
            raise error
        self.requests.pop(cell, None)
        self.refused[cell] = error.reason

    @property
    def skipped(self) -> dict[str, str]:
        """What was left out and why: methods, or "method (semantics)" where the method is computed under the other one."""
        computed = {cell.method.name for cell in self.requests}
        shown = {
            cell: f"{cell.method.name} ({cell.semantics})" if cell.method.name in computed else cell.method.name for cell in self.refused
        }
        reasons: dict[str, str] = {}
        for cell, reason in self.refused.items():
            reasons.setdefault(shown[cell], reason)
        return reasons

    def check_any(self) -> None:
        """Raises UnsupportedError, with the first reason, when nothing is left to compute."""
        if not self.requests:
            raise UnsupportedError(next(iter(self.refused.values())))

    def opened(self, cell: Cell) -> Opened:
        """The network in the hands of the cell's backend, with the weights that it had when the study first asked."""
        return self.opening.opened(self.backend, cell.method, self.precision)

    def work(self, cell: Cell, images: np.ndarray) -> Work:
        """What a unit of a cell is computed with in this process."""
        return Work(self.opening, self.requests[cell], self.backend, self.precision, images)

    def measured(
        self,
        run: Run,
        steps: Steps,
        per_cell: int,
        units: Callable[[Cell, Mapping[str, Arrays]], Iterable[Unit]],
        weigh: Callable[[Arrays], int] = one_step,
        condense: Callable[[Cell, Pieces], Any] | None = None,
    ) -> dict[Cell, Any]:
        """Computes every cell, by the client's workers if there is one; cells that turn out to be unsupported are left out, if methods
        stand for "all".

        Args:
            run: where pieces are kept.
            steps: is told of progress, `per_cell` steps for each cell.
            units: function (cell, pieces that are there, by name) -> the missing ones.
            weigh: how many steps a piece is worth.
            condense: function (cell, all of its pieces) -> what takes their place in the run, fit for JSON; by default they stay.

        Returns:
            cell -> its pieces by name, or what was made of them.
        """
        if self.client is not None:
            from wel.studies.cluster import fill  # imports TensorFlow

            # what takes the place of pieces is much smaller
            fill(self, run, steps, per_cell, units, weigh, done_with=condense and partial(_condensed, run, condense))
            steps = Steps()
        steps.start(len(self.requests) * per_cell)
        found: dict[Cell, Any] = {}
        for cell in self.cells:
            counter = _Counted(steps)
            try:
                found[cell] = self._cell(run, counter, per_cell, cell, units, weigh, condense)
            except UnsupportedError as error:  # what only the package itself can tell
                self.refuse(cell, error)
                steps.advance(per_cell - counter.done)
        return found

    def _cell(self, run: Run, steps: Steps, per_cell: int, cell: Cell, units, weigh, condense) -> Any:
        def compute(kept: Mapping[str, Arrays]) -> Iterator[Piece]:
            for unit in units(cell, kept):
                yield Piece(unit.name, unit.compute(self.work(cell, unit.images)))

        done = run.load_json(cell.key) if condense else None
        if done is not None:
            steps.advance(per_cell)
            return done
        pieces = pieces_of(run, cell.key, compute, steps, (cell.method.label, cell.semantics), weigh)
        return _condensed(run, condense, cell, pieces) if condense else pieces

    def record(self) -> dict[str, Any]:
        """What decides the numbers of every study of methods."""
        return {
            "model": self.net.name,
            "weights_sha256": self.net.weights_hash(),
            "methods": {cell.method.name: described(request.options) for cell, request in self.requests.items()},
            "semantics": list(dict.fromkeys(cell.semantics for cell in self.requests)),
            "images": len(self.images),
            **described({"images_sha256": self.images}),
            "seed": int(self.seed),
            "backend": self.backend,
        }

    def row(self, cell: Cell) -> dict[str, str]:
        """The columns that say what a row is of."""
        backend = find_backend(computed_by(self.backend, cell.method), cell.method).name
        return {"model": self.net.name, "method": cell.method.name, "semantics": cell.semantics, "backend": backend}


def _condensed(run: Run, condense: Callable[[Cell, Pieces], Any], cell: Cell, pieces: Pieces) -> Any:
    """What takes the place of a cell's pieces in a run."""
    done = condense(cell, pieces)
    run.save_json(cell.key, done)
    run.drop_parts(f"{cell.key}-")
    return done


class _Counted(Steps):
    """Steps that know how many are done."""

    def __init__(self, steps: Steps):
        self._steps, self.done = steps, 0

    def advance(self, count: int, *words: str) -> None:
        self.done += count
        self._steps.advance(count, *words)
