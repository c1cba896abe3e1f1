"""`wel train`, `wel fit-patterns` and `wel models`."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Optional

import typer

from wel.cli import flags
from wel.cli.console import PLAIN, console, printable, size
from wel.errors import invalid

if TYPE_CHECKING:
    import numpy as np

    from wel.networks.network import Network


def train(
    *,
    model: Annotated[str, typer.Argument(help="A network of the zoo that is trained on CIFAR-10.", autocompletion=flags.completed_model)],
    out: Annotated[
        Optional[Path], typer.Option("--out", help="Directory for checkpoints, weights and card; runs/train-<model> by default.")
    ] = None,
    seed: flags.Seed = 0,
    epochs: Annotated[Optional[int], typer.Option("--epochs", help="Length of the schedule; the recipe's by default.")] = None,
    device: flags.Device = "auto",
    allow_tf32: flags.AllowTf32 = False,
    arithmetic: flags.Arithmetic = "fastest",
) -> None:
    """Train a bundled network on CIFAR-10; goes on after the last finished epoch."""
    from wel import training

    folder = out or Path("runs") / f"train-{model}"
    card = training.train(model, folder, seed, epochs)
    words = f"{model}: test accuracy {card['test_accuracy']:.4f} on {card['test_images']} images. Weights and card: {folder}"
    console().print(words, **PLAIN)


def fit_patterns(
    *,
    model: flags.Model = "cifar10",
    images: Annotated[str, typer.Option("--images", help="Directory of images, or 'cifar10' for its training images.")],
    out: Annotated[Path, typer.Option("--out", help="The .npz file to write.")],
    weights: flags.Weights = None,
    input_shape: flags.InputShape = None,
    limit: flags.Limit = None,
    estimator: Annotated[str, typer.Option("--estimator", help="linear, relu.positive or relu.negative.")] = "relu.positive",
    semantics: flags.OneSemantics = "paper",
    batch_size: flags.BatchSize = None,
    seed: flags.Seed = 0,
    half: Annotated[bool, typer.Option("--half", help="Store float16 where it is precise enough.")] = False,
    device: flags.Device = "auto",
    allow_tf32: flags.AllowTf32 = False,
    arithmetic: flags.Arithmetic = None,
) -> None:
    """Fit the patterns that PatternNet and PatternAttribution need."""
    from wel.images.load import load_images
    from wel.methods import fitting
    from wel.networks.loading import load, parse_shape
    from wel.system.progress import bar_steps

    if not out.parent.is_dir():
        raise invalid("out", str(out), "a file in an existing directory")
    net = load(model, weights, input_shape=parse_shape(input_shape), seed=seed)
    inputs = _cifar10_training_images(net, limit) if images == "cifar10" else load_images(net, Path(images), limit=limit).inputs
    with bar_steps("fit-patterns") as steps:
        patterns = fitting.fit_patterns(net, inputs, estimator, semantics, batch_size, seed, steps)
    patterns.save(out, half)
    console().print(f"{net.name}: {len(patterns.arrays)} patterns ({estimator}, {semantics}) from {len(inputs)} images: {out}", **PLAIN)


def _cifar10_training_images(net: Network, limit: int | None) -> np.ndarray:
    from wel.images.cifar10 import load_cifar10
    from wel.images.preprocessing import guess_preprocessing

    return guess_preprocessing(net)(load_cifar10().train.images[:limit])


def models() -> None:
    """List the networks that wel knows."""
    from wel.networks.zoo import ZOO

    rows = [(arch.name, size(arch.input_shape), arch.classes, arch.preprocessing, ", ".join(arch.start_layers)) for arch in ZOO.values()]
    console().print(printable(("model", "input", "classes", "preprocessing", "start layers"), rows))


COMMANDS = (train, fit_patterns, models)
