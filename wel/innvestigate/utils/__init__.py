"""innvestigate's place for what is needed beside analyzers."""

from __future__ import annotations

from wel.innvestigate.models import model_wo_softmax
from wel.innvestigate.utils import keras, sequence, visualizations
from wel.innvestigate.utils.images import postprocess_images, preprocess_images
from wel.innvestigate.utils.sequence import BatchSequence, TargetAugmentedSequence

__all__ = [
    "BatchSequence",
    "TargetAugmentedSequence",
    "keras",
    "model_wo_softmax",
    "postprocess_images",
    "preprocess_images",
    "sequence",
    "visualizations",
]
