"""Units of work computed by the workers of a dask.distributed cluster.

The study keeps its run directory and all that follows from the pieces; workers compute their arrays. The network and what is asked of it
go to every worker once, also to one that joins or is started anew; images travel with the units.
"""

from __future__ import annotations

import shutil
import uuid
from collections import Counter
from contextlib import contextmanager
from pathlib import Path
from threading import Lock
from typing import TYPE_CHECKING, Any, Callable, Dict, Iterable, Iterator, List, Mapping, NamedTuple, Sequence

import numpy as np

from wel.backends.native.memory import batch_memory, within_memory
from wel.backends.request import Precision, Request
from wel.errors import UnsupportedError, WelError
from wel.methods.composites import registered_rules
from wel.methods.registry import Method
from wel.networks.packing import Packed, opened_again, packed
from wel.studies.units import Arrays, Cell, Compute, Opening, Unit, Work
from wel.system.cluster import TRIES, answers, cannot_keep, check_alike, check_workers, everywhere, facts, submitted, told_of, why_failed
from wel.system.progress import Steps
from wel.system.runs import Run

if TYPE_CHECKING:
    from wel.studies.study import Study

KEPT_NETWORKS = 2  # by a worker
PART = 16_000_000  # bytes of a network that are sent at once
LISTED = 3  # units that failed, in an error


class Asked(NamedTuple):
    """What is asked for in a cell: a request, by the names of what a worker has too.

    Attributes:
        backend, precision: who computes, and how.
        method, semantics, options: of the request.
    """

    backend: str
    precision: Precision
    method: Method
    semantics: str
    options: Mapping[str, Any]

    @classmethod
    def of(cls, study: Study, cell: Cell) -> Asked:
        """What a study asks for in a cell."""
        return cls(study.backend, study.precision, cell.method, cell.semantics, study.requests[cell].options)

    def work(self, opening: Opening, images: np.ndarray) -> Work:
        """What a unit is computed with where the network is open."""
        request = Request(self.method, self.semantics, self.options)
        return Work(opening, request, self.backend, self.precision, images)


class Sent(NamedTuple):
    """What all units of a study have in common.

    Attributes:
        network: the network; a worker has its bytes on its disk, not in its memory.
        asked: cell -> what is asked for.
        facts: what a worker must have in common with the process that asks.
        memory: bytes that a batch may take: else a worker would have as many images in one as its own memory holds, and round otherwise.
    """

    network: Packed
    asked: Mapping[str, Asked]
    facts: Mapping[str, str]
    memory: int


def fill(
    study: Study,
    run: Run,
    steps: Steps,
    per_cell: int,
    units: Callable[[Cell, Mapping[str, Arrays]], Iterable[Unit]],
    weigh: Callable[[Arrays], int],
    cells: Sequence[Cell] | None = None,
    done_with: Callable[[Cell, Mapping[str, Arrays]], Any] | None = None,
) -> None:
    """Has the workers of a study's client compute the pieces that a run directory lacks, so that the study goes on from there as after an
    interruption.

    Args:
        study: whose cells they are; a method that cannot be had is left out, if methods stand for "all".
        run, steps, per_cell, units, weigh: as for `Study.measured`.
        cells: which; all by default.
        done_with: is called with a cell when all of its pieces are there, and with them, while workers go on with others.

    Raises:
        WelError: when a worker would compute other numbers than this process, when the network cannot be sent or the scheduler is lost;
            after all others are done, when units failed three times.
    """
    steps.tell(told_of(study.client))
    cells = study.cells if cells is None else cells
    steps.start(len(cells) * per_cell)
    done: Counter[Cell] = Counter()
    missing: List[Unit] = []
    for cell in cells:
        if run.load_json(cell.key) is not None:
            done[cell] = per_cell
        else:
            kept = run.load_parts(f"{cell.key}-")
            done[cell] = sum(map(weigh, kept.values()))
            missing += units(cell, kept)
        steps.advance(done[cell])
    for unit, answer in computed(study, missing, steps) if missing else ():
        cell = unit.cell
        if cell not in study.requests:
            continue  # refused since
        if isinstance(answer, UnsupportedError):
            study.refuse(cell, answer)
            steps.advance(per_cell - done[cell])
        else:
            whole = weigh(answer) == per_cell
            if not (done_with and whole):
                run.save_part(f"{cell.key}-{unit.name}", answer)
            steps.advance(weigh(answer), cell.method.label, cell.semantics)
            done[cell] += weigh(answer)
            if done_with and done[cell] == per_cell:
                # several pieces are not kept here until then: memory might not hold those of all cells that are under way
                done_with(cell, {unit.name: answer} if whole else run.load_parts(f"{cell.key}-"))


def computed(study: Study, units: Sequence[Unit], steps: Steps) -> Iterator[tuple[Unit, Arrays | UnsupportedError]]:
    """The arrays of every unit, or why its method cannot be had, in the order in which they are done.

    Raises:
        WelError: when a worker would compute other numbers than this process, or the network cannot be sent; at once, when the scheduler is
            lost; at the end, when units failed three times.
    """
    failed: List[tuple[Unit, BaseException]] = []
    with _sending(study) as submitted:
        for unit, answer in answers(study.client, units, submitted, steps.tell):
            if isinstance(answer, BaseException) and not isinstance(answer, WelError):
                failed.append((unit, answer))
            elif isinstance(answer, WelError) and not isinstance(answer, UnsupportedError):
                raise answer
            else:
                yield unit, answer
    if failed:
        raise _failed(failed)


@contextmanager
def _sending(study: Study) -> Iterator[Callable[[Unit], Any]]:
    """Has every worker of a study's client keep what all units need, while the block lasts; gives what submits a unit to them."""
    client, there = study.client, check_workers(study.client)
    if rules := registered_rules():
        message = f"Invalid value for `client`: workers have no rules of `wel.register_rule` ({', '.join(rules)})"
        raise WelError(f"{message}. Expected none, or no client.")
    asked = {cell.key: Asked.of(study, cell) for cell in study.cells}
    key, memory = f"wel-{uuid.uuid4().hex}", batch_memory(study.precision.memory)
    with everywhere(client, key, _keeping(key, Sent(packed(study.net), asked, there, memory))):  # whose bytes are not kept here
        yield lambda unit: submitted(client, key, computed_here, key, unit.cell.key, unit.images, unit.compute)


def _keeping(key: str, sent: Sent) -> Iterator[Any]:
    """What has a worker keep what was sent, as long as it is told to: first all but the network's bytes, then those, in parts.

    Dask copies several times what it sends on, and a large network at once would be new pages of memory each time.
    """
    from distributed import WorkerPlugin

    # nothing of what is around them here, which would travel with every one of them
    class Keeping(WorkerPlugin):
        def __init__(self, key: str, sent: Sent):
            self.key, self.sent = key, sent

        def setup(self, worker):
            keep(self.key, self.sent, Path(worker.local_directory))

        def teardown(self, worker):
            forget(self.key, Path(worker.local_directory))

    class Part(WorkerPlugin):
        def __init__(self, key: str, start: int, data: np.ndarray):
            self.key, self.start, self.data = key, start, data

        def setup(self, worker):
            keep_part(self.key, self.start, self.data, worker.address, Path(worker.local_directory))
            del self.data  # would stay in memory

    yield Keeping(key, sent._replace(network=sent.network.without_data()))
    data = sent.network.data
    for start in range(0, len(data), PART):
        yield Part(key, start, data[start : start + PART])


def keep(key: str, sent: Sent, local: Path) -> None:
    """Has a worker keep what units need beside the network's bytes.

    Several workers may be in one process, and several studies of the same network at a time.
    """
    _kept[key, local] = sent


def keep_part(key: str, start: int, data: np.ndarray, worker: str, local: Path) -> None:
    """Has a worker keep a part of the network's bytes in a folder of its local directory, or else why it cannot."""
    kept = _kept[key, local]
    if isinstance(kept, WelError):
        return
    path = local / key / kept.network.name
    try:
        path.parent.mkdir(parents=True, exist_ok=True)  # what sweeps temporary files may have swept its parents
        with open(path, "r+b" if path.exists() else "wb") as file:
            file.seek(start)
            file.write(data)
    except OSError as error:
        forget(key, local)
        _kept[key, local] = cannot_keep(worker, error)


def forget(key: str, local: Path) -> None:
    """The contrary of `keep`."""
    _kept.pop((key, local), None)
    shutil.rmtree(local / key, ignore_errors=True)


def _failed(failed: Sequence[tuple[Unit, BaseException]]) -> WelError:
    listed = []
    for unit, error in failed[:LISTED]:
        images = f" from image {int(unit.name)} on" if unit.name.isdecimal() else ""
        listed.append(f"{unit.cell.method.name} ({unit.cell.semantics}){images}, {why_failed(error)}")
    more = f"; and {len(failed) - LISTED} more" if len(failed) > LISTED else ""
    message = f"Of the units of work {len(failed)} failed {TRIES} times: {'; '.join(listed)}{more}"
    return WelError(f"{message}. The others are in the run directory, from which the same call goes on.")


# TensorFlow has the cores of a worker for one unit, also where Dask has several threads
one_at_a_time = Lock()
_kept: Dict[tuple[str, Path], Sent | WelError] = {}
_openings: Dict[str, Opening] = {}


def computed_here(key: str, cell: str, images: np.ndarray, compute: Compute) -> Arrays | WelError:
    """What a worker does with a unit: its arrays, or the error that it will always end in.

    Raises:
        WelError: when this process computes other numbers than the one that asks.
    """
    from distributed import get_worker

    local = Path(get_worker().local_directory)
    sent = _kept[key, local]
    if isinstance(sent, WelError):
        return sent
    with one_at_a_time:
        check_alike(sent.facts, facts(), "the worker that took a unit")
        try:
            with within_memory(sent.memory):
                return compute(sent.asked[cell].work(_opening(sent.network, local / key / sent.network.name), images))
        except WelError as error:
            return error


def _opening(network: Packed, path: Path) -> Opening:
    """The networks used last stay open, with what was compiled for them."""
    found = _openings.pop(network.content, None) or Opening(opened_again(network, path))
    while len(_openings) >= KEPT_NETWORKS:
        del _openings[next(iter(_openings))]
    _openings[network.content] = found
    return found
