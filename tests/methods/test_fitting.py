"""wel.methods.fitting: hand-computed patterns, a naive float64 estimator, numbers of innvestigate 1.0.8, what a fit must not depend on."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from conftest import CLASSES, INPUT_SHAPE, loaded, randomized
from replicas import Replica

import wel
from wel.errors import UnsupportedError, WelError
from wel.methods.fitting import ESTIMATORS, activation_behind, fit_patterns
from wel.methods.patterns import Patterns
from wel.networks.kernels import kernel_layers
from wel.system.progress import Steps

GOLDEN = Path(__file__).parents[1] / "golden"
SEMANTICS = ("paper", "corrected")


def relative(found, expected) -> float:
    return float(np.linalg.norm(found - expected) / np.linalg.norm(expected))


def patches(x: np.ndarray, layer) -> np.ndarray:
    """Every input of a unit, (positions, height · width · channels); SAME puts the smaller half of the zeros first."""
    (height, width), (down, right) = layer.kernel_size, layer.strides
    if layer.padding == "same":
        total = [max((-(-size // s) - 1) * s + k - size, 0) for size, k, s in zip(x.shape, (height, width), (down, right))]
        x = np.pad(x, [(total[0] // 2, total[0] - total[0] // 2), (total[1] // 2, total[1] - total[1] // 2), (0, 0)])
    rows = range(0, x.shape[0] - height + 1, down)
    columns = range(0, x.shape[1] - width + 1, right)
    return np.array([x[top : top + height, left : left + width].ravel() for top in rows for left in columns])


def naive(x: np.ndarray, kernel: np.ndarray, mask: np.ndarray, paper: bool) -> np.ndarray:
    """Unit by unit, for all inputs x (positions, d) at once; mask (positions, units)."""
    w = kernel.reshape(-1, kernel.shape[-1])
    a = np.zeros_like(w)
    for unit in range(w.shape[1]):
        y = x @ w[:, unit]
        kept_x, kept_y = x[mask[:, unit]], y[mask[:, unit]]
        if len(kept_x) > (0 if paper else 1):  # one input alone does not vary
            covariance = (kept_x * kept_y[:, None]).mean(0) - kept_x.mean(0) * (y if paper else kept_y).mean()
            a[:, unit] = covariance / (w[:, unit] @ covariance)
    return a.reshape(kernel.shape)


def naive_patterns(net, images, estimator: str, semantics: str) -> list[np.ndarray]:
    """Layer by layer from the float64 values of the naive replica, which holds all images at once."""
    replica, graph = Replica(net, "gradient"), net.graph
    values = [replica.values(image) for image in images]
    found = []
    for layer in kernel_layers(graph):
        source = layer.node.inputs[0]
        inputs = [one[source].reshape(graph[source].shape) for one in values]
        x = np.concatenate([patches(one, layer.node.layer) if one.ndim == 3 else one[None] for one in inputs])
        behind = activation_behind(graph, layer)
        out = np.concatenate([one[behind or layer.output].reshape(-1, layer.units[0]) for one in values])
        masked = estimator != "linear" and (semantics == "paper" or behind)
        mask = (out > 0 if estimator == "relu.positive" else out <= 0) if masked else np.ones(out.shape, bool)
        found.append(naive(x, layer.kernel * layer.scale, mask, semantics == "paper"))
    return found


def dense_net(weights, bias: float, activation: str | None = "relu", dropout: float = 0):
    from tensorflow.keras import Model, layers

    image = layers.Input((len(weights),), name="image")
    hidden = layers.Dense(1, activation=activation, name="hidden")
    model = Model(image, hidden(layers.Dropout(dropout, name="drop")(image)), name="one_unit")
    hidden.set_weights([np.array(weights, "float32")[:, None], np.array([bias], "float32")])
    return wel.load(model)


@pytest.fixture(scope="module")
def pictures() -> np.ndarray:
    return np.random.default_rng(11).standard_normal((12, *INPUT_SHAPE), dtype="float32")


@pytest.fixture(scope="module")
def strided():
    """Convolutions same with stride 2, valid, same 2×2 with stride (1, 2) and BatchNormalization; ReLU fused, as layers, none."""
    from tensorflow.keras import Model, layers

    image = layers.Input(INPUT_SHAPE, name="image")
    x = layers.Conv2D(5, 3, 2, padding="same", activation="relu", name="same")(image)
    x = layers.ReLU(name="relu")(layers.Conv2D(4, (2, 1), use_bias=False, name="valid")(x))
    x = layers.BatchNormalization(name="bn")(layers.Conv2D(6, 2, (1, 2), padding="same", name="folded")(x))
    x = layers.Flatten(name="flatten")(layers.Activation("relu", name="activation")(x))
    x = layers.Dense(7, activation="relu", name="hidden")(x)
    return wel.load(randomized(Model(image, layers.Dense(CLASSES, name="dense")(x), name="strided"), seed=6))


class TestFormula:
    # x = (1, 2), (3, 4), (-1, 5) and w = (1, 0): y = 1, 3, -1, E[y] = 1
    IMAGES = np.array([[1, 2], [3, 4], [-1, 5]], "float32")

    @pytest.mark.parametrize(
        "estimator, semantics, expected",
        [
            # all: E[xy] = (11/3, 3), E[x]E[y] = (1, 11/3), c = (8/3, -2/3)
            ("linear", "paper", (1, -1 / 4)),
            ("linear", "corrected", (1, -1 / 4)),
            # the first two: E[xy] = (5, 7), E[x] = (2, 3); times E[y] = 1 c = (3, 4), times E_m[y] = 2 c = (1, 1)
            ("relu.positive", "paper", (1, 4 / 3)),
            ("relu.positive", "corrected", (1, 1)),
            # the last: E[xy] = (1, -5), E[x] = (-1, 5); times 1 c = (2, -10), times -1 c = 0
            ("relu.negative", "paper", (1, -5)),
            ("relu.negative", "corrected", (0, 0)),
        ],
    )
    def test_hand_computed(self, estimator, semantics, expected):
        found = fit_patterns(dense_net((1, 0), 0), self.IMAGES, estimator, semantics)
        np.testing.assert_allclose(found.arrays[0][:, 0], expected, rtol=1e-6)

    def test_the_bias_decides_the_mask_only(self):
        """With b = 2 every unit is on: as `linear`. With b = -5 none is: a = 0."""
        for bias, expected in ((2, (1, -1 / 4)), (-5, (0, 0))):
            found = fit_patterns(dense_net((1, 0), bias), self.IMAGES, "relu.positive")
            np.testing.assert_allclose(found.arrays[0][:, 0], expected, rtol=1e-6)

    def test_without_activation(self):
        """`paper` masks by the unit's own output, `corrected` takes the linear estimator."""
        for semantics, expected in (("paper", (1, 4 / 3)), ("corrected", (1, -1 / 4))):
            found = fit_patterns(dense_net((1, 0), 0, activation=None), self.IMAGES, "relu.positive", semantics)
            np.testing.assert_allclose(found.arrays[0][:, 0], expected, rtol=1e-6)

    @pytest.mark.parametrize("semantics", SEMANTICS)
    @pytest.mark.parametrize("estimator", ESTIMATORS)
    def test_naive(self, strided, pictures, estimator, semantics):
        found = fit_patterns(strided, pictures, estimator, semantics, batch_size=5)
        for layer, array, expected in zip(found.about["layers"], found.arrays, naive_patterns(strided, pictures, estimator, semantics)):
            np.testing.assert_allclose(array, expected, rtol=1e-5, atol=1e-6 * np.abs(expected).max(), err_msg=layer)

    def test_depthwise_and_time(self, pictures):
        """A depthwise convolution is one convolution per channel; a convolution over time is one of height 1."""
        from tensorflow.keras import Model, layers

        image = layers.Input(INPUT_SHAPE)
        depthwise = wel.load(randomized(Model(image, layers.DepthwiseConv2D(3, depth_multiplier=2, activation="relu")(image))))
        fitted = fit_patterns(depthwise, pictures).arrays[0]
        kernel, bias = depthwise.model.layers[-1].get_weights()
        for channel in range(3):
            one = layers.Input((*INPUT_SHAPE[:2], 1))
            model = Model(one, layers.Conv2D(2, 3, activation="relu")(one))
            model.set_weights([kernel[:, :, channel, None], bias[2 * channel : 2 * channel + 2]])
            expected = fit_patterns(wel.load(model), pictures[..., channel, None]).arrays[0]
            np.testing.assert_allclose(fitted[:, :, channel], expected[:, :, 0], rtol=1e-5)
        line, flat = layers.Input((64, 3)), layers.Input((1, 64, 3))
        time = randomized(Model(line, layers.Conv1D(4, 5, 2, activation="relu")(line)))
        space = Model(flat, layers.Conv2D(4, (1, 5), 2, activation="relu")(flat))
        space.set_weights([time.get_weights()[0][None], time.get_weights()[1]])
        expected = fit_patterns(wel.load(space), pictures.reshape(-1, 1, 64, 3)).arrays[0]
        np.testing.assert_allclose(fit_patterns(wel.load(time), pictures.reshape(-1, 64, 3)).arrays[0], expected[0], rtol=1e-5)

    @pytest.mark.parametrize("estimator", ESTIMATORS)
    def test_golden(self, estimator):
        """innvestigate 1.0.8's PatternComputer on 64 images in batches of 16 (experiments/original/fit_patterns.py)."""
        net = wel.load(GOLDEN / "tiny_vgg_keras224.h5")
        with np.load(GOLDEN / "tiny_vgg_patterns.npz") as file:
            images, expected = file["images"], [file[f"{estimator}/pattern_{i:03d}"] for i in range(6)]
        for array, golden in zip(fit_patterns(net, images, estimator, "paper").arrays, expected):
            assert relative(array, golden) < 1e-4
        Patterns(tuple(expected)).check(net)


class TestDropout:
    def test_paper_sees_dropped_inputs(self):
        """x = (uniform, 1), w = (1, 1): dropped by half, x' = 2xB, their variances are 2/3 - 1/4 = 5/12 and 1.

        a = (5/12, 1) / (5/12 + 1) = (0.294, 0.706) with dropout; without it the constant has no covariance, a = (1, 0).
        """
        images = np.stack([np.random.default_rng(0).random(4000), np.ones(4000)], axis=1).astype("float32")
        net = dense_net((1, 1), 0, dropout=0.5)
        np.testing.assert_allclose(fit_patterns(net, images, "linear", "corrected").arrays[0][:, 0], (1, 0), atol=1e-6)
        np.testing.assert_allclose(fit_patterns(net, images, "linear", "paper").arrays[0][:, 0], (0.294, 0.706), atol=0.03)

    def test_seed(self, sequential, pictures):
        net = loaded(sequential)
        first, again, other = (fit_patterns(net, pictures, "linear", seed=seed).arrays for seed in (0, 0, 1))
        np.testing.assert_array_equal(first[1], again[1])
        assert relative(first[1], other[1]) > 0.01
        np.testing.assert_array_equal(first[0], other[0])  # in front of Dropout

    def test_corrected_has_none(self, sequential, pictures):
        net = loaded(sequential)
        first, other = (fit_patterns(net, pictures, semantics="corrected", seed=seed).arrays for seed in (0, 1))
        np.testing.assert_array_equal(first[1], other[1])


class TestIndependence:
    def test_batch_size(self, sequential, pictures):
        net = loaded(sequential)
        whole = fit_patterns(net, pictures, batch_size=12)
        for size in (1, 5):
            for array, expected in zip(fit_patterns(net, pictures, batch_size=size).arrays, whole.arrays):
                np.testing.assert_allclose(array, expected, rtol=1e-12, atol=0)

    def test_images_are_read_batch_by_batch(self, sequential, pictures):
        class Lazy:
            read = []

            def __len__(self):
                return len(pictures)

            def __getitem__(self, part):
                self.read.append(len(pictures[part]))
                return pictures[part]

        class Counted(Steps):
            total, done = 0, 0

            def start(self, total):
                self.total = total

            def advance(self, count, *words):
                self.done += count

        images, steps = Lazy(), Counted()
        found = fit_patterns(loaded(sequential), images, batch_size=5, steps=steps)
        assert (images.read, steps.total, steps.done) == ([5, 5, 2], 12, 12)
        expected = fit_patterns(loaded(sequential), pictures)
        assert found.about == expected.about

    def test_scaling_by_batch_normalization(self, residual, pictures):
        """a belongs to w' = sw: with γ and β twice as large y is twice as large, its sign the same, and a half as large."""
        from tensorflow import keras

        net = loaded(residual)
        larger = keras.models.clone_model(residual)
        larger.set_weights(residual.get_weights())
        norm = larger.get_layer("bn2")
        norm.set_weights([2 * norm.gamma.numpy(), 2 * norm.beta.numpy(), norm.moving_mean.numpy(), norm.moving_variance.numpy()])
        position = [layer.node.name for layer in kernel_layers(net.graph)].index("conv2")
        before, after = (fit_patterns(one, pictures).arrays[position] for one in (net, wel.load(larger)))
        np.testing.assert_allclose(after, before / 2, rtol=1e-5)

    def test_a_reused_layer_has_a_pattern_per_call(self, shared_layer, pictures):
        found = fit_patterns(loaded(shared_layer), pictures)
        assert found.about["layers"] == ["conv", "conv#2", "dense"]
        assert relative(found.arrays[1], found.arrays[0]) > 0.1


class TestResult:
    @pytest.mark.parametrize("model", ["sequential", "functional", "residual", "nested"])
    def test_the_signal_of_every_unit_is_its_output(self, request, pictures, model):
        """w·a = 1, or a = 0 for a unit that is never on."""
        net = loaded(request.getfixturevalue(model))
        found = fit_patterns(net, pictures, semantics="corrected")
        found.check(net)
        for layer, array in zip(kernel_layers(net.graph), found.arrays):
            signal = (layer.kernel * layer.scale * array).sum(axis=tuple(range(array.ndim - 1)))
            np.testing.assert_allclose(signal[array.any(axis=tuple(range(array.ndim - 1)))], 1, atol=1e-5)

    def test_the_activation_behind_a_layer(self, residual, strided):
        for net, expected in (
            (loaded(residual), {"conv1": "relu1", "conv2": "relu2", "conv3": "relu3", "skip": "relu3", "dense": None}),
            (strided, {"same": "same", "valid": "relu", "folded": "activation", "hidden": "hidden", "dense": None}),
        ):
            assert {layer.node.name: activation_behind(net.graph, layer) for layer in kernel_layers(net.graph)} == expected

    def test_refused(self, sequential, pictures):
        net = loaded(sequential)
        for settings, words in (
            ({"estimator": "relu"}, "Invalid value for `estimator`: 'relu'. Expected one of linear, relu.positive, relu.negative"),
            ({"semantics": "both"}, "Invalid value for `semantics`"),
            ({"batch_size": 0}, "Invalid value for `batch_size`"),
            ({"seed": -1}, "Invalid value for `seed`"),
            ({"images": pictures[:0]}, "Invalid value for `images`: 'no images'"),
            ({"images": pictures[:, :7]}, "Invalid value for `images`: an array of shape"),
            ({"images": pictures * np.nan}, "not finite"),
        ):
            with pytest.raises(WelError, match=words):
                fit_patterns(net, **{"images": pictures, **settings})

    def test_a_layer_without_patterns(self, pictures):
        from tensorflow.keras import Model, layers

        image = layers.Input(INPUT_SHAPE)
        with pytest.raises(UnsupportedError, match="SeparableConv2D"):
            fit_patterns(wel.load(Model(image, layers.SeparableConv2D(2, 3)(image))), pictures)
