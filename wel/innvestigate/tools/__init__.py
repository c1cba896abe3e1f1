"""innvestigate's place for what is done with maps."""

from __future__ import annotations

from wel.innvestigate.tools import perturbate

__all__ = ["perturbate"]
