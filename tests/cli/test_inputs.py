"""wel.cli.inputs: what almost every command begins with."""

from __future__ import annotations

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
