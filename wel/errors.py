"""The error that a user's mistake ends in: one sentence, no traceback, exit code 2."""
from __future__ import annotations

from typing import Iterable


class WelError(ValueError):
    """Something that the user gave cannot be used; the message is one clear sentence for them."""


class UnsupportedError(WelError):
    """A method that cannot be computed for a network; the message says why."""


def invalid(name: str, received: object, expected: str) -> WelError:
    """The error for a bad argument, worded as Keras words it: "Invalid value for `x`: … Expected …"."""
    return WelError(f"Invalid value for `{name}`: {received!r}. Expected {expected}.")


def one_of(names: Iterable[str], limit: int = 40) -> str:
    """Lists what would have been accepted, cut to `limit` names."""
    names = list(names)
    more = f", … ({len(names)} in all)" if len(names) > limit else ""
    return "one of " + ", ".join(names[:limit]) + more
