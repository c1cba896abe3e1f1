"""HDF5 files from strangers: opened to read, and checked before anything in them is read."""

from __future__ import annotations

import io
import sys
from contextlib import contextmanager
from itertools import count, takewhile
from pathlib import Path
from typing import Any, Callable, Iterator

from wel.errors import WelError
from wel.modelfiles.apart import check_apart
from wel.modelfiles.budget import check_declared, memory_within

# what HDF5 may take beside the numbers themselves while it reads a text or unpacks a part of a dataset; a file can ask for any amount
WORKING_MEMORY = 1 << 29
# that a look at everything but the numbers may take
SECONDS = 60
# groups and datasets in one file
MOST_OBJECTS = 200_000


def listed(group: Any, attribute: str) -> list[str]:
    """The names that Keras keeps in an attribute of a group, in several (`layer_names0`, `layer_names1`, …) where one is too small."""
    if attribute in group.attrs:
        found = list(group.attrs[attribute])
    else:
        chunks = takewhile(lambda name: name in group.attrs, (f"{attribute}{number}" for number in count()))
        found = [name for chunk in chunks for name in group.attrs[chunk]]
    return [name.decode("utf-8") if isinstance(name, bytes) else str(name) for name in found]


@contextmanager
def opened(source: Path | io.BytesIO, stored: int) -> Iterator[Any]:
    """Opens an HDF5 file to read, after a look at everything in it.

    Args:
        source: a path, or a file in memory.
        stored: bytes that hold it on the disk, of which its declared sizes must be a sensible multiple.

    Raises:
        WelError: when it is no HDF5 file, names other files, holds something else than numbers and texts, or declares more than it stores.
    """
    if isinstance(source, Path):
        check_apart(check_file, str(source), str(stored), seconds=SECONDS)
    else:
        check_apart(check_input, str(stored), content=source.getvalue(), seconds=SECONDS)
    with _file(source) as file:
        yield file


def check_file(path: str, stored: str) -> None:
    """`_check` of a file, for `check_apart`."""
    _check(Path(path), int(stored))


def check_input(stored: str) -> None:
    """`_check` of what comes in at the standard input, for `check_apart`."""
    _check(io.BytesIO(sys.stdin.buffer.read()), int(stored))


def _file(source: Path | io.BytesIO) -> Any:
    import h5py

    try:
        return h5py.File(source, "r")
    except (OSError, ValueError) as error:
        raise WelError("It is no HDF5 file, or a part of one. Expected a file that Keras saved.") from error


def numbers_in(file: Any) -> int:
    """How many numbers the datasets of an open file hold."""
    return sum(dataset.size for dataset in _datasets(file))


def text(file: Any, name: str) -> str | None:
    """An attribute that holds one text; None where there is none.

    Raises:
        WelError: when it holds something else.
    """
    value = file.attrs.get(name)
    value = value.decode("utf-8", errors="strict") if isinstance(value, bytes) else value
    if value is not None and not isinstance(value, str):
        raise WelError(f"Its {name} is no text.")
    return value


def _check(source: Path | io.BytesIO, stored: int) -> None:
    with _file(source) as file:
        for part in _objects(file):
            for name in part.attrs:
                _check_attribute(part, name)
        datasets = list(_datasets(file))
        for dataset in datasets:
            _check_dataset(dataset)
        check_declared(sum(dataset.nbytes for dataset in datasets), min(stored, sum(dataset.id.get_storage_size() for dataset in datasets)))
        for dataset in datasets:
            if dataset.chunks:
                _read(f"dataset {_shown(dataset.name)}", dataset.nbytes, lambda: dataset[()])


def _datasets(file: Any) -> Iterator[Any]:
    import h5py

    return (part for part in _objects(file) if isinstance(part, h5py.Dataset))


def _objects(file: Any) -> Iterator[Any]:
    """Every group and dataset once, however many names it has."""
    import h5py

    pending, known = [file], set()
    while pending:
        part = pending.pop()
        place = h5py.h5o.get_info(part.id).addr
        if place in known:
            continue
        known.add(place)
        if len(known) > MOST_OBJECTS:
            raise WelError(f"It holds more than {MOST_OBJECTS:,} groups and datasets.")
        yield part
        if isinstance(part, h5py.Group):
            pending.extend(_linked(part, name) for name in part)


def _linked(group: Any, name: str) -> Any:
    import h5py

    if type(group.get(name, getlink=True)) is not h5py.HardLink:
        raise WelError(f"Its part {_shown(name)} is a link to somewhere else. Expected everything in the file itself.")
    part = group[name]
    if not isinstance(part, (h5py.Group, h5py.Dataset)):
        raise WelError(f"Its part {_shown(name)} is neither a group nor a dataset.")
    return part


def _check_attribute(part: Any, name: str) -> None:
    import h5py

    kinds = (h5py.h5t.TypeStringID, h5py.h5t.TypeIntegerID, h5py.h5t.TypeFloatID, h5py.h5t.TypeEnumID)
    if not isinstance(part.attrs.get_id(name).get_type(), kinds):
        raise WelError(f"Its attribute {_shown(name)} is neither text nor number.")
    _read(f"attribute {_shown(name)}", 0, lambda: part.attrs[name])


def _read(what: str, size: int, read: Callable[[], Any]) -> None:
    """Reads a thing of `size` bytes, once and for all: what can be read now can be read again."""
    try:
        with memory_within(size + WORKING_MEMORY):
            read()
    except (OSError, MemoryError, KeyError, ValueError, RuntimeError, TypeError) as error:
        raise WelError(f"Its {what} is broken, or too large to be read.") from error


def _check_dataset(dataset: Any) -> None:
    name = _shown(dataset.name)
    if dataset.external or dataset.is_virtual:
        raise WelError(f"Its dataset {name} lies in other files. Expected everything in the file itself.")
    if dataset.shape is None or dataset.dtype.kind not in "fiub":
        raise WelError(f"Its dataset {name} is of the type {dataset.dtype}. Expected numbers.")


def _shown(name: str) -> str:
    return repr(name if len(name) <= 80 else name[:79] + "…")
