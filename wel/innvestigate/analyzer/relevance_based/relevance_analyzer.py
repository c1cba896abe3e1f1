"""Layer-wise relevance propagation (Bach et al. 2015), with innvestigate's settings."""

from __future__ import annotations

from typing import Any

from wel.innvestigate.analyzer.base import AnalyzerBase
from wel.innvestigate.rules import RULES as LRP_RULES
from wel.networks.kinds import activation_name, is_relu

__all__ = [
    "LRP_RULES",
    "BaselineLRPZ",
    "LRP",
    "LRPZ",
    "LRPZIgnoreBias",
    "LRPEpsilon",
    "LRPEpsilonIgnoreBias",
    "LRPWSquare",
    "LRPFlat",
    "LRPAlphaBeta",
    "LRPAlpha2Beta1",
    "LRPAlpha2Beta1IgnoreBias",
    "LRPAlpha1Beta0",
    "LRPAlpha1Beta0IgnoreBias",
    "LRPZPlus",
    "LRPZPlusFast",
    "LRPSequentialPresetA",
    "LRPSequentialPresetB",
    "LRPSequentialPresetAFlat",
    "LRPSequentialPresetBFlat",
    "LRPSequentialPresetBFlatUntilIdx",
]


class LRP(AnalyzerBase):
    """LRP by rules that are given."""

    name = "lrp"


class LRPZ(LRP):
    """LRP-z."""

    name = "lrp.z"


class LRPZIgnoreBias(LRP):
    """LRP-z without bias."""

    name = "lrp.z_IB"


class LRPEpsilon(LRP):
    """LRP-ε."""

    name = "lrp.epsilon"


class LRPEpsilonIgnoreBias(LRP):
    """LRP-ε without bias."""

    name = "lrp.epsilon_IB"


class LRPWSquare(LRP):
    """The w² rule."""

    name = "lrp.w_square"


class LRPFlat(LRP):
    """The flat rule."""

    name = "lrp.flat"


class LRPAlphaBeta(LRP):
    """LRP-αβ."""

    name = "lrp.alpha_beta"


class LRPAlpha2Beta1(LRPAlphaBeta):
    """LRP-α2β1."""

    name = "lrp.alpha_2_beta_1"


class LRPAlpha2Beta1IgnoreBias(LRPAlphaBeta):
    """LRP-α2β1 without bias."""

    name = "lrp.alpha_2_beta_1_IB"


class LRPAlpha1Beta0(LRPAlphaBeta):
    """LRP-α1β0."""

    name = "lrp.alpha_1_beta_0"


class LRPAlpha1Beta0IgnoreBias(LRPAlphaBeta):
    """LRP-α1β0 without bias."""

    name = "lrp.alpha_1_beta_0_IB"


class LRPZPlus(LRPAlpha1Beta0IgnoreBias):
    """The same by another name."""

    name = "lrp.z_plus"


class LRPZPlusFast(LRP):
    """The z⁺ rule with the inputs as they are."""

    name = "lrp.z_plus_fast"


class LRPSequentialPresetA(LRP):
    """LRP-ε at dense layers, α1β0 at convolutions."""

    name = "lrp.sequential_preset_a"


class LRPSequentialPresetB(LRP):
    """LRP-ε at dense layers, α2β1 at convolutions."""

    name = "lrp.sequential_preset_b"


class LRPSequentialPresetAFlat(LRPSequentialPresetA):
    """Preset A with the flat rule at the input."""

    name = "lrp.sequential_preset_a_flat"


class LRPSequentialPresetBFlat(LRPSequentialPresetB):
    """Preset B with the flat rule at the input."""

    name = "lrp.sequential_preset_b_flat"


class LRPSequentialPresetBFlatUntilIdx(LRPSequentialPresetBFlat):
    """Preset B with the flat rule up to a layer."""

    name = "lrp.sequential_preset_b_flat_until_idx"


class BaselineLRPZ(AnalyzerBase):
    """Input × gradient, which LRP-z is in a network of ReLUs without biases."""

    name = "input_t_gradient"

    def __init__(self, model: Any, **keywords: Any):
        super().__init__(model, **keywords)
        self._refuse(
            "other activation functions than ReLU", lambda node: activation_name(node.layer) != "linear" and not is_relu(node.layer)
        )
