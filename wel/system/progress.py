"""The progress bar that all long work shows: what, how much of how much, time gone and time left."""

from __future__ import annotations

from contextlib import contextmanager
from typing import Iterator

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn, TimeRemainingColumn

from wel.system.devices import used_device

REMEMBERED = 24 * 3600  # seconds, over which the speed is measured: a step may take an hour


def progress() -> Progress:
    """A rich progress bar on standard error, so that standard output stays clean for results."""
    return Progress(
        TextColumn("{task.description}"),
        BarColumn(),
        MofNCompleteColumn(),
        TimeElapsedColumn(),
        TimeRemainingColumn(),
        console=Console(stderr=True),
        speed_estimate_period=REMEMBERED,
    )


class Steps:
    """What a study tells of its progress; this one keeps silent."""

    def start(self, total: int) -> None:
        """The study has that many steps."""

    def tell(self, sentence: str) -> None:
        """What is worth saying once the work begins."""

    def advance(self, count: int, *words: str) -> None:
        """So many steps more are done; `words` say of what."""


class _BarSteps(Steps):
    def __init__(self, bar: Progress, name: str):
        self._bar = bar
        self._task = bar.add_task(name, total=None)

    def start(self, total: int) -> None:
        self._bar.console.print(f"TensorFlow computes on: {used_device()}", markup=False, soft_wrap=True)
        self._bar.start()
        self._bar.update(self._task, total=total)

    def tell(self, sentence: str) -> None:
        self._bar.console.print(sentence, markup=False, soft_wrap=True)

    def advance(self, count: int, *words: str) -> None:
        shown = {"description": " ← ".join(words)} if words else {}
        self._bar.update(self._task, advance=count, **shown)


@contextmanager
def bar_steps(name: str) -> Iterator[Steps]:
    """Steps shown on a progress bar, which is drawn when the study begins: what is refused before stays one line."""
    bar = progress()
    try:
        yield _BarSteps(bar, name)
    finally:
        if bar.live.is_started:
            bar.stop()
