"""The architecture: imports run down, and what a command line needs at once imports neither TensorFlow nor matplotlib's state machine."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

from importlinter.api import read_configuration
from importlinter.cli import lint_imports

ROOT = Path(__file__).resolve().parent.parent
PYPROJECT = str(ROOT / "pyproject.toml")
FIGURES = [f"wel.figures.{path.stem}" for path in sorted((ROOT / "wel" / "figures").glob("[a-z]*.py"))]
IMPORTED = """
import importlib, pkgutil, sys
for name in sys.argv[1:]:
    module = importlib.import_module(name)
    for inner in pkgutil.walk_packages(getattr(module, "__path__", []), f"{name}."):
        importlib.import_module(inner.name)
print(*sorted({"tensorflow", "keras", "matplotlib.pyplot"} & set(sys.modules)))
"""


def test_contracts_hold(monkeypatch):
    monkeypatch.chdir(ROOT)
    assert lint_imports(config_filename=PYPROJECT, no_cache=True) == 0


def test_light_modules_import_neither_tensorflow_nor_pyplot():
    """Those of the contract, and the figures: in one new process, with all that lies in them."""
    contracts = read_configuration(PYPROJECT)["contracts_options"]
    (light,) = [contract["source_modules"] for contract in contracts if contract["type"] == "forbidden"]
    command = [sys.executable, "-c", IMPORTED, *light, *FIGURES]
    done = subprocess.run(command, capture_output=True, text=True, env={**os.environ, "PYTHONPATH": str(ROOT)})
    assert (done.returncode, done.stdout) == (0, "\n"), done.stderr
