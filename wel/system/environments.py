"""Environments of their own: the wrapped packages and the 2020 stack, each made of a lock with hashes, under a Python that it works on.

A folder that holds one has a marker, which says what it holds: it is written before anything else, and says "unfinished" until the last
package is installed. Whoever makes an environment holds a lock on the marker, and pip with it.
"""

from __future__ import annotations

import fcntl
import os
import shutil
import subprocess
import sys
from contextlib import contextmanager
from dataclasses import dataclass
from importlib.util import find_spec
from pathlib import Path
from typing import IO, Callable, Iterator, Sequence

from wel.errors import WelError, invalid
from wel.system.arithmetic import CHOICE
from wel.system.files import cache_folder, checkout_folder, file_sha256, original_folder, package_folder

MARKER = ".wel-environment"
UNFINISHED = "unfinished"
# what the caller's interpreter and Keras are told, and another one must not hear
OF_THE_CALLER = ("PYTHONPATH", "PYTHONHOME", "PYTHONSAFEPATH", "__PYVENV_LAUNCHER__", "VIRTUAL_ENV")
OF_THE_CALLER += ("TF_USE_LEGACY_KERAS", "KERAS_BACKEND", CHOICE)
ELSEWHERE = ("PIP_PREFIX", "PIP_ROOT", "PIP_TARGET", "PIP_USER")  # where pip would put packages instead
# where interpreters lie that are not on the PATH
PLACES = (".pyenv/versions/{}.*/bin/python", ".local/share/uv/python/cpython-{}.*/bin/python")
ASKED = "import importlib.util, sys; print('%d.%d' % sys.version_info[:2], importlib.util.find_spec('ensurepip') is not None)"
NO_NETWORK = "connection broken by "


@dataclass(frozen=True)
class Environment:
    """An environment that wel installs.

    Attributes:
        name: as in `wel install NAME`.
        holds: what is in it, in words.
        pythons: the versions of Python that it works on, the best first.
        lock: gives the file with the pinned packages and their hashes.
        packages: modules with which the caller's own interpreter serves in its place.
    """

    name: str
    holds: str
    pythons: tuple[str, ...]
    lock: Callable[[], Path]
    packages: tuple[str, ...] = ()

    @property
    def variable(self) -> str:
        """The environment variable that names an interpreter to be taken."""
        return f"WEL_{self.name.upper()}_PYTHON"

    @property
    def wanted(self) -> str:
        """The versions of Python in words."""
        *others, last = self.pythons
        return f"Python {', '.join(others)} or {last}" if others else f"Python {last}"

    @property
    def folders(self) -> tuple[Path, Path]:
        """Where it is looked for: in the checkout, in the user's cache."""
        return checkout_folder() / f".venv-{self.name}", cache_folder() / self.name

    def python(self) -> str:
        """The interpreter that has the packages: the one that is named, the caller's own, the checkout's or the cache's.

        Raises:
            WelError: when there is none; the sentence says how to get it.
        """
        if named := os.environ.get(self.variable):
            if found := shutil.which(named):
                return found
            raise invalid(self.variable, named, f"a {self.wanted} that has {self.holds}")
        if self.packages and all(map(_is_installed, self.packages)):
            return sys.executable
        for folder in self.folders:
            if self.is_whole(folder):
                return _python(folder)
        raise WelError(
            f"The environment '{self.name}' ({self.holds}) is not installed in the version that this wel needs. "
            f"Expected `wel install {self.name}` to have been run, or {self.variable} to name a {self.wanted} that has it."
        )

    def is_whole(self, folder: Path) -> bool:
        """Whether a folder holds this environment, all of it, made of the lock of today."""
        return _marked(folder) == self._mark() and os.path.exists(_python(folder))

    def make(self, folder: Path, python: str, tell: Callable[[str, int, int], None] = lambda words, done, total: None) -> None:
        """Makes the environment in a folder, anew if it holds one that is unfinished or of another lock.

        Args:
            folder: new, empty, or one that holds such an environment.
            python: from `find_python`.
            tell: is told of progress: of what, how many packages of how many.

        Raises:
            WelError: when the folder cannot be used, or an environment cannot be made in it.
        """
        with self._claimed(folder) as marker:
            _write(marker, f"{self.name} {UNFINISHED}")
            _clear(folder)
            tell("a new environment", 0, 0)
            words = _last_words([python, "-I", "-m", "venv", str(folder)], marker)
            if words is not None:
                raise WelError(f"'{python} -m venv {folder}' failed: {words}")
            self._fill(folder, marker, tell)
            _write(marker, self._mark())

    def find_python(self, named: str | None = None) -> str:
        """An interpreter to make the environment with: the one that is named, else the first that is found.

        Raises:
            WelError: when the named one cannot be taken, or none is found.
        """
        if named is not None:
            return self._checked(named)
        bare = []
        for python, version, has_pip in interpreters(self.pythons):
            if has_pip:
                return python
            bare.append(version)
        raise WelError(
            f"The environment '{self.name}' needs {self.wanted}, and there is none on the PATH nor below '{Path.home()}'. "
            f"Expected one to be installed, or named by `--python`.{_needs_package(bare[0]) if bare else ''}"
        )

    def _checked(self, named: str) -> str:
        python = shutil.which(os.path.expanduser(named))
        if python is None:
            raise invalid("python", named, f"{self.wanted}; there is no such program")
        version, has_pip = _asked(python)
        if version not in self.pythons:
            found = f"that is Python {version}" if version else "that one does not run"
            raise invalid("python", named, f"{self.wanted}; {found}")
        if not has_pip:
            raise invalid("python", named, f"one that can make environments.{_needs_package(version)}".removesuffix("."))
        return python

    @contextmanager
    def _claimed(self, folder: Path) -> Iterator[IO[str]]:
        """The folder's marker, locked as long as the block lasts."""
        try:
            held = _marked(folder)
            if held is None and folder.exists() and (not folder.is_dir() or any(folder.iterdir())):
                raise invalid("into", str(folder), "a new or empty folder, or one that `wel install` has made")
            if held and held.split()[0] != self.name:
                raise invalid("into", str(folder), f"another folder: that one holds the environment '{held.split()[0]}'")
            folder.mkdir(parents=True, exist_ok=True)
            with open(folder / MARKER, "a", encoding="utf-8") as marker:
                fcntl.flock(marker, fcntl.LOCK_EX | fcntl.LOCK_NB)
                yield marker
        except BlockingIOError as error:
            raise WelError(f"The environment in '{folder}' is being made by another process. Expected that one to end first.") from error
        except OSError as error:
            raise invalid("into", str(folder), f"a folder that can be written ({error.strerror or error})") from error

    def _fill(self, folder: Path, marker: IO[str], tell: Callable[[str, int, int], None]) -> None:
        total = sum(line[0].isalnum() for line in self.lock().read_text(encoding="utf-8").splitlines() if line)
        options = ["--require-hashes", "--no-input", "--disable-pip-version-check", "--requirement", str(self.lock())]
        done = ignored = 0

        def listen(line: str) -> None:
            nonlocal done, ignored
            word, *rest = line.split() or [""]
            ignored += word == "Ignoring"  # what the lock has for other versions of Python
            if word in ("Collecting", "Processing"):
                done += 1
                tell(rest[0].rsplit("/", 1)[-1], done, total - ignored)
            elif word == "Installing":
                tell("installing", total - ignored, total - ignored)

        words = _last_words([_python(folder), "-m", "pip", "install", *options], marker, listen)
        if words is not None:
            raise WelError(f"The environment '{self.name}' cannot be installed. pip says: {words}")

    def _mark(self) -> str:
        return f"{self.name} {file_sha256(self.lock())}"


def interpreters(versions: Sequence[str]) -> Iterator[tuple[str, str, bool]]:
    """The interpreters of such versions that are there, the first version first: path, version, and whether it can make environments."""
    for python in _candidates(versions):
        version, has_pip = _asked(python)
        if version and version in versions:
            yield python, version, has_pip


def outside(environment: dict[str, str] | None = None) -> dict[str, str]:
    """The environment variables for a process under another interpreter: the caller's but for what is meant for its own."""
    kept = {name: value for name, value in os.environ.items() if name not in OF_THE_CALLER}
    return {**kept, **(environment or {})}


def _python(folder: Path) -> str:
    return str(folder / "bin" / "python")


def _is_installed(package: str) -> bool:
    """Whether it is there in files: a folder of that name alone, as among tests, is none."""
    found = find_spec(package)
    return found is not None and found.origin is not None


def _candidates(versions: Sequence[str]) -> Iterator[str]:
    yield sys.executable
    for version in versions:
        yield from filter(None, [shutil.which(f"python{version}")])
        for place in PLACES:
            yield from map(str, sorted(Path.home().glob(place.format(version)), reverse=True))
    yield from filter(None, map(shutil.which, ("python3", "python")))


def _marked(folder: Path) -> str | None:
    try:
        return (folder / MARKER).read_text(encoding="utf-8").strip()
    except (OSError, UnicodeDecodeError):
        return None


def _write(marker: IO[str], text: str) -> None:
    marker.truncate(0)
    marker.write(f"{text}\n")
    marker.flush()


def _clear(folder: Path) -> None:
    for path in folder.iterdir():
        if path.is_dir() and not path.is_symlink():
            shutil.rmtree(path)
        elif path.name != MARKER:
            path.unlink()


def _asked(python: str) -> tuple[str | None, bool]:
    """The version of an interpreter, None if it does not run, and whether it can give pip to an environment."""
    try:
        done = subprocess.run([python, "-I", "-c", ASKED], capture_output=True, text=True, env=outside(), timeout=60)
    except (OSError, subprocess.TimeoutExpired):
        return None, False
    words = done.stdout.split()
    return (words[0], words[1] == "True") if done.returncode == 0 and len(words) == 2 else (None, False)


def _needs_package(version: str) -> str:
    return f" On Debian and Ubuntu, that of the system needs the package python{version}-venv."


def _last_words(command: Sequence[str], marker: IO[str], listen: Callable[[str], None] = lambda line: None) -> str | None:
    """Runs a command, whose lines `listen` is told; None when it succeeds, else what it said last."""
    environment = {name: value for name, value in outside({"PYTHONUNBUFFERED": "1"}).items() if name not in ELSEWHERE}
    pipes = {"stdin": subprocess.DEVNULL, "stdout": subprocess.PIPE, "stderr": subprocess.STDOUT}
    said = cut = ""
    with subprocess.Popen(command, text=True, env=environment, pass_fds=[marker.fileno()], **pipes) as process:
        try:
            for line in process.stdout:
                listen(line.strip())
                said = line.strip().removeprefix("ERROR: ") or said
                cut = cut or line.partition(NO_NETWORK)[2].strip()
        except BaseException:
            process.terminate()
            raise
    if process.returncode == 0:
        return None
    return f"{said}. The network failed before: {cut}" if cut else said


WRAPPED = Environment(
    "wrapped",
    "TensorFlow 2.14, innvestigate 2.1.2 and deeplift 0.6.13",
    ("3.11", "3.10", "3.9"),
    lambda: package_folder() / "backends" / "requirements-wrapped.lock",
    ("innvestigate", "deeplift"),
)
ORIGINAL = Environment(
    "original",
    "TensorFlow 1.13, Keras 2.2.4, innvestigate 1.0.8 and deeplift 0.6.9",
    ("3.7",),
    lambda: original_folder() / "requirements.lock",
)
ENVIRONMENTS = {one.name: one for one in (WRAPPED, ORIGINAL)}
