"""Files: where downloads are kept, what a file's hash is, how a file is written so that it is never half there."""

from __future__ import annotations

import hashlib
import os
import re
import tempfile
from contextlib import contextmanager
from importlib import resources
from pathlib import Path
from typing import Any, Callable, Iterator


def keras_home() -> Path:
    """Keras's own cache folder, where weights and data sets are looked for."""
    return Path(os.environ.get("KERAS_HOME", Path.home() / ".keras"))


def file_sha256(path: Path) -> str:
    """sha256 of a file's bytes, in hexadecimal."""
    return file_hash(path, "sha256")


def file_hash(path: Path, algorithm: str) -> str:
    """The hash of a file's bytes, by an algorithm of `hashlib`, in hexadecimal."""
    digest = hashlib.new(algorithm)
    with open(path, "rb") as file:
        while block := file.read(1 << 20):
            digest.update(block)
    return digest.hexdigest()


def listing_sha256(folder: Path, told: Callable[[Path], Any]) -> str:
    """sha256 over the names of all files in a directory and what is told of each, in the order of their names."""
    files = sorted(file for file in folder.rglob("*") if file.is_file())
    listed = "".join(f"{file.relative_to(folder).as_posix()}\0{told(file)}\n" for file in files)
    return hashlib.sha256(listed.encode("utf-8", "surrogateescape")).hexdigest()


def contents_sha256(path: str | Path) -> str:
    """sha256 of a file's bytes; of a directory, which may be large, over the names and sizes of its files."""
    path = Path(path)
    return listing_sha256(path, lambda file: file.stat().st_size) if path.is_dir() else file_sha256(path)


def in_image() -> bool:
    """Whether this process runs in wel's container image; its Dockerfile says so."""
    return os.environ.get("WEL_IN_IMAGE") == "1"


@contextmanager
def written_whole(path: Path) -> Iterator[Path]:
    """Gives a temporary name beside `path`; renames it to `path` when the block succeeds, else removes it."""
    handle, name = tempfile.mkstemp(dir=path.parent, prefix=f".{path.stem}-", suffix=path.suffix)
    os.close(handle)
    temporary = Path(name)
    try:
        yield temporary
        temporary.chmod(0o644)
        temporary.replace(path)
    finally:
        temporary.unlink(missing_ok=True)


def file_stem(name: str) -> str:
    """A name as a part of a file name: with other characters than letters, digits, points and hyphens it ends in a part of its hash."""
    plain = re.sub(r"[^A-Za-z0-9._-]", "_", name)[:80]
    return plain if plain == name else f"{plain}-{hashlib.sha256(name.encode()).hexdigest()[:8]}"


def cache_folder() -> Path:
    """The user's cache for what wel makes."""
    return Path(os.environ.get("XDG_CACHE_HOME") or os.path.expanduser("~/.cache")) / "wel"


def package_folder() -> Path:
    """Where the package wel lies."""
    return Path(str(resources.files("wel")))


def checkout_folder() -> Path:
    """The folder in which the package lies: that of the checkout, or where packages are installed."""
    return package_folder().parent


def models_folder() -> Path:
    """Where the bundled weights and images lie: in the wheel `wel/models`, in a checkout `models`."""
    return _bundled("models", "models")


def original_folder() -> Path:
    """Where the scripts and the lock of the 2020 stack lie: in the wheel `wel/original`, in a checkout `experiments/original`."""
    return _bundled("original", "experiments/original")


def _bundled(packaged: str, checked_out: str) -> Path:
    folder = package_folder() / packaged
    return folder if folder.exists() else checkout_folder() / checked_out
