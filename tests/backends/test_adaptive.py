"""wel.backends.native.adaptive: from which image on a sweep is compiled, that this changes no number, and rules that need a graph."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import tensorflow as tf

import wel
from wel.backends.native import adaptive
from wel.backends.native.backend import NativeBackend
from wel.backends.request import Request, Whole
from wel.methods.options import settle_options
from wel.methods.registry import CSC_METHODS, METHODS
from wel.studies.reference import Reference

GOLDEN = Path(__file__).parents[1] / "golden"
GRADIENT = Request(METHODS["gradient"], "paper")


def is_compiled(opened) -> bool:
    (run,) = opened._made.values()
    return run._compiled.traced


def ask(opened, images, left=None):
    vectors = {"dense": np.ones((len(images), 2, 4), "float32")}
    return opened.measure(GRADIENT, images, vectors, ["image"], Whole(), left)


@pytest.mark.parametrize("left, compiled", [(44, False), (45, True)])
def test_it_is_compiled_when_what_is_left_is_worth_it(functional, images, left, compiled):
    # batches of 3: 44 images are 14.67 calls of the 15 that a trace is worth, 45 are 15. Values hardly count: 192 + 256 + 216 + 54 + 54
    # + 7 + 4 = 783 for an image, times 1 + 2 for the way up and two vectors, are 2349; of nine parts 72 million are worth a trace
    opened = NativeBackend().open(wel.load(functional))
    ask(opened, images, left)
    assert is_compiled(opened) == compiled


def test_large_values_count(functional, images, monkeypatch):
    # 2349 values an image: four are 9396, of nine parts with 1000 values each it takes 9000; three have 7047 and one fifteenth of a trace
    monkeypatch.setattr(adaptive, "VALUES_PER_PART", 1000)
    for left, compiled in ((3, False), (4, True)):
        opened = NativeBackend().open(wel.load(functional))
        ask(opened, images, left)
        assert is_compiled(opened) == compiled


def test_who_comes_again_and_again_gets_it_compiled(functional, images):
    opened = NativeBackend().open(wel.load(functional))
    for call in range(16):
        ask(opened, images)
        assert is_compiled(opened) == (call == 15)  # fifteen calls were worth it


def relevance(net, method: str, images, vectors, options, mode: str, monkeypatch) -> dict:
    monkeypatch.setattr(adaptive, "CALLS_PER_TRACE", {"eager": 1e9, "compiled": 1e-9}[mode])
    opened = NativeBackend().open(net)
    found = opened.measure(Request(METHODS[method], "paper", options), images, vectors, None, Whole())
    assert is_compiled(opened) == (mode == "compiled")
    return found


@pytest.mark.parametrize("name", ["tiny_vgg", "tiny_resnet"])
def test_both_give_the_same_to_the_last_bit(name, monkeypatch):
    """On the networks, images and vectors of the golden numbers, which so hold for both."""
    net, reference = wel.load(GOLDEN / f"{name}_keras224.h5"), Reference.load(GOLDEN / f"{name}.npz")
    for method in sorted({method for method, _ in reference.pairs} & set(CSC_METHODS)):
        vectors = {net.find(start): reference.vectors[start] for one, start in reference.pairs if one == method}
        options = settle_options(METHODS[method], reference.options.get(method, {}), reference.images)
        eager, compiled = (relevance(net, method, reference.images, vectors, options, mode, monkeypatch) for mode in ("eager", "compiled"))
        assert eager.keys() == compiled.keys() and eager
        for place, array in eager.items():
            np.testing.assert_array_equal(array, compiled[place], err_msg=f"{method} {place}")


class Doubled(wel.Rule):
    """A rule of a user's with an operation that there is in a graph only."""

    def apply(self, site, prepared, R):
        (x,) = site.inputs
        (back,) = tf.gradients(2 * site.part.forward([x], None), x)
        return [R * back[:, None]]


def test_a_rule_of_ones_own_is_compiled_at_once(functional, images):
    net = wel.load(functional)
    wel.register_rule("relu", Doubled(), "gradient")
    try:
        opened = NativeBackend().open(net)
        found = ask(opened, images)["dense", "image"]
        assert is_compiled(opened)
    finally:
        wel.register_rule("relu", None, "gradient")
    # three ReLUs on the way
    np.testing.assert_allclose(found, 8 * ask(NativeBackend().open(net), images)["dense", "image"], rtol=1e-6)


def test_settings_of_the_caller_come_back(functional, images):
    before = tf.config.optimizer.get_experimental_options()
    ask(NativeBackend().open(wel.load(functional)), images, 1000)
    assert tf.config.optimizer.get_experimental_options() == before
