"""Scripts of experiments/, which are no package, as modules."""

from __future__ import annotations

import importlib
import sys
from pathlib import Path
from types import ModuleType


def imported(folder: Path, name: str) -> ModuleType:
    """The script of that name in a folder, imported as the interpreter that runs it would find it."""
    sys.path.insert(0, str(folder))
    try:
        return importlib.import_module(name)
    finally:
        sys.path.remove(str(folder))
