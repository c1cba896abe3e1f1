"""Appendix: CSC on the CIFAR-10 network (four convolutions, two dense layers; bundled, or `--weights`)."""

from __future__ import annotations

from paper import RUNS, Images, Out, Quick, Weights, start
from sheet import Sheet
from subject import subject


def main(quick: Quick = False, weights: Weights = None, images: Images = None, out: Out = RUNS / "appendix_cifar10") -> None:
    """Figure 3 on the CIFAR-10 network."""
    sheet = Sheet(out, "Appendix: CIFAR-10", "CSC of the CIFAR-10 network: do random relevances become parallel on their way down?", quick)
    sheet.csc(subject("cifar10", weights, images, 20 if quick else 200), methods="all", vectors=5, seed=0)
    sheet.close()


if __name__ == "__main__":
    start(main)
