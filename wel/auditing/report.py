"""What an audit leaves behind: `audit.json`, and `report.html`, one page without scripts or external resources."""

from __future__ import annotations

import json
import math
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Mapping, Sequence

import numpy as np
from jinja2 import Environment, FileSystemLoader, StrictUndefined

from wel.auditing.advice import Advice, advised, sentences, shown
from wel.auditing.charts import Plane, csc_curves, deciding, heat_maps, hiding, overview, plane, thumbnail
from wel.auditing.verdicts import FEWEST, INSENSITIVE, MEASURES, SENSITIVE, VERDICTS
from wel.errors import visible
from wel.measures.similarity import SSIM_WINDOW
from wel.methods.registry import GIVEN, METHODS
from wel.system.files import written_whole

RECORD, REPORT = "audit.json", "report.html"
FEW_IMAGES = 10
RANGE_BELOW = 8  # images: of fewer, the bootstrap interval of a median reaches from the smallest value to the largest
BROKEN = "inputs are made wrongly or the model is broken."
CONTROL = "control"  # in place of advice
CONTROLS = {"random": "values without information", "edges": "an edge detector, which does not look at the network"}
KINDS = {"other_class", "randomised", "convergence"}


@dataclass(frozen=True)
class Examples:
    """Images whose maps are shown.

    Attributes:
        names: one per image.
        pixels: (k, height, width, 3) uint8 RGB.
        maps: (method, semantics) -> (k, 3, height, width) float32, channels reduced: of the true class, of another class, and of the
            true class with random weights above the topmost cut; NaN throughout where there is no such map.
        classes: (k, 2), the true class and the other one, -1 where there is no test of another class.
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
    ordered = sorted(record["methods"], key=lambda method: VERDICTS.index(method["verdict"]))
    methods = [_method(number, method, drawn) for number, method in enumerate(ordered)]
    advice, similar = advised(record), record["settings"]["thresholds"]["similar"]
    ranking = _ranking(advice, methods, record.get("controls", []))
    content = {
        "record": record,
        "answer": answer(record),
        "warnings": warnings(record),
        "advice": sentences(advice) if advice else [],
        "ranking": ranking,
        "plane": _plane(ranking, similar),
        "methods": methods,
        "overview": overview([(titled(method), method["tests"]) for method in methods], similar),
        "pictures": drawn.thumbnails,
        "pixelated": drawn.pixelated,
        "no_examples": None if examples is not None else _no_examples(record["model"]["input_shape"]),
        "tested": {test["test"] for method in methods for test in method["tests"]} if methods else KINDS,
        "coverage": coverage,
    }
    folder = Path(__file__).resolve().parent
    environment = Environment(
        loader=FileSystemLoader(folder),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    environment.filters.update(number=number, gain=_gain)
    environment.globals.update(measures=MEASURES, window=SSIM_WINDOW, range_below=RANGE_BELOW, fewest=FEWEST)
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
    """The same with all text `visible`."""
    if isinstance(value, dict):
        return {printable(name): printable(item) for name, item in value.items()}
    if isinstance(value, list):
        return [printable(item) for item in value]
    if isinstance(value, str):
        return visible(value)
    return value


def number(value: float | None, measure: str = "") -> str:
    """A number for a table: two digits behind the point, more next to 1, where cosines and SSIM lie; of a rank, two digits in all."""
    if value is None:
        return "undefined"
    if measure == "effective_rank":
        rounded = float(f"{value:.2g}")
        return f"{rounded:.{0 if rounded >= 10 else 1}f}"
    if 0.995 <= value < 1:
        return f"{math.floor(value * 1e4) / 1e4:.4f}" if value < 0.9999 else "> 0.9999"
    return f"{value:.2f}"


def _gain(value: float | None) -> str:
    return "undefined" if value is None else shown(value)


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
        found.append(f"Only {_counted(settings['images_maps'], 'image')} gave maps: {_few(settings['images_maps'])}")
    found += [sentence for control in record.get("controls", []) for sentence in _misbehaving(control)]
    return found + _doubts(images["items"], record["model"]["classes"] == 1) + _left_out(images["left_out"])


def _misbehaving(control: Mapping[str, Any]) -> list[str]:
    """What is wrong with a control that does not fail as it is made to."""
    gain = (control["faithfulness"] or {}).get("gain", {})
    found = []
    if control["method"] == "random" and (gain.get("low") or 0) > 0:
        found.append(f"gains {_gain(gain['value'])}, {_gain(gain['low'])} to {_gain(gain['high'])}")
    if (control["method"], control["verdict"]) in (("random", INSENSITIVE), ("edges", SENSITIVE)):
        found.append(f"was found {control['verdict']}")
    return [
        f"The control {control['label']}, {CONTROLS[control['method']]}, {words}: on these images the advice says little."
        for words in found
    ]


def coverage(count: int) -> int:
    """How often, in percent, the range of so many values holds the median of what they were drawn from: 1 − 2^(1 − n)."""
    return math.ceil(100 * (1 - 2.0 ** (1 - count)) - 0.5)


def _few(count: int) -> str:
    if count < FEWEST:
        return f"too few for an outcome of any test on maps. At least {FEWEST} are needed."
    if count < RANGE_BELOW:
        return f"an interval is the range of their values, which covers the median in {coverage(count)} % of cases, not in 99 %."
    return "intervals are wide, and other images may differ."


def _doubts(items: list[dict[str, Any]], one_logit: bool) -> list[str]:
    """What the first guesses give to doubt; of one logit the guess is its sign: label 1 above 0."""
    guessed = [(_guess(item["top"][0], one_logit), item["label"]) for item in items if item["top"]]
    labelled = [(guess, label) for guess, label in guessed if label is not None]
    right = sum(guess == label for guess, label in labelled)
    found = []
    if 2 * right < len(labelled):
        words = "sign of the logit fits" if one_logit else "network's first guess is"
        found.append(f"The {words} the label of only {right} of {_counted(len(labelled), 'labelled image')}.")
    if len(guessed) >= FEWEST and len({guess for guess, _ in guessed}) == 1 and right < len(guessed):
        words = "logit has the same sign" if one_logit else f"network's first guess is class {guessed[0][0]}"
        found.append(f"The {words} for all {len(guessed)} images. Unless they show the same, {BROKEN}")
    return found + _ties(items) + ([] if one_logit else _predicted(items))


def _guess(first: Mapping[str, Any], one_logit: bool) -> int:
    return int((first["logit"] or 0.0) > 0) if one_logit else first["class"]


def _ties(items: list[dict[str, Any]]) -> list[str]:
    best = [[guess["logit"] for guess in item["top"][:2]] for item in items]
    tied = sum(len(pair) == 2 and pair[0] is not None and pair[0] == pair[1] for pair in best)
    return [f"Of {_counted(tied, 'image')} the two highest logits are equal: {BROKEN}"] if tied else []


def _predicted(items: list[dict[str, Any]]) -> list[str]:
    count = sum(item["class_from"] == "prediction" for item in items)
    known = f"Of {_counted(count, 'image')} the true class is not known; the network's first guess stands in for it."
    return [known] if count else []


def _no_examples(shape: list[int]) -> str:
    """Why there are no pictures of maps."""
    size = " × ".join(map(str, shape))
    if len(shape) == 3 and min(shape[:2]) < SSIM_WINDOW:
        window = f"{SSIM_WINDOW} × {SSIM_WINDOW}"
        return f"the inputs are of shape {size}, and SSIM needs {window} pixels at least"
    return f"the inputs are no colour pictures, but of shape {size}"


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
        "hiding": hiding(method["faithfulness"]["curve"]) if (method.get("faithfulness") or {}).get("curve") else None,
        "examples": drawn.rows(method),
        "deciding": deciding(method["tests"]) + [test for test in method["tests"] if test["test"] == "convergence"],
    }


def _ranking(advice: Sequence[Advice], methods: Sequence[dict[str, Any]], controls: Sequence[dict[str, Any]]) -> list[dict[str, Any]]:
    """The rows of the ranking: methods as they are advised, numbered, then the controls."""
    if not advice:
        return []
    entries = {(method["method"], method["semantics"]): method for method in methods}
    found = [(str(place), entries[one.method, one.semantics], one.advice, one.reason) for place, one in enumerate(advice, 1)]
    found += [(one["label"], {**one, "id": None}, CONTROL, CONTROLS[one["method"]]) for one in controls]
    return [dict(zip(("mark", "method", "advice", "reason"), row)) for row in found]


def _plane(ranking: Sequence[dict[str, Any]], similar: float) -> Plane | None:
    measured = [row for row in ranking if row["method"]["faithfulness"]]
    spots = [(row["mark"], row["advice"], row["method"]["dependence"], row["method"]["faithfulness"]["gain"]) for row in measured]
    return plane(spots, similar)


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
        uris = heat_maps([(maps[key][k, j], METHODS.get(key[0], GIVEN).map_percentile) for key, k, j in places])
        self.maps = dict(zip(places, uris))

    def rows(self, method: Mapping[str, Any]) -> list[dict[str, Any]]:
        """Per example image its name, its picture, and its maps by a method, those of the tests that the method has.

        A map has `uri` (None where it is not defined), `empty` (whether it holds nothing but 0), `class`, and `test`: None for the
        image's own class.
        """
        found = [key for key in (self.examples.maps if self.examples else {}) if _is_of(key, method)]
        first = {test["test"]: test for test in reversed(deciding(method["tests"]))}
        views = [(0, None), *((j, first[kind]) for j, kind in ((1, "other_class"), (2, "randomised")) if kind in first)]
        return [self._row(found[0], k, name, views) for k, name in enumerate(self.names)] if found else []

    def _row(self, key: tuple[str, str], k: int, name: str, views: list[tuple[int, Any]]) -> dict[str, Any]:
        true, other = map(int, self.examples.classes[k])
        maps = self.examples.maps[key][k]
        shown = [
            {"uri": self.maps.get((key, k, j)), "empty": not maps[j].any(), "class": other if j == 1 else true, "test": test}
            for j, test in views
        ]
        return {"name": name, "picture": self.thumbnails[name], "maps": shown}


def _is_of(key: tuple[str, str], method: Mapping[str, Any]) -> bool:
    return key[0] == method["method"] and method["semantics"] in (key[1], "both")
