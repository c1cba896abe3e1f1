"""Appendix: which quirk of the original stack decides on ResNet-50 that methods converge: its rule at sums, or its others."""

from __future__ import annotations

from paper import RUNS, Images, Out, Quick, Weights, start
from sheet import Sheet
from subject import subjects


def main(quick: Quick = False, weights: Weights = None, images: Images = None, out: Out = RUNS / "appendix_quirks") -> None:
    """CSC from the top start layer under `paper`, `corrected`, and each with the other's rule at residual sums."""
    sheet = Sheet(out, "Appendix: quirks", "Which quirk of the original stack makes methods converge on residual networks", quick)
    for residual in subjects("resnet50", weights, images, 2 if quick else 20, bundled=10 if quick else 50):
        sheet.quirks(residual, vectors=5, seed=0)
    sheet.close()


if __name__ == "__main__":
    start(main)
