"""innvestigate's place for LRP."""

from __future__ import annotations

from wel.innvestigate.analyzer.relevance_based import relevance_analyzer, relevance_rule
from wel.innvestigate.analyzer.relevance_based.relevance_analyzer import LRP

__all__ = ["LRP", "relevance_analyzer", "relevance_rule"]
