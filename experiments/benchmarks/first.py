"""The first result of wel's engine in a process of its own, what it builds included.

    python first.py NETWORK METHOD V

Prints the seconds from the loaded network to the counts of |cos| at all layers.
"""

from __future__ import annotations

import sys
import time

from cases import Case
from subjects import native


def main(network: str, method: str, count: str) -> None:
    """Prints the seconds."""
    case = Case.of(network, int(count))
    before = time.perf_counter()
    with native(case, method, images=1) as run:
        run()
    print(time.perf_counter() - before)


if __name__ == "__main__":
    main(*sys.argv[1:])
