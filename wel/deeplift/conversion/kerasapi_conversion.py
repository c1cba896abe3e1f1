"""Keras models as deeplift's."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from wel.deeplift.layers import NonlinearMxtsMode
from wel.deeplift.models import GraphModel, SequentialModel, model_of
from wel.networks.loading import load


def convert_model_from_saved_files(
    h5_file: Any,
    json_file: str | Path | None = None,
    nonlinear_mxts_mode: str = NonlinearMxtsMode.DeepLIFT_GenomicsDefault,
    verbose: bool = False,
    semantics: str = "paper",
) -> SequentialModel | GraphModel:
    """The model of a file, or a live Keras model, as deeplift's.

    Args:
        h5_file: anything that `wel.load` takes: a file of any Keras, or a Keras model.
        json_file: the architecture, if `h5_file` holds weights only.
        nonlinear_mxts_mode: one of `wel.deeplift.layers.NonlinearMxtsMode`.
        verbose: as deeplift has it; nothing is printed.
        semantics: "paper", deeplift's numbers, or "corrected", with contributions behind max pooling too (deeplift has 0 there).

    Raises:
        WelError: for a file that cannot be read, a mode that there is not, or a layer that the mode has no rule for.
    """
    net = load(h5_file) if json_file is None else load(json_file, h5_file)
    return model_of(net, nonlinear_mxts_mode, semantics)
