"""Makes quantus.npz: scores under pixel flipping, and pictures with places imputed, by Quantus 0.6 on PyTorch.

Run it in an environment with torch 1.12, numpy 1 and quantus: python make_quantus.py
"""

from __future__ import annotations

from pathlib import Path

import numpy as np
import quantus
import torch
from quantus.functions.perturb_func import noisy_linear_imputation
from torch import nn


def main() -> None:
    rng = np.random.default_rng(0)
    draw = lambda *shape: rng.standard_normal(shape).astype("float32")  # noqa: E731
    arrays = {
        "conv/kernel": draw(3, 3, 1, 4), "conv/bias": draw(4), "dense/kernel": draw(4, 3), "dense/bias": draw(3),
        "images": draw(3, 8, 8, 1), "maps": draw(3, 8, 8, 1), "classes": np.array([2, 0, 1]), "mask": rng.random((3, 8, 8)) < 0.4,
    }  # fmt: skip
    # Quantus's "mean" is that of what a step before has left of the image; of these images the mean is 0, which hides every step alike
    arrays["images"] -= arrays["images"].mean(axis=(1, 2, 3), keepdims=True)
    model = nn.Sequential(nn.Conv2d(1, 4, 3), nn.ReLU(), nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(4, 3)).eval()
    model[0].weight.data = torch.tensor(arrays["conv/kernel"].transpose(3, 2, 0, 1).copy())
    model[4].weight.data = torch.tensor(arrays["dense/kernel"].T.copy())
    for layer, name in ((model[0], "conv"), (model[4], "dense")):
        layer.bias.data = torch.tensor(arrays[f"{name}/bias"])
    first = {name: np.moveaxis(arrays[name], -1, 1) for name in ("images", "maps")}
    settings = dict(features_in_step=4, perturb_baseline=0.0, abs=False, normalise=False, disable_warnings=True)
    for name, sign in (("most", 1), ("least", -1)):
        flipping = quantus.PixelFlipping(**settings)
        found = flipping(model, first["images"], arrays["classes"], sign * first["maps"], softmax=False, device="cpu")
        arrays[f"scores/{name}"] = np.array(found, "float32")
    images = zip(first["images"].astype("float64"), arrays["mask"])
    imputed = [noisy_linear_imputation(image, np.flatnonzero(mask), noise=0.0) for image, mask in images]
    arrays["imputed"] = np.moveaxis(np.stack(imputed), 1, -1)
    np.savez_compressed(Path(__file__).with_name("quantus.npz"), **arrays)
    print(arrays["scores/most"].shape, arrays["scores/most"][0])


if __name__ == "__main__":
    main()
