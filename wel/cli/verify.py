"""`wel verify`."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Optional

import typer

from wel.backends import check_backend
from wel.cli import flags
from wel.cli.console import PLAIN, console, listed, number, print_left_out, printable

if TYPE_CHECKING:
    import pandas as pd
    from rich.table import Table


def verify(
    *,
    model: flags.Model = "cifar10",
    weights: flags.Weights = None,
    input_shape: flags.InputShape = None,
    output_index: flags.OutputIndex = None,
    backends: Annotated[str, typer.Option("--backends", help="Who computes; the last one is compared with.")] = "native,wrapped",
    methods: flags.Methods = "all",
    start_layers: flags.StartLayers = None,
    images: flags.Images = None,
    limit: Annotated[int, typer.Option("--limit", min=1, help="Use at most so many images.")] = 2,
    vectors: Annotated[int, typer.Option("--vectors", min=2, help="Random vectors per image and start layer.")] = 3,
    seed: flags.Seed = 0,
    semantics: flags.OneSemantics = "paper",
    original: Annotated[Optional[Path], typer.Option("--original", help="Compare with this file of reference numbers.")] = None,
    save: Annotated[Optional[Path], typer.Option("--save", help="Write the first backend's numbers to this .npz.")] = None,
    out: Annotated[Path, typer.Option("--out", help="Table of differences.")] = Path("verify.csv"),
    device: flags.Device = "auto",
    allow_tf32: flags.AllowTf32 = False,
    arithmetic: flags.Arithmetic = None,
) -> None:
    """Compare backends with each other or with reference numbers; exit code 1 above tolerance."""
    from wel.images.load import load_images
    from wel.networks.loading import load, parse_shape
    from wel.studies import verification as study
    from wel.system.files import written_whole
    from wel.system.progress import bar_steps

    for name in listed(backends):
        check_backend(name)
    net = load(model, weights, input_shape=parse_shape(input_shape), output_index=output_index, seed=seed)
    with bar_steps("verify") as steps:
        found = study.verify(
            net,
            None if original else load_images(net, images, limit=limit).inputs,
            methods=listed(methods),
            start=listed(start_layers),
            vectors=vectors,
            seed=seed,
            backends=listed(backends),
            semantics=semantics,
            original=original,
            save=save,
            steps=steps,
        )
    screen = console()
    print_left_out(screen, {f"{method} ({backend})": reason for (method, backend), reason in found.left_out.items()})
    if save is not None:
        screen.print(f"Numbers: {save}", **PLAIN)
    if len(found.table):
        screen.print(_verdicts(found.table))
        with written_whole(out) as path:
            found.table.to_csv(path, index=False)
        screen.print(f"Table: {out}", **PLAIN)
    if not found.passed:
        raise typer.Exit(1)


def _verdicts(table: pd.DataFrame) -> Table:
    rows = []
    for (method, start, backend, reference), group in table.groupby(["method", "start", "backend", "reference"], sort=False):
        largest = [group["relative_l2"].max(), group["csc_difference"].max()]
        allowed = [group["tolerance_l2"].iloc[0], group["tolerance_csc"].iloc[0]]
        numbers = [number(value, ".1e") for value in (*largest, *allowed)]
        verdict = "equal" if group["passed"].all() else f"differs at {group.loc[~group['passed'], 'layer'].iloc[-1]}"
        rows.append((method, start, f"{backend} / {reference}", *numbers, verdict))
    return printable(("method", "start", "compared", "largest L2", "largest ΔCSC", "L2 allowed", "ΔCSC allowed", "verdict"), rows)


COMMANDS = (verify,)
