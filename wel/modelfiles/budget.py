"""How much memory a stranger's model may take: checked before it is taken."""

from __future__ import annotations

import math
import resource
from contextlib import contextmanager
from typing import Any, Iterator, Mapping

import psutil

from wel.errors import WelError

# a file may declare so many bytes per byte that it stores: weights that were trained hardly compress
RATIO, SLACK = 50, 16 << 20
# numbers that a model may hold beside the ones that its file stores, such as states of random generators
UNSAVED = 1 << 16
# copies of the weights while a model is loaded: the file's arrays, the variables, the variables of the copy without its last activation
COPIES = 3
UNITS = ("B", "KiB", "MiB", "GiB", "TiB", "PiB", "EiB")


def check_declared(declared: int, stored: int) -> None:
    """Raises WelError when `declared` bytes cannot honestly lie in `stored` bytes of a file, or not in memory.

    The rules: declared ≤ 50 · stored + 16 MiB, and 3 · declared ≤ what is free.
    """
    if declared > RATIO * stored + SLACK:
        raise WelError(f"It declares {size(declared)} and stores {size(stored)}. Expected {RATIO} times what it stores at most.")
    if COPIES * declared > free():
        raise WelError(f"It declares {size(declared)}, of which wel needs {COPIES} copies. Expected no more than is free, {size(free())}.")


@contextmanager
def variables_within(numbers: int) -> Iterator[None]:
    """Stops Keras before it makes variables of more than `numbers` numbers in all, and a few that files do not keep.

    Raises:
        WelError: instead of what Keras makes of the interruption.
    """
    import tensorflow as tf

    taken = 0

    def create(make, **settings):
        nonlocal taken
        taken += math.prod(_shape(settings))
        if taken > numbers + UNSAVED:
            raise WelError("too many weights")
        return make(**settings)

    try:
        with tf.variable_creator_scope(create):
            yield
    except Exception as error:
        if taken <= numbers + UNSAVED:
            raise
        message = f"Its architecture has more than {taken:,} weights"
        raise WelError(f"{message} and its file stores {numbers:,}. Expected an architecture and weights that belong together.") from error


def _shape(settings: Mapping[str, Any]) -> tuple[int, ...]:
    """Of a variable that is being made. Keras 3 tells only how it begins: that is asked in a graph, where nothing is computed."""
    import tensorflow as tf

    shape, initial = settings.get("shape"), settings.get("initial_value")
    if shape is None and callable(initial):
        with tf.Graph().as_default():
            shape = initial().shape
    return tuple(shape or (0,))  # a single number has none, nor the state of a random generator


@contextmanager
def memory_within(count: int) -> Iterator[None]:
    """Lets this process take `count` bytes more, where the system can be told so: Linux.

    For libraries that take what a file asks for before they look at it, in a process of their own.
    """
    before, hard = resource.getrlimit(resource.RLIMIT_AS)
    most = psutil.Process().memory_info().vms + count
    resource.setrlimit(resource.RLIMIT_AS, (most if before == resource.RLIM_INFINITY else min(most, before), hard))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_AS, (before, hard))


def free() -> int:
    """Bytes of main memory that are free."""
    return psutil.virtual_memory().available


def size(count: int) -> str:
    """A number of bytes for a sentence, such as "1.5 MiB"."""
    exponent = min(max(count, 1).bit_length() - 1, 69) // 10
    shown = count / 1024**exponent
    return f"{shown:.3g} {UNITS[exponent]}" if shown < 1000 else f"{shown:.0f} {UNITS[exponent]}"
