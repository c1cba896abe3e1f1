"""`wel models` and `wel methods`."""
from __future__ import annotations

from wel.applicability import why_not
from wel.citations import CITATIONS
from wel.commands.console import console, printable
from wel.loading import load
from wel.methods import METHODS
from wel.zoo import ZOO


def show_models() -> None:
    """`wel models`: the zoo."""
    rows = [
        (arch.name, "×".join(map(str, arch.input_shape)), arch.classes, arch.preprocessing, ", ".join(arch.start_layers))
        for arch in ZOO.values()
    ]
    console().print(printable(("model", "input", "classes", "preprocessing", "start layers"), rows))


def show_methods(model: str | None, weights: str | None) -> None:
    """`wel methods`: the registry; for a network also whether a method applies."""
    net = load(model, weights) if model else None
    headings = ["method", "label", "backends", "CSC", *(["applies"] if net else []), "options", "source"]
    rows = [
        (
            m.name,
            m.label,
            f"{m.wrapped}, original",
            "yes" if m.csc else "map only",
            *([why_not(m, net.graph) or "yes"] if net else []),
            _options(m.options),
            m.source,
        )
        for m in METHODS.values()
    ]
    screen = console()
    screen.print(printable(headings, rows))
    for key in dict.fromkeys(m.source for m in METHODS.values()):
        screen.print(f"{key}: {CITATIONS[key]}", markup=False)


def _options(options: dict) -> str:
    return ", ".join(f"{key}={'from images' if value is None else value}" for key, value in options.items())
