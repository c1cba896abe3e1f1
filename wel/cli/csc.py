"""`wel csc`."""

from __future__ import annotations

import re
from pathlib import Path

import pandas as pd
from rich.table import Table

from wel.backends import check_backend
from wel.cli.console import PLAIN, console, listed, print_guess, print_left_out
from wel.errors import invalid
from wel.images.load import ImageSet, load_images
from wel.methods.registry import METHODS, choose_methods, chosen_semantics
from wel.networks.loading import load
from wel.networks.network import Network
from wel.studies.csc import CSCResult, csc
from wel.system.progress import bar_steps


def run_csc(
    model, weights, images, labels, limit, preprocess, methods, start_layers,
    vectors, seed, batch_size, memory, dtype, semantics, backend, out,
) -> None:  # fmt: skip
    """`wel csc`: computes, writes table and figures, prints the medians at the input and where the files are."""
    chosen = listed(methods)
    choose_methods(chosen)
    chosen_semantics(semantics)
    check_backend(backend)
    bytes_at_once = None if memory is None else parse_bytes(memory)
    net = load(model, weights, seed=seed)
    starts = net.start_layers(listed(start_layers))
    pictures = load_images(net, images, labels, limit, preprocess)
    folder = out or Path("runs") / f"csc-{net.name}"
    screen = console()
    shown = ", ".join(map(net.shown, starts))
    screen.print(f"{net.name}: {len(pictures.names)} images ({pictures.source}), {vectors} vectors, start layers {shown}", **PLAIN)
    print_guess(screen, pictures.preprocessing)
    settings = {"methods": chosen, "start": starts, "vectors": vectors, "seed": seed, "semantics": semantics}
    with bar_steps("csc") as steps:
        settings.update(backend=backend, dtype=dtype, batch_size=batch_size, memory=bytes_at_once)
        kept = {"out": folder, "context": context(net, pictures), "steps": steps}
        result = csc(net, pictures.inputs, **settings, **kept)
    from wel.figures.csc import write_csc_figures  # matplotlib takes a second

    figures = write_csc_figures(result.table, METHODS, folder / "figures", result.histograms)
    print_left_out(screen, result.skipped)
    for (method, under, start), layer in result.non_finite.items():
        screen.print(f"Not finite: {method} ({under}) from {start} has infinite or undefined relevance from {layer} on.", **PLAIN)
    screen.print(_medians_at_input(result))
    screen.print(f"Table: {folder / 'csc.csv'}\nFigure: {figures[0]} (and {len(figures) - 1} more)", **PLAIN)


def parse_bytes(text: str) -> int:
    """ "4GiB", "500 MB" or plain bytes as a number.

    Raises:
        WelError: for anything else.
    """
    found = re.fullmatch(r"(\d+(?:\.\d+)?)\s*(?:([kMGT])(i?)B?)?", text.strip())
    if not found or not float(found[1]):
        raise invalid("memory", text, "a size such as 4GiB or 500MB")
    number, prefix, binary = found.groups()
    return int(float(number) * (1024 if binary else 1000) ** (" kMGT".index(prefix) if prefix else 0))


def context(net: Network, pictures: ImageSet) -> dict:
    """What a run's record keeps of its images and layers."""
    return {
        "images": pictures.names,
        "images_source": pictures.source,
        "preprocessing": pictures.preprocessing.formula,
        "preprocessing_guess": pictures.preprocessing.guess,
        "labels": pictures.labels,
        "layers": [net.shown(name) for name in net.layers],
    }


def _medians_at_input(result: CSCResult) -> Table:
    at_input = result.table[result.table["layer"] == "input"]
    starts = list(dict.fromkeys(at_input["start"]))
    several = at_input["semantics"].nunique() > 1
    medians = at_input.pivot_table(index=["method", "semantics"], columns="start", values="median", sort=False, dropna=False)
    found = Table(title=f"Median |cos| at the input, by start layer (chance: {at_input['baseline'].iloc[0]:.2f})")
    for heading in ("method", *starts):
        found.add_column(heading, justify="left" if heading == "method" else "right")
    for (method, semantics), row in medians.iterrows():
        name = f"{method} ({semantics})" if several else method
        found.add_row(name, *("–" if pd.isna(row[start]) else f"{row[start]:.4f}" for start in starts))
    return found
