"""Figure 7: random logit and cascading randomisation on ResNet-50, and on the bundled ResNet-20."""

from __future__ import annotations

from paper import RUNS, Images, Out, Quick, Weights, start
from sheet import Sheet
from subject import MANY_CLASSES, subjects


def main(quick: Quick = False, weights: Weights = None, images: Images = None, out: Out = RUNS / "figure7_sanity_resnet50") -> None:
    """Figure 2 on residual networks."""
    sheet = Sheet(out, "Figure 7", "Does a residual network's map change for another class, or when later layers are made random?", quick)
    for residual in subjects("resnet50", weights, images, 4 if quick else 200, bundled=10 if quick else 200):
        sheet.random_logit(residual, methods="all", seed=0, semantics="both")
        if not quick or residual.net.name != MANY_CLASSES:
            sheet.cascading(residual, methods="all", seed=0)
    sheet.close()


if __name__ == "__main__":
    start(main)
