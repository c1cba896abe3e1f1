"""Appendix: maps of LRP α5β4 and LRP CMP beside the gradient and α1β0, on all networks; `--weights` are VGG-16's."""

from __future__ import annotations

from paper import RUNS, Images, Out, Quick, Weights, start
from pyramid import bands
from sheet import Sheet
from subject import TWO_CLASSES, subjects

METHODS = ("gradient", "lrp_alpha1_beta0", "lrp_alpha5_beta4", "lrp_cmp_alpha1_beta0", "lrp_cmp_alpha2_beta1")


def main(quick: Quick = False, weights: Weights = None, images: Images = None, out: Out = RUNS / "appendix_maps") -> None:
    """Maps of the methods between, beside one that converges and one that does not; SSIM of the two classes' maps band by band."""
    sheet = Sheet(out, "Appendix: α5β4 and CMP", "Maps of LRP α5β4 and LRP CMP, for two classes", quick)
    for name, given in (("vgg16", weights), ("resnet50", None)):
        for of in subjects(name, given, images, 4 if quick else 10, bundled=8 if quick else 10):
            result = sheet.saliency(of, methods=METHODS, compare=TWO_CLASSES[of.net.name], seed=0)
            sheet.table("bands", bands(result, TWO_CLASSES[of.net.name]))
    sheet.close()


if __name__ == "__main__":
    start(main)
