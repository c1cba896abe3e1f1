"""Keras archives (.keras) from strangers: zip files of which only the known members are read, and no more than they may hold."""

from __future__ import annotations

import io
import zipfile
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Iterator

from wel.errors import WelError
from wel.modelfiles import hdf5
from wel.modelfiles.budget import check_declared
from wel.modelfiles.configuration import LONGEST, parsed

METADATA, CONFIGURATION, WEIGHTS = "metadata.json", "config.json", "model.weights.h5"
MEMBERS = (METADATA, CONFIGURATION, WEIGHTS)
# the others that zip knows ask for as much memory as the archive says
METHODS = (zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED)
ENCRYPTED = 0x1


@dataclass(frozen=True)
class Archive:
    """The text members of an archive, and its weights in memory.

    Attributes:
        configuration: of the model.
        keras_version: that wrote the archive, None where it does not say.
        weights: an open HDF5 file.
    """

    configuration: dict
    keras_version: str | None
    weights: Any


@contextmanager
def opened(path: Path) -> Iterator[Archive]:
    """Reads a .keras archive.

    Raises:
        WelError: when it is no zip file or a broken one, lacks a member or has others than Keras's three, or declares more than it stores.
    """
    with _members(path) as (archive, members):
        for name in (CONFIGURATION, WEIGHTS):
            if name not in members:
                raise WelError(f"It holds no {name}.")
        configuration = parsed(_text(archive, members[CONFIGURATION]))
        version = _version(archive, members)
        with _weights(archive, members[WEIGHTS]) as weights:
            yield Archive(configuration, version, weights)


@contextmanager
def opened_weights(path: Path) -> Iterator[Any]:
    """The weights of a .keras archive, as an open HDF5 file.

    Raises:
        WelError: as `opened`.
    """
    with _members(path) as (archive, members):
        if WEIGHTS not in members:
            raise WelError(f"It holds no {WEIGHTS}.")
        with _weights(archive, members[WEIGHTS]) as weights:
            yield weights


@contextmanager
def _members(path: Path) -> Iterator[tuple[zipfile.ZipFile, dict[str, zipfile.ZipInfo]]]:
    try:
        archive = zipfile.ZipFile(path)
    except (zipfile.BadZipFile, OSError, ValueError, NotImplementedError) as error:
        raise WelError("It is no Keras archive, or a part of one. Expected a zip file that Keras saved.") from error
    with archive:
        members = archive.infolist()
        for member in members:
            _check(member)
        names = [member.filename for member in members]
        if len(set(names)) < len(names):
            raise WelError("It holds two members of one name.")
        yield archive, dict(zip(names, members))


def _check(member: zipfile.ZipInfo) -> None:
    name = member.filename
    if name.endswith(".npz"):
        raise WelError(f"It keeps its weights as pickles, which can carry code. Expected {WEIGHTS} in it.")
    if name.startswith("assets/"):
        raise WelError(f"It holds files of its own ({name[:80]!r}), such as vocabularies, which wel does not read.")
    if name not in MEMBERS:
        raise WelError(f"It holds {name[:80]!r}. Expected nothing but {', '.join(MEMBERS)}.")
    if member.flag_bits & ENCRYPTED:
        raise WelError(f"Its {name} is encrypted.")
    if member.compress_type not in METHODS:
        raise WelError(f"Its {name} is compressed in an unusual way. Expected it stored or deflated.")


def _text(archive: zipfile.ZipFile, member: zipfile.ZipInfo) -> bytes:
    with archive.open(member) as file:
        return file.read(LONGEST + 1)


def _version(archive: zipfile.ZipFile, members: dict[str, zipfile.ZipInfo]) -> str | None:
    if METADATA not in members:
        return None
    version = parsed(_text(archive, members[METADATA])).get("keras_version")
    if not isinstance(version, (str, type(None))):
        raise WelError("Its keras_version is no text.")
    return version


@contextmanager
def _weights(archive: zipfile.ZipFile, member: zipfile.ZipInfo) -> Iterator[Any]:
    # zipfile cannot go back in a member without reading it anew, so it is read once
    check_declared(member.file_size, member.compress_size)
    with hdf5.opened(io.BytesIO(archive.read(member)), member.compress_size) as file:
        yield file
