"""Curves by layer, with bands, marks and legend: what CSC and effective rank draw with."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.lines import Line2D

from wel.errors import invalid, one_of
from wel.figures.style import BASELINE_COLOR, HALO, marker, shown

SEMANTICS = ("paper", "corrected")
LINE_STYLES = ("-", "--")  # of the first and of the second semantics in a figure
MOST_TICK_LABELS = 25
MARKS_PER_LINE = 4


@dataclass(frozen=True)
class Curve:
    """What one line shows: a method under one semantics, by layer from the start layer's side down to the input."""

    method: Any
    line_style: str
    median: np.ndarray
    low: np.ndarray
    high: np.ndarray
    marked: np.ndarray


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
    spread = defined[int(phase * min(step, len(defined))) :: step]
    alone = [place for place in defined if not np.isin((place - 1, place + 1), defined).any()]
    return np.union1d(spread, alone).astype(int)


def table_title(rows: pd.DataFrame, start: str, semantics: Sequence[str]) -> str:
    """A figure's title: model, start layer, counts and semantics."""
    counted = f"{_count(rows['images'], 'image')}, {_count(rows['vectors'], 'vector')}"
    return f"{shown(rows['model'].iloc[0], 40)} · start layer {shown(start, 30)}\n{counted} · {' and '.join(semantics)} semantics"


def _count(column: pd.Series, noun: str) -> str:
    low, high = column.min(), column.max()
    return (f"{low:g}" if low == high else f"{low:g}–{high:g}") + f" {noun}" + ("" if high == 1 else "s")


def draw_curves(axes: Axes, curves: Sequence[Curve], baseline: np.ndarray, scaled: Callable[[np.ndarray], np.ndarray]) -> None:
    """Draws curves, with bands and marks, and the random baseline on a scale of the caller's."""
    places = np.arange(len(baseline))
    for curve in curves:
        color = curve.method.color
        median = scaled(curve.median)
        axes.fill_between(places, scaled(curve.low), scaled(curve.high), color=color, alpha=0.12, linewidth=0)
        axes.plot(places, median, color=color, linestyle=curve.line_style, clip_on=False)
        axes.scatter(
            curve.marked,
            median[curve.marked],
            s=52,
            color=color,
            marker=marker(curve.method.mark),
            linewidths=0.3,
            zorder=3,
            clip_on=False,
            path_effects=HALO,
        )
    axes.plot(places, scaled(baseline), color=BASELINE_COLOR, linewidth=2)


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
        for method in methods.values()
        if method in drawn
    ]
    handles.append(Line2D([], [], color=BASELINE_COLOR, linewidth=2, label="random baseline"))
    if len(semantics) > 1:
        handles += [Line2D([], [], color="k", linestyle=style, label=f"{name} semantics") for name, style in zip(semantics, LINE_STYLES)]
    return handles
