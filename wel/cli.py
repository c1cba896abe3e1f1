"""The command line: `wel <command>`."""
from __future__ import annotations

import os
import sys
from pathlib import Path
from typing import List, Optional

import typer

from wel.errors import WelError

app = typer.Typer(no_args_is_help=True, add_completion=False, pretty_exceptions_enable=False, rich_markup_mode=None)

MODEL = typer.Option("cifar10", "--model", help="Network of the zoo, or a .h5, .hdf5, .keras or .json file.")
SEED = typer.Option(0, "--seed", help="Seed of everything random.")


@app.callback()
def commands() -> None:
    """wel, "when explanations lie": does an attribution method explain your network, or only its first layers?"""


@app.command()
def csc(
    model: str = MODEL,
    images: Optional[Path] = typer.Option(None, "--images", help="Directory of images; the bundled ones by default."),
    labels: Optional[Path] = typer.Option(None, "--labels", help="CSV with the columns file and label."),
    limit: Optional[int] = typer.Option(None, "--limit", help="Use at most so many images."),
    methods: str = typer.Option("all", "--methods", help="'all', or names with commas; see `wel methods`."),
    start_layers: Optional[str] = typer.Option(None, "--start-layers", help="Where vectors are injected, with commas; the paper's by default."),
    vectors: int = typer.Option(5, "--vectors", help="Random vectors per image and start layer."),
    seed: int = SEED,
    batch_size: Optional[int] = typer.Option(None, "--batch-size", help="Images at once; sized from memory by default."),
    semantics: str = typer.Option("paper", "--semantics", help="paper, corrected or both."),
    backend: str = typer.Option("wrapped", "--backend", help="Who computes."),
    weights: Optional[str] = typer.Option(None, "--weights", help="'random', or a weights file."),
    out: Optional[Path] = typer.Option(None, "--out", help="Run directory; runs/csc-<model> by default."),
) -> None:
    """Measure cosine similarity convergence: table, histograms and figures.

    A run that was interrupted goes on where it stopped when the same command is given again.
    """
    from wel.commands import run_csc

    run_csc(model, weights, images, labels, limit, methods, start_layers, vectors, seed, batch_size, semantics, backend, out)


@app.command()
def train(
    model: str = typer.Argument(..., help="A network of the zoo that is trained on CIFAR-10."),
    out: Optional[Path] = typer.Option(None, "--out", help="Directory for checkpoints, weights and card; runs/train-<model> by default."),
    seed: int = SEED,
    epochs: Optional[int] = typer.Option(None, "--epochs", help="Length of the schedule; the recipe's by default."),
) -> None:
    """Train a bundled network on CIFAR-10; goes on after the last finished epoch."""
    from wel.commands import run_train

    run_train(model, out, seed, epochs)


@app.command()
def models() -> None:
    """List the networks that wel knows."""
    from wel.commands import show_models

    show_models()


@app.command()
def methods() -> None:
    """List the attribution methods."""
    from wel.commands import show_methods

    show_methods()


def main(arguments: Optional[List[str]] = None) -> None:
    """Runs the command line; a user's mistake ends in one sentence and exit code 2."""
    os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")
    try:
        app(arguments)
    except WelError as error:
        print(f"wel: {error}", file=sys.stderr)
        sys.exit(2)
    except KeyboardInterrupt:
        print("wel: interrupted. The same command goes on where it stopped.", file=sys.stderr)
        sys.exit(130)
