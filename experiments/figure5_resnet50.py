"""Figure 5: CSC on ResNet-50, from each of the paper's start layers, and on ResNet-20; under both semantics."""

from __future__ import annotations

from paper import RUNS, Images, Out, Quick, Weights, start
from sheet import Sheet
from subject import subjects


def main(quick: Quick = False, weights: Weights = None, images: Images = None, out: Out = RUNS / "figure5_resnet50") -> None:
    """Figure 3 on residual networks."""
    sheet = Sheet(out, "Figure 5", "CSC of residual networks: do random relevances become parallel on their way down?", quick)
    for residual in subjects("resnet50", weights, images, 2 if quick else 200, bundled=10 if quick else 200):
        sheet.csc(residual, methods="all", vectors=5, seed=0, semantics="both")
    sheet.close()


if __name__ == "__main__":
    start(main)
