"""`wel csc`."""

from __future__ import annotations

import re
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Optional

import typer

from wel.cli import flags
from wel.cli.console import PLAIN, listed, method_names, number, numeric_table, print_left_out
from wel.errors import invalid

if TYPE_CHECKING:
    from rich.table import Table

    from wel.studies.csc import CSCResult


def csc(
    *,
    model: flags.Model = "cifar10",
    images: flags.Images = None,
    labels: flags.Labels = None,
    limit: flags.Limit = None,
    preprocess: flags.Preprocess = None,
    methods: flags.Methods = "all",
    analyzer: flags.Analyzer = None,
    start_layers: flags.StartLayers = None,
    vectors: Annotated[int, typer.Option("--vectors", min=2, help="Random vectors per image and start layer.")] = 5,
    seed: flags.Seed = 0,
    batch_size: flags.BatchSize = None,
    memory: Annotated[
        Optional[str], typer.Option("--memory", help="What a batch may take, such as 4GiB; a part of what the machine has by default.")
    ] = None,
    dtype: Annotated[str, typer.Option("--dtype", help="float32, or float64 to resolve 1 - |cos| below 1e-14.")] = "float32",
    semantics: flags.Semantics = "paper",
    backend: flags.Backend = "native",
    weights: flags.Weights = None,
    input_shape: flags.InputShape = None,
    output_index: flags.OutputIndex = None,
    input_name: flags.InputName = None,
    fixed: flags.Fixed = None,
    workers: flags.Workers = None,
    scheduler: flags.Scheduler = None,
    out: Annotated[Optional[Path], typer.Option("--out", help="Run directory; runs/csc-<model> by default.")] = None,
    device: flags.Device = "auto",
    allow_tf32: flags.AllowTf32 = False,
    arithmetic: flags.Arithmetic = None,
) -> None:
    """Measure cosine similarity convergence: table, histograms and figures.

    A run that was interrupted goes on where it stopped when the same command is given again.
    """
    from wel.cli.inputs import chosen, opened, with_analyzers
    from wel.system.cluster import connected
    from wel.system.progress import bar_steps

    names = chosen(methods, semantics, backend, analyzer=analyzer)
    at_once = None if memory is None else parse_bytes(memory)
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
    with connected(workers, scheduler) as client, bar_steps("csc") as steps:
        inputs = opened(study="csc", model=model, weights=weights, seed=seed, out=out, **given)
        asked = with_analyzers(names, analyzer, inputs.net)
        starts = inputs.net.start_layers(listed(start_layers))
        inputs.announce(f", {vectors} vectors, start layers {', '.join(map(inputs.net.shown, starts))}")
        from wel.studies import csc as study  # imports TensorFlow

        result = study.csc(
            inputs.net,
            inputs.pictures.inputs,
            methods=asked,
            start=starts,
            vectors=vectors,
            seed=seed,
            backend=backend,
            semantics=semantics,
            dtype=dtype,
            batch_size=batch_size,
            memory=at_once,
            out=inputs.folder,
            context=inputs.context,
            steps=steps,
            client=client,
        )
    from wel.figures.csc import write_csc_figures  # matplotlib takes a second
    from wel.methods.registry import drawn_with

    figures = write_csc_figures(result.table, drawn_with(asked), inputs.folder / "figures", result.histograms)
    print_left_out(inputs.screen, result.skipped)
    for (method, under, start), layer in result.non_finite.items():
        words = f"Not finite: {method} ({under}) from {start} has infinite or undefined relevance from {layer} on."
        inputs.screen.print(words, **PLAIN)
    inputs.screen.print(_medians_at_input(result))
    table = f"Table: {inputs.folder / 'csc.csv'}"
    inputs.screen.print(f"{table}\nFigure: {figures[0]} (and {len(figures) - 1} more)", **PLAIN)


def parse_bytes(text: str) -> int:
    """ "4GiB", "500 MB" or plain bytes as a number.

    Raises:
        WelError: for anything else.
    """
    found = re.fullmatch(r"(\d+(?:\.\d+)?)\s*(?:([kMGT])(i?)B)?", text.strip())
    if not found or not float(found[1]):
        raise invalid("memory", text, "a size such as 4GiB or 500MB")
    count, prefix, binary = found.groups()
    return int(float(count) * (1024 if binary else 1000) ** (" kMGT".index(prefix) if prefix else 0))


def _medians_at_input(result: CSCResult) -> Table:
    at_input = result.table[result.table["layer"] == "input"]
    starts = list(dict.fromkeys(at_input["start"]))
    medians = at_input.pivot_table(index=["method", "semantics"], columns="start", values="median", sort=False, dropna=False)
    names = method_names(medians.reset_index())
    rows = {name: [number(row[start], ".4f") for start in starts] for name, (_, row) in zip(names, medians.iterrows())}
    chance = f"chance: {at_input['baseline'].iloc[0]:.2f}"
    return numeric_table(f"Median |cos| at the input, by start layer ({chance})", starts, rows)


COMMANDS = (csc,)
