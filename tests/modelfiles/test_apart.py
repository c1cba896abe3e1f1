"""wel.modelfiles.apart: whatever a check does in its process, this one gets a sentence or nothing."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import psutil
import pytest

from wel.errors import WelError
from wel.modelfiles.apart import check_apart

VALUES: list[str] = []


# --- checks -----------------------------------------------------------------------------------------------------------


def remember(*arguments: str) -> None:
    VALUES.extend(arguments)


def refuse(sentence: str) -> None:
    raise WelError(sentence)


def refuse_input() -> None:
    raise WelError(f"{len(sys.stdin.buffer.read())} bytes came in.")


def refuse_imports() -> None:
    raise WelError(" ".join(sorted(name for name in ("tensorflow", "numpy", "wel", "unittest_of_strangers") if name in sys.modules)))


def refuse_path() -> None:
    raise WelError(f"{'' in sys.path} {os.getcwd() in sys.path}")


def look_up(name: str) -> None:
    {}[name]


def convert(text: str) -> None:
    int(text)


def leave() -> None:
    sys.exit(3)


def die(number: str) -> None:
    os.kill(os.getpid(), int(number))


def sleep() -> None:
    time.sleep(60)


# ----------------------------------------------------------------------------------------------------------------------


def refused(sentence: str, check, *arguments: str, content: bytes = b"", seconds: float = 30) -> None:
    before = psutil.Process().children()
    with pytest.raises(WelError, match=sentence):
        check_apart(check, *arguments, content=content, seconds=seconds)
    assert psutil.Process().children() == before  # nothing is left, not even a zombie


def test_nothing_is_raised():
    assert check_apart(remember, "a", seconds=30) is None
    assert VALUES == []  # it was the other process's list


def test_its_own_sentence():
    refused("^Größer als 3.$", refuse, "Größer als 3.")


def test_other_errors():
    refused(r"^It is broken \('a'\). Expected a whole file as Keras saves it.$", look_up, "a")
    refused("^It is broken", convert, "x\ny")
    refused("^It is broken", leave)


def test_input():
    refused("^3000000 bytes came in.$", refuse_input, content=b"abc" * 1_000_000)
    refused("^0 bytes came in.$", refuse_input)


@pytest.mark.parametrize("number", [signal.SIGSEGV, signal.SIGABRT, signal.SIGKILL])
def test_crash(number):
    refused("^It crashes the program that reads it.$", die, str(int(number)))


def test_crash_before_the_input_is_read():
    refused("^It crashes the program that reads it.$", die, str(int(signal.SIGSEGV)), content=b"a" * 1_000_000)


def test_hang():
    start = time.monotonic()
    refused("^It cannot be read within 0.2 seconds.$", sleep, seconds=0.2)
    assert time.monotonic() - start < 10


def test_it_is_fresh():
    """No TensorFlow, which this process may have, and nothing but what the check imports."""
    refused("^wel$", refuse_imports)


def test_strangers_modules_are_not_found(tmp_path, monkeypatch):
    """Files beside a model file, in the current directory, are no modules; PYTHONPATH and start-up files add none."""
    for name in ("json.py", "wel.py", "sitecustomize.py", "usercustomize.py"):
        (tmp_path / name).write_text("open('the code ran', 'w')")
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("PYTHONPATH", str(tmp_path))
    monkeypatch.syspath_prepend("")
    refused("^False False$", refuse_path)
    assert not (tmp_path / "the code ran").exists()


def test_a_check_that_cannot_be_imported(monkeypatch):
    monkeypatch.setattr(remember, "__module__", "nowhere_at_all")
    sentence = "(?s)nowhere_at_all cannot be run in a process of its own: .*No module named 'nowhere_at_all'"
    with pytest.raises(RuntimeError, match=sentence):
        check_apart(remember, seconds=30)


GARBAGE = """
import gc, sys
from pathlib import Path
import tensorflow as tf
from wel.modelfiles import hdf5

gc.disable()
path = Path(sys.argv[1])
for _ in range(3):
    model = tf.keras.Sequential([tf.keras.layers.Conv2D(2, 3, input_shape=(8, 8, 3)), tf.keras.layers.Flatten(), tf.keras.layers.Dense(2)])
    model.predict(tf.zeros((1, 8, 8, 3)), verbose=0)
    del model  # a cycle, with compiled functions in it, that the next collection frees
    gc.set_threshold(1)
    with hdf5.opened(path, path.stat().st_size) as file:
        print(len(file["model_weights"]))
    gc.set_threshold(700)
"""


def test_a_caller_with_garbage_models(tmp_path):
    """A copy of the caller collected its models, and TensorFlow crashed in it (5 of 117 good files were refused)."""
    file = Path(__file__).parents[1] / "legacy" / "keras3_sequential.h5"
    done = subprocess.run([sys.executable, "-c", GARBAGE, str(file)], capture_output=True, text=True, timeout=300)
    assert done.returncode == 0, done.stderr[-2000:]
    assert done.stdout.split() == ["8"] * 3
