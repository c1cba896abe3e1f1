"""`wel simulate`."""

from __future__ import annotations

from pathlib import Path

import pandas as pd
from rich.table import Table

from wel.cli.console import PLAIN, console, print_left_out, printable
from wel.networks.loading import load
from wel.studies.simulation import CHAINS, simulate
from wel.system.progress import bar_steps

PARALLEL = 1e-14  # 1 - |cos| at which rows are called parallel to floating point


def run_simulate(model, weights, samples, rows, seed, out) -> None:
    """`wel simulate`: multiplies, writes table and figures, prints how parallel the rows of each chain become."""
    net = load(model, weights, seed=seed)
    folder = out or Path("runs") / "simulate"
    screen = console()
    screen.print(f"Random chains: shapes of VGG-16. Learned chains: shapes and weights of {net.name}.", **PLAIN)
    with bar_steps("simulate") as steps:
        result = simulate(net, samples, rows, seed, out=folder, steps=steps)
    from wel.figures.simulation import write_simulation_figures  # matplotlib takes a second

    figures = write_simulation_figures(result.table, folder / "figures")
    print_left_out(screen, result.skipped)
    screen.print(_convergence(result.table))
    screen.print(f"Table: {folder / 'simulation.csv'}\nFigures: {figures[0]}, {figures[2]}", **PLAIN)


def _convergence(table: pd.DataFrame) -> Table:
    rows = []
    for name, group in table.groupby("chain", sort=False):
        distance = (1 - group["median"]).to_numpy()
        parallel = group["product"][distance < PARALLEL]
        reached = str(parallel.iloc[0]) if len(parallel) else "–"
        numbers = [f"{value:.1e}" for value in (*distance[[min(4, len(distance) - 1), -1]], group["sigma_ratio"].iloc[-1])]
        rows.append((CHAINS[name].label, group["network"].iloc[0], len(group), *numbers, reached))
    headings = ("chain", "network", "products", "1-|cos| after 5", "1-|cos| at the end", "σ₁/σ₂ at the end", "parallel (1e-14) after")
    return printable(headings, rows)
