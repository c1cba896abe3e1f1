"""The modules of docs/pages, which are no package that is installed."""

from __future__ import annotations

from pathlib import Path
from types import ModuleType

from scripts import imported

ROOT = Path(__file__).resolve().parents[1]
DOCS = ROOT / "docs"


def page_module(name: str) -> ModuleType:
    """`docs.pages.<name>`, imported as `make docs` does it."""
    return imported(ROOT, f"docs.pages.{name}")
