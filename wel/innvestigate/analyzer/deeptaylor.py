"""Deep Taylor decomposition (Montavon et al. 2017)."""

from __future__ import annotations

from wel.innvestigate.analyzer.base import AnalyzerBase


class DeepTaylor(AnalyzerBase):
    """Deep Taylor for inputs without bounds."""

    name = "deep_taylor"


class BoundedDeepTaylor(DeepTaylor):
    """Deep Taylor for inputs from `low` to `high`."""

    name = "deep_taylor.bounded"
