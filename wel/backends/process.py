"""The caller's half of the worker protocol: starts a backend's process, sends jobs, hands its errors on."""
from __future__ import annotations

import atexit
import json
import os
import subprocess
import sys
import tempfile
from collections import deque
from pathlib import Path
from threading import Thread
from typing import Sequence

import numpy as np

from wel.errors import UnsupportedError, WelError

LAST_LINES = 12


class Worker:
    """A backend's process; started with the first job, ended with `close` or with the caller's own process."""

    def __init__(self, command: Sequence[str], environment: dict[str, str] | None = None):
        self._command = list(command)
        self._environment = {**os.environ, "TF_CPP_MIN_LOG_LEVEL": "3", **(environment or {})}
        self._process: subprocess.Popen | None = None
        self._folder = None
        self.versions: dict[str, str] = {}
        self._stderr: deque[str] = deque(maxlen=LAST_LINES)
        atexit.register(self.close)

    @property
    def folder(self) -> Path:
        """A directory for networks and jobs that lives as long as the worker."""
        self._start()
        return Path(self._folder.name)

    def run(self, job: dict, arrays: dict[str, np.ndarray]) -> dict[str, np.ndarray]:
        """Sends one job and waits for its answer.

        Raises:
            WelError: when the method cannot be had for the network, or the process fails; the message is the worker's.
        """
        self._start()
        with tempfile.TemporaryDirectory(dir=self.folder) as folder:
            (Path(folder) / "job.json").write_text(json.dumps(job))
            np.savez(Path(folder) / "arrays.npz", **arrays)
            self._ask({"job": folder})
            with np.load(Path(folder) / "answer.npz") as answer:
                return {key: answer[key] for key in answer.files}

    def close(self) -> None:
        """Ends the process and removes its directory."""
        if self._process is not None:
            self._process.stdin.close()
            try:
                self._process.wait(timeout=5)
            except subprocess.TimeoutExpired:
                self._process.kill()
                self._process.wait()
            self._process.stdout.close()
            self._folder.cleanup()
            self._process = None

    def _start(self) -> None:
        if self._process is not None and self._process.poll() is None:
            return
        self._folder = tempfile.TemporaryDirectory(prefix="wel-", dir=_scratch())
        pipes = {name: subprocess.PIPE for name in ("stdin", "stdout", "stderr")}
        environment = {**self._environment, "WEL_WORKER_FOLDER": self._folder.name}
        try:
            # a session of its own, so that Ctrl-C reaches the caller alone
            self._process = subprocess.Popen(self._command, text=True, env=environment, start_new_session=True, **pipes)
        except OSError as error:
            raise WelError(f"The backend's interpreter '{self._command[0]}' cannot be started: {error.strerror}.") from error
        Thread(target=self._stderr.extend, args=(self._process.stderr,), daemon=True).start()
        self.versions = self._reply()["ready"]

    def _ask(self, request: dict) -> None:
        try:
            self._process.stdin.write(json.dumps(request) + "\n")
            self._process.stdin.flush()
        except BrokenPipeError:
            pass  # the process has ended; _reply says so
        reply = self._reply()
        if "error" in reply:
            if reply["kind"] == "unsupported":
                raise UnsupportedError(reply["error"])
            raise WelError(f"The backend failed: {reply['error']}")

    def _reply(self) -> dict:
        line = self._process.stdout.readline()
        if not line:
            code = self._process.wait()
            self._process = None
            raise WelError(f"The backend's process ended with code {code}. Its last words: {' / '.join(self._stderr).strip()}")
        return json.loads(line)


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


def own_worker(module: str) -> Worker:
    """A worker that runs one of wel's modules under the caller's interpreter."""
    path = [str(Path(__file__).parents[2]), *filter(None, [os.environ.get("PYTHONPATH")])]
    return Worker([sys.executable, "-m", module], {"PYTHONPATH": os.pathsep.join(path)})
