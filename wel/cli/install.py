"""`wel install`."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, List, Optional

import typer

from wel.cli.console import PLAIN, console
from wel.errors import invalid, one_of
from wel.system.environments import ENVIRONMENTS


def completed_environment(incomplete: str) -> List[str]:
    """The environments that begin so."""
    return [name for name in ENVIRONMENTS if name.startswith(incomplete)]


def install(
    environment: Annotated[
        str,
        typer.Argument(help="wrapped (iNNvestigate and deeplift) or original (the 2020 stack).", autocompletion=completed_environment),
    ],
    *,
    into: Annotated[Optional[Path], typer.Option("--into", help="Folder; in the user's cache by default.")] = None,
    python: Annotated[Optional[str], typer.Option("--python", help="Interpreter to make it with; one that is found by default.")] = None,
) -> None:
    """Install the packages that a backend wraps, into an environment of their own, from a lock with hashes."""
    if environment not in ENVIRONMENTS:
        raise invalid("environment", environment, one_of(ENVIRONMENTS))
    from wel.system.progress import progress

    chosen, screen = ENVIRONMENTS[environment], console()
    folder = (into or chosen.folders[-1]).absolute()
    interpreter = chosen.find_python(python) if python else None
    if chosen.is_whole(folder):
        screen.print(f"{folder} is whole already: {chosen.holds}.", **PLAIN)
        return
    interpreter, bar = interpreter or chosen.find_python(), progress()
    task = bar.add_task(environment, total=None)

    def tell(words: str, done: int, total: int) -> None:
        if not bar.live.is_started:
            screen.print(f"Making {folder} with {interpreter}: {chosen.holds}; some minutes", **PLAIN)
            bar.start()
        bar.update(task, description=words, completed=done, total=total or None)

    try:
        chosen.make(folder, interpreter, tell)
    finally:
        if bar.live.is_started:
            bar.stop()
    found = folder in chosen.folders
    screen.print(f"Made.{'' if found else f' {chosen.variable}={folder}/bin/python tells wel of it.'}", **PLAIN)


COMMANDS = (install,)
