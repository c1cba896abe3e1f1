"""`wel zoo-audit`."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Optional

import typer

from wel.cli import flags
from wel.cli.console import PLAIN, console, listed, printable

if TYPE_CHECKING:
    from rich.table import Table

    from wel.auditing.zoo import Entry, ZooResult

REFUSED, FAILED = 2, 70  # as `wel audit` of one ends


def zoo_audit(
    *,
    models: Annotated[
        Path,
        typer.Argument(
            metavar="LIST.csv",
            exists=True,
            dir_okay=False,
            help="CSV with the column model and, if needed, images, labels, weights, preprocess, input_shape, output, output_index, input, "
            "fixed, expect: the flags of `wel audit`.",
        ),
    ],
    limit: Annotated[Optional[int], typer.Option("--limit", min=1, help="Use so many images of each; up to 24 by default.")] = None,
    full: Annotated[
        bool, typer.Option("--full/--quick", help="More methods, cuts and vectors, or the paper's methods at three cuts.")
    ] = False,
    minutes: Annotated[
        Optional[float], typer.Option("--minutes", help="For each model, leave methods out until the others take no longer as predicted.")
    ] = None,
    methods: flags.Methods = "all",
    semantics: flags.Semantics = "both",
    seed: flags.Seed = 0,
    workers: flags.Workers = None,
    scheduler: flags.Scheduler = None,
    out: Annotated[Path, typer.Option("--out", help="Directory of the reports and of index.html.")] = Path("runs/zoo-audit"),
    device: flags.Device = "auto",
    allow_tf32: flags.AllowTf32 = False,
    arithmetic: flags.Arithmetic = None,
) -> None:
    """Audit many models: one report each, and one page with a table of them all.

    A model that is refused stands in the table with its reason. The same command goes on where it was interrupted. Exit code 2 when one was
    refused, 70 when an audit ended in an error.
    """
    from wel.methods.registry import choose_map_methods, chosen_semantics

    names = listed(methods)
    if names != "all":
        names = tuple(method.name for method in choose_map_methods(names))
    chosen_semantics(semantics)
    from wel.system.cluster import connected
    from wel.system.progress import bar_steps

    with connected(workers, scheduler) as client, bar_steps("zoo-audit") as steps:
        from wel.auditing import zoo  # imports TensorFlow

        manner = zoo.Manner("full" if full else "quick", names, semantics, seed, limit, minutes)
        entries = zoo.read_entries(models, manner)
        result = zoo.zoo_audit(entries, out, manner, steps, client)
    screen = console()
    screen.print(_table(entries, result))
    audited = sum(entry.folder not in {**result.refused, **result.failed} for entry in entries)
    screen.print(f"{audited} audited, {len(result.refused)} refused, {len(result.failed)} failed. Page: {result.page}", **PLAIN)
    if result.refused or result.failed:
        raise typer.Exit(FAILED if result.failed else REFUSED)


def _table(entries: list[Entry], result: ZooResult) -> Table:
    from wel.auditing.verdicts import VERDICTS

    rows = []
    for entry in entries:
        reason = result.refused.get(entry.folder) or result.failed.get(entry.folder)
        counts = ["–"] * len(VERDICTS) if reason else result.audits[entry.folder].verdicts.values()
        rows.append((entry.line["model"], *counts, reason or entry.folder))
    return printable(("model", *VERDICTS, "report, or why there is none"), rows)


COMMANDS = (zoo_audit,)
