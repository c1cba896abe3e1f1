"""`wel faithfulness`: what it prints and writes, and how it refuses."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

import wel
from wel.cli.app import main
from wel.system.runs import read_exactly


def run(*arguments: object) -> int:
    """Runs the command in this process; its exit code."""
    with pytest.raises(SystemExit) as ended:
        main([str(argument) for argument in arguments])
    return ended.value.code or 0


@pytest.fixture
def inputs(functional, images, tmp_path) -> list[object]:
    functional.save(tmp_path / "tiny.h5")
    np.save(tmp_path / "images.npy", images)
    given = ["--model", tmp_path / "tiny.h5", "--images", tmp_path / "images.npy", "--preprocess", "none", "--out", tmp_path / "run"]
    return ["faithfulness", *given, "--methods", "gradient,layer_cam"]


def test_the_tables_are_the_librarys(inputs, images, tmp_path, capsys):
    assert run(*inputs, "--patch", 2, "--parts", 5, "--baseline", "blur") == 0
    printed, out = capsys.readouterr().out, tmp_path / "run"
    library = wel.faithfulness(wel.load(tmp_path / "tiny.h5"), images, ["gradient", "layer_cam"], 2, parts=5, baseline="blur")
    for name, expected in (
        ("faithfulness", library.table),
        ("faithfulness_curves", library.curves),
        ("faithfulness_images", library.images),
    ):
        found = read_exactly(out / f"{name}.csv")
        assert found.columns.tolist() == expected.columns.tolist()
        np.testing.assert_array_equal(found.select_dtypes("number"), expected.select_dtypes("number"))
    assert sorted(path.name for path in (out / "figures").iterdir()) == ["faithfulness.png", "faithfulness.svg"]
    rows = [line.strip("│").split("│")[0].strip() for line in printed.splitlines() if line.startswith("│")]
    assert rows == ["gradient", "layer_cam", "random", "edges"] and f"Table: {out / 'faithfulness.csv'}" in printed


def test_sufficiency_is_the_librarys(inputs, images, tmp_path, capsys):
    assert run(*inputs, "--patch", 2, "--parts", 8, "--sufficiency", 3) == 0
    printed, out = capsys.readouterr().out, tmp_path / "run"
    library = wel.faithfulness(wel.load(tmp_path / "tiny.h5"), images, ["gradient", "layer_cam"], 2, parts=8, sufficiency=3)
    found = read_exactly(out / "faithfulness_sufficiency.csv")
    np.testing.assert_array_equal(found.select_dtypes("number"), library.sufficiency.select_dtypes("number"))
    assert "from the 25% that its own map calls most relevant" in " ".join(printed.split()) and "other class 2" in printed
    assert {"sufficiency.png", "sufficiency.svg"} <= {path.name for path in (out / "figures").iterdir()}


@pytest.mark.parametrize(
    ("arguments", "sentence"),
    [
        (["--patch", 9], "Invalid value for `patch`: 9. Expected at most 8, the shortest side of an image."),
        (["--patch", 4, "--parts", 5], "Invalid value for `parts`: 5. Expected at most 4, the regions of an image."),
        (["--regions", "hexagons"], "Invalid value for `regions`: 'hexagons'. Expected one of squares, superpixels."),
        (["--sufficiency", 5], "Invalid value for `sufficiency`: 5. Expected at most 4, the classes of the network."),
        (["--baseline", "grey"], "Invalid value for `baseline`: 'grey'. Expected one of mean, blur, linear."),
        (["--methods", "cam"], "Method 'cam' needs a global average pooling that goes into one dense layer, and that into the output."),
    ],
)
def test_a_mistake_is_one_sentence_exit_code_2_and_nothing_written(inputs, tmp_path, capsys, arguments, sentence):
    before = sorted(Path(tmp_path).rglob("*"))
    assert run(*inputs, *arguments) == 2
    assert capsys.readouterr().err == f"wel: {sentence}\n"
    assert sorted(Path(tmp_path).rglob("*")) == before
