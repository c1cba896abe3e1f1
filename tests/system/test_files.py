"""wel.system.files: files are whole or not there, hashes are sha256, the bundled files are found."""

from __future__ import annotations

import hashlib
import os
import subprocess
import sys
from pathlib import Path

import pytest

import wel
from wel.system.files import file_sha256, keras_home, models_folder, written_whole


def names(folder: Path) -> list[str]:
    return sorted(path.name for path in folder.iterdir())


def test_written_whole(tmp_path):
    target = tmp_path / "table.csv"
    with written_whole(target) as path:
        assert path.parent == tmp_path and path.suffix == ".csv" and path.name.startswith(".table-")
        path.write_text("whole")
        assert not target.exists()
    assert target.read_text() == "whole" and names(tmp_path) == ["table.csv"]
    assert target.stat().st_mode & 0o777 == 0o644


def test_old_file_stays_until_the_new_one_is_whole(tmp_path):
    target = tmp_path / "table.csv"
    target.write_text("old")
    with written_whole(target) as path:
        path.write_text("new")
        assert target.read_text() == "old"
    assert target.read_text() == "new"


@pytest.mark.parametrize("error", [ValueError, KeyboardInterrupt, SystemExit])
def test_failure_leaves_nothing_new(tmp_path, error):
    target = tmp_path / "table.csv"
    target.write_text("old")
    with pytest.raises(error), written_whole(target) as path:
        path.write_text("half")
        raise error
    assert target.read_text() == "old" and names(tmp_path) == ["table.csv"]


def test_two_writers_do_not_share_a_temporary_name(tmp_path):
    target = tmp_path / "table.csv"
    with written_whole(target) as one, written_whole(target) as other:
        assert one != other
        one.write_text("one")
        other.write_text("other")
    # the inner block ends first, the outer one last
    assert target.read_text() == "one" and names(tmp_path) == ["table.csv"]


def test_process_that_is_killed_leaves_a_hidden_file_only(tmp_path):
    code = "import os, sys; from wel.system.files import written_whole; from pathlib import Path\n"
    code += "with written_whole(Path(sys.argv[1])) as path:\n    path.write_text('half')\n    os._exit(1)"
    checkout = str(Path(wel.__file__).parent.parent)
    subprocess.run([sys.executable, "-c", code, tmp_path / "table.csv"], check=False, env={**os.environ, "PYTHONPATH": checkout})
    (left,) = names(tmp_path)
    assert left.startswith(".table-") and left.endswith(".csv")


def test_missing_directory(tmp_path):
    with pytest.raises(FileNotFoundError), written_whole(tmp_path / "no" / "table.csv"):
        pass


@pytest.mark.parametrize("content", [b"", b"abc", bytes(range(256)) * 8193])
def test_sha256(tmp_path, content):
    (tmp_path / "file").write_bytes(content)
    assert file_sha256(tmp_path / "file") == hashlib.sha256(content).hexdigest()


def test_sha256_by_the_standard(tmp_path):
    # FIPS 180-2, appendix B.1
    (tmp_path / "file").write_bytes(b"abc")
    assert file_sha256(tmp_path / "file") == "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad"


def test_keras_home(monkeypatch, tmp_path):
    monkeypatch.setenv("KERAS_HOME", str(tmp_path / "keras"))
    assert keras_home() == tmp_path / "keras"
    monkeypatch.delenv("KERAS_HOME")
    monkeypatch.setattr(Path, "home", lambda: tmp_path)
    assert keras_home() == tmp_path / ".keras"


def test_models_folder():
    assert (models_folder() / "data" / "cifar10" / "images.npz").is_file()
