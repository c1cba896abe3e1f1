"""What commands print with: names of files and layers are text, whatever is in them."""

from __future__ import annotations

from io import StringIO

import pytest
from rich.console import Console

from wel.cli.console import numeric_table, printable


@pytest.mark.parametrize("name", ["net[/b].h5", "[red]net", ":car: net", "[link=x]net[/link]"])
def test_names_in_tables_are_text(name):
    """In titles, headings and cells."""
    written = Console(file=StringIO(), width=160)
    written.print(printable([name], [[f"{name} of a table that is wider than its title"]], name))  # 1 + 1 + 1
    written.print(numeric_table(name, [name], {name: [name]}))  # 1 + 1 + 2
    assert written.file.getvalue().count(name) == 7


def test_control_characters_do_not_reach_the_terminal():
    written = Console(file=StringIO(), width=80)
    written.print(printable(["model"], [["a\x1b[2J\nb\u202ec\udcff"]]))
    assert "a\ufffd[2J b\ufffdc\ufffd" in written.file.getvalue()
