"""innvestigate's own interface, computed by wel: `import wel.innvestigate as innvestigate`.

analyzer = innvestigate.create_analyzer("lrp.epsilon", innvestigate.model_wo_softmax(model))
analyzer.analyze(images)

The numbers are those of innvestigate 2.1.2; of names of 1.0.8 that it has not, those of wel's methods with `paper` semantics.
"""

from __future__ import annotations

from wel.innvestigate import analyzer, backend, tools, utils
from wel.innvestigate.analyzer import analyzers, create_analyzer
from wel.innvestigate.analyzer.base import NotAnalyzeableModelException
from wel.innvestigate.models import model_wo_output_activation, model_wo_softmax

__all__ = [
    "NotAnalyzeableModelException",
    "analyzer",
    "analyzers",
    "backend",
    "create_analyzer",
    "model_wo_output_activation",
    "model_wo_softmax",
    "tools",
    "utils",
]
