"""Runs a command: how long it takes, and the most memory that it or one of its processes holds.

    python measured.py COMMAND...

Prints {"seconds", "peak_mb", "output", "code"}. A process of its own that imports next to nothing: a new process would else be told
the peak of the one that started it. Unix only.
"""

from __future__ import annotations

import json
import resource
import subprocess
import sys
import time


def main(command: list[str]) -> None:
    """Prints what was measured."""
    before = time.perf_counter()
    done = subprocess.run(command, stdout=subprocess.PIPE, text=True, check=False)
    seconds = time.perf_counter() - before
    peak = resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss / (1 << 20 if sys.platform == "darwin" else 1 << 10)
    print(json.dumps({"seconds": seconds, "peak_mb": peak, "output": done.stdout, "code": done.returncode}))


if __name__ == "__main__":
    main(sys.argv[1:])
