"""Units of work, a method under one semantics on a batch of images each, computed by the workers of a dask.distributed cluster.

The study keeps its run directory and all that follows from the pieces; workers compute their arrays. Networks, options and images travel by
content hash, once to every worker that needs them.
"""

from __future__ import annotations

import hashlib
import pickle
import uuid
import warnings
from collections import Counter
from threading import Lock
from typing import Any, Callable, Dict, Iterable, Iterator, List, Mapping, NamedTuple, Sequence

import numpy as np

from wel.backends import find_backend
from wel.backends.native.memory import batch_memory
from wel.backends.request import Opened, Precision, Request
from wel.errors import UnsupportedError, WelError
from wel.methods.composites import registered_rules
from wel.methods.registry import Method
from wel.networks.network import Network
from wel.networks.packing import packed, unpacked
from wel.studies.study import Arrays, Cell, Study, one_step
from wel.system.cluster import check_alike, check_workers, facts, told_of
from wel.system.progress import Steps
from wel.system.runs import Run

TRIES = 3
KEPT_NETWORKS = 2  # by a worker
LISTED = 3  # units that failed, in an error

# (network, the backend's hold on it, request, images of the batch) -> the arrays of a piece; a function that can be pickled
Compute = Callable[[Network, Opened, Request, np.ndarray], Arrays]


class Unit(NamedTuple):
    """A piece of work that a worker can do.

    Attributes:
        cell: whose piece it is.
        name: the piece's own within the cell.
        images: the batch.
        compute: what gives the piece's arrays.
    """

    cell: Cell
    name: str
    images: np.ndarray
    compute: Compute


class Asked(NamedTuple):
    """What a worker is asked for in a cell: a request, by the names of what it has too.

    Attributes:
        network: by `wel.networks.packing.identity_of`.
        backend, precision: who computes, and how.
        method, semantics, options: of the request.
    """

    network: str
    backend: str
    precision: Precision
    method: Method
    semantics: str
    options: Mapping[str, Any]

    @classmethod
    def of(cls, study: Study, cell: Cell, network: str) -> Asked:
        """What a study asks for in a cell."""
        backend, options = study.computed_by(cell.method), study.requests[cell].options
        precision = study.precision
        if backend == "native":  # else a worker would group start layers by the memory that is free there, and round otherwise
            precision = precision._replace(memory=batch_memory(precision.memory))
        return cls(network, backend, precision, cell.method, cell.semantics, options)

    @property
    def request(self) -> Request:
        """The request itself."""
        return Request(self.method, self.semantics, self.options)


class Opening:
    """A network that a worker has open, and the holds that backends have on it."""

    def __init__(self, net: Network):
        self.net = net
        self._opened: Dict[tuple, Opened] = {}

    def opened(self, asked: Asked) -> Opened:
        """The network in the hands of a backend."""
        backend = find_backend(asked.backend, asked.method)
        key = backend.name, asked.precision
        if key not in self._opened:
            self._opened[key] = backend.open(self.net, asked.precision)
        return self._opened[key]


def fill(
    study: Study,
    client: Any,
    run: Run,
    steps: Steps,
    per_cell: int,
    units: Callable[[Cell, Mapping[str, Arrays]], Iterable[Unit]],
    weigh: Callable[[Arrays], int] = one_step,
) -> None:
    """Has workers compute the pieces that a run directory lacks, so that `Study.measured` goes on from there as after an interruption.

    Args:
        study: whose cells they are; a method that cannot be had is left out, if methods stand for "all".
        client: a `dask.distributed.Client`.
        run, steps, per_cell, weigh: as for `Study.measured`.
        units: function (cell, pieces that are there, by name) -> the missing ones.

    Raises:
        WelError: when a worker would compute other numbers than this process, when the network cannot be sent or the scheduler is lost;
            after all others are done, when units failed three times.
    """
    steps.tell(told_of(client))
    steps.start(len(study.requests) * per_cell)
    done: Counter[Cell] = Counter()
    missing: List[Unit] = []
    for cell in study.cells:
        if run.load_json(cell.key) is not None:
            done[cell] = per_cell
        else:
            kept = run.load_parts(f"{cell.key}-")
            done[cell] = sum(map(weigh, kept.values()))
            missing += units(cell, kept)
        steps.advance(done[cell])
    for unit, answer in Cluster(client, study).computed(missing) if missing else ():
        cell = unit.cell
        if cell not in study.requests:
            continue  # refused since
        if isinstance(answer, UnsupportedError):
            study.refuse(cell, answer)
            steps.advance(per_cell - done[cell])
        else:
            run.save_part(f"{cell.key}-{unit.name}", answer)
            steps.advance(weigh(answer), cell.method.label, cell.semantics)
            done[cell] += weigh(answer)


class Cluster:
    """A study's network in the hands of a cluster's workers."""

    def __init__(self, client: Any, study: Study):
        """Sends the network to the workers.

        Raises:
            WelError: when a worker would compute other numbers than this process, or the network cannot be sent.
        """
        check_workers(client)
        if rules := registered_rules():
            message = f"Invalid value for `client`: workers have no rules of `wel.register_rule` ({', '.join(rules)})"
            raise WelError(f"{message}. Expected none, or no client.")
        self._client, self._facts = client, facts()
        sent = packed(study.net)
        self._network = self._held(sent)
        self._asked = {cell: self._held(Asked.of(study, cell, sent.identity)) for cell in study.cells}

    def computed(self, units: Iterable[Unit]) -> Iterator[tuple[Unit, Arrays | UnsupportedError]]:
        """The arrays of every unit, or why its method cannot be had, in the order in which they are done.

        Raises:
            WelError: at the end, when units failed three times; at once, when the scheduler is lost.
        """
        from distributed import as_completed

        units_of = {self._submitted(unit): unit for unit in units}
        failed: List[tuple[Unit, BaseException]] = []
        for future in as_completed(list(units_of)):
            unit = units_of.pop(future)
            if future.status in ("cancelled", "lost"):
                raise WelError(
                    "The scheduler of the workers is lost. What is done is in the run directory, from which the same call goes on."
                )
            answer = future.exception() or future.result()
            if isinstance(answer, BaseException) and not isinstance(answer, WelError):
                failed.append((unit, answer))
            elif isinstance(answer, WelError) and not isinstance(answer, UnsupportedError):
                raise answer
            else:
                yield unit, answer
        if failed:
            raise _failed(failed)

    def _held(self, value: Any) -> Any:
        """A value in the hands of the workers: a task that gives it, so that one which is lost with its worker is given anew."""
        data = pickle.dumps(value)
        with warnings.catch_warnings():  # of its size
            warnings.simplefilter("ignore", UserWarning)
            return self._client.submit(_given, data, key=f"wel-given-{hashlib.sha256(data).hexdigest()}")

    def _submitted(self, unit: Unit) -> Any:
        key = f"wel-{unit.cell.key}-{unit.name}-{uuid.uuid4().hex}"
        arguments = self._facts, self._network, self._asked[unit.cell], self._held(unit.images), unit.compute
        return self._client.submit(computed_here, *arguments, key=key, retries=TRIES - 1, pure=False)


def _given(data: bytes) -> bytes:
    return data


def _failed(failed: Sequence[tuple[Unit, BaseException]]) -> WelError:
    listed = []
    for unit, error in failed[:LISTED]:
        reason = (str(error).strip().splitlines() or [""])[0][:200]
        listed.append(f"{unit.cell.method.name} ({unit.cell.semantics}) from image {int(unit.name)} on, {type(error).__name__}: {reason}")
    more = f"; and {len(failed) - LISTED} more" if len(failed) > LISTED else ""
    message = f"Of the units of work {len(failed)} failed {TRIES} times: {'; '.join(listed)}{more}"
    return WelError(f"{message}. The others are in the run directory, from which the same call goes on.")


# TensorFlow has the cores of a worker for one unit, also where Dask has several threads
_one_at_a_time = Lock()
_networks: Dict[str, Opening] = {}


def computed_here(expected: Dict[str, str], network: bytes, asked: bytes, images: bytes, compute: Compute) -> Arrays | WelError:
    """What a worker does with a unit: its arrays, or the error that it will always end in.

    Raises:
        WelError: when this process computes other numbers than `wel.system.cluster.facts` told there.
    """
    check_alike(expected, facts(), "that took a unit")
    with _one_at_a_time:
        try:
            one: Asked = pickle.loads(asked)
            opening = _opening(one.network, network)
            return compute(opening.net, opening.opened(one), one.request, pickle.loads(images))
        except WelError as error:
            return error


def _opening(identity: str, network: bytes) -> Opening:
    """The networks used last stay open, with what was compiled for them."""
    found = _networks.pop(identity, None) or Opening(unpacked(pickle.loads(network)))
    while len(_networks) >= KEPT_NETWORKS:
        del _networks[next(iter(_networks))]
    _networks[identity] = found
    return found
