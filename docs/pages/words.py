"""Markdown of facts: tables, layer kinds in short, rules with links to where they are described."""

from __future__ import annotations

import ast
import re
from functools import cache
from pathlib import Path
from typing import Iterable

ROOT = Path(__file__).resolve().parents[2]


def table(headings: Iterable[str], rows: Iterable[Iterable[object]]) -> str:
    """A Markdown table."""
    lines = [list(headings)]
    lines += [["---"] * len(lines[0]), *rows]
    return "\n".join("| " + " | ".join(str(cell).replace("|", "\\|") for cell in line) + " |" for line in lines) + "\n"


def shortened(kinds: Iterable[str]) -> str:
    """Layer classes with commas; those for one, two and three dimensions as one, `Conv1D–3D`."""
    ranks: dict[str, list[str]] = {}
    for kind in kinds:
        name, rank = re.fullmatch(r"(.*?)(\dD)?", kind).groups(default="")
        ranks.setdefault(name, []).append(rank)
    names = [[f"{name}1D–3D"] if len(several) == 3 else [name + rank for rank in several] for name, several in ranks.items()]
    return ", ".join(f"`{name}`" for several in names for name in several)


@cache
def rule_classes() -> dict[str, tuple[str, str]]:
    """Every class of wel/rules by name: its module, and how what it says of itself begins. Nothing is imported."""
    found = {}
    for path in sorted((ROOT / "wel" / "rules").glob("*.py")):
        for node in ast.parse(path.read_text(encoding="utf-8")).body:
            if isinstance(node, ast.ClassDef) and not node.name.startswith("_"):
                found[node.name] = (f"wel.rules.{path.stem}", _beginning(ast.get_docstring(node) or ""))
    return found


def _beginning(docstring: str) -> str:
    """The first paragraph, and the second one where a sentence goes on there."""
    first, *others = docstring.split("\n\n")
    return " ".join([*first.split(), *(others[0].split() if others and first.endswith((",", ":")) else [])])


def linked(rule: str) -> str:
    """A rule in words, `Clipped AlphaBeta(α=1, β=0)`, with links to its classes."""
    return re.sub(r"\b[A-Z]\w*", lambda found: _link(found[0]), rule)


def _link(name: str) -> str:
    module, _ = rule_classes()[name]
    return f"[{name}][{module}.{name}]"
