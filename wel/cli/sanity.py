"""`wel random-logit` and `wel cascading`."""

from __future__ import annotations

from collections import Counter
from pathlib import Path

import pandas as pd
from rich.console import Console
from rich.table import Table

from wel.backends import check_backend
from wel.cli.console import PLAIN, console, listed, print_guess, print_left_out
from wel.cli.csc import context
from wel.images.load import ImageSet, load_images
from wel.methods.registry import METHODS, chosen_semantics
from wel.networks.loading import load
from wel.studies.cascading import cascading_randomization, choose_stages
from wel.studies.map_study import SanityResult, choose_map_methods
from wel.studies.random_logit import random_logit
from wel.system.progress import bar_steps


def run_random_logit(model, weights, images, labels, limit, preprocess, methods, seed, semantics, backend, out) -> None:
    """`wel random-logit`: computes, writes tables and the figure, prints the medians and where the files are."""
    chosen = checked(methods, semantics, backend)
    net = load(model, weights, seed=seed)
    pictures = load_images(net, images, labels, limit, preprocess)
    folder = out or Path("runs") / f"random-logit-{net.name}"
    screen = console()
    screen.print(f"{net.name}: {described(pictures)}", **PLAIN)
    print_guess(screen, pictures.preprocessing)
    settings = {"methods": chosen, "classes": pictures.labels, "seed": seed, "backend": backend, "semantics": semantics}
    with bar_steps("random-logit") as steps:
        result = random_logit(net, pictures.inputs, **settings, out=folder, context=context(net, pictures), steps=steps)
    from wel.figures.sanity import write_random_logit_figure  # matplotlib takes a second

    figures = write_random_logit_figure(result.table, result.images, METHODS, folder / "figures")
    _report(screen, result, _medians(result.table), folder, "random_logit", figures)


def run_cascading(model, weights, images, labels, limit, preprocess, methods, layers, seed, semantics, backend, out) -> None:
    """`wel cascading`: computes, writes tables and the figure, prints the medians and where the files are."""
    chosen = checked(methods, semantics, backend)
    net = load(model, weights, seed=seed)
    stages = choose_stages(net, listed(layers))
    pictures = load_images(net, images, labels, limit, preprocess)
    folder = out or Path("runs") / f"cascading-{net.name}"
    screen = console()
    shown = ", ".join(map(net.shown, stages))
    screen.print(f"{net.name}: {described(pictures)}; randomised down to {shown}", **PLAIN)
    print_guess(screen, pictures.preprocessing)
    settings = {"methods": chosen, "layers": stages, "classes": pictures.labels, "seed": seed, "backend": backend, "semantics": semantics}
    with bar_steps("cascading") as steps:
        result = cascading_randomization(net, pictures.inputs, **settings, out=folder, context=context(net, pictures), steps=steps)
    from wel.figures.sanity import write_cascading_figure

    figures = write_cascading_figure(result.table, METHODS, folder / "figures")
    _report(screen, result, _stage_medians(result.table), folder, "cascading", figures)


def checked(methods: str, semantics: str, backend: str):
    """What can be refused before TensorFlow is imported; gives the methods as the studies take them."""
    chosen = listed(methods)
    choose_map_methods(chosen)
    chosen_semantics(semantics)
    check_backend(backend)
    return chosen


def described(pictures: ImageSet) -> str:
    """How many images, where they come from, and where their classes do."""
    known = Counter(label is not None for label in pictures.labels)
    words = {True: "the true label", False: "the top-1 prediction"}
    classes = ", ".join(f"{words[one]} of {count}" for one, count in sorted(known.items(), reverse=True))
    return f"{len(pictures.names)} images ({pictures.source}); class: {classes}"


def _medians(table: pd.DataFrame) -> Table:
    found = Table("method", *(heading for heading in ("median", "99 % interval")), title="Median SSIM, true class and random other class")
    for (_, row), name in zip(table.iterrows(), _names(table)):
        found.add_row(name, _number(row["median"]), f"{_number(row['ci_low'])} – {_number(row['ci_high'])}")
    return found


def _stage_medians(table: pd.DataFrame) -> Table:
    stages = table.drop_duplicates("stage_index")["stage"]
    found = Table("method", *stages, title="Median SSIM to the untouched network's map, randomised down to a layer")
    for name, (_, rows) in zip(_names(table.drop_duplicates(["method", "semantics"])), table.groupby(["method", "semantics"], sort=False)):
        found.add_row(name, *map(_number, rows["median"]))
    return found


def _names(rows: pd.DataFrame) -> list[str]:
    several = rows["semantics"].nunique() > 1
    return [f"{method} ({semantics})" if several else method for method, semantics in zip(rows["method"], rows["semantics"])]


def _number(value: float) -> str:
    return "–" if pd.isna(value) else f"{value:.3f}"


def _report(screen: Console, result: SanityResult, medians: Table, folder: Path, name: str, figures: list[Path]) -> None:
    print_left_out(screen, result.skipped)
    screen.print(medians)
    tables = f"Table: {folder / f'{name}.csv'} (by image: {folder / f'{name}_images.csv'})"
    screen.print(f"{tables}\nFigure: {figures[0]} (and {figures[1].name})", **PLAIN)
