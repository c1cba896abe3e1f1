"""Analyzers that no network decides."""

from __future__ import annotations

from wel.innvestigate.analyzer.base import AnalyzerBase


class Input(AnalyzerBase):
    """The input itself."""

    name = "input"


class Random(AnalyzerBase):
    """The input with noise N(0, stddev²)."""

    name = "random"
