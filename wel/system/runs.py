"""A run: one directory of results that says how it was made, and that an interrupted study goes on from."""

from __future__ import annotations

import json
import os
import platform
import shutil
from contextlib import contextmanager
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any, Callable, Iterator, Mapping, Sequence
from zipfile import BadZipFile

import numpy as np
import pandas as pd

from wel.errors import WelError, invalid
from wel.system.arithmetic import arithmetic
from wel.system.devices import adding_threads, used_device
from wel.system.files import written_whole

PACKAGES = ("wel", "python", "tensorflow", "keras", "tf_keras", "innvestigate", "deeplift", "numpy", "scipy", "scikit-learn", "pandas")


def read_exactly(path: Path, **settings: Any) -> pd.DataFrame:
    """A csv, its numbers to the last bit, which pandas before 3 reads when it is asked to and later versions by themselves."""
    asked = {"float_precision": "round_trip"} if int(pd.__version__.split(".")[0]) < 3 else {}
    return pd.read_csv(path, **asked, **settings)


class Run:
    """A run directory: `run.json` (everything needed to repeat the run), results, and `parts/` while the study is under way.

    Attributes:
        folder: the directory.
        finished: whether the study that `run.json` describes is done.
    """

    def __init__(self, folder: Path, request: dict[str, Any], context: dict[str, Any]):
        """Opens a directory for a study, new or interrupted.

        Args:
            folder: is made if it does not exist.
            request: what decides the numbers; a directory that holds another request is refused.
            context: what else is worth keeping.

        Raises:
            WelError: when the directory cannot be written, or holds something else.
        """
        self.folder = folder
        request = json.loads(json.dumps(request))
        self.finished = self._opened(request)
        if not self.finished:
            self.record = {
                "request": request,
                "context": context,
                "versions": versions(),
                "device": used_device(),
                "arithmetic": arithmetic(),
                "threads": adding_threads(),
            }
            self._write_record(finished=False)

    @property
    def parts(self) -> Path:
        """Where unfinished work is kept."""
        return self.folder / "parts"

    def save_part(self, name: str, arrays: Mapping[str, np.ndarray]) -> None:
        """Keeps one piece of unfinished work."""
        with self._written(f"parts/{name}.npz") as path, open(path, "wb") as file:
            np.savez(file, **arrays)

    def load_parts(self, prefix: str) -> dict[str, dict[str, np.ndarray]]:
        """The pieces whose names begin with `prefix`, by the rest of their names, in that order."""
        return {path.stem[len(prefix) :]: _read(path, _arrays) for path in self._parts(prefix)}

    def drop_parts(self, prefix: str) -> None:
        """Removes the pieces whose names begin with `prefix`."""
        for path in self._parts(prefix):
            path.unlink(missing_ok=True)  # another command in this directory may have been faster

    def _parts(self, prefix: str) -> list[Path]:
        """Half-written pieces have names that begin with a point; they are none."""
        try:
            found = [path for path in self.parts.iterdir() if path.suffix == ".npz" and not path.name.startswith(".")]
        except OSError as error:
            raise self._unwritable(error) from error
        return sorted(path for path in found if path.name.startswith(prefix))

    def save_json(self, name: str, content: Any) -> None:
        """Keeps a finished piece of the study."""
        self.write_text(f"parts/{name}.json", json.dumps(content))

    def load_json(self, name: str) -> Any | None:
        """A finished piece of the study, None if there is none."""
        path = self.parts / f"{name}.json"
        return _read(path, _json) if path.exists() else None

    def write_text(self, name: str, text: str) -> None:
        """Writes a result file, whole or not at all."""
        with self._written(name) as path:
            path.write_text(text, encoding="utf-8")

    def write_table(self, name: str, table: pd.DataFrame) -> None:
        """Writes a table as csv, whole or not at all."""
        self.write_text(name, table.to_csv(index=False))

    def read_table(self, name: str, text: Sequence[str] = ()) -> pd.DataFrame:
        """A table that `write_table` wrote, the same to the last bit; the columns `text` hold text only."""
        dtype = dict.fromkeys(text, str)
        return read_exactly(self.folder / name, keep_default_na=False, na_values=[""], dtype=dtype)

    @contextmanager
    def _written(self, name: str) -> Iterator[Path]:
        try:
            with written_whole(self.folder / name) as path:
                yield path
        except OSError as error:
            raise self._unwritable(error) from error

    def _unwritable(self, error: OSError) -> WelError:
        if not self.record["finished"] and (self._existing_record() or {}).get("finished"):
            reason = "a directory in which no other command works: one has finished this run meanwhile"
            return invalid("out", str(self.folder), reason)
        return invalid("out", str(self.folder), f"a directory that can be written ({error.strerror or error})")

    def finish(self, **context: Any) -> None:
        """Marks the run as done and removes the unfinished work."""
        self.record["context"].update(context)
        self._write_record(finished=True)
        shutil.rmtree(self.parts, ignore_errors=True)
        self.finished = True

    def _opened(self, request: dict) -> bool:
        record = self._existing_record()
        if record is not None and record["request"] != request:
            other = _differences(record["request"], request)
            raise invalid("out", str(self.folder), f"a new directory: this one holds a run with other settings ({other})")
        self.record = record or {"finished": False}
        try:
            if record is None and not self._is_free():
                raise invalid("out", str(self.folder), "a new or empty directory, or one that an earlier run of wel made")
            self.folder.mkdir(parents=True, exist_ok=True)
            if not self.record["finished"]:
                self.parts.mkdir(exist_ok=True)
        except OSError as error:
            raise self._unwritable(error) from error
        return self.record["finished"]

    def _is_free(self) -> bool:
        """Whether there is nothing of anybody's: a run that was killed before its record was written leaves no more than this."""
        if not self.folder.is_dir():
            return True
        others = [path for path in self.folder.iterdir() if not path.name.startswith(".run-")]
        return all(path == self.parts and path.is_dir() and not any(path.iterdir()) for path in others)

    def _existing_record(self) -> dict | None:
        path = self.folder / "run.json"
        if not os.path.lexists(path):
            return None
        record = _read(path, _json)
        if not (isinstance(record, dict) and isinstance(record.get("request"), dict) and isinstance(record.get("finished"), bool)):
            raise _unreadable(path)
        return record

    def _write_record(self, finished: bool) -> None:
        self.record["finished"] = finished
        self.write_text("run.json", json.dumps(self.record, indent=2, ensure_ascii=False) + "\n")


def _read(path: Path, reader: Callable[[Path], Any]) -> Any:
    try:
        return reader(path)
    except (OSError, ValueError, EOFError, BadZipFile) as error:
        raise _unreadable(path) from error


def _unreadable(path: Path) -> WelError:
    return WelError(f"Invalid file '{path}': it cannot be read as part of a run. Expected another `out`, or the directory removed.")


def _json(path: Path) -> Any:
    return json.loads(path.read_text(encoding="utf-8"))


def _arrays(path: Path) -> dict[str, np.ndarray]:
    with open(path, "rb") as file, np.load(file) as arrays:
        return {key: arrays[key] for key in arrays.files}


def _differences(old: dict, new: dict) -> str:
    return ", ".join(key for key in sorted({*old, *new}) if key not in old or key not in new or old[key] != new[key])


def versions() -> dict[str, str]:
    """The versions of wel, Python and the packages that numbers depend on."""
    found = {}
    for package in PACKAGES:
        try:
            found[package] = platform.python_version() if package == "python" else version(package)
        except PackageNotFoundError:
            continue
    return found
