"""What a backend is asked for."""
from __future__ import annotations

from typing import NamedTuple


class Request(NamedTuple):
    """What is to be computed: method, semantics and the method's own options."""

    method: str
    semantics: str
    options: dict
