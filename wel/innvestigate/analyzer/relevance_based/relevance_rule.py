"""innvestigate's place for rules, which stand in `wel.innvestigate.rules`."""

from __future__ import annotations

from wel.innvestigate.rules import RULES

globals().update({kind.__name__: kind for kind in RULES.values()})
__all__ = [kind.__name__ for kind in RULES.values()]
