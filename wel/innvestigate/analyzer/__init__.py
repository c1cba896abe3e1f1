"""innvestigate's analyzers as classes, and by name."""

from __future__ import annotations

from typing import Any, Mapping

from wel.errors import one_of
from wel.innvestigate.analyzer.base import AnalyzerBase, NotAnalyzeableModelException
from wel.innvestigate.analyzer.deeplift import DeepLIFT, DeepLIFTWrapper
from wel.innvestigate.analyzer.deeptaylor import BoundedDeepTaylor, DeepTaylor
from wel.innvestigate.analyzer.gradient_based import (
    BaselineGradient,
    Deconvnet,
    Gradient,
    GuidedBackprop,
    InputTimesGradient,
    IntegratedGradients,
    SmoothGrad,
)
from wel.innvestigate.analyzer.misc import Input, Random
from wel.innvestigate.analyzer.pattern_based import PatternAttribution, PatternNet
from wel.innvestigate.analyzer.relevance_based.relevance_analyzer import (
    LRP,
    LRPZ,
    BaselineLRPZ,
    LRPAlpha1Beta0,
    LRPAlpha1Beta0IgnoreBias,
    LRPAlpha2Beta1,
    LRPAlpha2Beta1IgnoreBias,
    LRPAlphaBeta,
    LRPEpsilon,
    LRPEpsilonIgnoreBias,
    LRPFlat,
    LRPSequentialPresetA,
    LRPSequentialPresetAFlat,
    LRPSequentialPresetB,
    LRPSequentialPresetBFlat,
    LRPSequentialPresetBFlatUntilIdx,
    LRPWSquare,
    LRPZIgnoreBias,
    LRPZPlus,
    LRPZPlusFast,
)
from wel.innvestigate.analyzer.wrapper import AugmentReduceBase, GaussianSmoother, PathIntegrator, WrapperBase
from wel.innvestigate.analyzers import UnknownAnalyzer

__all__ = [
    "analyzers",
    "create_analyzer",
    "AnalyzerBase",
    "NotAnalyzeableModelException",
    "DeepLIFT",
    "DeepLIFTWrapper",
    "BoundedDeepTaylor",
    "DeepTaylor",
    "BaselineGradient",
    "Deconvnet",
    "Gradient",
    "GuidedBackprop",
    "InputTimesGradient",
    "IntegratedGradients",
    "SmoothGrad",
    "Input",
    "Random",
    "PatternAttribution",
    "PatternNet",
    "AugmentReduceBase",
    "GaussianSmoother",
    "PathIntegrator",
    "WrapperBase",
    "BaselineLRPZ",
    "LRP",
    "LRPAlpha1Beta0",
    "LRPAlpha1Beta0IgnoreBias",
    "LRPAlpha2Beta1",
    "LRPAlpha2Beta1IgnoreBias",
    "LRPAlphaBeta",
    "LRPEpsilon",
    "LRPEpsilonIgnoreBias",
    "LRPFlat",
    "LRPSequentialPresetA",
    "LRPSequentialPresetAFlat",
    "LRPSequentialPresetB",
    "LRPSequentialPresetBFlat",
    "LRPSequentialPresetBFlatUntilIdx",
    "LRPWSquare",
    "LRPZ",
    "LRPZIgnoreBias",
    "LRPZPlus",
    "LRPZPlusFast",
]

# name -> class
analyzers: Mapping[str, type[AnalyzerBase]] = {
    kind.name: kind
    for kind in (
        Input,
        Random,
        Gradient,
        BaselineGradient,
        InputTimesGradient,
        Deconvnet,
        GuidedBackprop,
        IntegratedGradients,
        SmoothGrad,
        LRP,
        LRPZ,
        LRPZIgnoreBias,
        LRPEpsilon,
        LRPEpsilonIgnoreBias,
        LRPWSquare,
        LRPFlat,
        LRPAlphaBeta,
        LRPAlpha2Beta1,
        LRPAlpha2Beta1IgnoreBias,
        LRPAlpha1Beta0,
        LRPAlpha1Beta0IgnoreBias,
        LRPZPlus,
        LRPZPlusFast,
        LRPSequentialPresetA,
        LRPSequentialPresetB,
        LRPSequentialPresetAFlat,
        LRPSequentialPresetBFlat,
        LRPSequentialPresetBFlatUntilIdx,
        DeepTaylor,
        BoundedDeepTaylor,
        DeepLIFTWrapper,
        PatternNet,
        PatternAttribution,
    )
}


def create_analyzer(name: str, model: Any, **kwargs: Any) -> AnalyzerBase:
    """An analyzer by innvestigate's name.

    Args:
        name: one of `analyzers`.
        model: a Keras model with one input and one output.
        kwargs: `AnalyzerBase`'s, and the analyzer's own, as innvestigate has them.

    Raises:
        WelError: for a name, a keyword or a value that cannot be used.
        NotAnalyzeableModelException: for a model that the analyzer cannot be had for.
    """
    if name not in tuple(analyzers):
        raise UnknownAnalyzer(f"Invalid value for `name`: {name!r}. Expected {one_of(analyzers)}.")
    return analyzers[name](model, **kwargs)
