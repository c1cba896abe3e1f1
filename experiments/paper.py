"""What the scripts of the paper share: their options, and how they start."""

from __future__ import annotations

import os
import sys
from pathlib import Path
from typing import Annotated, Callable, Optional

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")

import typer  # noqa: E402

from wel.errors import WelError  # noqa: E402

RUNS = Path("runs/paper")

Quick = Annotated[bool, typer.Option("--quick", help="A few images: minutes on a CPU.")]
Weights = Annotated[Optional[str], typer.Option(help="File of ImageNet weights, or 'imagenet' for Keras's own (cached, else downloaded).")]
Images = Annotated[Optional[Path], typer.Option(exists=True, file_okay=False, help="Directory of images; the bundled ones by default.")]
Out = Annotated[Path, typer.Option(help="Where the run directories go.")]


def start(main: Callable) -> None:
    """Runs a script; what a user did wrong ends in one sentence and exit code 2."""
    try:
        typer.run(main)
    except WelError as error:
        print(" ".join(str(error).split()), file=sys.stderr)
        sys.exit(2)
