"""innvestigate 1's place for models without their softmax."""

from __future__ import annotations

from wel.innvestigate.utils.keras import graph

__all__ = ["graph"]
