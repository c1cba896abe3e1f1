"""The native and the wrapped backend in `paper` semantics against numbers of the original stack (Python 3.7, innvestigate 1.0.8).

tests/golden holds them in the schema of `wel.studies.reference`, for a small plain and a small residual network.
"""

from __future__ import annotations

from pathlib import Path
from typing import Callable

import numpy as np
import pytest
from engines import Swept
from replicas import METHODS as REPLICATED
from replicas import SAFE, Replica, relative

import wel
from wel.backends import PACKAGES
from wel.methods.registry import METHODS
from wel.studies.reference import Reference

GOLDEN = Path(__file__).parents[1] / "golden"
NETWORKS = ("tiny_vgg", "tiny_resnet")
BACKENDS = ("native", "wrapped")
ONE_TERM = (
    "gradient",
    "guided_backprop",
    "deconvnet",
    "rectgrad",
    "deep_taylor",
    "lrp_alpha1_beta0",
    "pattern_net",
    "pattern_attribution",
    "deeplift_rescale",
)
# Some denominators are a hundredth of their terms or less: both biases are in them and cancel (DESIGN 6.1). What one unit in the
# last place of the weights changes there is more than 1e-5, so the original on another processor is not nearer to itself either.
CANCELLING = ("deep_taylor", "lrp_alpha1_beta0")


def numbers_of(name: str) -> Reference:
    return Reference.load(GOLDEN / f"{name}.npz")


def wrapped_cases() -> list[tuple[str, str]]:
    return sorted({(name, method) for name in NETWORKS for method, _ in numbers_of(name).pairs if METHODS[method].wrapped in PACKAGES})


@pytest.fixture(scope="module")
def reference() -> dict[str, Reference]:
    return {name: numbers_of(name) for name in NETWORKS}


@pytest.fixture(scope="module")
def net() -> dict:
    return {name: wel.load(GOLDEN / f"{name}_keras224.h5") for name in NETWORKS}


@pytest.fixture(scope="module")
def matrices() -> dict:
    return {}


def by_start(reference: Reference, method: str) -> dict[str, dict[str, np.ndarray]]:
    starts = [start for one, start in reference.pairs if one == method]
    return {start: {layer: reference.relevance[method, start, layer] for layer in reference.layers(method, start)} for start in starts}


def computed(net, reference, backend: str, method: str, start: str, layers, semantics: str = "paper") -> dict[str, np.ndarray]:
    options, vectors = reference.options.get(method, {}), reference.vectors[start]
    return wel.relevance(net, method, reference.images, start, vectors, list(layers), backend, semantics, **options)


def exact(net, reference, matrices, method: str, start: str) -> dict[str, np.ndarray]:
    """The float64 value of the original's formula."""
    replica = Replica(net, method, "paper", matrices, **reference.options.get(method, {}))
    return replica.relevance(reference.images, start, reference.vectors[start])


@pytest.mark.parametrize("name", NETWORKS)
def test_the_network_computes_the_original_logits(net, reference, name):
    known = reference[name]
    known.check(net[name])
    np.testing.assert_allclose(net[name].model.predict(known.images, verbose=0), known.logits, rtol=0, atol=1e-6)


@pytest.mark.parametrize("backend", BACKENDS)
@pytest.mark.parametrize("name, method", wrapped_cases())
def test_every_layer_equals_the_original(net, reference, name, method, backend):
    expected = by_start(reference[name], method)
    compute = computer(net[name], reference[name], backend, method, expected)
    found = compute()
    rounding = moved_by_rounding(net[name], compute, found) if method in CANCELLING else dict.fromkeys(found, 0.0)
    for start, layers in expected.items():
        assert set(layers) == set(net[name].graph.below(start))
        allowed = max(1e-5 if method in ONE_TERM else 1e-3, 2 * rounding[start])  # twice: either result may be off by one rounding
        for layer, array in layers.items():
            assert relative(found[start][layer], array) <= allowed, (start, layer)
            # RevealCancel's sums cancel to 0 on one processor and to 1e-9 on another
            zero = 1e-6 * np.abs(array).max() if method == "deeplift_reveal_cancel" else 0
            assert (np.abs(found[start][layer][array == 0]) <= zero).all(), (start, layer)


def computer(net, reference, backend: str, method: str, expected: dict) -> Callable[[], dict[str, dict[str, np.ndarray]]]:
    """Computes {start: {layer: relevance}}; the native engine in one sweep for all start layers."""
    if backend == "native":
        vectors = {start: reference.vectors[start] for start in expected}
        return Swept(net, method, "paper", reference.images, vectors, **reference.options.get(method, {})).relevance
    return lambda: {start: computed(net, reference, backend, method, start, layers) for start, layers in expected.items()}


def moved_by_rounding(net, compute: Callable, found: dict) -> dict[str, float]:
    """How far relevance moves when every weight moves by at most one unit in its last place: the most of four draws and all layers."""
    weights = net.model.get_weights()
    rng = np.random.default_rng(0)
    moved = dict.fromkeys(found, 0.0)
    try:
        for _ in range(4):
            net.model.set_weights([w + np.spacing(w) * rng.integers(-1, 2, w.shape) for w in weights])
            for start, layers in compute().items():
                moved[start] = max(moved[start], *(relative(array, found[start][layer]) for layer, array in layers.items()))
    finally:
        net.model.set_weights(weights)
    return moved


@pytest.mark.parametrize("method", [method for name, method in wrapped_cases() if name == "tiny_vgg" and method in REPLICATED])
def test_the_replica_equals_the_original(net, reference, matrices, method):
    # what test_backends compares with is the paper's formula itself; float64 against the original's float32
    for start, expected in by_start(reference["tiny_vgg"], method).items():
        truth = exact(net["tiny_vgg"], reference["tiny_vgg"], matrices, method, start)
        for layer, array in expected.items():
            assert relative(array, truth[layer]) <= (1e-3 if method not in ONE_TERM else 2e-5 if method in CANCELLING else 1e-6), layer


def test_the_difference_in_alpha1_beta0_is_the_order_of_summation(net, reference):
    # the original adds products one by one, each rounded (no fused multiply-add); so does this, and the difference is gone
    known = reference["tiny_vgg"]
    expected = known.relevance["lrp_alpha1_beta0", "block1_conv2", "block1_conv1"]
    layers = [net["tiny_vgg"].graph[name].layer for name in ("block1_conv1", "block1_conv2")]
    (kernel1, bias1), (kernel2, bias2) = (layer.get_weights() for layer in layers)
    up = np.maximum(kernel2, 0)
    for image, vectors, array in zip(known.images, known.vectors["block1_conv2"], expected):
        x = np.maximum(summed_in_order(image, kernel1) + bias1, 0)
        z = summed_in_order(x, up) + np.maximum(bias2, 0) + np.minimum(bias2, 0)  # inputs are not negative: no W- x-
        assert z.dtype == np.float32 and np.abs(z).min() < 1e-3
        for vector, rows in zip(vectors, array):
            assert relative(x * spread(vector / np.where(z == 0, np.float32(SAFE), z), up), rows) <= 1e-6


def summed_in_order(x: np.ndarray, kernel: np.ndarray) -> np.ndarray:
    """A 3×3 convolution with zero padding: products rounded to float32, added one after the other, row, column, channel."""
    (height, width, channels), padded = x.shape, np.pad(x, ((1, 1), (1, 1), (0, 0)))
    total = np.zeros((height, width, kernel.shape[3]), np.float32)
    for i, j, c in np.ndindex(3, 3, channels):
        total = total + padded[i : i + height, j : j + width, c, None] * kernel[i, j, c]
    return total


def spread(share: np.ndarray, kernel: np.ndarray) -> np.ndarray:
    """The same convolution transposed, in float64."""
    height, width, _ = share.shape
    padded = np.zeros((height + 2, width + 2, kernel.shape[2]))
    for i, j in np.ndindex(3, 3):
        padded[i : i + height, j : j + width] += share.astype(np.float64) @ kernel[i, j].T.astype(np.float64)
    return padded[1:-1, 1:-1]


@pytest.mark.parametrize("backend", BACKENDS)
def test_deep_taylor_without_the_bias_is_another_method(net, reference, backend):
    # innvestigate 2.1.2 leaves the bias out of Deep Taylor's α1β0, 1.0.8 had it in; `corrected` is as published, without
    known = reference["tiny_vgg"]
    expected = by_start(known, "deep_taylor")["predictions"]
    found = computed(net["tiny_vgg"], known, backend, "deep_taylor", "predictions", expected, semantics="corrected")
    assert 0.1 < relative(found["input_1"], expected["input_1"]) < 0.2
