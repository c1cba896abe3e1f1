"""innvestigate's interface: its numbers, what is refused, and what wel's own methods give."""

from __future__ import annotations

import keras
import numpy as np
import pytest
from golden.make_innvestigate import FILE, NEURONS, SHAPES, cases, key, keywords, outputs
from keras import layers

import wel
import wel.innvestigate as innvestigate
from wel.errors import WelError
from wel.innvestigate.analyzer.relevance_based.relevance_rule import EpsilonRule
from wel.innvestigate.analyzers import keywords_of
from wel.measures.vectors import random_vectors
from wel.rules import lrp

GOLDEN = np.load(FILE)
FOUND = [case for case in cases() if key(case) in GOLDEN]
NEW = {"lrp.z_IB", "lrp.epsilon_IB", "random", "smoothgrad", "deep_lift.wrapper", "pattern.net", "pattern.attribution"}


@pytest.fixture(scope="module")
def models() -> dict[str, keras.Model]:
    return {network: model_of(network) for network in SHAPES}


def model_of(network: str) -> keras.Model:
    x = keras.Input(SHAPES[network])
    model = keras.Model(x, outputs(network, layers, x))
    model.set_weights([GOLDEN[name] for name in sorted(GOLDEN) if name.startswith(f"{network}/weights/")])
    return model


def images_of(network: str) -> np.ndarray:
    return GOLDEN[f"{network}/images"]


def distance(found: np.ndarray, expected: np.ndarray) -> float:
    """Relative L2; where nothing is expected, L2."""
    return float(np.linalg.norm(found - expected) / (np.linalg.norm(expected) or 1))


def analyze(name: str, model: keras.Model, images: np.ndarray, **kwargs) -> np.ndarray:
    return innvestigate.create_analyzer(name, model, **kwargs).analyze(images)


@pytest.mark.parametrize("case", FOUND, ids=key)
def test_numbers_are_those_of_innvestigate(case, models):
    network, name, kwargs, mode = case
    analyzer = innvestigate.create_analyzer(name, models[network], neuron_selection_mode=mode, **keywords(network, kwargs))
    found = analyzer.analyze(images_of(network), **({"neuron_selection": NEURONS} if mode == "index" else {}))
    assert found.dtype == "float32"
    # z has small denominators: all cases of `lrp` have it somewhere, and the ε of lrp.epsilon is 1e-7 unless it is given
    z = name in ("lrp.z", "lrp") or (name == "lrp.epsilon" and "epsilon" not in kwargs)
    assert distance(found, GOLDEN[key(case)]) < (1e-3 if z else 1e-4)


def test_every_name_is_compared_or_is_not_innvestigates():
    assert {case[1] for case in FOUND} | NEW == set(innvestigate.analyzers)


@pytest.mark.parametrize(
    "name, settings, method, options",
    [
        ("lrp.z", {}, "lrp_z", {}),
        ("lrp.epsilon", {"epsilon": 0.2}, "lrp_epsilon", {"epsilon": 0.2}),
        ("lrp.alpha_2_beta_1", {}, "lrp_alpha2_beta1", {}),
        ("lrp.alpha_beta", {"alpha": 5}, "lrp_alpha5_beta4", {}),
        ("integrated_gradients", {"steps": 4}, "integrated_gradients", {"steps": 4}),
        ("deep_lift.wrapper", {"reference_inputs": 0.5}, "deeplift_rescale", {"reference": [0.5, 0.5]}),
        ("deep_lift.wrapper", {"nonlinear_mode": "reveal_cancel"}, "deeplift_reveal_cancel", {}),
    ],
)
def test_corrected_is_wels_own(name, settings, method, options, models):
    x = images_of("residual")
    found = analyze(name, models["residual"], x, semantics="corrected", **settings)
    expected = wel.attribution(wel.load(models["residual"]), method, x, semantics="corrected", **options)
    np.testing.assert_allclose(found, expected, rtol=1e-5, atol=1e-6)


def test_corrected_bounded_deep_taylor_is_wels_own_where_the_logit_is_positive(models):
    x, net = images_of("plain"), wel.load(models["plain"])
    assert (net.logits(x).max(axis=1) > 0).all()
    found = analyze("deep_taylor.bounded", models["plain"], x, low=-4, high=4, semantics="corrected")
    expected = wel.attribution(net, "deep_taylor", x, semantics="corrected", low=-4, high=4)
    np.testing.assert_allclose(found, expected, rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize("name, method", [("pattern.net", "pattern_net"), ("pattern.attribution", "pattern_attribution")])
def test_patterns_are_given_or_fitted(name, method, models):
    x, net = images_of("plain"), wel.load(models["plain"])
    patterns = wel.fit_patterns(net, x, "linear").arrays
    analyzer = innvestigate.create_analyzer(name, models["plain"], pattern_type="linear")
    with pytest.raises(WelError, match="needs patterns of this network"):
        analyzer.analyze(x)
    analyzer.fit(x)
    expected = wel.attribution(net, method, x, patterns=patterns)
    np.testing.assert_allclose(analyzer.analyze(x), expected, rtol=1e-6)
    np.testing.assert_allclose(analyze(name, models["plain"], x, patterns=patterns), expected, rtol=1e-6)


def test_rules_without_bias_are_those_of_the_network_without_biases():
    model = keras.Sequential([keras.Input((4,)), layers.Dense(3, activation="linear"), layers.Dense(2)])
    x = np.random.default_rng(0).standard_normal((2, 4)).astype("float32")
    expected = analyze("lrp.epsilon", model, x, epsilon=0.1)  # Keras's biases begin at 0
    np.testing.assert_allclose(analyze("lrp.epsilon_IB", model, x, epsilon=0.1), expected, rtol=1e-5)
    np.testing.assert_allclose(analyze("lrp.z_IB", model, x), analyze("lrp.z", model, x), rtol=1e-5)


def test_rules_without_bias_by_hand():
    model = keras.Sequential([keras.Input((2,)), layers.Dense(1)])
    model.set_weights([np.array([[3.0], [-1.0]]), np.array([5.0])])
    x = np.array([[1.0, 2.0]], "float32")
    # z = 3 − 2 = 1 and the logit 1 + 5 = 6: x w 6 / 1
    np.testing.assert_allclose(analyze("lrp.z_IB", model, x), [[18, -12]], rtol=1e-6)
    # z + ε = 2
    np.testing.assert_allclose(analyze("lrp.epsilon_IB", model, x, epsilon=1.0), [[9, -6]], rtol=1e-6)
    # w² = 9 and 1, so 9/10 and 1/10 of 6
    np.testing.assert_allclose(analyze("lrp.w_square", model, x), [[5.4, 0.6]], rtol=1e-6)
    np.testing.assert_allclose(analyze("lrp.flat", model, x), [[3, 3]], rtol=1e-6)
    # w⁺ = 3 and 0
    np.testing.assert_allclose(analyze("lrp.z_plus_fast", model, x), [[6, 0]], rtol=1e-6)


def test_smoothgrad_is_the_mean_of_gradients_at_noisy_inputs(models):
    x = images_of("tanh")
    found = analyze("smoothgrad", models["tanh"], x, augment_by_n=3, noise_scale=0.5, postprocess="square", seed=4)
    best = models["tanh"].predict(x, verbose=0).argmax(axis=1)
    gradient = innvestigate.create_analyzer("gradient", models["tanh"], neuron_selection_mode="index", postprocess="square")
    for i in range(2):
        points = x[i] + 0.5 * random_vectors(4, "smoothgrad", [i], 3, x.shape[1:])[0]
        np.testing.assert_allclose(found[i], gradient.analyze(points, int(best[i])).mean(axis=0), rtol=1e-5)


def test_random_adds_noise_of_that_size(models):
    x = np.ones((3, *SHAPES["plain"]), "float32")
    found = analyze("random", models["plain"], x, stddev=2.0, seed=1)
    # 576 draws: the standard deviation of their standard deviation is 2 / √1152 = 0.06
    assert abs((found - x).std() - 2) < 0.2
    assert (found == analyze("random", models["plain"], x, stddev=2.0, seed=1)).all()
    assert not (found == analyze("random", models["plain"], x, stddev=2.0)).any()


def test_weights_are_those_that_the_model_has_now(models):
    model = model_of("tanh")
    analyzer = innvestigate.create_analyzer("gradient", model, neuron_selection_mode="all")
    before = analyzer.analyze(images_of("tanh"))
    *below, kernel, bias = model.get_weights()
    model.set_weights([*below, 2 * kernel, bias])
    np.testing.assert_allclose(analyzer.analyze([images_of("tanh")]), 2 * before, rtol=1e-6)


def test_an_output_of_several_axes_is_flattened():
    model = keras.Sequential([keras.Input((4, 4, 1)), layers.Conv2D(2, 3)])
    x = np.random.default_rng(0).standard_normal((1, 4, 4, 1)).astype("float32")
    found = innvestigate.create_analyzer("gradient", model, neuron_selection_mode="index").analyze(x, 3)
    # entry 3 of 2 × 2 × 2 is channel 1 at row 0, column 1
    expected = np.zeros((4, 4))
    expected[:3, 1:] = model.get_weights()[0][:, :, 0, 1]
    np.testing.assert_allclose(found[0, ..., 0], expected, rtol=1e-6)


def test_rules_are_names_classes_instances_and_wels_own(models):
    x, model = images_of("plain"), models["plain"]

    class Own(EpsilonRule):
        def __init__(self, *args, **kwargs):
            super().__init__(*args, epsilon=0.3, **kwargs)

    expected = analyze("lrp.epsilon", model, x, epsilon=0.3)
    for rule in (Own, EpsilonRule(epsilon=0.3), lrp.Epsilon(0.3)):
        np.testing.assert_array_equal(analyze("lrp", model, x, rule=rule, bn_layer_rule="Z"), expected)


def test_a_list_is_handed_out_backwards_but_in_corrected(models):
    x, model, given = images_of("tanh"), models["tanh"], {"bn_layer_rule": "Z"}
    backwards = analyze("lrp", model, x, rule=["WSquare", "Flat"], **given)
    by_kind = [(lambda layer: layer is model.layers[-1], "WSquare"), (lambda layer: True, "Flat")]
    np.testing.assert_array_equal(backwards, analyze("lrp", model, x, rule=by_kind, **given))
    corrected = analyze("lrp", model, x, rule=["Flat", "WSquare"], semantics="corrected", **given)
    np.testing.assert_allclose(corrected, backwards, rtol=1e-5, atol=1e-7)
    # the rule at the input comes before the list: at the last kernel, or nowhere
    np.testing.assert_array_equal(analyze("lrp", model, x, rule=["Flat"], input_layer_rule="WSquare", **given), backwards)
    np.testing.assert_array_equal(analyze("lrp", model, x, rule=["WSquare", "Flat"], input_layer_rule="Z", **given), backwards)
    at_input = analyze("lrp", model, x, rule=["WSquare"], input_layer_rule="Flat", semantics="corrected", **given)
    np.testing.assert_array_equal(at_input, corrected)


def test_keywords_may_come_in_their_order(models):
    x, model = images_of("plain"), models["plain"]
    found = innvestigate.analyzer.LRPEpsilon(model, 0.2, False).analyze(x)
    np.testing.assert_array_equal(found, analyze("lrp.epsilon", model, x, epsilon=0.2, bias=False))
    assert keywords_of("lrp.epsilon")[:2] == ["epsilon", "bias"]


def test_a_layer_that_is_called_twice_has_one_rule():
    x, shared = keras.Input((4,)), layers.Dense(4, activation="relu", bias_initializer="ones")
    model = keras.Model(x, layers.Dense(2)(shared(shared(x))))
    images = np.random.default_rng(0).standard_normal((2, 4)).astype("float32")
    by_kind = [(lambda layer: layer is shared, "Flat"), (lambda layer: True, "Z")]
    expected = analyze("lrp", model, images, rule=by_kind, bn_layer_rule="Z")
    np.testing.assert_array_equal(analyze("lrp", model, images, rule=["Z", "Flat"], bn_layer_rule="Z"), expected)
    np.testing.assert_array_equal(analyze("lrp.z", model, images, until_layer_idx=1, until_layer_rule="Flat"), expected)


@pytest.mark.parametrize("own, kwargs", [(("abs", 1), {}), (("abs",), {"postprocess": "abs"})])
def test_more_of_them_than_there_are_is_refused(own, kwargs, models):
    with pytest.raises(WelError, match=r"Invalid value for `kwargs`: \('abs'.*Expected values for one of postprocess, each once"):
        innvestigate.analyzer.Gradient(models["plain"], *own, **kwargs)


def test_two_linear_by_hand():
    model = keras.Sequential([keras.Input((1,)), layers.BatchNormalization(epsilon=0.0)])
    # γ, β, μ, v; innvestigate takes √v² = 2 for the deviation
    model.set_weights([np.array([value]) for value in (6.0, 1.0, 1.0, 2.0)])
    # u = (5 − 1)/2 = 2 and γu + β = 13, by two z rules: R γu / 13 · x/2 / 2 = R · 12/13 · 5/4
    logit = model.predict(np.array([[5.0]]), verbose=0)[0, 0]
    found = analyze("lrp.z", model, np.array([[5.0]], "float32"), bn_layer_fuse_mode="two_linear")
    np.testing.assert_allclose(found, [[logit * 12 / 13 * 5 / 4]], rtol=1e-6)


class TestSoftmax:
    @pytest.fixture
    def model(self):
        return keras.Sequential([keras.Input((4,)), layers.Dense(3, activation="softmax")])

    def test_is_refused(self, model):
        with pytest.raises(
            innvestigate.NotAnalyzeableModelException, match=r"^Method 'gradient' does not take a softmax; `model_wo_softmax`"
        ):
            innvestigate.create_analyzer("gradient", model)
        assert innvestigate.create_analyzer("input", model).analyze(np.ones((1, 4), "float32")).sum() == 4

    def test_is_taken_off(self, model):
        logits = innvestigate.utils.model_wo_softmax(model)
        np.testing.assert_array_equal(logits.get_weights()[0], model.get_weights()[0])
        x, kernel = np.ones((1, 4), "float32"), model.get_weights()[0]
        np.testing.assert_allclose(analyze("gradient", logits, x, neuron_selection_mode="all")[0], kernel.sum(axis=1), rtol=1e-5)
        with pytest.raises(WelError, match="which ends in no softmax"):
            innvestigate.model_wo_softmax(logits)

    def test_is_kept_without_checks(self, model):
        x = np.random.default_rng(0).standard_normal((1, 4)).astype("float32")
        p, kernel = model.predict(x, verbose=0)[0], model.get_weights()[0]
        found = innvestigate.create_analyzer("gradient", model, neuron_selection_mode="index", disable_model_checks=True).analyze(x, 1)
        # ∂p₁/∂x = p₁ (w₁ − Σ p_k w_k)
        np.testing.assert_allclose(found[0], p[1] * (kernel[:, 1] - kernel @ p), rtol=1e-4, atol=1e-7)


@pytest.mark.parametrize(
    "name, kwargs, message",
    [
        ("lrp.magic", {}, r"Invalid value for `name`: 'lrp.magic'\. Expected one of input, random"),
        ("lrp.sequential_preset_b_flat_until_idx", {"until_layer_idx": -1}, "Invalid value for `until_layer_idx`: -1"),
        ("lrp.sequential_preset_b_flat_until_idx", {"until_layer_idx": 3}, "Invalid value for `until_layer_idx`: 3. Expected at most 2"),
        ("gradient", {"postprocess": "root"}, "Invalid value for `postprocess`: 'root'"),
        ("gradient", {"epsilon": 1}, r"Invalid value for `kwargs`: 'epsilon'\. Expected for gradient: one of postprocess\."),
        ("gradient", {"neuron_selection_mode": "best"}, "Invalid value for `neuron_selection_mode`: 'best'"),
        ("gradient", {"semantics": "mine"}, "Invalid value for `semantics`: 'mine'"),
        ("lrp.epsilon", {"epsilon": 0}, "Invalid value for `epsilon`: 0"),
        ("lrp.epsilon", {"until_layer_idx": 7, "until_layer_rule": "Z"}, "Invalid value for `until_layer_idx`: 7. Expected at most 2"),
        ("lrp.epsilon", {"until_layer_idx": 1, "until_layer_rule": "Y"}, "Invalid value for `until_layer_rule`: 'Y'. Expected one of Z, "),
        ("lrp.epsilon", {"bn_layer_rule": "Z"}, "Invalid value for `kwargs`: 'bn_layer_rule'"),
        ("lrp.z", {"bn_layer_fuse_mode": "three_linear"}, "Invalid value for `bn_layer_fuse_mode`: 'three_linear'. Expected one of one_"),
        ("lrp.alpha_beta", {}, "Invalid value for `alpha`: None"),
        ("lrp.alpha_beta", {"alpha": 2, "beta": 2}, r"Invalid value for `beta`: 2\.0\. Expected `alpha` − 1, 1"),
        ("lrp.alpha_beta", {"beta": -1}, "Invalid value for `beta`: -1"),
        ("lrp", {}, "Invalid value for `rule`: None"),
        ("lrp", {"rule": ["Z", "Z", "Z"]}, "Expected a rule for each of the 2 layers with a kernel"),
        ("lrp", {"rule": ["Z", "X"]}, "Invalid value for `rule`: 'X'"),
        ("lrp", {"rule": "AlphaBeta"}, "Invalid value for `alpha`: None"),
        ("lrp", {"rule": {"dense": "Z"}}, "Invalid value for `rule`: {'dense': 'Z'}. Expected a rule, or a list of them"),
        ("lrp", {"rule": [("Dense", "Z")]}, r"Invalid value for `rule`.*Expected pairs \(condition, rule\) throughout"),
        ("lrp", {"rule": ["Z", (lambda layer: True, "Z")]}, r"Invalid value for `rule`.*Expected pairs \(condition, rule\) throughout"),
        ("lrp", {"rule": [(lambda layer: False, "Z")]}, r"no condition holds for layer 'dense.*' \(Dense\)"),
        ("lrp", {"rule": ["Z", "Z"], "until_layer_rule": "Z"}, "Invalid value for `until_layer_rule`: 'Z'. Expected None with a list"),
        ("lrp.z", {"input_layer_rule": "Round"}, "Invalid value for `input_layer_rule`: 'Round'"),
        ("deep_taylor.bounded", {"low": 0}, "Invalid value for `high`: None"),
        ("deep_taylor.bounded", {"low": 1, "high": 0}, "Invalid value for `low`: 1"),
        ("deep_lift.wrapper", {"nonlinear_mode": "genomics_default"}, "Invalid value for `nonlinear_mode`: 'genomics_default'"),
        ("integrated_gradients", {"steps": 0}, "Invalid value for `steps`: 0"),
        ("smoothgrad", {"augment_by_n": 1.5}, r"Invalid value for `augment_by_n`: 1\.5"),
        ("smoothgrad", {"noise_scale": -1}, "Invalid value for `noise_scale`: -1"),
        ("pattern.net", {"pattern_type": "odd"}, "Invalid value for `pattern_type`: 'odd'"),
        ("random", {"stddev": -1}, "Invalid value for `stddev`: -1"),
    ],
)
def test_what_cannot_be_used_is_refused(name, kwargs, message, models):
    with pytest.raises(WelError, match=message):
        innvestigate.create_analyzer(name, models["tanh"], **kwargs)


def test_until_no_layer_is_the_preset_itself(models):
    x, model = images_of("plain"), models["plain"]
    found = analyze("lrp.sequential_preset_b_flat_until_idx", model, x, until_layer_idx=None)
    np.testing.assert_array_equal(found, analyze("lrp.sequential_preset_b_flat", model, x))


def test_what_has_no_name_is_none(models):
    with pytest.raises(KeyError, match="Invalid value for `name`: ''"):
        innvestigate.analyzer.AnalyzerBase(models["tanh"])


def test_an_unknown_name_is_a_key_error_too(models):
    with pytest.raises(KeyError):
        innvestigate.create_analyzer("magic", models["tanh"])


@pytest.mark.parametrize("name", ["deconvnet", "guided_backprop", "deep_taylor"])
def test_other_activation_functions_than_relu_are_not_analyzeable(name, models):
    with pytest.raises(innvestigate.NotAnalyzeableModelException, match=rf"^Method '{name}' has no rule for layer 'dense.*' \(tanh\)\.$"):
        innvestigate.create_analyzer(name, models["tanh"])


@pytest.mark.parametrize(
    "mode, selection, message",
    [
        ("index", None, "Expected whole numbers in the mode 'index'"),
        ("all", 1, "Expected None in the mode 'all'"),
        ("index", 3, "Expected whole numbers from 0 to 2, one or 2"),
        ("index", [0, 1, 2], "Expected whole numbers from 0 to 2, one or 2"),
        ("index", 0.5, "Expected whole numbers from 0 to 2, one or 2"),
    ],
)
def test_neurons_that_there_are_not_are_refused(mode, selection, message, models):
    analyzer = innvestigate.create_analyzer("gradient", models["tanh"], neuron_selection_mode=mode)
    with pytest.raises(WelError, match=rf"^Invalid value for `neuron_selection`.*{message}"):
        analyzer.analyze(images_of("tanh"), selection)


@pytest.mark.parametrize("reference", ["zero", np.ones(7), [None]])
def test_references_unlike_an_input_are_refused(reference, models):
    analyzer = innvestigate.create_analyzer("integrated_gradients", models["tanh"], reference_inputs=reference)
    with pytest.raises(WelError, match=r"^Invalid value for `reference_inputs`.*Expected a number, or an array of shape \(6,\)\.$"):
        analyzer.analyze(images_of("tanh"))


@pytest.mark.parametrize(
    "name, expected",
    [
        # x = 1 is −2, −0.6 by LeakyReLU's slope 0.3, 0.6 at the ReLU; the logits are 1 ± 1.8, and a map begins with one of them:
        # 2.8 · 3 · (−1) · 0.3 · (−2) = 5.04 and −0.8 · (−3) · (−1) · 0.3 · (−2) = 1.44.
        # x = −1 is 2, −2 at the ReLU, which Guided Backprop minds and Deconvnet does not: 1 · 3 · (−1) · 1 · (−2) = 6; and −3 does not pass
        ("guided_backprop", [[5.04, 0], [1.44, 0]]),
        ("deconvnet", [[5.04, 6], [1.44, 0]]),
    ],
)
def test_other_activations_have_their_gradient_where_nothing_is_checked(name, expected):
    stack = [layers.Input((1,)), layers.Dense(1), layers.LeakyReLU(), layers.Dense(1, activation="relu"), layers.Dense(2)]
    model = keras.Sequential(stack)
    model.set_weights([np.array(w, "float32") for w in ([[-2]], [0], [[-1]], [0], [[3, -3]], [1, 1])])
    with pytest.raises(innvestigate.NotAnalyzeableModelException, match=r"has no rule for layer 'leaky_re_lu\w*' \(LeakyReLU\)\."):
        innvestigate.create_analyzer(name, model)
    analyzer = innvestigate.create_analyzer(name, model, neuron_selection_mode="index", disable_model_checks=True)
    for entry, maps in enumerate(expected):
        np.testing.assert_allclose(analyzer.analyze(np.array([[1.0], [-1.0]]), entry)[:, 0], maps, rtol=1e-6)
