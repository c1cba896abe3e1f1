"""CONTRIBUTING.md: its changes, made to a copy of the package, do what it says with the files that it says."""

from __future__ import annotations

import os
import re
import shlex
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
from docs_pages import ROOT

TEXT = (ROOT / "CONTRIBUTING.md").read_text(encoding="utf-8")


def section(heading: str) -> str:
    return TEXT.split(f"\n## {heading}")[1].split("\n## ")[0]


def blocks(text: str) -> list[tuple[str, str, str]]:
    """(language, title, text) of the blocks of code."""
    return re.findall(r'^```(\w+)(?: title="([^"\n]+)")?\n(.*?)^```', text, re.DOTALL | re.MULTILINE)


def apply(folder: Path, language: str, title: str, text: str) -> None:
    """A new file, or a change of one: what a diff's lines say stood there has to stand there once."""
    file = folder / title
    if language == "python":
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_text(text, encoding="utf-8")
        return
    lines = text.splitlines(keepends=True)
    before, after = ("".join(line[1:] for line in lines if line[0] != mark) for mark in "+-")
    known = file.read_text(encoding="utf-8")
    assert known.count(before) == 1, f"{title} has other lines than CONTRIBUTING.md says:\n{before}"
    file.write_text(known.replace(before, after), encoding="utf-8")


def copy_of_the_package(folder: Path) -> Path:
    """wel/, with what Python and numba have compiled, and the models beside it."""
    shutil.copytree(ROOT / "wel", folder / "wel")
    (folder / "models").symlink_to(ROOT / "models")
    return folder


@pytest.fixture(scope="module")
def changed(tmp_path_factory):
    """A copy of the package with all examples in it."""
    folder = copy_of_the_package(tmp_path_factory.mktemp("changed"))
    for language, title, text in blocks(TEXT):
        if title:
            apply(folder, language, title, text)
    return folder


def run(folder: Path, *words: str) -> subprocess.CompletedProcess:
    environment = {**os.environ, "PYTHONPATH": str(folder), "TF_CPP_MIN_LOG_LEVEL": "3"}
    return subprocess.run([sys.executable, *words], cwd=folder, env=environment, capture_output=True, text=True)


@pytest.mark.parametrize(
    ("heading", "files"),
    [
        ("Add a method: two files", ["wel/methods/registry.py", "wel/methods/composites.py"]),
        ("Add a kind of layer: one file", ["wel/networks/kinds.py", "wel/rules/linear_kinds.py"]),
        ("Add a study: three files", ["wel/studies/signs.py", "wel/figures/signs.py", "wel/cli/signs.py"]),
    ],
)
def test_an_example_touches_no_more_files_than_it_says(heading, files):
    titles = [title for _, title, _ in blocks(section(heading)) if title.startswith("wel/")]
    assert list(dict.fromkeys(titles)) == files


@pytest.mark.slow
def test_the_tests_of_the_examples_pass(changed):
    ran = run(changed, "-m", "pytest", "-q", "-p", "no:cacheprovider", "tests")
    assert ran.returncode == 0, ran.stdout
    assert re.search(r"^5 passed", ran.stdout, re.MULTILINE)


@pytest.mark.slow
def test_the_commands_of_the_examples_work(changed):
    commands = [shlex.split(line)[2:] for language, _, text in blocks(TEXT) if language == "console" for line in text.splitlines()]
    one_process = f"""
from wel.cli.app import main
for words in {commands}:
    try:
        main(words)
    except SystemExit as ended:
        assert not ended.code, (words, ended.code)
"""
    ran = run(changed, "-c", one_process)
    assert ran.returncode == 0, ran.stderr
    assert len(commands) == 3 and len(list(changed.glob("runs/*/figures/*.svg"))) == 3  # two of csc, with the histograms, and one
