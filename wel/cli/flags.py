"""Flags that several commands have: their types, with what they mean and what completes them."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, List, Optional

import typer

from wel.system.arithmetic import choose_arithmetic
from wel.system.devices import allow_tf32, choose_device


def completed_model(incomplete: str) -> List[str]:
    """The networks of the zoo that begin so."""
    from wel.networks.zoo import ZOO

    return [name for name in ZOO if name.startswith(incomplete)]


def completed_method(incomplete: str) -> List[str]:
    """The methods that begin so."""
    from wel.methods.registry import METHODS

    return [name for name in METHODS if name.startswith(incomplete)]


def named_model(name: str) -> str:
    """The name, if a network or a file is called so."""
    from wel.networks.loading import check_named

    check_named(name)
    return name


def chosen_arithmetic(name: Optional[str]) -> None:
    """Chooses an arithmetic; None leaves what `import wel` has chosen."""
    if name is not None:
        choose_arithmetic(name)


def completed_methods(incomplete: str) -> List[str]:
    """The same for the last of several names with commas, or "all"."""
    *before, last = incomplete.split(",")
    return [",".join([*before, name]) for name in ["all", *completed_method("")] if name.startswith(last) and name not in before]


Model = Annotated[
    str,
    typer.Option(
        "--model",
        callback=named_model,
        help="Network of the zoo, or a .h5, .hdf5, .keras or .json file.",
        autocompletion=completed_model,
    ),
]
Weights = Annotated[Optional[str], typer.Option("--weights", help="'random', or a weights file.")]
InputName = Annotated[Optional[str], typer.Option("--input", help="Which input varies of a model with several; see --fixed.")]
Fixed = Annotated[
    Optional[Path],
    typer.Option(
        "--fixed", exists=True, dir_okay=False, help="An .npz with one array for every other input, by its name, without the batch."
    ),
]
OutputIndex = Annotated[
    Optional[str],
    typer.Option("--output-index", help="Of an output with places, such as a segmentation's: the place, such as 12,40, or 'mean'."),
]
InputShape = Annotated[
    Optional[str],
    typer.Option("--input-shape", help="Shape of one input, such as 224,224,3, for a file that says none or leaves sizes open."),
]
Images = Annotated[
    Optional[Path],
    typer.Option(
        "--images", exists=True, help="Directory, picture, .npz, .npy, or .csv with the columns file[,label]; bundled ones by default."
    ),
]
Preprocess = Annotated[
    Optional[str],
    typer.Option(
        "--preprocess",
        help="keras-applications:NAME, torch, caffe, tf, scale:A-B, mean-std:M1,M2,M3:S1,S2,S3 (of 0 to 255) or none; guessed by default.",
    ),
]
Methods = Annotated[
    str, typer.Option("--methods", help="'all', or names with commas; see `wel methods`.", autocompletion=completed_methods)
]
Analyzer = Annotated[
    Optional[List[str]],
    typer.Option(
        "--analyzer",
        help="An analyzer of innvestigate's, such as lrp.epsilon:epsilon=0.1; may be given several times. Without --methods nothing else.",
    ),
]
StartLayers = Annotated[
    Optional[str], typer.Option("--start-layers", help="Where vectors are injected, with commas; the paper's by default.")
]
Stages = Annotated[
    Optional[str],
    typer.Option("--stages", help="Randomise the network too, down to these layers: 'paper', 'all' with weights, or names with commas."),
]
Backend = Annotated[str, typer.Option("--backend", help="Who computes: native, wrapped, innvestigate, deeplift or original.")]
Labels = Annotated[Optional[Path], typer.Option("--labels", exists=True, dir_okay=False, help="CSV with the columns file and label.")]
Limit = Annotated[Optional[int], typer.Option("--limit", min=1, help="Use at most so many images.")]
Semantics = Annotated[str, typer.Option("--semantics", help="paper, corrected or both.")]
OneSemantics = Annotated[str, typer.Option("--semantics", help="paper or corrected.")]
Seed = Annotated[int, typer.Option("--seed", min=0, help="Seed of everything random.")]
BatchSize = Annotated[Optional[int], typer.Option("--batch-size", min=1, help="Images at once; sized from memory by default.")]
Workers = Annotated[
    Optional[int], typer.Option("--workers", help="Compute in so many processes at once, which share the cores; needs wel[dask].")
]
Scheduler = Annotated[
    Optional[str],
    typer.Option("--scheduler", help="Compute on the workers of this scheduler of Dask, such as tcp://host:8786; needs wel[dask]."),
]
# the callbacks of these three do all that there is to do
Device = Annotated[
    str, typer.Option("--device", callback=choose_device, help="auto (a GPU if there is one), cpu, gpu, or gpu:1 for the second.")
]
Arithmetic = Annotated[
    Optional[str],
    typer.Option(
        "--arithmetic",
        callback=chosen_arithmetic,
        help="Order of summation: original (the 2020 stack's, by default), default (TensorFlow's own) or fastest.",
    ),
]
AllowTf32 = Annotated[
    bool, typer.Option("--allow-tf32", callback=allow_tf32, help="Quicker and less precise on GPUs: TF32, not full float32.")
]
