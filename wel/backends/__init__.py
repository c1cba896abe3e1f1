"""Who computes: backends by name, one of each per process."""

from __future__ import annotations

import os
from functools import lru_cache
from pathlib import Path
from typing import TYPE_CHECKING

from wel.backends.process import Worker, own_worker
from wel.backends.wrapped import WrappedBackend, why_not_wrapped
from wel.errors import UnsupportedError, WelError, invalid, one_of
from wel.methods.registry import Method
from wel.networks.graph import Graph
from wel.system.arithmetic import ORIGINAL_SUMS

if TYPE_CHECKING:
    from wel.backends.native.backend import NativeBackend

WRAPPED = ("innvestigate", "deeplift")
BACKENDS = ("native", "wrapped", *WRAPPED, "original")


def check_backend(name: str) -> None:
    """Raises WelError unless there is a backend of that name."""
    if name not in BACKENDS:
        raise invalid("backend", name, one_of(BACKENDS))


def find_backend(name: str, method: Method) -> NativeBackend | WrappedBackend:
    """The backend of that name for a method; "wrapped" picks the package that has the method.

    Raises:
        WelError: when there is none of that name.
        UnsupportedError: when it does not compute the method.
    """
    check_backend(name)
    if name in ("native", "original"):
        return _started(name)
    if name not in ("wrapped", method.wrapped):
        raise UnsupportedError(f"Invalid value for `backend`: {name!r} does not compute {method.name}. Expected {method.wrapped!r}.")
    return _started(method.wrapped)


def check_applies(method: Method, backend: str, graph: Graph) -> None:
    """Refuses a method that a backend cannot compute for a network, before any work is done.

    Raises:
        WelError: for an unknown backend.
        UnsupportedError: saying what stands in the way.
    """
    name = find_backend(backend, method).name
    if name == "native":
        from wel.methods.composites import check_rules  # imports TensorFlow

        check_rules(method, graph)
    elif name != "original" and (reason := why_not_wrapped(method, graph)):
        raise UnsupportedError(reason)


@lru_cache(maxsize=None)
def _started(name: str) -> NativeBackend | WrappedBackend:
    if name == "native":
        from wel.backends.native.backend import NativeBackend  # imports TensorFlow

        return NativeBackend()
    if name == "original":
        command = _original_command()
        return WrappedBackend(name, lambda: Worker(command))
    return WrappedBackend(name, lambda: own_worker(f"wel.backends.{name}.worker", ORIGINAL_SUMS))


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
