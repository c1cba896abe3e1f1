"""The command line: `wel <command>`; every module of this package names its own in `COMMANDS`."""

from __future__ import annotations

import sys
import traceback
from importlib import import_module
from pkgutil import iter_modules
from typing import List, Optional

import typer

from wel import cli
from wel.errors import WelError, visible
from wel.system.imports import quiet_tensorflow

app = typer.Typer(pretty_exceptions_enable=False, rich_markup_mode=None)
USAGE_ERROR = typer.BadParameter.__base__  # click's UsageError, of which typer may carry a copy of its own
SHARED = ("app", "console", "flags", "inputs")  # modules without a command
INTERRUPTED = 130
BROKEN = 70  # an error of wel's own; Python's 1 would say that a study found something


@app.callback()
def commands() -> None:
    """wel, "when explanations lie": does an attribution method explain your network, or only its first layers?"""


for found in iter_modules(cli.__path__):
    if found.name not in SHARED:
        for command in import_module(f"wel.cli.{found.name}").COMMANDS:
            app.command()(command)


def main(arguments: Optional[List[str]] = None) -> None:
    """Runs the command line; a user's mistake ends in one sentence and exit code 2."""
    quiet_tensorflow()
    arguments = sys.argv[1:] if arguments is None else arguments
    try:
        code = app(arguments or ["--help"], standalone_mode=False)
    except WelError as error:
        code = _refuse(str(error))
    except USAGE_ERROR as error:
        code = _refuse(error.format_message())
    except (KeyboardInterrupt, typer.Abort):
        code = INTERRUPTED
    except Exception:
        traceback.print_exc()
        code = BROKEN
    if code == INTERRUPTED:
        print("wel: interrupted. The same command goes on where it stopped.", file=sys.stderr)
    sys.exit(code)


def _refuse(sentence: str) -> int:
    print("wel:", visible(" ".join(sentence.split())), file=sys.stderr)
    return 2
