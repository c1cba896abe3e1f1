"""What `make test` needs beside its own environment: the wrapped packages, where a Python for them is to be had.

    python docker/wrapped.py FOLDER

makes the environment in FOLDER unless wel finds one already; where there is no Python for it, says what is skipped.
"""

from __future__ import annotations

import sys

from wel.cli.app import main
from wel.errors import WelError
from wel.system.environments import WRAPPED


def prepare(folder: str) -> None:
    """Makes the environment, or says why not."""
    try:
        WRAPPED.python()
        return
    except WelError:
        pass  # it is not there yet
    try:
        python = WRAPPED.find_python()
    except WelError as error:
        print(f"The tests that need the wrapped packages are skipped. {error}")
        return
    main(["install", "wrapped", "--into", folder, "--python", python])


if __name__ == "__main__":
    prepare(sys.argv[1])
