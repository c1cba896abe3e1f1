"""`wel random-logit` and `wel cascading`."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Optional

import typer

from wel.cli import flags
from wel.cli.console import PLAIN, listed, method_names, number, print_left_out, printable

if TYPE_CHECKING:
    import pandas as pd
    from rich.table import Table

    from wel.cli.inputs import Inputs
    from wel.studies.map_study import SanityResult

MOST_STAGES = 8  # in a printed table


def random_logit(
    *,
    model: flags.Model = "cifar10",
    images: flags.Images = None,
    labels: flags.Labels = None,
    limit: flags.Limit = None,
    preprocess: flags.Preprocess = None,
    methods: flags.Methods = "all",
    seed: flags.Seed = 0,
    semantics: flags.Semantics = "paper",
    backend: flags.Backend = "native",
    weights: flags.Weights = None,
    input_shape: flags.InputShape = None,
    output_index: flags.OutputIndex = None,
    input_name: flags.InputName = None,
    fixed: flags.Fixed = None,
    out: Annotated[Optional[Path], typer.Option("--out", help="Run directory; runs/random-logit-<model> by default.")] = None,
    device: flags.Device = "auto",
    allow_tf32: flags.AllowTf32 = False,
    arithmetic: flags.Arithmetic = None,
) -> None:
    """Compare the map of the true class with that of a random other class: tables and a box plot.

    A run that was interrupted goes on where it stopped when the same command is given again.
    """
    from wel.cli.inputs import chosen, known_classes, opened
    from wel.system.progress import bar_steps

    names = chosen(methods, semantics, backend, maps=True)
    given = {
        "images": images,
        "labels": labels,
        "limit": limit,
        "preprocess": preprocess,
        "input_shape": input_shape,
        "output_index": output_index,
        "input_name": input_name,
        "fixed": fixed,
    }
    inputs = opened(study="random-logit", model=model, weights=weights, seed=seed, out=out, **given)
    inputs.announce(known_classes(inputs.pictures))
    from wel.studies import random_logit as study  # imports TensorFlow

    with bar_steps("random-logit") as steps:
        result = study.random_logit(
            inputs.net,
            inputs.pictures.inputs,
            methods=names,
            classes=inputs.pictures.labels,
            seed=seed,
            backend=backend,
            semantics=semantics,
            out=inputs.folder,
            context=inputs.context,
            steps=steps,
        )
    from wel.figures.sanity import write_random_logit_figure  # matplotlib takes a second
    from wel.methods.registry import METHODS

    figures = write_random_logit_figure(result.table, result.images, METHODS, inputs.folder / "figures")
    _report(inputs, result, _medians(result.table), "random_logit", figures)


def cascading(
    *,
    model: flags.Model = "cifar10",
    images: flags.Images = None,
    labels: flags.Labels = None,
    limit: flags.Limit = None,
    preprocess: flags.Preprocess = None,
    methods: flags.Methods = "all",
    layers: Annotated[
        Optional[str], typer.Option("--layers", help="'all' with weights, or names with commas; the paper's by default.")
    ] = None,
    seed: flags.Seed = 0,
    semantics: flags.Semantics = "paper",
    backend: flags.Backend = "native",
    weights: flags.Weights = None,
    input_shape: flags.InputShape = None,
    output_index: flags.OutputIndex = None,
    input_name: flags.InputName = None,
    fixed: flags.Fixed = None,
    out: Annotated[Optional[Path], typer.Option("--out", help="Run directory; runs/cascading-<model> by default.")] = None,
    device: flags.Device = "auto",
    allow_tf32: flags.AllowTf32 = False,
    arithmetic: flags.Arithmetic = None,
) -> None:
    """Randomise the network from the last layer down and compare its maps with the untouched network's: tables and curves.

    A run that was interrupted goes on where it stopped when the same command is given again.
    """
    from wel.cli.inputs import chosen, known_classes, opened
    from wel.system.progress import bar_steps

    names = chosen(methods, semantics, backend, maps=True)
    given = {
        "images": images,
        "labels": labels,
        "limit": limit,
        "preprocess": preprocess,
        "input_shape": input_shape,
        "output_index": output_index,
        "input_name": input_name,
        "fixed": fixed,
    }
    inputs = opened(study="cascading", model=model, weights=weights, seed=seed, out=out, **given)
    from wel.studies import cascading as study  # imports TensorFlow

    stages = study.choose_stages(inputs.net, listed(layers))
    inputs.announce(known_classes(inputs.pictures), f"; randomised down to {_in_words(list(map(inputs.net.shown, stages)))}")
    with bar_steps("cascading") as steps:
        result = study.cascading_randomization(
            inputs.net,
            inputs.pictures.inputs,
            methods=names,
            layers=stages,
            classes=inputs.pictures.labels,
            seed=seed,
            backend=backend,
            semantics=semantics,
            out=inputs.folder,
            context=inputs.context,
            steps=steps,
        )
    from wel.figures.sanity import write_cascading_figure  # matplotlib takes a second
    from wel.methods.registry import METHODS

    figures = write_cascading_figure(result.table, METHODS, inputs.folder / "figures")
    _report(inputs, result, _stage_medians(result.table), "cascading", figures)


def _medians(table: pd.DataFrame) -> Table:
    numbers = [[number(value, ".3f") for value in row] for row in table[["median", "ci_low", "ci_high"]].to_numpy()]
    rows = [(name, median, f"{low} – {high}") for name, (median, low, high) in zip(_names(table), numbers)]
    return printable(("method", "median", "99 % interval"), rows, f"Median {_measured(table)}, true class and random other class")


def _stage_medians(table: pd.DataFrame) -> Table:
    stages = table.drop_duplicates("stage_index")
    last = min(len(stages), MOST_STAGES) - 1
    kept = stages.iloc[[round(place * (len(stages) - 1) / max(last, 1)) for place in range(last + 1)]]
    few = table.assign(name=_names(table))[table["stage_index"].isin(kept["stage_index"])]
    rows = [(name, *(number(value, ".3f") for value in group)) for name, group in few.groupby("name", sort=False)["median"]]
    part = "" if len(kept) == len(stages) else f"; {len(kept)} of {len(stages)} stages"
    title = f"Median {_measured(table)} to the untouched network's map, randomised down to a layer{part}"
    return printable(("method", *kept["stage"]), rows, title)


def _in_words(stages: list[str]) -> str:
    """All stages, or where there is no room for them how many there are between the first and the last."""
    return ", ".join(stages) if len(stages) <= MOST_STAGES else f"{stages[0]}, … {len(stages) - 2} more …, {stages[-1]}"


def _names(table: pd.DataFrame) -> list[str]:
    """The methods of rows, and by what maps were compared where they are no pictures."""
    measures = [f", {measure.replace('_', ' ')}" for measure in table["measure"]] if "measure" in table else [""] * len(table)
    return [name + measure for name, measure in zip(method_names(table), measures)]


def _measured(table: pd.DataFrame) -> str:
    if "measure" not in table:
        return "SSIM"
    return f"|cos| (by chance {table['baseline'].iloc[0]:.2f}) and rank correlation"


def _report(inputs: Inputs, result: SanityResult, medians: Table, name: str, figures: list[Path]) -> None:
    print_left_out(inputs.screen, result.skipped)
    inputs.screen.print(medians)
    tables = f"Table: {inputs.folder / f'{name}.csv'} (by image: {inputs.folder / f'{name}_images.csv'})"
    inputs.screen.print(f"{tables}\nFigure: {figures[0]} (and {figures[1].name})", **PLAIN)


COMMANDS = (random_logit, cascading)
