"""Progress that tests share: it counts steps, and plays Ctrl-C."""

from __future__ import annotations

from wel.system.progress import Steps


class Interrupting(Steps):
    """Counts steps, and plays Ctrl-C after so many.

    Attributes:
        total: how many steps were announced.
        done: how many were taken.
    """

    def __init__(self, after: int | None = None):
        self.after, self.total, self.done = after, 0, 0

    def start(self, total: int) -> None:
        self.total = total

    def advance(self, count: int, *words: str) -> None:
        self.done += count
        if self.after is not None and self.done >= self.after:
            raise KeyboardInterrupt
