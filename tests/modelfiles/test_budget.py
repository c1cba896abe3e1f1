"""wel.modelfiles.budget: declared sizes, variables and layers' values, each at its bound."""

from __future__ import annotations

import resource

import numpy as np
import pytest

from wel.errors import WelError
from wel.modelfiles import budget
from wel.modelfiles.budget import RATIO, SLACK, UNSAVED, check_declared, memory_within, size, variables_within
from wel.networks import loading
from wel.networks.graph import build_graph
from wel.networks.loading import check_activations


@pytest.fixture
def memory(monkeypatch):
    """Sets how much memory seems to be free."""

    def set_free(count: int) -> None:
        for module in (budget, loading):
            monkeypatch.setattr(module, "free", lambda: count)

    return set_free


def test_declared_sizes(memory):
    memory(1 << 40)
    check_declared(SLACK, 0)
    check_declared(RATIO * 1000 + SLACK, 1000)
    with pytest.raises(WelError, match="It declares 16 MiB and stores 1000 B. Expected 50 times what it stores at most"):
        check_declared(RATIO * 1000 + SLACK + 1, 1000)
    memory(3000)
    check_declared(1000, 1000)
    with pytest.raises(WelError, match="It declares 1001 B, of which wel needs 3 copies. Expected no more than is free, 2.93 KiB"):
        check_declared(1001, 1001)


def dense(*units: int) -> list:
    """Three inputs, then dense layers: 4·u₁ + (u₁ + 1)·u₂ + … weights."""
    from tensorflow.keras import Sequential, layers

    return Sequential([layers.Input((3,)), *map(layers.Dense, units)])


def test_variables_are_counted():
    # 3·10 + 10 + 10·2 + 2 = 62; what files do not keep may come on top
    with variables_within(62 - UNSAVED):
        dense(10, 2)
    with pytest.raises(WelError, match="Its architecture has more than 62 weights and its file stores"):
        with variables_within(61 - UNSAVED):
            dense(10, 2)


def test_variables_are_not_made_first():
    with pytest.raises(WelError, match="more than 3,000,000,000,000 weights and its file stores 100"):
        with variables_within(100):
            dense(10**12)


def test_other_errors_pass():
    with pytest.raises(KeyError):
        with variables_within(0):
            raise KeyError


def test_nothing_stays_behind():
    with variables_within(0):
        pass
    assert dense(10**6).count_params() == 4 * 10**6


def test_activations(sequential, memory):
    graph = build_graph(sequential)
    # image 8·8·3, conv and relu 8·8·5, pool, flatten and drop 4·4·5, dense 4; four bytes each, a quarter of what is free
    needed = 4 * (192 + 2 * 320 + 3 * 80 + 4)
    memory(4 * needed)
    check_activations(graph)
    memory(4 * needed - 1)
    with pytest.raises(WelError, match=r"^Invalid value for `model`: the values of its layers take 4.2 KiB .* those of 'conv', of shape"):
        check_activations(graph)


def test_memory_within():
    before = resource.getrlimit(resource.RLIMIT_AS)
    with memory_within(256 << 20):
        assert resource.getrlimit(resource.RLIMIT_AS)[0] > 256 << 20
        np.zeros(128 << 20, dtype="uint8")
        with pytest.raises(MemoryError):
            np.zeros(512 << 20, dtype="uint8")
    assert resource.getrlimit(resource.RLIMIT_AS) == before
    np.zeros(512 << 20, dtype="uint8")


def test_free_is_this_machines():
    assert 1 << 20 < budget.free() < 1 << 50


@pytest.mark.parametrize(
    "count, shown", [(0, "0 B"), (1, "1 B"), (1023, "1023 B"), (1024, "1 KiB"), (1536, "1.5 KiB"), (1 << 72, "4096 EiB")]
)
def test_size(count, shown):
    assert size(count) == shown


def test_sizes_beyond_64_bits_are_no_problem():
    with pytest.raises(WelError, match="EiB"):
        check_declared(np.iinfo("int64").max ** 2, 10)
