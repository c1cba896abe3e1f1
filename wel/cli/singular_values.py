"""`wel singular-values`."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Optional

import typer

from wel.cli import flags
from wel.cli.console import PLAIN, listed, number, numeric_table, print_left_out, printable, shown_method
from wel.errors import UnsupportedError, invalid

if TYPE_CHECKING:
    import pandas as pd
    from rich.table import Table

    from wel.cli.inputs import Inputs
    from wel.methods.patterns import Patterns
    from wel.methods.registry import Names
    from wel.networks.network import Network
    from wel.studies.effective_rank import EffectiveRankResult
    from wel.studies.singular_values import SingularValuesResult


def singular_values(
    *,
    model: flags.Model = "cifar10",
    images: flags.Images = None,
    limit: flags.Limit = None,
    preprocess: flags.Preprocess = None,
    methods: flags.Methods = "all",
    analyzer: flags.Analyzer = None,
    start_layers: flags.StartLayers = None,
    vectors: Annotated[
        int, typer.Option("--vectors", min=3, help="Random vectors per image and start layer; errors fall as 1 over it.")
    ] = 16,
    seed: flags.Seed = 0,
    semantics: flags.Semantics = "paper",
    patterns: Annotated[Optional[Path], typer.Option("--patterns", help="File of patterns (.npz); the bundled ones by default.")] = None,
    weights: flags.Weights = None,
    input_shape: flags.InputShape = None,
    output_index: flags.OutputIndex = None,
    input_name: flags.InputName = None,
    fixed: flags.Fixed = None,
    workers: flags.Workers = None,
    scheduler: flags.Scheduler = None,
    out: Annotated[Optional[Path], typer.Option("--out", help="Run directory; runs/singular-values-<model> by default.")] = None,
    device: flags.Device = "auto",
    allow_tf32: flags.AllowTf32 = False,
    arithmetic: flags.Arithmetic = None,
) -> None:
    """Measure how many directions are left: σ₁/σ₂ of weights and patterns, and the effective rank of any method's relevance.

    A run that was interrupted goes on where it stopped when the same command is given again.
    """
    from wel.cli.inputs import chosen, opened, with_analyzers
    from wel.system.cluster import connected
    from wel.system.progress import bar_steps

    names = chosen(methods, semantics, analyzer=analyzer)
    given = {
        "images": images,
        "limit": limit,
        "preprocess": preprocess,
        "input_shape": input_shape,
        "output_index": output_index,
        "input_name": input_name,
        "fixed": fixed,
    }
    with connected(workers, scheduler) as client, bar_steps("singular-values") as steps:
        inputs = opened(study="singular-values", model=model, weights=weights, seed=seed, out=out, **given)
        asked = with_analyzers(names, analyzer, inputs.net)
        arrays = None if patterns is None else _checked_patterns(inputs.net, patterns)
        starts = inputs.net.start_layers(listed(start_layers))
        inputs.announce(f", {vectors} vectors, start layers {', '.join(map(inputs.net.shown, starts))}")
        from wel.studies.effective_rank import effective_rank  # imports TensorFlow

        ranks = effective_rank(
            inputs.net,
            inputs.pictures.inputs,
            methods=asked,
            start=starts,
            vectors=vectors,
            seed=seed,
            semantics=semantics,
            options=_options(asked, arrays),
            out=inputs.folder,
            context=inputs.context,
            steps=steps,
            client=client,
        )
    _report_ratios(inputs, arrays)
    _report_ranks(inputs, ranks, asked)


def _checked_patterns(net: Network, path: Path) -> Patterns:
    from wel.methods.patterns import Patterns

    patterns = Patterns.load(path)
    patterns.check(net)
    return patterns


def _options(names: Names, patterns: Patterns | None) -> dict[str, dict]:
    from wel.methods.registry import choose_methods

    taking = [method.name for method in choose_methods(names) if "patterns" in method.options]
    return {} if patterns is None else {name: {"patterns": patterns} for name in taking}


def _report_ratios(inputs: Inputs, patterns: Patterns | None) -> None:
    from wel.figures.spectrum import write_singular_values_figure  # matplotlib takes a second
    from wel.studies.singular_values import singular_values as measure

    try:
        ratios = measure(inputs.net, patterns)
    except UnsupportedError as error:
        inputs.screen.print(f"Left out: singular values of the weights. {error}", **PLAIN)
        return
    path = inputs.folder / "singular_values.csv"
    _write(path, ratios.table)
    figures = write_singular_values_figure(ratios.table, inputs.folder / "figures")
    print_left_out(inputs.screen, ratios.missing)
    inputs.screen.print(_ratios(ratios))
    inputs.screen.print(f"Table: {path}\nFigure: {figures[0]}", **PLAIN)


def _write(path: Path, table: pd.DataFrame) -> None:
    from wel.system.files import written_whole

    try:
        with written_whole(path) as temporary:
            temporary.write_text(table.to_csv(index=False), encoding="utf-8")
    except OSError as error:
        raise invalid("out", str(path.parent), f"a directory that can be written ({error.strerror or error})") from error


def _ratios(ratios: SingularValuesResult) -> Table:
    rows = []
    for (place, matrix, quantity), group in ratios.table.groupby(["place", "matrix", "quantity"], sort=False):
        spread = group["ratio"].min(), group["ratio"].median(), group["ratio"].max()
        numbers = [f"{value:.3g}" for value in spread]
        rows.append((quantity.replace("_", " ⊙ "), place, matrix, *numbers, number(group["product"].iloc[-1], ".3g")))
    return printable(("σ₁/σ₂ of", "place", "matrix", "least", "median", "most", "product"), rows)


def _report_ranks(inputs: Inputs, ranks: EffectiveRankResult, asked: Names) -> None:
    from wel.figures.spectrum import write_effective_rank_figures  # matplotlib takes a second
    from wel.methods.registry import drawn_with

    figures = write_effective_rank_figures(ranks.table, drawn_with(asked), inputs.folder / "figures")
    print_left_out(inputs.screen, ranks.skipped)
    inputs.screen.print(_ranks_at_input(ranks.table))
    table = f"Table: {inputs.folder / 'effective_rank.csv'}"
    inputs.screen.print(f"{table}\nFigure: {figures[0]} (and {len(figures) - 1} more)", **PLAIN)


def _ranks_at_input(table: pd.DataFrame) -> Table:
    at_input = table[table["layer"] == "input"]
    starts = list(dict.fromkeys(at_input["start"]))
    several = at_input["semantics"].nunique() > 1
    rows = {}
    for (method, semantics), group in at_input.groupby(["method", "semantics"], sort=False):
        by_start = group.set_index("start")
        rows[shown_method(method, semantics, several)] = [_cell(by_start.loc[start]) for start in starts]
    title = "Effective rank at the input, by start layer: median location / whole layer (± standard error)"
    return numeric_table(title, starts, rows)


def _cell(row: pd.Series) -> str:
    return f"{_rank(row['rank_location'])} / {_rank(row['rank_layer'])} ± {_rank(row['rank_layer_error'])}"


def _rank(value: float) -> str:
    return f"1 + {value - 1:.0e}" if 1 < value < 1.01 else number(value, ".3g")


COMMANDS = (singular_values,)
