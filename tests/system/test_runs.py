"""wel.system.runs: a directory that goes on where it stopped, and refuses what is not its own."""

from __future__ import annotations

import errno
import json
from pathlib import Path

import numpy as np
import pytest

from wel import __version__
from wel.errors import WelError
from wel.system import runs
from wel.system.runs import Run

REQUEST = {"study": "csc", "seed": 0, "start": ("fc6", "fc5")}


@pytest.fixture
def folder(tmp_path):
    return tmp_path / "runs" / "one"


def opened(folder, request=REQUEST, **context) -> Run:
    return Run(folder, request, context)


def record(folder) -> dict:
    return json.loads((folder / "run.json").read_text(encoding="utf-8"))


def files(folder) -> list[str]:
    return sorted(str(path.relative_to(folder)) for path in folder.rglob("*"))


def refused(folder, match: str, request=REQUEST) -> None:
    with pytest.raises(WelError, match=match) as caught:
        opened(folder, request)
    assert "\n" not in str(caught.value)


def test_new_directory(folder):
    run = opened(folder, images=["ä.png"])
    assert not run.finished and run.folder == folder and run.parts.is_dir()
    written = record(folder)
    assert written["request"] == {"study": "csc", "seed": 0, "start": ["fc6", "fc5"]}
    assert written["context"] == {"images": ["ä.png"]} and written["finished"] is False
    assert written["versions"]["wel"] == __version__ and {"python", "numpy", "tensorflow"} <= written["versions"].keys()
    assert "ä.png" in (folder / "run.json").read_text(encoding="utf-8")


def test_empty_directory_is_taken(tmp_path):
    assert opened(tmp_path).folder == tmp_path


def test_same_request_goes_on(folder):
    opened(folder).save_part("cell0-000001", {"a": np.arange(3)})
    run = opened(folder)
    assert not run.finished
    (part,) = run.load_parts("cell0-").values()
    np.testing.assert_array_equal(part["a"], np.arange(3))


def test_finished_run_stays_as_it_is(folder):
    run = opened(folder, images=3)
    run.save_part("p", {"a": np.zeros(1)})
    run.write_text("csc.csv", "a,b\n")
    run.finish(skipped={"x": "why"})
    assert run.finished and files(folder) == ["csc.csv", "run.json"]
    before = (folder / "run.json").read_bytes()
    again = opened(folder, images=99)
    assert again.finished and again.record["context"] == {"images": 3, "skipped": {"x": "why"}}
    assert (folder / "run.json").read_bytes() == before and files(folder) == ["csc.csv", "run.json"]


@pytest.mark.parametrize("finished", [False, True])
@pytest.mark.parametrize(
    "other, differs",
    [
        ({**REQUEST, "seed": 1}, "seed"),
        ({**REQUEST, "seed": 1, "study": "x"}, "seed, study"),
        ({**REQUEST, "more": None}, "more"),
        ({"study": "csc", "start": ["fc6", "fc5"]}, "seed"),
    ],
)
def test_other_request_is_refused(folder, other, differs, finished):
    run = opened(folder)
    run.write_text("csc.csv", "kept")
    if finished:
        run.finish()
    before = record(folder)
    refused(folder, rf"^Invalid value for `out`: '.*'\. Expected a new directory: .* other settings \({differs}\)\.$", other)
    assert record(folder) == before and (folder / "csc.csv").read_text() == "kept"


@pytest.mark.parametrize("name", ["notes.txt", ".hidden", "parts/a.npz"])
def test_directory_of_somebody_else_is_refused(tmp_path, name):
    (tmp_path / name).parent.mkdir(exist_ok=True)
    (tmp_path / name).write_text("mine")
    before = files(tmp_path)
    refused(tmp_path, r"Expected a new or empty directory, or one that an earlier run of wel made\.$")
    assert files(tmp_path) == before


def test_run_that_was_killed_before_its_record_was_written(tmp_path):
    (tmp_path / ".run-abc123.json").write_text("{")
    (tmp_path / "parts").mkdir()
    assert not opened(tmp_path).finished
    assert record(tmp_path)["request"]["study"] == "csc"


@pytest.mark.parametrize(
    "content", ["", "{", "[]", "7", "{}", '{"request": []}', '{"request": {}}', '{"request": {}, "finished": "no"}', "\xff"]
)
def test_record_that_cannot_be_read(tmp_path, content):
    (tmp_path / "run.json").write_bytes(content.encode("latin-1"))
    refused(tmp_path, r"^Invalid file '.*run\.json': it cannot be read as part of a run\.")
    assert (tmp_path / "run.json").read_bytes() == content.encode("latin-1")


def test_record_that_is_a_directory(tmp_path):
    (tmp_path / "run.json").mkdir()
    refused(tmp_path, r"^Invalid file '.*run\.json'")


@pytest.mark.parametrize("inside", [".", "below", "below/further"])
def test_file_in_place_of_a_directory(tmp_path, inside):
    (tmp_path / "file").write_text("mine")
    refused(tmp_path / "file" / inside, r"^Invalid value for `out`: '.*'\. Expected a directory that can be written \(.+\)\.$")
    assert (tmp_path / "file").read_text() == "mine"


def test_directory_that_the_system_does_not_give():
    refused(Path("/proc/x"), r"^Invalid value for `out`: '/proc/x'\. Expected a directory that can be written \(.+\)\.$")
    assert not Path("/proc/x").exists()


def test_directory_that_cannot_be_listed(tmp_path, monkeypatch):
    def denied(path):
        raise PermissionError(errno.EACCES, "Permission denied")

    monkeypatch.setattr(Path, "iterdir", denied)
    refused(tmp_path, r"Expected a directory that can be written \(Permission denied\)")


def test_disk_that_is_full(folder, monkeypatch):
    run = opened(folder)
    run.save_json("done", {"a": 1})

    def full(path):
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(runs, "written_whole", full)
    message = r"Expected a directory that can be written \(No space left on device\)"
    for write in (lambda: run.write_text("a.csv", "a"), lambda: run.save_part("a", {}), lambda: run.save_json("a", 1), run.finish):
        with pytest.raises(WelError, match=message):
            write()
    refused(folder, message)
    monkeypatch.undo()
    assert opened(folder).load_json("done") == {"a": 1}


def test_parts_round_trip(folder):
    run = opened(folder)
    arrays = {"done": np.array([3, 1]), "0/counts": np.arange(6, dtype="uint64").reshape(2, 3), "empty": np.zeros((0, 2), "float32")}
    run.save_part("cell1-000001", arrays)
    run.save_part("cell0-000002", {"x": np.float64(0.1)})
    run.save_part("cell0-000001", {"x": np.float64(np.nan)})
    first, second = run.load_parts("cell0-").values()
    assert np.isnan(first["x"]) and second["x"] == 0.1
    (part,) = run.load_parts("cell1-").values()
    assert part.keys() == arrays.keys()
    for key, array in arrays.items():
        assert part[key].dtype == array.dtype
        np.testing.assert_array_equal(part[key], array)
    assert len(run.load_parts("")) == 3 and run.load_parts("cell2") == {}


def test_part_is_replaced(folder):
    run = opened(folder)
    for value in (1, 2):
        run.save_part("a", {"x": np.array(value)})
    assert [part["x"] for part in run.load_parts("a").values()] == [2]


def test_drop_parts(folder):
    run = opened(folder)
    for name in ("a-1", "a-2", "b-1"):
        run.save_part(name, {"x": np.array(1)})
    run.save_json("a", [1])
    run.drop_parts("a-")
    assert files(run.parts) == ["a.json", "b-1.npz"]


def test_prefix_is_no_pattern(folder):
    run = opened(folder)
    for name in ("a[1]-1", "a1-1", "b-1"):
        run.save_part(name, {"x": np.array(1)})
    assert len(run.load_parts("a[1]-")) == 1 and run.load_parts("*") == {}
    run.drop_parts("a[1]-")
    assert files(run.parts) == ["a1-1.npz", "b-1.npz"]


def test_half_written_parts_are_not_seen(folder):
    """What a process that is killed while it writes leaves behind, as `written_whole` names it."""
    run = opened(folder)
    run.save_part("cell0-1", {"x": np.array(1)})
    (run.parts / ".cell0-2-abcdefgh.npz").write_bytes(b"PK half")
    for prefix in ("cell0-", "", "."):
        assert len(opened(folder).load_parts(prefix)) == (prefix != ".")
    run.finish()
    assert files(folder) == ["run.json"]


def test_failure_while_writing_leaves_the_old_part(folder, monkeypatch):
    run = opened(folder)
    run.save_part("a", {"x": np.array(1)})

    def fail(file, **arrays):
        file.write(b"half")
        raise KeyboardInterrupt

    monkeypatch.setattr(np, "savez", fail)
    with pytest.raises(KeyboardInterrupt):
        run.save_part("a", {"x": np.array(2)})
    monkeypatch.undo()
    assert files(run.parts) == ["a.npz"] and [part["x"] for part in run.load_parts("a").values()] == [1]


@pytest.mark.parametrize("content", [b"", b"junk", b"PK\x03\x04 half"])
def test_part_that_cannot_be_read(folder, content):
    run = opened(folder)
    (run.parts / "a-1.npz").write_bytes(content)
    with pytest.raises(WelError, match=r"^Invalid file '.*a-1\.npz': it cannot be read as part of a run\."):
        run.load_parts("a-")


def test_json_round_trip(folder):
    run = opened(folder)
    assert run.load_json("cell0") is None
    content = {"rows": [{"median": 0.1 + 0.2, "layer": "ä"}], "nothing": None}
    run.save_json("cell0", content)
    assert run.load_json("cell0") == content and opened(folder).load_json("cell0") == content
    (run.parts / "cell0.json").write_text('{"rows": [')
    with pytest.raises(WelError, match=r"^Invalid file '.*cell0\.json'"):
        run.load_json("cell0")


def test_text_is_utf8_and_whole(folder):
    run = opened(folder)
    run.write_text("table.csv", "α1β0\n")
    assert (folder / "table.csv").read_bytes() == "α1β0\n".encode()


def test_of_two_commands_in_one_directory_the_slower_one_is_told(folder):
    faster, slower = opened(folder), opened(folder)
    faster.save_part("a-1", {"x": np.ones(2)})
    assert list(slower.load_parts("a-")) == ["1"]
    faster.finish()
    for work in (lambda: slower.save_part("a-2", {"x": np.ones(2)}), lambda: slower.load_parts("a-"), lambda: slower.save_json("a", 1)):
        with pytest.raises(WelError, match="Expected a directory in which no other command works: one has finished this run meanwhile"):
            work()
    assert opened(folder).finished
