"""Where a network comes from: which file, what wrote it, and what was changed to read it."""
from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class Origin:
    """Where a network comes from, in words and hashes that a report can print.

    Attributes:
        kind: such as "Keras 2.2.4 HDF5 file", "Keras 3.4.1 archive", "SavedModel" or "zoo network".
        path: the file or directory as the user named it, None for a network without one.
        sha256: of that file; of a directory, over the names and contents of all of its files.
        weights: the file of weights where it is another one.
        weights_sha256: of that file.
        keras_version: as the file has it, None where it has none.
        backend: "tensorflow", "theano", …, as the file has it, None where it has none.
        notes: sentences on what was converted or taken off.
    """

    kind: str
    path: str | None = None
    sha256: str | None = None
    weights: str | None = None
    weights_sha256: str | None = None
    keras_version: str | None = None
    backend: str | None = None
    notes: tuple[str, ...] = ()
