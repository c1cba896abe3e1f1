"""The figures of matrix chains (the paper's 4a and 4b): how far from parallel, and σ₁/σ₂, after every product."""

from __future__ import annotations

from pathlib import Path
from typing import Any, Mapping

import matplotlib
import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from wel.figures.style import BASELINE_COLOR, new_figure, shown, style, write_figure
from wel.methods.registry import BLACK, BLUE, GREEN, ORANGE, PINK, RED
from wel.studies.simulation import CHAINS, LARGEST_RATIO

FLOOR = 2.0**-53  # half a step of float64 below 1: where a distance of 0 is drawn
BROWN = "#ca9161"  # c5 of the palette
KINDS = {
    "vanilla": {"color": BLACK, "marker": "v"},
    "relu": {"color": BLUE, "marker": "o"},
    "learned_relu": {"color": ORANGE, "marker": "s"},
    "pattern_attribution": {"color": RED, "marker": "$P$"},
    "non_negative": {"color": GREEN, "marker": "^"},
    "positive": {"color": PINK, "marker": "P", "linewidth": 3.5},  # stochastic chains lie on top of it
    "stochastic": {"color": BROWN, "marker": "D"},
}
MARKERS = "vosD^P"


def kinds_figure(table: pd.DataFrame) -> Figure:
    """Draws the chains of the paper's figure 4a, each kind of matrix in its own colour; see `alpha_beta_figure`."""
    return _figure(table[table["chain"].isin(KINDS)], KINDS, "Chains of matrices")


def alpha_beta_figure(table: pd.DataFrame) -> Figure:
    """
    Draws the chains α W⁺ + β W⁻ of the paper's figure 4b.

    Left 1 − median |cos| between rows on a log scale, with the interval over samples as a band; 0 is drawn at 2⁻⁵³, a dotted line.
    Right σ₁/σ₂, on a log scale too.

    Args:
        table: `SimulationResult.table`; the rows of other chains are left out.
    """
    rows = table[table["alpha"].notna()]
    chains = rows.sort_values("alpha", ascending=False)["chain"].unique()
    colors = matplotlib.colormaps["viridis"](np.linspace(0, 0.92, len(chains)))
    looks = {chain: {"color": color, "marker": MARKERS[i % len(MARKERS)]} for i, (chain, color) in enumerate(zip(chains, colors))}
    return _figure(rows, looks, r"Chains of $\mathbf{\alpha W^{+} + \beta W^{-}}$")


def write_simulation_figures(table: pd.DataFrame, folder: Path) -> list[Path]:
    """Writes `chains` and `chains_alpha_beta` as PNG and SVG, the same data as the same bytes; gives their paths."""
    folder.mkdir(parents=True, exist_ok=True)
    return write_figure(kinds_figure(table), folder / "chains") + write_figure(alpha_beta_figure(table), folder / "chains_alpha_beta")


def _figure(rows: pd.DataFrame, looks: Mapping[str, Mapping[str, Any]], title: str) -> Figure:
    groups = {chain: rows[rows["chain"] == chain].sort_values("product") for chain in looks if chain in set(rows["chain"])}
    with style():
        first = rows.iloc[0]
        counted = f"{first['samples']} samples · {first['rows']} rows · median and {100 * first['level']:g} % interval"
        figure = new_figure((12.6, 5), f"{title}\n{counted}")
        distance, ratio = figure.subplots(1, 2)
        for chain, group in groups.items():
            _draw(distance, ratio, group, looks[chain])
        distance.axhline(FLOOR, color=BASELINE_COLOR, linestyle=":", linewidth=1)
        distance.set(yscale="log", ylim=(FLOOR / 4, 2), ylabel="1 − median of the mean |cos| between rows")
        ratio.set(yscale="log", ylim=(0.7, LARGEST_RATIO * 4), ylabel="σ₁ / σ₂ of the running product")
        if (rows["sigma_of"] == "rows").any():
            ratio.set_title("dashed, where there is a ReLU: of the running rows", loc="right", fontsize=8, color=BASELINE_COLOR)
        for axes in (distance, ratio):
            _label_products(axes, rows)
        figure.supxlabel("products from the output down, named after the layers of VGG-16", fontsize=9)
        lines = distance.get_lines()[: len(groups)]
        figure.legend(lines, [_label(group) for group in groups.values()], loc="outside right center", frameon=False, handlelength=3)
    return figure


def _draw(distance: Axes, ratio: Axes, group: pd.DataFrame, look: Mapping[str, Any]) -> None:
    look = {**look, "markersize": 5, "markeredgecolor": "white"}
    high, median, low = (np.maximum(1 - group[column], FLOOR) for column in ("low", "median", "high"))
    distance.fill_between(group["product"], low, high, color=look["color"], alpha=0.15, linewidth=0)
    distance.plot(group["product"], median, **look)
    ratio.plot(group["product"], group["sigma_ratio"], linestyle="--" if (group["sigma_of"] == "rows").all() else "-", **look)


def _label(group: pd.DataFrame) -> str:
    first = group.iloc[0]
    chain = CHAINS[first["chain"]]
    return chain.label if chain.matrix else f"{chain.label} ({shown(first['network'], 20)})"


def _label_products(axes: Axes, rows: pd.DataFrame) -> None:
    last = rows["product"].max()
    random = rows[rows["network"] == "vgg16"].drop_duplicates("product").set_index("product")["layer"]
    places = range(1, last + 1)
    axes.set_xticks(places, [f"{random[place]} · {place}" if place in random else str(place) for place in places], rotation=90)
    axes.set_xlim(0.5, last + 0.5)
