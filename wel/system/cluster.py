"""Workers of dask.distributed, on this machine or a scheduler's; only those that compute the same numbers as this process.

How many threads a sum is shared among is part of the numbers: with another number TensorFlow's last bits are others.
"""

from __future__ import annotations

import asyncio
import logging
import os
import signal
import struct
import sys
import time
import uuid
import warnings
from contextlib import ExitStack, contextmanager, suppress
from importlib import import_module
from importlib.metadata import version
from importlib.util import find_spec
from itertools import islice
from threading import Thread
from types import ModuleType
from typing import Any, Callable, Dict, Iterable, Iterator, TypeVar
from urllib.parse import urlsplit

from wel.errors import WelError, check_whole, first_line, invalid
from wel.system.arithmetic import ARITHMETICS, CHOICE, arithmetic
from wel.system.devices import THREADS, adding_threads, usable_cores, used_device
from wel.system.imports import quiet_tensorflow

LOOPBACK = "127.0.0.1"
SCHEDULER = "Scheduler"  # what one calls itself
PATIENCE = 30  # seconds, for a scheduler to answer
RECOUNTED = 2  # seconds, after which it is asked how many workers there are
LOOKED = 0.05  # seconds, after which it is looked for answers again
TRIES = 3  # of a thing that ends in an error
ATTEMPTS = 3  # to start workers, and to hear what they are
WAITING = 4  # things for each worker, at the scheduler; more than two, or Dask sends them on at once
LOST = "The scheduler of the workers is lost. What is done is in the run directory, from which the same call goes on."
KILLED = "the process of its worker was killed or ran out of memory, each time"
DEVICE, MIXED = "the device", "WEL_MIXED_DEVICES"
Thing = TypeVar("Thing")
# TensorFlow's memory is none that Dask could write to disk, so that a worker that waits for less of it waits for ever
CONFIGURATION = {
    "distributed.scheduler.allowed-failures": 2,
    "distributed.scheduler.worker-saturation": 1.0,
    "distributed.worker.memory.target": False,
    "distributed.worker.memory.spill": False,
    "distributed.worker.memory.pause": False,
}
# what numpy is told in workers; Dask also tells malloc to give all memory back at once, of which each new array then is new pages
WORKERS_NUMPY = dict.fromkeys(("OMP_NUM_THREADS", "MKL_NUM_THREADS", "OPENBLAS_NUM_THREADS"), 1)
# looking at a worker's stack 100 times a second, and at the clock 50 times, takes CPU time from what it computes
FASTER = {
    "distributed.nanny.pre-spawn-environ": WORKERS_NUMPY,
    "distributed.worker.profile.enabled": False,
    "distributed.admin.tick.interval": "1s",
}


@contextmanager
def connected(workers: int | None, scheduler: str | None) -> Iterator[Any]:
    """A client of so many workers on this machine, which end with the block, or of those of a scheduler; None where neither is asked for.

    What the block does before it asks workers for anything, they use to import TensorFlow.

    Args:
        workers: how many, 1 to the number of cores; they share the cores evenly, and listen on the loopback interface only.
        scheduler: its address, such as tcp://host:8786.

    Raises:
        WelError: for both, for a number or an address that cannot be used, and where dask.distributed is missing.
    """
    if workers is not None and scheduler is not None:
        raise invalid("scheduler", scheduler, "nothing beside `workers`, which are this machine's")
    with ExitStack() as stack:
        if workers is not None:
            yield stack.enter_context(_local(workers))
        elif scheduler is not None:
            yield stack.enter_context(_remote(scheduler))
        else:
            yield None


def _distributed() -> ModuleType:
    try:
        import distributed
    except ImportError as error:
        raise WelError("Workers are dask.distributed's, which is not installed. Expected: pip install 'wel[dask]'.") from error
    return distributed


@contextmanager
def _local(count: int) -> Iterator[Any]:
    cores = usable_cores()
    check_whole("workers", count, 1)
    if count > len(cores):
        raise invalid("workers", count, f"{len(cores)} at most, the cores of this machine")
    distributed = _distributed()
    import dask.config as configuration
    from distributed.gc import disable_gc_diagnosis

    chosen = {CHOICE: arithmetic()} if arithmetic() in ARITHMETICS else {}
    settings = {
        "n_workers": count,
        "threads_per_worker": 1,
        "host": LOOPBACK,
        "dashboard_address": f"{LOOPBACK}:0",
        "silence_logs": logging.CRITICAL,
        "env": {THREADS: str(adding_threads()), **chosen},
    }
    with configuration.set({**CONFIGURATION, **FASTER}), _started(distributed, settings) as cluster:
        disable_gc_diagnosis(force=True)  # in whose callback, as in every one of the garbage collector's, Ctrl-C would be lost
        with distributed.Client(cluster, direct_to_workers=True) as client:  # answers do not pass the scheduler
            client.register_plugin(_pinning(distributed, [cores[number::count] for number in range(count)]))
            yield client


def _started(distributed: ModuleType, settings: Dict[str, Any]) -> Any:
    """Processes of this machine; begun anew when one of them dies while they start."""
    for attempt in range(ATTEMPTS):
        try:
            return distributed.LocalCluster(**settings)
        except RuntimeError as error:
            if attempt == ATTEMPTS - 1:
                raise WelError(
                    f"Invalid value for `workers`: their processes do not start ({first_line(error)}). Expected fewer, or none."
                ) from error


def _pinning(distributed: ModuleType, shares: list[list[int]]) -> Any:
    """What gives every worker cores of its own, on which its threads take turns, has it import TensorFlow before it is asked for anything,
    without a word, and leaves Ctrl-C to the command."""

    class Pinned(distributed.WorkerPlugin):
        def setup(self, worker):
            signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C reaches them too, but it is the command that ends them
            quiet_tensorflow()
            for thread in os.listdir("/proc/self/task") if hasattr(os, "sched_setaffinity") else ():
                os.sched_setaffinity(int(thread), shares[int(worker.name)])
            Thread(target=import_module, args=("tensorflow",), daemon=True).start()

    return Pinned()


def _is_address(address: str) -> bool:
    try:
        parts = urlsplit(address)
        return parts.scheme in ("tcp", "tls") and bool(parts.hostname and parts.port) and address == f"{parts.scheme}://{parts.netloc}"
    except ValueError:  # of a port that is none, or half an IPv6 address
        return False


@contextmanager
def _remote(address: str) -> Iterator[Any]:
    if not _is_address(address):
        raise invalid("scheduler", address, "an address such as tcp://host:8786, or tls://host:8786")
    distributed = _distributed()
    logging.getLogger("distributed.client").setLevel(logging.CRITICAL)  # the loss of a scheduler is told in a sentence
    try:
        kind = asyncio.run(_kind_in_time(distributed, address))
        client = distributed.Client(address, timeout=PATIENCE) if kind == SCHEDULER else None
    except TypeError as error:  # what Dask raises where it lacks certificates
        raise invalid(
            "scheduler", address, "certificates in Dask's settings, such as DASK_DISTRIBUTED__COMM__TLS__CA_FILE, for tls://"
        ) from error
    except (MemoryError, struct.error) as error:  # of a length that is none
        raise invalid("scheduler", address, "the address of a scheduler of Dask; what answers there is none") from error
    except Exception as error:
        raise invalid("scheduler", address, f"the address of a scheduler of Dask that answers ({first_line(error)})") from error
    if client is None:
        raise invalid("scheduler", address, f"the address of a scheduler of Dask, not of a {kind.lower()}")
    with client:
        yield client


async def _kind(distributed: ModuleType, address: str) -> str:
    """What listens at an address, as it says itself."""
    certificates = distributed.Security().get_connection_args("client")
    there = await distributed.core.connect(address, timeout=PATIENCE, **certificates)
    try:
        return (await distributed.core.send_recv(there, op="identity"))["type"]
    finally:
        there.abort()


async def _kind_in_time(distributed: ModuleType, address: str) -> str:
    """Dask itself would wait for ever for what listens and says nothing."""
    return await asyncio.wait_for(_kind(distributed, address), PATIENCE + 1)


def check_client(client: Any) -> None:
    """Raises WelError unless it is a client of dask.distributed that is connected and waits for answers."""
    if not isinstance(client, _distributed().Client) or client.asynchronous or client.status not in ("running", "connecting"):
        raise invalid("client", client, "a dask.distributed.Client that is connected, not a closed or an asynchronous one")
    if client.status == "connecting":  # anew
        raise WelError(LOST)


def understood() -> Dict[str, str]:
    """What two processes must have in common for code of the one to run in the other; a scheduler reads the units that it hands on."""
    import wel

    return {"wel": wel.__version__, "Python": "{}.{}".format(*sys.version_info)}


def facts() -> Dict[str, str]:
    """What two processes must have in common to compute the same numbers."""
    return {
        **understood(),
        "TensorFlow": version("tensorflow"),
        "numpy": version("numpy"),
        "the arithmetic": arithmetic(),
        THREADS: str(adding_threads()),
        DEVICE: used_device().partition(" ")[0],
    }


def check_workers(client: Any) -> Dict[str, str]:
    """Refuses a cluster of which a worker computes other numbers than this process, or on another kind of device than the other workers,
    unless WEL_MIXED_DEVICES is 1; and a scheduler that cannot read units of work.

    Returns:
        What all of them, and those that come later, must have in common.

    Raises:
        WelError: naming the worker and what differs; also when there is no worker.
    """
    try:
        with _scheduler_there():
            check_alike(understood(), client.run_on_scheduler(understood), "its scheduler")
    except ImportError as error:
        raise _unable("its scheduler", error) from error
    found = _asked(client)
    if not found:
        raise WelError("Invalid value for `client`: its scheduler has no workers. Expected one or more: dask worker ADDRESS.")
    expected = {name: value for name, value in facts().items() if name != DEVICE}
    for address, there in sorted(found.items()):
        worker = f"the worker {address}"
        if isinstance(there, OSError):
            raise _unlike(worker, "dies when it is asked what it is", "one that stays: TensorFlow alone needs a --memory-limit of 1 GiB")
        if isinstance(there, BaseException):
            raise _unable(worker, there)
        if os.environ.get(MIXED) != "1":
            expected.setdefault(DEVICE, there[DEVICE])
        check_alike(expected, there, worker)
    return expected


def _asked(client: Any) -> Dict[str, Any]:
    """The facts of every worker, or the error that it answers with; one that dies meanwhile is started anew, and all are asked again."""
    for _ in range(ATTEMPTS):
        with _scheduler_there():
            found = client.run(facts, on_error="return")
        if not any(isinstance(there, OSError) for there in found.values()):
            break
        time.sleep(RECOUNTED)
    return found


def check_alike(expected: Dict[str, str], there: Dict[str, str], who: str) -> None:
    """Raises WelError when the facts of a worker, or of a scheduler, are others than expected."""
    for name, value in expected.items():
        if there.get(name) != value:
            raise _unlike(who, f"has {name} {there.get(name)}", f"{value}, as elsewhere, or the numbers would be others, or none")


def _unable(who: str, error: BaseException) -> WelError:
    return _unlike(who, f"cannot run wel ({first_line(error)})", f"wel {understood()['wel']} there")


def cannot_keep(worker: str, error: OSError) -> WelError:
    """What is said of a worker that cannot write a network to its disk."""
    return _unlike(f"the worker {worker}", f"cannot keep the network ({first_line(error)})", "a --local-directory with room for it")


def _unlike(who: str, words: str, expected: str) -> WelError:
    return WelError(f"Invalid value for `client`: {who} {words}. Expected {expected}.")


def told_of(client: Any) -> str:
    """A sentence on the workers, with the address of Dask's dashboard."""
    dashboard = f"dashboard: {client.dashboard_link}" if find_spec("bokeh") else "no dashboard of Dask's, which needs bokeh"
    return f"Workers: {count_workers(client)}; {dashboard}"


def why_failed(error: BaseException) -> str:
    """What a thing ended in on workers: the class of the exception and what it says, without Dask's own name for the thing."""
    kind = type(error).__name__
    return f"{kind}: {KILLED if kind == 'KilledWorker' else first_line(error)}"


def count_workers(client: Any) -> int:
    """How many workers a client's scheduler has now."""
    with _scheduler_there():
        return len(client.scheduler_info(n_workers=-1)["workers"])


@contextmanager
def everywhere(client: Any, key: str, plugins: Iterable[Any]) -> Iterator[None]:
    """Has every worker have plugins of Dask's while the block lasts, also one that joins or is started anew; no longer than there is the
    client, or a scheduler would send on for ever what a command that was killed has left.

    Args:
        client: whose workers.
        key: of the plugins, which are numbered behind it.
        plugins: are asked for one after another.

    Raises:
        WelError: when one does not reach the workers, or the scheduler is lost.
    """
    with _scheduler_there():
        client.register_plugin(_forgetting(key, client.id), name=key)
    names = []
    try:
        for plugin in plugins:
            names.append(f"{key}-{len(names)}")
            _reaching(client, names[-1], plugin)
        yield
    finally:
        if client.status == "running":
            for forget, name in [*((client.unregister_worker_plugin, name) for name in names), (client.unregister_scheduler_plugin, key)]:
                with suppress(Exception):  # of a worker that dies meanwhile, with what it keeps
                    forget(name)


def _reaching(client: Any, name: str, plugin: Any) -> None:
    """A worker that dies meanwhile is told when it is started anew, but those after it may not have been told."""
    for _ in range(ATTEMPTS):
        try:
            return client.register_plugin(plugin, name=name)
        except Exception as error:
            reason = first_line(error)
            time.sleep(RECOUNTED)
    raise WelError(f"The network does not reach the workers ({reason}). Expected a scheduler and workers that stay while it is sent.")


@contextmanager
def _scheduler_there() -> Iterator[None]:
    try:
        yield
    except OSError as error:
        raise WelError(LOST) from error


def _forgetting(key: str, owner: str) -> Any:
    """What has a scheduler forget the workers' plugins of a key when the client that sent them is gone."""

    class Forgetting(_distributed().SchedulerPlugin):
        def remove_client(self, scheduler, client):
            if client == owner:
                scheduler.remove_plugin(key)
                for name in [name for name in scheduler.worker_plugins if name.startswith(key)]:
                    scheduler.loop.add_callback(scheduler.unregister_worker_plugin, None, name)

    return Forgetting()


def submitted(client: Any, kind: str, function: Callable, *arguments: Any) -> Any:
    """The future of what a worker makes of the arguments, in `TRIES` tries; Dask takes things of one kind to be alike."""
    with warnings.catch_warnings():  # of their size
        warnings.simplefilter("ignore", UserWarning)
        # what keys have in common before the last hyphen is their kind
        return client.submit(function, *arguments, key=f"{kind}-{uuid.uuid4().hex}", retries=TRIES - 1, pure=False)


def answers(
    client: Any, things: Iterable[Thing], submit: Callable[[Thing], Any], tell: Callable[[str], Any], ahead: int = WAITING
) -> Iterator[tuple[Thing, Any]]:
    """Has workers compute something of each thing: pairs of a thing and what was computed of it, or the exception that it ended in, as they
    are done.

    More wait at the scheduler than there are workers, by which Dask knows that it may keep them there until a worker is free: by default it
    has one more wait at each worker, in `CONFIGURATION` none, so that none but one is blamed for a worker's death.

    Args:
        client: whose workers compute.
        things: are asked for as workers become free.
        submit: function (thing) -> its future.
        tell: is told when there are no workers left, for which Dask waits.
        ahead: how many things for each worker are under way at most, all of which the scheduler holds in its memory.

    Raises:
        WelError: when the scheduler is lost.
    """
    from distributed import as_completed

    waiting, things_of, futures, counted = iter(things), {}, as_completed(), -RECOUNTED
    workers = 1
    while True:
        if time.monotonic() > counted + RECOUNTED:
            before, workers, counted = workers, count_workers(client), time.monotonic()
            if before and not workers:
                tell("No workers are left; waiting for others: dask worker ADDRESS.")
        for thing in islice(waiting, max(0, ahead * max(1, workers) - len(things_of))):
            future = submit(thing)
            things_of[future.key] = thing
            futures.add(future)
        if not things_of:
            return
        if not futures.has_ready():
            time.sleep(LOOKED)
            continue
        future = next(futures)
        if future.status == "lost":  # its worker died before the answer was fetched; Dask has it computed again
            futures.add(future)
            continue
        if future.status == "cancelled":
            raise WelError(LOST)
        yield things_of.pop(future.key), future.exception() or future.result()
