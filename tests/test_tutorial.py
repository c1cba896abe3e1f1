"""docs/audit.md: its commands run and end as it says, its verdicts and counts are those found, its files are what it says they are."""

from __future__ import annotations

import csv
import json
import re
import shlex
from dataclasses import dataclass
from pathlib import Path

import h5py
import numpy as np
import pytest
import tensorflow as tf
from PIL import Image

from wel.cli.app import main
from wel.system.files import file_sha256

ROOT = Path(__file__).resolve().parent.parent
LEGACY = ROOT / "docs" / "legacy"
TEXT = (ROOT / "docs" / "audit.md").read_text(encoding="utf-8")
EXPECTED = {("gradient", "sensitive"), ("lrp_alpha1_beta0", "insensitive")}


@dataclass(frozen=True)
class Quoted:
    """A command of the tutorial, what it is said to print, and its exit code, 0 where none is quoted."""

    command: str
    output: str
    code: int

    def verdicts(self):
        return set(re.findall(r"^│ (\w+)[^│]*│ (\w+) ", self.output, re.MULTILINE))


def quoted():
    blocks = re.findall(r"```console\n(.*?)```", TEXT, re.DOTALL)
    parts = [part for block in blocks for part in re.split(r"^\$ ", block, flags=re.MULTILINE) if part]
    found = []
    for part in parts:
        command, _, output = part.partition("\n")
        if command == "echo $?":
            found[-1] = Quoted(found[-1].command, found[-1].output, int(output))
        else:
            found.append(Quoted(command, output, 0))
    return found


def run(arguments):
    """The exit code of `wel` with these arguments."""
    with pytest.raises(SystemExit) as ended:
        main(arguments)
    return ended.value.code or 0


@pytest.fixture(scope="module")
def ran(tmp_path_factory):
    """Each command with its exit code and record; with the methods whose verdicts are quoted, else with two and eight images."""
    found = []
    for number, one in enumerate(quoted()):
        words = shlex.split(one.command)
        assert words[:2] == ["wel", "audit"]
        folder = tmp_path_factory.mktemp("runs") / str(number)
        words[words.index("--out") + 1] = str(folder)
        methods = sorted({method for method, _ in one.verdicts() or EXPECTED})
        words += [] if "--methods" in words else ["--methods", ",".join(methods)]
        words += [] if one.verdicts() else ["--limit", "8"]
        with pytest.MonkeyPatch.context() as patch:
            patch.chdir(ROOT)
            code = run(words[1:])
        found.append((one, code, json.loads((folder / "audit.json").read_text(encoding="utf-8"))))
    return found


@pytest.mark.slow
def test_commands_end_as_the_tutorial_says(ran):
    assert [code for _, code, _ in ran] == [one.code for one, _, _ in ran] == [0, 0, 1, 0, 0]
    assert [record["stopped"] for _, _, record in ran] == [None] * 5
    assert [record["mode"] for _, _, record in ran] == ["quick"] * 4 + ["full"]


@pytest.mark.slow
def test_verdicts_are_those_that_the_tutorial_quotes(ran):
    for one, _, record in ran:
        found = {(entry["method"], entry["verdict"]) for entry in record["methods"]}
        assert found == one.verdicts() if one.verdicts() else found <= EXPECTED
    assert [one.verdicts() >= EXPECTED for one, _, _ in ran] == [True, True, False, False, False]


@pytest.mark.slow
def test_first_guesses_are_right_as_often_as_the_tutorial_says(ran):
    right = [sum(item["top"][0]["class"] == item["label"] for item in record["images"]["items"]) for _, _, record in ran[:2]]
    assert right == [int(count) for count in re.findall(r"(\d+) of 24", TEXT)] == [10, 17]
    guessed = {item["name"]: item["top"][0]["class"] for item in ran[0][2]["images"]["items"]}
    assert {guessed[name] for name in guessed if name.startswith("automobile")} == {8}
    assert {guessed[name] for name in guessed if name.startswith("truck")} == {0}
    assert ran[0][2]["images"]["preprocessing"]["guess"] and not ran[1][2]["images"]["preprocessing"]["guess"]


@pytest.mark.slow
def test_keras_2_2_4_predicted_the_same(ran):
    (check,) = [check for check in ran[1][2]["checks"] if check["name"] == "expected predictions"]
    assert check["passed"] and check["value"] < 2e-6


def test_other_predictions_stop_the_audit(tmp_path, capsys):
    with np.load(LEGACY / "expected.npz") as stored:
        np.savez(tmp_path / "other.npz", inputs=stored["inputs"] + 0.1, predictions=stored["predictions"])
    arguments = ["audit", LEGACY / "cifar10_cnn.h5", "--images", LEGACY / "images", "--expect", tmp_path / "other.npz", "--limit", "2"]
    assert run([*map(str, arguments), "--out", str(tmp_path / "run")]) == 2
    assert "differs from the stored predictions" in capsys.readouterr().err
    assert json.loads((tmp_path / "run" / "audit.json").read_text(encoding="utf-8"))["methods"] == []


def test_the_legacy_file_is_what_its_card_says():
    card = json.loads((LEGACY / "card.json").read_text(encoding="utf-8"))
    assert card["sha256"] == file_sha256(LEGACY / "cifar10_cnn.h5")
    assert (LEGACY / "cifar10_cnn.h5").stat().st_size < 600_000
    assert card["test_accuracy"] > 0.65 and str(card["test_accuracy"]) in TEXT
    assert [f"{k} {name}" for k, name in enumerate(card["classes"].split()) if f"{k} {name}" in " ".join(TEXT.split())] == [
        "0 airplane", "1 automobile", "2 bird", "3 cat", "4 deer", "5 dog", "6 frog", "7 horse", "8 ship", "9 truck"
    ]  # fmt: skip


def test_pictures_labels_and_expected_inputs_belong_together():
    card = json.loads((LEGACY / "card.json").read_text(encoding="utf-8"))
    with open(LEGACY / "images" / "labels.csv", newline="", encoding="utf-8") as file:
        labels = {row["file"]: int(row["label"]) for row in csv.DictReader(file)}
    assert sorted(labels) == sorted(path.name for path in (LEGACY / "images").glob("*.png")) and len(labels) == 24
    assert {name: card["classes"].split()[label] for name, label in labels.items()} == {name: name.split("_")[0] for name in labels}
    in_test_order = sorted(labels, key=lambda name: int(name.split("_")[1][:-4]))
    pixels = np.stack([np.asarray(Image.open(LEGACY / "images" / name)) for name in in_test_order])
    with np.load(LEGACY / "expected.npz") as stored:
        np.testing.assert_allclose(stored["inputs"], pixels / 127.5 - 1, atol=1e-6)
        assert (stored["predictions"].argmax(axis=1) == [labels[name] for name in in_test_order]).sum() == 17


def test_the_screenshot_is_small():
    with Image.open(ROOT / "docs" / "audit.png") as picture:
        assert picture.width == 1100
    assert (ROOT / "docs" / "audit.png").stat().st_size <= 200_000


class Scale(tf.keras.layers.Layer):
    """A layer of the user's own."""

    def call(self, values):
        return 2 * values


def strange_files(folder):
    """Models that are refused, in the order of the tutorial's table."""
    layers = tf.keras.layers
    image = layers.Input((8, 8, 1))
    above = [layers.Flatten(), layers.Dense(3)]
    tf.keras.Sequential([image, layers.Lambda(lambda values: 2 * values), *above]).save(folder / "lambda.h5", include_optimizer=False)
    tf.keras.Sequential([image, Scale(), *above]).save(folder / "custom.h5", include_optimizer=False)
    tf.saved_model.save(tf.keras.Sequential([image, *above]), str(folder / "saved"))
    flat = layers.Flatten()(image)
    outputs = [layers.Dense(3, name=name)(flat) for name in ("kind", "colour")]
    tf.keras.Model(image, outputs).save(folder / "two.h5", include_optimizer=False)
    any_size = layers.Input((None, None, 3))
    pooled = layers.GlobalAveragePooling2D()(layers.Conv2D(2, 3)(any_size))
    tf.keras.Model(any_size, layers.Dense(3)(pooled)).save(folder / "any.h5", include_optimizer=False)
    tf.keras.Sequential([layers.InputLayer((8, 8, 1)), *above]).save(folder / "shapeless.h5", include_optimizer=False)
    with h5py.File(folder / "shapeless.h5", "r+") as file:  # as Keras 2.2.4 writes it: without its first layer
        configuration = json.loads(file.attrs["model_config"])
        del configuration["config"]["layers"][0]
        file.attrs["model_config"] = json.dumps(configuration)
    other = layers.Input((8, 8, 1))
    tf.keras.Model([image, other], layers.Dense(3)(layers.Flatten()(layers.Add()([image, other])))).save(folder / "inputs.h5")
    tf.keras.Model(image, layers.Conv2D(3, 1)(image)).save(folder / "pixels.h5", include_optimizer=False)
    return [folder / name for name in ("lambda.h5", "custom.h5", "saved", "two.h5", "any.h5", "shapeless.h5", "inputs.h5", "pixels.h5")]


@pytest.mark.filterwarnings("ignore:.*HDF5 file via `model.save:UserWarning")
def test_what_the_tutorial_says_is_refused_is_refused(tmp_path, capsys):
    rows = re.findall(r"^\|[^|]*\| (`+)(.*?)\1 \|", TEXT[TEXT.index("## What is refused") :], re.MULTILINE)
    messages = [message.strip() for _, message in rows]
    files = strange_files(tmp_path)
    assert len(messages) == len(files)
    for path, message in zip(files, messages):
        capsys.readouterr()
        assert run(["audit", str(path), "--out", str(tmp_path / "run")]) == 2
        assert message in capsys.readouterr().err
        assert not (tmp_path / "run").exists()
