"""What `wel audit --full` found on the bundled networks: `audits.json`, of which the pages are made.

    python docs/pages/audits.py RUN...

writes the file anew from the run directories of audits. An audit takes minutes, so a page cannot run one.
"""

from __future__ import annotations

import json
import sys
from pathlib import Path

FILE = Path(__file__).with_name("audits.json")


def kept(record: dict) -> dict:
    """Of an audit's record what the pages show."""
    return {
        "network": record["model"]["name"],
        "images": len(record["images"]["items"]),
        "version": record["versions"]["wel"],
        "depths": record["depths"],
        "methods": [
            {
                **{key: method[key] for key in ("method", "semantics", "verdict", "sentence")},
                "rank": _rank(method),
                "cosine": _cosine(method),
            }
            for method in record["methods"]
        ],
    }


def _rank(method: dict) -> list[float] | None:
    """The effective rank at the input with its interval, None of a method that passes no vectors down."""
    found = [test for test in method["tests"] if test["test"] == "convergence"]
    return [round(found[0][key], 3) for key in ("value", "low", "high")] if found else None


def _cosine(method: dict) -> float | None:
    """Median |cos| at the input of what starts at the output."""
    rows = [row for row in method["csc"] if row["layer"] == "input"]
    return rows[0]["median"] if rows else None


def main(runs: list[str]) -> None:
    """Writes the file from run directories."""
    records = [json.loads((Path(run) / "audit.json").read_text(encoding="utf-8")) for run in runs]
    text = json.dumps([kept(record) for record in records], ensure_ascii=False, indent=1)
    FILE.write_text(text + "\n", encoding="utf-8")


if __name__ == "__main__":
    main(sys.argv[1:])
