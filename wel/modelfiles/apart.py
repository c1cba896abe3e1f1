"""A check in a process of its own: a library that hangs, crashes or takes all memory over a hostile file takes nothing else with it."""

from __future__ import annotations

import json
import subprocess
import sys
from importlib import import_module
from pathlib import Path
from typing import Callable

from wel.errors import WelError, first_line

# no start-up file of the installation runs, and the path is the caller's without the current directory, where strangers' files lie
COMMAND = "import json, sys; sys.path[:] = json.loads(sys.argv[1]); from wel.modelfiles.apart import answer; answer(*sys.argv[2:])"
# what the process writes when the check has come to an end, before the sentence of what was raised
ENDED = b"!"
LONGEST = 4000


def check_apart(check: Callable[..., None], *arguments: str, content: bytes = b"", seconds: float) -> None:
    """Calls a function in a fresh process, which shares nothing with this one, and raises its WelError here.

    A copy of this process would be quicker and is no place for it: it would run the finalizers of the caller's garbage, in which a library
    that has threads, such as TensorFlow, crashes.

    Args:
        check: a function of a module that imports little; returns nothing, and raises WelError for what it refuses.
        arguments: that it gets.
        content: what it reads from the standard input.
        seconds: that it may take.

    Raises:
        WelError: the function's own, or that it raised something else, took too long or crashed.
        RuntimeError: when the process cannot import the function.
    """
    path = [str(Path(__file__).parents[2]), *(entry for entry in sys.path if entry)]
    command = [sys.executable, "-I", "-S", "-c", COMMAND, json.dumps(path), check.__module__, check.__name__, *arguments]
    try:
        ended = subprocess.run(command, input=content, capture_output=True, timeout=seconds)
    except subprocess.TimeoutExpired as error:
        raise WelError(f"It cannot be read within {seconds:g} seconds.") from error
    if not ended.stdout.startswith(ENDED):
        if ended.returncode < 0:
            raise WelError("It crashes the program that reads it.")
        raise RuntimeError(f"{check.__module__} cannot be run in a process of its own: {ended.stderr.decode(errors='replace')[-LONGEST:]}")
    if sentence := ended.stdout.removeprefix(ENDED).decode():
        raise WelError(sentence)


def answer(module: str, name: str, *arguments: str) -> None:
    """In the process: calls the function and writes what it raised."""
    check = getattr(import_module(module), name)
    sentence = ""
    try:
        check(*arguments)
    except WelError as error:
        sentence = str(error)
    except BaseException as error:
        sentence = f"It is broken ({first_line(error)}). Expected a whole file as Keras saves it."
    sys.stdout.buffer.write(ENDED + sentence.encode(errors="replace")[:LONGEST])
