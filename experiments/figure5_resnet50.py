"""Figure 5: CSC on ResNet-50, from each of the paper's start layers (`--weights`; else random weights at 96×96), and on ResNet-20."""

from __future__ import annotations

from paper import RUNS, Images, Out, Quick, Sheet, Weights, start, subject


def main(quick: Quick = False, weights: Weights = None, images: Images = None, out: Out = RUNS / "figure5_resnet50") -> None:
    """Figure 3 on residual networks."""
    sheet = Sheet(out, "Figure 5", "CSC of residual networks: do random relevances become parallel on their way down?", quick)
    sheet.csc(subject("resnet50", weights, images, 1 if quick else 200), methods="all", vectors=5, seed=0)
    sheet.csc(subject("resnet20", None, None, 10 if quick else 200), methods="all", vectors=5, seed=0)
    sheet.close()


if __name__ == "__main__":
    start(main)
