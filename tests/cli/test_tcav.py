"""`wel tcav`: what it prints and writes, and how it refuses."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from PIL import Image

import wel
from wel.cli.app import main
from wel.cli.tcav import finding, named_concepts
from wel.images.concepts import with_concept
from wel.system.runs import read_exactly


def run(*arguments: object) -> int:
    """Runs the command in this process; its exit code."""
    with pytest.raises(SystemExit) as ended:
        main([str(argument) for argument in arguments])
    return ended.value.code or 0


def folder(path: Path, count: int, seed: int) -> np.ndarray:
    """Pictures in a folder, (count, 8, 8, 3) uint8, in the order of their names."""
    path.mkdir()
    pixels = np.random.default_rng(seed).integers(0, 256, (count, 8, 8, 3)).astype("uint8")
    for number, picture in enumerate(pixels):
        Image.fromarray(picture).save(path / f"{number:03d}.png")
    return pixels


@pytest.fixture
def inputs(functional, images, tmp_path) -> list[object]:
    functional.save(tmp_path / "tiny.h5")
    np.save(tmp_path / "images.npy", (255 * images).astype("uint8"))
    given = ["--model", tmp_path / "tiny.h5", "--images", tmp_path / "images.npy", "--preprocess", "0-1", "--out", tmp_path / "run"]
    return ["tcav", *given, "--counterparts", 3]


def test_the_tables_are_the_librarys(inputs, images, tmp_path, capsys):
    concept, random = folder(tmp_path / "mine", 11, 0), folder(tmp_path / "anything", 44, 1)
    given = ["--concept", tmp_path / "mine", "--concept", "stripes", "--random", tmp_path / "anything", "--seed", 4]
    classes = wel.load(tmp_path / "tiny.h5").logits((255 * images).astype("uint8") / np.float32(255)).argmax(axis=1)
    assert run(*inputs, *given, "--layer", "conv2,hidden", "--stages", "dense,hidden", "--class", classes[0]) == 0
    printed, out = capsys.readouterr().out, tmp_path / "run"
    scaled = {"mine": concept, "stripes": with_concept("stripes", random, 4)}
    library = wel.tcav(
        wel.load(tmp_path / "tiny.h5"),
        (255 * images).astype("uint8") / np.float32(255),
        {name: pixels / np.float32(255) for name, pixels in scaled.items()},
        random / np.float32(255),
        ["conv2", "hidden"],
        of=int(classes[0]),
        stages=["dense", "hidden"],
        counterparts=3,
        seed=4,
    )
    for name, expected in (("tcav", library.table), ("tcav_scores", library.scores)):
        found = read_exactly(out / f"{name}.csv")
        assert found.columns.tolist() == expected.columns.tolist()
        np.testing.assert_array_equal(found.select_dtypes("number"), expected.select_dtypes("number"))
    assert sorted(path.name for path in (out / "figures").iterdir()) == ["tcav.png", "tcav.svg"]
    rows = [line.strip("│").split("│") for line in printed.splitlines() if line.startswith("│")]
    first = [[cell.strip() for cell in row[:2]] for row in rows[:4]]
    assert first == [["mine", "conv2"], ["stripes", "conv2"], ["mine", "hidden"], ["stripes", "hidden"]]
    assert len(rows) == 8 and f"Table: {out / 'tcav.csv'}" in printed


def test_random_pictures_by_default(inputs, capsys, tmp_path):
    assert run(*inputs, "--concept", "red", "--concept", "dots") == 0
    assert "concepts: red, dots; random: bundled CIFAR-10 test images" in capsys.readouterr().out
    table = read_exactly(tmp_path / "run" / "tcav.csv")
    assert table["pictures"].tolist() == [50, 50] and table["layer"].tolist() == ["conv2", "conv2"]


def test_concepts_are_called_like_their_folders_and_files(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    for name in ("v1.0", "stripes"):
        (tmp_path / name).mkdir()
    (tmp_path / "fur.npy").touch()
    named = named_concepts(["v1.0/", "fur.npy", "stripes", "."])
    assert named == {"v1.0": Path("v1.0"), "fur": Path("fur.npy"), "stripes": None, tmp_path.name: Path(".")}
    assert named_concepts(["./stripes"]) == {"stripes": Path("./stripes")}


@pytest.mark.parametrize(
    ("row", "words"),
    [
        ({"separable": False, "significant": True, "score": 1, "control": 0}, "not separable from random pictures"),
        ({"separable": True, "significant": False, "score": 1, "control": 0}, "no difference shown"),
        ({"separable": True, "significant": True, "score": 0.4, "control": 0.3}, "rises"),
        ({"separable": True, "significant": True, "score": 0.4, "control": 0.5}, "falls"),
    ],
)
def test_findings(row, words):
    assert finding(row) == words


@pytest.mark.parametrize(
    ("arguments", "sentence"),
    [
        (["--concept", "zebras"], "Invalid value for `concept`: 'zebras'. Expected a directory or file with pictures, or one of stripes, "),
        (["--concept", "EMPTY"], "Invalid value for `concept`: 'EMPTY'. Expected a directory with images (.jpg, "),
        (["--concept", "FEW"], "Invalid value for `concept`: 'few'. Expected 10 pictures or more. Received 4."),
        (["--concept", "stripes", "--random", "FEW"], "Invalid value for `random`: '4 pictures'. Expected 40 or more."),
        (["--concept", "stripes", "--random", "FLOATS"], "Invalid value for `preprocess`: '0-1'. Expected none: an array of floats "),
        (
            ["--concept", "stripes", "--concept", "stripes"],
            "Invalid value for `concept`: 'stripes'. Expected concepts of different names: ",
        ),
        (["--concept", "stripes", "--layer", "conv9"], "Invalid value for `layer`: 'conv9'. Expected one of input, output, conv1, conv2, "),
        (["--concept", "stripes", "--layer", "output"], "Invalid value for `layer`: 'dense'. Expected a layer below the output "),
        (["--concept", "stripes", "--class", "cat"], "Invalid value for `class`: 'cat'. Expected whole numbers from 0 on with commas, "),
        (["--concept", "stripes", "--class", "17"], "Invalid value for `class`: 17. Expected a class that images have: one of "),
        (["--concept", "stripes", "--stages", "x"], "Invalid value for `stages`: 'x'. Expected one of "),
        ([], "Missing option '--concept'"),
    ],
)
def test_a_mistake_is_one_sentence_exit_code_2_and_nothing_written(inputs, tmp_path, capsys, arguments, sentence):
    (tmp_path / "EMPTY").mkdir()
    folder(tmp_path / "few", 4, 0)
    np.save(tmp_path / "floats.npy", np.zeros((40, 8, 8, 3), "float32"))
    paths = {"EMPTY": tmp_path / "EMPTY", "FEW": tmp_path / "few", "FLOATS": tmp_path / "floats.npy"}
    before = sorted(Path(tmp_path).rglob("*"))
    assert run(*inputs, *(paths.get(argument, argument) for argument in arguments)) == 2
    said = capsys.readouterr().err
    for name, path in paths.items():
        said = said.replace(str(path), name)
    assert said.startswith(f"wel: {sentence}") and said.count("\n") == 1
    assert sorted(Path(tmp_path).rglob("*")) == before


def test_nothing_is_drawn_on_inputs_and_colours_need_channels(tmp_path, capsys):
    from tensorflow.keras import Sequential, layers

    Sequential([layers.Input((8, 8, 1)), layers.Conv2D(2, 3), layers.Flatten(), layers.Dense(3)]).save(tmp_path / "grey.h5")
    np.save(tmp_path / "floats.npy", np.random.default_rng(0).random((30, 8, 8, 1), "float32"))
    given = ["tcav", "--model", tmp_path / "grey.h5", "--images", tmp_path / "floats.npy", "--out", tmp_path / "run"]
    assert run(*given, "--random", tmp_path / "floats.npy", "--concept", "dots") == 2
    assert (
        "Invalid value for `random`: 'array" in (said := capsys.readouterr().err) and "Expected pictures, for something to be drawn" in said
    )
    assert run(*given, "--concept", "red") == 2
    assert (
        "Invalid value for `concept`: 'red'. Expected one without colours: 'grey' takes pictures of one channel." in capsys.readouterr().err
    )
    assert not (tmp_path / "run").exists()
    assert run(*given, "--counterparts", 3, "--concept", "dots") == 0
