"""Figure 3: CSC on VGG-16, from each of the paper's start layers."""

from __future__ import annotations

from paper import RUNS, Images, Out, Quick, Weights, start
from sheet import Sheet
from subject import subjects


def main(quick: Quick = False, weights: Weights = None, images: Images = None, out: Out = RUNS / "figure3_csc") -> None:
    """Median |cos| between relevances that began as different random vectors, layer by layer down to the input."""
    sheet = Sheet(out, "Figure 3", "CSC of VGG-16: do random relevances become parallel on their way down?", quick)
    for plain in subjects("vgg16", weights, images, 4 if quick else 200):
        sheet.csc(plain, methods="all", vectors=5, seed=0)
    sheet.close()


if __name__ == "__main__":
    start(main)
