"""TensorFlow imported without what it says on standard error before anybody can tell it not to."""

from __future__ import annotations

import os
import sys
import tempfile
from contextlib import contextmanager
from importlib.abc import Loader, MetaPathFinder
from importlib.util import find_spec
from typing import Iterator

QUIET = "TF_CPP_MIN_LOG_LEVEL"


def quiet_tensorflow() -> None:
    """Has TensorFlow say nothing while it is imported, unless that fails, or TF_CPP_MIN_LOG_LEVEL asks it to speak.

    From 2.16 on it tells of missing GPUs before it reads TF_CPP_MIN_LOG_LEVEL.
    """
    if os.environ.setdefault(QUIET, "3") == "3" and "tensorflow" not in sys.modules:
        sys.meta_path.insert(0, _Finder())


class _Finder(MetaPathFinder):
    """Finds TensorFlow once, as Python would, with a loader that keeps standard error aside."""

    def find_spec(self, fullname, path, target=None):
        if fullname != "tensorflow":
            return None
        sys.meta_path.remove(self)
        spec = find_spec(fullname)
        if spec is not None and spec.loader is not None:
            spec.loader = _Loader(spec.loader)
        return spec


class _Loader(Loader):
    def __init__(self, loader: Loader):
        self._loader = loader

    def __getattr__(self, name):
        return getattr(self._loader, name)

    def create_module(self, spec):
        return self._loader.create_module(spec)

    def exec_module(self, module):
        with _stderr_aside():
            self._loader.exec_module(module)


@contextmanager
def _stderr_aside() -> Iterator[None]:
    """What is written to standard error within is dropped; when the block fails, it is written after all."""
    sys.stderr.flush()
    before = os.dup(2)
    with tempfile.TemporaryFile() as kept:
        os.dup2(kept.fileno(), 2)
        try:
            yield
        except BaseException:
            os.dup2(before, 2)
            kept.seek(0)
            os.write(2, kept.read())
            raise
        finally:
            os.dup2(before, 2)
            os.close(before)
