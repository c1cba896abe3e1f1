"""wel.methods.patterns and the pattern methods: relevance by hand, equivalences, golden numbers, files that do not belong to a network."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from conftest import INPUT_SHAPE, loaded, randomized

import wel
from wel.errors import UnsupportedError, WelError
from wel.methods.patterns import Patterns, bundled_patterns, patterns_for, with_patterns
from wel.methods.registry import find_method
from wel.networks.kernels import kernel_layers
from wel.studies.reference import Reference

GOLDEN = Path(__file__).parents[1] / "golden"
METHODS = ("pattern_net", "pattern_attribution")


def relative(found, expected) -> float:
    return float(np.linalg.norm(found - expected) / np.linalg.norm(expected))


def kernels(net) -> list[np.ndarray]:
    """The kernels, BatchNormalization folded in."""
    return [(layer.kernel * layer.scale).astype("float32") for layer in kernel_layers(net.graph)]


def vectors_at(net, start: str, images: np.ndarray) -> np.ndarray:
    return np.random.default_rng(0).standard_normal((len(images), 2, *net.graph[start].shape), dtype="float32")


def input_relevance(net, method, images, **settings):
    output = net.graph.output
    return wel.relevance(net, method, images, "output", vectors_at(net, output, images), "input", **settings)["input"]


def dense_net(weights: np.ndarray, bias: np.ndarray):
    from tensorflow.keras import Model, layers

    image = layers.Input((len(weights),), name="image")
    hidden = layers.Dense(weights.shape[1], activation="relu", name="hidden")
    model = Model(image, hidden(image), name="one_layer")
    hidden.set_weights([weights, bias])
    return wel.load(model)


@pytest.fixture
def net(functional):
    return loaded(functional)


@pytest.fixture
def fitted(net) -> Patterns:
    """Patterns that stand for fitted ones: w/|w|², so that w·a = 1 for every unit."""
    arrays = [kernel / (kernel**2).sum(axis=tuple(range(kernel.ndim - 1))) for kernel in kernels(net)]
    return Patterns(tuple(arrays), {"network": net.name}, net.weight_hashes())


@pytest.mark.parametrize("backend", ["native", "wrapped"])
class TestRelevance:
    def test_hand_computed(self, backend):
        """x = (1, 2), W = [[1, 1], [1, -1]], b = (0.5, 0): z = (3.5, -1), so f' = (1, 0) and only R_1 = 3 goes on.

        a = [[2, 7], [-1, 7]]: PatternNet 3·(2, -1) = (6, -3); PatternAttribution 3·(2·1, -1·1) = (6, -3) with W as above and,
        with W_21 = 4 (z_1 = 9.5), 3·(2, -4) = (6, -12).
        """
        x, vector = np.array([[1, 2]], "float32"), np.array([[[3, 5]]], "float32")
        pattern = np.array([[2, 7], [-1, 7]], "float32")
        for corner, expected in ((1, (6, -3)), (4, (6, -12))):
            net = dense_net(np.array([[1, 1], [corner, -1]], "float32"), np.array([0.5, 0], "float32"))
            settings = {"semantics": "corrected", "backend": backend, "patterns": [pattern]}
            found = {name: wel.relevance(net, name, x, "output", vector, **settings)["input"] for name in METHODS}
            np.testing.assert_array_equal(found["pattern_net"], [[(6, -3)]])
            np.testing.assert_array_equal(found["pattern_attribution"], [[expected]])

    @pytest.mark.parametrize("model", ["functional", "sequential"])
    def test_with_the_kernels_as_patterns_it_is_the_gradient(self, backend, request, images, model):
        net = loaded(request.getfixturevalue(model))
        found = input_relevance(net, "pattern_net", images, semantics="corrected", backend=backend, patterns=kernels(net))
        assert relative(found, input_relevance(net, "gradient", images, backend=backend)) < 1e-6

    def test_attribution_with_ones_as_patterns_is_the_gradient(self, backend, net, images):
        ones = [np.ones_like(kernel) for kernel in kernels(net)]
        found = input_relevance(net, "pattern_attribution", images, semantics="corrected", backend=backend, patterns=ones)
        assert relative(found, input_relevance(net, "gradient", images, backend=backend)) < 1e-6

    def test_batch_normalization_is_folded_into_the_layer_before_it(self, backend, residual, images):
        net = loaded(residual)
        assert {layer.node.name: layer.norm and layer.norm.name for layer in kernel_layers(net.graph)} == {
            "conv1": "bn1", "conv2": "bn2", "conv3": "bn3", "skip": "bn_skip", "dense": None,
        }  # fmt: skip
        found = input_relevance(net, "pattern_net", images, semantics="corrected", backend=backend, patterns=kernels(net))
        assert relative(found, input_relevance(net, "gradient", images, backend=backend)) < 1e-6
        ones = [np.ones_like(kernel) for kernel in kernels(net)]
        found = input_relevance(net, "pattern_attribution", images, semantics="corrected", backend=backend, patterns=ones)
        assert relative(found, input_relevance(net, "gradient", images, backend=backend)) < 1e-6

    def test_other_kinds_of_layers(self, backend):
        """Depthwise with two multipliers and BatchNormalization, a fused tanh, causal and strided convolutions over time."""
        from tensorflow.keras import Model, layers

        image = layers.Input(INPUT_SHAPE, name="image")
        x = layers.BatchNormalization(name="bn")(layers.DepthwiseConv2D(3, 2, depth_multiplier=2, name="depthwise")(image))
        x = layers.Reshape((9, 6), name="reshape")(layers.ReLU(name="relu")(x))
        x = layers.Conv1D(5, 3, padding="causal", activation="tanh", name="causal")(x)
        x = layers.Dense(3, activation="relu", name="each_step")(layers.Conv1D(4, 3, 2, padding="same", name="strided")(x))
        model = Model(image, layers.Dense(4, name="dense")(layers.Flatten(name="flatten")(x)), name="varied")
        net = wel.load(randomized(model, seed=8))
        images = np.random.default_rng(1).random((2, *INPUT_SHAPE), dtype="float32")
        found = input_relevance(net, "pattern_net", images, semantics="corrected", backend=backend, patterns=kernels(net))
        assert relative(found, input_relevance(net, "gradient", images, backend=backend)) < 1e-6
        ones = [np.ones_like(kernel) for kernel in kernels(net)]
        found = input_relevance(net, "pattern_attribution", images, semantics="corrected", backend=backend, patterns=ones)
        assert relative(found, input_relevance(net, "gradient", images, backend=backend)) < 1e-6

    def test_paper_divides_every_bottleneck_by_its_largest_value(self, backend, net, images, fitted):
        """Divisors of one chain multiply, so that at each layer `paper` is `corrected` divided by its own largest value."""
        vectors = vectors_at(net, "conv2", images)
        paper, corrected = (
            wel.relevance(net, "pattern_net", images, "conv2", vectors, semantics=semantics, backend=backend, patterns=fitted)
            for semantics in ("paper", "corrected")
        )
        for name in ("conv1", "input"):
            expected = corrected[name] / np.abs(corrected[name]).max(axis=(2, 3, 4), keepdims=True)
            np.testing.assert_allclose(paper[name], expected, atol=1e-6)
            assert np.abs(paper[name]).max() == 1

    def test_paper_leaves_vectors_and_what_lies_beside_other_branches_as_it_is(self, backend, residual, images):
        """Of the residual block only its input and its sum are bottlenecks; at conv3 and bn_skip R stays what the sum passed on."""
        net = loaded(residual)
        vectors = 5 * vectors_at(net, "add", images)
        found = wel.relevance(net, "pattern_net", images, "add", vectors, semantics="paper", backend=backend, patterns=kernels(net))
        np.testing.assert_array_equal(found["bn3"], vectors)
        np.testing.assert_array_equal(found["bn_skip"], vectors)
        np.testing.assert_allclose(np.abs(found["relu1"]).max(axis=(2, 3, 4)), 1, atol=1e-6)

    def test_new_weights_and_new_patterns_reach_a_graph_that_is_kept(self, backend, images):
        first = dense_net(np.eye(2, dtype="float32"), np.ones(2, "float32"))
        x, vector = np.ones((1, 2), "float32"), np.array([[[1, 2]]], "float32")
        for weights, pattern in (((1, 2), (3, 4)), ((5, 6), (3, 4)), ((5, 6), (7, 8))):
            first.model.layers[-1].set_weights([np.diag(weights), np.ones(2)])
            arrays = [np.diag(pattern).astype("float32")]
            settings = {"semantics": "corrected", "backend": backend, "patterns": arrays}
            found = wel.relevance(first, "pattern_attribution", x, "output", vector, **settings)
            np.testing.assert_array_equal(found["input"], [[[weights[0] * pattern[0], 2 * weights[1] * pattern[1]]]])

    @pytest.mark.parametrize("method", METHODS)
    def test_golden(self, backend, method):
        """innvestigate 1.0.8 at every layer, from every start layer."""
        net, numbers = wel.load(GOLDEN / "tiny_vgg_keras224.h5"), Reference.load(GOLDEN / "tiny_vgg.npz")
        starts = [start for name, start in numbers.pairs if name == method]
        assert len(starts) == 4
        for start in starts:
            layers = numbers.layers(method, start)
            found = wel.relevance(net, method, numbers.images, start, numbers.vectors[start], layers, backend, **numbers.options[method])
            for layer in layers:
                assert relative(found[layer], numbers.relevance[method, start, layer]) < 1e-5, (start, layer)


class TestFiles:
    def test_round_trip(self, net, fitted, tmp_path):
        fitted.save(tmp_path / "patterns.npz")
        found = Patterns.load(tmp_path / "patterns.npz")
        assert (found.about, found.weights) == (fitted.about, fitted.weights)
        for array, expected in zip(found.arrays, fitted.arrays):
            np.testing.assert_array_equal(array, expected)
        for array, expected in zip(patterns_for(net, tmp_path / "patterns.npz"), fitted.arrays):
            np.testing.assert_array_equal(array, expected)

    def test_half_precision(self, fitted, tmp_path):
        """float16 has 11 bits: a number is off by 2⁻¹¹ of itself at most."""
        fitted.save(tmp_path / "patterns.npz", half=True)
        for array, expected in zip(Patterns.load(tmp_path / "patterns.npz").arrays, fitted.arrays):
            assert array.dtype == "float32"
            np.testing.assert_allclose(array, expected, rtol=2**-11, atol=1e-7)
        extremes = tuple(np.array([value], "float32") for value in (7e4, 1e-9, 3))  # above 65504, below 2⁻²⁴, exact
        Patterns(extremes).save(tmp_path / "extremes.npz", half=True)
        assert Patterns.load(tmp_path / "extremes.npz").arrays == extremes
        with np.load(tmp_path / "extremes.npz") as file:
            assert [str(file[f"pattern_{i:03d}"].dtype) for i in range(3)] == ["float32", "float32", "float16"]

    def test_positional_file_of_the_old_package(self, net, fitted, tmp_path):
        path = tmp_path / "small_pattern_type_relu_tf_dim_ordering_tf_kernels.npz"
        np.savez(path, *fitted.arrays)
        found = Patterns.load(path)
        found.check(net)
        for array, expected in zip(found.arrays, fitted.arrays):
            np.testing.assert_array_equal(array, expected)

    def test_published_file_with_other_contents(self, fitted, tmp_path):
        path = tmp_path / "vgg16_pattern_type_relu_tf_dim_ordering_tf_kernels.npz"
        np.savez(path, *fitted.arrays)
        with pytest.raises(WelError, match="Expected md5 8c2abe648e116a93fd5027fab49177b0"):
            Patterns.load(path)

    @pytest.mark.parametrize("contents", [None, b"", b"no archive", "arrays"])
    def test_no_patterns(self, tmp_path, contents):
        path = tmp_path / "patterns.npz"
        if contents == "arrays":
            np.savez(path, images=np.zeros(3))
        elif contents is not None:
            path.write_bytes(contents)
        with pytest.raises(WelError, match="Invalid value for `patterns`"):
            Patterns.load(path)


class TestBelonging:
    def test_other_weights(self, functional, fitted):
        from tensorflow import keras

        other = keras.models.clone_model(functional)
        other.set_weights(functional.get_weights())
        fitted.check(wel.load(other))
        weights = other.get_weights()
        weights[3] = weights[3] + 1
        other.set_weights(weights)
        with pytest.raises(WelError, match="first layer that differs is 'conv2'"):
            fitted.check(wel.load(other))

    def test_other_weights_of_a_file_without_hashes(self, functional, fitted):
        from tensorflow import keras

        other = keras.models.clone_model(functional)
        other.set_weights([2 * array if i == 4 else array for i, array in enumerate(functional.get_weights())])
        Patterns(fitted.arrays).check(loaded(functional))
        with pytest.raises(WelError, match="first layer that differs is 'hidden'"):
            Patterns(fitted.arrays).check(wel.load(other))

    def test_shapes(self, net, fitted):
        with pytest.raises(WelError, match="3 arrays. Expected 4"):
            patterns_for(net, fitted.arrays[:3])
        with pytest.raises(WelError, match=r"shape \(6, 4\) for layer 'dense', the first layer that differs. Expected \(7, 4\)"):
            patterns_for(net, [*fitted.arrays[:3], fitted.arrays[3][:6]])
        with pytest.raises(WelError, match="'conv1' are not finite"):
            patterns_for(net, [fitted.arrays[0] * np.nan, *fitted.arrays[1:]])

    def test_layers_without_patterns(self):
        from tensorflow.keras import Model, layers

        image = layers.Input(INPUT_SHAPE)
        for layer, words in ((layers.Conv2DTranspose(2, 3, name="up"), "Conv2DTranspose"), (layers.Conv2D(3, 3, groups=3), "3 groups")):
            with pytest.raises(UnsupportedError, match=words):
                kernel_layers(wel.load(Model(image, layer(image))).graph)

    def test_batch_normalization_that_is_not_folded(self):
        """Behind an activation, over another axis, or beside another consumer: no folding."""
        from tensorflow.keras import Model, layers

        image = layers.Input(INPUT_SHAPE)
        relu = layers.Conv2D(3, 3, activation="relu", name="fused")(image)
        across = layers.Conv2D(3, 3, name="across")(layers.BatchNormalization()(relu))
        shared = layers.Conv2D(3, 1, name="shared")(layers.BatchNormalization(axis=1)(across))
        model = Model(image, layers.Add()([layers.BatchNormalization()(shared), shared]))
        assert [layer.norm for layer in kernel_layers(wel.load(model).graph)] == [None] * 3

    def test_without_bundled_patterns_the_options_stay_as_they_are(self, net, fitted):
        assert bundled_patterns(net) is None
        assert with_patterns(net, find_method("pattern_net"), {}) == {}
        assert with_patterns(net, find_method("gradient"), {"patterns": fitted}) == {"patterns": fitted}
        assert with_patterns(net, find_method("pattern_net"), {"patterns": fitted})["patterns"][0] is fitted.arrays[0]

    def test_bundled_patterns_are_for_the_bundled_weights_only(self, tmp_path, monkeypatch):
        monkeypatch.setattr("wel.methods.patterns.models_folder", lambda: tmp_path)
        first, other = (wel.load("cifar10", weights="random", seed=seed) for seed in (0, 1))
        patterns = Patterns(tuple(kernels(first)), {}, first.weight_hashes())
        (tmp_path / "cifar10").mkdir()
        patterns.save(tmp_path / "cifar10" / "cifar10_patterns.npz")
        found = with_patterns(first, find_method("pattern_net"), {})["patterns"]
        assert [array.shape for array in found] == [array.shape for array in patterns.arrays]
        assert with_patterns(other, find_method("pattern_net"), {}) == {}
