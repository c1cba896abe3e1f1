"""The command line: `wel <command>`."""

from __future__ import annotations

import os
import sys
import traceback
from pathlib import Path
from typing import List, Optional

import typer

from wel.cli.flags import (
    ALLOW_TF32,
    BACKEND,
    DEVICE,
    IMAGES,
    LABELS,
    LIMIT,
    METHODS,
    MODEL,
    PREPROCESS,
    SEED,
    SEMANTICS,
    START_LAYERS,
    WEIGHTS,
)
from wel.errors import WelError
from wel.system.arithmetic import FASTEST_SUMS

app = typer.Typer(add_completion=False, pretty_exceptions_enable=False, rich_markup_mode=None)
USAGE_ERROR = typer.BadParameter.__base__  # click's UsageError, of which typer may carry a copy of its own
INTERRUPTED = 130
BROKEN = 70  # an error of wel's own; Python's 1 would say that a study found something


@app.callback()
def commands() -> None:
    """wel, "when explanations lie": does an attribution method explain your network, or only its first layers?"""


@app.command()
def csc(
    model: str = MODEL,
    images: Optional[Path] = IMAGES,
    labels: Optional[Path] = LABELS,
    limit: Optional[int] = LIMIT,
    preprocess: Optional[str] = PREPROCESS,
    methods: str = METHODS,
    start_layers: Optional[str] = START_LAYERS,
    vectors: int = typer.Option(5, "--vectors", min=2, help="Random vectors per image and start layer."),
    seed: int = SEED,
    batch_size: Optional[int] = typer.Option(None, "--batch-size", min=1, help="Images at once; sized from memory by default."),
    memory: Optional[str] = typer.Option(None, "--memory", help="What a batch may take, such as 4GiB; a part of what is free by default."),
    dtype: str = typer.Option("float32", "--dtype", help="float32, or float64 to resolve 1 - |cos| below 1e-14."),
    semantics: str = SEMANTICS,
    backend: str = BACKEND,
    weights: Optional[str] = WEIGHTS,
    out: Optional[Path] = typer.Option(None, "--out", help="Run directory; runs/csc-<model> by default."),
    device: str = DEVICE,
    allow_tf32: bool = ALLOW_TF32,
) -> None:
    """Measure cosine similarity convergence: table, histograms and figures.

    A run that was interrupted goes on where it stopped when the same command is given again.
    """
    from wel.cli.csc import run_csc

    rest = (vectors, seed, batch_size, memory, dtype, semantics, backend, out)
    run_csc(model, weights, images, labels, limit, preprocess, methods, start_layers, *rest)


@app.command()
def random_logit(
    model: str = MODEL,
    images: Optional[Path] = IMAGES,
    labels: Optional[Path] = LABELS,
    limit: Optional[int] = LIMIT,
    preprocess: Optional[str] = PREPROCESS,
    methods: str = METHODS,
    seed: int = SEED,
    semantics: str = SEMANTICS,
    backend: str = BACKEND,
    weights: Optional[str] = WEIGHTS,
    out: Optional[Path] = typer.Option(None, "--out", help="Run directory; runs/random-logit-<model> by default."),
    device: str = DEVICE,
    allow_tf32: bool = ALLOW_TF32,
) -> None:
    """Compare the map of the true class with that of a random other class: tables and a box plot.

    A run that was interrupted goes on where it stopped when the same command is given again.
    """
    from wel.cli.sanity import run_random_logit

    run_random_logit(model, weights, images, labels, limit, preprocess, methods, seed, semantics, backend, out)


@app.command()
def cascading(
    model: str = MODEL,
    images: Optional[Path] = IMAGES,
    labels: Optional[Path] = LABELS,
    limit: Optional[int] = LIMIT,
    preprocess: Optional[str] = PREPROCESS,
    methods: str = METHODS,
    layers: Optional[str] = typer.Option(None, "--layers", help="'all' with weights, or names with commas; the paper's by default."),
    seed: int = SEED,
    semantics: str = SEMANTICS,
    backend: str = BACKEND,
    weights: Optional[str] = WEIGHTS,
    out: Optional[Path] = typer.Option(None, "--out", help="Run directory; runs/cascading-<model> by default."),
    device: str = DEVICE,
    allow_tf32: bool = ALLOW_TF32,
) -> None:
    """Randomise the network from the last layer down and compare its maps with the untouched network's: tables and curves.

    A run that was interrupted goes on where it stopped when the same command is given again.
    """
    from wel.cli.sanity import run_cascading

    run_cascading(model, weights, images, labels, limit, preprocess, methods, layers, seed, semantics, backend, out)


@app.command()
def saliency(
    model: str = MODEL,
    images: Optional[Path] = IMAGES,
    labels: Optional[Path] = LABELS,
    limit: int = typer.Option(8, "--limit", min=1, help="Use at most so many images."),
    preprocess: Optional[str] = PREPROCESS,
    methods: str = METHODS,
    classes: Optional[str] = typer.Option(None, "--classes", help="Two classes whose maps are compared, such as 283,156."),
    stages: Optional[str] = typer.Option(
        None, "--stages", help="Randomise the network too, down to these layers: 'paper', 'all' with weights, or names with commas."
    ),
    seed: int = SEED,
    semantics: str = SEMANTICS,
    backend: str = BACKEND,
    weights: Optional[str] = WEIGHTS,
    out: Optional[Path] = typer.Option(None, "--out", help="Run directory; runs/saliency-<model> by default."),
    device: str = DEVICE,
    allow_tf32: bool = ALLOW_TF32,
) -> None:
    """Draw saliency maps: images × methods, of two classes, and under randomisation; as .npz and .png.

    A run that was interrupted goes on where it stopped when the same command is given again.
    """
    from wel.cli.saliency import run_saliency

    run_saliency(model, weights, images, labels, limit, preprocess, methods, classes, stages, seed, semantics, backend, out)


@app.command()
def audit(
    model: str = typer.Argument(..., help="A .h5, .hdf5, .keras or .json file, a SavedModel directory, or a network of the zoo."),
    images: Optional[Path] = IMAGES,
    labels: Optional[Path] = LABELS,
    limit: Optional[int] = typer.Option(None, "--limit", min=1, help="Use so many images; up to 24 by default."),
    preprocess: Optional[str] = PREPROCESS,
    full: bool = typer.Option(False, "--full/--quick", help="All methods and depths, or what two minutes allow."),
    methods: str = METHODS,
    semantics: str = typer.Option("both", "--semantics", help="paper, corrected or both."),
    seed: int = SEED,
    weights: Optional[str] = WEIGHTS,
    output: Optional[str] = typer.Option(None, "--output", help="Which output of a model with several."),
    allow_code: bool = typer.Option(False, "--allow-code", help="Run code that the model file carries. Only for files that you trust."),
    custom_objects: Optional[str] = typer.Option(None, "--custom-objects", help="module:Name,Name: layers of yours that the file names."),
    expect: Optional[Path] = typer.Option(
        None, "--expect", exists=True, dir_okay=False, help="An .npz with `inputs` and the model's `predictions`, which are checked first."
    ),
    fail_on: Optional[str] = typer.Option(None, "--fail-on", help="Exit code 1 for VERDICT:METHOD, such as insensitive:lrp_alpha1_beta0."),
    out: Optional[Path] = typer.Option(None, "--out", help="Run directory; runs/audit-<model> by default."),
    device: str = DEVICE,
    allow_tf32: bool = ALLOW_TF32,
) -> None:
    """Audit a stranger's model: which heat maps show what it decides from? One report with a verdict for every method.

    An audit that was interrupted goes on where it stopped when the same command is given again.
    """
    from wel.cli.audit import run_audit

    settings = {"full": full, "methods": methods, "semantics": semantics, "seed": seed, "expect": expect, "fail_on": fail_on, "out": out}
    settings.update(output=output, allow_code=allow_code, custom_objects=custom_objects)
    if not run_audit(model, weights, images, labels, limit, preprocess, **settings):
        raise typer.Exit(1)


@app.command()
def train(
    model: str = typer.Argument(..., help="A network of the zoo that is trained on CIFAR-10."),
    out: Optional[Path] = typer.Option(None, "--out", help="Directory for checkpoints, weights and card; runs/train-<model> by default."),
    seed: int = SEED,
    epochs: Optional[int] = typer.Option(None, "--epochs", help="Length of the schedule; the recipe's by default."),
    device: str = DEVICE,
    allow_tf32: bool = ALLOW_TF32,
) -> None:
    """Train a bundled network on CIFAR-10; goes on after the last finished epoch."""
    os.environ.update(FASTEST_SUMS)
    from wel.cli.networks import run_train

    run_train(model, out, seed, epochs)


@app.command()
def fit_patterns(
    model: str = MODEL,
    images: str = typer.Option(..., "--images", help="Directory of images, or 'cifar10' for its training images."),
    out: Path = typer.Option(..., "--out", help="The .npz file to write."),
    weights: Optional[str] = WEIGHTS,
    limit: Optional[int] = LIMIT,
    estimator: str = typer.Option("relu.positive", "--estimator", help="linear, relu.positive or relu.negative."),
    semantics: str = typer.Option("paper", "--semantics", help="paper or corrected."),
    batch_size: Optional[int] = typer.Option(None, "--batch-size", min=1, help="Images at once; sized from memory by default."),
    seed: int = SEED,
    half: bool = typer.Option(False, "--half", help="Store float16 where it is precise enough."),
    device: str = DEVICE,
    allow_tf32: bool = ALLOW_TF32,
) -> None:
    """Fit the patterns that PatternNet and PatternAttribution need."""
    from wel.cli.networks import run_fit_patterns

    run_fit_patterns(model, weights, images, limit, estimator, semantics, batch_size, seed, half, out)


@app.command()
def models() -> None:
    """List the networks that wel knows."""
    from wel.cli.networks import show_models

    show_models()


@app.command()
def methods(
    method: Optional[str] = typer.Argument(None, help="One method: what it is and, with --model, the rule of every layer."),
    model: Optional[str] = typer.Option(None, "--model", help="For this network: which methods apply, or a method's rules."),
    weights: Optional[str] = WEIGHTS,
    semantics: str = typer.Option("paper", "--semantics", help="paper or corrected."),
    leaks: bool = typer.Option(False, "--leaks", help="Where the method loses or makes relevance on its way through the network."),
    images: Optional[Path] = IMAGES,
    limit: int = typer.Option(4, "--limit", min=1, help="Use at most so many images for --leaks."),
    seed: int = SEED,
    device: str = DEVICE,
    allow_tf32: bool = ALLOW_TF32,
) -> None:
    """List the attribution methods, or show one: its rules for a network and where it leaks relevance."""
    from wel.cli.methods import show_methods

    show_methods(method, model, weights, semantics, leaks, images, limit, seed)


@app.command()
def verify(
    model: str = MODEL,
    weights: Optional[str] = WEIGHTS,
    backends: str = typer.Option("native,wrapped", "--backends", help="Who computes; the last one is compared with."),
    methods: str = METHODS,
    start_layers: Optional[str] = START_LAYERS,
    images: Optional[Path] = IMAGES,
    limit: int = typer.Option(2, "--limit", min=1, help="Use at most so many images."),
    vectors: int = typer.Option(3, "--vectors", min=2, help="Random vectors per image and start layer."),
    seed: int = SEED,
    semantics: str = typer.Option("paper", "--semantics", help="paper or corrected."),
    original: Optional[Path] = typer.Option(None, "--original", help="Compare with this file of reference numbers."),
    save: Optional[Path] = typer.Option(None, "--save", help="Write the first backend's numbers to this .npz."),
    out: Path = typer.Option(Path("verify.csv"), "--out", help="Table of differences."),
    device: str = DEVICE,
    allow_tf32: bool = ALLOW_TF32,
) -> None:
    """Compare backends with each other or with reference numbers; exit code 1 above tolerance."""
    from wel.cli.verify import run_verify

    if not run_verify(model, weights, backends, methods, start_layers, images, limit, vectors, seed, semantics, original, save, out):
        raise typer.Exit(1)


@app.command()
def simulate(
    model: str = MODEL,
    weights: Optional[str] = WEIGHTS,
    samples: int = typer.Option(20, "--samples", min=1, help="How many times each chain is drawn."),
    rows: int = typer.Option(32, "--rows", min=2, help="Random rows that are multiplied down a chain."),
    seed: int = SEED,
    out: Optional[Path] = typer.Option(None, "--out", help="Run directory; runs/simulate by default."),
    device: str = DEVICE,
    allow_tf32: bool = ALLOW_TF32,
) -> None:
    """Multiply chains of random matrices with VGG-16's shapes, and of the network's weights: which make all directions parallel?"""
    from wel.cli.simulate import run_simulate

    run_simulate(model, weights, samples, rows, seed, out)


@app.command()
def singular_values(
    model: str = MODEL,
    images: Optional[Path] = IMAGES,
    limit: Optional[int] = LIMIT,
    preprocess: Optional[str] = PREPROCESS,
    methods: str = METHODS,
    start_layers: Optional[str] = START_LAYERS,
    vectors: int = typer.Option(16, "--vectors", min=3, help="Random vectors per image and start layer; errors fall as 1 over it."),
    seed: int = SEED,
    semantics: str = SEMANTICS,
    patterns: Optional[Path] = typer.Option(None, "--patterns", help="File of patterns (.npz); the bundled ones by default."),
    weights: Optional[str] = WEIGHTS,
    out: Optional[Path] = typer.Option(None, "--out", help="Run directory; runs/singular-values-<model> by default."),
    device: str = DEVICE,
    allow_tf32: bool = ALLOW_TF32,
) -> None:
    """Measure how many directions are left: σ₁/σ₂ of weights and patterns, and the effective rank of any method's relevance.

    A run that was interrupted goes on where it stopped when the same command is given again.
    """
    from wel.cli.singular_values import run_singular_values

    run_singular_values(model, weights, images, limit, preprocess, methods, start_layers, vectors, seed, semantics, patterns, out)


@app.command()
def doctor() -> None:
    """Tell versions, devices and memory, and what is missing and how to mend it; exit code 1 if wel cannot work."""
    from wel.cli.doctor import run_doctor

    if not run_doctor():
        raise typer.Exit(1)


def main(arguments: Optional[List[str]] = None) -> None:
    """Runs the command line; a user's mistake ends in one sentence and exit code 2."""
    os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")
    arguments = sys.argv[1:] if arguments is None else arguments
    try:
        code = app(arguments or ["--help"], standalone_mode=False)
    except WelError as error:
        code = _refuse(str(error))
    except USAGE_ERROR as error:
        code = _refuse(error.format_message())
    except (KeyboardInterrupt, typer.Abort):
        code = INTERRUPTED
    except Exception:
        traceback.print_exc()
        code = BROKEN
    if code == INTERRUPTED:
        print("wel: interrupted. The same command goes on where it stopped.", file=sys.stderr)
    sys.exit(code)


def _refuse(sentence: str) -> int:
    print("wel:", " ".join(sentence.split()), file=sys.stderr)
    return 2
