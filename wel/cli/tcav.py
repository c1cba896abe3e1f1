"""`wel tcav`."""

from __future__ import annotations

from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Dict, List, Mapping, NamedTuple, Optional

import typer

from wel.cli import flags
from wel.cli.console import PLAIN, listed, number, printable
from wel.errors import WelError, invalid, one_of

if TYPE_CHECKING:
    import numpy as np
    import pandas as pd
    from rich.table import Table

    from wel.cli.inputs import Inputs
    from wel.images.load import ImageSet

POOL = 200  # random pictures, where none are given
MOST_STAGES = 8  # in a table


def tcav(
    *,
    model: flags.Model = "cifar10",
    concept: Annotated[
        List[str],
        typer.Option(
            "--concept", help="Directory, .npz, .npy or .csv with pictures, or stripes, dots, checks, red, green, blue; may be repeated."
        ),
    ],
    random: Annotated[
        Optional[Path], typer.Option("--random", exists=True, help="The same with pictures of anything; bundled ones by default.")
    ] = None,
    images: flags.Images = None,
    labels: flags.Labels = None,
    limit: flags.Limit = None,
    preprocess: flags.Preprocess = None,
    classes: Annotated[
        Optional[str], typer.Option("--class", help="Classes that are asked about, with commas; the one of most images by default.")
    ] = None,
    layer: Annotated[
        Optional[str], typer.Option("--layer", help="Layers, with commas; the end of the last convolutional block by default.")
    ] = None,
    stages: flags.Stages = None,
    pictures: Annotated[int, typer.Option("--pictures", min=10, help="Pictures of each set, at most.")] = 50,
    counterparts: Annotated[int, typer.Option("--counterparts", min=3, help="How many times random pictures are drawn.")] = 20,
    seed: flags.Seed = 0,
    weights: flags.Weights = None,
    input_shape: flags.InputShape = None,
    output_index: flags.OutputIndex = None,
    input_name: flags.InputName = None,
    fixed: flags.Fixed = None,
    out: Annotated[Optional[Path], typer.Option("--out", help="Run directory; runs/tcav-<model> by default.")] = None,
    device: flags.Device = "auto",
    allow_tf32: flags.AllowTf32 = False,
    arithmetic: flags.Arithmetic = None,
) -> None:
    """Test with concepts: how often a class's logit rises towards a concept, beside random pictures; table and figure.

    A run that was interrupted goes on where it stopped when the same command is given again.
    """
    sources, chosen = named_concepts(concept), parse_indices(classes)
    from wel.cli.inputs import known_classes, opened
    from wel.system.progress import bar_steps

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
    inputs = opened(study="tcav", model=model, weights=weights, seed=seed, out=out, **given)
    found = _pictures(inputs, sources, random, preprocess, seed)
    inputs.announce(known_classes(inputs.pictures), f"; concepts: {', '.join(sources)}; random: {found.random_from}")
    from wel.studies import tcav as study  # imports TensorFlow

    with bar_steps("tcav") as steps:
        result = study.tcav(
            inputs.net,
            inputs.pictures.inputs,
            found.concepts,
            found.random,
            layers=listed(layer),
            classes=inputs.pictures.labels,
            of=chosen,
            stages="paper" if stages == "paper" else listed(stages),
            pictures=pictures,
            counterparts=counterparts,
            seed=seed,
            out=inputs.folder,
            context={**inputs.context, "concepts": found.concepts_from, "random": found.random_from},
            steps=steps,
        )
    from wel.figures.tcav import write_tcav_figure  # matplotlib takes a second
    from wel.methods.registry import CITATIONS

    figures = write_tcav_figure(result.table, inputs.folder / "figures")
    trained = result.table[result.table["stage"] == study.ORIGINAL]
    inputs.screen.print(_scores(trained))
    if len(trained) < len(result.table):
        inputs.screen.print(_by_stage(result.table))
    tables = f"Table: {inputs.folder / 'tcav.csv'} (by counterpart: {inputs.folder / 'tcav_scores.csv'})"
    inputs.screen.print(f"{tables}\nFigure: {figures[0]} (and {figures[1].name})\nSource: {CITATIONS['kim2018']}", **PLAIN)


class Pictures(NamedTuple):
    """Inputs (n, *input shape) of every concept and of the random pictures, and where they come from, in words."""

    concepts: Dict[str, np.ndarray]
    concepts_from: Dict[str, str]
    random: np.ndarray
    random_from: str


def named_concepts(sources: List[str]) -> Dict[str, Optional[Path]]:
    """Name -> where its pictures are, None for a concept that wel makes.

    Raises:
        WelError: for something that is neither, or two of one name.
    """
    from wel.images.concepts import MADE

    found: Dict[str, Optional[Path]] = {}
    for source in sources:
        path = None if source in MADE else Path(source)
        if path is not None and not path.exists():
            raise invalid("concept", source, f"a directory or file with pictures, or {one_of(MADE)}")
        name = source if path is None else path.resolve().name if path.is_dir() else path.stem
        if name in found:
            raise invalid("concept", source, f"concepts of different names: there are two called '{name}'")
        found[name] = path
    return found


def parse_indices(text: Optional[str]) -> Optional[List[int]]:
    """ "3,8" as numbers.

    Raises:
        WelError: for anything else.
    """
    if text is None:
        return None
    parts = [part.strip() for part in text.split(",")]
    if not all(part.isdecimal() for part in parts):
        raise invalid("class", text, "whole numbers from 0 on with commas, such as 3,8")
    return list(map(int, parts))


def _pictures(inputs: Inputs, sources: Dict[str, Optional[Path]], random: Optional[Path], preprocess: Optional[str], seed: int) -> Pictures:
    from wel.images.concepts import more_pictures, with_concept
    from wel.images.load import repainted

    pool = _loaded(inputs, "random", random, preprocess)
    enough = partial(more_pictures, count=0 if random else POOL, seed=seed)
    concepts, words = {}, {}
    for name, path in sources.items():
        if path is None:
            _check_channels(inputs, name)
            concepts[name] = repainted(inputs.net, pool, lambda pixels, name=name: with_concept(name, enough(pixels), seed), "random")
            words[name] = f"laid on {pool.source}"
        else:
            found = _loaded(inputs, "concept", path, preprocess)
            concepts[name], words[name] = found.inputs, found.source
    return Pictures(concepts, words, pool.inputs if random else repainted(inputs.net, pool, enough, "random"), pool.source)


def _check_channels(inputs: Inputs, name: str) -> None:
    from wel.images.concepts import COLOURS
    from wel.images.sources import pixel_shape

    if name in COLOURS and pixel_shape(inputs.net)[-1] == 1:
        raise invalid("concept", name, f"one without colours: '{inputs.net.name}' takes pictures of one channel")


def _loaded(inputs: Inputs, argument: str, source: Optional[Path], preprocess: Optional[str]) -> ImageSet:
    from wel.images.load import load_images

    try:
        return load_images(inputs.net, source, preprocessing=preprocess)
    except WelError as error:
        raise WelError(str(error).replace("`images`", f"`{argument}`")) from error


def _scores(table: pd.DataFrame) -> Table:
    several = table["class"].nunique() > 1
    headings = (
        *(("class",) if several else ()),
        "concept",
        "layer",
        "score",
        "95 % interval",
        "random",
        "p, corrected",
        "accuracy",
        "finding",
    )
    rows = []
    for row in table.to_dict("records"):
        interval = " – ".join(number(row[end], ".2f") for end in ("ci_low", "ci_high"))
        numbers = (number(row["score"], ".3f"), interval, number(row["control"], ".3f"), number(row["p_corrected"], ".2g"))
        named = (*((row["class"],) if several else ()), row["concept"], row["layer"])
        rows.append((*named, *numbers, number(row["accuracy"], ".2f"), finding(row)))
    first = table.iloc[0]
    of = "" if several else f" of class {first['class']}"
    return printable(
        headings, rows, f"TCAV: share of the images{of} whose logit rises towards a concept, over {first['counterparts']} counterparts"
    )


def finding(row: Mapping[str, Any]) -> str:
    """What a row of the table says, in words."""
    if not row["separable"]:
        return "not separable from random pictures"
    if not row["significant"]:
        return "no difference shown"
    return "rises" if row["score"] > row["control"] else "falls"


def _by_stage(table: pd.DataFrame) -> Table:
    stages = table["stage"].unique().tolist()
    last = min(len(stages), MOST_STAGES) - 1
    kept = [stages[round(place * (len(stages) - 1) / last)] for place in range(last + 1)]
    keys = ["class", "concept", "layer"]
    rows = [
        (*key, *(number(value, ".3f") for value in group.set_index("stage")["score"][kept]))
        for key, group in table.groupby(keys, sort=False)
    ]
    part = "" if len(kept) == len(stages) else f"; {len(kept)} of {len(stages)} stages"
    return printable((*keys, *kept), rows, f"Scores, randomised down to a layer{part}")


COMMANDS = (tcav,)
