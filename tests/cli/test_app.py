"""The command line: what it prints and writes, how it refuses, and that it refuses before anything slow begins."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from importlib.metadata import version
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from PIL import Image

import wel
from wel.cli.app import main

ROOT = Path(__file__).parents[2]
ENVIRONMENT = {**os.environ, "PYTHONPATH": str(ROOT), "TF_CPP_MIN_LOG_LEVEL": "3"}


@pytest.fixture
def model(functional, tmp_path) -> Path:
    functional.save(tmp_path / "tiny.h5")
    return tmp_path / "tiny.h5"


@pytest.fixture
def pictures(tmp_path) -> Path:
    """Three PNG files, 8×8."""
    (tmp_path / "pictures").mkdir()
    for i, pixels in enumerate(np.random.default_rng(1).integers(0, 256, (3, 8, 8, 3), dtype="uint8")):
        Image.fromarray(pixels).save(tmp_path / "pictures" / f"{i}.png")
    return tmp_path / "pictures"


def run(*arguments: object) -> int:
    """Runs the command in this process; its exit code."""
    with pytest.raises(SystemExit) as ended:
        main([str(argument) for argument in arguments])
    return ended.value.code or 0


def subprocess_run(code: str, *arguments: object, **settings) -> subprocess.CompletedProcess:
    command = [sys.executable, "-c", code, *map(str, arguments)]
    return subprocess.run(command, capture_output=True, text=True, env=ENVIRONMENT, timeout=120, **settings)


# --- wel csc


def test_csc_of_a_model_file(model, pictures, tmp_path, capsys):
    out = tmp_path / "run"
    options = ["--methods", "gradient,lrp_alpha1_beta0", "--start-layers", "output,pool", "--vectors", 3, "--seed", 1, "--limit", 2]
    assert run("csc", "--model", model, "--images", pictures, *options, "--out", out) == 0
    printed = capsys.readouterr().out
    assert "tiny: 2 images" in printed and f"Table: {out / 'csc.csv'}" in printed
    table = pd.read_csv(out / "csc.csv")
    assert table[["method", "start"]].drop_duplicates().to_numpy().tolist() == [
        ["gradient", "dense"],
        ["gradient", "pool"],
        ["lrp_alpha1_beta0", "dense"],
        ["lrp_alpha1_beta0", "pool"],
    ]
    medians = table[table["layer"] == "input"]["median"]
    assert all(f"{median:.4f}" in printed for median in medians)
    inputs = np.stack([np.asarray(Image.open(pictures / f"{i}.png")) for i in range(2)]).astype("float32") / 255
    library = wel.csc(wel.load(model), inputs, ["gradient", "lrp_alpha1_beta0"], ["output", "pool"], vectors=3, seed=1).table
    pd.testing.assert_frame_equal(table, library)
    figures = list((out / "figures").iterdir())
    assert figures and all(figure.stat().st_size > 0 for figure in figures)


def test_the_record_says_everything_needed_to_repeat_the_run(model, pictures, tmp_path):
    out = tmp_path / "run"
    assert run("csc", "--model", model, "--images", pictures, "--methods", "gradient", "--seed", 3, "--out", out) == 0
    record = json.loads((out / "run.json").read_text())
    request, context = record["request"], record["context"]
    assert record["finished"] and record["versions"]["tensorflow"] == version("tensorflow")
    assert request["study"] == "csc" and request["seed"] == 3 and request["vectors"] == 5 and request["start_layers"] == ["dense"]
    assert request["weights_sha256"] == wel.load(model).weights_hash()
    assert context["images"] == ["0.png", "1.png", "2.png"]


def test_the_same_command_again_keeps_the_file_and_another_one_is_refused(model, pictures, tmp_path, capsys):
    out = tmp_path / "run"
    command = ["csc", "--model", model, "--images", pictures, "--methods", "gradient", "--vectors", 2, "--out", out]
    assert run(*command) == 0
    written = (out / "csc.csv").read_bytes()
    assert run(*command) == 0
    capsys.readouterr()
    assert run(*command, "--seed", 1) == 2
    assert "a run with other settings (seed)" in capsys.readouterr().err
    assert (out / "csc.csv").read_bytes() == written


def test_methods_that_do_not_apply_are_named(pictures, tmp_path, capsys):
    from tensorflow.keras import Sequential, layers

    stack = [layers.Input((8, 8, 3)), layers.Flatten(), layers.Dense(3, activation="tanh", name="soft"), layers.Dense(2)]
    Sequential(stack).save(tmp_path / "tanh.h5")
    out = tmp_path / "run"
    assert run("csc", "--model", tmp_path / "tanh.h5", "--images", pictures, "--limit", 1, "--vectors", 2, "--out", out) == 0
    printed = capsys.readouterr().out
    # what has one reason is said once
    assert "Left out: guided_backprop, deconvnet, rectgrad, deep_taylor. Each has no rule for layer 'soft' (tanh)." in printed
    assert {"gradient", "lrp_z"} <= set(pd.read_csv(out / "csc.csv")["method"])


# --- refusals


@pytest.mark.parametrize(
    ("arguments", "sentence"),
    [
        (["--start-layers", "nope"], "Invalid value for `start`: 'nope'. Expected one of input, output, conv1, "),
        (["--start-layers", "input"], "Invalid value for `start`: "),
        (["--start-layers", ","], "Invalid value for `start`: "),
        (["--model", "JUNK"], "junk.h5' is not a Keras model file."),
        (["--model", "nope"], "Invalid value for `model`: 'nope'. Expected "),
        (["--images", "EMPTY"], "Invalid value for `images`: "),
        (["--weights", "/no/such"], "Invalid value for `weights`"),
        (["--out", "JUNK"], "Invalid value for `out`: "),
        (["--out", "JUNK/run"], "Invalid value for `out`: "),
    ],
)
def test_a_mistake_is_one_sentence_exit_code_2_and_nothing_written(model, pictures, tmp_path, capsys, arguments, sentence):
    (tmp_path / "junk.h5").write_text("junk")
    (tmp_path / "empty").mkdir()
    before = sorted(tmp_path.rglob("*"))
    arguments = [value.replace("JUNK", str(tmp_path / "junk.h5")).replace("EMPTY", str(tmp_path / "empty")) for value in arguments]
    command = ["csc", "--model", model, "--images", pictures, "--methods", "gradient", "--out", tmp_path / "run"]
    assert run(*command, *arguments) == 2
    assert_one_sentence(capsys.readouterr().err, sentence)
    assert sorted(tmp_path.rglob("*")) == before and (tmp_path / "junk.h5").read_text() == "junk"


def assert_one_sentence(stderr: str, sentence: str) -> None:
    assert stderr.count("\n") == 1 and stderr.startswith("wel: ") and "Traceback" not in stderr
    assert sentence in stderr, stderr


EARLY = [
    (["csc", "--images", "/no/such"], "Invalid value for '--images'"),
    (["csc", "--labels", "/no/such.csv"], "Invalid value for '--labels'"),
    (["csc", "--limit", "0"], "Invalid value for '--limit'"),
    (["csc", "--limit", "many"], "Invalid value for '--limit'"),
    (["csc", "--vectors", "1"], "Invalid value for '--vectors'"),
    (["csc", "--seed", "-1"], "Invalid value for '--seed'"),
    (["csc", "--batch-size", "0"], "Invalid value for '--batch-size'"),
    (["csc", "--methods", "gradient,nope"], "Invalid value for `method`: 'nope'. Expected one of gradient, "),
    (["csc", "--methods", ","], "Invalid value for `methods`: []. Expected 'all' or one or more methods."),
    (["csc", "--semantics", "nope"], "Invalid value for `semantics`: 'nope'. Expected one of paper, corrected, both."),
    (["csc", "--backend", "nope"], "Invalid value for `backend`: 'nope'. Expected one of native, "),
    (["csc", "--nope"], "No such option: --nope"),
    (["nope"], "No such command 'nope'."),
]
WITHOUT_TENSORFLOW = """
import contextlib, io, json, sys
sys.modules["tensorflow"] = sys.modules["keras"] = None  # importing either is an error now
from wel.cli.app import main

said = []
for command in json.loads(sys.argv[1]):
    stderr = io.StringIO()
    with contextlib.redirect_stderr(stderr):
        try:
            main(command)
        except SystemExit as ended:
            said.append([ended.code, stderr.getvalue()])
print(json.dumps(said))
"""


def test_mistakes_are_found_before_tensorflow_is_imported(tmp_path):
    done = subprocess_run(WITHOUT_TENSORFLOW, json.dumps([arguments for arguments, _ in EARLY]), cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    for (arguments, sentence), (code, stderr) in zip(EARLY, json.loads(done.stdout)):
        assert code == 2, arguments
        assert_one_sentence(stderr, sentence)
    assert list(tmp_path.iterdir()) == []


# --- the rest


def test_help_is_quick_and_imports_nothing_large():
    code = "import sys; from wel.cli.app import main\ntry: main()\nfinally: print(*sorted(sys.modules), file=sys.stderr)"
    began = time.monotonic()
    done = subprocess_run(code, "--help")
    assert time.monotonic() - began < 5  # a third of a second on an idle machine
    assert done.returncode == 0 and "Usage" in done.stdout and " csc " in done.stdout
    assert not {"tensorflow", "keras", "numpy", "pandas", "matplotlib"} & set(done.stderr.split())
    assert subprocess_run(code).stdout == done.stdout  # without arguments: the help


def test_methods_and_models_are_listed(capsys):
    assert run("methods") == 0
    assert "lrp_alpha1_beta0" in capsys.readouterr().out
    assert run("models") == 0
    printed = capsys.readouterr().out
    assert "cifar10" in printed and "32×32×3" in printed


def test_methods_say_what_applies_to_a_network(model, capsys):
    assert run("methods", "--model", model) == 0
    lines = {line.split()[1]: line for line in capsys.readouterr().out.splitlines() if line.startswith("│")}
    assert " yes " in lines["gradient"] and " yes " in lines["deep_taylor"]


def test_an_error_of_wels_own_is_no_finding(monkeypatch, capsys):
    monkeypatch.setattr("wel.cli.networks.printable", lambda *arguments: 1 / 0)
    with pytest.raises(SystemExit) as ended:
        main(["models"])
    assert ended.value.code == 70 and "ZeroDivisionError" in capsys.readouterr().err


INTERRUPTED = """
import os, signal
import wel.cli.networks
from wel.cli.app import main

wel.cli.networks.printable = lambda *arguments: os.kill(os.getpid(), signal.SIGINT)
main(["models"])
"""


def test_ctrl_c_ends_in_one_line_and_its_exit_code():
    done = subprocess_run(INTERRUPTED)
    assert done.returncode == 128 + signal.SIGINT
    assert_one_sentence(done.stderr.lstrip("\n"), "wel: interrupted. The same command goes on where it stopped.")
