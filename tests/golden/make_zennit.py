"""Makes zennit.npz: maps of zennit's composites on two small networks with random biases, with the networks' weights.

Written with zennit 0.5.1 on torch 1.12, in an environment of its own:

    pip install zennit torch torchvision && python tests/golden/make_zennit.py

Both networks have convolutions that follow one another without an activation function, so that γ sees values of both signs.
"""

from __future__ import annotations

from pathlib import Path

import numpy as np
import torch
from torch import nn
from zennit import composites

FILE = Path(__file__).with_name("zennit.npz")
LOW, HIGH = -1.5, 2.0
COMPOSITES = {
    "epsilon_plus": composites.EpsilonPlus,
    "epsilon_plus_flat": composites.EpsilonPlusFlat,
    "epsilon_alpha2_beta1": composites.EpsilonAlpha2Beta1,
    "epsilon_alpha2_beta1_flat": composites.EpsilonAlpha2Beta1Flat,
    "epsilon_gamma_box": lambda: composites.EpsilonGammaBox(low=torch.tensor(LOW), high=torch.tensor(HIGH)),
    "beta_smooth": composites.BetaSmooth,
}


class ChannelsLast(nn.Module):
    """Moves channels to the end, so that flattened values have Keras's order."""

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return torch.movedim(x, 1, -1)


def networks() -> dict[str, tuple[tuple[int, ...], nn.Sequential]]:
    """Shape of an input, channels first, and the network."""
    plane = [nn.Conv2d(3, 4, 3), nn.Conv2d(4, 5, 3, padding=1, stride=2), nn.ReLU(), nn.AvgPool2d(2, 1), nn.Conv2d(5, 4, 2), nn.ReLU()]
    line = [nn.Conv1d(4, 5, 3), nn.ReLU(), nn.Conv1d(5, 4, 3, padding=1), nn.Conv1d(4, 4, 2), nn.ReLU(), nn.MaxPool1d(2)]
    return {
        "plane": ((3, 11, 11), nn.Sequential(*plane, nn.MaxPool2d(2, 1), *_dense(16, 6))),
        "line": ((4, 12), nn.Sequential(*line, *_dense(16, 5))),
    }


def _dense(inputs: int, hidden: int) -> list[nn.Module]:
    return [ChannelsLast(), nn.Flatten(), nn.Linear(inputs, hidden), nn.ReLU(), nn.Linear(hidden, 3)]


def keras_weights(model: nn.Sequential) -> list[np.ndarray]:
    """Kernels and biases as Keras has them, layer by layer."""
    arrays = (parameter.detach().numpy() for parameter in model.parameters())
    return [np.moveaxis(array, (0, 1), (-1, -2)) if array.ndim > 1 else array for array in arrays]


def maps(model: nn.Sequential, composite, images: torch.Tensor, classes: torch.Tensor) -> np.ndarray:
    """What comes down of the vectors `classes`, channels last."""
    images = images.clone().requires_grad_()
    with composite.context(model) as changed:
        (found,) = torch.autograd.grad(changed(images), images, classes)
    return np.moveaxis(found.numpy(), 1, -1)


def main() -> None:
    torch.manual_seed(0)
    arrays = {}
    for name, (shape, model) in networks().items():
        for parameter in model.parameters():
            parameter.data = torch.randn(parameter.shape) / np.sqrt(max(1, np.prod(parameter.shape[1:])))
        images, vectors = torch.rand(2, *shape) * (HIGH - LOW) + LOW, torch.randn(2, 3)
        found = {composite: maps(model, make(), images, vectors) for composite, make in COMPOSITES.items()}
        arrays |= {f"{name}/weights/{number:02d}": array for number, array in enumerate(keras_weights(model))}
        arrays |= {f"{name}/images": np.moveaxis(images.numpy(), 1, -1), f"{name}/vectors": vectors.numpy()}
        arrays |= {f"{name}/{composite}": array for composite, array in found.items()}
    np.savez_compressed(FILE, **{key: array.astype("float32") for key, array in arrays.items()})


if __name__ == "__main__":
    main()
