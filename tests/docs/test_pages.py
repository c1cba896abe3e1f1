"""The pages that are made of the code: what stands in them is what the code says."""

from __future__ import annotations

import ast
import re
import subprocess
import sys

import pytest
from docs_pages import DOCS, ROOT, page_module

import wel
from wel.auditing.verdicts import VERDICTS
from wel.methods.registry import CITATIONS, CSC_METHODS, METHODS

api, commands, glossary, matrix, methods, words = map(page_module, ("api", "commands", "glossary", "matrix", "methods", "words"))


def cells(markdown: str) -> list[list[str]]:
    """The rows of the Markdown tables in a text, without their heads."""
    rows = [line for line in markdown.splitlines() if line.startswith("| ") and not line.startswith("| --- ")]
    return [[cell.strip() for cell in re.split(r"(?<!\\)\|", row)[1:-1]] for row in rows]


def test_the_pages_are_made_without_tensorflow():
    modules = "api, commands, glossary, matrix, methods, words"
    made = "methods.overview(); matrix.matrix(); commands.commands(); glossary.method_facts(); api.names()"
    code = f"import sys; from docs.pages import {modules}; {made}; print('tensorflow' in sys.modules)"
    ran = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, check=True)
    assert ran.stdout == "False\n"


# --- words


@pytest.mark.parametrize(
    ("kinds", "expected"),
    [
        (["Dense"], "`Dense`"),
        (["Conv1D", "Conv2D"], "`Conv1D`, `Conv2D`"),
        (["Add", "Conv1D", "Conv2D", "Conv3D", "Conv2DTranspose"], "`Add`, `Conv1D–3D`, `Conv2DTranspose`"),
    ],
)
def test_kinds_that_differ_in_their_dimensions_are_one(kinds, expected):
    assert words.shortened(kinds) == expected


def test_a_rule_links_to_its_classes():
    found = words.linked("Clipped AlphaBeta(α=1, β=0, bias both)")
    assert found == "[Clipped][wel.rules.lrp.Clipped] [AlphaBeta][wel.rules.lrp.AlphaBeta](α=1, β=0, bias both)"


def test_a_bar_in_a_cell_is_no_border():
    assert words.table(["a"], [["|cos|"]]) == "| a |\n| --- |\n| \\|cos\\| |\n"


# --- methods


@pytest.mark.parametrize("name", METHODS)
def test_a_method_has_its_formula_source_and_options(name):
    method, page = METHODS[name], methods.page(name, "What it is.")
    assert page.startswith(f"# {method.label}\n\n`{name}`\n\n```text\n{method.formula}\n```\n\nWhat it is.\n")
    facts = dict(cells(page.split("## Facts")[1].split("\n## ")[0])[1:])
    assert facts["source"] == CITATIONS[method.source]
    assert re.findall(r"`(\w+)`", facts["options"]) == list(method.options)
    assert facts["CSC"].startswith("yes" if method.csc else "no")


def expanded(text: str) -> list[str]:
    """The kinds that a text names, `Conv1D–3D` as three."""
    several = [[name[:-5] + f"{n}D" for n in (1, 2, 3)] if name.endswith("1D–3D") else [name] for name in re.findall("`([^`]+)`", text)]
    return sorted(name for names in several for name in names)


@pytest.mark.parametrize("name", CSC_METHODS)
def test_every_kind_of_layer_stands_once_in_a_methods_rules(name):
    section = methods.page(name, "").split("## Rules")[1].split("\n## ")[0]
    text = "\n".join([row[0] for row in cells(section)[1:]] + re.findall("No rule for (.*), unless", section))
    assert expanded(text) == sorted(kind for row in methods.rows() for kind in row["kinds"])


EPSILON_DIFFERS = (
    "`Add`, `Average`, `BatchNormalization`, `BatchNormalization behind a kernel`, `Dot`, `Multiply`, `ELU`, `LeakyReLU`, `PReLU`, "
    "`ThresholdedReLU`, `ReLU`, `LayerNormalization`, `Subtract`"
)


@pytest.mark.parametrize(
    ("name", "where"),
    [
        ("lrp_epsilon", EPSILON_DIFFERS),
        ("deeplift_rescale", "`GlobalMaxPooling1D–3D`, `MaxPooling1D–3D`"),
    ],
)
def test_a_method_whose_semantics_differ_says_where(name, where):
    assert f"\nThe two semantics differ at {where}.\n" in methods.page(name, "")


def test_a_method_whose_semantics_are_the_same_says_nothing():
    assert "differ" not in methods.page("gradient", "")


def test_each_method_stands_in_the_overview_and_in_a_family():
    assert [row[1] for row in cells(methods.overview())[1:]] == [f"`{name}`" for name in METHODS]
    assert sorted(name for names in methods.families().values() for name in names) == sorted(METHODS)


def test_nobody_has_written_about_a_method_that_there_is_not():
    assert {path.stem for path in (DOCS / "methods").glob("*.md")} - {"index", "matrix"} <= set(METHODS)


# --- audits


def test_audits_are_of_the_bundled_networks_and_of_known_methods():
    assert [record["network"] for record in methods.audited()] == ["cifar10", "resnet20"]
    for record in methods.audited():
        assert {entry["method"] for entry in record["methods"]} <= METHODS.keys()
        assert {entry["verdict"] for entry in record["methods"]} <= set(VERDICTS)


def test_what_an_audit_found_stands_on_the_page():
    page = methods.page("deep_taylor", "")
    found = [entry for record in methods.audited() for entry in record["methods"] if entry["method"] == "deep_taylor"]
    rows = cells(page.split("## What its audit says")[1])[1:]
    assert [row[3] for row in rows] == [entry["sentence"] for entry in found]
    # 1 − 0.9999986… of the first, in two digits
    assert rows[0][5] == f"1 − {1 - found[0]['cosine']:.1e}" and found[0]["cosine"] > 0.999


# --- matrix


def test_the_matrix_has_all_methods_and_all_kinds():
    head, *rows = cells(matrix.matrix())
    assert [re.search(r"\((\w+)\.md\)", cell)[1] for cell in head[1:]] == list(CSC_METHODS)
    assert len(rows) == len(methods.rows())
    by_kind = {row[0]: dict(zip(CSC_METHODS, row[1:])) for row in rows}
    assert by_kind["`Add`"]["lrp_z"] == '<span title="Z">z</span>'
    assert ">[αβ]*<" in by_kind["`Add`"]["lrp_alpha1_beta0"]
    assert by_kind["`LSTM`"]["lrp_z"] == matrix.NONE
    assert by_kind["`LayerNormalization`"]["lrp_z"] == '<span title="paper: none; corrected: Centred">−μ*</span>'


def test_every_sign_of_the_matrix_is_explained():
    used = {sign.rstrip("*") for sign in re.findall(r">([^<]+)</span>", matrix.matrix())}
    assert used == {row[0] for row in cells(matrix.signs())[1:]} - {matrix.NONE}


# --- reference


def test_every_command_and_each_of_its_options_is_listed():
    import typer

    from wel.cli.app import app

    text = commands.commands()
    group = typer.main.get_command(app)
    assert re.findall(r"^## wel (.+)$", text, re.MULTILINE) == list(group.commands)
    for name, command in group.commands.items():
        section = text.split(f"## wel {name}\n")[1].split("\n## ")[0]
        assert [row[0] for row in cells(section)[1:]] == [commands._name(p) for p in command.params if not getattr(p, "hidden", False)]
    assert "| `--vectors` | Random vectors per image and start layer. | `5` |" in text


def test_every_public_name_has_a_directive():
    found = re.findall(r"^::: ([\w.]+)\n    options: \{heading: wel\.(\w+), ", api.names(), re.MULTILINE)
    assert [name for _, name in found] == [name for name in wel.__all__ if name != "__version__"]
    for path, name in found:
        module, _, last = path.rpartition(".")
        tree = ast.parse((ROOT / (module.replace(".", "/") + ".py")).read_text(encoding="utf-8"))
        assert last == name and name in {getattr(node, "name", None) for node in tree.body}


def test_the_glossary_has_the_sets_of_layer_kinds():
    rows = {row[0]: row[1:] for row in cells(glossary.layer_kinds())[1:]}
    assert rows["`TWO_KERNELS`"] == [
        "the positive part of a product of kernels is not the product of their positive parts",
        "`SeparableConv1D`, `SeparableConv2D`",
    ]
    assert rows["`MAX_POOLINGS`"] == ["max poolings", "`GlobalMaxPooling1D–3D`, `MaxPooling1D–3D`"]


def test_the_glossary_has_the_facts_of_every_method():
    found = {row[0]: row[1:] for row in cells(glossary.method_facts())}
    assert found["[guided_backprop](../methods/guided_backprop.md)"] == [
        "rectified gradient", "yes", "yes", "yes", "1", "3", "logit", "max_abs", "99.5"
    ]  # fmt: skip
    assert found["`cost`"] == ["how long it takes, gradient 1."]


def test_what_pages_ask_to_be_made_can_be_made():
    made = re.findall(r'^    "(.+)": \w+\.\w+,$', (DOCS / "pages" / "hook.py").read_text(encoding="utf-8"), re.MULTILINE)
    asked = [name for path in DOCS.rglob("*.md") for name in re.findall("<!-- made: (.+) -->", path.read_text(encoding="utf-8"))]
    assert sorted(asked) == sorted(made)
