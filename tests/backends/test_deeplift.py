"""DeepLIFT, wrapped and native: by hand, complete on residual networks (deeplift's open reports #59, #112, #127), other references."""

import numpy as np
import pytest
from conftest import randomized
from tensorflow import keras

import wel
from wel.errors import UnsupportedError

pytestmark = pytest.mark.wrapped

L = keras.layers
BACKENDS = ("native", "wrapped")
METHODS = ("deeplift_rescale", "deeplift_reveal_cancel", "deeplift_ablation")


@pytest.fixture(params=BACKENDS)
def backend(request) -> str:
    """Every test that takes it runs for both."""
    return request.param


def contributions(net, method, images, logit=0, backend="wrapped", **settings):
    """Contributions of the input to one logit, (n, *input shape)."""
    vectors = np.zeros((len(images), 1, net.output_shape[-1]))
    vectors[..., logit] = 1
    return wel.relevance(net, method, images, vectors=vectors, at="input", backend=backend, **settings)["input"][:, 0]


def unit(kernel, bias=0.0):
    """x -> 3 · relu(x W + b)."""
    model = keras.Sequential([L.Input((len(kernel),)), L.Dense(1, "relu", name="hidden"), L.Dense(1, name="logit")])
    model.set_weights([np.reshape(kernel, (-1, 1)), np.array([bias]), np.array([[3.0]]), np.zeros(1)])
    return wel.load(model)


def test_rescale_by_hand(backend):
    # x = 2, W = 2, b = −1: pre-activation 3 against −1 for the reference 0, output 3 against 0: factor 3/4; 2 · 2 · 3/4 · 3 = 9
    np.testing.assert_allclose(contributions(unit([2.0], -1.0), "deeplift_rescale", np.array([[2.0]]), backend=backend), [[9]], rtol=1e-6)


@pytest.mark.parametrize(
    "method, expected",
    [
        # x = (2, 1), W = (2, −1): Δ⁺ = 4, Δ⁻ = −1, output 3, factor 1: (2·2, 1·(−1)) · 3
        ("deeplift_rescale", [12, -3]),
        # Δ⁺out = ½(f(4) − f(0) + f(3) − f(−1)) = 3.5, Δ⁻out = ½(f(−1) − f(0) + f(3) − f(4)) = −0.5, times 3
        ("deeplift_reveal_cancel", [10.5, -1.5]),
        # nothing crosses a negative weight
        ("deeplift_ablation", [12, 0]),
    ],
)
def test_positive_and_negative_contributions_by_hand(method, expected, backend):
    np.testing.assert_allclose(contributions(unit([2.0, -1.0]), method, np.array([[2.0, 1.0]]), backend=backend), [expected], rtol=1e-5)


def test_the_reference_is_what_differences_are_taken_from(backend):
    # reference (1, 1): pre-activation 1 against 3, factor 1; Δx = (1, 0): (1 · 2 · 3, 0)
    net, image = unit([2.0, -1.0]), np.array([[2.0, 1.0]])
    np.testing.assert_allclose(contributions(net, "deeplift_rescale", image, 0, backend, reference=[1.0, 1.0]), [[6, 0]], rtol=1e-6)
    several = np.array([[2.0, 1.0], [0.0, 1.0]])  # their mean is (1, 1)
    found = contributions(net, "deeplift_rescale", several, 0, backend, reference="mean")
    np.testing.assert_allclose(found[0], [6, 0], rtol=1e-6)


def block(x, channels, stride, name):
    y = L.Conv2D(channels, 3, strides=stride, padding="same", name=f"{name}_a")(x)
    y = L.ReLU(name=f"{name}_relu")(L.BatchNormalization(name=f"{name}_norm")(y))
    y = L.Conv2D(channels, 3, padding="same", name=f"{name}_b")(y)
    if stride > 1:
        x = L.Conv2D(channels, 1, strides=stride, name=f"{name}_shortcut")(x)
    return L.ReLU(name=f"{name}_out")(L.Add(name=f"{name}_add")([y, x]))


def residual(*strides):
    """Residual blocks with the given strides, global average pooling, dense; weights that are not special in any way."""
    image = x = L.Input((8, 8, 4))
    for position, stride in enumerate(strides):
        x = block(x, 4 * stride if stride > 1 else x.shape[-1], stride, f"block{position}")
    model = keras.Model(image, L.Dense(3, name="logits")(L.GlobalAveragePooling2D(name="pooled")(x)))
    rng = np.random.default_rng(len(strides))
    weights = [rng.uniform(0.5, 1.5, w.shape) if "variance" in w.name else 0.5 * rng.standard_normal(w.shape) for w in model.weights]
    model.set_weights(weights)  # half of the BatchNormalization's γ are negative
    return wel.load(model)


@pytest.mark.parametrize("method", ["deeplift_rescale", "deeplift_reveal_cancel"])
@pytest.mark.parametrize("strides", [(1,), (2,), (1, 2, 1)], ids=["report-59-add", "report-112-shortcut", "report-127-blocks"])
def test_contributions_sum_to_the_change_of_the_output(strides, method, backend):
    net = residual(*strides)
    images = np.random.default_rng(5).standard_normal((2, 8, 8, 4)).astype("float32")
    outputs = net.model.predict(np.concatenate([images, np.zeros_like(images[:1])]), verbose=0)
    for logit in range(3):
        total = contributions(net, method, images, logit, backend).astype("float64").sum(axis=(1, 2, 3))
        change = outputs[:2, logit] - outputs[2, logit]
        np.testing.assert_allclose(total, change, rtol=0, atol=1e-5 * np.abs(outputs).max())


def test_contributions_of_resnet20_sum_to_the_change_of_the_output(backend):
    net = wel.load("resnet20")
    images = wel.load_images(net, limit=1).inputs
    outputs = net.model.predict(np.concatenate([images, np.zeros_like(images)]), verbose=0)
    total = contributions(net, "deeplift_rescale", images, 3, backend).astype("float64").sum()
    np.testing.assert_allclose(total, outputs[0, 3] - outputs[1, 3], rtol=0, atol=1e-5 * np.abs(outputs).max())


def test_behind_max_pooling_the_paper_reads_zero_and_corrected_does_not(backend):
    model = keras.Sequential([L.Input((4, 4, 1)), L.Conv2D(2, 3, activation="relu"), L.MaxPooling2D(name="pool"), L.Flatten(), L.Dense(2)])
    net = wel.load(randomized(model, seed=1))  # with other weights both ReLUs may be dead
    images = np.random.default_rng(0).random((1, 4, 4, 1))
    settings = {"vectors": np.ones((1, 1, 2)), "at": "pool", "backend": backend}
    read = {name: wel.relevance(net, "deeplift_rescale", images, semantics=name, **settings) for name in ("paper", "corrected")}
    assert not read["paper"]["pool"].any()
    assert read["corrected"]["pool"].any()


@pytest.mark.parametrize("layer", [L.ReLU(max_value=6.0, name="odd"), L.ELU(name="odd"), L.LayerNormalization(name="odd")])
def test_a_layer_without_a_rule_is_named_by_the_wrapped_package(layer):
    net = wel.load(keras.Sequential([L.Input((3,)), L.Dense(2), layer, L.Dense(2)]))
    with pytest.raises(UnsupportedError, match="'deeplift_rescale' has no rule for layer 'odd'"):
        contributions(net, "deeplift_rescale", np.ones((1, 3)))
