"""What a backend is asked for, and how it is to compute it."""

from __future__ import annotations

from typing import NamedTuple

DTYPES = ("float32", "float64")


class Request(NamedTuple):
    """What is to be computed: method, semantics and the method's own options."""

    method: str
    semantics: str
    options: dict


class Precision(NamedTuple):
    """How a backend computes: number type, and bytes that a batch may take (None: a part of what is free)."""

    dtype: str = "float32"
    memory: int | None = None
