"""innvestigate's place for what is needed beside analyzers."""

from __future__ import annotations

from wel.innvestigate.models import model_wo_softmax
from wel.innvestigate.utils import keras, visualizations
from wel.innvestigate.utils.images import postprocess_images, preprocess_images

__all__ = ["keras", "model_wo_softmax", "postprocess_images", "preprocess_images", "visualizations"]
