"""`wel singular-values`."""

from __future__ import annotations

from pathlib import Path

import pandas as pd
from rich.console import Console
from rich.table import Table

from wel.cli.console import PLAIN, console, listed, print_guess, print_left_out, printable
from wel.cli.csc import context
from wel.errors import UnsupportedError, invalid
from wel.images.load import load_images
from wel.methods.patterns import Patterns
from wel.methods.registry import METHODS, choose_methods, chosen_semantics
from wel.networks.loading import load
from wel.networks.network import Network
from wel.studies.effective_rank import EffectiveRankResult, effective_rank
from wel.studies.singular_values import SingularValuesResult, singular_values
from wel.system.files import written_whole
from wel.system.progress import bar_steps


def run_singular_values(model, weights, images, limit, preprocess, methods, start_layers, vectors, seed, semantics, patterns, out) -> None:
    """`wel singular-values`: computes, writes tables and figures, prints the products, the ranks at the input and where the files are."""
    chosen = listed(methods)
    choose_methods(chosen)
    chosen_semantics(semantics)
    net = load(model, weights, seed=seed)
    given = None if patterns is None else _checked_patterns(net, patterns)
    starts = net.start_layers(listed(start_layers))
    pictures = load_images(net, images, None, limit, preprocess)
    folder = out or Path("runs") / f"singular-values-{net.name}"
    screen = console()
    shown = ", ".join(map(net.shown, starts))
    screen.print(f"{net.name}: {len(pictures.names)} images ({pictures.source}), {vectors} vectors, start layers {shown}", **PLAIN)
    print_guess(screen, pictures.preprocessing)
    settings = {"methods": chosen, "start": starts, "vectors": vectors, "seed": seed, "semantics": semantics}
    if given is not None:
        settings["options"] = {name: {"patterns": given} for name in _with_patterns(chosen)}
    with bar_steps("singular-values") as steps:
        ranks = effective_rank(net, pictures.inputs, **settings, out=folder, context=context(net, pictures), steps=steps)
    _report_ratios(screen, net, given, folder)
    _report_ranks(screen, ranks, folder)


def _checked_patterns(net: Network, path: Path) -> Patterns:
    patterns = Patterns.load(path)
    patterns.check(net)
    return patterns


def _with_patterns(chosen: str | list[str]) -> list[str]:
    return [method.name for method in choose_methods(chosen) if "patterns" in method.options]


def _report_ratios(screen: Console, net: Network, patterns: Patterns | None, folder: Path) -> None:
    from wel.figures.spectrum import write_singular_values_figure  # matplotlib takes a second

    try:
        ratios = singular_values(net, patterns)
    except UnsupportedError as error:
        screen.print(f"Left out: singular values of the weights. {error}", **PLAIN)
        return
    path = folder / "singular_values.csv"
    _write(path, ratios.table)
    figures = write_singular_values_figure(ratios.table, folder / "figures")
    print_left_out(screen, ratios.missing)
    screen.print(_ratios(ratios))
    screen.print(f"Table: {path}\nFigure: {figures[0]}", **PLAIN)


def _write(path: Path, table: pd.DataFrame) -> None:
    try:
        with written_whole(path) as temporary:
            temporary.write_text(table.to_csv(index=False), encoding="utf-8")
    except OSError as error:
        raise invalid("out", str(path.parent), f"a directory that can be written ({error.strerror or error})") from error


def _ratios(ratios: SingularValuesResult) -> Table:
    rows = []
    for (place, matrix, quantity), group in ratios.table.groupby(["place", "matrix", "quantity"], sort=False):
        low, middle, high = group["ratio"].min(), group["ratio"].median(), group["ratio"].max()
        product = group["product"].iloc[-1]
        numbers = [f"{value:.3g}" for value in (low, middle, high)]
        rows.append((quantity.replace("_", " ⊙ "), place, matrix, *numbers, "–" if pd.isna(product) else f"{product:.3g}"))
    return printable(("σ₁/σ₂ of", "place", "matrix", "least", "median", "most", "product"), rows)


def _report_ranks(screen: Console, ranks: EffectiveRankResult, folder: Path) -> None:
    from wel.figures.spectrum import write_effective_rank_figures

    figures = write_effective_rank_figures(ranks.table, METHODS, folder / "figures")
    print_left_out(screen, ranks.skipped)
    screen.print(_ranks_at_input(ranks.table))
    screen.print(f"Table: {folder / 'effective_rank.csv'}\nFigure: {figures[0]} (and {len(figures) - 1} more)", **PLAIN)


def _ranks_at_input(table: pd.DataFrame) -> Table:
    at_input = table[table["layer"] == "input"]
    starts = list(dict.fromkeys(at_input["start"]))
    several = at_input["semantics"].nunique() > 1
    found = Table(title="Effective rank at the input, by start layer: median location / whole layer (± standard error)")
    for heading in ("method", *starts):
        found.add_column(heading, justify="left" if heading == "method" else "right")
    for (method, semantics), group in at_input.groupby(["method", "semantics"], sort=False):
        by_start = group.set_index("start")
        cells = [_cell(by_start.loc[start]) for start in starts]
        found.add_row(f"{method} ({semantics})" if several else method, *cells)
    return found


def _cell(row: pd.Series) -> str:
    return f"{_number(row['rank_location'])} / {_number(row['rank_layer'])} ± {_number(row['rank_layer_error'])}"


def _number(value: float) -> str:
    if 1 < value < 1.01:
        return f"1 + {value - 1:.0e}"
    return "–" if pd.isna(value) else f"{value:.3g}"
