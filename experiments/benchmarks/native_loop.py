"""wel's engine under another interpreter, and so with another TensorFlow, for `make bench`: answers runs until standard input ends.

Usage: native_loop.py NETWORK METHOD VECTORS.
"""

from __future__ import annotations

import json
import os
import sys

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")

from cases import Case  # noqa: E402
from subjects import native  # noqa: E402


def main(network: str, method: str, count: str) -> None:
    """One timed sweep for every line that comes in."""
    with native(Case.of(network, int(count)), method) as run:
        for _ in sys.stdin:
            print(json.dumps({"seconds": run()}), flush=True)


if __name__ == "__main__":
    main(*sys.argv[1:])
