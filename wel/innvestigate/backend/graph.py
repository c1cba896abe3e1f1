"""innvestigate 2's place for models without their softmax."""

from __future__ import annotations

from wel.innvestigate.models import model_wo_output_activation, model_wo_softmax

__all__ = ["model_wo_output_activation", "model_wo_softmax"]
