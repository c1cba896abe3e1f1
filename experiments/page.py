"""One page with all figures, the claims table and the settings, and the claims as a Markdown table for the README."""

from __future__ import annotations

import json
from base64 import b64encode
from dataclasses import dataclass
from io import BytesIO
from itertools import groupby
from pathlib import Path
from typing import Any, Sequence

import pandas as pd
from claims import RANDOM, Finding, Moved, Run, findings, summary
from jinja2 import Environment, FileSystemLoader, StrictUndefined
from judges import FAILS, HOLDS, UNTESTABLE
from PIL import Image
from trained import LABELS

from wel import __version__
from wel.methods.registry import SEMANTICS
from wel.system.files import written_whole

FOLDER = Path(__file__).resolve().parent
# what else than a study's own table (<study>.csv) claims are judged by
OTHER_TABLES = {"saliency": ("correlations", "bands"), "csc": ("skips",)}
QUALITY = 65  # of WebP, of 100: letters stay sharp
SHOWN_SETTINGS = {  # key of a run's request -> how the page calls it
    "images": "images",
    "vectors": "vectors",
    "start_layers": "start layers",
    "stages": "randomised down to",
    "views": "maps of",
    "samples": "samples",
    "rows": "rows",
    "semantics": "semantics",
    "backend": "backend",
    "dtype": "precision",
    "seed": "seed",
    "weights_sha256": "sha256 of weights",
}


@dataclass(frozen=True)
class Picture:
    """A figure as the page holds it: a data URI, its size in pixels, and its title for those who cannot see it."""

    uri: str
    width: int
    height: int
    title: str


def picture(path: Path) -> Picture:
    """Reads a PNG; its title is what `wel.figures.style.write_figure` wrote into it.

    Held as WebP, or with 256 colours as PNG, whichever is smaller: maps are a third then, and curves.
    """
    with Image.open(path) as image:
        (width, height), title = image.size, image.info.get("Title", path.stem)
        pixels = image.convert("RGB")
    forms = {"webp": _bytes(pixels, "WEBP", quality=QUALITY), "png": _bytes(pixels.quantize(256), "PNG", optimize=True)}
    kind = min(forms, key=lambda name: len(forms[name]))
    return Picture(f"data:image/{kind};base64,{b64encode(forms[kind]).decode()}", width, height, title)


def _bytes(image: Image.Image, form: str, **settings: Any) -> bytes:
    held = BytesIO()
    image.save(held, form, **settings)
    return held.getvalue()


def write_page(out: Path, folders: Sequence[Path]) -> Path:
    """Writes `index.html` and `claims.md` from the sheets that there are; gives the page's path.

    Args:
        out: directory of the two files.
        folders: one per figure; those without a `sheet.json` are named as missing.
    """
    sheets = {folder: json.loads((folder / "sheet.json").read_text("utf-8")) for folder in folders if (folder / "sheet.json").is_file()}
    runs = [run for folder, sheet in sheets.items() for record in sheet["runs"] for run in _runs(folder, record)]
    found = findings(runs)
    content = {
        "version": __version__,
        "quick": any(sheet["quick"] for sheet in sheets.values()),
        "sheets": [_shown(folder, sheet) for folder, sheet in sheets.items()],
        "missing": [folder.name for folder in folders if folder not in sheets],
        "claims": [(claim, list(group)) for claim, group in groupby(found, lambda finding: finding.claim)],
        "summary": summary(runs),
        "tally": tally(found),
        "versions": _versions(folder / record["folder"] for folder, sheet in sheets.items() for record in sheet["runs"]),
    }
    environment = Environment(loader=FileSystemLoader(FOLDER), autoescape=True, undefined=StrictUndefined)
    environment.filters["moved"] = moved
    out.mkdir(parents=True, exist_ok=True)
    _write(out / "index.html", environment.get_template("page.html.j2").render(content))
    _write(out / "claims.md", f"{summary(runs)}\n\n{markdown(found)}")
    return out / "index.html"


def tally(found: Sequence[Finding]) -> dict[str, dict[str, int]]:
    """{network: {verdict "in full" | "in part" | "not": how many claims}}, of those that could be tested."""
    counts: dict[str, dict[str, int]] = {}
    for finding in found:
        if finding.verdict != UNTESTABLE:
            several = counts.setdefault(finding.network, {"in full": 0, "in part": 0, "not": 0})
            several[{HOLDS: "in full", FAILS: "not"}.get(finding.verdict, "in part")] += 1
    return counts


def markdown(found: Sequence[Finding]) -> str:
    """The findings as a Markdown table."""
    rows = [("the paper says", "figure", "on", "verdict", "measured", "threshold moved"), ("---",) * 6]
    for claim, group in groupby(found, lambda finding: finding.claim):
        first = f"**{claim.number}** {claim.words} *({claim.asked})*", claim.figure
        for finding in group:
            moves = ", ".join(map(moved, finding.moves))
            place = ", ".join(filter(None, (finding.network, finding.images)))
            rows.append((*first, place, finding.verdict, finding.measured, moves))
            first = "", ""
    return "\n".join(f"| {' | '.join(cell.replace('|', chr(92) + '|') for cell in row)} |" for row in rows) + "\n"


def moved(move: Moved) -> str:
    """A threshold, and for how much of a claim it would hold: 0.99: 6 of 7."""
    return f"{move.threshold:g}: {move.kept} of {move.of}"


def _runs(folder: Path, record: dict[str, Any]) -> list[Run]:
    studies = (record["study"], *OTHER_TABLES.get(record["study"], ()))
    paths = {study: folder / record["folder"] / f"{study}.csv" for study in studies}
    tables = {study: pd.read_csv(path) for study, path in paths.items() if path.is_file()}
    about = record["network"], record["weights"]
    return [Run(study, *about, part, semantics) for study, table in tables.items() for semantics, part in _by_semantics(table)]


def _by_semantics(table: pd.DataFrame) -> list[tuple[str, pd.DataFrame]]:
    return list(table.groupby("semantics")) if "semantics" in table else [(SEMANTICS[0], table)]


def _shown(folder: Path, sheet: dict[str, Any]) -> dict[str, Any]:
    runs = [_shown_run(folder, record) for record in sheet["runs"]]
    return {"name": folder.name, "figure": sheet["figure"], "title": sheet["title"], "runs": runs}


def _shown_run(folder: Path, record: dict[str, Any]) -> dict[str, Any]:
    kept = _record(folder / record["folder"])
    request, context = kept.get("request", {}), kept.get("context", {})
    settings = {shown: _words(request[key]) for key, shown in SHOWN_SETTINGS.items() if request.get(key) is not None}
    if "images" in settings:
        settings["images from"] = context["images_source"]
    pictures = [picture(folder / file) for file in record["figures"]]
    label = LABELS.get(record["network"], record["network"]) + (" with random weights" if record["weights"] == RANDOM else "")
    return {**record, "label": label, "settings": settings, "pictures": pictures, "skipped": context.get("skipped", {})}


def _words(value: Any) -> str:
    return ", ".join(map(str, value)) if isinstance(value, list) else str(value)


def _record(folder: Path) -> dict[str, Any]:
    """What a run says of itself; the study of singular values, which is done in no time, has no such file."""
    path = folder / "run.json"
    return json.loads(path.read_text("utf-8")) if path.is_file() else {}


def _versions(folders) -> dict[str, str]:
    return {name: number for folder in folders for name, number in _record(folder).get("versions", {}).items()}


def _write(path: Path, text: str) -> None:
    with written_whole(path) as temporary:
        temporary.write_text(text, encoding="utf-8")
