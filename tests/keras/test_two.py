"""wel.keras.two: which Keras 2 there is, and every private name of it that wel needs."""

from __future__ import annotations

import sys

import pytest
import tensorflow as tf

from wel.errors import WelError
from wel.keras import two
from wel.keras.two import PRIVATE, keras2, private

OLD = tuple(map(int, tf.__version__.split(".")[:2])) < (2, 16)


def test_which_keras_2_there_is():
    assert keras2().Model.__module__.startswith("keras" if OLD else "tf_keras")
    assert ("tf_keras" in sys.modules) or OLD


@pytest.mark.parametrize("name", PRIVATE)
def test_private_names_are_there(name):
    assert private(name) is not None or name == "_SEED_GENERATOR"


@pytest.mark.parametrize("name", PRIVATE)
def test_without_one_the_error_names_it(name, monkeypatch):
    monkeypatch.setitem(PRIVATE, name, f"{PRIVATE[name]}.gone".lstrip("."))
    with pytest.raises(
        WelError, match=rf"^Keras 2\.\d+\.\d+ has no (tf_)?keras\.src\..*gone\.{name}, which wel needs\. Expected TensorFlow"
    ):
        private(name)


@pytest.mark.skipif(OLD, reason="TensorFlow below 2.16 brings Keras 2 itself")
def test_without_tf_keras_the_error_says_how_to_get_it(monkeypatch):
    monkeypatch.setitem(sys.modules, "tf_keras", None)
    with pytest.raises(
        WelError, match=r"is missing: TensorFlow .* brings Keras 3\. Expected the package tf_keras: pip install 'tf_keras~=2"
    ):
        two.keras2.__wrapped__()
