"""Who computes: backends by name, one of each per process."""

from __future__ import annotations

import os
from functools import lru_cache
from pathlib import Path

from wel.backends.process import Worker, own_worker
from wel.backends.request import Backend
from wel.backends.wrapped import WrappedBackend
from wel.errors import UnsupportedError, WelError, invalid, one_of
from wel.methods.registry import Method
from wel.system.arithmetic import ARITHMETICS

WRAPPED = ("innvestigate", "deeplift")
BACKENDS = ("native", "wrapped", *WRAPPED, "original")


def check_backend(name: str) -> None:
    """Raises WelError unless there is a backend of that name."""
    if name not in BACKENDS:
        raise invalid("backend", name, one_of(BACKENDS))


def find_backend(name: str, method: Method) -> Backend:
    """The backend of that name for a method; "wrapped" picks the package that has the method.

    Raises:
        WelError: when there is none of that name.
        UnsupportedError: when it does not compute the method.
    """
    check_backend(name)
    if name in ("native", "original"):
        return _started(name)
    if method.wrapped is None:
        raise UnsupportedError(f"Invalid value for `backend`: {name!r} does not compute {method.name}. Expected 'native'.")
    if name not in ("wrapped", method.wrapped):
        raise UnsupportedError(f"Invalid value for `backend`: {name!r} does not compute {method.name}. Expected {method.wrapped!r}.")
    return _started(method.wrapped)


@lru_cache(maxsize=None)
def _started(name: str) -> Backend:
    if name == "native":
        from wel.backends.native.backend import NativeBackend  # imports TensorFlow

        return NativeBackend()
    if name == "original":
        command = _original_command()
        return WrappedBackend(name, lambda: Worker(command))
    return WrappedBackend(name, lambda: own_worker(f"wel.backends.{name}.worker", ARITHMETICS["original"]))


def _original_command() -> list[str]:
    """The 2020 stack's driver under its own Python 3.7: `$WEL_ORIGINAL_PYTHON`, else what `make original` has built."""
    root = Path(__file__).parents[2]
    python = os.environ.get("WEL_ORIGINAL_PYTHON", str(root / ".venv-original" / "bin" / "python"))
    if not Path(python).exists():
        raise WelError(
            f"The original stack is not installed: '{python}' does not exist. Expected `make original` to have been run, "
            "or WEL_ORIGINAL_PYTHON to name the Python 3.7 that has it."
        )
    packaged = Path(__file__).parents[1] / "original"
    folder = packaged if packaged.exists() else root / "experiments" / "original"
    return [python, str(folder / "driver.py")]
