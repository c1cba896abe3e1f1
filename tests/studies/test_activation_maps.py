"""Class activation maps: by hand, against TensorFlow's tape, and against each other where they are the same."""

from __future__ import annotations

import numpy as np
import pytest
from conftest import loaded, randomized

import wel
from wel.measures.places import enlarged
from wel.studies.maps import attribution

KINDS = ("grad_cam", "grad_cam_plus_plus", "layer_cam")


@pytest.fixture(scope="module")
def square():
    """y = Σ gA with A_1 = x, A_2 = 2x − 2 and g_1 = (1, 0, −1, 2), g_2 = (0, −1, 0, −1)."""
    from tensorflow.keras import Sequential, layers

    stack = [layers.Input((2, 2, 1)), layers.Conv2D(2, 1, name="conv"), layers.Flatten(), layers.Dense(1, use_bias=False)]
    model = Sequential(stack)
    gradients = np.array([[1.0, 0.0], [0.0, -1.0], [-1.0, 0.0], [2.0, -1.0]])
    model.set_weights([np.array([1.0, 2.0]).reshape(1, 1, 1, 2), np.array([0.0, -2.0]), gradients.reshape(-1, 1)])
    return wel.load(model)


@pytest.mark.parametrize(
    ("method", "expected"),
    [
        # x = (1, 2, 3, 4): A_1 = (1, 2, 3, 4), A_2 = (0, 2, 4, 6)
        # w = (1 + 0 − 1 + 2, −1 − 1) / 4 = (½, −½); ½(1 − 0, 2 − 2, 3 − 4, 4 − 6), its positive part
        ("grad_cam", [0.5, 0, 0, 0]),
        # ΣA_1 = 10: α_1 = 1/(2 + 10) at g = 1 and 4/(8 + 80) at g = 2; w_1 = 1/12 + 2 · 1/22 = 23/132. g_2 is nowhere positive: w_2 = 0.
        ("grad_cam_plus_plus", [23 / 132, 46 / 132, 69 / 132, 92 / 132]),
        # max(0, g_1) A_1 = (1 · 1, 0, 0, 2 · 4), max(0, g_2) = 0
        ("layer_cam", [1, 0, 0, 8]),
    ],
)
def test_by_hand(square, method, expected):
    found = attribution(square, method, np.array([1.0, 2.0, 3.0, 4.0]).reshape(1, 2, 2, 1))
    assert found.ravel().tolist() == pytest.approx(expected, rel=1e-6)


def taped(net, layer: str, images: np.ndarray, chosen: int) -> tuple[np.ndarray, np.ndarray]:
    """A layer's output, from which the others make the model's logits, and the gradient of a logit there, by TensorFlow's tape, float64."""
    import tensorflow as tf

    values = tf.constant(net.values(images, layer))
    with tf.GradientTape() as tape:
        tape.watch(values)
        logits = net.graph.run({net.graph.input: tf.constant(images), layer: values}, net.graph.output)
        score = tf.reduce_sum(logits[:, chosen])
    np.testing.assert_allclose(logits, net.model(images), rtol=1e-5, atol=1e-5)
    return values.numpy().astype("float64"), tape.gradient(score, values).numpy().astype("float64")


def expected_map(method: str, values: np.ndarray, gradients: np.ndarray) -> np.ndarray:
    """The formulas once more, place by place."""
    n, height, width, channels = values.shape
    maps = np.zeros((n, height, width))
    for image in range(n):
        for k in range(channels):
            A, g = values[image, ..., k], gradients[image, ..., k]
            if method == "layer_cam":
                maps[image] += np.maximum(g, 0) * A
            elif method == "grad_cam":
                maps[image] += g.mean() * A
            else:
                weight = sum(g[p] ** 2 / (2 * g[p] ** 2 + A.sum() * g[p] ** 3) * g[p] for p in np.ndindex(g.shape) if g[p] > 0)
                maps[image] += weight * A
    return np.maximum(maps, 0)


ENDS = [("functional", "conv2"), ("sequential", "relu"), ("residual", "relu3")]
WITHIN = [("residual", name) for name in ("conv2", "bn2", "relu1", "skip")]


@pytest.mark.parametrize("method", KINDS)
@pytest.mark.parametrize(("model", "layer"), [*ENDS, *WITHIN])
def test_tensorflows_tape_finds_the_same(request, images, method, model, layer):
    import tensorflow as tf

    net = loaded(request.getfixturevalue(model))
    low = expected_map(method, *taped(net, layer, images, 2))
    expected = tf.image.resize(low[..., None], images.shape[1:3], "bilinear").numpy()
    found = attribution(net, method, images, 2, **({} if (model, layer) in ENDS else {"layer": layer}))
    np.testing.assert_allclose(found, np.repeat(expected, 3, axis=-1), rtol=0, atol=1e-5 * np.abs(expected).max())


def test_cam_is_the_weights_of_the_dense_layer(residual, images):
    layer = residual.get_layer("dense")
    values = loaded(residual).values(images, "relu3").astype("float64")
    expected = enlarged(values @ layer.get_weights()[0][:, 3], (8, 8))
    found = attribution(loaded(residual), "cam", images, 3)
    np.testing.assert_allclose(found[..., 0], expected, rtol=0, atol=1e-5 * np.abs(expected).max())


def test_grad_cam_is_cams_positive_part_over_the_number_of_places(images):
    from tensorflow.keras import Sequential, layers

    # the layer has the input's 64 places, so that nothing is enlarged
    stack = [layers.Input((8, 8, 3)), layers.Conv2D(5, 3, padding="same", activation="relu"), layers.GlobalAveragePooling2D()]
    net = wel.load(randomized(Sequential([*stack, layers.Dense(4)])))
    cam, grad_cam = (attribution(net, method, images, 1) for method in ("cam", "grad_cam"))
    assert np.abs(grad_cam).max() > 0
    np.testing.assert_allclose(grad_cam, np.maximum(0, cam) / 64, rtol=0, atol=1e-6 * np.abs(cam).max() / 64)


def test_guided_grad_cam_is_a_product(functional, images):
    net = loaded(functional)
    product = attribution(net, "guided_backprop", images, 0) * attribution(net, "grad_cam", images, 0)
    # guided backprop's own map begins with the logit, the product's with 1
    logits = net.logits(images)[:, 0].reshape(-1, 1, 1, 1)
    found = attribution(net, "guided_grad_cam", images, 0)
    positive = logits.ravel() > 0  # of a negative logit guided backprop lets nothing down
    assert positive.any()
    np.testing.assert_allclose((found * logits)[positive], product[positive], rtol=0, atol=1e-5 * np.abs(product).max())


def test_guided_grad_cam_refuses_what_guided_backprop_refuses(images):
    from tensorflow.keras import Sequential, layers

    net = wel.load(Sequential([layers.Input((8, 8, 3)), layers.Conv2D(2, 3, activation="tanh"), layers.Flatten(), layers.Dense(2)]))
    with pytest.raises(wel.WelError, match=r"^Method 'guided_grad_cam' has no rule for layer 'conv2d.*' \(tanh\)"):
        attribution(net, "guided_grad_cam", images)
    assert attribution(net, "grad_cam", images).shape == images.shape


@pytest.mark.parametrize("method", [*KINDS, "cam"])
def test_maps_of_batches_are_those_of_images(residual, images, monkeypatch, method):
    whole = attribution(loaded(residual), method, images, 1)
    monkeypatch.setattr("wel.backends.native.backend.images_within", lambda *settings: 2)
    np.testing.assert_allclose(attribution(loaded(residual), method, images, 1), whole, rtol=0, atol=1e-6 * np.abs(whole).max())


def test_signals_and_words_have_maps_too():
    from tensorflow.keras import Sequential, layers

    signal = Sequential([layers.Input((9, 2)), layers.Conv1D(3, 3, activation="relu"), layers.GlobalMaxPooling1D(), layers.Dense(2)])
    assert attribution(wel.load(signal), "grad_cam", np.random.default_rng(0).random((2, 9, 2))).shape == (2, 9, 2)
    words = [layers.Input((6,)), layers.Embedding(10, 4), layers.Conv1D(3, 3, activation="relu"), layers.GlobalMaxPooling1D()]
    found = attribution(wel.load(Sequential([*words, layers.Dense(2)])), "layer_cam", np.arange(12).reshape(2, 6) % 10, 0)
    assert found.shape == (2, 6) and np.isfinite(found).all()


def test_keras_3():
    pytest.importorskip("keras", minversion="3")
    from keras3_models import built

    images = np.random.default_rng(3).random((2, 8, 8, 3), dtype="float32")
    net = wel.load(built("functional"))
    low = expected_map("grad_cam", *taped(net, "relu", images, 1))
    found = attribution(net, "grad_cam", images, 1)
    np.testing.assert_allclose(found[..., 0], enlarged(low, (8, 8)), rtol=0, atol=1e-5 * low.max())
    net = wel.load(built("sequential"))
    values = net.values(images, "depthwise_conv2d")
    (kernel,) = (layer.get_weights()[0] for layer in net.model.layers if type(layer).__name__ == "Dense")
    expected = enlarged(values @ kernel[:, 2], (8, 8))
    np.testing.assert_allclose(attribution(net, "cam", images, 2)[..., 0], expected, rtol=0, atol=1e-5 * np.abs(expected).max())
