"""innvestigate 2's place for its inner parts, of which scripts use one."""

from __future__ import annotations

from wel.innvestigate.backend import graph

__all__ = ["graph"]
