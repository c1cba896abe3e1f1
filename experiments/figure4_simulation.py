"""Figure 4: chains of random matrices with VGG-16's shapes, and of learned ones."""

from __future__ import annotations

from paper import RUNS, Images, Out, Quick, Weights, start
from sheet import Sheet
from subject import subjects


def main(quick: Quick = False, weights: Weights = None, images: Images = None, out: Out = RUNS / "figure4_simulation") -> None:
    """Products of matrices of different kinds, from the output down: which make all rows parallel, and how fast?"""
    sheet = Sheet(out, "Figure 4", "Chains of matrices: which kinds of products make all directions parallel?", quick)
    for plain in subjects("vgg16", weights, images, 1, bundled=1):
        sheet.simulate(plain, samples=5 if quick else 20, rows=32, seed=0)
    sheet.close()


if __name__ == "__main__":
    start(main)
