"""Figure 6: maps of all methods on a residual network, untouched and with its last k layers randomised, and maps of two classes.

ResNet-50 with `--weights`, else the bundled ResNet-20.
"""
from __future__ import annotations

from figure1_saliency import CLASSES
from paper import RUNS, STAND_INS, Images, Out, Quick, Sheet, Weights, start, subject

import wel


def main(quick: Quick = False, weights: Weights = None, images: Images = None, out: Out = RUNS / "figure6_saliency_resnet50") -> None:
    """Maps of all methods: of the true class, stage by stage while the network is randomised, and of two classes."""
