"""Rules in words, `wel methods` of one method, and that listing them needs no TensorFlow where it can do without."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from dataclasses import dataclass, make_dataclass
from pathlib import Path

import pytest

import wel
from wel.cli.app import main
from wel.methods.composites import described, rules_for
from wel.methods.registry import CSC_METHODS, METHODS
from wel.rules.base import LinearRule, Rule
from wel.rules.gradient import Rectified, Unchanged
from wel.rules.lrp import AlphaBeta, Bounded, Clipped, Epsilon, PaperBatchNorm, Z
from wel.rules.parts import parts_of
from wel.rules.pattern import Pattern

ROOT = Path(__file__).parents[2]


def run(capsys, *arguments: object) -> tuple[int, str, str]:
    """Exit code, standard output, standard error."""
    with pytest.raises(SystemExit) as ended:
        main([str(argument) for argument in arguments])
    return ended.value.code or 0, *capsys.readouterr()


def rows(printed: str) -> list[list[str]]:
    return [[cell.strip() for cell in line.strip("│").split("│")] for line in printed.splitlines() if line.startswith("│")]


# --- rules in words


@pytest.mark.parametrize(
    ("rule", "words"),
    [
        (Unchanged(), "Unchanged"),
        (Z(), "Z"),
        (Epsilon(1e-10), "Epsilon(ε=1e-10)"),
        (AlphaBeta(1, 0, "both"), "AlphaBeta(α=1, β=0, bias both)"),
        (AlphaBeta(2.5, 1.5, "none"), "AlphaBeta(α=2.5, β=1.5, bias none)"),
        (Clipped(AlphaBeta(2, 1, "both")), "Clipped AlphaBeta(α=2, β=1, bias both)"),
        (Clipped(Z()), "Clipped Z"),
        (Bounded(-1.0, 0.5), "Bounded(low=-1, high=0.5)"),
        (Bounded(None, None), "Bounded"),
        (PaperBatchNorm(), "PaperBatchNorm"),
        (Rectified(98.0), "Rectified(percentile=98)"),
        (Pattern(attribution=True), "Pattern(attribution)"),
        (Pattern(attribution=False), "Pattern(no attribution)"),
        (Rule(), "Rule"),
        (type("Mine", (Rule,), {})(), "Mine"),
        (make_dataclass("Gamma", [("gamma", float)], bases=(LinearRule,), frozen=True)(0.25), "Gamma(γ=0.25)"),
    ],
)
def test_a_rule_in_words(rule, words):
    assert str(rule) == words


def test_a_rule_around_another_keeps_its_own_numbers():
    @dataclass(frozen=True)
    class Halved(Rule):
        times: int
        rule: Rule

    assert str(Halved(3, Epsilon(0.1))) == "Halved(times=3) Epsilon(ε=0.1)"


def test_a_folded_batch_normalization_is_named(residual):
    parts = parts_of(wel.load(residual).graph)
    assert str(Pattern(True, parts["bn1"][0])) == "Pattern(attribution, norm bn1)"


@pytest.mark.parametrize("semantics", ["paper", "corrected"])
def test_every_rule_of_every_method_has_words(residual, functional, semantics):
    for model in (residual, functional):
        graph = wel.load(model).graph
        for method in CSC_METHODS:
            for pairs in rules_for(graph, method, semantics, METHODS[method].defaults).values():
                assert "object at" not in described(pairs) and "Part(" not in described(pairs) and len(described(pairs)) < 100


# --- wel methods METHOD


def test_a_method_is_described_without_a_network(capsys):
    code, printed, _ = run(capsys, "methods", "lrp_epsilon")
    assert code == 0
    assert printed.splitlines()[0] == "lrp_epsilon"
    assert "  label: LRP-ε\n" in printed and "  options: epsilon=1e-07\n" in printed and "  source: Bach, Binder" in printed
    code, printed, _ = run(capsys, "methods", "smoothgrad")
    assert code == 0 and "  CSC: map only\n" in printed


def test_the_rules_of_a_residual_network(residual, tmp_path, capsys):
    residual.save(tmp_path / "residual.h5")
    code, printed, _ = run(capsys, "methods", "lrp_cmp_alpha1_beta0", "--model", tmp_path / "residual.h5")
    assert code == 0 and "residual, paper, from input to output:" in printed
    alpha1 = "AlphaBeta(α=1, β=0, bias both)"
    found = rows(printed)
    assert [row[0] for row in found] == wel.load(tmp_path / "residual.h5").layers[1:]
    assert {row[0]: tuple(row[1:]) for row in found} == {
        "conv1": ("Conv2D", "", "8×8×4", alpha1),
        **dict.fromkeys(("conv2", "conv3", "skip"), ("Conv2D", "", "4×4×6", alpha1)),
        **dict.fromkeys(("bn2", "bn3", "bn_skip"), ("BatchNormalization", "", "4×4×6", alpha1)),
        "bn1": ("BatchNormalization", "", "8×8×4", alpha1),
        "relu1": ("ReLU", "ReLU", "8×8×4", "Derivative"),
        "relu2": ("ReLU", "ReLU", "4×4×6", "Derivative"),
        "relu3": ("ReLU", "ReLU", "4×4×6", "Derivative"),
        "add": ("Add", "", "4×4×6", "Clipped " + alpha1),
        "avgpool": ("GlobalAveragePooling2D", "", "6", "Z"),
        "dense": ("Dense", "", "4", "Epsilon(ε=1e-10)"),
    }


def test_an_activation_function_within_a_layer_has_a_rule_of_its_own(functional, tmp_path, capsys):
    functional.save(tmp_path / "fused.h5")
    arguments = ("methods", "lrp_alpha2_beta1", "--model", tmp_path / "fused.h5", "--semantics", "corrected")
    code, printed, _ = run(capsys, *arguments)
    assert code == 0
    first = rows(printed)[0]
    assert first == ["conv1", "Conv2D", "relu", "8×8×4", "AlphaBeta(α=2, β=1, bias split); relu => Unchanged"]


def test_the_papers_layer_names_are_shown(capsys):
    code, printed, _ = run(capsys, "methods", "lrp_z", "--model", "resnet20", "--weights", "random")
    assert code == 0 and "block4_3" in [row[0] for row in rows(printed)]


def test_which_methods_apply_is_one_short_cell(tmp_path, capsys):
    from tensorflow.keras import Sequential, layers

    Sequential([layers.Input(4), layers.LayerNormalization(name="norm"), layers.Dense(2)]).save(tmp_path / "norm.h5")
    code, printed, _ = run(capsys, "methods", "--model", tmp_path / "norm.h5")
    assert code == 0 and "register_rule" not in printed
    applies = {row[0]: row[2] for row in rows(printed) if row[0]}
    assert list(applies) == list(METHODS)  # a method's name is in one line
    assert applies["gradient"] == applies["smoothgrad"] == "yes"
    assert applies["lrp_z"].startswith("has no rule for layer 'norm'")


def test_a_method_that_does_not_apply_is_refused_in_one_line(tmp_path, capsys):
    from tensorflow.keras import Sequential, layers

    Sequential([layers.Input(4), layers.LayerNormalization(name="norm"), layers.Dense(2)]).save(tmp_path / "norm.h5")
    code, printed, refused = run(capsys, "methods", "lrp_z", "--model", tmp_path / "norm.h5")
    assert code == 2 and refused.count("\n") == 1
    assert "layer 'norm' (LayerNormalization). Expected one of gradient, " in refused
    assert refused.endswith("wel.register_rule('LayerNormalization', rule).\n")


@pytest.mark.parametrize(
    ("arguments", "sentence"),
    [
        (["nope"], "Invalid value for `method`: 'nope'. Expected one of gradient, "),
        (["lrp_z", "--semantics", "nope"], "Invalid value for `semantics`: 'nope'."),
        (["lrp_z", "--leaks"], "Invalid value for `leaks`: "),
        (["--model", "cifar10", "--leaks"], "Invalid value for `leaks`: "),
        (["smoothgrad", "--model", "cifar10", "--leaks"], "Invalid value for `method`: 'smoothgrad', which has maps of the input only."),
        (["lrp_z", "--limit", "0"], "Invalid value for '--limit'"),
    ],
)
def test_mistakes_are_one_sentence(capsys, arguments, sentence):
    code, _, refused = run(capsys, "methods", *arguments)
    assert code == 2 and refused.startswith("wel: " + sentence) and refused.count("\n") == 1


# --- nothing large is imported

STAGES = """
import json, sys
import wel
dir(wel)
stages = [sorted(sys.modules)]
from wel.cli.app import main
for command in json.loads(sys.argv[1]):
    try:
        main(command)
    except SystemExit as ended:
        assert not ended.code, command
    stages.append(sorted(sys.modules))
print(json.dumps(stages), file=sys.stderr)
"""
HELP = {"tensorflow", "keras", "numpy", "pandas", "matplotlib"}
LISTING = {"tensorflow", "keras", "matplotlib"}


def test_what_needs_no_tensorflow_does_not_import_it():
    """`import wel`, help and the registry, one after the other in a new process."""
    commands = {("--help",): HELP, ("methods", "--help"): HELP, ("methods",): LISTING, ("methods", "lrp_z"): LISTING}
    call = [sys.executable, "-c", STAGES, json.dumps(list(commands))]
    done = subprocess.run(call, capture_output=True, text=True, env={**os.environ, "PYTHONPATH": str(ROOT)}, timeout=120)
    assert done.returncode == 0, done.stderr
    imported = json.loads(done.stderr.splitlines()[-1])
    assert [
        sorted(absent & set(found)) for absent, found in zip([HELP | {"typer", "wel.methods.composites"}, *commands.values()], imported)
    ] == [[]] * 5


def test_public_names_of_rules():
    assert wel.Rule is Rule and wel.LinearRule is LinearRule
    assert {"Rule", "LinearRule", "register_rule", "leaks"} <= set(wel.__all__) & set(dir(wel))
