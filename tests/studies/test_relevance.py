"""wel.relevance: what it gives back, and one sentence for everything that it cannot use, before any process is started."""

from __future__ import annotations

import numpy as np
import pytest
from conftest import loaded

import wel
from wel.backends.process import Worker
from wel.errors import WelError


@pytest.fixture
def no_worker(monkeypatch):
    """Fails when a backend's process is started or asked."""

    def refuse(self, *args):
        raise AssertionError("a process was started")

    monkeypatch.setattr(Worker, "_start", refuse)
    monkeypatch.setattr(Worker, "run", refuse)


@pytest.fixture(scope="module")
def net(functional):
    return loaded(functional)


def vectors(*shape: int) -> np.ndarray:
    return np.random.default_rng(0).standard_normal(shape, dtype="float32")


# --- results


def test_all_layers_below_the_start_are_read_by_default(net, images):
    found = wel.relevance(net, "gradient", images, "pool", vectors(3, 2, 3, 3, 6))
    assert list(found) == ["input", "conv1", "conv2"]
    assert [array.shape for array in found.values()] == [(3, 2, 8, 8, 3), (3, 2, 8, 8, 4), (3, 2, 6, 6, 6)]
    assert {array.dtype for array in found.values()} == {np.dtype("float32")}


def test_names_come_back_as_they_were_given(net, images):
    whole = wel.relevance(net, "gradient", images, "output", vectors(3, 1, 4))
    some = wel.relevance(net, "gradient", images, "dense", vectors(3, 1, 4), at=["image", "hidden", "input"])
    assert list(some) == ["image", "hidden", "input"]
    np.testing.assert_array_equal(some["image"], whole["input"])
    np.testing.assert_array_equal(some["hidden"], whole["hidden"])
    one = wel.relevance(net, "gradient", images, vectors=vectors(3, 1, 4), at="conv2")
    np.testing.assert_array_equal(one["conv2"], whole["conv2"])


def test_every_image_and_vector_is_computed_for_itself(net, images):
    both = wel.relevance(net, "lrp_alpha1_beta0", images, "hidden", vectors(3, 2, 7), at="input")["input"]
    for i, k in np.ndindex(3, 2):
        alone = wel.relevance(net, "lrp_alpha1_beta0", images[[i]], "hidden", vectors(3, 2, 7)[[i]][:, [k]], at="input")["input"]
        np.testing.assert_allclose(alone[0, 0], both[i, k], rtol=0, atol=1e-5 * np.abs(both).max())


def test_lists_and_other_number_types_are_taken(net, images):
    expected = wel.relevance(net, "gradient", images, vectors=np.ones((3, 1, 4), "float32"), at="input")["input"]
    found = wel.relevance(net, "gradient", images.astype("float64").tolist(), vectors=np.ones((3, 1, 4), int), at="input")["input"]
    np.testing.assert_array_equal(found, expected)


def test_a_large_job_is_split_and_joined(net, images, monkeypatch):
    whole = wel.relevance(net, "gradient", images, vectors=vectors(3, 3, 4), at="input")["input"]
    monkeypatch.setattr("wel.backends.wrapped.MEMORY", 1)  # one row at a time
    split = wel.relevance(net, "gradient", images, vectors=vectors(3, 3, 4), at="input")["input"]
    np.testing.assert_allclose(split, whole, rtol=0, atol=1e-6 * np.abs(whole).max())


@pytest.mark.parametrize(
    ("method", "option", "one", "other"),
    [
        ("rectgrad", "percentile", 50, 98),
        ("lrp_epsilon", "epsilon", 1e-7, 0.5),
        ("deep_taylor", "low", 0, -3),
    ],
)
def test_options_reach_the_method(net, images, method, option, one, other):
    injected = vectors(3, 1, 6, 6, 6)
    first, second = (wel.relevance(net, method, images, "conv2", injected, at="input", **{option: value}) for value in (one, other))
    assert not np.allclose(first["input"], second["input"])


# --- what cannot be used


@pytest.mark.parametrize(
    ("arguments", "sentence"),
    [
        ({"method": "gradients"}, r"Invalid value for `method`: 'gradients'. Expected one of gradient, "),
        ({"start": "nope"}, "Invalid value for `start`: 'nope'. Expected one of input, output, conv1, conv2, pool, flatten, hidden"),
        ({"at": "nope"}, r"Invalid value for `at`: 'nope'. Expected one of input, output, conv1, "),
        (
            {"at": ["conv1", "hidden"], "start": "conv2", "vectors": vectors(3, 1, 6, 6, 6)},
            "Invalid value for `at`: 'hidden'. Expected a layer below 'conv2'.",
        ),
        ({"at": "dense"}, "Invalid value for `at`: 'dense'. Expected a layer below 'dense'."),
        ({"semantics": "original"}, "Invalid value for `semantics`: 'original'. Expected 'paper' or 'corrected'."),
        ({"semantics": "both"}, "Invalid value for `semantics`: 'both'. Expected 'paper' or 'corrected'."),
        ({"backend": "torch"}, "Invalid value for `backend`: 'torch'. Expected one of native, "),
        ({"epsilon": 1}, "Invalid value for `options`: 'epsilon'. Expected for gradient: none."),
        ({"vectors": None}, r"Invalid value for `vectors`: None. Expected an array of shape \(3, V, "),
        ({"vectors": vectors(3, 4)}, r"Invalid value for `vectors`: an array of shape \(3, 4\). Expected shape \(3, n, 4\)."),
        ({"vectors": vectors(3, 2, 5)}, r"Invalid value for `vectors`: an array of shape \(3, 2, 5\). Expected shape \(3, n, 4\)."),
        ({"vectors": vectors(2, 2, 4)}, r"Invalid value for `vectors`: an array of shape \(2, 2, 4\). Expected shape \(3, n, 4\)."),
        ({"vectors": vectors(3, 0, 4)}, r"Invalid value for `vectors`: an array of shape \(3, 0, 4\). Expected shape \(3, n, 4\)."),
        ({"vectors": np.full((3, 1, 4), np.inf)}, "Invalid value for `vectors`: .*not finite. Expected finite numbers."),
        ({"vectors": np.full((3, 1, 4), "a")}, "Invalid value for `vectors`: .*Expected finite numbers."),
        ({"images": vectors(3, 8, 8)}, r"Invalid value for `images`: an array of shape \(3, 8, 8\). Expected shape \(n, 8, 8, 3\)."),
        ({"images": vectors(3, 9, 8, 3)}, r"Invalid value for `images`: an array of shape \(3, 9, 8, 3\). Expected shape \(n, 8, 8, 3\)."),
        ({"images": vectors(0, 8, 8, 3)}, r"Invalid value for `images`: an array of shape \(0, 8, 8, 3\). Expected shape \(n, 8, 8, 3\)."),
        ({"images": np.full((3, 8, 8, 3), np.nan)}, "Invalid value for `images`: .*not finite. Expected finite numbers."),
        ({"method": "pattern_net"}, "Method 'pattern_net' needs patterns|does not compute pattern_net"),
    ],
)
@pytest.mark.usefixtures("no_worker")
def test_a_wrong_argument_is_one_sentence_and_starts_nothing(net, images, arguments, sentence):
    with pytest.raises(WelError, match=sentence) as caught:
        wel.relevance(**{"net": net, "method": "gradient", "images": images, "vectors": vectors(3, 1, 4), **arguments})
    assert "\n" not in str(caught.value)


@pytest.mark.usefixtures("no_worker")
def test_a_layer_of_another_branch_is_not_below(residual, images):
    with pytest.raises(WelError, match="^Invalid value for `at`: 'bn_skip'. Expected a layer below 'conv3'.$"):
        wel.relevance(loaded(residual), "gradient", images, "conv3", vectors(3, 1, 4, 4, 6), at="bn_skip")


@pytest.mark.usefixtures("no_worker")
def test_weights_that_are_not_finite_are_refused(images):
    from tensorflow.keras import Sequential, layers

    net = wel.load(Sequential([layers.Input((8, 8, 3)), layers.Flatten(), layers.Dense(4, name="broken")]))
    kernel, bias = net.model.get_weights()
    net.model.set_weights([kernel, np.array([0, np.nan, 0, 0])])
    with pytest.raises(WelError, match="'broken' holds NaN"):
        wel.relevance(net, "gradient", images, vectors=vectors(3, 1, 4))
