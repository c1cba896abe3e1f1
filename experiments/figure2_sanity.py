"""Figure 2: random logit (a) and cascading randomisation (b) on VGG-16, and on the bundled CIFAR-10 network."""

from __future__ import annotations

from paper import RUNS, Images, Out, Quick, Weights, start
from sheet import Sheet
from subject import subjects


def main(quick: Quick = False, weights: Weights = None, images: Images = None, out: Out = RUNS / "figure2_sanity") -> None:
    """How alike (SSIM) the maps are of another class, and of a network randomised from its last layer down."""
    sheet = Sheet(out, "Figure 2", "Does a plain network's map change for another class, or when later layers are made random?", quick)
    for plain in subjects("vgg16", weights, images, 4 if quick else 200, bundled=20 if quick else 200):
        sheet.random_logit(plain, methods="all", seed=0)
        sheet.cascading(plain, methods="all", seed=0)
    sheet.close()


if __name__ == "__main__":
    start(main)
