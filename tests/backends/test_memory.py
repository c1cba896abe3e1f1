"""wel.backends.native.memory: what a batch is predicted to take, by hand, and that a sweep stays within it."""

from __future__ import annotations

from types import SimpleNamespace

import pytest
import tensorflow as tf

import wel
from wel.backends.native.memory import MOST, batch_memory, bytes_per_image, common_bytes, images_within
from wel.rules.base import Relevance
from wel.rules.deeplift import Contributions

layers = tf.keras.layers


@pytest.fixture(scope="module")
def graph():
    """16 values in, 36 of the convolution, 36, 2."""
    return wel.load(tf.keras.Sequential([layers.Input((4, 4, 1)), layers.Conv2D(4, 2), layers.Flatten(), layers.Dense(2)])).graph


@pytest.mark.parametrize(
    ("flow", "expected"),
    [
        # 90 values; of 3 vectors the largest layer's 36: 4 bytes of 4 · 90 and 6 · 3 · 36
        (Relevance(), 4 * (360 + 648)),
        # of the reference and of contributions too
        (Contributions(split=False), 4 * (720 + 648)),
        # two multipliers
        (Contributions(split=True), 4 * (720 + 1296)),
    ],
)
def test_an_image_by_hand(graph, flow, expected):
    assert bytes_per_image(graph, 3, "float32", flow) == expected
    assert bytes_per_image(graph, 3, "float64", flow) == 2 * expected
    assert images_within(5 * expected + 1, graph, 3, "float32", flow) == 5
    assert images_within(1, graph, 3, "float32", flow) == 0


def test_what_methods_have_in_common_by_hand(graph):
    # three copies of the 16 and 36 values of the input and of Flatten, four of the 36 and 2 that kernels give
    assert common_bytes(graph.nodes) == 4 * (3 * 52 + 4 * 38) and common_bytes(graph.nodes[2:]) == 4 * (3 * 36 + 4 * 2)
    # of a kernel with a ReLU five of 8, of the same in three layers four, one and one
    fused = [layers.Input(3), layers.Dense(8, activation="relu")]
    apart = [layers.Input(3), layers.Dense(8), layers.BatchNormalization(), layers.ReLU()]
    found = [common_bytes(wel.load(tf.keras.Sequential(stack)).graph.nodes[1:]) for stack in (fused, apart)]
    assert found == [4 * 5 * 8, 4 * (4 + 1 + 1) * 8]


@pytest.mark.parametrize("available", [1 << 20, 20 << 30])
def test_what_a_batch_takes_does_not_depend_on_what_else_the_machine_does(monkeypatch, available):
    def there(total):
        monkeypatch.setattr("psutil.virtual_memory", lambda: SimpleNamespace(total=total, available=available))
        monkeypatch.setattr("wel.system.memory.container_limit", lambda total: 0)
        return batch_memory(None)

    # a quarter of 4 GiB, and of more than 8 GiB no more than 2
    assert there(4 << 30) == 1 << 30 and there(24 << 30) == MOST == 2 << 30
