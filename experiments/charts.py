"""The charts that no study of wel draws by itself: quirks, depth, and how many images are enough."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pandas as pd
from matplotlib.figure import Figure
from matplotlib.ticker import FuncFormatter
from trained import LABELS

from wel.figures.style import new_figure, style, write_figure
from wel.methods.registry import METHODS

FLOOR = 1e-8  # 1 − |cos| that is drawn where it is less: single precision does not tell it from 0
WIDTHS = (0.001, 0.002, 0.005, 0.01, 0.02, 0.05, 0.1, 0.2, 0.5)  # that an axis is labelled with
COLUMNS = 3  # charts beside each other


def write_quirks_chart(table: pd.DataFrame, folder: Path) -> list[Path]:
    """1 − median |cos| at the input for each method, one mark per variant of the rules. `table`: of `quirks.py`."""
    variants, methods = list(dict.fromkeys(table["variant"])), list(dict.fromkeys(table["method"]))
    with style():
        figure = new_figure((8, 1.6 + 0.42 * len(methods)), f"{_model(table)} · start layer {table['start'].iloc[0]}, at the input")
        axes = figure.subplots()
        for number, variant in enumerate(variants):
            rows = table[table["variant"] == variant].set_index("method")["median"].reindex(methods)
            place = np.arange(len(methods)) + 0.16 * (number - (len(variants) - 1) / 2)
            axes.scatter(_distance(rows), place, marker="osD^v"[number], s=34, label=variant, zorder=3)
        axes.set_yticks(range(len(methods)), [METHODS[name].label for name in methods])
        axes.set(ylim=(len(methods) - 0.5, -0.5))
        _label_distance(axes.xaxis, axes.set_xscale, "median |cos|")
        axes.grid(axis="x")
        axes.invert_xaxis()
        figure.legend(loc="outside lower center", ncols=2, frameon=False)
    return _written(figure, folder / "quirks")


def write_depth_chart(table: pd.DataFrame, folder: Path) -> list[Path]:
    """1 − median |cos| at the input over the number of layers with weights between, a chart per method, a line per network."""
    methods, networks = list(dict.fromkeys(table["method"])), list(dict.fromkeys(table["model"]))
    rows = -(-len(methods) // COLUMNS)
    with style():
        figure = new_figure((11, 0.9 + 2.3 * rows), "|cos| at the input, by the layers with weights that relevance has passed")
        charts = figure.subplots(rows, COLUMNS, sharex=True, sharey=True, squeeze=False).ravel()
        for axes, method in zip(charts, methods):
            for number, network in enumerate(networks):
                points = table[(table["method"] == method) & (table["model"] == network)].sort_values("layers")
                axes.plot(points["layers"], _distance(points["median"]), "osD^vP"[number], ls="-", ms=4, label=LABELS[network])
            axes.set_title(METHODS[method].label)
            _label_distance(axes.yaxis, axes.set_yscale, None)
        charts[0].yaxis.set_inverted(True)  # of all: they share it
        for axes in charts[len(methods) :]:
            axes.set_axis_off()
        figure.supxlabel("layers with weights between start layer and input", fontsize=9)
        figure.supylabel("median |cos|", fontsize=9)
        figure.legend(*charts[0].get_legend_handles_labels(), loc="outside right center", frameon=False)
    return _written(figure, folder / "depth")


def write_rate_chart(table: pd.DataFrame, folder: Path) -> list[Path]:
    """By which factor 1 − |cos| shrinks per layer, with its 99 % interval: a row per method, a mark per network."""
    methods, networks = list(dict.fromkeys(table["method"])), list(dict.fromkeys(table["model"]))
    with style():
        figure = new_figure((8, 1.6 + 0.42 * len(methods)), "What is left of 1 − |cos| after each layer with weights")
        axes = figure.subplots()
        for number, network in enumerate(networks):
            rows = table[table["model"] == network].set_index("method").reindex(methods)
            place = np.arange(len(methods)) + 0.14 * (number - (len(networks) - 1) / 2)
            spread = np.abs(rows[["low", "high"]].to_numpy().T - rows["factor"].to_numpy())
            axes.errorbar(rows["factor"], place, xerr=spread, fmt="osD^vP"[number], ms=4, lw=1, label=LABELS[network])
        axes.axvline(1, color="#555555", lw=1)
        axes.set_yticks(range(len(methods)), [METHODS[name].label for name in methods])
        axes.set(ylim=(len(methods) - 0.5, -0.5), xlabel="factor per layer: 1 does not converge, 0.1 gains a digit with each layer")
        figure.legend(loc="outside lower center", ncols=3, frameon=False)
    return _written(figure, folder / "rate")


def write_width_chart(table: pd.DataFrame, folder: Path) -> list[Path]:
    """Width of the median's 99 % interval over the number of images, a line per number of vectors, a chart per method."""
    methods = list(dict.fromkeys(table["method"]))
    with style():
        figure = new_figure(
            (3.6 * len(methods), 3.8), f"{_model(table)} · start layer {table['start'].iloc[0]}, at {table['layer'].iloc[0]}"
        )
        for axes, method in zip(figure.subplots(1, len(methods), sharey=True, squeeze=False).ravel(), methods):
            for number, (vectors, rows) in enumerate(table[table["method"] == method].groupby("vectors")):
                axes.plot(rows["images"], rows["width"], "osD^"[number], ls="-", ms=4, label=f"{vectors} vectors")
            axes.set(title=METHODS[method].label, xscale="log", yscale="log", xlabel="images")
            axes.set_xticks(sorted(set(table["images"])), sorted(set(table["images"])))
            axes.set_yticks(WIDTHS, [f"{width:g}" for width in WIDTHS])
            axes.set_ylim(0.8 * table["width"].min(), 1.25 * table["width"].max())
            axes.minorticks_off()
        figure.axes[0].set_ylabel("width of the median's 99 % interval")
        figure.legend(*figure.axes[0].get_legend_handles_labels(), loc="outside lower center", ncols=4, frameon=False)
    return _written(figure, folder / f"width-{table['layer'].iloc[0]}")


def _written(figure: Figure, stem: Path) -> list[Path]:
    stem.parent.mkdir(parents=True, exist_ok=True)
    return write_figure(figure, stem)


def _model(table: pd.DataFrame) -> str:
    return LABELS[table["model"].iloc[0]]


def _distance(medians: pd.Series) -> pd.Series:
    return (1 - medians).clip(lower=FLOOR)


def _label_distance(axis, scale, label: str | None) -> None:
    """A logarithmic axis of 1 − |cos| that is labelled with |cos|."""
    scale("log")
    axis.set_major_formatter(FuncFormatter(lambda value, _: f"1 − {value:.0e}".replace("e-0", "e−") if value < 0.009 else f"{1 - value:g}"))
    if label:
        axis.set_label_text(label)
