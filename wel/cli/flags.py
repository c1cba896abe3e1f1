"""Options that several commands have."""

from __future__ import annotations

import typer

from wel.system.devices import allow_tf32, choose_device

MODEL = typer.Option("cifar10", "--model", help="Network of the zoo, or a .h5, .hdf5, .keras or .json file.")
WEIGHTS = typer.Option(None, "--weights", help="'random', or a weights file.")
IMAGES = typer.Option(
    None, "--images", exists=True, help="Directory, picture, .npz, .npy, or .csv with the columns file[,label]; bundled ones by default."
)
PREPROCESS = typer.Option(
    None,
    "--preprocess",
    help="keras-applications:NAME, torch, caffe, tf, scale:A-B, mean-std:M1,M2,M3:S1,S2,S3 (of 0 to 255) or none; guessed by default.",
)
METHODS = typer.Option("all", "--methods", help="'all', or names with commas; see `wel methods`.")
START_LAYERS = typer.Option(None, "--start-layers", help="Where vectors are injected, with commas; the paper's by default.")
BACKEND = typer.Option("native", "--backend", help="Who computes: native, wrapped, innvestigate, deeplift or original.")
LABELS = typer.Option(None, "--labels", exists=True, dir_okay=False, help="CSV with the columns file and label.")
LIMIT = typer.Option(None, "--limit", min=1, help="Use at most so many images.")
SEMANTICS = typer.Option("paper", "--semantics", help="paper, corrected or both.")
SEED = typer.Option(0, "--seed", min=0, help="Seed of everything random.")
# the callbacks of these two do all that there is to do
DEVICE = typer.Option("auto", "--device", callback=choose_device, help="auto (a GPU if there is one), cpu, gpu, or gpu:1 for the second.")
ALLOW_TF32 = typer.Option(False, "--allow-tf32", callback=allow_tf32, help="Quicker and less precise on GPUs: TF32, not full float32.")
