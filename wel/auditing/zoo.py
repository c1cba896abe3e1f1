"""Audits of a list of models with their images, one report each, and one page with a table of them all."""

from __future__ import annotations

import csv
import gc
import hashlib
import io
import json
import shlex
import shutil
import tempfile
import time
from contextlib import contextmanager
from dataclasses import asdict, dataclass, field, fields
from functools import cache
from operator import itemgetter
from pathlib import Path
from typing import Any, Callable, Dict, Iterator, Mapping, NamedTuple, Sequence

from wel.auditing.audit import audit
from wel.auditing.checks import stored_predictions
from wel.auditing.index import INDEX, Summary, check_replaceable, summary_of, write_index
from wel.auditing.plan import MODES
from wel.auditing.report import RECORD, REPORT
from wel.backends.native.memory import batch_memory, within_memory
from wel.errors import WelError, first_line
from wel.images.load import ImageSet, load_images
from wel.networks.loading import load, parse_shape
from wel.networks.network import Network
from wel.networks.packing import Packed, packed, unpacked
from wel.networks.zoo import ZOO
from wel.studies.cluster import one_at_a_time
from wel.system.cluster import answers, check_alike, check_client, check_workers, facts, submitted, told_of, why_failed
from wel.system.files import contents_sha256, written_whole
from wel.system.progress import Steps

RUN = "run.json"
FILES = (RECORD, REPORT, RUN)  # of an audit
SOURCES = "sources.json"  # what it was made of; says that it is finished
PATHS = ("images", "labels", "fixed", "expect")
COLUMNS = ("model", *PATHS, "weights", "preprocess", "input_shape", "output_index", "input", "output")
WITHOUT_FILE = ("random", "imagenet")  # weights
RENEWED = 10  # seconds, after which the page is written anew: one of a thousand models takes a second
AHEAD = 1  # audits for each worker: with more the scheduler would hold more networks than there are workers
Fingerprint = Callable[[str], str]  # of a file or a directory


class Entry(NamedTuple):
    """A line of the list.

    Attributes:
        line: what it says, by its columns, without those that say nothing.
        model: a network of the zoo, or a file.
        given: what the other columns say, as flags of `wel audit` have it.
        folder: the report's, named after the model, what the line says, and how it is audited.
    """

    line: Mapping[str, str]
    model: str
    given: Mapping[str, str]
    folder: str

    @property
    def files(self) -> dict[str, str]:
        """Column -> the file or directory that it names."""
        weights = {"weights"} - {name for name, value in self.given.items() if value in WITHOUT_FILE}
        named = {name: value for name, value in self.given.items() if name in {*PATHS, *weights}}
        return named if self.model in ZOO else {"model": self.model, **named}


@dataclass(frozen=True)
class Manner:
    """How all models are audited: arguments of `wel.audit`."""

    mode: str = "quick"
    methods: str | Sequence[str] = "all"
    semantics: str = "both"
    seed: int = 0
    limit: int | None = None
    minutes: float | None = None


@dataclass
class ZooResult:
    """What became of a list.

    Attributes:
        page: the index page; beside it lies one folder for each audit.
        audits: folder -> what its report says, in short.
        refused: folder -> why its model, or the images, cannot be audited, or what has changed since they were.
        failed: folder -> the error that its audit ended in.
    """

    page: Path
    audits: dict[str, Summary] = field(default_factory=dict)
    refused: dict[str, str] = field(default_factory=dict)
    failed: dict[str, str] = field(default_factory=dict)


def read_entries(path: Path, manner: Manner) -> list[Entry]:
    """The lines of a CSV list with the column `model`, and, if it likes, the others of `COLUMNS`; files are found from where the list lies.

    Fields are parted by commas, or by semicolons where the headings are; lines without any field are left out, and equal ones there once.

    Raises:
        WelError: when it cannot be read, has other columns or one of them twice, no lines, or no model in a line.
    """
    columns, lines = _read(path)
    if "model" not in columns or not set(columns) <= set(COLUMNS) or len(set(columns)) < len(columns):
        raise _unusable(path, f" Received {', '.join(columns) or 'nothing'}.")
    if not lines:
        raise WelError(f"Invalid file '{path}'. Expected a line for each model. Received none.")
    entries = []
    for number, fields_ in lines:
        line = {name: value for name, value in zip(columns, fields_) if value}
        if "model" not in line or len(fields_) > len(columns):
            expected = "a model in every line, and no more fields than columns"
            raise WelError(f"Invalid file '{path}'. Expected {expected}. Received {fields_} in line {number}.")
        entries.append(_entry(path.parent, line, manner))
    return list({entry.folder: entry for entry in entries}.values())


def _read(path: Path) -> tuple[list[str], list[tuple[int, list[str]]]]:
    """The columns, and the fields of every line that has some, with its number."""
    try:
        text = path.read_bytes().decode("utf-8-sig")
        headings = text.strip().partition("\n")[0]
        parted = ";" if ";" in headings and "," not in headings else ","
        reader = csv.reader(io.StringIO(text, newline=""), delimiter=parted, strict=True)
        lines = [(reader.line_num, [value.strip() for value in line]) for line in reader]
    except UnicodeDecodeError as error:
        raise _unusable(path, " Received other text than UTF-8.") from error
    except (OSError, ValueError, csv.Error) as error:
        raise _unusable(path, f" It cannot be read ({first_line(error)}).") from error
    lines = [(number, line) for number, line in lines if any(line)]
    return ([name.lower() for name in lines[0][1]], lines[1:]) if lines else ([], [])


def _unusable(path: Path, received: str) -> WelError:
    expected = f"a CSV file in UTF-8 with the column model, and perhaps {', '.join(COLUMNS[1:])}"
    return WelError(f"Invalid file '{path}'. Expected {expected}.{received}")


def _entry(beside: Path, line: Mapping[str, str], manner: Manner) -> Entry:
    given = dict(line)
    told = hashlib.sha256(repr((sorted(given.items()), asdict(manner))).encode()).hexdigest()[:8]
    stem = "".join(sign if sign.isalnum() or sign in "-_" else "_" for sign in Path(given["model"]).stem)[:40]
    for name in PATHS:
        if name in given:
            given[name] = str(beside / given[name])
    if given.get("weights", WITHOUT_FILE[0]) not in WITHOUT_FILE:
        given["weights"] = str(beside / given["weights"])
    model = given.pop("model")
    return Entry(line, model if model in ZOO else str(beside / model), given, f"{stem}-{told}")


def zoo_audit(entries: Sequence[Entry], out: Path, manner: Manner, steps: Steps | None = None, client: Any = None) -> ZooResult:
    """Audits models one after another, or on workers, each in a folder of its own below `out`, and writes `index.html` there.

    An audit that is finished is taken as it is; when a file that its line names has changed since, that is told. What is refused, and what
    fails, stands in the table with its reason; nothing that a file carries is run, here or on a worker.

    Args:
        entries: from `read_entries`.
        out: the directory; an interrupted call goes on there.
        manner: how they are audited.
        steps: is told of progress, one step for each model.
        client: a `dask.distributed.Client`, of whose workers each audits a model at a time. The scheduler holds one network for each worker
            in its memory, this process one in all.

    Raises:
        WelError: when the directory cannot be written, or the workers cannot be used.
    """
    steps, out, fingerprint = steps or Steps(), Path(out), cache(contents_sha256)
    result = ZooResult(out / INDEX)
    try:
        out.mkdir(parents=True, exist_ok=True)
        check_replaceable(result.page)
    except OSError as error:
        raise WelError(f"Invalid value for `out`: '{out}'. Expected a directory that can be written ({error.strerror}).") from error
    if client is not None:
        check_client(client)
        steps.tell(told_of(client))
    steps.start(len(entries))
    missing = [entry for entry in entries if not _is_finished(entry, out, result, fingerprint)]
    steps.advance(len(entries) - len(missing))
    given, written = (missing, result, out, manner, fingerprint), -RENEWED
    try:
        for entry in _here(*given) if client is None or not missing else _by_workers(client, *given, steps):
            if time.monotonic() > written + RENEWED:
                write_index(result.page, entries, result.audits, result.refused, result.failed)
                written = time.monotonic()
            steps.advance(1, entry.folder)
    finally:
        write_index(result.page, entries, result.audits, result.refused, result.failed)
    return result


def _is_finished(entry: Entry, out: Path, result: ZooResult, fingerprint: Fingerprint) -> bool:
    """Whether there is an audit of a line already; notes it, and what has changed since."""
    folder = out / entry.folder
    try:
        then = json.loads((folder / SOURCES).read_text(encoding="utf-8"))
        result.audits[entry.folder] = summary_of(json.loads((folder / RECORD).read_text(encoding="utf-8")))
        now = _sources(entry, fingerprint)
    except (OSError, ValueError, KeyError, TypeError):
        return False
    changed = [name for name in now if now[name] != then.get(name)]
    if changed:
        expected = f"what was audited, another `out`, or '{entry.folder}' removed"
        result.refused[entry.folder] = f"Changed since it was audited: {', '.join(changed)}. Expected {expected}."
    return True


def _sources(entry: Entry, fingerprint: Fingerprint) -> Dict[str, str]:
    """What an audit is made of: column -> sha256 of what it names."""
    return {name: fingerprint(path) for name, path in entry.files.items()}


@contextmanager
def _noted(result: ZooResult, entry: Entry) -> Iterator[None]:
    """What one model in hundreds ends in is noted: the others are audited."""
    try:
        yield
    except WelError as error:
        result.refused[entry.folder] = str(error)
    except Exception as error:
        result.failed[entry.folder] = why_failed(error)
    finally:
        gc.collect()  # a network refers to itself, and Python by itself would wait until there are dozens


def _here(entries: Sequence[Entry], result: ZooResult, out: Path, manner: Manner, fingerprint: Fingerprint) -> Iterator[Entry]:
    for entry in entries:
        with _noted(result, entry):
            _finish(result, out, entry, *_audited(entry, out, manner, fingerprint))
        yield entry


def _audited(entry: Entry, out: Path, manner: Manner, fingerprint: Fingerprint) -> tuple[dict[str, Any], Dict[str, str]]:
    """The record of an audit in this process, and its sources."""
    net, pictures = _opened(entry, manner)
    sources, expect = _sources(entry, fingerprint), entry.given.get("expect")
    found = audit(net, pictures, out / entry.folder, **_arguments(entry, pictures, manner), expect=expect and Path(expect))
    return found.record, sources


def _finish(result: ZooResult, out: Path, entry: Entry, record: Mapping[str, Any], sources: Mapping[str, str]) -> None:
    result.audits[entry.folder] = summary_of(record)
    if record["stopped"]:
        result.refused[entry.folder] = record["stopped"]
    else:
        with written_whole(out / entry.folder / SOURCES) as path:
            path.write_text(json.dumps(sources), encoding="utf-8")


def _opened(entry: Entry, manner: Manner) -> tuple[Network, ImageSet]:
    given = entry.given
    shape = parse_shape(given.get("input_shape"))
    which = {name: given.get(name) for name in ("output", "output_index", "input", "fixed")}
    net = load(entry.model, given.get("weights"), input_shape=shape, **which)
    limit = manner.limit or MODES[manner.mode].images_for(net)
    pictures = load_images(net, given.get("images"), given.get("labels"), limit, given.get("preprocess"), keep_going=True)
    if "expect" in given:
        stored_predictions(net, Path(given["expect"]), pictures.inputs)
    return net, pictures


def _arguments(entry: Entry, pictures: ImageSet, manner: Manner) -> dict[str, Any]:
    asked = {one.name: getattr(manner, one.name) for one in fields(manner) if one.name != "limit"}
    return {**asked, "limit": len(pictures.names), "command": _command(entry, manner)}


def _command(entry: Entry, manner: Manner) -> str:
    """What gives the same report alone."""
    flags = [part for name, value in entry.given.items() for part in (f"--{name.replace('_', '-')}", value)]
    flags += ["--full"] if manner.mode == "full" else []
    flags += [] if manner.methods == "all" else ["--methods", ",".join(manner.methods)]
    several = {"semantics": manner.semantics, "seed": manner.seed, "limit": manner.limit, "minutes": manner.minutes}
    flags += [part for name, value in several.items() if value is not None for part in (f"--{name}", str(value))]
    return shlex.join(["wel", "audit", entry.model, *flags])


def _by_workers(
    client: Any, entries: Sequence[Entry], result: ZooResult, out: Path, manner: Manner, fingerprint: Fingerprint, steps: Steps
) -> Iterator[Entry]:
    there, memory, ended = check_workers(client), batch_memory(None), []

    def under_way() -> Iterator[_UnderWay]:
        """Of each model that can be opened; what travels is not kept here."""
        for entry in entries:
            found = None
            with _noted(result, entry):
                found = _sent(client, there, memory, entry, manner, fingerprint)
            if found is None:
                ended.append(entry)
            else:
                yield found

    for (entry, sources, _), answer in answers(client, under_way(), itemgetter(2), steps.tell, AHEAD):
        if isinstance(answer, WelError):
            raise answer
        if isinstance(answer, BaseException):
            result.failed[entry.folder] = why_failed(answer)
        elif isinstance(answer, str):
            result.refused[entry.folder] = answer
        else:
            with _noted(result, entry):
                _finish(result, out, entry, _written(out / entry.folder, answer), sources)
        yield entry
        yield from ended
        ended.clear()
    yield from ended


class _UnderWay(NamedTuple):
    """An audit that a worker has, or will have: its future."""

    entry: Entry
    sources: Dict[str, str]
    future: Any


def _sent(client: Any, there: Dict[str, str], memory: int, entry: Entry, manner: Manner, fingerprint: Fingerprint) -> _UnderWay:
    net, pictures = _opened(entry, manner)
    sources, expect = _sources(entry, fingerprint), entry.given.get("expect")
    task = packed(net), pictures, _arguments(entry, pictures, manner), Path(expect).read_bytes() if expect else None
    return _UnderWay(entry, sources, submitted(client, "wel-audit", audited_here, there, memory, *task))


def _written(folder: Path, files: Mapping[str, bytes]) -> dict[str, Any]:
    """Lays down the files of an audit, in the place of what an interrupted one has left."""
    whole = folder.with_name(f".{folder.name}")
    shutil.rmtree(whole, ignore_errors=True)
    whole.mkdir()
    for name in FILES:
        (whole / name).write_bytes(files[name])
    shutil.rmtree(folder, ignore_errors=True)
    whole.replace(folder)
    return json.loads(files[RECORD])


def audited_here(
    expected: dict[str, str], memory: int, network: Packed, pictures: ImageSet, arguments: dict[str, Any], expect: bytes | None
) -> dict[str, bytes] | str:
    """What a worker does with a model: the files of its audit, or why it cannot be audited.

    Raises:
        WelError: when this process computes other numbers than `expected`.
    """
    check_alike(expected, facts(), "the worker that took a model")
    gc.collect()  # the network before
    with one_at_a_time, within_memory(memory), tempfile.TemporaryDirectory() as scratch:
        folder, stored = Path(scratch) / "audit", Path(scratch) / "expect.npz"
        if expect is not None:
            stored.write_bytes(expect)
        try:
            audit(unpacked(network), pictures, folder, **arguments, expect=None if expect is None else stored)
        except WelError as error:
            return str(error)
        return {name: (folder / name).read_bytes() for name in FILES}
