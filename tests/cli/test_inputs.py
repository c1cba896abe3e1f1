"""wel.cli.inputs: what almost every command begins with."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path
from types import SimpleNamespace

import pytest
from rich.console import Console

from wel.cli.inputs import Inputs
from wel.errors import WelError
from wel.networks.loading import parse_shape


@pytest.mark.parametrize(
    "text, shape",
    [(None, None), ("224,224,3", (224, 224, 3)), ("224x200x3", (224, 200, 3)), ("(100,)", (100,)), (" 8, 8 ,1", (8, 8, 1)), ("7", (7,))],
)
def test_shapes(text, shape):
    assert parse_shape(text) == shape


@pytest.mark.parametrize("text", ["", "a", "8,0", "8,-1", "8,,3", "1.5,2", "8;8", "10000000000"])
def test_no_shapes(text):
    with pytest.raises(WelError, match="Invalid value for `input-shape`: .* Expected whole numbers from 1 on, such as 224,224,3"):
        parse_shape(text)


@pytest.mark.parametrize("random", [(), ("fc1",)])
def test_layers_without_trained_weights_are_announced(random, capsys):
    note = "The file has no weights for fc1: these layers are random, of seed 0."
    net = SimpleNamespace(name="vgg16", random_layers=random, origin=SimpleNamespace(notes=(note,)))
    pictures = SimpleNamespace(names=["a"], source="here", preprocessing=SimpleNamespace(guess=None))
    Inputs(net, pictures, Path("runs"), Console()).announce(", 5 vectors")
    assert capsys.readouterr().out == "vgg16: 1 images (here), 5 vectors\n" + (f"{note}\n" if random else "")


REFUSING = "import sys; sys.modules['tensorflow'] = None\nfrom wel.cli.app import main\nmain(sys.argv[1:])"


@pytest.mark.parametrize(
    "command", [["csc", "--model", "nofile.h5", "--workers", "1"], ["audit", "nofile.h5"], ["csc", "--workers", "4096"]]
)
def test_what_is_mistyped_is_refused_without_tensorflow(command, tmp_path):
    done = subprocess.run([sys.executable, "-c", REFUSING, *command], capture_output=True, text=True, cwd=tmp_path, timeout=120)
    assert done.returncode == 2 and done.stderr.startswith("wel: Invalid value for `") and "Expected" in done.stderr
    assert not any(tmp_path.iterdir())
