"""wel.backends.process: the worker protocol, what another interpreter is told, and who is not installed."""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
import sys
import textwrap
import time
from pathlib import Path

import numpy as np
import pytest
from conftest import loaded

import wel
from wel.backends.process import Worker, module_worker
from wel.errors import UnsupportedError, WelError
from wel.system.arithmetic import ARITHMETICS
from wel.system.devices import adding_threads
from wel.system.environments import WRAPPED, outside

ROOT = Path(__file__).parents[2]


# --- a worker that does what its jobs say

WORKER = f"""
import os, sys, time
sys.path.insert(0, {str(ROOT / "wel" / "backends")!r})
from worker import Unsupported, serve

def compute(job, arrays):
    print("libraries may print")
    if job["do"] == "sleep":
        open(os.path.join(job["beside"], "sleeping"), "w").close()
        time.sleep(job["seconds"])
    if job["do"] == "refuse":
        raise Unsupported("Method 'x' has no rule for layer 'y'.")
    if job["do"] == "fail":
        raise ValueError("first line\\nsecond line")
    if job["do"] == "tell":
        return {{"threads": [int(os.environ["TF_NUM_INTRAOP_THREADS"])]}}
    if job["do"] == "die":
        print("out of memory", file=sys.stderr)
        os._exit(3)
    return {{"pid": [os.getpid()], **arrays}}

serve(compute, {{"worker": "1.0"}})
"""


@pytest.fixture
def worker(tmp_path):
    (tmp_path / "worker.py").write_text(WORKER)
    started = Worker([sys.executable, str(tmp_path / "worker.py")])
    yield started
    started.close()


def pid_of(worker: Worker) -> int:
    return int(worker.run({"do": "answer"}, {})["pid"][0])


def assert_ended(pid: int, seconds: float = 10) -> None:
    """The process is gone, or a zombie that nobody has waited for."""
    until = time.monotonic() + seconds
    while time.monotonic() < until and _runs(pid):
        time.sleep(0.02)
    assert not _runs(pid)


def _runs(pid: int) -> bool:
    try:
        return Path(f"/proc/{pid}/stat").read_text().rsplit(")", 1)[1].split()[0] != "Z"
    except FileNotFoundError:
        return False


def test_a_job_is_answered_and_the_process_used_again(worker):
    array = np.arange(6, dtype="float32").reshape(2, 3)
    np.testing.assert_array_equal(worker.run({"do": "answer"}, {"array": array})["array"], array)
    assert worker.versions == {"worker": "1.0"}
    assert pid_of(worker) == pid_of(worker)
    assert list(worker.folder.iterdir()) == []


def test_the_process_shares_sums_among_as_many_threads_as_its_caller(tmp_path, monkeypatch):
    monkeypatch.delenv("TF_NUM_INTRAOP_THREADS")
    monkeypatch.setenv("OMP_NUM_THREADS", "17")  # as Dask tells it its workers, for numpy
    (tmp_path / "worker.py").write_text(WORKER)
    worker = Worker([sys.executable, str(tmp_path / "worker.py")])
    assert worker.run({"do": "tell"}, {})["threads"].tolist() == [adding_threads()] != [17]
    worker.close()


def test_errors_are_passed_on_as_one_sentence_and_the_process_lives_on(worker):
    pid = pid_of(worker)
    with pytest.raises(UnsupportedError, match=r"^Method 'x' has no rule for layer 'y'\.$"):
        worker.run({"do": "refuse"}, {})
    with pytest.raises(WelError, match="^The backend failed: ValueError: first line second line$") as caught:
        worker.run({"do": "fail"}, {})
    assert not isinstance(caught.value, UnsupportedError)
    assert pid_of(worker) == pid


def test_close_ends_the_process_and_removes_its_folder(worker):
    pid, folder = pid_of(worker), worker.folder
    worker.close()
    assert_ended(pid)
    assert not folder.exists()
    worker.close()  # once more does no harm
    assert pid_of(worker) != pid


def test_a_worker_that_dies_says_its_last_words_and_is_replaced(worker):
    pid, folder = pid_of(worker), worker.folder
    with pytest.raises(WelError, match=r"^The backend's process ended with code 3\. Its last words: .*out of memory$"):
        worker.run({"do": "die"}, {})
    assert not folder.exists()
    assert pid_of(worker) != pid


def test_a_worker_that_died_between_jobs_is_noticed(worker):
    pid = pid_of(worker)
    os.kill(pid, signal.SIGKILL)
    assert_ended(pid)
    with pytest.raises(WelError, match=r"^The backend's process ended with code -9\."):
        worker.run({"do": "answer"}, {})  # what the job needs may have died with it
    pid = pid_of(worker)
    os.kill(pid, signal.SIGKILL)
    assert_ended(pid)
    assert worker.folder.exists()  # whoever begins anew gets a new process
    assert pid_of(worker) != pid


def test_an_interrupted_job_does_not_answer_the_next_one(worker, tmp_path):
    pid_of(worker)
    script = f"import os, signal, time\ntime.sleep(0.5)\nos.kill({os.getpid()}, signal.SIGINT)"
    interrupter = subprocess.Popen([sys.executable, "-c", script])
    with pytest.raises(KeyboardInterrupt):
        worker.run({"do": "sleep", "seconds": 2, "beside": str(tmp_path)}, {"of": np.array("the first")})
    interrupter.wait()
    assert worker.run({"do": "answer"}, {"of": np.array("the second")})["of"] == "the second"


@pytest.mark.parametrize(
    ("command", "sentence"),
    [
        (["/no/such/python", "-m", "x"], r"^The backend's interpreter '/no/such/python' cannot be started: No such file or directory\.$"),
        (["/", "-m", "x"], r"^The backend's interpreter '/' cannot be started: Permission denied\.$"),
        (["echo", "hello"], r"^The backend's process 'echo' is not one of wel's: it says 'hello'\.$"),
        ([sys.executable, "-c", "import nowhere"], r"ended with code 1\. Its last words: .*No module named 'nowhere'$"),
    ],
)
def test_an_interpreter_that_cannot_serve_is_one_sentence(command, sentence):
    worker = Worker(command)
    for _ in range(2):
        with pytest.raises(WelError, match=sentence) as caught:
            worker.run({}, {})
        assert "\n" not in str(caught.value)


PARENT = """
import sys
from wel.backends.process import Worker

worker = Worker([sys.executable, sys.argv[1]])
print(int(worker.run({"do": "answer"}, {})["pid"][0]), worker.folder, flush=True)
worker.run({"do": "sleep", "seconds": float(sys.argv[2]), "beside": sys.argv[3]}, {})
input()
"""


@pytest.mark.parametrize("seconds", [0, 1.5], ids=["idle", "in the middle of a job"])
def test_the_process_ends_and_cleans_up_when_its_parent_is_killed(tmp_path, seconds):
    (tmp_path / "worker.py").write_text(WORKER)
    (tmp_path / "parent.py").write_text(textwrap.dedent(PARENT))
    command = [sys.executable, str(tmp_path / "parent.py"), str(tmp_path / "worker.py"), str(seconds), str(tmp_path)]
    pipes = {"stdin": subprocess.PIPE, "stdout": subprocess.PIPE, "text": True}
    with subprocess.Popen(command, env={**os.environ, "PYTHONPATH": str(ROOT)}, **pipes) as parent:
        pid, folder = parent.stdout.readline().split()
        while not (tmp_path / "sleeping").exists():
            time.sleep(0.02)
        parent.kill()
    assert_ended(int(pid))
    assert not Path(folder).exists()


# --- one of wel's modules under an interpreter in which wel is not installed

REPORTING = """
import os, sys
from wel.backends.worker import serve
from wel.networks.kinds import IDENTITIES

TOLD = ("PYTHONPATH", "PYTHONHOME", "VIRTUAL_ENV", "TF_USE_LEGACY_KERAS", "KERAS_BACKEND", "TF_ENABLE_ONEDNN_OPTS", "MINE")

serve(
    lambda job, arrays: {
        "told": [os.environ.get(name, "") for name in TOLD],
        "path": sys.path,
        "name": [__name__, sys.modules["wel"].__file__],
        "loaded": sorted({"tensorflow", "scipy", "pandas"} & set(sys.modules)),
    },
    {},
)
"""


@pytest.fixture
def installed(tmp_path, monkeypatch):
    """A folder of packages with wel in it, beside numpy, which does not work: it stands for a numpy of another Python."""
    folder = tmp_path / "site-packages"
    (folder / "numpy").mkdir(parents=True)
    (folder / "numpy" / "__init__.py").write_text("raise ImportError('of another Python')\n")
    shutil.copytree(ROOT / "wel", folder / "wel", ignore=shutil.ignore_patterns("__pycache__"))
    (folder / "wel" / "reporting.py").write_text(REPORTING)
    monkeypatch.setattr("wel.backends.process.BOOTSTRAP", folder / "wel" / "backends" / "bootstrap.py")
    return folder


def elsewhere(tmp_path) -> str:
    """This interpreter by another name, so that it is taken for another one."""
    python = tmp_path / "python"
    python.write_text(f'#!/bin/sh\nexec "{sys.executable}" "$@"\n')
    python.chmod(0o755)
    return str(python)


def test_another_interpreter_gets_wel_alone_and_nothing_of_the_caller(installed, tmp_path, monkeypatch):
    for name, value in {"PYTHONPATH": str(installed), "VIRTUAL_ENV": "/x", "TF_USE_LEGACY_KERAS": "1", "KERAS_BACKEND": "jax"}.items():
        monkeypatch.setenv(name, value)
    monkeypatch.setenv("WEL_ARITHMETIC", "fastest")  # of the caller alone: the packages add up as the original stack does
    monkeypatch.setenv("TF_ENABLE_ONEDNN_OPTS", "1")
    monkeypatch.setenv("MINE", "kept")
    worker = module_worker(elsewhere(tmp_path), "wel.reporting", ARITHMETICS["original"])
    found = {key: array.tolist() for key, array in worker.run({}, {}).items()}
    worker.close()
    assert found["told"] == ["", "", "", "", "tensorflow", "0", "kept"]
    assert found["name"] == ["__main__", str(installed / "wel" / "__init__.py")]
    assert [folder for folder in found["path"] if folder.startswith(str(tmp_path))] == []
    assert found["loaded"] == []


def test_the_callers_own_interpreter_keeps_its_path(installed, monkeypatch, tmp_path):
    monkeypatch.setenv("PYTHONPATH", str(tmp_path / "mine"))
    worker = module_worker(sys.executable, "wel.reporting", {})
    found = worker.run({}, {})
    worker.close()
    assert found["told"][0] == str(tmp_path / "mine") and str(tmp_path / "mine") in found["path"]


@pytest.mark.wrapped
@pytest.mark.parametrize("package", ["innvestigate", "deeplift"])
def test_the_wrapped_packages_start_from_anywhere(package, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "wel.py").write_text("raise ImportError('of the working directory')\n")
    worker = module_worker(WRAPPED.python(), f"wel.backends.{package}.worker", ARITHMETICS["original"])
    assert worker.folder and worker.versions.keys() == {"tensorflow", package} and worker.versions["tensorflow"].startswith("2.14.")
    worker.close()


LIGHT = """
import importlib, sys
for name in ("jinja2", "jsonschema", "numba", "pandas", "psutil", "rich", "scipy", "skimage", "tf_keras", "typer"):
    sys.modules.setdefault(name, None)
importlib.import_module(sys.argv[1])
"""


@pytest.mark.wrapped
@pytest.mark.parametrize("package", ["innvestigate", "deeplift"])
def test_a_worker_imports_no_package_that_its_lock_is_without(package):
    environment = outside({"PYTHONPATH": str(ROOT)})
    command = [WRAPPED.python(), "-c", f"import innvestigate, deeplift\n{LIGHT}", f"wel.backends.{package}.worker"]
    done = subprocess.run(command, capture_output=True, text=True, env=environment, timeout=120)
    assert done.returncode == 0, done.stderr


# --- who is not installed


@pytest.mark.parametrize(("backend", "variable"), [("deeplift", "WEL_WRAPPED_PYTHON"), ("original", "WEL_ORIGINAL_PYTHON")])
def test_who_is_not_installed_is_refused_in_one_sentence_before_any_work(backend, variable, sequential, images, monkeypatch, tmp_path):
    net, pictures = loaded(sequential), images
    monkeypatch.setenv(variable, str(tmp_path / "none"))
    for call in (
        lambda: wel.csc(net, pictures, ["deeplift_rescale"], backend=backend, out=tmp_path / "run"),
        lambda: wel.saliency(net, pictures, ["deeplift_rescale"], backend=backend, out=tmp_path / "run"),
        lambda: wel.relevance(net, "deeplift_rescale", pictures, vectors=np.ones((3, 1, 4)), backend=backend),
        lambda: wel.verify(net, pictures, backends=["native", backend], save=tmp_path / "run"),
    ):
        with pytest.raises(WelError, match=rf"^Invalid value for `{variable}`: '.*none'\. Expected a Python 3\.\d.* that has TensorFlow"):
            call()
    assert not (tmp_path / "run").exists()


def test_the_original_stack_has_no_corrected_semantics(sequential, images, monkeypatch, tmp_path):
    monkeypatch.setenv("WEL_ORIGINAL_PYTHON", sys.executable)
    with pytest.raises(WelError, match="Invalid value for `semantics`: 'corrected'"):
        wel.csc(loaded(sequential), images, ["gradient"], backend="original", semantics="corrected", out=tmp_path / "run")
    assert not (tmp_path / "run").exists()
