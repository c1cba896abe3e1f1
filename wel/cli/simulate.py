"""`wel simulate`."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Optional

import typer

from wel.cli import flags
from wel.cli.console import PLAIN, console, print_left_out, printable

if TYPE_CHECKING:
    import pandas as pd
    from rich.table import Table


def simulate(
    *,
    model: flags.Model = "cifar10",
    weights: flags.Weights = None,
    samples: Annotated[int, typer.Option("--samples", min=1, help="How many times each chain is drawn.")] = 20,
    rows: Annotated[int, typer.Option("--rows", min=2, help="Random rows that are multiplied down a chain.")] = 32,
    seed: flags.Seed = 0,
    out: Annotated[Optional[Path], typer.Option("--out", help="Run directory; runs/simulate by default.")] = None,
    device: flags.Device = "auto",
    allow_tf32: flags.AllowTf32 = False,
    arithmetic: flags.Arithmetic = None,
) -> None:
    """Multiply chains of random matrices with VGG-16's shapes, and of the network's weights: which make all directions parallel?"""
    from wel.networks.loading import load
    from wel.studies import simulation as study
    from wel.system.progress import bar_steps

    net = load(model, weights, seed=seed)
    folder = out or Path("runs") / "simulate"
    screen = console()
    screen.print(f"Random chains: shapes of VGG-16. Learned chains: shapes and weights of {net.name}.", **PLAIN)
    with bar_steps("simulate") as steps:
        result = study.simulate(net, samples, rows, seed, out=folder, steps=steps)
    from wel.figures.simulation import write_simulation_figures  # matplotlib takes a second

    figures = write_simulation_figures(result.table, folder / "figures")
    print_left_out(screen, result.skipped)
    screen.print(_convergence(result.table))
    screen.print(f"Table: {folder / 'simulation.csv'}\nFigures: {figures[0]}, {figures[2]}", **PLAIN)


def _convergence(table: pd.DataFrame) -> Table:
    from wel.studies.simulation import CHAINS, PARALLEL

    rows = []
    for name, group in table.groupby("chain", sort=False):
        distance = (1 - group["median"]).to_numpy()
        parallel = group["product"][distance < PARALLEL]
        reached = str(parallel.iloc[0]) if len(parallel) else "–"
        numbers = [f"{value:.1e}" for value in (*distance[[min(4, len(distance) - 1), -1]], group["sigma_ratio"].iloc[-1])]
        rows.append((CHAINS[name].label, group["network"].iloc[0], len(group), *numbers, reached))
    headings = ("chain", "network", "products", "1-|cos| after 5", "1-|cos| at the end", "σ₁/σ₂ at the end", "parallel (1e-14) after")
    return printable(headings, rows)


COMMANDS = (simulate,)
