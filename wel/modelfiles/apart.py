"""A check in a copy of this process: a library that hangs, crashes or takes all memory over a hostile file takes nothing else with it."""

from __future__ import annotations

import os
import select
import signal
from typing import Callable

from wel.errors import WelError


def check_apart(check: Callable[[], None], seconds: float) -> None:
    """Calls a function in a copy of this process and raises its WelError here.

    The copy is a fork, which sees what this process has in memory and starts in milliseconds; it calls nothing but the function.
    On systems without fork, the function is called in this process.

    Args:
        check: returns nothing, and raises WelError for what it refuses.
        seconds: that it may take.

    Raises:
        WelError: the function's own, or that it raised something else, took too long or crashed.
    """
    if not hasattr(os, "fork"):
        return check()
    reader, writer = os.pipe()
    child = os.fork()
    if child == 0:
        os.close(reader)
        _answer(check, writer)
    os.close(writer)
    try:
        # no answer, not even an empty one, comes from a copy that died
        ready, _, _ = select.select([reader], [], [], seconds)
        answer = _everything(reader) if ready else b""
    finally:
        os.close(reader)
        os.kill(child, signal.SIGKILL)
        os.waitpid(child, 0)
    if not ready:
        raise WelError(f"It cannot be read within {seconds:g} seconds.")
    if not answer:
        raise WelError("It crashes the program that reads it.")
    if sentence := answer[1:].decode():
        raise WelError(sentence)


def _answer(check: Callable[[], None], writer: int) -> None:
    """In the copy: writes one byte, and the sentence of what was raised."""
    sentence = ""
    try:
        check()
    except WelError as error:
        sentence = str(error)
    except BaseException as error:
        lines = str(error).splitlines() or [type(error).__name__]
        sentence = f"It is broken ({lines[0][:200]}). Expected a whole file as Keras saves it."
    finally:
        os.write(writer, b"!" + sentence.encode(errors="replace")[:4000])
        os._exit(0)


def _everything(reader: int) -> bytes:
    parts = []
    while part := os.read(reader, 1 << 16):
        parts.append(part)
    return b"".join(parts)
