"""The caller's half of the worker protocol: starts a backend's process, sends jobs, hands its errors on."""

from __future__ import annotations

import atexit
import json
import os
import subprocess
import sys
import tempfile
from collections import deque
from contextlib import suppress
from pathlib import Path
from threading import Thread
from typing import Sequence, TextIO

import numpy as np

from wel.errors import UnsupportedError, WelError
from wel.system.devices import THREADS, adding_threads
from wel.system.environments import outside

BOOTSTRAP = Path(__file__).with_name("bootstrap.py")
LAST_LINES = 12
LONGEST_MESSAGE = 1000


class Worker:
    """A backend's process; started with the first job, ended with `close` or with the caller's own process."""

    def __init__(self, command: Sequence[str], environment: dict[str, str] | None = None):
        self._command = list(command)
        # the original stack's Keras would take the backend of ~/.keras/keras.json else, and as many threads as Dask tells numpy of
        own = {"TF_CPP_MIN_LOG_LEVEL": "3", "KERAS_BACKEND": "tensorflow", THREADS: str(adding_threads())}
        self._environment = outside({**own, **(environment or {})})
        self._process: subprocess.Popen | None = None
        self._listener: Thread | None = None
        self._folder: tempfile.TemporaryDirectory | None = None
        self.versions: dict[str, str] = {}
        self._stderr: deque[str] = deque(maxlen=LAST_LINES)
        atexit.register(self.close)

    @property
    def folder(self) -> Path:
        """A directory for networks and jobs that lives as long as the process; one that has died is replaced."""
        if self._process is None or self._process.poll() is not None:
            self._start()
        return Path(self._folder.name)

    def run(self, job: dict, arrays: dict[str, np.ndarray]) -> dict[str, np.ndarray]:
        """Sends one job and waits for its answer.

        Raises:
            WelError: when the method cannot be had for the network, or the process fails; the message is the worker's.
        """
        if self._process is None:
            self._start()
        with tempfile.TemporaryDirectory(dir=self._folder.name) as folder:
            (Path(folder) / "job.json").write_text(json.dumps(job))
            np.savez(Path(folder) / "arrays.npz", **arrays)
            self._ask({"job": folder})
            with np.load(Path(folder) / "answer.npz") as answer:
                return {key: answer[key] for key in answer.files}

    def close(self, patience: float = 5) -> None:
        """Ends the process, after `patience` seconds by force, and removes its directory."""
        if self._process is None:
            return
        process, self._process = self._process, None
        with suppress(BrokenPipeError):
            process.stdin.close()
        try:
            process.wait(timeout=patience)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()
        process.stdout.close()
        self._listener.join(timeout=1)
        self._folder.cleanup()

    def _start(self) -> None:
        self.close()
        self._stderr.clear()
        self._folder = tempfile.TemporaryDirectory(prefix="wel-", dir=_scratch())
        pipes = {name: subprocess.PIPE for name in ("stdin", "stdout", "stderr")}
        environment = {**self._environment, "WEL_WORKER_FOLDER": self._folder.name}
        try:
            # a session of its own, so that Ctrl-C reaches the caller alone
            self._process = subprocess.Popen(self._command, text=True, env=environment, start_new_session=True, **pipes)
        except OSError as error:
            self._folder.cleanup()
            raise WelError(f"The backend's interpreter '{self._command[0]}' cannot be started: {error.strerror}.") from error
        self._listener = Thread(target=self._listen, args=(self._process.stderr,), daemon=True)
        self._listener.start()
        self.versions = self._reply()["ready"]

    def _listen(self, stderr: TextIO) -> None:
        with stderr:
            self._stderr.extend(line.strip() for line in stderr)

    def _ask(self, request: dict) -> None:
        try:
            self._process.stdin.write(json.dumps(request) + "\n")
            self._process.stdin.flush()
        except BrokenPipeError:
            pass  # the process has ended; _reply says so
        reply = self._reply()
        if "error" in reply:
            message = " ".join(reply["error"].split())[:LONGEST_MESSAGE]
            raise UnsupportedError(message) if reply["kind"] == "unsupported" else WelError(f"The backend failed: {message}")

    def _reply(self) -> dict:
        process = self._process
        try:
            line = process.stdout.readline()
        except BaseException:
            self.close(patience=0)  # or the reply to a job that was interrupted would be taken for that to the next one
            raise
        if not line:
            self.close()
            words = " / ".join(self._stderr)[-LONGEST_MESSAGE:]
            raise WelError(f"The backend's process ended with code {process.returncode}. Its last words: {words}")
        try:
            return json.loads(line)
        except ValueError as error:
            self.close(patience=0)
            raise WelError(f"The backend's process '{self._command[0]}' is not one of wel's: it says {line.strip()!r}.") from error


def _scratch() -> str | None:
    """Memory-backed storage where there is plenty: jobs are written once and read once."""
    shared = "/dev/shm"
    if not os.access(shared, os.W_OK):
        return None
    space = os.statvfs(shared)
    return shared if space.f_bavail * space.f_frsize > (2 << 30) else None


def write_network(folder: Path, config: str, weights: dict[str, np.ndarray]) -> None:
    """Writes `network.json` (the text `config`) and `weights.npz` of the protocol into a directory."""
    (folder / "network.json").write_text(config)
    np.savez(folder / "weights.npz", **weights)


def module_worker(python: str, module: str, environment: dict[str, str]) -> Worker:
    """A worker that runs one of wel's modules under an interpreter in which wel need not be installed."""
    if python == sys.executable and "PYTHONPATH" in os.environ:
        environment = {**environment, "PYTHONPATH": os.environ["PYTHONPATH"]}
    return Worker([python, str(BOOTSTRAP), module], environment)
