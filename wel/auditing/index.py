"""The page of many audits: one table that can be sorted, with a link to each report."""

from __future__ import annotations

import base64
import hashlib
from pathlib import Path
from typing import TYPE_CHECKING, Any, Mapping, Sequence

from jinja2 import Environment, FileSystemLoader, StrictUndefined

from wel.auditing.advice import DO_NOT_USE, USE, advised, named
from wel.auditing.report import REPORT, finite, printable
from wel.auditing.verdicts import VERDICTS
from wel.system.files import written_whole

if TYPE_CHECKING:
    from wel.auditing.zoo import Entry

INDEX = "index.html"
HERE = Path(__file__).resolve().parent


def write_index(page: Path, entries: Sequence[Entry], records: Mapping[str, dict[str, Any]], reasons: Mapping[str, str]) -> None:
    """Writes the page, whole or not at all.

    Args:
        page: where.
        entries: the models, in the order of the table.
        records: folder -> the record of its audit.
        reasons: folder -> why there are no verdicts.
    """
    rows = [_row(entry, records.get(entry.folder), reasons.get(entry.folder)) for entry in entries]
    script = (HERE / "index.js").read_text(encoding="utf-8")
    digest = base64.b64encode(hashlib.sha256(script.encode()).digest()).decode()
    environment = Environment(
        loader=FileSystemLoader(HERE), autoescape=True, undefined=StrictUndefined, trim_blocks=True, lstrip_blocks=True
    )
    text = environment.get_template("index.html.j2").render(rows=printable(rows), verdicts=VERDICTS, script=script, digest=digest)
    with written_whole(page) as path:
        path.write_text(text, encoding="utf-8")


def _row(entry: Entry, record: dict[str, Any] | None, reason: str | None) -> dict[str, Any]:
    """What the table says of a model."""
    told = {"model": Path(entry.model).name, "images": Path(entry.given.get("images", "bundled")).name, "reason": reason, "report": None}
    told |= {"state": "audited" if record and not reason else "refused" if reason else "waiting"}
    if record is None:
        return {**told, "parameters": None, "count": None, "verdicts": {}, USE: [], DO_NOT_USE: []}
    record = finite(record)
    advice = advised(record)
    several = {word: [name for name, _ in named(advice, word)] for word in (USE, DO_NOT_USE)}
    found = [method["verdict"] for method in record["methods"]]
    return {
        **told,
        "report": f"{entry.folder}/{REPORT}",
        "parameters": record["model"]["parameters"],
        "count": len(record["images"]["items"]),
        "verdicts": {word: found.count(word) for word in VERDICTS} if not reason else {},
        **several,
    }
