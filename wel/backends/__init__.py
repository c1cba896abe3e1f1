"""Who computes: backends by name, one of each per process."""

from __future__ import annotations

from functools import lru_cache
from typing import TYPE_CHECKING

from wel.errors import UnsupportedError, invalid, one_of
from wel.system.arithmetic import ARITHMETICS
from wel.system.environments import ORIGINAL, WRAPPED
from wel.system.files import original_folder

# the workers import this package under interpreters that have not what wel needs, so the rest is imported where it is used
if TYPE_CHECKING:
    from wel.backends.request import Backend
    from wel.methods.registry import Method

PACKAGES = ("innvestigate", "deeplift")
BACKENDS = ("native", "wrapped", *PACKAGES, "original")


def check_backend(name: str) -> None:
    """Raises WelError unless there is a backend of that name, and what it needs is installed."""
    if name not in BACKENDS:
        raise invalid("backend", name, one_of(BACKENDS))
    if name != "native":
        (ORIGINAL if name == "original" else WRAPPED).python()


def find_backend(name: str, method: Method) -> Backend:
    """The backend of that name for a method; "wrapped" picks the package that has the method.

    Raises:
        WelError: when there is none of that name, or what it needs is not installed.
        UnsupportedError: when it does not compute the method.
    """
    check_backend(name)
    if name == "native":
        return _started(name)
    if method.wrapped is None:
        raise UnsupportedError(f"Invalid value for `backend`: {name!r} does not compute {method.name}. Expected 'native'.")
    if name == "original":
        return _started(name)
    if name not in ("wrapped", method.wrapped):
        raise UnsupportedError(f"Invalid value for `backend`: {name!r} does not compute {method.name}. Expected {method.wrapped!r}.")
    return _started(method.wrapped)


@lru_cache(maxsize=None)
def _started(name: str) -> Backend:
    if name == "native":
        from wel.backends.native.backend import NativeBackend  # imports TensorFlow

        return NativeBackend()
    from wel.backends.process import Worker, module_worker
    from wel.backends.wrapped import WrappedBackend

    if name == "original":
        driver = str(original_folder() / "driver.py")
        return WrappedBackend(name, lambda: Worker([ORIGINAL.python(), driver]))
    return WrappedBackend(name, lambda: module_worker(WRAPPED.python(), f"wel.backends.{name}.worker", ARITHMETICS["original"]))
