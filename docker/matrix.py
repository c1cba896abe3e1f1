"""The fast tests on every Python that is there and the TensorFlows that go with it: `make test-matrix`.

    python docker/matrix.py FOLDER [OPTIONS OF PYTEST...]

Each pair has an environment FOLDER/<python>-<tensorflow>, with the newest packages that suit it, and a log beside it.
Exit code 1 if one fails.
"""

from __future__ import annotations

import subprocess
import sys
import time
from pathlib import Path
from typing import NamedTuple

from rich.console import Console
from rich.table import Table

from wel.system.environments import interpreters, outside

ROOT = Path(__file__).resolve().parent.parent
# the newest and the oldest TensorFlow, and the first that came with Keras 3: Pythons that it has wheels for, and what is installed
TENSORFLOWS = {
    "2.14": (("3.9", "3.10", "3.11"), [".[paper,test]"]),
    "2.16": (("3.9", "3.10", "3.11", "3.12"), [".[test]", "tensorflow==2.16.*"]),
    "2.21": (("3.10", "3.11", "3.12", "3.13"), [".[test]", "tensorflow==2.21.*"]),
}


class Ran(NamedTuple):
    """One environment's tests: in words how they ended, the seconds, and whether all passed."""

    words: str
    seconds: float
    passed: bool


def run(python: str, folder: Path, packages: list[str], options: list[str]) -> Ran:
    """Makes or mends an environment and runs the tests in it; all that is printed goes into its log."""
    own = str(folder / "bin" / "python")
    install = [own, "-m", "pip", "install", "--quiet", "--disable-pip-version-check", "--upgrade", "--editable"]
    commands = ([python, "-I", "-m", "venv", str(folder)], [*install, *packages], [own, "-m", "pytest", "-m", "not slow", *options])
    log, started = folder.with_suffix(folder.suffix + ".log"), time.perf_counter()
    with open(log, "w", encoding="utf-8") as file:
        for command in commands:
            code = subprocess.run(command, cwd=ROOT, env=outside(), stdout=file, stderr=subprocess.STDOUT).returncode
            if code:
                break
    lines = log.read_text(encoding="utf-8").split("\n")
    last = next((line.strip("= ") for line in reversed(lines) if line.strip()), "")
    return Ran(last, time.perf_counter() - started, code == 0)


def main(folder: str, *options: str) -> int:
    """Runs them one after another and prints a table; the exit code."""
    screen, found = Console(), {}
    for tensorflow, (versions, packages) in TENSORFLOWS.items():
        for version in versions:
            name = f"{version}-{tensorflow}"
            python = next((path for path, _, has_pip in interpreters([version]) if has_pip), None)
            if python is None:
                screen.print(f"Python {version} is not there.")
                continue
            screen.print(f"Python {version}, TensorFlow {tensorflow}: {folder}/{name}.log")
            Path(folder).mkdir(exist_ok=True)
            found[version, tensorflow] = run(python, Path(folder).absolute() / name, packages, list(options))
    table = Table("Python", "TensorFlow", "seconds", "", "")
    for pair, one in found.items():
        table.add_row(*pair, f"{one.seconds:.0f}", "passed" if one.passed else "failed", one.words)
    screen.print(table)
    return 0 if found and all(one.passed for one in found.values()) else 1


if __name__ == "__main__":
    sys.exit(main(*sys.argv[1:]))
