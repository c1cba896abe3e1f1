"""PatternNet and PatternAttribution (Kindermans et al. 2018)."""

from __future__ import annotations

from wel.innvestigate.analyzer.base import AnalyzerBase


class PatternNet(AnalyzerBase):
    """PatternNet."""

    name = "pattern.net"


class PatternAttribution(AnalyzerBase):
    """PatternAttribution."""

    name = "pattern.attribution"
