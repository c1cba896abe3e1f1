"""The figures of the sanity checks: how alike maps of two classes are as box plots, cascading randomisation as curves, as PNG and SVG."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.colors import to_rgb
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.patches import Patch

from wel.errors import invalid, one_of
from wel.figures.style import BASELINE_COLOR, HALO, marker, new_figure, shown, style, write_figure
from wel.measures.likeness import MEASURES, OTHERS

SEMANTICS = ("paper", "corrected")
SHADES = (0.45, 0.9)  # share of white in the boxes of the first and of the second semantics in a figure
MOST_TICK_LABELS = 25
MOST_MARKS = 12  # on a line
ACTIVATIONS = {"color": BASELINE_COLOR, "linewidth": 1, "linestyle": "--"}
# what stands below the stages of an order
RANDOMISED = {
    "top-down": "randomised from the last layer down to this one",
    "bottom-up": "randomised from the first layer up to this one",
    "independent": "this layer alone randomised",
}


def random_logit_figure(table: pd.DataFrame, images: pd.DataFrame, methods: Mapping[str, Any]) -> Figure:
    """
    Draws how alike the maps of the true and of a random other class are: one box per method and semantics (the paper's figure 2a).

    A box holds the middle half of the images, its line is the median, whiskers end at the last image within 1.5 box lengths, the
    images beyond are dots. Images without a value are left out.

    Args:
        table, images: `wel.studies.map_study.SanityResult`'s, of one network.
        methods: name -> object with `label`, `mark` and `color`. Its order is the order of the boxes, from the top down.

    Raises:
        WelError: a method or a semantics is unknown.
    """
    semantics, names = _checked(table, methods)
    measure = _measures(table)[0]
    groups = {key: group[measure].dropna().to_numpy() for key, group in images.groupby(["method", "semantics"])}
    height = 0.8 / len(semantics)
    with style():
        size = (8.4, 1.6 + (0.15 + 0.15 * len(semantics)) * max(4, len(names)))
        figure = new_figure(size, _title(table, "random logit", semantics))
        axes = figure.subplots()
        for place, name in enumerate(names):
            for number, one in enumerate(semantics):
                offset = (number - (len(semantics) - 1) / 2) * height
                _draw_box(axes, groups.get((name, one), np.array([])), place + offset, 0.75 * height, methods[name].color, SHADES[number])
        axes.set_yticks(range(len(names)), [shown(methods[name].label, 28) for name in names])
        axes.set(
            ylim=(len(names) - 0.5, -0.5), xlabel=f"{MEASURES[measure].label} of the maps of the true class and of a random other class"
        )
        _label_scale(axes.set_xlim, images[measure])
        axes.grid(axis="x")
        axes.grid(False, axis="y")
        if len(semantics) > 1:
            fills = [(_shaded("k", shade), f"{one} semantics") for one, shade in zip(semantics, SHADES)]
            patches = [Patch(facecolor=color, edgecolor="k", label=label) for color, label in fills]
            figure.legend(handles=patches, loc="outside lower center", ncols=2, frameon=False)
    return figure


def cascading_figure(table: pd.DataFrame, methods: Mapping[str, Any]) -> Figure:
    """
    Draws how alike maps are to the untouched network's, the median, stage by stage from the last layer down (the paper's figure 2b).

    One row of panels per measure, one panel per semantics, one line per method, the bootstrap interval as a band. An undefined median
    breaks its line. A dashed line is the correlation of the stages' own activations.

    Args:
        table: `wel.studies.map_study.SanityResult.table`, of one network.
        methods: as for `random_logit_figure`; its order is the order of the legend.

    Raises:
        WelError: a method or a semantics is unknown.
    """
    semantics, names = _checked(table, methods)
    measures = _measures(table)
    stages = table.drop_duplicates("stage_index").set_index("stage_index").sort_index()
    with style():
        height = max(4.6, 1.4 + 0.24 * len(names)) if len(measures) == 1 else max(1.2 + 2.7 * len(measures), 1.4 + 0.24 * len(names))
        figure = new_figure((2.4 + len(semantics) * min(9.0, 3.8 + 0.3 * len(stages)), height), _title(table, _study(table), semantics))
        rows = figure.subplots(len(measures), len(semantics), sharex="col", sharey="row", squeeze=False)
        for panels, measure in zip(rows, measures):
            _draw_measure(panels, table[table["measure"] == measure], stages, semantics, {name: methods[name] for name in names})
            median = "median " if len(measures) == 1 else ""
            panels[0].set_ylabel(f"{median}{MEASURES[measure].label}" + (" to the untouched network's map" if len(measures) == 1 else ""))
        for axes, one in zip(rows[0], semantics):
            axes.set_title(f"{one} semantics" if len(semantics) > 1 else "")
        for axes in rows[-1]:
            _label_stages(axes, stages["stage"])
        figure.supxlabel(RANDOMISED[table["order"].iloc[0]], fontsize=9)
        lines = [*_legend(map(methods.get, names)), Line2D([], [], label="activations", **ACTIVATIONS)]
        figure.legend(handles=lines, loc="outside right center", frameon=False, handlelength=3)
    return figure


def _draw_measure(
    panels: Sequence[Axes], table: pd.DataFrame, stages: pd.DataFrame, semantics: Sequence[str], methods: Mapping[str, Any]
) -> None:
    """The panels of a measure, one per semantics."""
    groups = {key: group.set_index("stage_index").reindex(stages.index) for key, group in table.groupby(["semantics", "method"])}
    likeness = table["measure"].iloc[0] != "complexity_rise"
    for axes, one in zip(panels, semantics):
        for number, (name, method) in enumerate(methods.items()):
            if (one, name) in groups:
                _draw_line(axes, groups[one, name], method, number / len(methods))
        if likeness:
            axes.plot(np.arange(len(stages)), stages["activation_correlation"], **ACTIVATIONS)
    if likeness:
        _label_scale(panels[0].set_ylim, pd.concat([table[["median", "ci_low"]].stack(), stages["activation_correlation"]]))


def _study(table: pd.DataFrame) -> str:
    """What was made random and how maps were made and compared, in words."""
    row = table.iloc[0]
    order = "cascading randomisation" if row["order"] == "top-down" else f"{row['order']} randomisation"
    noisy = f" · maps of {row['samples']:g} noisy images, σ = {row['noise_scale']:g} of the range" if row["noise_scale"] > 0 else ""
    return order + noisy + (" · absolute maps" if row["maps"] == "absolute" else "")


def write_random_logit_figure(table: pd.DataFrame, images: pd.DataFrame, methods: Mapping[str, Any], folder: Path) -> list[Path]:
    """Writes `random_logit.png` and `.svg` into a folder, made if need be; gives their paths. The same data give the same bytes."""
    return _written(random_logit_figure(table, images, methods), Path(folder), "random_logit")


def write_cascading_figure(table: pd.DataFrame, methods: Mapping[str, Any], folder: Path) -> list[Path]:
    """Writes `cascading.png` and `.svg` into a folder, made if need be; gives their paths. The same data give the same bytes."""
    return _written(cascading_figure(table, methods), Path(folder), "cascading")


def _written(figure: Figure, folder: Path, name: str) -> list[Path]:
    folder.mkdir(parents=True, exist_ok=True)
    return write_figure(figure, folder / name)


def _checked(table: pd.DataFrame, methods: Mapping[str, Any]) -> tuple[list[str], list[str]]:
    """The semantics and the methods of a table, in the order in which they are drawn."""
    for argument, known in (("method", methods), ("semantics", SEMANTICS)):
        for name in table[argument].unique():
            if name not in known:
                raise invalid(argument, name, one_of(known))
    return [name for name in SEMANTICS if name in set(table["semantics"])], [name for name in methods if name in set(table["method"])]


def _measures(table: pd.DataFrame) -> list[str]:
    """By what maps are compared in a figure: of |cos| and rank correlation, which maps that are no pictures have, by |cos|."""
    found = [name for name in MEASURES if name in set(table["measure"])]
    return [OTHERS[0]] if tuple(found) == OTHERS else found


def _title(table: pd.DataFrame, study: str, semantics: Sequence[str]) -> str:
    count = table["images"].iloc[0]
    counted = f"{count} image{'' if count == 1 else 's'}"
    return f"{shown(table['model'].iloc[0], 40)} · {study}\n{counted} · {' and '.join(semantics)} semantics"


def _draw_box(axes: Axes, values: np.ndarray, place: float, height: float, color: str, shade: float) -> None:
    lines = {"color": color, "linewidth": 1}
    dots = {"marker": ".", "markersize": 4, "markerfacecolor": color, "markeredgecolor": "none"}
    axes.boxplot(
        [values],
        positions=[place],
        widths=height,
        orientation="horizontal",
        manage_ticks=False,
        patch_artist=True,
        boxprops={"facecolor": _shaded(color, shade), "edgecolor": color},
        medianprops={"color": color, "linewidth": 2.2},
        whiskerprops=lines,
        capprops=lines,
        flierprops=dots,
    )


def _shaded(color: str, white: float) -> tuple[float, ...]:
    return tuple(white + (1 - white) * np.array(to_rgb(color)))


def _draw_line(axes: Axes, rows: pd.DataFrame, method: Any, phase: float) -> None:
    places = np.arange(len(rows))
    median, low, high = (rows[column].to_numpy(float) for column in ("median", "ci_low", "ci_high"))
    step = -(-len(places) // MOST_MARKS)
    marked = places[int(phase * step) :: step]  # shifted from line to line, for lines that coincide
    axes.fill_between(places, low, high, color=method.color, alpha=0.08, linewidth=0)
    axes.plot(places, median, color=method.color)
    axes.scatter(
        marked,
        median[marked],
        s=52,
        color=method.color,
        marker=marker(method.mark),
        linewidths=0.3,
        zorder=3,
        clip_on=False,
        path_effects=HALO,
    )


def _label_stages(axes: Axes, stages: pd.Series) -> None:
    places = np.unique(np.linspace(0, len(stages) - 1, min(len(stages), MOST_TICK_LABELS)).round().astype(int))
    axes.set_xticks(places, [shown(stages.iloc[place], 22) for place in places], rotation=90)
    axes.set_xlim(-0.3, len(stages) - 0.7)


def _label_scale(set_limits: Callable, values: pd.Series) -> None:
    """The scale ends at 1 and begins at 0, or below where there is something below."""
    set_limits(min(0.0, np.nanmin(values, initial=0.0) - 0.02), 1.02)


def _legend(methods: Iterable[Any]) -> list[Line2D]:
    return [
        Line2D([], [], color=method.color, marker=marker(method.mark), label=shown(method.label, 28), path_effects=HALO)
        for method in methods
    ]
