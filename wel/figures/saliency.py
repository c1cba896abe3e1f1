"""The figures of saliency maps: images × methods, method × randomisation stage, and the maps of two classes; and each map as a PNG."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from textwrap import wrap
from typing import Any

import numpy as np
from matplotlib import colormaps
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from PIL import Image

from wel.errors import invalid
from wel.figures.style import file_names, new_figure, shown, style, write_figure
from wel.measures.similarity import absolute, normalised
from wel.studies.saliency import CLASS, ORIGINAL, STAGE, SaliencyResult
from wel.system.files import file_stem, written_whole

COLORS = colormaps["seismic"].with_extremes(bad="#9a9a9a")
PAGE, BLOCK = 8, 9  # images of one grid, methods below each other in the figure of two classes
MARGIN, GAP, LINE, TITLE, LEGEND = 0.15, 0.06, 0.14, 0.55, 2.2  # inches; LINE is one of SMALL text
LEAST_WIDTH, LEAST_CELL, MOST_CELL = 7.4, 1.05, 1.8
WIDEST, HIGHEST = 16.0, 14.0  # what all cells may take unless they are at their smallest
SMALL = 8  # points
CHARACTER = 0.58  # width of one, in parts of its height
MOST_LINES = 3
EDGE = "#b0b0b0"
EMPTY = "all 0"
REDUCED = {"sum": "sum", "max_abs": "largest absolute value", "mean": "mean"}


@dataclass(frozen=True)
class Panel:
    """One picture of a figure: a map (height, width) in [−1, 1] or pixels (height, width, 3), with text on its sides."""

    row: int
    column: int
    pixels: np.ndarray
    above: tuple[str, ...] = ()
    below: tuple[str, ...] = ()
    left: tuple[str, ...] = ()
    right: tuple[str, ...] = ()


@dataclass(frozen=True)
class Pictures:
    """What was explained, as people see it.

    Attributes:
        names: one per image, all different.
        pixels: (n, height, width, 3) uint8 RGB.
        class_names: of the network's classes; their numbers are shown without it.
    """

    names: Sequence[str]
    pixels: np.ndarray
    class_names: Sequence[str] | None = None

    def named(self, index: int) -> str:
        """A class as it is shown."""
        return self.class_names[index] if self.class_names else str(index)

    def described(self, row: Any) -> tuple[str, ...]:
        """An image's name, class and most likely classes, for a row of `SaliencyResult.images`."""
        likely = [self.named(int(index)) for index in row.top5.split()]
        words = f"class: {self.named(row.true_class)} ({row.class_from})", f"top {len(likely)}: {' '.join(likely)}"
        return (str(self.names[row.image]), *words)


def maps_figure(result: SaliencyResult, methods: Mapping[str, Any], pictures: Pictures, semantics: str, images: Sequence[int]) -> Figure:
    """
    Draws some images and their maps of the true class: one row per image, the picture first, then one column per method.

    Args:
        result: of the study, with one semantics or several.
        methods: name -> object with `label`, `reduction` and `map_percentile`; its order is the order of the columns.
        pictures: of all images of the study.
        semantics: the one that is drawn.
        images: indices of the images.
    """
    names = _drawn(result, methods, semantics)
    panels = []
    for row, image in enumerate(images):
        panels.append(Panel(row, 1, pictures.pixels[image], left=pictures.described(_row(result, image))))
        for column, name in enumerate(names, start=2):
            above = () if row else (methods[name].label,)
            panels.append(Panel(row, column, _for_the_eye(result, methods, (name, semantics, ORIGINAL), image), above=above))
    return _figure(panels, _title(result, "maps of each image's class", semantics), _caption([methods[name] for name in names]))


def stages_figure(result: SaliencyResult, methods: Mapping[str, Any], pictures: Pictures, semantics: str, image: int) -> Figure:
    """
    Draws one image's maps while the network is randomised from the last layer down (the paper's figures 1 and 6).

    The picture first, below it one row per method: the map of the untouched network, then one column per stage.
    Arguments as for `maps_figure`.
    """
    names, views = _drawn(result, methods, semantics), [ORIGINAL, *_views(result, STAGE)]
    panels = [_header(result, pictures, image)]
    for row, name in enumerate(names, start=1):
        for column, view in enumerate(views, start=1):
            above = () if row > 1 else (view.removeprefix(STAGE),)
            left = () if column > 1 else (methods[name].label,)
            panels.append(Panel(row, column, _for_the_eye(result, methods, (name, semantics, view), image), above=above, left=left))
    caption = "Columns: the untouched network, then the same with that layer and all later ones randomised. "
    return _figure(panels, _title(result, "maps under randomisation", semantics), caption + _caption([methods[name] for name in names]))


def classes_figure(result: SaliencyResult, methods: Mapping[str, Any], pictures: Pictures, semantics: str, image: int) -> Figure:
    """
    Draws one image's maps of two classes a and b: per method their absolute maps, the difference a − b, and its L1.

    More than nine methods go on in a second block of columns. Arguments as for `maps_figure`.
    """
    names, views = _drawn(result, methods, semantics), _views(result, CLASS)
    one, other = (pictures.named(int(view.removeprefix(CLASS))) for view in views)
    headings = (f"a: {one}", f"b: {other}", "a − b")
    rows = result.table[(result.table["semantics"] == semantics) & (result.table["image"] == image)]
    distances = rows.set_index("method")["l1"]
    panels = [_header(result, pictures, image)]
    for number, name in enumerate(names):
        maps = [absolute(result.maps[(name, semantics, view)][image], methods[name].map_percentile) for view in views]
        block, row = divmod(number, BLOCK)
        for column, pixels in enumerate((*maps, maps[0] - maps[1])):
            left = () if column else (methods[name].label,)
            below = ("L1 undefined" if np.isnan(distances[name]) else f"L1 = {distances[name]:.3g}",) if column == 2 else ()
            above = () if row else (headings[column],)
            panels.append(Panel(row + 1, 4 * block + column + 1, pixels, above, below, left))
    chosen = [methods[name] for name in names]
    return _figure(panels, _title(result, "maps of two classes", semantics), _caption(chosen, two_classes=True))


def write_saliency_figures(result: SaliencyResult, methods: Mapping[str, Any], pictures: Pictures, folder: Path) -> list[Path]:
    """
    Writes the figures as PNG and SVG, and every map as a PNG of its own size; gives the figures' paths.

    In `folder`, made if need be: `maps_<semantics>` (`…_2` and so on for more than eight images), `stages_<semantics>_<image>`,
    `classes_<semantics>_<image>`, and `maps/<method>_<semantics>/<view>/<image>.png`. Characters that are no letters, digits, points
    or hyphens become "_" in file names.

    Args:
        result, methods, pictures: as for `maps_figure`.
        folder: where to write.

    Raises:
        WelError: when there is not one name and one picture per image.
    """
    _check(result, pictures)
    folder = Path(folder)
    folder.mkdir(parents=True, exist_ok=True)
    files, written = file_names(pictures.names), []
    count = len(pictures.names)
    for semantics in dict.fromkeys(key[1] for key in result.maps):
        for page, first in enumerate(range(0, count, PAGE), start=1):
            figure = maps_figure(result, methods, pictures, semantics, range(first, min(first + PAGE, count)))
            written += write_figure(figure, folder / (f"maps_{semantics}" + (f"_{page}" if page > 1 else "")))
        for kind, prefix, draw in (("stages", STAGE, stages_figure), ("classes", CLASS, classes_figure)):
            for image, name in enumerate(pictures.names) if _views(result, prefix) else ():
                written += write_figure(draw(result, methods, pictures, semantics, image), folder / f"{kind}_{semantics}_{files[name]}")
    _write_maps(result, methods, [files[name] for name in pictures.names], folder / "maps")
    return written


def _check(result: SaliencyResult, pictures: Pictures) -> None:
    count = len(result.images)
    if len(pictures.names) != count or len(set(pictures.names)) != count:
        raise invalid("names", list(pictures.names), f"{count} different names, one per image")
    size = next(iter(result.maps.values())).shape
    if pictures.pixels.shape != (*size, 3) or pictures.pixels.dtype != np.uint8:
        raise invalid("pixels", f"{pictures.pixels.dtype} of shape {pictures.pixels.shape}", f"uint8 of shape {(*size, 3)}")


def _write_maps(result: SaliencyResult, methods: Mapping[str, Any], images: Sequence[str], folder: Path) -> None:
    views = file_names(dict.fromkeys(view for _, _, view in result.maps))
    for method, semantics, view in result.maps:
        place = folder / f"{file_stem(method)}_{semantics}" / views[view]
        place.mkdir(parents=True, exist_ok=True)
        for number, image in enumerate(images):
            colored = COLORS((_for_the_eye(result, methods, (method, semantics, view), number) + 1) / 2, bytes=True)
            with written_whole(place / f"{image}.png") as path:
                Image.fromarray(colored[..., :3]).save(path, format="PNG")


def _drawn(result: SaliencyResult, methods: Mapping[str, Any], semantics: str) -> list[str]:
    found = {name for name, one, _ in result.maps if one == semantics}
    return [name for name in methods if name in found]


def _views(result: SaliencyResult, prefix: str) -> list[str]:
    return list(dict.fromkeys(view for _, _, view in result.maps if view.startswith(prefix)))


def _for_the_eye(result: SaliencyResult, methods: Mapping[str, Any], key: tuple[str, str, str], image: int) -> np.ndarray:
    return normalised(result.maps[key][image], methods[key[0]].map_percentile)


def _row(result: SaliencyResult, image: int) -> Any:
    return next(result.images.iloc[[image]].itertuples())


def _header(result: SaliencyResult, pictures: Pictures, image: int) -> Panel:
    return Panel(0, 0, pictures.pixels[image], right=pictures.described(_row(result, image)))


def _title(result: SaliencyResult, what: str, semantics: str) -> str:
    return f"{shown(result.images['model'].iloc[0], 40)} · {what}\n{semantics} semantics"


def _channels(methods: Sequence[Any]) -> str:
    """How channels became one, first without naming methods, then those for which it was something else."""
    labels = {words: [method.label for method in methods if method.reduction == kind] for kind, words in REDUCED.items()}
    first, *others = [words for words in labels if labels[words]]
    return "; ".join([first, *(f"{words} for {', '.join(labels[words])}" for words in others)])


def _caption(methods: Sequence[Any], two_classes: bool = False) -> str:
    """How maps were made fit for the eye, for exactly these methods."""
    channels = _channels(methods)
    exact = [method.label for method in methods if method.map_percentile == 100]
    ends = "P is the 99.5th percentile of a map, Q its mirror, the 0.5th" + (f" (100th and 0th for {', '.join(exact)})" if exact else "")
    if two_classes:
        scaled = "a and b: positive values divided by P, negative ones by Q, cut to [0, 1]; L1 is the mean of |a − b|"
    else:
        scaled = "values divided by the larger of P and |Q|, cut to [−1, 1]"
    return f"Channels: {channels}. {ends}; {scaled}. Colour map: seismic, −1 blue, 0 white, 1 red; grey where undefined."


def _figure(panels: Sequence[Panel], title: str, caption: str) -> Figure:
    """Panels on a grid of equal cells, aligned, with room for their text; title above, colour bar and caption below."""
    layout = _Layout(panels, caption)
    with style():
        figure = new_figure((layout.width, layout.height), title)
        figure.set_layout_engine("none")
        figure.suptitle(title, y=1 - 0.1 / layout.height)
        for panel in panels:
            axes = figure.add_axes(layout.place(panel))
            axes.imshow(panel.pixels, cmap=COLORS, vmin=-1, vmax=1)
            axes.set(xticks=[], yticks=[])
            axes.spines[:].set(visible=True, linewidth=0.5, color=EDGE)
            if panel.pixels.ndim == 2 and not panel.pixels.any():
                axes.text(0.5, 0.5, EMPTY, transform=axes.transAxes, ha="center", va="center", fontsize=SMALL, color="#777777")
            _write_around(axes, panel, layout)
        _draw_legend(figure, layout)
    return figure


class _Layout:
    """Where everything is, in inches from the top left."""

    def __init__(self, panels: Sequence[Panel], caption: str):
        rows, self.columns = (1 + max(numbers) for numbers in zip(*((panel.row, panel.column) for panel in panels)))
        height, width = panels[0].pixels.shape[:2]
        aspect = max(height, width)
        cell = np.clip(min(WIDEST / self.columns, HIGHEST / rows), LEAST_CELL, MOST_CELL)
        self.cell_width, self.cell_height = cell * width / aspect, cell * height / aspect
        self.step = cell + GAP
        self.width = max(LEAST_WIDTH, 2 * MARGIN + self.columns * self.step)
        self.characters = int(72 * cell / (CHARACTER * SMALL))
        self.caption = wrap(caption, int(72 * (self.width - LEGEND - 2 * MARGIN) / (CHARACTER * SMALL)))
        self.tops, below = [], TITLE
        for row in range(rows):
            above, under, beside = (self._most_lines(panels, row, side) for side in ("above", "below", "left"))
            surplus = max(0, beside - self.cell_height)
            self.tops.append(below + above + surplus / 2)
            below = self.tops[-1] + self.cell_height + surplus / 2 + under + GAP
        self.legend_top = below + 0.2
        self.height = self.legend_top + max(0.45, 0.155 * len(self.caption)) + 0.1
        self.left = (self.width - self.columns * self.step + GAP) / 2

    def wrapped(self, texts: Iterable[str]) -> list[str]:
        """Lines that fit a cell, each text cut to a few of them."""
        options = {"width": self.characters, "max_lines": MOST_LINES, "placeholder": "…"}
        return [shown(line, self.characters + 1) for text in texts for line in wrap(text, **options)]

    def place(self, panel: Panel) -> tuple[float, float, float, float]:
        """Left, bottom, width and height of a panel in parts of the figure."""
        return self.parts(self.left + panel.column * self.step, self.tops[panel.row], self.cell_width, self.cell_height)

    def parts(self, left: float, top: float, width: float, height: float) -> tuple[float, float, float, float]:
        """Left, bottom, width and height of a rectangle in parts of the figure."""
        return left / self.width, 1 - (top + height) / self.height, width / self.width, height / self.height

    def _most_lines(self, panels: Sequence[Panel], row: int, side: str) -> float:
        """The height of the highest text on one side of a row's panels."""
        lines = max(len(self.wrapped(getattr(panel, side))) for panel in panels if panel.row == row)
        return LINE * (lines + 0.5) if lines else 0


def _write_around(axes: Axes, panel: Panel, layout: _Layout) -> None:
    sides = (
        (layout.wrapped(panel.above), (0.5, 1), (0, 3), "center", "bottom"),
        (layout.wrapped(panel.below), (0.5, 0), (0, -3), "center", "top"),
        (layout.wrapped(panel.left), (0, 0.5), (-4, 0), "right", "center"),
        ([shown(text, 90) for text in panel.right], (1, 0.5), (6, 0), "left", "center"),
    )
    for lines, corner, offset, horizontal, vertical in sides:
        axes.annotate(
            "\n".join(lines),
            corner,
            offset,
            xycoords="axes fraction",
            textcoords="offset points",
            ha=horizontal,
            va=vertical,
            fontsize=SMALL,
            annotation_clip=False,
        )


def _draw_legend(figure: Figure, layout: _Layout) -> None:
    bar = figure.add_axes(layout.parts(2 * MARGIN, layout.legend_top, LEGEND - 4 * MARGIN, 0.12), label="colour bar")
    bar.imshow(np.linspace(-1, 1, 256)[None], cmap=COLORS, aspect="auto", extent=(-1, 1, 0, 1))
    bar.set(xticks=[-1, 0, 1], xticklabels=["−1", "0", "1"], yticks=[])
    bar.grid(False)
    bar.spines[:].set(visible=True, linewidth=0.5, color=EDGE)
    figure.text(
        (LEGEND + MARGIN) / layout.width,
        1 - layout.legend_top / layout.height,
        "\n".join(layout.caption),
        fontsize=SMALL,
        va="top",
    )
