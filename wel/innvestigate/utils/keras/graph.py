"""innvestigate 1's place for models without their softmax."""

from __future__ import annotations

from wel.innvestigate.models import model_wo_softmax, pre_softmax_tensors

__all__ = ["model_wo_softmax", "pre_softmax_tensors"]
