"""Arrays in .npy and .npz files, row by row: as much of a file as is asked for, and no pickles."""

from __future__ import annotations

import zipfile
from contextlib import contextmanager
from dataclasses import dataclass
from math import prod
from pathlib import Path
from typing import IO, Iterator

import numpy as np

from wel.errors import WelError, first_line

SUFFIXES = (".npy", ".npz")


@dataclass(frozen=True)
class Stored:
    """One array of a file: what its header says, and its rows.

    Attributes:
        path: the file.
        key: its name in a .npz file, "" in a .npy file.
        shape: of the whole array.
        dtype: of its values.
        fortran: whether the first axis varies fastest, so that rows cannot be read alone.
    """

    path: Path
    key: str
    shape: tuple[int, ...]
    dtype: np.dtype
    fortran: bool

    def rows(self, count: int) -> Iterator[np.ndarray]:
        """The first `count` rows, one after the other.

        Raises:
            WelError: when the file ends before them.
        """
        with _opened(self.path, self.key) as file:
            _header(file)
            if self.fortran:
                yield from _values(file, self.dtype, self.shape[::-1]).T[:count]
            else:
                for _ in range(min(count, self.shape[0])):
                    yield _values(file, self.dtype, self.shape[1:])


def stored_arrays(path: Path) -> dict[str, Stored]:
    """The arrays of a .npz file by name; the array of a .npy file under "".

    Raises:
        WelError: when the file is none, or an array consists of Python objects, which would have to be unpickled.
    """
    with _refused(path):
        keys = [""]
        if path.suffix.lower() == ".npz":
            with zipfile.ZipFile(path) as archive:
                keys = [name[: -len(".npy")] for name in archive.namelist() if name.endswith(".npy")]
    return {key: _described(path, key) for key in keys}


def _described(path: Path, key: str) -> Stored:
    with _opened(path, key) as file:
        shape, fortran, dtype = _header(file)
        if dtype.hasobject:
            raise WelError(f"{key or 'the array'} holds Python objects, which would have to be unpickled")
        if not shape:
            raise WelError(f"{key or 'the array'} is a single number")
    return Stored(path, key, shape, dtype, fortran and len(shape) > 1)


def _header(file: IO[bytes]) -> tuple[tuple[int, ...], bool, np.dtype]:
    reader = {(1, 0): np.lib.format.read_array_header_1_0, (2, 0): np.lib.format.read_array_header_2_0}
    return reader[np.lib.format.read_magic(file)](file)


def _values(file: IO[bytes], dtype: np.dtype, shape: tuple[int, ...]) -> np.ndarray:
    size = dtype.itemsize * prod(shape)
    data = file.read(size)
    if len(data) < size:
        raise WelError("it ends too early")
    return np.frombuffer(data, dtype).reshape(shape)


@contextmanager
def _opened(path: Path, key: str) -> Iterator[IO[bytes]]:
    with _refused(path):
        if not key:
            with open(path, "rb") as file:
                yield file
        else:
            with zipfile.ZipFile(path) as archive, archive.open(f"{key}.npy") as file:
                yield file


@contextmanager
def _refused(path: Path) -> Iterator[None]:
    """Whatever the readers raise for a file that is none of theirs becomes one sentence that names it."""
    try:
        yield
    except Exception as error:
        raise WelError(f"Invalid file '{path}': it cannot be read as {path.suffix} ({first_line(error)}).") from error
