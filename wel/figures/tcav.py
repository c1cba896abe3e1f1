"""The figure of TCAV: scores with their intervals beside the control's, and from stage to stage of a randomised network, as PNG and SVG."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D

from wel.figures.style import BASELINE_COLOR, HALO, new_figure, shown, style, write_figure
from wel.methods.registry import BLACK, BLUE, BROWN, GREEN, GREY, ORANGE, PINK, RED, SKY

COLORS = (BLUE, ORANGE, GREEN, RED, PINK, BROWN, SKY, BLACK)
MARKERS = ("o", "s", "^", "D")
STAGE_LABELS = 12


def tcav_figure(table: pd.DataFrame) -> Figure:
    """
    Draws the mean score of every concept with its 95 % interval, one panel per layer, one row of panels per class.

    The control's is a grey band. A filled mark is a significant difference, a hollow one none; of a concept that is not separable from
    random pictures the mark is a cross. Where the network was randomised, a second row of panels has the means by stage.

    Args:
        table: `wel.studies.tcav.TcavResult.table`, its first stage the trained network's.
    """
    layers = table.drop_duplicates("layer").sort_values("layer_index", ascending=False)["layer"].tolist()
    concepts, classes, stages = (table[name].unique().tolist() for name in ("concept", "class", "stage"))
    looks = {name: (COLORS[i % len(COLORS)], MARKERS[i // len(COLORS) % len(MARKERS)]) for i, name in enumerate(concepts)}
    heights = [max(1.5, 0.9 + 0.28 * len(concepts)), *([2.6] if len(stages) > 1 else [])] * len(classes)
    with style():
        width = 2.4 + 3.0 * len(layers)
        figure = new_figure((max(width, 6.4), 1.1 + sum(heights)), _title(table))
        rows = figure.subplots(len(heights), len(layers), squeeze=False, height_ratios=heights)
        for place, chosen in enumerate(classes):
            first, *more = rows[place * len(heights) // len(classes) : (place + 1) * len(heights) // len(classes)]
            for column, layer in enumerate(layers):
                part = table[(table["class"] == chosen) & (table["layer"] == layer)]
                _draw_scores(first[column], part[part["stage"] == stages[0]].set_index("concept"), looks)
                first[column].set_title(f"class {chosen} · {shown(layer, 26)}")
                for panels in more:
                    _draw_stages(panels[column], part, stages, looks)
            _share_rows(first, *more)
        figure.legend(handles=_legend(looks, len(stages) > 1), loc="outside lower center", ncols=min(4, 2 * len(layers)), frameon=False)
    return figure


def write_tcav_figure(table: pd.DataFrame, folder: Path) -> list[Path]:
    """Writes `tcav.png` and `.svg` into a folder, made if need be; gives their paths. The same data give the same bytes."""
    folder.mkdir(parents=True, exist_ok=True)
    return write_figure(tcav_figure(table), folder / "tcav")


def _title(table: pd.DataFrame) -> str:
    first = table.iloc[0]
    counts = f"{first['counterparts']} × {first['pictures']} pictures of each set"
    return f"{shown(first['model'], 40)} · TCAV\n{counts}"


def _draw_scores(axes: Axes, rows: pd.DataFrame, looks: dict[str, tuple[str, str]]) -> None:
    control, *ends = rows[["control", "control_low", "control_high"]].iloc[0].astype(float)
    axes.axvspan(*_within(ends), color=GREY, alpha=0.25, linewidth=0)
    axes.axvline(control, color=GREY, linestyle="--")
    for place, (name, (color, mark)) in enumerate(looks.items()):
        row = rows.loc[name]
        axes.plot(_within(row[["ci_low", "ci_high"]].astype(float)), [place, place], color=color)
        face = {"markerfacecolor": color if row["significant"] else "white", "markeredgecolor": color}
        kind = {"marker": mark, "markeredgewidth": 1.1} if row["separable"] else {"marker": "x", "markeredgewidth": 1.6}
        axes.plot([row["score"]], [place], color=color, clip_on=False, **face, **kind)
    axes.set_yticks(range(len(looks)), [shown(name, 24) for name in looks])
    axes.set(ylim=(len(looks) - 0.5, -0.5), xlim=(-0.04, 1.04), xlabel="score")
    axes.grid(axis="x")
    axes.grid(False, axis="y")


def _within(ends: Iterable[float]) -> np.ndarray:
    """An interval of a mean of shares: it lies between 0 and 1, whatever Student's distribution says."""
    return np.clip(list(ends), 0, 1)


def _draw_stages(axes: Axes, part: pd.DataFrame, stages: list[str], looks: dict[str, tuple[str, str]]) -> None:
    places = np.arange(len(stages))
    by_concept = {name: part[part["concept"] == name].set_index("stage").loc[stages] for name in looks}
    for name, (color, mark) in looks.items():
        axes.plot(places, by_concept[name]["score"], color=color, marker=mark, markersize=5, path_effects=HALO, clip_on=False)
    control = next(iter(by_concept.values()))  # the same of every concept
    axes.fill_between(places, *(_within(control[end]) for end in ("control_low", "control_high")), color=GREY, alpha=0.25, linewidth=0)
    axes.plot(places, control["control"], color=GREY, linestyle="--")
    labelled = np.unique(np.linspace(0, len(stages) - 1, min(len(stages), STAGE_LABELS)).round().astype(int))
    axes.set_xticks(labelled, [shown(stages[place], 18) for place in labelled], rotation=90)
    axes.set(ylim=(-0.04, 1.04), xlabel="randomised down to this layer")


def _share_rows(first: np.ndarray, *more: np.ndarray) -> None:
    """What all panels of a row share is labelled in the first."""
    for axes in first[1:]:
        axes.set_yticklabels([])
    for panels in more:
        panels[0].set_ylabel("score")


def _legend(looks: dict[str, tuple[str, str]], staged: bool) -> list[Line2D]:
    handles = [
        Line2D([], [], color=BASELINE_COLOR, marker="o", linestyle="", label="differs from random"),
        Line2D([], [], color=BASELINE_COLOR, marker="o", markerfacecolor="white", markeredgewidth=1.1, linestyle="", label="does not"),
        Line2D([], [], color=BASELINE_COLOR, marker="x", markeredgewidth=1.6, linestyle="", label="not separable from random"),
        Line2D([], [], color=GREY, linestyle="--", label="random pictures"),
    ]
    concepts = [Line2D([], [], color=color, marker=mark, label=shown(name, 24)) for name, (color, mark) in looks.items()]
    return handles + (concepts if staged else [])
