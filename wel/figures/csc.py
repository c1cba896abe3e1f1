"""The CSC figures: median cosine per layer on two scales, and stacked histograms, as PNG and SVG."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.colors import to_rgb
from matplotlib.figure import Figure

from wel.errors import invalid
from wel.figures.curves import (
    LINE_STYLES,
    SEMANTICS,
    Curve,
    _check_methods,
    check_rows,
    curves_of,
    draw_curves,
    label_layers,
    legend_of,
    table_title,
)
from wel.figures.style import BASELINE_COLOR, file_names, new_figure, shown, style, write_figure

BARS = ("below 0.9", "0.9 – 0.99", "0.99 – 0.999", "0.999 – 0.9999", "0.9999 – 1")
TEXTURES = ((0.0, ""), (0.45, "////"), (0.2, "...."), (0.65, ""), (0.3, "xxxx"), (0.55, "...."))  # share of white, hatch


def csc_figure(table: pd.DataFrame, methods: Mapping[str, Any], start: str) -> Figure:
    """
    Draws the median |cos| of one start layer, layer by layer down to the input (the paper's figures 3 and 5).

    Left on a linear scale, right as -log10(1 - median), where 1 itself lies on the top edge. One line per method and semantics (the
    second dashed), the bootstrap interval as a band, the random baseline in dark grey. An undefined median breaks its line.

    Args:
        table: the tidy CSC table (`result.table`) of one model; the rows of other start layers are left out.
        methods: name -> object with `label`, `mark` ("1" is drawn as that letter; "v", "o", "^", "P" are matplotlib's own
            markers, "$P$" is the letter P) and `color`. Its order is the order of the legend.
        start: a start layer of the table.

    Raises:
        WelError: `start`, a method or a semantics is unknown, there are two models, or a layer occurs twice for one method.
    """
    rows = table[table["start"] == start]
    check_rows(table, rows, methods, start)
    layers = rows.drop_duplicates("layer_index").set_index("layer_index")["layer"].sort_index(ascending=False)
    semantics = [name for name in SEMANTICS if name in set(rows["semantics"])]
    curves = curves_of(rows, methods, layers.index, dict(zip(semantics, LINE_STYLES)))
    baseline = rows.groupby("layer_index")["baseline"].first().reindex(layers.index).to_numpy()
    with style():
        figure = new_figure((12.6, max(5.2, 1.4 + 0.2 * len(methods))), table_title(rows, start, semantics))
        linear, nines = figure.subplots(1, 2)
        top, reaches_one = _nines_top(curves)
        draw_curves(linear, curves, baseline, lambda values: values)
        draw_curves(nines, curves, baseline, lambda values: _nines(values, top))
        linear.set(ylim=(0, 1), yticks=np.linspace(0, 1, 11), ylabel="median |cos|")
        _label_nines(nines, top, reaches_one)
        for axes in (linear, nines):
            label_layers(axes, [shown(layer, 22) for layer in layers])
        first, last = shown(start, 30), shown(layers.iloc[-1], 30)
        figure.supxlabel(f"layers below {first}, down to {last}: relevance flows from left to right", fontsize=9)
        figure.legend(handles=legend_of(curves, methods, semantics), loc="outside right center", frameon=False, handlelength=3)
    return figure


def histogram_figure(
    histograms: Mapping[str, Sequence[float]],
    methods: Mapping[str, Any],
    start: str,
    layer: str,
    semantics: str = "",
) -> Figure:
    """
    Draws how the CSC values of one layer are spread: five bars, stacked by method (the paper's appendix).

    Args:
        histograms: method name -> 13 counts for the edges 0, 0.1 … 0.9, 0.99, 0.999, 0.9999, 1. Heights are per cent of all
            values of all methods, so the bars add up to 100.
        methods: as for `csc_figure`; its order is the order of the legend and, from the top down, of the stack.
        start, layer: the start layer and the layer that the values are from, for the title.
        semantics: what the values were computed under, for the title, which leaves it out if it is empty.

    Raises:
        WelError: a method is unknown or does not have 13 counts.
    """
    _check_methods(histograms, methods)
    names = [name for name in methods if name in histograms]
    for name in names:
        if np.shape(histograms[name]) != (13,):
            raise invalid("histograms", np.shape(histograms[name]), f"13 counts for {name}")
    shares = _shares([histograms[name] for name in names])
    with style():
        under = f"\n{shown(semantics, 24)} semantics" if semantics else ""
        size = (8.8, max(4.8, 1.2 + 0.26 * len(names)))
        figure = new_figure(size, f"CSC at {shown(layer, 30)} · start layer {shown(start, 30)}{under}")
        axes = figure.subplots()
        stacks = _draw_stack(axes, shares, _textures([methods[name].color for name in names]))
        axes.set(xlabel="|cos| between the results of two vectors", ylabel="share of the values of all methods (%)")
        labels = [shown(methods[name].label, 28) for name in names]
        figure.legend(stacks, labels, loc="outside right center", frameon=False, handlelength=2.6, handleheight=1.5)
    return figure


def write_csc_figures(
    table: pd.DataFrame,
    methods: Mapping[str, Any],
    folder: Path,
    histograms: Mapping[tuple[str, str, str, str], Sequence[float]] | None = None,
) -> list[Path]:
    """
    Writes `csc_<start>.png` and `.svg` for every start layer of the table, and the histograms at the input; gives their paths.

    The same data give the same bytes. In file names everything but ASCII letters, digits, "." and "-" becomes "_".

    Args:
        table, methods: as for `csc_figure`.
        folder: where to write; made if need be.
        histograms: (method, semantics, start, layer) -> 13 counts. Those of the layer "input" are drawn as
            `histogram_<start>_input`, those of a second semantics as `histogram_<start>_input_<semantics>`.

    Raises:
        WelError: as for `csc_figure` and `histogram_figure`.
    """
    folder = Path(folder)
    folder.mkdir(parents=True, exist_ok=True)
    written: list[Path] = []
    for start, name in file_names(table["start"].unique()).items():
        written += write_figure(csc_figure(table, methods, start), folder / f"csc_{name}")
        for number, (semantics, counts) in enumerate(_at_input(histograms or {}, start).items()):
            figure = histogram_figure(counts, methods, start, "input", semantics)
            written += write_figure(figure, folder / (f"histogram_{name}_input" + (f"_{semantics}" if number else "")))
    return written


def _nines(values: np.ndarray, top: int) -> np.ndarray:
    return np.minimum(-np.log10(np.maximum(1 - values, np.finfo(float).tiny)), top)


def _nines_top(curves: Sequence[Curve]) -> tuple[int, bool]:
    """The upper limit of the 1 - 10^-k scale and whether a value of 1 is drawn there, one step above all others."""
    values = np.concatenate([part for curve in curves for part in (curve.median, curve.low, curve.high)])
    reaches_one = bool((values >= 1).any())
    below = np.max(values[values < 1], initial=0.99)
    return int(np.ceil(_nines(below, 20))) + reaches_one, reaches_one


def _label_nines(axes: Axes, top: int, reaches_one: bool) -> None:
    labels = ["0"] + ["0." + "9" * k for k in range(1, top + 1)]
    axes.set(ylim=(0, top), ylabel="median |cos|, 1 − 10⁻ᵏ scale")
    if reaches_one:
        labels[-1] = "1"
        axes.set_title("values of exactly 1 are drawn on the top edge", loc="right", pad=9, fontsize=8, color=BASELINE_COLOR)
    axes.set_yticks(range(top + 1), labels)


def _shares(counts: Sequence[Sequence[float]]) -> np.ndarray:
    """Per cent of all values, one row per method, one column per bar: the nine bins below 0.9 as one, then the other four."""
    bins = np.asarray(counts, float).reshape(len(counts), 13)
    bars = np.column_stack([bins[:, :9].sum(axis=1), bins[:, 9:]])
    return 100 * bars / max(bars.sum(), 1)


def _textures(colors: Sequence[str]) -> list[dict[str, Any]]:
    """One fill per method: its colour, made lighter and hatched differently for each further method of the same colour."""
    fills = []
    for number, color in enumerate(colors):
        white, hatch = TEXTURES[list(colors[:number]).count(color) % len(TEXTURES)]
        fills.append({"facecolor": tuple(white + (1 - white) * np.array(to_rgb(color))), "hatch": hatch})
    return fills


def _draw_stack(axes: Axes, shares: np.ndarray, fills: Sequence[Mapping[str, Any]]) -> list[Any]:
    """Draws the stacks with the first method on top; gives one bar container per method, in the methods' order."""
    places = np.arange(len(BARS))
    bottoms = shares[::-1].cumsum(axis=0)[::-1] - shares
    parts = zip(shares, bottoms, fills)
    stacks = [axes.bar(places, heights, 0.75, bottom, edgecolor="white", linewidth=0.6, **fill) for heights, bottom, fill in parts]
    for place, total in zip(places, shares.sum(axis=0)):
        axes.annotate(f"{total:.1f} %", (place, total), (0, 3), textcoords="offset points", ha="center")
    axes.set_xticks(places, BARS)
    axes.margins(y=0.08)
    return stacks


def _at_input(histograms: Mapping[tuple[str, str, str, str], Sequence[float]], start: str) -> dict[str, dict[str, Sequence[float]]]:
    """The histograms at the input for one start layer: semantics -> method -> counts."""
    found: dict[str, dict[str, Sequence[float]]] = {name: {} for name in SEMANTICS}
    for (method, semantics, above, layer), counts in histograms.items():
        if (above, layer) == (start, "input"):
            found[semantics][method] = counts
    return {semantics: counts for semantics, counts in found.items() if counts}
