"""Figure 6: maps of all methods on ResNet-50, and on the bundled ResNet-20."""

from __future__ import annotations

from paper import RUNS, Images, Out, Quick, Weights, start
from sheet import Sheet
from subject import MANY_CLASSES, TWO_CLASSES, subjects


def main(quick: Quick = False, weights: Weights = None, images: Images = None, out: Out = RUNS / "figure6_saliency_resnet50") -> None:
    """Figure 1 on residual networks."""
    sheet = Sheet(out, "Figure 6", "Maps of a residual network: untouched, randomised from the last layer down, and for two classes", quick)
    for residual in subjects("resnet50", weights, images, 2 if quick else 10, bundled=4 if quick else 10):
        stages = {} if quick and residual.net.name == MANY_CLASSES else {"stages": "paper"}
        sheet.saliency(residual, methods="all", compare=TWO_CLASSES[residual.net.name], **stages, seed=0)
    sheet.close()


if __name__ == "__main__":
    start(main)
