"""What all figures share: style, marks, text that can be drawn, and files written whole as PNG and SVG."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path

import matplotlib.style
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure
from matplotlib.font_manager import FontProperties, findfont, get_font
from matplotlib.patheffects import withStroke

from wel.system.files import written_whole

STYLE = {
    "mathtext.default": "bf",
    "svg.fonttype": "none",
    "svg.hashsalt": "wel",
    "savefig.dpi": 150,
    "figure.dpi": 150,
    "font.size": 9,
    "axes.titlesize": 9,
    "axes.labelsize": 9,
    "xtick.labelsize": 8,
    "ytick.labelsize": 8,
    "legend.fontsize": 9,
    "figure.titlesize": 11,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.edgecolor": "#444444",
    "axes.grid": True,
    "axes.grid.axis": "y",
    "axes.axisbelow": True,
    "grid.color": "#e4e4e4",
    "grid.linewidth": 0.8,
    "hatch.linewidth": 0.8,
    "lines.linewidth": 1.3,
    "lines.markersize": 7.2,
    "lines.markeredgewidth": 0.3,
}
BASELINE_COLOR = "#555555"
PLAIN_MARKERS = ("v", "o", "^", "P")
HALO = (withStroke(linewidth=2, foreground="white"),)


@contextmanager
def style() -> Iterator[None]:
    """Our settings on top of matplotlib's defaults, whatever the caller has set; the caller's come back afterwards."""
    with matplotlib.style.context(["default", STYLE]):
        yield


def new_figure(size: tuple[float, float], title: str) -> Figure:
    """An empty figure of `size` inches with a title, laid out without overlaps."""
    figure = Figure(figsize=size, layout="constrained")
    FigureCanvasAgg(figure)
    figure.get_layout_engine().set(w_pad=0.1, h_pad=0.08)
    figure.suptitle(title)
    figure.set_label(title.replace(r"\$", "$").replace("\n", " · "))
    return figure


def shown(name: str, most: int) -> str:
    """A name as it can be drawn: one line, no characters that the font lacks, at most `most` of them, and "$" without a meaning."""
    glyph = get_font(findfont(FontProperties())).get_char_index
    text = "".join(sign if sign.isprintable() and glyph(ord(sign)) else "\ufffd" for sign in " ".join(str(name).split()))
    if len(text) > most:
        text = text[: most // 2] + "…" + text[len(text) - (most - 1) // 2 :]
    return text.replace("$", r"\$")


def marker(mark: str) -> str:
    """A method's mark as matplotlib takes it."""
    return mark if mark in PLAIN_MARKERS or len(mark) > 1 else f"${mark}$"


def file_names(starts: Iterable[str]) -> dict[str, str]:
    """Start layer -> its part of a file name, numbered where two would be the same file, also on disks that ignore case."""
    names: dict[str, str] = {}
    for start in starts:
        plain = name = re.sub(r"[^A-Za-z0-9.\-]", "_", start)[:80]
        number = 1
        while name.lower() in {taken.lower() for taken in names.values()}:
            number += 1
            name = f"{plain}_{number}"
        names[start] = name
    return names


def write_figure(figure: Figure, stem: Path) -> list[Path]:
    """Writes `<stem>.png` and `<stem>.svg`; the same figure gives the same bytes."""
    paths = [stem.parent / f"{stem.name}.{kind}" for kind in ("png", "svg")]
    for path in paths:
        with style(), written_whole(path) as temporary:
            figure.savefig(temporary, metadata={"Title": figure.get_label(), "Date": None})
    return paths
