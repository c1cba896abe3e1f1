"""`wel saliency`."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Optional

import typer

from wel.cli import flags
from wel.cli.console import PLAIN, listed, print_left_out, printable, shown_method

if TYPE_CHECKING:
    from rich.table import Table

    from wel.studies.saliency import SaliencyResult


def saliency(
    *,
    model: flags.Model = "cifar10",
    images: flags.Images = None,
    labels: flags.Labels = None,
    limit: Annotated[int, typer.Option("--limit", min=1, help="Use at most so many images.")] = 8,
    preprocess: flags.Preprocess = None,
    methods: flags.Methods = "all",
    analyzer: flags.Analyzer = None,
    classes: Annotated[Optional[str], typer.Option("--classes", help="Two classes whose maps are compared, such as 283,156.")] = None,
    stages: flags.Stages = None,
    seed: flags.Seed = 0,
    semantics: flags.Semantics = "paper",
    backend: flags.Backend = "native",
    weights: flags.Weights = None,
    input_shape: flags.InputShape = None,
    output_index: flags.OutputIndex = None,
    input_name: flags.InputName = None,
    fixed: flags.Fixed = None,
    workers: flags.Workers = None,
    scheduler: flags.Scheduler = None,
    out: Annotated[Optional[Path], typer.Option("--out", help="Run directory; runs/saliency-<model> by default.")] = None,
    device: flags.Device = "auto",
    allow_tf32: flags.AllowTf32 = False,
    arithmetic: flags.Arithmetic = None,
) -> None:
    """Draw saliency maps: images × methods, of two classes, and under randomisation; as .npz and .png.

    A run that was interrupted goes on where it stopped when the same command is given again.
    """
    from wel.cli.inputs import chosen, known_classes, opened, with_analyzers
    from wel.system.cluster import connected
    from wel.system.progress import bar_steps

    names = chosen(methods, semantics, backend, maps=True, analyzer=analyzer)
    compare = None if classes is None else parse_classes(classes)
    given = {
        "images": images,
        "labels": labels,
        "limit": limit,
        "preprocess": preprocess,
        "input_shape": input_shape,
        "output_index": output_index,
        "input_name": input_name,
        "fixed": fixed,
    }
    with connected(workers, scheduler) as client, bar_steps("saliency") as steps:
        inputs = opened(study="saliency", model=model, weights=weights, seed=seed, out=out, **given)
        asked = with_analyzers(names, analyzer, inputs.net)
        from wel.studies import saliency as study  # imports TensorFlow

        if compare:
            study.check_compared(compare, inputs.net.output_shape[-1], "classes")
        inputs.announce(known_classes(inputs.pictures))
        result = study.saliency(
            inputs.net,
            inputs.pictures.inputs,
            methods=asked,
            classes=inputs.pictures.labels,
            compare=compare,
            stages="paper" if stages == "paper" else listed(stages),
            seed=seed,
            backend=backend,
            semantics=semantics,
            out=inputs.folder,
            context=inputs.context,
            steps=steps,
            client=client,
        )
    from wel.figures.saliency import Pictures, write_saliency_figures  # matplotlib takes a second
    from wel.methods.registry import drawn_with

    pictures = Pictures(inputs.pictures.names, inputs.pictures.pixels, inputs.net.class_names)
    figures = write_saliency_figures(result, drawn_with(asked), pictures, inputs.folder / "figures")
    print_left_out(inputs.screen, result.skipped)
    if compare:
        inputs.screen.print(_distances(result))
    inputs.screen.print(f"Maps: {inputs.folder / 'maps'} (.npz), {inputs.folder / 'figures' / 'maps'} (.png)", **PLAIN)
    inputs.screen.print(f"Figure: {figures[0]} (and {len(figures) - 1} more)", **PLAIN)


def parse_classes(text: str) -> tuple[int, int]:
    """ "283,156" as two numbers.

    Raises:
        WelError: for anything else.
    """
    from wel.studies.saliency import check_compared  # imports TensorFlow

    parts = [part.strip() for part in text.split(",")]
    return check_compared([int(part) if part.isdecimal() else part for part in parts], argument="classes")


def _distances(result: SaliencyResult) -> Table:
    several = result.table["semantics"].nunique() > 1
    rows = []
    for (method, semantics), group in result.table.groupby(["method", "semantics"], sort=False):
        values = group["l1"].dropna()
        numbers = [f"{value:.3g}" for value in (values.mean(), values.min(), values.max())] if len(values) else ["–"] * 3
        rows.append((shown_method(method, semantics, several), *numbers, f"{len(values)} of {len(group)}"))
    one, other = result.table[["class_a", "class_b"]].iloc[0]
    return printable(("method", "mean", "least", "most", "defined for"), rows, f"L1 distance of the maps of classes {one} and {other}")


COMMANDS = (saliency,)
