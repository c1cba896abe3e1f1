"""A subject in a process of its own, with another TensorFlow or another arithmetic: answers runs until standard input ends.

Usage: loop.py SUBJECT NETWORK METHOD VECTORS, the subject being `native` or `gradient`.
"""

from __future__ import annotations

import json
import os
import sys

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")

from cases import Case  # noqa: E402
from subjects import gradient, native  # noqa: E402

SUBJECTS = {"native": native, "gradient": gradient}


def main(subject: str, network: str, method: str, count: str) -> None:
    """One timed run for every line that comes in."""
    with SUBJECTS[subject](Case.of(network, int(count)), method) as run:
        for _ in sys.stdin:
            print(json.dumps({"seconds": run()}), flush=True)


if __name__ == "__main__":
    main(*sys.argv[1:])
