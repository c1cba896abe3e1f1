"""What all commands print with, and how they read lists."""

from __future__ import annotations

from typing import Mapping, Sequence

from rich.console import Console
from rich.table import Table

from wel.images.preprocessing import Preprocessing

PLAIN = {"markup": False, "soft_wrap": True}


def listed(names: str | None) -> str | list[str] | None:
    """Names given with commas as a list; \"all\" and None as they are."""
    if names is None or names == "all":
        return names
    return [name.strip() for name in names.split(",") if name.strip()]


def print_left_out(screen: Console, reasons: Mapping[str, str]) -> None:
    """A line for everything that was left out, and why."""
    for name, reason in reasons.items():
        screen.print(f"Left out: {name}. {reason}", **PLAIN)


def print_guess(screen: Console, preprocessing: Preprocessing) -> None:
    """A line that says that a preprocessing was guessed, and from what; none when it was not."""
    if preprocessing.guess:
        words = f"Preprocessing {preprocessing.spec} ({preprocessing.formula}) is a guess; --preprocess says otherwise."
        screen.print(f"{words} {preprocessing.guess}", **PLAIN)


def console() -> Console:
    """A console that keeps tables whole where standard output is a file or a pipe."""
    plain = Console()
    return plain if plain.is_terminal else Console(width=160)


def printable(headings: Sequence[str], rows: Sequence[Sequence]) -> Table:
    """Rows of anything as a table for the console."""
    table = Table(*headings)
    for row in rows:
        table.add_row(*map(str, row))
    return table
