"""`wel random-logit` and `wel cascading`."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Optional

import typer

from wel.cli import flags
from wel.cli.console import PLAIN, listed, method_names, number, print_left_out, printable
from wel.errors import invalid, one_of

if TYPE_CHECKING:
    import pandas as pd
    from rich.table import Table

    from wel.cli.inputs import Inputs
    from wel.studies.map_study import SanityResult

MOST_STAGES = 8  # in a printed table
# order -> what is said before its stages, and of any of them
REACHING = {
    "top-down": ("randomised down to", "randomised down to a layer"),
    "bottom-up": ("randomised up to", "randomised up to a layer"),
    "independent": ("randomised one at a time:", "one layer randomised"),
}


def random_logit(
    *,
    model: flags.Model = "cifar10",
    images: flags.Images = None,
    labels: flags.Labels = None,
    limit: flags.Limit = None,
    preprocess: flags.Preprocess = None,
    methods: flags.Methods = "all",
    analyzer: flags.Analyzer = None,
    seed: flags.Seed = 0,
    semantics: flags.Semantics = "paper",
    backend: flags.Backend = "native",
    weights: flags.Weights = None,
    input_shape: flags.InputShape = None,
    output_index: flags.OutputIndex = None,
    input_name: flags.InputName = None,
    fixed: flags.Fixed = None,
    workers: flags.Workers = None,
    scheduler: flags.Scheduler = None,
    out: Annotated[Optional[Path], typer.Option("--out", help="Run directory; runs/random-logit-<model> by default.")] = None,
    device: flags.Device = "auto",
    allow_tf32: flags.AllowTf32 = False,
    arithmetic: flags.Arithmetic = None,
) -> None:
    """Compare the map of the true class with that of a random other class: tables and a box plot.

    A run that was interrupted goes on where it stopped when the same command is given again.
    """
    from wel.cli.inputs import chosen, known_classes, opened, with_analyzers
    from wel.system.cluster import connected
    from wel.system.progress import bar_steps

    names = chosen(methods, semantics, backend, maps=True, analyzer=analyzer)
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
    with connected(workers, scheduler) as client, bar_steps("random-logit") as steps:
        inputs = opened(study="random-logit", model=model, weights=weights, seed=seed, out=out, **given)
        asked = with_analyzers(names, analyzer, inputs.net)
        inputs.announce(known_classes(inputs.pictures))
        from wel.studies import random_logit as study  # imports TensorFlow

        result = study.random_logit(
            inputs.net,
            inputs.pictures.inputs,
            methods=asked,
            classes=inputs.pictures.labels,
            seed=seed,
            backend=backend,
            semantics=semantics,
            out=inputs.folder,
            context=inputs.context,
            steps=steps,
            client=client,
        )
    from wel.figures.sanity import write_random_logit_figure  # matplotlib takes a second
    from wel.methods.registry import drawn_with

    figures = write_random_logit_figure(result.table, result.images, drawn_with(asked), inputs.folder / "figures")
    _report(inputs, result, _medians(result.table), "random_logit", figures)


def cascading(
    *,
    model: flags.Model = "cifar10",
    images: flags.Images = None,
    labels: flags.Labels = None,
    limit: flags.Limit = None,
    preprocess: flags.Preprocess = None,
    methods: flags.Methods = "all",
    analyzer: flags.Analyzer = None,
    layers: Annotated[
        Optional[str], typer.Option("--layers", help="'all' with weights, or names with commas; the paper's by default.")
    ] = None,
    order: Annotated[
        str, typer.Option("--order", help="top-down, bottom-up (from the first layer up), or independent (one layer at a time).")
    ] = "top-down",
    measures: Annotated[
        Optional[str],
        typer.Option(
            "--measures",
            help="How maps are compared, with commas: ssim, cosine, rank_correlation, hog, complexity_rise (eMPRT); ssim by default, "
            "cosine,rank_correlation where maps are no pictures.",
        ),
    ] = None,
    absolute: Annotated[bool, typer.Option("--absolute", help="Compare maps without their signs.")] = False,
    bins: Annotated[
        Optional[int], typer.Option("--bins", min=2, help="Of the histograms behind complexity_rise; by Freedman and Diaconis by default.")
    ] = None,
    samples: Annotated[
        Optional[int], typer.Option("--samples", min=1, help="Average maps over so many noisy versions of an image (sMPRT).")
    ] = None,
    noise_scale: Annotated[
        Optional[float],
        typer.Option("--noise-scale", min=0, help="Standard deviation of that noise, in ranges (max − min) of the image; 0.1 by default."),
    ] = None,
    seed: flags.Seed = 0,
    semantics: flags.Semantics = "paper",
    backend: flags.Backend = "native",
    weights: flags.Weights = None,
    input_shape: flags.InputShape = None,
    output_index: flags.OutputIndex = None,
    input_name: flags.InputName = None,
    fixed: flags.Fixed = None,
    workers: flags.Workers = None,
    scheduler: flags.Scheduler = None,
    out: Annotated[Optional[Path], typer.Option("--out", help="Run directory; runs/cascading-<model> by default.")] = None,
    device: flags.Device = "auto",
    allow_tf32: flags.AllowTf32 = False,
    arithmetic: flags.Arithmetic = None,
) -> None:
    """Randomise the network from the last layer down and compare its maps with the untouched network's: tables and curves.

    A run that was interrupted goes on where it stopped when the same command is given again.
    """
    from wel.cli.inputs import chosen, known_classes, opened, with_analyzers
    from wel.measures.likeness import chosen_measures
    from wel.system.cluster import connected
    from wel.system.progress import bar_steps

    names = chosen(methods, semantics, backend, maps=True, analyzer=analyzer)
    compared = None if measures is None else chosen_measures(listed(measures) or [])
    if order not in REACHING:
        raise invalid("order", order, one_of(REACHING))
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
    with connected(workers, scheduler) as client, bar_steps("cascading") as steps:
        inputs = opened(study="cascading", model=model, weights=weights, seed=seed, out=out, **given)
        asked = with_analyzers(names, analyzer, inputs.net)
        from wel.studies import cascading as study  # imports TensorFlow

        stages = study.choose_stages(inputs.net, listed(layers), order)
        inputs.announce(known_classes(inputs.pictures), f"; {REACHING[order][0]} {_in_words(list(map(inputs.net.shown, stages)))}")
        result = study.cascading_randomization(
            inputs.net,
            inputs.pictures.inputs,
            methods=asked,
            layers=stages,
            classes=inputs.pictures.labels,
            seed=seed,
            backend=backend,
            semantics=semantics,
            out=inputs.folder,
            context=inputs.context,
            steps=steps,
            client=client,
            order=order,
            measures=compared,
            absolute=absolute,
            bins=bins,
            samples=samples,
            noise_scale=noise_scale,
        )
    from wel.figures.sanity import write_cascading_figure  # matplotlib takes a second
    from wel.methods.registry import drawn_with

    figures = write_cascading_figure(result.table, drawn_with(asked), inputs.folder / "figures")
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
    rows.append(("(correlation of activations)", *(number(value, ".3f") for value in kept["activation_correlation"])))
    part = "" if len(kept) == len(stages) else f"; {len(kept)} of {len(stages)} stages"
    title = f"Median {_measured(table)} to the untouched network's map, {REACHING[table['order'].iloc[0]][1]}{part}"
    return printable(("method", *kept["stage"]), rows, title)


def _in_words(stages: list[str]) -> str:
    """All stages, or where there is no room for them how many there are between the first and the last."""
    return ", ".join(stages) if len(stages) <= MOST_STAGES else f"{stages[0]}, … {len(stages) - 2} more …, {stages[-1]}"


def _names(table: pd.DataFrame) -> list[str]:
    """The methods of rows, and by what maps were compared where that is not one for all."""
    several = table["measure"].nunique() > 1
    measures = [f", {measure.replace('_', ' ')}" if several else "" for measure in table["measure"]]
    return [name + measure for name, measure in zip(method_names(table), measures)]


def _measured(table: pd.DataFrame) -> str:
    """By what maps were compared, in words."""
    from wel.measures.likeness import MEASURES  # scipy takes a second

    rows = table.drop_duplicates("measure")
    chances = [f" (by chance {chance:.2f})" if chance == chance else "" for chance in rows["baseline"]]
    words = [MEASURES[name].label + chance for name, chance in zip(rows["measure"], chances)]
    return words[0] if len(words) == 1 else f"{', '.join(words[:-1])} and {words[-1]}"


def _report(inputs: Inputs, result: SanityResult, medians: Table, name: str, figures: list[Path]) -> None:
    print_left_out(inputs.screen, result.skipped)
    inputs.screen.print(medians)
    tables = f"Table: {inputs.folder / f'{name}.csv'} (by image: {inputs.folder / f'{name}_images.csv'})"
    inputs.screen.print(f"{tables}\nFigure: {figures[0]} (and {figures[1].name})", **PLAIN)


COMMANDS = (random_logit, cascading)
