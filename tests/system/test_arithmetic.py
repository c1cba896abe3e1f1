"""wel.system.arithmetic: which order of summation a process gets, and that a TensorFlow that runs is left as it is."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

import wel
from wel.errors import WelError
from wel.system import arithmetic as chosen
from wel.system.arithmetic import ARITHMETICS, CHOICE, CONTRACTION, ONEDNN, arithmetic, choose_arithmetic, choose_at_import

ROOT = Path(__file__).parents[2]


@pytest.fixture
def environment(monkeypatch):
    """None of the settings, no TensorFlow; as it was afterwards."""
    for name in (CHOICE, ONEDNN, CONTRACTION):
        monkeypatch.setenv(name, "")  # so that it is put back even where it was not set
        monkeypatch.delenv(name)
    monkeypatch.setattr(chosen, "sys", type("Fresh", (), {"modules": {}}))
    return monkeypatch


@pytest.mark.parametrize("name", ARITHMETICS)
def test_a_choice_is_what_the_environment_says(name, environment):
    choose_arithmetic("fastest")
    choose_arithmetic(name)
    assert arithmetic() == name
    assert {key: os.environ.get(key) for key in (ONEDNN, CONTRACTION)} == ARITHMETICS[name]


@pytest.mark.parametrize(
    ("before", "after"),
    [
        ({}, "original"),
        ({CHOICE: "default"}, "default"),
        ({CHOICE: "fastest", ONEDNN: "0"}, "fastest"),
        ({ONEDNN: "1", CONTRACTION: "true"}, "fastest"),
        ({ONEDNN: "1"}, "mixed"),
    ],
)
def test_import_takes_what_is_asked_for_and_leaves_own_settings(before, after, environment):
    for name, value in before.items():
        environment.setenv(name, value)
    choose_at_import()
    assert arithmetic() == after


def test_unknown_names_are_refused(environment):
    expected = "^Invalid value for `arithmetic`: 'slow'. Expected one of original, default, fastest.$"
    with pytest.raises(WelError, match=expected):
        choose_arithmetic("slow")
    environment.setenv(CHOICE, "slow")
    with pytest.raises(WelError, match=expected):
        choose_at_import()


def test_of_a_tensorflow_that_runs():
    import tensorflow  # noqa: F401

    assert arithmetic() == "original"
    choose_arithmetic("original")
    with pytest.raises(WelError, match="^Invalid value for `arithmetic`: 'fastest'. Expected 'original': TensorFlow runs already"):
        choose_arithmetic("fastest")


IMPORTED_LATE = """
import json, os, warnings
import tensorflow
before = dict(os.environ)
with warnings.catch_warnings(record=True) as caught:
    warnings.simplefilter("always")
    import wel
from wel.system.arithmetic import arithmetic
mine = [str(one.message) for one in caught if "wel" in str(one.message)]
print(json.dumps([before == dict(os.environ), arithmetic(), mine]))
"""


@pytest.mark.parametrize(("settings", "name", "warned"), [({}, "default", 1), (ARITHMETICS["original"], "original", 0)])
def test_the_environment_of_a_caller_whose_tensorflow_runs_stays(settings, name, warned):
    inherited = {key: value for key, value in os.environ.items() if key not in (ONEDNN, CONTRACTION, CHOICE)}
    environment = {**inherited, **settings, "PYTHONPATH": str(ROOT)}
    done = subprocess.run([sys.executable, "-c", IMPORTED_LATE], capture_output=True, text=True, env=environment, timeout=120, check=True)
    unchanged, found, warnings = json.loads(done.stdout)
    assert unchanged and found == name and len(warnings) == warned
    assert all(f"({name})" in text and "Expected `import wel` before TensorFlow." in text for text in warnings)


def test_a_run_says_it(sequential, images, tmp_path):
    wel.csc(wel.load(sequential), images[:1], methods="gradient", out=tmp_path / "run")
    assert json.loads((tmp_path / "run" / "run.json").read_text())["arithmetic"] == "original"
