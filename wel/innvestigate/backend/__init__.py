"""innvestigate 2's place for its inner parts, of which scripts use two."""

from __future__ import annotations

from wel.innvestigate.backend import graph, types

__all__ = ["graph", "types"]
