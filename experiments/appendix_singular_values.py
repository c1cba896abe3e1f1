"""Appendix: σ₁/σ₂ of weights, patterns and pattern ⊙ weight, per layer and between layers.

On VGG-16 with `--weights` and `--patterns` (from `wel fit-patterns`), else on the one of `make real` and the bundled CIFAR-10 network.
"""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Optional

import typer
from paper import RUNS, Images, Out, Quick, Weights, start
from sheet import Sheet
from subject import subjects

Patterns = Annotated[Optional[Path], typer.Option(exists=True, dir_okay=False, help="File of patterns; the bundled ones by default.")]


def main(
    quick: Quick = False,
    weights: Weights = None,
    images: Images = None,
    patterns: Patterns = None,
    out: Out = RUNS / "appendix_singular_values",
) -> None:
    """The ratio of the two largest singular values of what relevance is multiplied by. Takes seconds, with --quick or without."""
    sheet = Sheet(out, "Appendix: singular values", "σ₁/σ₂ of weights, patterns and pattern ⊙ weight", quick)
    for plain in subjects("vgg16", weights, images, 1, bundled=1):
        sheet.singular_values(plain, patterns if plain.net.name == "vgg16" else None)
    sheet.close()


if __name__ == "__main__":
    start(main)
