"""`wel install`: what it says, and that it does nothing twice."""

from __future__ import annotations

import sys

import pytest

from wel.cli.app import main
from wel.system import environments
from wel.system.environments import ENVIRONMENTS, Environment


def run(*arguments: object) -> int:
    with pytest.raises(SystemExit) as ended:
        main(["install", *map(str, arguments)])
    return ended.value.code or 0


@pytest.fixture(autouse=True)
def tiny(tmp_path, monkeypatch):
    """An environment of no packages, whose venv is a link to this interpreter."""
    (tmp_path / "tiny.lock").write_text("# nothing\n")
    one = Environment("tiny", "nothing", (f"3.{sys.version_info[1]}",), lambda: tmp_path / "tiny.lock")

    def last_words(command, marker, listen=None):
        bin_folder = one.folders[-1] / "bin" if str(one.folders[-1]) in " ".join(command) else tmp_path / "made" / "bin"
        bin_folder.mkdir(exist_ok=True)
        (bin_folder / "python").exists() or (bin_folder / "python").symlink_to(sys.executable)

    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    monkeypatch.setitem(ENVIRONMENTS, "tiny", one)
    monkeypatch.setattr(environments, "_last_words", last_words)
    return one


def test_into_the_cache_where_it_is_found_and_only_once(tiny, capsys):
    assert run("tiny") == 0
    folder = tiny.folders[-1]
    assert capsys.readouterr().out == f"Making {folder} with {sys.executable}: nothing; some minutes\nMade.\n"
    assert tiny.python() == str(folder / "bin" / "python")
    assert run("tiny") == 0
    assert capsys.readouterr().out == f"{folder} is whole already: nothing.\n"


def test_into_a_folder_and_how_wel_is_told_of_it(tmp_path, capsys):
    assert run("tiny", "--into", tmp_path / "made", "--python", sys.executable) == 0
    assert capsys.readouterr().out.endswith(f"Made. WEL_TINY_PYTHON={tmp_path}/made/bin/python tells wel of it.\n")


@pytest.mark.parametrize(
    ("arguments", "sentence"),
    [
        (["nope"], "wel: Invalid value for `environment`: 'nope'. Expected one of wrapped, original, tiny."),
        (["tiny", "--python", "/none"], "wel: Invalid value for `python`: '/none'. Expected Python 3."),
        (["tiny", "--into", __file__], f"wel: Invalid value for `into`: '{__file__}'. Expected a new or empty folder"),
    ],
)
def test_refusals_are_one_sentence(arguments, sentence, capsys):
    assert run(*arguments) == 2
    printed = capsys.readouterr()
    assert printed.out == "" and printed.err.startswith(sentence) and printed.err.count("\n") == 1
