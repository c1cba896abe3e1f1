"""Appendix: maps of LRP α5β4 and LRP CMP beside the gradient and α1β0, on VGG-16 (`--weights`; else on the bundled CIFAR-10 network)."""

from __future__ import annotations

from paper import RUNS, TWO_CLASSES, Images, Out, Quick, Sheet, Weights, start, subject

METHODS = ("gradient", "lrp_alpha1_beta0", "lrp_alpha5_beta4", "lrp_cmp_alpha1_beta0", "lrp_cmp_alpha2_beta1")


def main(quick: Quick = False, weights: Weights = None, images: Images = None, out: Out = RUNS / "appendix_maps") -> None:
    """Maps of the methods between: α5β4 and CMP, beside one that converges and one that does not."""
    sheet = Sheet(out, "Appendix: α5β4 and CMP", "Maps of LRP α5β4 and LRP CMP, for two classes", quick)
    plain = subject("vgg16", weights, images, 8 if quick else 10, stand_in=True)
    sheet.saliency(plain, methods=METHODS, compare=TWO_CLASSES[plain.net.name], seed=0)
    sheet.close()


if __name__ == "__main__":
    start(main)
