"""The figures of singular values: σ₁/σ₂ of weights and patterns, and effective rank per layer, as PNG and SVG."""

from __future__ import annotations

from pathlib import Path
from typing import Any, Mapping

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import LogLocator, NullFormatter

from wel.figures.curves import LINE_STYLES, SEMANTICS, check_rows, curves_of, draw_curves, label_layers, legend_of, table_title
from wel.figures.style import BASELINE_COLOR, file_names, new_figure, shown, style, write_figure
from wel.methods.registry import BLACK, BLUE, RED

QUANTITIES = {
    "weights": {"label": "weights W", "color": BLACK, "marker": "v"},
    "patterns": {"label": "patterns A", "color": BLUE, "marker": "o"},
    "pattern_weights": {"label": "patterns ⊙ weights", "color": RED, "marker": "D"},
}
PANELS = {
    ("layer", "tap"): "per layer, 1×1 tap",
    ("layer", "full"): "per layer, full matrix",
    ("between", "tap"): "between layers, 1×1 taps",
}
TICKS = {5: (1, 1.5, 2, 3, 4), 200: (1, 2, 5), np.inf: (1,)}  # upper limit of a scale -> ticks per decade
SMALLEST = 2.0**-52  # the step of float64 above 1: where a rank of exactly 1 is drawn
ERRORS = 2  # standard errors to either side of a line


def singular_values_figure(table: pd.DataFrame) -> Figure:
    """
    Draws σ₁/σ₂ per layer and between layers, for weights, patterns and pattern ⊙ weight (the paper's appendix), on log scales.

    Args:
        table: `wel.studies.singular_values.SingularValuesResult.table`; a panel without rows is left out.
    """
    panels = {key: rows for key in PANELS if len(rows := table[(table["place"] == key[0]) & (table["matrix"] == key[1])])}
    widest = max(rows.groupby("quantity").size().max() for rows in panels.values())
    with style():
        figure = new_figure((1.6 + len(panels) * max(3.4, 0.24 * widest), 4.8), f"{shown(table['model'].iloc[0], 40)} · singular values")
        for axes, (key, rows) in zip(figure.subplots(1, len(panels), sharey=True, squeeze=False)[0], panels.items()):
            groups = {quantity: rows[rows["quantity"] == quantity] for quantity in QUANTITIES if quantity in set(rows["quantity"])}
            for quantity, group in groups.items():
                axes.plot(np.arange(len(group)), group["ratio"], **QUANTITIES[quantity], markersize=6.5, markeredgecolor="white")
            pairs = zip(group["layer"], group["below"].fillna(""))
            label_layers(axes, [shown(f"{layer} · {below}" if below else layer, 22) for layer, below in pairs])
            axes.set(yscale="log", title=PANELS[key])
        for axes in figure.axes:
            _tidy_log(axes, 0.9, 1.15 * table["ratio"].max())
        figure.axes[0].set_ylabel("σ₁ / σ₂")
        figure.supxlabel("from the output down: relevance flows from left to right", fontsize=9)
        figure.legend(*figure.axes[0].get_legend_handles_labels(), loc="outside right center", frameon=False, handlelength=3)
    return figure


def effective_rank_figure(table: pd.DataFrame, methods: Mapping[str, Any], start: str) -> Figure:
    """
    Draws the effective rank of what arrives from one start layer, layer by layer down to the input.

    Left per feature-map location, in the middle how far that is from 1, right of the whole layer; log scales. One line per method
    and semantics (the second dashed), two standard errors to either side as a band, the most that a linear method can have in dark
    grey. An undefined rank breaks its line.

    Args:
        table: `wel.studies.effective_rank.EffectiveRankResult.table`, of one model; the rows of other start layers are left out.
        methods: as for `wel.figures.csc.csc_figure`.
        start: a start layer of the table.

    Raises:
        WelError: as for `wel.figures.csc.csc_figure`.
    """
    rows = table[table["start"] == start]
    check_rows(table, rows, methods, start)
    layers = rows.drop_duplicates("layer_index").set_index("layer_index")["layer"].sort_index(ascending=False)
    semantics = [name for name in SEMANTICS if name in set(rows["semantics"])]
    styles = dict(zip(semantics, LINE_STYLES))
    curves = {kind: curves_of(_with_band(rows, f"rank_{kind}"), methods, layers.index, styles) for kind in ("location", "layer")}
    bounds = {kind: rows.groupby("layer_index")[f"bound_{kind}"].min().reindex(layers.index).to_numpy(float) for kind in curves}
    with style():
        figure = new_figure((16.4, max(5.2, 1.4 + 0.2 * len(methods))), f"effective rank · {table_title(rows, start, semantics)}")
        location, distance, layer = figure.subplots(1, 3)
        for axes, kind in ((location, "location"), (layer, "layer")):
            draw_curves(axes, curves[kind], bounds[kind], lambda ranks: ranks)
            axes.set_yscale("log")
            _tidy_log(axes, 0.85, 1.3 * max(bounds[kind].max(), *(np.nanmax(curve.high, initial=1) for curve in curves[kind])))
        draw_curves(distance, curves["location"], bounds["location"], lambda ranks: np.maximum(ranks - 1, SMALLEST))
        nearest = min(np.nanmin(curve.median, initial=2) for curve in curves["location"]) - 1
        distance.set(yscale="log", ylim=(max(nearest, SMALLEST) / 4, location.get_ylim()[1]))
        location.set(title="per feature-map location, median", ylabel="effective rank")
        distance.set(title="per feature-map location, distance from 1", ylabel="effective rank − 1")
        layer.set(title="whole layer", ylabel="effective rank")
        for axes in (location, distance, layer):
            label_layers(axes, [shown(name, 22) for name in layers])
        last = shown(layers.iloc[-1], 30)
        figure.supxlabel(f"layers below {shown(start, 30)}, down to {last}: relevance flows from left to right", fontsize=9)
        handles = legend_of(curves["location"], methods, semantics)
        next(handle for handle in handles if handle.get_label() == "random baseline").set_label("most for a linear method")
        figure.legend(handles=handles, loc="outside right center", frameon=False, handlelength=3)
    return figure


def write_singular_values_figure(table: pd.DataFrame, folder: Path) -> list[Path]:
    """Writes `singular_values.png` and `.svg` into a folder, made if need be; gives their paths. The same data give the same bytes."""
    folder.mkdir(parents=True, exist_ok=True)
    return write_figure(singular_values_figure(table), folder / "singular_values")


def write_effective_rank_figures(table: pd.DataFrame, methods: Mapping[str, Any], folder: Path) -> list[Path]:
    """Writes `effective_rank_<start>` as PNG and SVG for every start layer of the table; gives their paths."""
    folder.mkdir(parents=True, exist_ok=True)
    written = []
    for start, name in file_names(table["start"].unique()).items():
        written += write_figure(effective_rank_figure(table, methods, start), folder / f"effective_rank_{name}")
    return written


def _with_band(rows: pd.DataFrame, column: str) -> pd.DataFrame:
    """The rows with what `curves_of` draws: a rank, and what lies two standard errors below and above, not below 1."""
    rank, error = (rows[name].replace(np.inf, np.nan) for name in (column, f"{column}_error"))
    return rows.assign(median=rank, ci_low=np.maximum(rank - ERRORS * error, 1), ci_high=rank + ERRORS * error)


def _tidy_log(axes: Axes, low: float, high: float) -> None:
    """A log scale with plain numbers, and a line at 1."""
    axes.set_ylim(low, high)
    axes.yaxis.set_major_locator(LogLocator(subs=next(ticks for most, ticks in TICKS.items() if high <= most)))
    axes.yaxis.set_major_formatter("{x:g}")
    axes.yaxis.set_minor_formatter(NullFormatter())
    axes.axhline(1, color=BASELINE_COLOR, linestyle=":", linewidth=1)
