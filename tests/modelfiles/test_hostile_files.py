"""Files that are broken, lie, or want something: each ends in one sentence, runs nothing and takes little memory."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import warnings
from pathlib import Path

import numpy as np
import pytest
from hostile import CASES, CONTAINERS, LEFT_OUT, Files

from wel.errors import WelError
from wel.networks.loading import load


@pytest.fixture(scope="module")
def base(tmp_path_factory):
    """A folder with one small network as .h5, .keras, .json and weights."""
    from tensorflow.keras import Model, layers

    folder = tmp_path_factory.mktemp("base")
    image = layers.Input((8, 8, 3), name="image")
    x = layers.Conv2D(4, 3, activation="relu", name="conv")(image)
    x = layers.TimeDistributed(layers.Dense(5, name="inner"), name="steps")(x)
    model = Model(image, layers.Dense(3, activation="softmax", name="dense")(layers.Flatten(name="flatten")(x)), name="net")
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # Keras's, about HDF5 being old
        model.save(folder / "net.h5")
    model.save(folder / "net.keras")
    model.save_weights(folder / "net.weights.h5")
    (folder / "net.json").write_text(model.to_json())
    return folder


def arguments(path: Path, base: Path) -> dict:
    return {"weights": str(base / "net.weights.h5")} if path.suffix == ".json" else {}


def test_there_are_enough():
    assert len(CASES) >= 200


@pytest.mark.apart
def test_the_network_itself_is_read(base):
    for name in ("net.h5", "net.keras", "net.json"):
        assert load(base / name, **arguments(base / name, base)).layers == ["image", "conv", "steps", "flatten", "dense"]


@pytest.mark.parametrize("case", [pytest.param(case, marks=pytest.mark.apart if case in CONTAINERS else ()) for case in CASES])
def test_one_sentence_and_no_code(case, base, tmp_path):
    make, sentence = CASES[case]
    files = Files(base, tmp_path)
    path = make(files)
    before = sorted(os.listdir(tmp_path))
    with pytest.raises(WelError, match=sentence) as caught:
        load(path, **arguments(path, base))
    message = str(caught.value)
    assert message.startswith("Invalid ") and "\n" not in message and len(message) < 1200
    assert not files.trap.exists() and sorted(os.listdir(tmp_path)) == before


@pytest.mark.parametrize("suffix", [".h5", ".keras"])
@pytest.mark.parametrize("case", LEFT_OUT)
def test_training_matters_are_left_out_and_nothing_runs(case, suffix, base, tmp_path):
    change, words = LEFT_OUT[case]
    path = Files(base, tmp_path).configured(suffix, change)
    net, plain = load(path), load(base / "net.h5")
    assert net.origin.notes[0] == f"Left out, as it matters in training only: {words}."
    for found, expected in zip(net.model.get_weights(), plain.model.get_weights(), strict=True):
        np.testing.assert_array_equal(found, expected)


# --- through the command line -----------------------------------------------------------------------------------------

# what would take memory, and some of everything
GREEDY = ("many", "large", "beyond", "bomb", "stored", "compressed", "long", "endless", "inflating", "chunk")
THROUGH_COMMANDS = [*list(CASES)[::7], *(name for name in CASES if any(word in name for word in GREEDY))]
COMMANDS = """
import contextlib, io, json, resource, sys
from wel.cli.app import main
answers = []
for model, weights in json.load(sys.stdin):
    said = io.StringIO()
    with contextlib.redirect_stderr(said):
        try:
            main(["methods", "gradient", "--model", model, *(["--weights", weights] if weights else [])])
        except SystemExit as end:
            answers.append([model, end.code, said.getvalue()])
# not ru_maxrss of its own, which holds what the process that started it had
own = next(int(line.split()[1]) for line in open("/proc/self/status") if line.startswith("VmHWM"))
print(json.dumps([answers, [own, resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss]]))
"""


def test_commands_end_with_exit_code_2_and_little_memory(base, tmp_path):
    traps, given = [], []
    for number, case in enumerate(dict.fromkeys(THROUGH_COMMANDS)):
        (folder := tmp_path / str(number)).mkdir()
        files = Files(base, folder)
        path = CASES[case][0](files)
        traps.append(files.trap)
        given.append([str(path), arguments(path, base).get("weights")])
    done = subprocess.run([sys.executable, "-c", COMMANDS], input=json.dumps(given), capture_output=True, text=True, timeout=300)
    assert done.returncode == 0 and done.stderr == "", done.stderr
    answers, kibibytes = json.loads(done.stdout.splitlines()[-1])
    assert len(answers) == len(given) >= 50
    for model, code, said in answers:
        assert code == 2 and said.startswith("wel: Invalid ") and said.count("\n") == 1 and "Traceback" not in said, (model, code, said)
    assert sum(kibibytes) < 2 << 20
    assert not any(trap.exists() for trap in traps)
