"""Appendix: what the talk calls sensitive to deeper layers, when the last ones are random; `--weights` are VGG-16's."""

from __future__ import annotations

from judges import SENSITIVE
from paper import RUNS, Images, Out, Quick, Weights, start
from sheet import Sheet
from subject import subjects

CONTROLS = ("random", "edges")


def main(quick: Quick = False, weights: Weights = None, images: Images = None, out: Out = RUNS / "appendix_sensitive") -> None:
    """Maps of the methods beside two controls, and TCAV's scores, when the last layers are made random."""
    sheet = Sheet(out, "Appendix: the talk", "Which methods depend on the last layers: maps, and concepts", quick)
    for name, given in (("vgg16", weights), ("resnet50", None)):
        for of in subjects(name, given, images, 2 if quick else 20, bundled=10 if quick else 50):
            sheet.sensitive(of, (*SENSITIVE, *CONTROLS), seed=0)
        for of in subjects(name, given, images, 10 if quick else 50, bundled=100 if quick else 200):
            sheet.concepts(of, 60 if quick else 200, pictures=20 if quick else 50, counterparts=10 if quick else 20, seed=0)
    sheet.close()


if __name__ == "__main__":
    start(main)
