"""The commands and the Python that README.md and docs/ show: every command and option exists, every name is public."""

from __future__ import annotations

import ast
import re
import shlex

import pytest
import typer
from docs_pages import DOCS, ROOT

import wel
from wel.cli.app import app

PAGES = [ROOT / "README.md", ROOT / "docker" / "README.md", *sorted(DOCS.rglob("*.md"))]


def blocks(path, language: str) -> list[str]:
    return re.findall(rf"^```{language}[^\n]*\n(.*?)^```", path.read_text(encoding="utf-8"), re.DOTALL | re.MULTILINE)


def commands_of(path) -> list[list[str]]:
    """The words of every `wel …` in the blocks of a page, after "wel"."""
    text = "\n".join(blocks(path, "(?:console)?"))
    lines = re.findall(r"^(?:\$ )?(?:\w+=\S+ )?(?:\.venv/bin/)?wel (\S.*?)(?:  +#.*)?$", text, re.MULTILINE)
    return [shlex.split(line) for line in lines]


@pytest.mark.parametrize("path", PAGES, ids=lambda path: str(path.relative_to(ROOT)))
def test_commands_and_options_exist(path):
    known = typer.main.get_command(app).commands
    for name, *words in commands_of(path):
        options = {option for parameter in known[name].params for option in (*parameter.opts, *parameter.secondary_opts)}
        assert {word.split("=")[0] for word in words if word.startswith("-")} <= options


def test_there_are_commands_to_check():
    assert len(commands_of(ROOT / "README.md")) >= 10
    assert ["csc", "--model", "my_model.h5", "--images", "DIR"] in commands_of(DOCS / "howto" / "images.md")


@pytest.mark.parametrize("path", PAGES, ids=lambda path: str(path.relative_to(ROOT)))
def test_python_uses_public_names(path):
    for block in blocks(path, "python"):
        used = [node for node in ast.walk(ast.parse(block)) if isinstance(node, ast.Attribute) and getattr(node.value, "id", None) == "wel"]
        assert {node.attr for node in used} <= set(wel.__all__)


def test_the_script_of_the_tutorial_finds_what_it_says():
    (script,) = blocks(DOCS / "study.md", "python")
    names: dict = {}
    exec(script, names)
    said = re.search(
        r"for the gradient, ([\d.]+); for LRP α1β0 all values of a map have one sign, ([\d.]+)\.", (DOCS / "study.md").read_text()
    )
    found = [names["shares"][method, "input"] for method in ("gradient", "lrp_alpha1_beta0")]
    assert [f"{share:.3f}" for share in found] == list(said.groups())


def test_readme_is_short():
    assert len((ROOT / "README.md").read_text(encoding="utf-8").splitlines()) <= 90


def test_links_of_the_readme_lead_to_files():
    targets = re.findall(r"\]\(([^)#:]+)\)", (ROOT / "README.md").read_text(encoding="utf-8"))
    assert len(targets) > 20 and [target for target in targets if not (ROOT / target).is_file()] == []
