"""What the commands do: arguments in, files and tables out. Kept apart from `wel.cli` so that `wel --help` is quick."""
from __future__ import annotations

from pathlib import Path
from typing import Sequence

import numpy as np
import pandas as pd
from rich.console import Console
from rich.table import Table

from wel.applicability import why_not
from wel.backends import check_backend
from wel.cifar10 import load_cifar10
from wel.citations import CITATIONS
from wel.data import ImageSet, load_images, preprocess
from wel.errors import invalid
from wel.loading import load
from wel.methods import METHODS, choose_methods
from wel.network import Network
from wel.paths import written_whole
from wel.progress import bar_steps
from wel.studies.csc import CSCResult, chosen_semantics, csc
from wel.studies.verification import verify
from wel.zoo import ZOO

PLAIN = {"markup": False, "soft_wrap": True}


def run_csc(model, weights, images, labels, limit, methods, start_layers, vectors, seed, batch_size, semantics, backend, out) -> None:
    """`wel csc`: computes, writes table and figures, prints the medians at the input and where the files are."""
    chosen = _listed(methods)
    choose_methods(chosen)
    chosen_semantics(semantics)
    check_backend(backend)
    net = load(model, weights, seed=seed)
    starts = net.start_layers(_listed(start_layers))
    pictures = load_images(net, images, labels, limit)
    folder = out or Path("runs") / f"csc-{net.name}"
    console = _console()
    shown = ", ".join(map(net.shown, starts))
    console.print(f"{net.name}: {len(pictures.names)} images ({pictures.source}), {vectors} vectors, start layers {shown}", **PLAIN)
    settings = {"methods": chosen, "start": starts, "vectors": vectors, "seed": seed, "backend": backend, "semantics": semantics}
    with bar_steps("csc") as steps:
        kept = {"batch_size": batch_size, "out": folder, "context": _context(net, pictures), "steps": steps}
        result = csc(net, pictures.inputs, **settings, **kept)
    from wel.figures import write_csc_figures  # matplotlib takes a second

    figures = write_csc_figures(result.table, METHODS, folder / "figures", result.histograms)
    for method, reason in result.skipped.items():
        console.print(f"Left out: {method}. {reason}", markup=False)
    console.print(_medians_at_input(result))
    console.print(f"Table: {folder / 'csc.csv'}\nFigure: {figures[0]} (and {len(figures) - 1} more)", **PLAIN)


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
        name = f"{method} ({semantics})" if several else method
        table.add_row(name, *("–" if pd.isna(row[start]) else f"{row[start]:.4f}" for start in starts))
    return table


def run_verify(model, weights, backends, methods, start_layers, images, limit, vectors, seed, semantics, original, save, out) -> bool:
    """`wel verify`: compares, prints one line per method and start layer, writes the csv; tells whether all is within tolerance."""
    net = load(model, weights, seed=seed)
    pictures = None if original else load_images(net, images, limit=limit).inputs
    with bar_steps("verify") as steps:
        found = verify(
            net,
            pictures,
            _listed(methods),
            _listed(start_layers),
            vectors,
            seed,
            _listed(backends),
            semantics,
            original,
            save,
            steps,
        )
    console = _console()
    for (method, backend), reason in found.left_out.items():
        console.print(f"Left out: {method} ({backend}). {reason}", **PLAIN)
    if save is not None:
        console.print(f"Numbers: {save}", **PLAIN)
    if len(found.table):
        console.print(_verdicts(found.table))
        with written_whole(out) as path:
            found.table.to_csv(path, index=False)
        console.print(f"Table: {out}", **PLAIN)
    return found.passed


def _verdicts(table: pd.DataFrame) -> Table:
    rows = []
    for (method, start, backend, reference), group in table.groupby(["method", "start", "backend", "reference"], sort=False):
        rows.append(
            (
                method,
                start,
                f"{backend} / {reference}",
                _number(group["relative_l2"].max()),
                _number(group["csc_difference"].max()),
                _number(group["tolerance_l2"].iloc[0]),
                _number(group["tolerance_csc"].iloc[0]),
                "equal" if group["passed"].all() else f"differs at {group.loc[~group['passed'], 'layer'].iloc[-1]}",
            )
        )
    return _table(("method", "start", "compared", "largest L2", "largest ΔCSC", "L2 allowed", "ΔCSC allowed", "verdict"), rows)


def _number(value: float) -> str:
    return "–" if pd.isna(value) else f"{value:.1e}"


def run_fit_patterns(model, weights, images, limit, estimator, semantics, batch_size, seed, half, out) -> None:
    """`wel fit-patterns`: fits, writes the file."""
    from wel.fitting import fit_patterns

    if not out.parent.is_dir():
        raise invalid("out", str(out), "a file in an existing directory")
    net = load(model, weights, seed=seed)
    inputs = _cifar10_training_images(net, limit) if images == "cifar10" else load_images(net, Path(images), limit=limit).inputs
    with bar_steps("fit-patterns") as steps:
        patterns = fit_patterns(net, inputs, estimator, semantics, batch_size, seed, steps)
    patterns.save(out, half)
    _console().print(f"{net.name}: {len(patterns.arrays)} patterns ({estimator}, {semantics}) from {len(inputs)} images: {out}", **PLAIN)


def _cifar10_training_images(net: Network, limit: int | None) -> np.ndarray:
    return preprocess(load_cifar10().train.images[:limit], net.architecture.preprocessing if net.architecture else "0-1")


def run_train(model: str, out: Path | None, seed: int, epochs: int | None) -> None:
    """`wel train`: trains, prints the card."""
    from wel.train import train

    folder = out or Path("runs") / f"train-{model}"
    card = train(model, folder, seed, epochs)
    words = f"{model}: test accuracy {card['test_accuracy']:.4f} on {card['test_images']} images. Weights and card: {folder}"
    _console().print(words, **PLAIN)


def show_models() -> None:
    """`wel models`: the zoo."""
    rows = [
        (arch.name, "×".join(map(str, arch.input_shape)), arch.classes, arch.preprocessing, ", ".join(arch.start_layers))
        for arch in ZOO.values()
    ]
    _console().print(_table(("model", "input", "classes", "preprocessing", "start layers"), rows))


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
    console = _console()
    console.print(_table(headings, rows))
    for key in dict.fromkeys(m.source for m in METHODS.values()):
        console.print(f"{key}: {CITATIONS[key]}", markup=False)


def _options(options: dict) -> str:
    return ", ".join(f"{key}={'from images' if value is None else value}" for key, value in options.items())


def _console() -> Console:
    """A console that keeps tables whole where standard output is a file or a pipe."""
    plain = Console()
    return plain if plain.is_terminal else Console(width=160)


def _table(headings: Sequence[str], rows: Sequence[Sequence]) -> Table:
    table = Table(*headings)
    for row in rows:
        table.add_row(*map(str, row))
    return table
