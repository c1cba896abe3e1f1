"""The figure of faithfulness: how the score falls while regions are hidden, and how far the two curves lie apart, as PNG and SVG."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D

from wel.errors import invalid, one_of
from wel.figures.style import BASELINE_COLOR, HALO, marker, new_figure, shown, style, write_figure

SEMANTICS = ("paper", "corrected")
ORDERS = {"most": "most relevant first", "least": "least relevant first"}


def faithfulness_figure(table: pd.DataFrame, curves: pd.DataFrame, methods: Mapping[str, Any]) -> Figure:
    """
    Draws the median score while the most and while the least relevant regions are hidden first, and the median gain with its interval.

    One row of three panels per semantics.

    Args:
        table, curves: `wel.studies.faithfulness.FaithfulnessResult`'s, of one network.
        methods: name -> object with `label`, `mark` and `color`. Its order is the order of the gains, from the top down.

    Raises:
        WelError: a method or a semantics is unknown.
    """
    for argument, known in (("method", methods), ("semantics", SEMANTICS)):
        for name in table[argument].unique():
            if name not in known:
                raise invalid(argument, name, one_of(known))
    semantics = [name for name in SEMANTICS if name in set(table["semantics"])]
    names = [name for name in methods if name in set(table["method"])]
    with style():
        height = max(3.4, 1.0 + 0.21 * len(names))
        figure = new_figure((11.5, 0.6 + height * len(semantics)), _title(table, semantics))
        rows = figure.subplots(len(semantics), 3, squeeze=False, width_ratios=(1, 1, 0.9))
        for one, (*panels, gains) in zip(semantics, rows):
            chosen = curves[curves["semantics"] == one]
            for axes, order in zip(panels, ORDERS):
                _draw_lines(axes, chosen[chosen["order"] == order], methods, names, "share", "median")
                axes.set(title=ORDERS[order], xlabel="share hidden")
            panels[0].set_ylabel(f"median score{f', {one}' if len(semantics) > 1 else ''}")
            panels[1].sharey(panels[0])
            _draw_gains(gains, table[(table["semantics"] == one) & (table["measure"] == "gain")], methods, names)
    return figure


def sufficiency_figure(table: pd.DataFrame, methods: Mapping[str, Any]) -> Figure:
    """
    Draws in what share of the images a class is predicted while less and less is left of them: of its own map what is most relevant.

    One row per semantics, one panel per class: the image's own, and the most likely others.

    Args:
        table: `wel.studies.faithfulness.FaithfulnessResult.sufficiency`, of one network.
        methods: as for `faithfulness_figure`.
    """
    semantics = [name for name in SEMANTICS if name in set(table["semantics"])]
    names, ranks = [name for name in methods if name in set(table["method"])], sorted(set(table["class_rank"]))
    with style():
        size = (2.6 + 3.2 * len(ranks), max(3.4, 1.0 + 0.21 * len(names)) * len(semantics) + 0.6)
        figure = new_figure(size, _title(table, semantics, "sufficiency"))
        rows = figure.subplots(len(semantics), len(ranks), squeeze=False, sharey=True)
        for one, panels in zip(semantics, rows):
            for axes, rank in zip(panels, ranks):
                chosen = table[(table["semantics"] == one) & (table["class_rank"] == rank)]
                _draw_lines(axes, chosen, methods, names, "kept", "predicted")
                axes.set(title="the image's class" if rank == 1 else f"other class {rank - 1}", xlabel="share kept", ylim=(-0.03, 1.03))
            panels[0].set_ylabel(f"predicted, share of images{f', {one}' if len(semantics) > 1 else ''}")
        lines = [
            Line2D([], [], color=methods[name].color, marker=marker(methods[name].mark), label=shown(methods[name].label, 28))
            for name in names
        ]
        figure.legend(handles=lines, loc="outside right center", frameon=False, handlelength=3)
    return figure


def write_sufficiency_figure(table: pd.DataFrame, methods: Mapping[str, Any], folder: Path) -> list[Path]:
    """Writes `sufficiency.png` and `.svg` into a folder, made if need be; gives their paths. The same data give the same bytes."""
    folder.mkdir(parents=True, exist_ok=True)
    return write_figure(sufficiency_figure(table, methods), folder / "sufficiency")


def write_faithfulness_figure(table: pd.DataFrame, curves: pd.DataFrame, methods: Mapping[str, Any], folder: Path) -> list[Path]:
    """Writes `faithfulness.png` and `.svg` into a folder, made if need be; gives their paths. The same data give the same bytes."""
    folder.mkdir(parents=True, exist_ok=True)
    return write_figure(faithfulness_figure(table, curves, methods), folder / "faithfulness")


def _title(table: pd.DataFrame, semantics: Sequence[str], study: str = "faithfulness") -> str:
    count = table["images"].iloc[0]
    images = "1 image" if count == 1 else f"{count} images"
    return f"{shown(table['model'].iloc[0], 40)} · {study} · {images}\n{' and '.join(semantics)} semantics"


def _draw_lines(axes: Axes, table: pd.DataFrame, methods: Mapping[str, Any], names: Sequence[str], across: str, up: str) -> None:
    """A line for every method, of a column of numbers over another one."""
    for number, name in enumerate(names):
        rows = table[table["method"] == name].sort_values(across)
        first = int(number / len(names) * 4)  # shifted from line to line, for lines that coincide
        axes.plot(
            rows[across],
            rows[up],
            color=methods[name].color,
            marker=marker(methods[name].mark),
            markevery=(first, 4),
            path_effects=HALO,
        )


def _draw_gains(axes: Axes, rows: pd.DataFrame, methods: Mapping[str, Any], names: Sequence[str]) -> None:
    rows = rows.set_index("method")
    for place, name in enumerate(names):
        if name in rows.index:
            row, method = rows.loc[name], methods[name]
            axes.plot([row["ci_low"], row["ci_high"]], [place, place], color=method.color)
            axes.plot([row["median"]], [place], color=method.color, marker=marker(method.mark), path_effects=HALO)
    axes.axvline(0, color=BASELINE_COLOR, linewidth=0.8, linestyle="--")
    axes.set_yticks(range(len(names)), [shown(methods[name].label, 28) for name in names])
    axes.set(ylim=(len(names) - 0.5, -0.5), title="gain: insertion − deletion", xlabel="median, 99 % interval")
    axes.grid(axis="x")
    axes.grid(False, axis="y")
