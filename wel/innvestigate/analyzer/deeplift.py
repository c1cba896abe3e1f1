"""DeepLIFT (Shrikumar et al. 2017)."""

from __future__ import annotations

from wel.innvestigate.analyzer.base import AnalyzerBase


class DeepLIFTWrapper(AnalyzerBase):
    """DeepLIFT, by wel and not by the package that innvestigate wraps."""

    name = "deep_lift.wrapper"


class DeepLIFT(DeepLIFTWrapper):
    """The same."""
