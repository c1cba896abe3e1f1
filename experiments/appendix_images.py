"""Appendix: how many images and vectors are enough for CSC's median, on VGG-16 and ResNet-50 of `make real`."""

from __future__ import annotations

from paper import RUNS, Images, Out, Quick, start
from sheet import Sheet
from subject import subjects

METHODS = ("gradient", "lrp_z", "lrp_alpha2_beta1")
VECTORS = (2, 5, 10)


def main(quick: Quick = False, images: Images = None, out: Out = RUNS / "appendix_images") -> None:
    """The width of the median's interval for subsets of the images, of two vectors to ten."""
    sheet = Sheet(out, "Appendix: images", "How many images and vectors are enough for the median of CSC", quick)
    for name in ("vgg16", "resnet50"):
        of = subjects(name, None, images, 10 if quick else 200)[0]
        sheet.widths(of, METHODS, VECTORS, more=0 if images else 10 if quick else 90, seed=0)
    sheet.close()


if __name__ == "__main__":
    start(main)
