"""The CSC figures: median cosine per layer on two scales, and stacked histograms, as PNG and SVG."""
from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.colors import to_rgb
from matplotlib.figure import Figure
from matplotlib.lines import Line2D

from wel.drawing import BASELINE_COLOR, HALO, file_names, marker, new_figure, shown, style, write_figure
from wel.errors import invalid, one_of

SEMANTICS = ("paper", "corrected")
LINE_STYLES = ("-", "--")  # of the first and of the second semantics in a figure
MOST_TICK_LABELS = 25
MARKS_PER_LINE = 4
BARS = ("below 0.9", "0.9 – 0.99", "0.99 – 0.999", "0.999 – 0.9999", "0.9999 – 1")
TEXTURES = ((0.0, ""), (0.45, "////"), (0.2, "...."), (0.65, ""), (0.3, "xxxx"), (0.55, "...."))  # share of white, hatch


@dataclass(frozen=True)
class Curve:
    """What one line shows: a method under one semantics, by layer from the start layer's side down to the input."""
    method: Any
    line_style: str
    median: np.ndarray
    low: np.ndarray
    high: np.ndarray
    marked: np.ndarray


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
    histograms: Mapping[str, Sequence[float]], methods: Mapping[str, Any], start: str, layer: str, semantics: str = "",
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


def check_rows(table: pd.DataFrame, rows: pd.DataFrame, methods: Mapping[str, Any], start: str) -> None:
    """Raises WelError unless the rows of a start layer can be drawn: one model, known methods, each layer once."""
    if rows.empty:
        raise invalid("start", start, one_of(table["start"].unique()))
    _check_methods(rows["method"].unique(), methods)
    for name in set(rows["semantics"]) - set(SEMANTICS):
        raise invalid("semantics", name, one_of(SEMANTICS))
    if rows["model"].nunique() > 1:
        raise invalid("table", sorted(rows["model"].unique()), "the rows of one model")
    twice = rows[rows.duplicated(["method", "semantics", "layer_index"])]
    if not twice.empty:
        raise invalid("table", twice.iloc[0]["layer"], "one row per method, semantics, start and layer")


def _check_methods(names: Iterable[str], methods: Mapping[str, Any]) -> None:
    for name in names:
        if name not in methods:
            raise invalid("method", name, one_of(methods))


def curves_of(rows: pd.DataFrame, methods: Mapping[str, Any], layers: pd.Index, line_styles: Mapping[str, str]) -> list[Curve]:
    """The curves of a table's rows, layers in the order of `layers`."""
    groups = {key: group.set_index("layer_index").reindex(layers) for key, group in rows.groupby(["semantics", "method"])}
    keys = [(semantics, name) for semantics in line_styles for name in methods if (semantics, name) in groups]
    curves = []
    for number, key in enumerate(keys):
        median, low, high = (groups[key][column].to_numpy(float) for column in ("median", "ci_low", "ci_high"))
        curves.append(Curve(methods[key[1]], line_styles[key[0]], median, low, high, _marked(median, number / len(keys))))
    return curves


def _marked(median: np.ndarray, phase: float) -> np.ndarray:
    """Where a line carries its mark: a few places, shifted from line to line, for lines that coincide; and wherever it is one point."""
    defined = np.flatnonzero(np.isfinite(median))
    step = max(2, len(median) // MARKS_PER_LINE)
    spread = defined[int(phase * min(step, len(defined)))::step]
    alone = [place for place in defined if not np.isin((place - 1, place + 1), defined).any()]
    return np.union1d(spread, alone).astype(int)


def table_title(rows: pd.DataFrame, start: str, semantics: Sequence[str]) -> str:
    """A figure's title: model, start layer, counts and semantics."""
    counted = f"{_count(rows['images'], 'image')}, {_count(rows['vectors'], 'vector')}"
    return f"{shown(rows['model'].iloc[0], 40)} · start layer {shown(start, 30)}\n{counted} · {' and '.join(semantics)} semantics"


def _count(column: pd.Series, noun: str) -> str:
    low, high = column.min(), column.max()
    return (f"{low:g}" if low == high else f"{low:g}–{high:g}") + f" {noun}" + ("" if high == 1 else "s")


def _nines(values: np.ndarray, top: int) -> np.ndarray:
    return np.minimum(-np.log10(np.maximum(1 - values, np.finfo(float).tiny)), top)


def _nines_top(curves: Sequence[Curve]) -> tuple[int, bool]:
    """The upper limit of the 1 - 10^-k scale and whether a value of 1 is drawn there, one step above all others."""
    values = np.concatenate([part for curve in curves for part in (curve.median, curve.low, curve.high)])
    reaches_one = bool((values >= 1).any())
    below = np.max(values[values < 1], initial=0.99)
    return int(np.ceil(_nines(below, 20))) + reaches_one, reaches_one


def draw_curves(axes: Axes, curves: Sequence[Curve], baseline: np.ndarray, scaled: Callable[[np.ndarray], np.ndarray]) -> None:
    """Draws curves, with bands and marks, and the random baseline on a scale of the caller's."""
    places = np.arange(len(baseline))
    for curve in curves:
        color = curve.method.color
        median = scaled(curve.median)
        axes.fill_between(places, scaled(curve.low), scaled(curve.high), color=color, alpha=0.12, linewidth=0)
        axes.plot(places, median, color=color, linestyle=curve.line_style, clip_on=False)
        axes.scatter(
            curve.marked, median[curve.marked], s=52, color=color, marker=marker(curve.method.mark), linewidths=0.3, zorder=3,
            clip_on=False, path_effects=HALO,
        )
    axes.plot(places, scaled(baseline), color=BASELINE_COLOR, linewidth=2)


def _label_nines(axes: Axes, top: int, reaches_one: bool) -> None:
    labels = ["0"] + ["0." + "9" * k for k in range(1, top + 1)]
    axes.set(ylim=(0, top), ylabel="median |cos|, 1 − 10⁻ᵏ scale")
    if reaches_one:
        labels[-1] = "1"
        axes.set_title("values of exactly 1 are drawn on the top edge", loc="right", pad=9, fontsize=8, color=BASELINE_COLOR)
    axes.set_yticks(range(top + 1), labels)


def label_layers(axes: Axes, names: Sequence[str]) -> None:
    """Labels the x axis with layer names, as many as there is room for."""
    places = _thinned(len(names))
    axes.set_xticks(places, [names[place] for place in places], rotation=90)
    axes.set_xlim(-0.5, len(names) - 0.5)


def _thinned(count: int) -> list[int]:
    """The places that get a label: evenly spaced, the first and the last among them, none closer to the last than the spacing."""
    step = -(-count // MOST_TICK_LABELS)
    places = [place for place in range(0, count, step) if count - 1 - place >= step]
    return places + [count - 1]


def legend_of(curves: Sequence[Curve], methods: Mapping[str, Any], semantics: Sequence[str]) -> list[Line2D]:
    """The legend's entries: methods, baseline and, if there are several, semantics."""
    drawn = [curve.method for curve in curves]
    handles = [
        Line2D([], [], color=method.color, marker=marker(method.mark), label=shown(method.label, 28), path_effects=HALO)
        for method in methods.values() if method in drawn
    ]
    handles.append(Line2D([], [], color=BASELINE_COLOR, linewidth=2, label="random baseline"))
    if len(semantics) > 1:
        handles += [Line2D([], [], color="k", linestyle=style, label=f"{name} semantics") for name, style in zip(semantics, LINE_STYLES)]
    return handles


def _shares(counts: Sequence[Sequence[float]]) -> np.ndarray:
    """Per cent of all values, one row per method, one column per bar: the nine bins below 0.9 as one, then the other four."""
    counts = np.asarray(counts, float).reshape(len(counts), 13)
    bars = np.column_stack([counts[:, :9].sum(axis=1), counts[:, 9:]])
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
