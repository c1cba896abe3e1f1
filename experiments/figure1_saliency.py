"""Figure 1: maps of all methods on VGG-16, and on the bundled CIFAR-10 network."""

from __future__ import annotations

from paper import RUNS, Images, Out, Quick, Weights, start
from sheet import Sheet
from subject import TWO_CLASSES, subjects


def main(quick: Quick = False, weights: Weights = None, images: Images = None, out: Out = RUNS / "figure1_saliency") -> None:
    """Maps of all methods: of the true class, while the network is randomised from its last layer down, and of two classes."""
    sheet = Sheet(out, "Figure 1", "Maps of a plain network: untouched, randomised from the last layer down, and for two classes", quick)
    for plain in subjects("vgg16", weights, images, 2 if quick else 10, bundled=4 if quick else 10):
        sheet.saliency(plain, methods="all", compare=TWO_CLASSES[plain.net.name], stages="paper", seed=0)
    sheet.close()


if __name__ == "__main__":
    start(main)
