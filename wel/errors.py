"""The error that a user's mistake ends in: one sentence, no traceback, exit code 2."""

from __future__ import annotations

from numbers import Integral
from textwrap import shorten
from typing import Iterable


class WelError(ValueError):
    """Something that the user gave cannot be used; the message is one clear sentence for them."""


class UnsupportedError(WelError):
    """A method that cannot be computed for a network; the message says why.

    Attributes:
        reason: the message without advice on what to do.
        advice: that.
    """

    def __init__(self, reason: str, advice: str = ""):
        super().__init__(f"{reason} {advice}" if advice else reason)
        self.reason, self.advice = reason, advice


def of_method(method: str, words: str) -> str:
    """A sentence on a method: "Method 'lrp_z' has no rule for layer 'x' (tanh)."."""
    return f"Method '{method}' {words}"


def words_on(method: str, sentence: str) -> str:
    """The words of a sentence that `of_method` made, "has no rule for …"; another sentence as it is."""
    return sentence.removeprefix(of_method(method, ""))


def invalid(name: str, received: object, expected: str) -> WelError:
    """The error for a bad argument, worded as Keras words it: "Invalid value for `x`: … Expected …"."""
    return WelError(f"Invalid value for `{name}`: {received!r}. Expected {expected}.")


def first_line(error: BaseException) -> str:
    """What an exception says first, or its class, cut at a word after 200 characters."""
    lines = str(error).strip().splitlines() or [type(error).__name__]
    return shorten(lines[0], 200, placeholder=" …")


def visible(text: str) -> str:
    """The same with spaces for line breaks, and a replacement for what has no shape, like a character that turns the text around."""
    return "".join(sign if sign.isprintable() else " " if sign.isspace() else "\ufffd" for sign in text)


def check_whole(name: str, value: object, least: int, why: str = "") -> None:
    """Raises WelError unless a value is a whole number from `least` on."""
    if not isinstance(value, Integral) or value < least:
        raise invalid(name, value, f"a whole number from {least} on{why}")


def one_of(names: Iterable[str], limit: int = 60) -> str:
    """Lists what would have been accepted, cut to `limit` names."""
    names = list(names)
    more = f", … ({len(names)} in all)" if len(names) > limit else ""
    return "one of " + ", ".join(names[:limit]) + more
