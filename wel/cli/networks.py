"""`wel train` and `wel fit-patterns`."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from wel.cli.console import PLAIN, console, printable
from wel.errors import invalid
from wel.images.cifar10 import load_cifar10
from wel.images.load import load_images
from wel.images.preprocessing import guess_preprocessing
from wel.networks.loading import load
from wel.networks.network import Network
from wel.networks.zoo import ZOO
from wel.system.progress import bar_steps


def run_fit_patterns(model, weights, images, limit, estimator, semantics, batch_size, seed, half, out) -> None:
    """`wel fit-patterns`: fits, writes the file."""
    from wel.methods.fitting import fit_patterns

    if not out.parent.is_dir():
        raise invalid("out", str(out), "a file in an existing directory")
    net = load(model, weights, seed=seed)
    inputs = _cifar10_training_images(net, limit) if images == "cifar10" else load_images(net, Path(images), limit=limit).inputs
    with bar_steps("fit-patterns") as steps:
        patterns = fit_patterns(net, inputs, estimator, semantics, batch_size, seed, steps)
    patterns.save(out, half)
    console().print(f"{net.name}: {len(patterns.arrays)} patterns ({estimator}, {semantics}) from {len(inputs)} images: {out}", **PLAIN)


def _cifar10_training_images(net: Network, limit: int | None) -> np.ndarray:
    return guess_preprocessing(net)(load_cifar10().train.images[:limit])


def run_train(model: str, out: Path | None, seed: int, epochs: int | None) -> None:
    """`wel train`: trains, prints the card."""
    from wel.training import train

    folder = out or Path("runs") / f"train-{model}"
    card = train(model, folder, seed, epochs)
    words = f"{model}: test accuracy {card['test_accuracy']:.4f} on {card['test_images']} images. Weights and card: {folder}"
    console().print(words, **PLAIN)


def show_models() -> None:
    """`wel models`: the zoo."""
    rows = [(arch.name, _size(arch.input_shape), arch.classes, arch.preprocessing, ", ".join(arch.start_layers)) for arch in ZOO.values()]
    console().print(printable(("model", "input", "classes", "preprocessing", "start layers"), rows))


def _size(shape: tuple[int, ...]) -> str:
    return "×".join(map(str, shape))
