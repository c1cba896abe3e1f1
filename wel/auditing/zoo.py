"""Audits of a list of models with their images, one report each, and one page with a table of them all."""

from __future__ import annotations

import csv
import hashlib
import json
import shlex
import tempfile
import uuid
import warnings
from dataclasses import asdict, dataclass, field, fields
from pathlib import Path
from typing import Any, Iterator, Mapping, NamedTuple, Sequence

from wel.auditing.audit import audit
from wel.auditing.index import INDEX, write_index
from wel.auditing.plan import MODES
from wel.auditing.report import RECORD, REPORT
from wel.backends.native.memory import batch_memory, within_memory
from wel.errors import WelError
from wel.images.load import ImageSet, load_images
from wel.networks.loading import load, parse_shape
from wel.networks.network import Network
from wel.networks.packing import Packed, packed, unpacked
from wel.networks.zoo import ZOO
from wel.studies.cluster import TRIES, one_at_a_time
from wel.system.cluster import answers, check_alike, check_client, check_workers, facts, told_of, why_failed
from wel.system.files import file_sha256, written_whole
from wel.system.progress import Steps

RUN = "run.json"
FILES = (RECORD, REPORT, RUN)  # of an audit; the last one says that it is finished
PATHS = ("images", "labels", "fixed", "expect")
COLUMNS = ("model", *PATHS, "weights", "preprocess", "input_shape", "output_index", "input", "output")


class Entry(NamedTuple):
    """A line of the list.

    Attributes:
        model: a network of the zoo, or a file.
        given: what the other columns say, as flags of `wel audit` have it.
        folder: the report's, named after the model, what the line says, and how it is audited.
    """

    model: str
    given: Mapping[str, str]
    folder: str


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
        records: folder -> what its `audit.json` says.
        refused: folder -> why its model, or the images, cannot be audited.
        failed: folder -> the error that its audit ended in.
    """

    page: Path
    records: dict[str, dict[str, Any]] = field(default_factory=dict)
    refused: dict[str, str] = field(default_factory=dict)
    failed: dict[str, str] = field(default_factory=dict)


def read_entries(path: Path, manner: Manner) -> list[Entry]:
    """The lines of a CSV list with the column `model`, and, if it likes, the others of `COLUMNS`; files are found from where the list lies.

    Raises:
        WelError: when it cannot be read, has other columns or one of them twice, no lines, or no model in a line.
    """
    expected = f"a CSV file with the column model, and perhaps {', '.join(COLUMNS[1:])}"
    try:
        with open(path, newline="", encoding="utf-8-sig") as file:
            reader = csv.DictReader(file, strict=True)
            columns, lines = list(reader.fieldnames or []), list(reader)
    except (OSError, ValueError, csv.Error) as error:
        raise WelError(f"Invalid file '{path}'. Expected {expected}.") from error
    if "model" not in columns or not set(columns) <= set(COLUMNS) or len(set(columns)) < len(columns):
        raise WelError(f"Invalid file '{path}'. Expected {expected}. Received {', '.join(columns) or 'nothing'}.")
    if not lines:
        raise WelError(f"Invalid file '{path}'. Expected a line for each model. Received none.")
    if not all((line["model"] or "").strip() and None not in line for line in lines):
        raise WelError(f"Invalid file '{path}'. Expected a model in every line, and no more fields than columns.")
    entries = [_entry(path.parent, {name: (value or "").strip() for name, value in line.items()}, manner) for line in lines]
    return list({entry.folder: entry for entry in entries}.values())


def _entry(beside: Path, line: Mapping[str, str], manner: Manner) -> Entry:
    given = {name: value for name, value in line.items() if value}
    told = hashlib.sha256(repr((sorted(given.items()), asdict(manner))).encode()).hexdigest()[:8]
    stem = "".join(sign if sign.isalnum() or sign in "-_" else "_" for sign in Path(given["model"]).stem)[:40]
    for name in PATHS:
        if name in given:
            given[name] = str(beside / given[name])
    if given.get("weights", "random") not in ("random", "imagenet"):
        given["weights"] = str(beside / given["weights"])
    model = given.pop("model")
    return Entry(model if model in ZOO else str(beside / model), given, f"{stem}-{told}")


def zoo_audit(entries: Sequence[Entry], out: Path, manner: Manner, steps: Steps | None = None, client: Any = None) -> ZooResult:
    """Audits models one after another, or on workers, each in a folder of its own below `out`, and writes `index.html` there.

    An audit that is finished is taken as it is; when the model's file has changed since, that is told. What is refused, and what fails,
    stands in the table with its reason; nothing that a file carries is run, here or on a worker.

    Args:
        entries: from `read_entries`.
        out: the directory; an interrupted call goes on there.
        manner: how they are audited.
        steps: is told of progress, one step for each model.
        client: a `dask.distributed.Client`, of whose workers each audits a model at a time.

    Raises:
        WelError: when the directory cannot be written, or the workers cannot be used.
    """
    steps, result = steps or Steps(), ZooResult(Path(out) / INDEX)
    try:
        Path(out).mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise WelError(f"Invalid value for `out`: '{out}'. Expected a directory that can be written ({error.strerror}).") from error
    if client is not None:
        check_client(client)
        steps.tell(told_of(client))
    steps.start(len(entries))
    missing = []
    for entry in entries:
        record = _finished(Path(out) / entry.folder)
        if record is None:
            missing.append(entry)
            continue
        result.records[entry.folder] = record
        if not _is_as_audited(record["model"]):
            result.refused[entry.folder] = (
                f"Its file has changed since it was audited. Expected another `out`, or '{entry.folder}' removed."
            )
        steps.advance(1, entry.folder)
    audited = (
        _here(missing, result, out, manner) if client is None or not missing else _by_workers(client, missing, result, out, manner, steps)
    )
    for entry in audited:
        write_index(result.page, entries, result.records, {**result.refused, **result.failed})
        steps.advance(1, entry.folder)
    write_index(result.page, entries, result.records, {**result.refused, **result.failed})
    return result


def _finished(folder: Path) -> dict[str, Any] | None:
    """The record of an audit that is finished; else None."""
    try:
        finished = json.loads((folder / RUN).read_text(encoding="utf-8"))["finished"]
        record = json.loads((folder / RECORD).read_text(encoding="utf-8"))
    except (OSError, ValueError, KeyError, TypeError):
        return None
    return record if finished else None


def _is_as_audited(model: Mapping[str, Any]) -> bool:
    path = model["file"] and Path(model["file"])
    return not path or path.is_file() and file_sha256(path) == model["sha256"]


def _here(entries: Sequence[Entry], result: ZooResult, out: Path, manner: Manner) -> Iterator[Entry]:
    for entry in entries:
        try:
            net, pictures = _opened(entry, manner)
            expect = entry.given.get("expect")
            record = audit(net, pictures, out / entry.folder, **_arguments(entry, pictures, manner), expect=expect and Path(expect)).record
            _note(result, entry, record)
        except WelError as error:
            result.refused[entry.folder] = str(error)
        except Exception as error:  # of one model in hundreds: the others are audited
            result.failed[entry.folder] = why_failed(error)
        yield entry


def _opened(entry: Entry, manner: Manner) -> tuple[Network, ImageSet]:
    given = entry.given
    shape = parse_shape(given.get("input_shape"))
    which = {name: given.get(name) for name in ("output", "output_index", "input", "fixed")}
    net = load(entry.model, given.get("weights"), input_shape=shape, **which)
    limit = manner.limit or MODES[manner.mode].images_for(net)
    return net, load_images(net, given.get("images"), given.get("labels"), limit, given.get("preprocess"), keep_going=True)


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


def _note(result: ZooResult, entry: Entry, record: dict[str, Any]) -> None:
    result.records[entry.folder] = record
    if record["stopped"]:
        result.refused[entry.folder] = record["stopped"]


class _Task(NamedTuple):
    """An audit on its way to a worker."""

    entry: Entry
    network: Packed
    pictures: ImageSet
    arguments: dict[str, Any]
    expect: bytes | None


def _by_workers(client: Any, entries: Sequence[Entry], result: ZooResult, out: Path, manner: Manner, steps: Steps) -> Iterator[Entry]:
    there, memory, refused = check_workers(client), batch_memory(None), []

    def tasks() -> Iterator[_Task]:
        for entry in entries:
            try:
                net, pictures = _opened(entry, manner)
                expect = entry.given.get("expect")
                content = Path(expect).read_bytes() if expect else None
                yield _Task(entry, packed(net), pictures, _arguments(entry, pictures, manner), content)
            except (WelError, OSError) as error:
                result.refused[entry.folder] = str(error)
                refused.append(entry)

    def submit(task: _Task) -> Any:
        with warnings.catch_warnings():  # of its size
            warnings.simplefilter("ignore", UserWarning)
            key = f"wel-audit-{uuid.uuid4().hex}"
            return client.submit(audited_here, there, memory, *task[1:], key=key, retries=TRIES - 1, pure=False)

    for task, answer in answers(client, tasks(), submit, steps.tell):
        folder = task.entry.folder
        if isinstance(answer, str):
            result.refused[folder] = answer
        elif isinstance(answer, WelError):
            raise answer
        elif isinstance(answer, BaseException):
            result.failed[folder] = why_failed(answer)
        else:
            _note(result, task.entry, _written(out / folder, answer))
        yield task.entry
        yield from refused
        refused.clear()
    yield from refused


def _written(folder: Path, files: Mapping[str, bytes]) -> dict[str, Any]:
    folder.mkdir(exist_ok=True)
    for name in FILES:
        with written_whole(folder / name) as path:
            path.write_bytes(files[name])
    return json.loads(files[RECORD])


def audited_here(
    expected: dict[str, str], memory: int, network: Packed, pictures: ImageSet, arguments: dict[str, Any], expect: bytes | None
) -> dict[str, bytes] | str:
    """What a worker does with a model: the files of its audit, or why it cannot be audited.

    Raises:
        WelError: when this process computes other numbers than `expected`.
    """
    check_alike(expected, facts(), "the worker that took a model")
    with one_at_a_time, within_memory(memory), tempfile.TemporaryDirectory() as scratch:
        folder, stored = Path(scratch) / "audit", Path(scratch) / "expect.npz"
        if expect is not None:
            stored.write_bytes(expect)
        try:
            audit(unpacked(network), pictures, folder, **arguments, expect=None if expect is None else stored)
        except WelError as error:
            return str(error)
        return {name: (folder / name).read_bytes() for name in FILES}
