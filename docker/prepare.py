"""Fills the image's caches while it is built: compiled code, fonts, and the ImageNet weights of the networks that are named.

Usage: prepare.py NETWORKS, with commas; may be empty. Weights are checked against the hashes that Keras publishes.
"""

from __future__ import annotations

import os
import sys
from importlib.util import find_spec
from pathlib import Path

import numpy as np

from wel.errors import WelError, invalid, one_of
from wel.networks.imagenet import imagenet_file
from wel.networks.zoo import ZOO


def fetch_weights(networks: str) -> None:
    """Downloads and checks the ImageNet weights of "resnet50,vgg16"; nothing for "".

    Raises:
        WelError: when a network has none, they cannot be downloaded, or their hash is another.
    """
    known = [name for name, arch in ZOO.items() if arch.trained == "imagenet"]
    for name in filter(None, (part.strip() for part in networks.split(","))):
        if name not in known:
            raise invalid("WEIGHTS", name, one_of(known))
        print(f"{name}: {imagenet_file(name)}")


def compile_code() -> None:
    """Has numba compile what counts |cos|, for both precisions."""
    source = Path(find_spec("wel.measures.fast_counting").origin)
    # numba knows source by its time, of which an image keeps whole seconds
    seconds = int(source.stat().st_mtime)
    os.utime(source, (seconds, seconds))
    from wel.measures.fast_counting import count_located

    for dtype in ("float32", "float64"):
        count_located(np.ones((1, 2, 1, 3), dtype), groups=1)


def list_fonts() -> None:
    """Has matplotlib write its list of fonts."""
    import matplotlib.font_manager  # noqa: F401


if __name__ == "__main__":
    os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")
    try:
        fetch_weights(sys.argv[1] if len(sys.argv) > 1 else "")
    except WelError as error:
        sys.exit(f"prepare.py: {error}")
    compile_code()
    list_fonts()
