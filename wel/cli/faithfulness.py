"""`wel faithfulness`."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Optional

import typer

from wel.cli import flags
from wel.cli.console import PLAIN, method_names, number, numeric_table, print_left_out

if TYPE_CHECKING:
    import pandas as pd
    from rich.table import Table


def faithfulness(
    *,
    model: flags.Model = "cifar10",
    images: flags.Images = None,
    labels: flags.Labels = None,
    limit: flags.Limit = None,
    preprocess: flags.Preprocess = None,
    methods: flags.Methods = "all",
    analyzer: flags.Analyzer = None,
    patch: Annotated[
        Optional[int], typer.Option("--patch", min=1, help="Side of a region; an eighth of the image's shortest side by default.")
    ] = None,
    regions: Annotated[str, typer.Option("--regions", help="squares, or superpixels, about as many.")] = "squares",
    parts: Annotated[Optional[int], typer.Option("--parts", min=2, help="In how many parts the regions are hidden; 16 by default.")] = None,
    baseline: Annotated[str, typer.Option("--baseline", help="What hides a region: mean, blur or linear.")] = "mean",
    sufficiency: Annotated[
        Optional[int],
        typer.Option(
            "--sufficiency",
            min=1,
            help="Keep the most relevant regions only: is the class still predicted? For so many classes, the image's and the most likely "
            "others, each with its own map.",
        ),
    ] = None,
    seed: flags.Seed = 0,
    semantics: flags.Semantics = "paper",
    weights: flags.Weights = None,
    input_shape: flags.InputShape = None,
    output_index: flags.OutputIndex = None,
    input_name: flags.InputName = None,
    fixed: flags.Fixed = None,
    workers: flags.Workers = None,
    scheduler: flags.Scheduler = None,
    out: Annotated[Optional[Path], typer.Option("--out", help="Run directory; runs/faithfulness-<model> by default.")] = None,
    device: flags.Device = "auto",
    allow_tf32: flags.AllowTf32 = False,
    arithmetic: flags.Arithmetic = None,
) -> None:
    """Hide what maps call relevant and see whether the class's score falls, beside two controls: tables and curves.

    A run that was interrupted goes on where it stopped when the same command is given again.
    """
    from wel.cli.inputs import chosen, known_classes, opened, with_analyzers
    from wel.system.cluster import connected
    from wel.system.progress import bar_steps

    names = chosen(methods, semantics, maps=True, analyzer=analyzer)
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
    with connected(workers, scheduler) as client, bar_steps("faithfulness") as steps:
        inputs = opened(study="faithfulness", model=model, weights=weights, seed=seed, out=out, **given)
        asked = with_analyzers(names, analyzer, inputs.net)
        inputs.announce(known_classes(inputs.pictures))
        from wel.studies import faithfulness as study  # imports TensorFlow

        result = study.faithfulness(
            inputs.net,
            inputs.pictures.inputs,
            methods=asked,
            patch=patch,
            regions=regions,
            parts=parts,
            baseline=baseline,
            classes=inputs.pictures.labels,
            seed=seed,
            semantics=semantics,
            out=inputs.folder,
            context=inputs.context,
            steps=steps,
            client=client,
            sufficiency=sufficiency,
        )
    from wel.figures.faithfulness import write_faithfulness_figure, write_sufficiency_figure  # matplotlib takes a second
    from wel.methods.registry import drawn_with

    figures = write_faithfulness_figure(result.table, result.curves, drawn_with(asked), inputs.folder / "figures")
    print_left_out(inputs.screen, result.skipped)
    inputs.screen.print(_medians(result.table))
    if sufficiency:
        figures += write_sufficiency_figure(result.sufficiency, drawn_with(asked), inputs.folder / "figures")
        inputs.screen.print(_predicted(result.sufficiency))
        inputs.screen.print(f"Sufficiency: {inputs.folder / 'faithfulness_sufficiency.csv'} and {figures[2]}", **PLAIN)
    tables = f"Table: {inputs.folder / 'faithfulness.csv'} (curves: faithfulness_curves.csv, by image: faithfulness_images.csv)"
    inputs.screen.print(f"{tables}\nFigure: {figures[0]} (and {figures[1].name})", **PLAIN)


def _medians(table: pd.DataFrame) -> Table:
    table = table.assign(name=method_names(table))
    rows = {}
    for name, group in table.groupby("name", sort=False):
        found = group.set_index("measure")
        interval = " – ".join(number(found.loc["gain", end], ".3g") for end in ("ci_low", "ci_high"))
        rows[name] = [*(number(found.loc[measure, "median"], ".3g") for measure in ("deletion", "insertion", "gain")), interval]
    return numeric_table("Medians: area under the score while regions are hidden", ("deletion", "insertion", "gain", "99 % interval"), rows)


def _predicted(table: pd.DataFrame) -> Table:
    """In what share of the images a class is predicted from the quarter that its map calls most relevant, or the part next to it."""
    kept = min(set(table["kept"]), key=lambda share: (abs(share - 0.25), share))
    table = table.assign(name=method_names(table))
    rows = {
        name: [number(value, ".2f") for value in group.sort_values("class_rank")["predicted"]]
        for name, group in table[table["kept"] == kept].groupby("name", sort=False)
    }
    others = [f"other class {rank - 1}" for rank in sorted(set(table["class_rank"])) if rank > 1]
    title = f"Share of images in which a class is predicted from the {kept:.0%} that its own map calls most relevant"
    return numeric_table(title, ("the image's class", *others), rows)


COMMANDS = (faithfulness,)
