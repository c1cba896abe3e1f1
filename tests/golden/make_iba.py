"""Makes iba.npz: what the authors' own software (BioroboticsLab/IBA at 7b2fbd5, on PyTorch) finds on a small network, with its noise.

Run it in an environment with torch 1.12, torchvision, numpy, scikit-image and that package: python make_iba.py
"""

from __future__ import annotations

from pathlib import Path

import numpy as np
import torch
from IBA.pytorch import IBA
from torch import nn

SAMPLES = 4
CASES = {
    "default": dict(sigma=1.0, beta=10.0, optimization_steps=10, lr=1.0),
    "rough": dict(sigma=0.0, beta=1.0, optimization_steps=3, lr=0.5),
    "wide": dict(sigma=1.7, beta=0.2, optimization_steps=10, lr=1.0),
}


def channels_first(array: np.ndarray) -> torch.Tensor:
    return torch.tensor(np.moveaxis(array, -1, 1))


def network(arrays: dict[str, np.ndarray]) -> nn.Sequential:
    layers = [
        nn.Conv2d(3, 4, 3, padding=1),
        nn.ReLU(),
        nn.Conv2d(4, 5, 3),
        nn.ReLU(),
        nn.AdaptiveAvgPool2d(1),
        nn.Flatten(),
        nn.Linear(5, 3),
    ]
    for layer, name in zip((layers[0], layers[2], layers[6]), ("conv1", "conv2", "dense")):
        kernel = arrays[f"{name}/kernel"]
        layer.weight.data = torch.tensor(np.ascontiguousarray(kernel.transpose((3, 2, 0, 1) if kernel.ndim == 4 else (1, 0))))
        layer.bias.data = torch.tensor(arrays[f"{name}/bias"])
    return nn.Sequential(*layers)


def main() -> None:
    rng = np.random.default_rng(0)
    draw = lambda *shape: rng.standard_normal(shape).astype("float32")  # noqa: E731
    arrays = {
        "conv1/kernel": draw(3, 3, 3, 4) / 4, "conv1/bias": np.array([0.1, 0, -0.2, -9], "float32"),
        "conv2/kernel": draw(3, 3, 4, 5) / 3, "conv2/bias": draw(5) / 5,
        "dense/kernel": 20 * draw(5, 3), "dense/bias": draw(3) / 5,
        "images": draw(2, 8, 8, 3), "sample": draw(20, 8, 8, 3), "classes": np.array([2, 0]),
        "noise": draw(2, 10, SAMPLES, 8, 8, 4),
    }  # fmt: skip
    model = network(arrays).eval()
    for case, settings in CASES.items():
        iba = IBA(model[1], batch_size=SAMPLES, **settings)
        iba.estimate(model, [(channels_first(arrays["sample"]),)])
        found = []
        for image, noise, chosen in zip(arrays["images"], arrays["noise"], arrays["classes"]):
            given = iter(noise)
            torch.Tensor.normal_ = lambda tensor: tensor.copy_(channels_first(next(given)))
            target = torch.full((SAMPLES,), int(chosen), dtype=torch.long)
            loss = lambda batch: nn.functional.cross_entropy(model(batch), target)  # noqa: B023, E731
            found.append(np.moveaxis(iba.analyze(channels_first(image[None]), loss, mode="capacity"), 0, -1))
        iba.detach()
        arrays[f"capacity/{case}"] = np.stack(found)
        print(case, arrays[f"capacity/{case}"].sum(axis=-1).mean(axis=(1, 2)))
    np.savez_compressed(Path(__file__).with_name("iba.npz"), **arrays)


if __name__ == "__main__":
    main()
