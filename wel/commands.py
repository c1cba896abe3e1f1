"""What the commands do: arguments in, files and tables out. Kept apart from `wel.cli` so that `wel --help` is quick."""
from __future__ import annotations

from pathlib import Path
from typing import Sequence

import pandas as pd
from rich.console import Console
from rich.table import Table

from wel.citations import CITATIONS
from wel.data import ImageSet, load_images
from wel.loading import load
from wel.methods import METHODS, choose_methods
from wel.network import Network
from wel.progress import BarSteps, progress
from wel.studies.csc import CSCResult, csc
from wel.zoo import ZOO


def run_csc(model, weights, images, labels, limit, methods, start_layers, vectors, seed, batch_size, semantics, backend, out) -> None:
    """`wel csc`: computes, writes table and figures, prints the medians at the input and where the files are."""
    from wel.figures import write_csc_figures

    chosen = _listed(methods)
    choose_methods(chosen)
    net = load(model, weights, seed=seed)
    starts = net.start_layers(_listed(start_layers))
    pictures = load_images(net, images, labels, limit)
    folder = out or Path("runs") / f"csc-{net.name}"
    console = Console()
    words = f"{net.name}: {len(pictures.names)} images ({pictures.source}), {vectors} vectors, start layers {', '.join(map(net.shown, starts))}"
    console.print(words, markup=False, soft_wrap=True)
    settings = {"methods": chosen, "start": starts, "vectors": vectors, "seed": seed, "backend": backend, "semantics": semantics}
    with progress() as bar:
        kept = {"batch_size": batch_size, "out": folder, "context": _context(net, pictures), "steps": BarSteps(bar, "csc")}
        result = csc(net, pictures.inputs, **settings, **kept)
    figures = write_csc_figures(result.table, METHODS, folder / "figures", result.histograms)
    for method, reason in result.skipped.items():
        console.print(f"Left out: {method}. {reason}", markup=False)
    console.print(_medians_at_input(result))
    console.print(f"Table: {folder / 'csc.csv'}\nFigure: {figures[0]} (and {len(figures) - 1} more)", markup=False, soft_wrap=True)


def _listed(names: str | None) -> str | list[str] | None:
    if names is None or names == "all":
        return names
    return [name.strip() for name in names.split(",") if name.strip()]


def _context(net: Network, pictures: ImageSet) -> dict:
    return {
        "images": pictures.names,
        "images_source": pictures.source,
        "labels": pictures.labels,
        "layers": [net.shown(name) for name in net.layers],
    }


def _medians_at_input(result: CSCResult) -> Table:
    at_input = result.table[result.table["layer"] == "input"]
    starts = list(dict.fromkeys(at_input["start"]))
    several = at_input["semantics"].nunique() > 1
    medians = at_input.pivot_table(index=["method", "semantics"], columns="start", values="median", sort=False, dropna=False)
    table = Table(title=f"Median |cos| at the input, by start layer (chance: {at_input['baseline'].iloc[0]:.2f})")
    for heading in ("method", *starts):
        table.add_column(heading, justify="left" if heading == "method" else "right")
    for (method, semantics), row in medians.iterrows():
        table.add_row(f"{method} ({semantics})" if several else method, *("–" if pd.isna(row[start]) else f"{row[start]:.4f}" for start in starts))
    return table


def run_train(model: str, out: Path | None, seed: int, epochs: int | None) -> None:
    """`wel train`: trains, prints the card."""
    from wel.train import train

    folder = out or Path("runs") / f"train-{model}"
    card = train(model, folder, seed, epochs)
    words = f"{model}: test accuracy {card['test_accuracy']:.4f} on {card['test_images']} images. Weights and card: {folder}"
    Console().print(words, markup=False, soft_wrap=True)


def show_models() -> None:
    """`wel models`: the zoo."""
    rows = [
        (arch.name, "×".join(map(str, arch.input_shape)), arch.classes, arch.preprocessing, ", ".join(arch.start_layers))
        for arch in ZOO.values()
    ]
    Console().print(_table(("model", "input", "classes", "preprocessing", "start layers"), rows))


def show_methods() -> None:
    """`wel methods`: the registry."""
    rows = [(m.name, m.label, m.wrapped, _options(m.options), CITATIONS[m.source]) for m in METHODS.values()]
    Console().print(_table(("method", "label", "backend", "options", "source"), rows))


def _options(options: dict) -> str:
    return ", ".join(f"{key}={'from images' if value is None else value}" for key, value in options.items())


def _table(headings: Sequence[str], rows: Sequence[Sequence]) -> Table:
    table = Table(*headings)
    for row in rows:
        table.add_row(*map(str, row))
    return table
