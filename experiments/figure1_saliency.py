"""Figure 1: maps of all methods on one network, untouched and with its last k layers randomised, and maps of two classes.

VGG-16 with `--weights`, else the bundled CIFAR-10 network.
"""
from __future__ import annotations

from paper import RUNS, Images, Out, Quick, Sheet, Weights, start, subject

import wel

CLASSES = {"vgg16": (283, 156), "cifar10": (3, 5)}  # Persian cat and King Charles spaniel; cat and dog


def main(quick: Quick = False, weights: Weights = None, images: Images = None, out: Out = RUNS / "figure1_saliency") -> None:
    """Maps of all methods: of the true class, stage by stage while the network is randomised, and of two classes."""
    sheet = Sheet(out, "Figure 1", "Maps while a plain network is randomised, and maps of two classes", quick)
    plain = subject("vgg16", weights, images, 4 if quick else 10, stand_in=True)
    settings = {"classes": plain.labels, "compare": CLASSES[plain.net.name], "stages": "paper", "seed": 0}
    with sheet.study("saliency", plain) as kept:
        result = wel.saliency(plain.net, plain.inputs, methods="all", **settings, **kept)
    sheet.saliency(plain, result)
    sheet.close()


if __name__ == "__main__":
    start(main)
