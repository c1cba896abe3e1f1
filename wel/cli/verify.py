"""`wel verify`."""

from __future__ import annotations

import pandas as pd
from rich.table import Table

from wel.cli.console import PLAIN, console, listed, printable
from wel.images.load import load_images
from wel.networks.loading import load
from wel.studies.verification import verify
from wel.system.files import written_whole
from wel.system.progress import bar_steps


def run_verify(model, weights, backends, methods, start_layers, images, limit, vectors, seed, semantics, original, save, out) -> bool:
    """`wel verify`: compares, prints one line per method and start layer, writes the csv; tells whether all is within tolerance."""
    net = load(model, weights, seed=seed)
    pictures = None if original else load_images(net, images, limit=limit).inputs
    with bar_steps("verify") as steps:
        found = verify(
            net,
            pictures,
            listed(methods),
            listed(start_layers),
            vectors,
            seed,
            listed(backends),
            semantics,
            original,
            save,
            steps,
        )
    screen = console()
    for (method, backend), reason in found.left_out.items():
        screen.print(f"Left out: {method} ({backend}). {reason}", **PLAIN)
    if save is not None:
        screen.print(f"Numbers: {save}", **PLAIN)
    if len(found.table):
        screen.print(_verdicts(found.table))
        with written_whole(out) as path:
            found.table.to_csv(path, index=False)
        screen.print(f"Table: {out}", **PLAIN)
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
    return printable(("method", "start", "compared", "largest L2", "largest ΔCSC", "L2 allowed", "ΔCSC allowed", "verdict"), rows)


def _number(value: float) -> str:
    return "–" if pd.isna(value) else f"{value:.1e}"
