"""The page of many audits: what they say of each method, and one table that can be sorted, with a link to each report."""

from __future__ import annotations

import base64
import hashlib
from collections import Counter
from pathlib import Path
from typing import TYPE_CHECKING, Any, Dict, List, Mapping, NamedTuple, Sequence

from jinja2 import Environment, FileSystemLoader, StrictUndefined

from wel.auditing.advice import ADVICE, advised, named
from wel.auditing.report import REPORT, printable
from wel.auditing.verdicts import VERDICTS
from wel.errors import invalid
from wel.system.files import written_whole

if TYPE_CHECKING:
    from wel.auditing.zoo import Entry

INDEX = "index.html"
MARK = "wel zoo-audit"  # in a page, by which it is known again
AUDITED, REFUSED, FAILED, WAITING = STATES = ("audited", "refused", "failed", "waiting")
HERE = Path(__file__).resolve().parent


class Summary(NamedTuple):
    """What the page says of an audit.

    Attributes:
        parameters, images: how many.
        verdicts: verdict -> how many methods have it.
        advice: advice -> methods.
    """

    parameters: int
    images: int
    verdicts: Dict[str, int]
    advice: Dict[str, List[str]]


def summary_of(record: Mapping[str, Any]) -> Summary:
    """What the page says of the audit with this record."""
    found, advice = [method["verdict"] for method in record["methods"]], advised(record)
    return Summary(
        record["model"]["parameters"],
        len(record["images"]["items"]),
        {word: found.count(word) for word in VERDICTS},
        {word: [name for name, _ in named(advice, word)] for word in ADVICE},
    )


def check_replaceable(page: Path) -> None:
    """Raises WelError where another page than one of these would be written over."""
    if page.is_file() and MARK not in page.read_text(encoding="utf-8", errors="replace"):
        raise invalid("out", str(page.parent), f"a new directory, or one of an earlier `{MARK}`: it has an {page.name} of other contents")


def write_index(
    page: Path, entries: Sequence[Entry], audits: Mapping[str, Summary], refused: Mapping[str, str], failed: Mapping[str, str]
) -> None:
    """Writes the page, whole or not at all.

    Args:
        page: where.
        entries: the models, in the order of the table.
        audits: folder -> what its report says.
        refused, failed: folder -> why there are no verdicts, or none of now.
    """
    rows = [_row(entry, audits.get(entry.folder), refused.get(entry.folder), failed.get(entry.folder)) for entry in entries]
    script = (HERE / "index.js").read_text(encoding="utf-8")
    content = {
        "rows": printable(rows),
        "states": {word: count for word in STATES if (count := sum(row["state"] == word for row in rows))},
        "methods": _methods([row["advice"] for row in rows if row["state"] == AUDITED]),
        "verdicts": VERDICTS,
        "mark": MARK,
        "script": script,
        "digest": base64.b64encode(hashlib.sha256(script.encode()).digest()).decode(),
    }
    environment = Environment(
        loader=FileSystemLoader(HERE), autoescape=True, undefined=StrictUndefined, trim_blocks=True, lstrip_blocks=True
    )
    text = environment.get_template("index.html.j2").render(content)
    with written_whole(page) as path:
        path.write_text(text, encoding="utf-8")


def _row(entry: Entry, audit: Summary | None, refused: str | None, failed: str | None) -> dict[str, Any]:
    """What the table says of a model."""
    told = {name.replace("_", " "): value for name, value in entry.line.items() if name != "model"}
    return {
        "model": entry.line["model"],
        "told": {"images": "bundled", **told},
        "state": FAILED if failed else REFUSED if refused else AUDITED if audit else WAITING,
        "reason": failed or refused,
        "report": audit and f"{entry.folder}/{REPORT}",
        **(audit or Summary(None, None, {}, {word: [] for word in ADVICE}))._asdict(),
    }


def _methods(several: Sequence[Mapping[str, Sequence[str]]]) -> dict[str, list[int]]:
    """Method -> for how many models each advice is given, those first that are to be used most often."""
    counts = {word: Counter(name for advice in several for name in advice[word]) for word in ADVICE}
    names = dict.fromkeys(name for word in ADVICE for name in counts[word])
    use, _, never = ADVICE
    ranked = sorted(names, key=lambda name: (-counts[use][name], counts[never][name]))
    return {name: [counts[word][name] for word in ADVICE] for name in ranked}
