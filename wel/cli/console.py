"""What all commands print with, and how they read lists."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Mapping, Sequence

from wel.errors import visible, words_on

if TYPE_CHECKING:
    import pandas as pd
    from rich.console import Console
    from rich.table import Table

PLAIN = {"markup": False, "soft_wrap": True}


def listed(names: str | None) -> str | list[str] | None:
    """Names given with commas as a list; \"all\" and None as they are."""
    if names is None or names == "all":
        return names
    return [name.strip() for name in names.split(",") if name.strip()]


def number(value: float, form: str) -> str:
    """A number for a table, a dash for NaN; `form` as for `format`."""
    return "–" if math.isnan(value) else format(value, form)


def size(shape: Sequence[int]) -> str:
    """A shape for a table, such as 32×32×3."""
    return "×".join(map(str, shape))


def shown_method(method: str, semantics: str, several: bool) -> str:
    """A method for a table, with its semantics where there are several."""
    return f"{method} ({semantics})" if several else method


def method_names(rows: pd.DataFrame) -> list[str]:
    """The methods of a table's rows, with their semantics where there are several."""
    several = rows["semantics"].nunique() > 1
    return [shown_method(method, semantics, several) for method, semantics in zip(rows["method"], rows["semantics"])]


def print_left_out(screen: Console, reasons: Mapping[str, str]) -> None:
    """A line for everything that was left out, and why; what is left out for one reason stands in one line."""
    alike: dict[str, list[str]] = {}
    for name, reason in reasons.items():
        alike.setdefault(words_on(name, reason), []).append(name)
    for words, names in alike.items():
        alone = len(names) == 1 or words == reasons[names[0]]
        screen.print(f"Left out: {', '.join(names)}. {reasons[names[0]] if alone else f'Each {words}'}", **PLAIN)


def console() -> Console:
    """A console that keeps tables whole where standard output is a file or a pipe."""
    from rich.console import Console

    plain = Console()
    return plain if plain.is_terminal else Console(width=160)


def printable(headings: Sequence[str], rows: Sequence[Sequence], title: str | None = None) -> Table:
    """Rows of anything as a table for the console; what layers and files are called is text, also with brackets and control characters."""
    from rich.table import Table
    from rich.text import Text

    table = Table(title=title and Text(title, "table.title"))
    for heading in headings:
        table.add_column(Text(visible(heading)))
    for row in rows:
        table.add_row(*(Text(visible(str(cell))) for cell in row))
    return table


def numeric_table(title: str, columns: Sequence[str], rows: Mapping[str, Sequence[str]]) -> Table:
    """A table of numbers, one row per method, flushed right under their columns."""
    found = printable(("method", *columns), [(name, *cells) for name, cells in rows.items()], title)
    for column in found.columns[1:]:
        column.justify = "right"
    return found
