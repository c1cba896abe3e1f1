"""wel.modelfiles.apart: whatever a check does in the copy, this process gets a sentence or nothing."""

from __future__ import annotations

import os
import signal
import time

import numpy as np
import psutil
import pytest

from wel.errors import WelError
from wel.modelfiles.apart import check_apart


def refused(check, sentence: str, seconds: float = 30) -> None:
    before = psutil.Process().children()
    with pytest.raises(WelError, match=sentence):
        check_apart(check, seconds)
    assert psutil.Process().children() == before  # nothing is left, not even a zombie


def test_nothing_is_raised():
    values = []
    assert check_apart(lambda: values.append(1), 30) is None
    assert values == []  # it was the copy's list


def test_its_own_sentence():
    def check():
        raise WelError("Größer als 3.")

    refused(check, "^Größer als 3.$")


def test_other_errors():
    refused(lambda: {}["a"], r"^It is broken \('a'\). Expected a whole file as Keras saves it.$")
    refused(lambda: int("x\ny"), "^It is broken")
    refused(lambda: exit(3), "^It is broken")


@pytest.mark.parametrize("number", [signal.SIGSEGV, signal.SIGABRT, signal.SIGKILL])
def test_crash(number):
    refused(lambda: os.kill(os.getpid(), number), "^It crashes the program that reads it.$")


def test_hang():
    start = time.monotonic()
    refused(lambda: time.sleep(60), "^It cannot be read within 0.2 seconds.$", seconds=0.2)
    assert time.monotonic() - start < 10


def test_memory_of_the_copy_is_its_own():
    before = np.ones(1000)

    def check():
        before[:] = 0

    check_apart(check, 30)
    assert before.all()


def test_system_without_fork(monkeypatch):
    monkeypatch.delattr(os, "fork")
    values = []
    check_apart(lambda: values.append(1), 30)
    assert values == [1]
