"""`wel saliency`."""

from __future__ import annotations

from pathlib import Path

from rich.table import Table

from wel.cli.console import PLAIN, console, listed, print_guess, print_left_out, printable
from wel.cli.csc import context
from wel.cli.sanity import checked, described
from wel.images.cifar10 import CLASSES
from wel.images.load import load_images
from wel.methods.registry import METHODS
from wel.networks.loading import load
from wel.networks.network import Network
from wel.studies.saliency import SaliencyResult, check_compared, saliency
from wel.system.progress import bar_steps


def run_saliency(model, weights, images, labels, limit, preprocess, methods, classes, stages, seed, semantics, backend, out) -> None:
    """`wel saliency`: computes, writes maps and figures, prints how far the maps of two classes lie apart and where the files are."""
    chosen = checked(methods, semantics, backend)
    compare = None if classes is None else parse_classes(classes)
    net = load(model, weights, seed=seed)
    if compare:
        check_compared(compare, net.output_shape[-1], "classes")
    pictures = load_images(net, images, labels, limit, preprocess)
    folder = out or Path("runs") / f"saliency-{net.name}"
    screen = console()
    screen.print(f"{net.name}: {described(pictures)}", **PLAIN)
    print_guess(screen, pictures.preprocessing)
    wanted = "paper" if stages == "paper" else listed(stages)
    settings = {"methods": chosen, "classes": pictures.labels, "compare": compare, "stages": wanted, "seed": seed}
    settings.update(backend=backend, semantics=semantics, out=folder, context=context(net, pictures))
    with bar_steps("saliency") as steps:
        result = saliency(net, pictures.inputs, **settings, steps=steps)
    from wel.figures.saliency import Pictures, write_saliency_figures  # matplotlib takes a second

    figures = write_saliency_figures(result, METHODS, Pictures(pictures.names, pictures.pixels, class_names(net)), folder / "figures")
    print_left_out(screen, result.skipped)
    if compare:
        screen.print(_distances(result))
    screen.print(f"Maps: {folder / 'maps'} (.npz), {folder / 'figures' / 'maps'} (.png)", **PLAIN)
    screen.print(f"Figure: {figures[0]} (and {len(figures) - 1} more)", **PLAIN)


def parse_classes(text: str) -> tuple[int, int]:
    """ "283,156" as two numbers.

    Raises:
        WelError: for anything else.
    """
    parts = [part.strip() for part in text.split(",")]
    return check_compared([int(part) if part.isdecimal() else part for part in parts], argument="classes")


def class_names(net: Network) -> tuple[str, ...] | None:
    """What the classes of a network of the zoo are called, None where wel does not know."""
    known = net.architecture and net.architecture.samples == "cifar10" and net.output_shape == (len(CLASSES),)
    return CLASSES if known else None


def _distances(result: SaliencyResult) -> Table:
    several = result.table["semantics"].nunique() > 1
    rows = []
    for (method, semantics), group in result.table.groupby(["method", "semantics"], sort=False):
        name = f"{method} ({semantics})" if several else method
        values = group["l1"].dropna()
        numbers = [f"{value:.3g}" for value in (values.mean(), values.min(), values.max())] if len(values) else ["–"] * 3
        rows.append((name, *numbers, f"{len(values)} of {len(group)}"))
    found = printable(("method", "mean", "least", "most", "defined for"), rows)
    one, other = result.table[["class_a", "class_b"]].iloc[0]
    found.title = f"L1 distance of the maps of classes {one} and {other}"
    return found
