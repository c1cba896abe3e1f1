"""Makes mprt.npz: sMPRT and eMPRT of the gradient on a small network, by Quantus 0.6 on PyTorch, with the noise and all weights.

Run it in an environment with torch 1.12, numpy 1 and quantus: python make_mprt.py
"""

from __future__ import annotations

from itertools import cycle
from pathlib import Path

import numpy as np
import quantus
import torch
from torch import nn

SAMPLES, SCALE = 5, 0.2
LAYERS = {"conv": 0, "hidden": 3, "dense": 5}


def network() -> nn.Sequential:
    return nn.Sequential(nn.Conv2d(2, 4, 3), nn.Softplus(), nn.Flatten(), nn.Linear(144, 6), nn.Softplus(), nn.Linear(6, 3)).eval()


def gradients(model, inputs, targets, **settings) -> np.ndarray:
    """Of the targets' logits, (n, channels, height, width)."""
    x = torch.tensor(np.asarray(inputs, "float32"), requires_grad=True)
    model(x)[range(len(x)), torch.as_tensor(targets).long()].sum().backward()
    return x.grad.numpy().astype("float64")


def weights(model: nn.Module) -> dict[str, np.ndarray]:
    """As Keras has them behind a Flatten of channels-first values; kernels of convolutions (height, width, in, out)."""
    found = {}
    for name, place in LAYERS.items():
        kernel = model[place].weight.detach().numpy()
        found[f"{name}/kernel"] = kernel.transpose(2, 3, 1, 0) if kernel.ndim == 4 else kernel.T
        found[f"{name}/bias"] = model[place].bias.detach().numpy()
    return {name: array.copy() for name, array in found.items()}


def main() -> None:
    torch.manual_seed(1)
    model, rng = network(), np.random.default_rng(0)
    images, classes = rng.random((3, 2, 8, 8)), np.array([2, 0, 1])
    noise = rng.standard_normal((SAMPLES - 1, 3, 2, 8, 8))
    arrays = {"images": np.moveaxis(images, 1, -1), "classes": classes, "noise": np.moveaxis(noise, 2, -1)}
    arrays["maps/trained"] = np.moveaxis(gradients(model, images, classes), 1, -1)
    arrays.update({f"trained/{name}": array for name, array in weights(model).items()})
    # quantus draws the noise of both networks anew; here it is the same. Its last sample is without noise
    given = cycle(noise)
    np.random.randn = lambda *shape: next(given)
    quantus.explain = gradients
    settings = dict(abs=False, normalise=False, disable_warnings=True)
    asked = dict(channel_first=True, device="cpu")
    smooth = quantus.SmoothMPRT(nr_samples=SAMPLES, noise_magnitude=SCALE, layer_order="top_down", **settings)
    scores = smooth(model, images, classes, explain_func=gradients, **asked)
    wrapped = quantus.helpers.utils.get_wrapped_model(model, channel_first=True, softmax=False, device="cpu")
    for (name, state), score in zip(wrapped.get_random_layer_generator("top_down", smooth.seed), list(scores.values())[1:]):
        layer = next(known for known, place in LAYERS.items() if str(place) == name)
        arrays.update({f"{layer}/{key}": array for key, array in weights(state).items()})
        arrays[f"smprt/{layer}"] = np.array(score)
        arrays["maps/random"] = np.moveaxis(gradients(state, images, classes), 1, -1)  # of the last state in the end
    for rule in ("default", "Freedman Diaconis"):
        by = {} if rule == "default" else {"rule": rule}
        efficient = quantus.EfficientMPRT(complexity_func_kwargs=by, layer_order="top_down", **settings)
        scores = efficient(model, images, classes, gradients(model, images, classes), explain_func=gradients, softmax=True, **asked)
        arrays[f"emprt/{rule}"] = np.array(scores)
        arrays[f"bins/{rule}"] = np.array(efficient.complexity_func_kwargs["n_bins"])
    np.savez_compressed(Path(__file__).with_name("mprt.npz"), **arrays)
    print({name: array.round(4) for name, array in arrays.items() if name.split("/")[0] in ("smprt", "emprt", "bins")})


if __name__ == "__main__":
    main()
