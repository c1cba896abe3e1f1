"""The gradient, and what is made of it."""

from __future__ import annotations

from wel.innvestigate.analyzer.base import AnalyzerBase


class Gradient(AnalyzerBase):
    """The gradient."""

    name = "gradient"


class BaselineGradient(AnalyzerBase):
    """The same."""

    name = "gradient.baseline"


class InputTimesGradient(Gradient):
    """Input × gradient."""

    name = "input_t_gradient"


class Deconvnet(AnalyzerBase):
    """Deconvnet (Zeiler and Fergus 2014)."""

    name = "deconvnet"


class GuidedBackprop(AnalyzerBase):
    """Guided Backpropagation (Springenberg et al. 2015)."""

    name = "guided_backprop"


class IntegratedGradients(AnalyzerBase):
    """Integrated gradients (Sundararajan et al. 2017)."""

    name = "integrated_gradients"


class SmoothGrad(AnalyzerBase):
    """SmoothGrad (Smilkov et al. 2017)."""

    name = "smoothgrad"
