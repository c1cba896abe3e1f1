"""`wel models` and `wel methods`."""

from __future__ import annotations

from pathlib import Path

import pandas as pd
from rich.table import Table

from wel.cli.console import PLAIN, console, printable
from wel.cli.networks import _size
from wel.errors import invalid
from wel.images.load import load_images
from wel.methods.registry import CITATIONS, METHODS, Method, check_semantics, find_method
from wel.networks.loading import load
from wel.networks.network import Network

NO_LEAK = 1e-5  # relative; float32 sums differ by less


def show_methods(
    method: str | None,
    model: str | None,
    weights: str | None,
    semantics: str,
    leaks: bool,
    images: Path | None,
    limit: int,
    seed: int,
) -> None:
    """`wel methods`: the registry, or one method and its rules for a network, or where that leaks.

    Raises:
        WelError: for anything in the arguments that cannot be used.
    """
    chosen = find_method(method, maps=not leaks) if method else None
    check_semantics(semantics)
    if leaks and not (chosen and model):
        raise invalid("leaks", leaks, "a method and a model with it: wel methods METHOD --model MODEL --leaks")
    net = load(model, weights, seed=seed) if model else None
    if chosen is None:
        _show_registry(net)
        return
    _show_description(chosen)
    if net and leaks:
        _show_leaks(net, chosen, semantics, images, limit)
    elif net:
        _show_rules(net, chosen, semantics)


def _show_registry(net: Network | None) -> None:
    headings = ["method", "label", "applies" if net else "backends", "CSC", "options", "source"]
    rows = [(m.name, m.label, _applies(m, net) if net else _backends(m), _csc(m), _options(m.defaults), m.source) for m in METHODS.values()]
    table = printable(headings, rows)
    table.columns[0].no_wrap = True
    screen = console()
    screen.print(table)
    for key in dict.fromkeys(m.source for m in METHODS.values()):
        screen.print(f"{key}: {CITATIONS[key]}", markup=False)


def _show_description(method: Method) -> None:
    described = {
        "label": method.label,
        "source": CITATIONS[method.source],
        "options": _options(method.defaults) or "none",
        "CSC": _csc(method),
        "backends": _backends(method),
    }
    screen = console()
    screen.print(method.name, **PLAIN)
    for key, value in described.items():
        screen.print(f"  {key}: {value}", **PLAIN)


def _show_rules(net: Network, method: Method, semantics: str) -> None:
    from wel.methods.composites import described, rules_for  # imports TensorFlow
    from wel.networks.kinds import activation_name

    rules = rules_for(net.graph, method.name, semantics, method.defaults)
    rows = []
    for name, pairs in rules.items():
        node = net.graph[name]
        activation = activation_name(node.layer)
        rows.append((net.shown(name), node.kind, activation if activation != "linear" else "", _size(node.shape), described(pairs)))
    screen = console()
    screen.print(f"{net.name}, {semantics}, from input to output:", **PLAIN)
    screen.print(printable(("layer", "kind", "activation", "shape", "rule"), rows))


def _show_leaks(net: Network, method: Method, semantics: str, images: Path | None, limit: int) -> None:
    from wel.studies.leaks import leaks  # imports TensorFlow

    pictures = load_images(net, images, limit=limit)
    table = leaks(net, method.name, pictures.inputs, semantics=semantics)
    screen = console()
    screen.print(f"{net.name}, {semantics}, means over {len(pictures.names)} images ({pictures.source}), from output to input:", **PLAIN)
    screen.print(_leaks(table))


def _leaks(table: pd.DataFrame) -> Table:
    rows = [
        (row.layer, row.rule, f"{row.arrived:.4g}", "" if pd.isna(row.handed_down) else f"{row.handed_down:.4g}", _share(row.relative))
        for row in table.itertuples()
    ]
    return printable(("layer", "rule", "comes in", "handed down", "leak"), rows)


def _share(relative: float) -> str:
    if pd.isna(relative):
        return ""
    return "0" if abs(relative) < NO_LEAK else f"{100 * relative:+.3g} %"


def _applies(method: Method, net: Network) -> str:
    """ "yes", or why not, without what the row says already."""
    from wel.methods.composites import why_not  # imports TensorFlow

    return (why_not(method, net.graph) or "yes").removeprefix(f"Method '{method.name}' has ")


def _backends(method: Method) -> str:
    return f"native, {method.wrapped}, original"


def _csc(method: Method) -> str:
    return "yes" if method.csc else "map only"


def _options(options: dict) -> str:
    return ", ".join(f"{key}={'from images' if value is None else value}" for key, value in options.items())
