"""True classes of images: from a CSV file, the names of folders, or an array."""

from __future__ import annotations

import unicodedata
from pathlib import Path
from typing import Sequence

import numpy as np
import pandas as pd

from wel.errors import WelError, invalid
from wel.networks.network import classes_told


def labels_from_csv(path: Path, names: Sequence[str], logits: int) -> list[int | None]:
    """The labels that a CSV file with the columns `file` and `label` gives to images, None for those that it does not name.

    Raises:
        WelError: when there is no such file, it has other columns, labels that are no class of the network, or names no image.
    """
    if not path.is_file():
        raise invalid("labels", str(path), "an existing CSV file with the columns file and label")
    table = _table(path, "the columns file and label, label a whole number", ("file", "label"), "int64")
    known = dict(zip(map(_normal, table["file"]), table["label"].tolist()))
    labels = [known.get(_normal(name)) for name in names]
    if not any(label is not None for label in labels):
        raise WelError(f"Invalid file '{path}'. Expected labels of the images: its column file names none of them.")
    return checked_labels(path, labels, logits)


def read_list(path: Path, logits: int) -> dict[str, int | None]:
    """The files of a CSV list with the columns `file` and, if it likes, `label`, in its order; None for an empty label.

    Raises:
        WelError: for other columns, an empty list, a file that is listed twice, or labels that are no class of the network.
    """
    expected = "the column file, different files in it, and perhaps a column label with whole numbers"
    table = _table(path, expected, ("file",), "Int64")
    if not len(table) or table["file"].isna().any() or table["file"].duplicated().any():
        raise WelError(f"Invalid file '{path}'. Expected {expected}.")
    labels = table["label"] if "label" in table else [None] * len(table)
    known = [None if pd.isna(label) else int(label) for label in labels]
    return dict(zip(table["file"], checked_labels(path, known, logits)))


def labels_from_array(path: Path, values: np.ndarray, logits: int) -> list[int | None]:
    """Labels that were stored beside images, one whole number each.

    Raises:
        WelError: for anything else, or labels that are no class of the network.
    """
    if values.dtype.kind not in "iu" or values.size != len(values):
        raise WelError(f"Invalid file '{path}'. Expected labels as one whole number per image. Received {values.dtype} {values.shape}.")
    return checked_labels(path, values.ravel().tolist(), logits)


def labels_from_folders(folders: Sequence[str], files: Sequence[Path], logits: int) -> list[int | None]:
    """The labels that class-named folders give to files (relative to the directory that holds the folders).

    Names that are all whole numbers below the number of classes are the classes. Others count in alphabetical order, as in
    Keras, if there are as many folders as classes; a subset of the folders would give wrong numbers, so it gives none. Nor do
    files that lie elsewhere than directly in these folders.
    """
    if any(len(path.parts) != 2 for path in files):
        return [None] * len(files)
    classes = classes_told(logits)
    if all(name.isdecimal() and int(name) < classes for name in folders):
        return [int(path.parts[0]) for path in files]
    if len(folders) != classes:
        return [None] * len(files)
    order = {name: i for i, name in enumerate(sorted(folders))}
    return [order[path.parts[0]] for path in files]


def checked_labels(path: Path, labels: Sequence[int | None], logits: int) -> list[int | None]:
    """The labels themselves: the numbers of logits, or 0 and 1 for a network with one.

    Raises:
        WelError: when one is no class of the network.
    """
    known = [label for label in labels if label is not None]
    highest = classes_told(logits) - 1
    if known and (min(known) < 0 or max(known) > highest):
        raise WelError(f"Invalid file '{path}'. Expected labels from 0 to {highest}. Received {min(known)} to {max(known)}.")
    return list(labels)


def _table(path: Path, expected: str, columns: Sequence[str], number: str) -> pd.DataFrame:
    try:
        table = pd.read_csv(path, dtype={"file": str, "label": number})
    except (ValueError, OverflowError, TypeError) as error:
        raise WelError(f"Invalid file '{path}'. Expected {expected}.") from error
    if not set(columns) <= set(table.columns):
        raise WelError(f"Invalid file '{path}'. Expected {expected}.")
    return table


def _normal(name: str) -> str:
    """The same letters may be stored in several ways, differently by macOS."""
    return unicodedata.normalize("NFC", name)
