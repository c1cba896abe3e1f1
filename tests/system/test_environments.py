"""wel.system.environments: which interpreter is taken, and how an environment is made, whole or not at all."""

from __future__ import annotations

import fcntl
import os
import shutil
import signal
import subprocess
import sys
import time
from dataclasses import replace
from pathlib import Path

import pytest

from wel.errors import WelError
from wel.system import environments
from wel.system.environments import MARKER, ORIGINAL, WRAPPED, Environment

ROOT = Path(__file__).parents[2]
HERE = f"{sys.version_info[0]}.{sys.version_info[1]}"


@pytest.fixture(autouse=True)
def nobody_else(tmp_path, monkeypatch):
    """Neither a checkout nor a cache nor a variable of the one who runs the tests."""
    monkeypatch.setattr(environments, "checkout_folder", lambda: tmp_path / "checkout")
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    monkeypatch.delenv("WEL_TINY_PYTHON", raising=False)


@pytest.fixture
def tiny(tmp_path) -> Environment:
    """An environment of no packages under this Python."""
    (tmp_path / "tiny.lock").write_text("# nothing\n")
    return Environment("tiny", "nothing", (HERE,), lambda: tmp_path / "tiny.lock", ("no_such_package",))


@pytest.fixture
def quick(monkeypatch):
    """No venv is made: a folder with a link to this interpreter, and pip is a script that succeeds. Gives the commands that were run."""
    commands = []

    def last_words(command, marker, listen=None):
        commands.append(command)
        if "venv" in command:
            (Path(command[-1]) / "bin").mkdir()
            (Path(command[-1]) / "bin" / "python").symlink_to(sys.executable)

    monkeypatch.setattr(environments, "_last_words", last_words)
    return commands


def interpreter(path: Path, version: str, has_pip: bool = True) -> Path:
    """A program that answers as a Python of that version."""
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(f"#!/bin/sh\necho {version} {has_pip}\n")
    path.chmod(0o755)
    return path


# --- which one is taken


def test_the_order_is_variable_own_checkout_cache(tiny, quick, tmp_path, monkeypatch):
    with pytest.raises(
        WelError, match="^The environment 'tiny' .*Expected `wel install tiny` to have been run, or WEL_TINY_PYTHON to name"
    ):
        tiny.python()
    checkout, cache = tmp_path / "checkout" / ".venv-tiny", tmp_path / "cache" / "wel" / "tiny"
    assert tiny.folders == (checkout, cache)
    tiny.make(cache, sys.executable)
    assert tiny.python() == str(cache / "bin" / "python")
    tiny.make(checkout, sys.executable)
    assert tiny.python() == str(checkout / "bin" / "python")
    assert replace(tiny, packages=("json", "wel")).python() == sys.executable
    assert replace(tiny, packages=()).python() == str(checkout / "bin" / "python")
    monkeypatch.setenv("WEL_TINY_PYTHON", "sh")
    assert replace(tiny, packages=("json", "wel")).python() == shutil.which("sh")
    monkeypatch.setenv("WEL_TINY_PYTHON", str(tmp_path))
    with pytest.raises(
        WelError, match=rf"^Invalid value for `WEL_TINY_PYTHON`: '{tmp_path}'\. Expected a Python {HERE} that has nothing\.$"
    ):
        tiny.python()


def test_what_is_unfinished_or_of_another_lock_or_has_lost_its_python_is_not_taken(tiny, quick, tmp_path):
    folder = tiny.folders[-1]
    tiny.make(folder, sys.executable)
    assert tiny.is_whole(folder)
    (folder / MARKER).write_text("tiny unfinished\n")
    assert not tiny.is_whole(folder)
    tiny.make(folder, sys.executable)
    tiny.lock().write_text("# another\n")
    assert not tiny.is_whole(folder)
    tiny.make(folder, sys.executable)
    assert tiny.is_whole(folder)
    (folder / "bin" / "python").unlink()
    (folder / "bin" / "python").symlink_to(tmp_path / "gone")
    assert not tiny.is_whole(folder)


def test_a_python_is_found_by_its_version_then_by_python3(tiny, tmp_path, monkeypatch):
    wanted = replace(tiny, pythons=("3.98", "3.97"))
    home = tmp_path / "home"
    monkeypatch.setenv("HOME", str(home))
    monkeypatch.setenv("PATH", f"{tmp_path / 'bin'}:/bin:/usr/bin")
    with pytest.raises(
        WelError, match=r"^The environment 'tiny' needs Python 3\.98 or 3\.97, and there is none on the PATH.*`--python`\.$"
    ):
        wanted.find_python()
    interpreter(tmp_path / "bin" / "python3.98", "3.98", has_pip=False)
    with pytest.raises(WelError, match=r"needs the package python3\.98-venv\.$"):
        wanted.find_python()
    python3 = interpreter(tmp_path / "bin" / "python3", "3.97")
    assert wanted.find_python() == str(python3)
    managed = interpreter(home / ".local" / "share" / "uv" / "python" / "cpython-3.97.2-linux" / "bin" / "python", "3.97")
    assert wanted.find_python() == str(managed)
    (tmp_path / "bin" / "python3.97").write_text("#!/bin/sh\nexit 127\n")  # as a shim for a version that is not chosen
    (tmp_path / "bin" / "python3.97").chmod(0o755)
    assert wanted.find_python() == str(managed)
    pyenv = interpreter(home / ".pyenv" / "versions" / "3.98.1" / "bin" / "python", "3.98")
    assert wanted.find_python() == str(pyenv)
    assert tiny.find_python() == sys.executable


@pytest.mark.parametrize(
    ("version", "has_pip", "sentence"),
    [
        ("3.13", True, r"Expected Python 3\.11, 3\.10 or 3\.9; that is Python 3\.13\."),
        ("", True, r"Expected Python 3\.11, 3\.10 or 3\.9; that one does not run\."),
        ("3.11", False, r"that can make environments\. On Debian .* needs the package python3\.11-venv\."),
        (None, True, r"Expected Python 3\.11, 3\.10 or 3\.9; there is no such program\."),
    ],
)
def test_a_named_python_is_taken_or_refused_for_its_reason(version, has_pip, sentence, tmp_path):
    path = tmp_path / "python" if version is None else interpreter(tmp_path / "python", version, has_pip)
    with pytest.raises(WelError, match=rf"^Invalid value for `python`: '{path}'\. .*{sentence}$"):
        WRAPPED.find_python(str(path))
    assert WRAPPED.find_python(str(interpreter(tmp_path / "good", "3.10"))) == str(tmp_path / "good")


# --- how it is made


def test_a_real_one_is_made_whatever_the_caller_has_set_and_anew_for_another_lock(tiny, tmp_path, monkeypatch):
    folder, told = tmp_path / "deep" / "made", []
    for setting in ("PIP_TARGET", "PIP_PREFIX", "PYTHONHOME", "PYTHONPATH"):
        monkeypatch.setenv(setting, str(tmp_path / "astray"))
    tiny.make(folder, sys.executable, lambda *words: told.append(words))
    assert not (tmp_path / "astray").exists()
    command = [folder / "bin" / "python", "-I", "-c", "import sys; print(sys.prefix)"]
    place = subprocess.run(command, capture_output=True, text=True, check=True).stdout.strip()
    assert Path(place).resolve() == folder.resolve() and told == [("a new environment", 0, 0)]
    assert tiny.is_whole(folder)
    (folder / "leftover").mkdir()
    tiny.lock().write_text("# another\n")
    tiny.make(folder, sys.executable)
    assert tiny.is_whole(folder) and not (folder / "leftover").exists()


def test_what_pip_says_last_is_in_the_sentence_and_nothing_is_taken_for_whole(tiny, tmp_path, monkeypatch):
    monkeypatch.setenv("PIP_NO_INDEX", "1")
    monkeypatch.delenv("PIP_FIND_LINKS", raising=False)
    monkeypatch.setenv("PIP_CONFIG_FILE", os.devnull)
    tiny.lock().write_text(f"no-such-package==1.0 \\\n    --hash=sha256:{'0' * 64}\n")
    folder = tmp_path / "made"
    with pytest.raises(
        WelError, match=r"^The environment 'tiny' cannot be installed\. pip says: No matching distribution found for no-such"
    ):
        tiny.make(folder, sys.executable)
    assert (folder / MARKER).read_text() == "tiny unfinished\n"


def test_a_network_that_failed_is_in_the_sentence(tiny, tmp_path, monkeypatch):
    for name, value in {"PIP_CONFIG_FILE": os.devnull, "PIP_INDEX_URL": "http://127.0.0.1:9/simple", "PIP_RETRIES": "1"}.items():
        monkeypatch.setenv(name, value)
    tiny.lock().write_text(f"no-such-package==1.0 \\\n    --hash=sha256:{'0' * 64}\n")
    with pytest.raises(WelError, match="pip says: .* The network failed before: .*Connection refused"):
        tiny.make(tmp_path / "made", sys.executable)


def test_folders_of_others_are_left_alone(tiny, quick, tmp_path):
    (tmp_path / "file").write_text("mine")
    (tmp_path / "full").mkdir()
    (tmp_path / "full" / "mine").write_text("mine")
    for path in (tmp_path / "file", tmp_path / "full"):
        with pytest.raises(WelError, match=rf"^Invalid value for `into`: '{path}'\. Expected a new or empty folder, or one that"):
            tiny.make(path, sys.executable)
    with pytest.raises(WelError, match=r"^Invalid value for `into`: .* Expected a folder that can be written \(Not a directory\)\.$"):
        tiny.make(tmp_path / "file" / "below", sys.executable)
    tiny.make(tmp_path / "made", sys.executable)
    with pytest.raises(WelError, match="Expected another folder: that one holds the environment 'tiny'"):
        replace(tiny, name="other").make(tmp_path / "made", sys.executable)
    assert tiny.is_whole(tmp_path / "made") and (tmp_path / "full" / "mine").read_text() == "mine" and len(quick) == 2


def test_two_do_not_make_the_same_at_once(tiny, quick, tmp_path):
    tiny.make(tmp_path / "made", sys.executable)
    with open(tmp_path / "made" / MARKER) as held:
        fcntl.flock(held, fcntl.LOCK_EX)
        with pytest.raises(WelError, match="is being made by another process"):
            tiny.make(tmp_path / "made", sys.executable)
    assert tiny.is_whole(tmp_path / "made")


INTERRUPTED = """
import sys
from pathlib import Path
from wel.system.environments import Environment

environment = Environment("tiny", "nothing", (), lambda: Path(sys.argv[1]))
environment.make(Path(sys.argv[2]), sys.executable, lambda *words: print(*words, flush=True))
"""


@pytest.mark.parametrize("end", [signal.SIGINT, signal.SIGKILL])
def test_one_that_was_interrupted_is_made_anew(end, tiny, tmp_path):
    folder = tmp_path / "made"
    command = [sys.executable, "-c", INTERRUPTED, tiny.lock(), folder]
    with subprocess.Popen(command, env={**os.environ, "PYTHONPATH": str(ROOT)}, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL) as maker:
        maker.stdout.readline()
        while not (folder / "bin").exists():
            time.sleep(0.01)
        maker.send_signal(end)
    assert not tiny.is_whole(folder) and (folder / MARKER).read_text() == "tiny unfinished\n"
    for _ in range(100):  # a killed one's children go on for a moment, and hold the lock
        try:
            tiny.make(folder, sys.executable)
            break
        except WelError as error:
            assert "being made by another process" in str(error)
            time.sleep(0.3)
    assert tiny.is_whole(folder)


# --- the two that there are


def test_the_locks_ship_with_wel():
    for environment, package in ((WRAPPED, "innvestigate==2.1.2"), (ORIGINAL, "innvestigate==1.0.8")):
        text = environment.lock().read_text()
        assert f"\n{package} \\\n    --hash=sha256:" in text and "\ndeeplift==0.6." in text
    assert (WRAPPED.wanted, ORIGINAL.wanted) == ("Python 3.11, 3.10 or 3.9", "Python 3.7")
