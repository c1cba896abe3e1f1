"""Appendix: how |cos| at the input is spread, on VGG-16 and on the bundled CIFAR-10 network."""

from __future__ import annotations

from paper import RUNS, Images, Out, Quick, Weights, start
from sheet import Sheet
from subject import subjects


def main(quick: Quick = False, weights: Weights = None, images: Images = None, out: Out = RUNS / "appendix_histograms") -> None:
    """Histograms of |cos| at the input, from each of the paper's start layers."""
    sheet = Sheet(out, "Appendix: histograms", "How |cos| at the input is spread", quick)
    for plain in subjects("vgg16", weights, images, 1 if quick else 200, bundled=10 if quick else 200):
        sheet.csc(plain, histograms=True, methods="all", vectors=5, seed=0)
    sheet.close()


if __name__ == "__main__":
    start(main)
