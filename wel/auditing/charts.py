"""The pictures of the audit report: heat maps as PNG in data URIs, and curves as coordinates that the template draws as SVG."""

from __future__ import annotations

from base64 import b64encode
from dataclasses import dataclass
from io import BytesIO
from itertools import groupby
from typing import Any, Iterable, Sequence

import numpy as np
from PIL import Image

from wel.figures.saliency import COLORS
from wel.measures.similarity import normalised

LEVELS = 65  # colours of a map: an odd number, so that 0 has its own; few, so that the files are small
THUMBNAIL = 160  # pixels of the longer side
EDGES = (224, 160, 112, 80)  # of a map, the first with which all maps take no more than BUDGET
BUDGET = 3_500_000  # characters
SHAPES = ("circle", "square", "triangle", "diamond")

WIDTH = 360  # of a chart, in SVG units: a phone's width, so that text there has the size that is written here
LEFT, RIGHT, TOP, PLOT = 34.0, 352.0, 20.0, 160.0
ROW = 34.0  # height of a method in the overview
MOST_LABELS, CHARACTERS, CHARACTER = 12, 15, 5.8  # layers that are named, how much of their names, and the width of a letter


def thumbnail(pixels: np.ndarray) -> str:
    """A picture (height, width, 3) uint8 as a data URI, 160 pixels at most, 256 colours."""
    image = Image.fromarray(pixels)
    image.thumbnail((THUMBNAIL, THUMBNAIL))
    return _uri(image.quantize(256))


def heat_maps(maps: Sequence[tuple[np.ndarray, float]]) -> list[str]:
    """Maps as data URIs, coloured as in all figures of wel: red speaks for the class, blue against it, white is 0, grey undefined.

    All are drawn at their own size, at 224 pixels at most, and smaller where they would take more than `BUDGET` characters together.

    Args:
        maps: (height, width) each, and the percentile at which it is cut (`wel.measures.similarity.normalised`).
    """
    uris: list[str] = []
    for edge in EDGES:
        uris = [_uri(_colored(normalised(_shrunk(heatmap, edge), percentile))) for heatmap, percentile in maps]
        if sum(map(len, uris)) <= BUDGET:
            break
    return uris


def _shrunk(heatmap: np.ndarray, edge: int) -> np.ndarray:
    """Means over areas of the map, so that its longer side is `edge` at most."""
    height, width = heatmap.shape
    scale = edge / max(height, width)
    if scale >= 1:
        return heatmap
    size = max(1, round(width * scale)), max(1, round(height * scale))
    return np.asarray(Image.fromarray(heatmap.astype("float32")).resize(size, Image.Resampling.BOX))


def _colored(heatmap: np.ndarray) -> Image.Image:
    """A map in [−1, 1] as a palette image; the palette's last colour is that of NaN."""
    undefined = np.isnan(heatmap)
    index = np.round((np.where(undefined, 0, heatmap) + 1) / 2 * (LEVELS - 1))
    image = Image.fromarray(np.where(undefined, LEVELS, index).astype("uint8"))
    colors = COLORS(np.append(np.linspace(0, 1, LEVELS), np.nan), bytes=True)[:, :3]
    image.putpalette(colors.tobytes())
    return image


def _uri(image: Image.Image) -> str:
    held = BytesIO()
    image.save(held, "PNG", optimize=True)
    return "data:image/png;base64," + b64encode(held.getvalue()).decode()


@dataclass(frozen=True)
class Point:
    """A place in a chart and what stands there."""

    x: float
    y: float
    label: str = ""


@dataclass(frozen=True)
class Series:
    """A line of a chart: SVG paths of the line and of the band around it, its marks, and how they look."""

    label: str
    line: str
    band: str
    marks: list[Point]
    color: int
    shape: str
    dashed: bool


@dataclass(frozen=True)
class Curves:
    """CSC by layer, from the output's side on the left to the input on the right."""

    series: list[Series]
    chance: str
    layers: list[Point]
    grid: list[Point]
    height: float
    characters: int = CHARACTERS
    width: float = WIDTH
    left: float = LEFT
    right: float = RIGHT
    bottom: float = TOP + PLOT


def csc_curves(rows: Sequence[dict[str, Any]]) -> Curves:
    """The chart of a method's `csc` rows: a line per start layer, a band from p5 to p95 for the first, and what chance alone gives.

    An undefined median breaks its line. Where layers are too many for all their names, evenly spaced ones are named.
    """
    layers = dict(sorted({row["layer_index"]: row for row in rows}.items(), reverse=True))
    step = (RIGHT - LEFT - 16) / max(1, len(layers) - 1)
    x = {index: LEFT + 8 + step * place for place, index in enumerate(layers)}
    groups = [(start, list(group)) for start, group in groupby(rows, lambda row: row["start"])]
    series = [_series(number, start, group, x) for number, (start, group) in enumerate(groups)]
    chance = [(x[index], _height(row["baseline"])) for index, row in layers.items()]
    named = {round(place) for place in np.linspace(0, len(layers) - 1, min(len(layers), MOST_LABELS))}
    labels = [Point(_short(x[index]), 0, row["layer"]) for place, (index, row) in enumerate(layers.items()) if place in named]
    grid = [Point(LEFT, _height(value), f"{value:g}") for value in (0, 0.25, 0.5, 0.75, 1)]
    longest = min(CHARACTERS, max(len(label.label) for label in labels))
    return Curves(series, _path(chance), labels, grid, TOP + PLOT + 14 + CHARACTER * longest)


def _series(number: int, start: str, rows: Sequence[dict[str, Any]], x: dict[int, float]) -> Series:
    rows = sorted(rows, key=lambda row: -row["layer_index"])
    line = [(x[row["layer_index"]], _height(row["median"])) for row in rows]
    known = [row for row in rows if None not in (row["p5"], row["p95"])]
    edges = [(row, "p95") for row in known] + [(row, "p5") for row in reversed(known)]
    band = _path((x[row["layer_index"]], _height(row[name])) for row, name in edges) if number == 0 and known else ""
    marks = [Point(_short(place), height) for place, height in line if height is not None]
    return Series(start, _path(line), band and band + "Z", marks, number % 4 + 1, SHAPES[number % 4], number >= 4)


def _height(value: float | None) -> float | None:
    """The y of a value in [0, 1]."""
    return None if value is None else _short(TOP + PLOT * (1 - min(max(value, 0.0), 1.0)))


def _path(points: Iterable[tuple[float, float | None]]) -> str:
    """An SVG path through points; one without a y breaks it."""
    words, pen = [], "M"
    for x, y in points:
        if y is None:
            pen = "M"
        else:
            words.append(f"{pen}{x:.1f} {y}")
            pen = "L"
    return "".join(words)


def _short(number: float) -> float:
    return round(float(number), 1)


@dataclass(frozen=True)
class Mark:
    """One measurement in the overview: where it lies, where its interval ends, which test it is."""

    x: float
    y: float
    low: float
    high: float
    test: str


@dataclass(frozen=True)
class Overview:
    """How similar every method's maps stay, one row per method."""

    rows: list[tuple[Point, list[Mark]]]
    threshold: float
    grid: list[Point]
    height: float
    width: float = WIDTH
    left: float = 8.0
    right: float = RIGHT
    top: float = TOP


def overview(methods: Sequence[tuple[str, Sequence[dict[str, Any]]]], similar: float) -> Overview:
    """The chart of the tests on maps that count for the verdict: another class, if there is one, and random weights above the topmost cut.

    Args:
        methods: label and tests of each.
        similar: the threshold from which on maps are the same.
    """
    rows = []
    for number, (label, tests) in enumerate(methods):
        y = TOP + ROW * number
        marks = [_mark(test, y + 20 + 8 * place) for place, test in enumerate(deciding(tests)) if test["value"] is not None]
        rows.append((Point(8.0, y + 13, label), marks))
    grid = [Point(_across(value), 0, f"{value:g}") for value in (0, 0.2, 0.4, 0.6, 0.8, 1)]
    return Overview(rows, _across(similar), grid, TOP + ROW * len(rows) + 22)


def deciding(tests: Sequence[dict[str, Any]]) -> list[dict[str, Any]]:
    """Of a method's tests, those on maps that count for its verdict."""
    return [test for test in tests if test["test"] == "other_class"] + [test for test in tests if test["test"] == "randomised"][:1]


def _mark(test: dict[str, Any], y: float) -> Mark:
    low, high = (test["value"] if test[end] is None else test[end] for end in ("low", "high"))
    return Mark(_across(test["value"]), y, _across(low), _across(high), test["test"])


def _across(value: float) -> float:
    """The x of a value in [0, 1]."""
    return _short(16 + (RIGHT - 24) * min(max(value, 0.0), 1.0))


SIDE, LETTER = 280.0, 7.2  # height of the plane, width of a letter in it


@dataclass(frozen=True)
class Spot:
    """A method in the plane: where its medians lie, where its intervals end, its number there, and what is advised."""

    x: float
    y: float
    across: tuple[float, float]
    along: tuple[float, float]
    label: Point
    advice: str


@dataclass(frozen=True)
class Plane:
    """Dependence on the decision (to the right) by gain (upwards)."""

    spots: list[Spot]
    columns: list[Point]
    rows: list[Point]
    chance: float
    limit: float
    width: float = WIDTH
    left: float = LEFT
    right: float = RIGHT
    top: float = TOP
    bottom: float = TOP + SIDE
    height: float = TOP + SIDE + 34


def plane(methods: Sequence[tuple[str, str, dict[str, Any], dict[str, Any]]], similar: float) -> Plane | None:
    """The chart of both axes; None where no method has both numbers.

    Args:
        methods: what stands beside the mark, what is advised, dependence and gain of each.
        similar: the similarity from which on maps are the same.
    """
    known = [one for one in methods if one[2]["value"] is not None and one[3]["value"] is not None]
    if not known:
        return None
    ticks = _ticks([end for *_, gain in known for end in _ends(gain)])
    low, high = ticks[0], ticks[-1]

    def up(gain: float) -> float:
        return _short(TOP + SIDE * (high - gain) / (high - low))

    spots: list[Spot] = []
    marks = [(_over(dependence["value"]), up(gain["value"])) for _, _, dependence, gain in known]
    for (label, advice, dependence, gain), (x, y) in zip(known, marks):
        across, along = tuple(map(_over, _ends(dependence))), tuple(map(up, _ends(gain)))
        spots.append(Spot(x, y, across, along, _beside(label, x, y, [spot.label for spot in spots], marks), advice))
    columns = [Point(_over(share), 0, f"{share:g}") for share in (0, 0.2, 0.4, 0.6, 0.8, 1)]
    return Plane(spots, columns, [Point(LEFT, up(tick), f"{tick:g}") for tick in ticks], up(0), _over(1 - similar))


def _over(share: float) -> float:
    """The x of a share of the plot's width."""
    return _short(LEFT + 8 + (RIGHT - LEFT - 16) * share)


def _ends(interval: dict[str, Any]) -> tuple[float, float]:
    low, high = (interval["value"] if interval[end] is None else interval[end] for end in ("low", "high"))
    return low, high


def _ticks(values: Sequence[float]) -> list[float]:
    """Round numbers, evenly spaced, from below the smallest value to above the largest, 0 among them."""
    low, high = min(0.0, *values), max(0.0, *values)
    high = high if high > low else 1.0
    rough = (high - low) / 5
    power = 10.0 ** np.floor(np.log10(rough))
    step = next(power * factor for factor in (1, 2, 5, 10) if power * factor >= rough)
    return [float(f"{step * number:.6g}") for number in range(int(np.floor(low / step)), int(np.ceil(high / step)) + 1)]


def _beside(label: str, x: float, y: float, taken: Sequence[Point], marks: Sequence[tuple[float, float]]) -> Point:
    """Where a label stands beside its mark: the nearest place at which it covers no other label and no mark, or else the first one."""
    wide = LETTER * len(label)
    near = [(dx, dy) for dx in (6, -6 - wide, 20, -20 - wide, 34) for dy in (3.5, -5, 12, -14, 21)]
    places = [(x + dx, y + dy) for dx, dy in sorted(near, key=lambda shift: abs(shift[0] + wide / 2) + abs(shift[1] - 3.5))]
    inside = [(left, base) for left, base in places if LEFT < left < RIGHT - wide and TOP + 8 < base < TOP + SIDE]

    def is_free(left: float, base: float) -> bool:
        crossed = any(left - 3 < across < left + wide + 3 and base - 11 < up < base + 3 for across, up in marks)
        return not crossed and all(
            left + wide + 2 < one.x or one.x + LETTER * len(one.label) + 2 < left or abs(base - one.y) > 9 for one in taken
        )

    left, base = next((place for place in inside if is_free(*place)), places[0])
    return Point(_short(left), _short(base), label)


@dataclass(frozen=True)
class Hiding:
    """A class's score while more and more of the image is hidden."""

    lines: dict[str, str]
    columns: list[Point]
    rows: list[Point]
    width: float = WIDTH
    left: float = LEFT
    right: float = RIGHT
    bottom: float = TOP + PLOT
    height: float = TOP + PLOT + 30


def hiding(curve: Sequence[dict[str, Any]]) -> Hiding:
    """The chart of a method's faithfulness, a line for each order."""
    ticks = _ticks([row[order] for row in curve for order in ("most", "least") if row[order] is not None])

    def up(score: float) -> float:
        return _short(TOP + PLOT * (ticks[-1] - score) / (ticks[-1] - ticks[0]))

    lines = {
        order: _path((_over(row["share"]), None if row[order] is None else up(row[order])) for row in curve) for order in ("most", "least")
    }
    columns = [Point(_over(share), 0, f"{100 * share:g} %") for share in (0, 0.25, 0.5, 0.75, 1)]
    return Hiding(lines, columns, [Point(LEFT, up(tick), f"{tick:g}") for tick in ticks])
