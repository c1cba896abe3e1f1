"""wel.studies.maps: against innvestigate 1.0.8, by hand, and by what must hold whatever the network."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from conftest import loaded

import wel
from wel.errors import UnsupportedError, WelError
from wel.methods.registry import CSC_METHODS, METHODS, choose_methods
from wel.studies.maps import attribution
from wel.studies.reference import Reference

GOLDEN = Path(__file__).parents[1] / "golden"


def relative(found: np.ndarray, expected: np.ndarray) -> float:
    return float(np.linalg.norm(found.astype("float64") - expected) / np.linalg.norm(expected.astype("float64")))


@pytest.fixture(scope="module")
def golden() -> Reference:
    return Reference.load(GOLDEN / "tiny_vgg_maps.npz")


@pytest.fixture(scope="module")
def tiny_vgg():
    return wel.load(GOLDEN / "tiny_vgg_keras224.h5")


@pytest.fixture(scope="module")
def net(functional):
    return loaded(functional)


@pytest.fixture(scope="module")
def dense():
    """Two inputs, two hidden ReLU units, two logits, no biases; at x = (1, 2): h = (3, 3), logits (3, 6)."""
    from tensorflow.keras import Sequential, layers

    stack = [layers.Input((2,)), layers.Dense(2, "relu", use_bias=False), layers.Dense(2, use_bias=False)]
    model = Sequential(stack)
    model.set_weights([np.array([[1.0, -1.0], [1.0, 2.0]]), np.array([[2.0, -1.0], [-1.0, 3.0]])])
    return wel.load(model)


X = np.array([[1.0, 2.0]])


class TestOriginal:
    @pytest.mark.parametrize("method", ["integrated_gradients", "smoothgrad"])
    def test_innvestigate_1_0_8(self, golden, tiny_vgg, method):
        golden.check(tiny_vgg)
        options = dict(golden.options[method])
        if "noise" in options:
            options["noise"] = np.stack(options["noise"])
        found = attribution(tiny_vgg, method, golden.images, **options)
        ((start, layer),) = [key[1:] for key in golden.relevance if key[0] == method]
        expected = golden.relevance[(method, start, layer)][:, 0]
        assert np.abs(found - expected).max() <= 1e-5 * np.abs(expected).max()
        assert relative(found, expected) <= 1e-5


class TestGradients:
    def test_input_x_gradient_is_lrp_z_without_biases(self, net, functional, images):
        weights = functional.get_weights()
        functional.set_weights([array if array.ndim > 1 else np.zeros_like(array) for array in weights])
        try:
            one, other = (attribution(net, method, images) for method in ("input_x_gradient", "lrp_z"))
            logits = functional.predict(images, verbose=0).max(axis=1)
        finally:
            functional.set_weights(weights)
        assert relative(one, other) <= 1e-5
        scale = np.abs(logits).max()  # a logit near zero is a sum of larger terms
        np.testing.assert_allclose(one.sum(axis=(1, 2, 3)), logits, rtol=0, atol=1e-5 * scale)  # Euler: such a network is linear along rays

    @pytest.mark.parametrize("steps", [4, 64, 512])
    def test_corrected_integrated_gradients_are_complete(self, net, functional, images, steps):
        image = images[:1]
        found = attribution(net, "integrated_gradients", image, 2, semantics="corrected", steps=steps).sum()
        change = (functional(image) - functional(np.zeros_like(image))).numpy()[0, 2]
        # On the way from 0 to x the logit is piecewise linear. Where its slope jumps by d within one of the steps, the midpoint
        # rule is off by d/(2 steps) at most.
        on_the_way = image * ((np.arange(2048) + 0.5) / 2048).reshape(-1, 1, 1, 1)
        slopes = (attribution(net, "gradient", on_the_way, 2) * image).sum(axis=(1, 2, 3))
        assert abs(found - change) <= np.abs(np.diff(slopes)).sum() / (2 * steps) + 1e-6

    def test_integrated_gradients_by_hand(self):
        from tensorflow.keras import Sequential, layers

        # f(x) = relu(x − 1.5) at x = 2 from r = 1; 2 steps. The gradient is 1 above 1.5, else 0.
        net = wel.load(Sequential([layers.Input((1,)), layers.Dense(1, "relu"), layers.Dense(1)]))
        net.model.set_weights([np.array([[1.0]]), np.array([-1.5]), np.array([[1.0]]), np.array([0.0])])
        settings = {"images": np.array([[2.0]]), "classes": 0, "steps": 2, "reference": [1.0]}
        # corrected: at 1.25 and 1.75, (0 + 1) / 2 · (2 − 1); paper: at 2 and 2.5, (1 + 1) / 2 · (2 − 1)
        found = {kind: attribution(net, "integrated_gradients", semantics=kind, **settings).item() for kind in ("corrected", "paper")}
        assert found == {"corrected": 0.5, "paper": 1.0}

    @pytest.mark.parametrize(
        "semantics, rule, expected",
        [
            # g(x) = relu(x − 1) + relu(x − 2), x = 3, r = 1, 2 steps
            # from r: at 1, 2, 3 it is 0, 1, 3; at 1.5 and 2.5 it is 0.5 and 2
            ("corrected", "left", 2 * (0 + 1) / 2),
            ("corrected", "midpoint", 2 * (0.5 + 2) / 2),
            ("corrected", "trapezoid", 2 * (0 / 2 + 1 + 3 / 2) / 2),
            # from x: at 3, 4, 5 it is 3, 5, 7; at 3.5 and 4.5 it is 4 and 6
            ("paper", "left", 2 * (3 + 5) / 2),
            ("paper", "midpoint", 2 * (4 + 6) / 2),
            ("paper", "trapezoid", 2 * (3 / 2 + 5 + 7 / 2) / 2),
        ],
    )
    def test_the_rules_of_integrated_gradients_by_hand(self, semantics, rule, expected):
        from tensorflow.keras import Model, layers

        # ½ relu(x − 1)² + ½ relu(x − 2)²
        x = layers.Input((1,))
        unit = layers.Dense(2, "relu", name="unit")
        u = unit(x)
        model = Model(x, layers.Dense(1, use_bias=False, name="half")(layers.Multiply()([u, u])))
        unit.set_weights([np.array([[1.0, 1.0]]), np.array([-1.0, -2.0])])
        model.get_layer("half").set_weights([np.array([[0.5], [0.5]])])
        settings = {"classes": 0, "steps": 2, "reference": [1.0], "rule": rule, "semantics": semantics}
        assert attribution(wel.load(model), "integrated_gradients", np.array([[3.0]]), **settings).item() == pytest.approx(expected)

    def test_smoothgrad_without_noise_is_the_gradient(self, net, images):
        found = attribution(net, "smoothgrad", images, noise_scale=0, samples=2)
        assert relative(found, attribution(net, "gradient", images)) <= 1e-6

    def test_smoothgrad_with_given_noise_is_the_mean_gradient(self, net, images):
        noise = 0.1 * np.random.default_rng(0).standard_normal((3, 2, 8, 8, 3), dtype="float32")
        found = attribution(net, "smoothgrad", images, 1, noise=noise)
        expected = np.mean([attribution(net, "gradient", images + noise[:, k], 1) for k in range(2)], axis=0)
        assert relative(found, expected) <= 1e-6

    def test_smoothgrads_noise_depends_on_seed_image_and_sample_only(self, net, images):
        settings = {"net": net, "method": "smoothgrad", "classes": 0, "samples": 3}
        found = attribution(images=images, **settings)
        np.testing.assert_array_equal(attribution(images=images[:2], **settings), found[:2])
        assert relative(attribution(images=images, seed=1, **settings), found) > 1e-3
        same = attribution(images=images[[0, 0]], **settings)
        np.testing.assert_array_equal(same[0], found[0])
        assert relative(same[1], same[0]) > 1e-3

    def test_smoothgrads_noise_is_a_share_of_the_images_range(self, monkeypatch, net, images):
        from wel.studies import maps

        seen = []
        monkeypatch.setattr(maps.Averaged, "of", lambda mean, index, gradients: seen.append(mean.points(1) - images[1]) or images[index])
        attribution(net, "smoothgrad", images, samples=200)
        # the standard error of a deviation over n = 200·192 numbers is 1/√(2n) = 0.4 %
        assert seen[0].std() == pytest.approx(0.15 * (images[1].max() - images[1].min()), rel=0.02)


class TestContrastive:
    def test_lrp_by_hand(self, dense):
        # Class 0: 3 goes to h as (6, −3) says, (3, 0), and on as (1, 2)/3: R = (1, 2). The same 3 on class 1 goes by (−3, 9) to
        # (0, 3), and by (−1, 4) to (0, 3). max(0, (1, 2) − (0, 3)) = (1, 0).
        np.testing.assert_allclose(attribution(dense, "contrastive_lrp", X, 0), [[1, 0]], atol=1e-6)
        # Class 1: (0, 6) → (0, 6), less 6 on class 0: (6, 0) → (2, 4).
        np.testing.assert_allclose(attribution(dense, "contrastive_lrp", X), [[0, 2]], atol=1e-6)

    def test_lrp_on_another_base(self, dense):
        # LRP-z is gradient ∘ input. Class 0, per unit of logit 3: W1·(2, −1) = (3, 0) ∘ (1, 2) = (3, 0). Class 1, 3 of 6:
        # W1·(−1, 3) = (−4, 5) ∘ (1, 2) = (−4, 10), by 3/6: (−2, 5). The difference (5, −5) is cut to (5, 0).
        np.testing.assert_allclose(attribution(dense, "contrastive_lrp", X, 0, base="lrp_z"), [[5, 0]], atol=1e-5)

    def test_excitation_backprop_by_hand(self, dense):
        # Class 0: (3, 0) at h. Negated, 3 goes by (−6, 3) to (0, 3). (3, −3) → 3·(1, 2)/3 − 3·(0, 1) = (1, −1).
        np.testing.assert_allclose(attribution(dense, "contrastive_excitation_backprop", X, 0), [[1, -1]], atol=1e-6)
        # Class 1: (0, 6), negated by (3, −9): (6, 0). (−6, 6) → −6·(1, 2)/3 + 6·(0, 1) = (−2, 2).
        np.testing.assert_allclose(attribution(dense, "contrastive_excitation_backprop", X), [[-2, 2]], atol=1e-6)

    def test_the_last_layer_with_weights_is_found_below_others(self, dense):
        from tensorflow.keras import Sequential, layers

        stack = [layers.Input((2,)), layers.Dense(2, "relu", use_bias=False), layers.Dense(2, use_bias=False), layers.Softmax()]
        model = Sequential(stack)
        model.set_weights(dense.model.get_weights())
        found = attribution(wel.load(model), "contrastive_excitation_backprop", X)  # without its softmax a linear layer is last
        np.testing.assert_allclose(found, attribution(dense, "contrastive_excitation_backprop", X), atol=1e-6)

    def test_the_network_is_left_as_it_was(self, dense):
        before = dense.weights_hash()
        attribution(dense, "contrastive_excitation_backprop", X)
        assert dense.weights_hash() == before

    def test_excitation_backprop_is_lrp_alpha1_beta0(self, dense):
        np.testing.assert_array_equal(attribution(dense, "excitation_backprop", X, 0), attribution(dense, "lrp_alpha1_beta0", X, 0))


class TestArguments:
    @pytest.mark.parametrize("method, head", [("gradient", 1), ("lrp_alpha1_beta0", "logit"), ("guided_backprop", "logit")])
    def test_what_begins_at_the_output(self, net, functional, images, method, head):
        classes = [3, 0, 1]
        logits = functional.predict(images, verbose=0)
        vectors = np.zeros_like(logits)
        vectors[range(3), classes] = 1 if head == 1 else logits[range(3), classes]
        expected = wel.relevance(net, method, images, "output", vectors[:, None], "input")["input"][:, 0]
        np.testing.assert_array_equal(attribution(net, method, images, classes), expected)

    def test_the_class_is_the_prediction_by_default(self, net, functional, images):
        predicted = functional.predict(images, verbose=0).argmax(axis=1)
        np.testing.assert_array_equal(attribution(net, "gradient", images), attribution(net, "gradient", images, predicted))

    @pytest.mark.parametrize(
        "method, settings, sentence",
        [
            ("nope", {}, "^Invalid value for `method`: 'nope'. Expected one of gradient, .*, edges.$"),
            ("gradient", {"classes": 4}, "^Invalid value for `classes`: 4. Expected whole numbers from 0 to 3, one or 3.$"),
            ("gradient", {"classes": [0, 1]}, r"^Invalid value for `classes`: \[0, 1\]. Expected whole numbers from 0 to 3, one or 3.$"),
            ("gradient", {"classes": 0.5}, "^Invalid value for `classes`: 0.5. "),
            ("gradient", {"seed": -1}, "^Invalid value for `seed`: -1. Expected a whole number from 0 on.$"),
            ("gradient", {"semantics": "both"}, "^Invalid value for `semantics`: 'both'. Expected 'paper' or 'corrected'.$"),
            ("smoothgrad", {"samples": 0}, "^Invalid value for `samples`: 0. Expected a whole number from 1 on.$"),
            ("smoothgrad", {"noise_scale": -1}, "^Invalid value for `noise_scale`: -1. Expected a number from 0 on.$"),
            ("smoothgrad", {"noise": np.ones((3, 8, 8, 3))}, r"^Invalid value for `noise`: 'an array of shape \(3, 8, 8, 3\)'. Expected "),
            ("smoothgrad", {"noise": "none"}, "^Invalid value for `noise`: 'none'. Expected 'random', or an array "),
            ("integrated_gradients", {"steps": 1.5}, "^Invalid value for `steps`: 1.5. Expected a whole number from 1 on.$"),
            ("contrastive_lrp", {"base": "gradient"}, "^Invalid value for `base`: 'gradient'. Expected one of lrp_z, "),
            ("excitation_backprop", {"base": "lrp_z"}, "^Invalid value for `options`: 'base'. Expected for excitation_backprop: none.$"),
        ],
    )
    def test_a_mistake_is_one_sentence(self, net, images, method, settings, sentence):
        with pytest.raises(WelError, match=sentence):
            attribution(net, method, images, **settings)

    def test_networks_that_have_no_such_map(self):
        from tensorflow.keras import Model, Sequential, layers

        single = wel.load(Sequential([layers.Input((2,)), layers.Dense(1)]))
        with pytest.raises(UnsupportedError, match="needs two classes or more"):
            attribution(single, "contrastive_lrp", X)
        with pytest.raises(UnsupportedError, match="needs a layer below the last one with weights"):
            attribution(single, "contrastive_excitation_backprop", X)
        image = layers.Input((2,))
        both = wel.load(Model(image, layers.Add(name="both")([layers.Dense(2)(image), layers.Dense(2)(image)])))
        with pytest.raises(UnsupportedError, match=r"needs a last layer with a kernel. Received 'both' \(Add\).$"):
            attribution(both, "contrastive_excitation_backprop", X)
        maps = wel.load(Sequential([layers.Input((8, 8, 3)), layers.Conv2D(2, 3)]))
        with pytest.raises(WelError, match=r"^Invalid value for `net`: its output has shape \(6, 6, 2\). Expected one vector of logits"):
            attribution(maps, "gradient", np.ones((1, 8, 8, 3)))

    @pytest.mark.parametrize("method", [name for name in METHODS if name not in CSC_METHODS])
    def test_methods_with_maps_only_have_no_csc(self, net, images, method):
        sentence = f"^Invalid value for `method`: '{method}', which has maps of the input only. Expected one of gradient, "
        with pytest.raises(WelError, match=sentence):
            wel.csc(net, images, method)
        with pytest.raises(WelError, match=sentence):
            wel.relevance(net, method, images)
        assert method not in [chosen.name for chosen in choose_methods("all")]
