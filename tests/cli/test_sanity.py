"""`wel random-logit` and `wel cascading`: what they print and write, where classes come from, and how they refuse."""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from PIL import Image

import wel
from wel.cli import sanity
from wel.cli.app import main
from wel.cli.console import console
from wel.system.runs import read_exactly

ROOT = Path(__file__).parents[2]
STUDIES = {"random-logit": "random_logit", "cascading": "cascading"}


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


def inputs(folder: Path) -> np.ndarray:
    return np.stack([np.asarray(Image.open(path)) for path in sorted(folder.glob("*.png"))]).astype("float32") / 255


def tables(out: Path, name: str) -> list[pd.DataFrame]:
    return [read_exactly(out / file) for file in (f"{name}.csv", f"{name}_images.csv")]


def test_random_logit_of_a_model_file(model, pictures, tmp_path, capsys):
    out = tmp_path / "run"
    (tmp_path / "labels.csv").write_text("file,label\n0.png,2\n2.png,0\n")
    options = ["--methods", "gradient,lrp_z", "--seed", 3, "--semantics", "both", "--labels", tmp_path / "labels.csv"]
    assert run("random-logit", "--model", model, "--images", pictures, *options, "--out", out) == 0
    printed = capsys.readouterr().out
    assert "tiny: 3 images" in printed and "class: the true label of 2, the top-1 prediction of 1" in printed
    found = tables(out, "random_logit")
    library = wel.random_logit(wel.load(model), inputs(pictures), ["gradient", "lrp_z"], [2, None, 0], seed=3, semantics="both")
    for mine, theirs in zip(found, (library.table, library.images)):
        pd.testing.assert_frame_equal(mine, theirs, check_exact=True)
    assert all(f"{median:.3f}" in printed for median in library.table["median"]) and "lrp_z (corrected)" in printed
    assert f"Table: {out / 'random_logit.csv'}" in printed
    assert sorted(path.name for path in (out / "figures").iterdir()) == ["random_logit.png", "random_logit.svg"]
    assert json.loads((out / "run.json").read_text())["context"]["labels"] == [2, None, 0]


def test_cascading_of_a_model_file(model, pictures, tmp_path, capsys):
    out = tmp_path / "run"
    options = ["--methods", "gradient,guided_backprop", "--seed", 3, "--limit", 2, "--layers", "conv1,dense"]
    assert run("cascading", "--model", model, "--images", pictures, *options, "--out", out) == 0
    printed = capsys.readouterr().out
    assert "class: the top-1 prediction of 2; randomised down to dense, conv1" in printed
    found = tables(out, "cascading")
    library = wel.cascading_randomization(
        wel.load(model), inputs(pictures)[:2], ["gradient", "guided_backprop"], ["dense", "conv1"], seed=3
    )
    for mine, theirs in zip(found, (library.table, library.images)):
        pd.testing.assert_frame_equal(mine, theirs, check_exact=True)
    assert all(f"{median:.3f}" in printed for median in library.table["median"])
    assert sorted(path.name for path in (out / "figures").iterdir()) == ["cascading.png", "cascading.svg"]


def test_cascading_in_another_order_by_other_measures(model, pictures, tmp_path, capsys):
    out = tmp_path / "run"
    compared = ["--measures", "rank_correlation,hog,complexity_rise", "--absolute", "--bins", 30, "--order", "bottom-up"]
    options = ["--methods", "gradient", "--layers", "conv1,dense", *compared, "--samples", 2, "--noise-scale", 0.2]
    assert run("cascading", "--model", model, "--images", pictures, *options, "--out", out) == 0
    printed = capsys.readouterr().out
    assert "randomised up to conv1, dense" in printed and "gradient, rank correlation" in printed and "edges, complexity rise" in printed
    given = {"measures": ["rank_correlation", "hog", "complexity_rise"], "absolute": True, "bins": 30, "samples": 2, "noise_scale": 0.2}
    library = wel.cascading_randomization(wel.load(model), inputs(pictures), ["gradient"], ["conv1", "dense"], order="bottom-up", **given)
    for mine, theirs in zip(tables(out, "cascading"), (library.table, library.images)):
        pd.testing.assert_frame_equal(mine, theirs, check_exact=True)
    assert set(library.table["maps"]) == {"absolute"} and set(library.table["order"]) == {"bottom-up"}


def test_of_many_stages_the_table_shows_some(capsys):
    """Of 50 stages, eight from the first to the last, evenly: 1 + 49·k/7 = 1, 8, …, 50."""
    numbers = range(1, 51)
    place = {"method": "gradient", "semantics": "paper", "stage_index": numbers, "stage": [f"layer{k}" for k in numbers]}
    stated = {"measure": "ssim", "baseline": np.nan, "order": "top-down", "activation_correlation": 2.0}
    console().print(sanity._stage_medians(pd.DataFrame({**place, **stated, "median": [k / 100 for k in numbers]})))
    printed = capsys.readouterr().out
    assert "8 of 50 stages" in printed and re.findall(r"layer(\d+)", printed) == ["1", "8", "15", "22", "29", "36", "43", "50"]
    assert re.findall(r"0\.\d{3}", printed) == [f"{k / 100:.3f}" for k in range(1, 51, 7)]
    assert sanity._in_words([f"l{k}" for k in range(9)]) == "l0, … 7 more …, l8"


def test_class_named_folders_are_the_true_classes(model, pictures, tmp_path, capsys):
    for i, name in enumerate(("dog", "ant", "cat")):  # in the order of names: ant 0, cat 1, dog 2
        (pictures / name).mkdir()
        (pictures / f"{i}.png").rename(pictures / name / f"{i}.png")
    (pictures / "elk").mkdir()  # as many folders as the model has classes
    out = tmp_path / "run"
    assert run("random-logit", "--model", model, "--images", pictures, "--methods", "gradient", "--out", out) == 0
    assert "class: the true label of 3" in capsys.readouterr().out
    images = tables(out, "random_logit")[1]
    assert images["true_class"].tolist() == [0, 1, 2] * 3 and set(images["class_from"]) == {"label"}


@pytest.mark.parametrize("command", STUDIES)
def test_the_same_command_again_keeps_the_files_and_another_one_is_refused(model, pictures, tmp_path, capsys, command):
    out = tmp_path / "run"
    arguments = [command, "--model", model, "--images", pictures, "--methods", "gradient", "--limit", 1, "--out", out]
    assert run(*arguments) == 0
    written = (out / f"{STUDIES[command]}.csv").read_bytes()
    assert run(*arguments) == 0
    capsys.readouterr()
    assert run(*arguments, "--seed", 1) == 2
    assert "a run with other settings (seed)" in capsys.readouterr().err
    assert (out / f"{STUDIES[command]}.csv").read_bytes() == written


def test_methods_that_do_not_apply_are_named(pictures, tmp_path, capsys):
    from tensorflow.keras import Sequential, layers

    stack = [layers.Input((8, 8, 3)), layers.Flatten(), layers.Dense(3, activation="tanh", name="soft"), layers.Dense(2)]
    Sequential(stack).save(tmp_path / "tanh.h5")
    assert run("random-logit", "--model", tmp_path / "tanh.h5", "--images", pictures, "--limit", 1, "--out", tmp_path / "run") == 0
    printed = capsys.readouterr().out
    assert "Left out: guided_backprop, deconvnet, rectgrad, deep_taylor. Each has no rule for layer " in printed
    assert "Left out: pattern_net, pattern_attribution. Each needs patterns of this network." in printed


def assert_one_sentence(stderr: str, sentence: str) -> None:
    assert stderr.count("\n") == 1 and stderr.startswith("wel: ") and "Traceback" not in stderr
    assert sentence in stderr, stderr


@pytest.mark.parametrize(
    ("command", "arguments", "sentence"),
    [
        ("cascading", ["--layers", "nope"], "Invalid value for `layers`: 'nope'. Expected one of input, output, conv1, "),
        ("cascading", ["--layers", "input"], "Invalid value for `layers`: ['input']. Expected 'all', or one or more layers above"),
        ("cascading", ["--layers", ","], "Invalid value for `layers`: []. Expected 'all', or one or more layers above"),
        ("cascading", ["--model", "nope"], "Invalid value for `model`: 'nope'. Expected "),
        ("cascading", ["--order", "sideways"], "Invalid value for `order`: 'sideways'. Expected one of top-down, bottom-up, independent."),
        ("cascading", ["--measures", "ssim,mse"], "Invalid value for `measures`: 'mse'. Expected one of ssim, cosine, "),
        ("cascading", ["--measures", ","], "Invalid value for `measures`: []. Expected one or more measures."),
        ("cascading", ["--bins", 20], "Invalid value for `bins`: 20. Expected none without the measure 'complexity_rise'."),
        ("cascading", ["--noise-scale", 0.2], "Invalid value for `noise_scale`: 0.2. Expected none without `samples`."),
        ("cascading", ["--samples", 0], "Invalid value for '--samples'"),
        (
            "cascading",
            ["--order", "independent", "--layers", "pool"],
            "Expected 'all', or one or more layers above the input with weights.",
        ),
        ("random-logit", ["--out", "JUNK"], "Invalid value for `out`: "),
        ("random-logit", ["--labels", "JUNK"], "Expected the columns file and label"),
    ],
)
def test_a_mistake_is_one_sentence_exit_code_2_and_nothing_written(model, pictures, tmp_path, capsys, command, arguments, sentence):
    (tmp_path / "junk").write_text("junk")
    before = sorted(tmp_path.rglob("*"))
    arguments = [str(value).replace("JUNK", str(tmp_path / "junk")) for value in arguments]
    assert run(command, "--model", model, "--images", pictures, "--methods", "gradient", "--out", tmp_path / "run", *arguments) == 2
    assert_one_sentence(capsys.readouterr().err, sentence)
    assert sorted(tmp_path.rglob("*")) == before


EARLY = [
    (["--images", "/no/such"], "Invalid value for '--images'"),
    (["--labels", "/no/such.csv"], "Invalid value for '--labels'"),
    (["--limit", "0"], "Invalid value for '--limit'"),
    (["--seed", "-1"], "Invalid value for '--seed'"),
    (["--methods", "gradient,nope"], "Invalid value for `method`: 'nope'. Expected one of gradient, "),
    (["--methods", ","], "Invalid value for `methods`: []. Expected 'all' or one or more methods."),
    (["--semantics", "nope"], "Invalid value for `semantics`: 'nope'. Expected one of paper, corrected, both."),
    (["--backend", "nope"], "Invalid value for `backend`: 'nope'. Expected one of "),
]
WITHOUT_TENSORFLOW = """
import contextlib, io, json, sys
sys.modules["tensorflow"] = sys.modules["keras"] = None  # importing either is an error now
from wel.cli import sanity
from wel.cli.app import main
from wel.cli.console import console

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
    commands = [[command, *arguments] for command in STUDIES for arguments, _ in EARLY]
    environment = {**os.environ, "PYTHONPATH": str(ROOT)}
    call = [sys.executable, "-c", WITHOUT_TENSORFLOW, json.dumps(commands)]
    done = subprocess.run(call, capture_output=True, text=True, env=environment, timeout=120, cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    for (_, sentence), (code, stderr) in zip(EARLY * len(STUDIES), json.loads(done.stdout)):
        assert code == 2
        assert_one_sentence(stderr, sentence)
    assert list(tmp_path.iterdir()) == []
