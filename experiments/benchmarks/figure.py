"""The ratios as bars."""

from __future__ import annotations

from pathlib import Path

import pandas as pd
from goals import YARDSTICKS
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from wel.figures.style import new_figure, style, write_figure
from wel.methods.registry import BLUE, METHODS, RED

ROW = 0.24  # inches for a bar
TITLES = {"yardstick": "Time beside a batched gradient", "faster": "How many times as fast"}


def write_bars(ratios: pd.DataFrame, folder: Path) -> list[Path]:
    """Writes `yardstick` (our time as a multiple of a gradient's) and `faster` (others' time as a multiple of ours), PNG and SVG."""
    beside = ratios["beside"].isin(YARDSTICKS)
    groups = {"yardstick": ratios[beside], "faster": ratios[~beside]}
    return [path for name, rows in groups.items() if len(rows) for path in write_figure(bars(rows, TITLES[name]), folder / name)]


def bars(ratios: pd.DataFrame, title: str) -> Figure:
    """A panel per network; red where the goal, a tick, is missed."""
    networks = list(ratios.groupby("network", sort=False))
    most = max(len(rows) for _, rows in networks)
    with style():
        figure = new_figure((4.2 * len(networks), 1.2 + ROW * most), title)
        for axes, (network, rows) in zip(figure.subplots(1, len(networks), squeeze=False)[0], networks):
            _draw(axes, network, rows)
    return figure


def _draw(axes: Axes, network: str, rows: pd.DataFrame) -> None:
    places = range(len(rows))
    axes.barh(places, rows["ratio"], color=[RED if met == "no" else BLUE for met in rows["met"]])
    axes.scatter(rows["goal"], places, marker="|", s=90, color="black", zorder=3)
    for place, ratio in zip(places, rows["ratio"]):
        axes.annotate(f"{ratio:.2f}" if ratio < 10 else f"{ratio:.0f}", (ratio, place), (3, 0), textcoords="offset points", va="center")
    names = [METHODS[method].label for method in rows["method"]]
    others = [f"{name}, {beside}".removesuffix(", yardstick").replace(", yardstick (", " (") for name, beside in zip(names, rows["beside"])]
    axes.set_yticks(places, others)
    axes.invert_yaxis()
    axes.grid(axis="y", visible=False)
    axes.margins(x=0.15)
    axes.set_title(network)
    axes.set_xlabel("ratio")
    if rows["ratio"].max() > 20:
        axes.set_xscale("log")
