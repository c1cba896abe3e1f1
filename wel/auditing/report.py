"""What an audit leaves behind: `audit.json`, and `report.html`, one page without scripts or external resources."""
from __future__ import annotations

import json
import math
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Mapping

import numpy as np
from jinja2 import Environment, FileSystemLoader, StrictUndefined

from wel.auditing.figures import csc_curves, deciding, heat_maps, overview, thumbnail
from wel.auditing.verdicts import MEASURES
from wel.methods import METHODS
from wel.paths import written_whole

RECORD, REPORT = "audit.json", "report.html"
VERDICTS = ("insensitive", "inconclusive", "sensitive")  # in the order of the page
FEW_IMAGES = 10


@dataclass(frozen=True)
class Examples:
    """Images whose maps are shown.

    Attributes:
        names: one per image.
        pixels: (k, height, width, 3) uint8 RGB.
        maps: (method, semantics) -> (k, 3, height, width) float32, channels reduced: of the true class, of another class, and of the
            true class with random weights above the topmost cut; NaN throughout where there is no such map.
        classes: (k, 2), the true class and the other one.
    """

    names: list[str]
    pixels: np.ndarray
    maps: Mapping[tuple[str, str], np.ndarray]
    classes: np.ndarray


def write_report(record: dict[str, Any], examples: Examples | None, folder: Path) -> None:
    """Writes `audit.json` and `report.html`, each whole or not at all; numbers that are not finite become null."""
    texts = {RECORD: json.dumps(finite(record), indent=1, allow_nan=False) + "\n", REPORT: render(record, examples)}
    for name, text in texts.items():
        with written_whole(folder / name) as path:
            path.write_text(text, encoding="utf-8")


def render(record: dict[str, Any], examples: Examples | None) -> str:
    """The page: first the answer, then the evidence, then the method. All text of the record is escaped.

    Args:
        record: as `audit.schema.json` describes it; numbers may be NaN.
        examples: None where inputs are no pictures.
    """
    record = printable(finite(record))
    drawn = _Pictures(examples)
    methods = sorted(record["methods"], key=lambda method: VERDICTS.index(method["verdict"]))
    content = {
        "record": record,
        "answer": answer(record),
        "warnings": warnings(record),
        "methods": [_method(number, method, drawn) for number, method in enumerate(methods)],
        "overview": overview([(titled(method), method["tests"]) for method in methods], record["settings"]["thresholds"]["similar"]),
        "pictures": drawn.thumbnails,
        "pixelated": drawn.pixelated,
        "has_examples": examples is not None,
    }
    folder = Path(__file__).resolve().parent
    environment = Environment(
        loader=FileSystemLoader(folder), autoescape=True, undefined=StrictUndefined, trim_blocks=True, lstrip_blocks=True,
    )
    environment.filters["number"] = number
    environment.globals["measures"] = MEASURES
    return environment.get_template("report.html.j2").render(content)


def finite(value: Any) -> Any:
    """The same with None for every number that is not finite, and Python's own numbers for NumPy's."""
    if isinstance(value, dict):
        return {name: finite(item) for name, item in value.items()}
    if isinstance(value, (list, tuple)):
        return [finite(item) for item in value]
    if isinstance(value, np.generic):
        value = value.item()
    return None if isinstance(value, float) and not math.isfinite(value) else value


def printable(value: Any) -> Any:
    """The same with spaces for line breaks, and a replacement for what has no shape, like a character that turns the text around."""
    if isinstance(value, dict):
        return {printable(name): printable(item) for name, item in value.items()}
    if isinstance(value, list):
        return [printable(item) for item in value]
    if isinstance(value, str):
        return "".join(sign if sign.isprintable() else " " if sign.isspace() else "\ufffd" for sign in value)
    return value


def number(value: float | None) -> str:
    """A number for a table: two digits behind the point, more next to 1, where cosines and SSIM lie."""
    if value is None:
        return "undefined"
    if 0.995 <= value < 1:
        return f"{math.floor(value * 1e4) / 1e4:.4f}" if value < 0.9999 else "> 0.9999"
    return f"{value:.2f}"


def titled(method: Mapping[str, Any]) -> str:
    """A method's label, with the semantics if they matter."""
    return method["label"] if method["semantics"] == "both" else f"{method['label']} ({method['semantics']})"


def answer(record: Mapping[str, Any]) -> dict[str, Any]:
    """The answer in a sentence, the rest of it in a second one, and whether a method was measured twice.

    A method that was measured under two semantics counts once: as insensitive if it is under one of them, else as inconclusive.
    """
    found: dict[str, str] = {}
    for method in record["methods"]:
        found[method["method"]] = min(found.get(method["method"], "sensitive"), method["verdict"], key=VERDICTS.index)
    counts = {verdict: list(found.values()).count(verdict) for verdict in VERDICTS}
    first, second = (_first(counts, len(found)), _second(counts)) if found else ("No method was measured.", "")
    if record["stopped"] is not None:
        first, second = "Nothing was measured: a check failed.", record["stopped"]
    return {"first": first, "second": second, "twice": len(found) < len(record["methods"])}


def _first(counts: Mapping[str, int], total: int) -> str:
    same = "draw the same picture whatever the network decided"
    if total == 1:
        return f"The one method measured {'would' if counts['insensitive'] else 'was not found to'} {same}."
    if counts["insensitive"] == 0:
        return f"None of the {total} methods was found to {same}."
    many = f"All {total}" if counts["insensitive"] == total else f"{counts['insensitive']} of {total}"
    return f"{many} methods would {same}."


def _second(counts: Mapping[str, int]) -> str:
    changing, unclear = counts["sensitive"], counts["inconclusive"]
    parts = [f"{changing} {'changes' if changing == 1 else 'change'} with the decision"] if changing else []
    parts += [f"of {unclear} it cannot be told"] if unclear else []
    words = "; ".join(parts)
    return words and words[0].upper() + words[1:] + "."


def warnings(record: Mapping[str, Any]) -> list[str]:
    """What should be looked at before the verdicts are relied on, a sentence each."""
    images, settings, preprocessing = record["images"], record["settings"], record["images"]["preprocessing"]
    found = []
    if not record["finished"] and record["stopped"] is None:
        found.append("The audit did not run to its end; give the same command again and it goes on.")
    if preprocessing["guess"] is not None:
        found.append(
            f"How images become inputs was guessed: {preprocessing['formula']}. {preprocessing['guess']} "
            "With wrong inputs no verdict counts: see below whether the network recognises its images."
        )
    found += [check["sentence"] for check in record["checks"] if not check["passed"] and record["stopped"] is None]
    if settings["images_maps"] < FEW_IMAGES and record["stopped"] is None:
        found.append(f"Only {_counted(settings['images_maps'], 'image')} gave maps: intervals are wide, and other images may differ.")
    return found + _doubts(images["items"]) + _left_out(images["left_out"])


def _doubts(items: list[dict[str, Any]]) -> list[str]:
    labelled = [item for item in items if item["label"] is not None and item["top"]]
    right = sum(item["top"][0]["class"] == item["label"] for item in labelled)
    found = []
    if 2 * right < len(labelled):
        found.append(f"The network's first guess is the label of only {right} of {_counted(len(labelled), 'labelled image')}.")
    predicted = sum(item["class_from"] == "prediction" for item in items)
    if predicted:
        found.append(f"Of {_counted(predicted, 'image')} the true class is not known; the network's first guess stands in for it.")
    return found


def _left_out(names: list[dict[str, Any]]) -> list[str]:
    return [f"{_counted(len(names), 'image')} could not be used; they are listed with the others."] if names else []


def _counted(count: int, noun: str) -> str:
    return f"{count} {noun}{'' if count == 1 else 's'}"


def _method(position: int, method: dict[str, Any], drawn: _Pictures) -> dict[str, Any]:
    """A method as the page shows it."""
    return {
        **method,
        "id": f"method-{position + 1}",
        "title": titled(method),
        "curves": csc_curves(method["csc"]) if method["csc"] else None,
        "examples": drawn.rows(method),
        "deciding": deciding(method["tests"]) + [test for test in method["tests"] if test["test"] == "convergence"][:1],
    }


class _Pictures:
    """Example images and all their maps as data URIs.

    Attributes:
        thumbnails: {name of an image: data URI}.
        pixelated: whether they are so small that their pixels are shown as squares.
    """

    def __init__(self, examples: Examples | None):
        self.examples = examples
        self.pixelated = examples is not None and max(examples.pixels.shape[1:3]) <= 64
        self.names = [] if examples is None else printable(list(examples.names))
        self.thumbnails = {} if examples is None else {name: thumbnail(one) for name, one in zip(self.names, examples.pixels)}
        maps = {} if examples is None else examples.maps
        places = [(key, k, j) for key, found in maps.items() for k in range(len(found)) for j in range(3) if np.isfinite(found[k, j]).any()]
        uris = heat_maps([(maps[key][k, j], METHODS[key[0]].map_percentile) for key, k, j in places])
        self.maps = dict(zip(places, uris))

    def rows(self, method: Mapping[str, Any]) -> list[dict[str, Any]]:
        """Per example image its name, its picture, and three (data URI or None, whether it holds nothing but 0, class) of a method."""
        found = [key for key in (self.examples.maps if self.examples else {}) if _is_of(key, method)]
        return [self._row(found[0], k, name) for k, name in enumerate(self.names)] if found else []

    def _row(self, key: tuple[str, str], k: int, name: str) -> dict[str, Any]:
        true, other = map(int, self.examples.classes[k])
        maps = self.examples.maps[key][k]
        shown = [(self.maps.get((key, k, j)), not maps[j].any(), index) for j, index in enumerate((true, other, true))]
        return {"name": name, "picture": self.thumbnails[name], "maps": shown}


def _is_of(key: tuple[str, str], method: Mapping[str, Any]) -> bool:
    return key[0] == method["method"] and method["semantics"] in (key[1], "both")
