"""Writes golden numbers of the original stack as files of wel's reference schema (`wel.studies.reference`).

    python experiments/convert_golden.py GOLDEN_DIR tests/golden

GOLDEN_DIR holds, per network, `<net>_keras224.h5`, `<net>_inputs.npz` and `<net>__<method>.npz` with `<start>|<layer>` arrays.
"""

from __future__ import annotations

import shutil
import sys
from pathlib import Path

import numpy as np

import wel
from wel.studies.reference import Reference

METHODS = {
    "Gradient": "gradient",
    "GuidedBP": "guided_backprop",
    "Deconv": "deconvnet",
    "RectGrad": "rectgrad",
    "DTD": "deep_taylor",
    "PatternNet": "pattern_net",
    "PatternAttr": "pattern_attribution",
    "LRP-z": "lrp_z",
    "LRP_alpha1beta0": "lrp_alpha1_beta0",
    "LRP_alpha2beta1": "lrp_alpha2_beta1",
    "LRP_alpha5beta4": "lrp_alpha5_beta4",
    "LRP_CMP_alpha1beta0": "lrp_cmp_alpha1_beta0",
    "LRP_CMP_alpha2beta1": "lrp_cmp_alpha2_beta1",
    "DeepLIFT_Resc": "deeplift_rescale",
    "DeepLIFT_RevC": "deeplift_reveal_cancel",
    "DeepLIFT_Abla": "deeplift_ablation",
}
MADE_BY = "innvestigate 1.0.8, deeplift 0.6.9.3, keras 2.2.4, tensorflow 1.13.1"


def convert(folder: Path, name: str, target: Path) -> None:
    """Writes `<name>.npz` and `<name>.h5` into `target`."""
    net = wel.load(folder / f"{name}_keras224.h5")
    inputs = np.load(folder / f"{name}_inputs.npz")
    images = inputs["images"]
    starts = [key[len("relevance_") :] for key in inputs.files if key.startswith("relevance_")]
    patterns = [inputs[key] for key in sorted(inputs.files) if key.startswith("pattern_")]
    options = {"deep_taylor": {"low": float(images.min()), "high": float(images.max())}}
    relevance = {}
    for label, method in METHODS.items():
        path = folder / f"{name}__{label}.npz"
        if path.exists():
            relevance.update(_relevance(net, np.load(path), method, len(images)))
            if method.startswith("pattern"):
                options[method] = {"patterns": patterns}
    vectors = {start: np.repeat(inputs[f"relevance_{start}"][None], len(images), 0) for start in starts}
    reference = Reference(images, inputs["logits"], vectors, net.weight_hashes(), relevance, options, "paper", MADE_BY)
    reference.save(target / f"{name}.npz")
    shutil.copyfile(folder / f"{name}_keras224.h5", target / f"{name}_keras224.h5")


def _relevance(net, file, method: str, count: int) -> dict:
    found = {}
    for key in file.files:
        start, layer = key.split("|")
        # DeepLIFT's sums are stored flat
        found[(method, start, layer)] = file[key].reshape(count, -1, *net.graph[layer].shape)
    return found


if __name__ == "__main__":
    source, destination = map(Path, sys.argv[1:3])
    for network in sorted(path.name[: -len("_keras224.h5")] for path in source.glob("*_keras224.h5")):
        convert(source, network, destination)
