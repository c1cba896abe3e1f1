"""Analyzers around analyzers, and what is told of relevance on its way down."""

from __future__ import annotations

import keras
import numpy as np
import pytest
from keras import layers

import wel
import wel.innvestigate as innvestigate
from wel.errors import WelError
from wel.innvestigate.analyzer import AugmentReduceBase, GaussianSmoother, PathIntegrator, WrapperBase
from wel.rules.base import Rule

X = np.random.default_rng(0).standard_normal((3, 5)).astype("float32")


@pytest.fixture(scope="module")
def model() -> keras.Model:
    model = keras.Sequential([keras.Input((5,)), layers.Dense(6, activation="relu", name="hidden"), layers.Dense(4, name="logits")])
    rng = np.random.default_rng(1)
    model.set_weights([rng.standard_normal(array.shape) for array in model.get_weights()])
    return model


def gradient(model: keras.Model, **kwargs):
    return innvestigate.create_analyzer("gradient", model, **kwargs)


class TestMeans:
    def test_a_wrapper_is_the_other_analyzer(self, model):
        np.testing.assert_array_equal(WrapperBase(gradient(model)).analyze(X), gradient(model).analyze(X))

    def test_a_mean_of_the_same_is_the_same(self, model):
        inner = innvestigate.create_analyzer("lrp.epsilon", model)
        np.testing.assert_allclose(AugmentReduceBase(inner, augment_by_n=3).analyze(X), inner.analyze(X), rtol=1e-6)

    @pytest.mark.parametrize("mode, selection", [("max_activation", None), ("index", [3, 0, 1]), ("all", None)])
    def test_the_gradients_are_smoothgrad_and_integrated_gradients(self, mode, selection, model):
        inner = gradient(model, neuron_selection_mode=mode, seed=5)
        smooth = innvestigate.create_analyzer("smoothgrad", model, augment_by_n=4, noise_scale=0.5, neuron_selection_mode=mode, seed=5)
        wrapped = GaussianSmoother(inner, augment_by_n=4, noise_scale=0.5)
        np.testing.assert_allclose(wrapped.analyze(X, selection), smooth.analyze(X, selection), rtol=1e-5, atol=1e-7)
        integrated = innvestigate.create_analyzer("integrated_gradients", model, steps=6, reference_inputs=0.3, neuron_selection_mode=mode)
        wrapped = PathIntegrator(inner, steps=6, reference_inputs=0.3)
        np.testing.assert_allclose(wrapped.analyze(X, selection), integrated.analyze(X, selection), rtol=1e-5, atol=1e-6)

    def test_the_mode_may_be_another_one(self, model):
        found = AugmentReduceBase(gradient(model), neuron_selection_mode="index").analyze(X, 2)
        np.testing.assert_allclose(found, gradient(model, neuron_selection_mode="index").analyze(X, 2), rtol=1e-6)

    @pytest.mark.parametrize(
        "wrap, message",
        [
            (lambda model: WrapperBase(model), "Invalid value for `subanalyzer`"),
            (lambda model: AugmentReduceBase(gradient(model), augment_by_n=0), "Invalid value for `augment_by_n`: 0"),
            (lambda model: GaussianSmoother(gradient(model), noise_scale=-1), "Invalid value for `noise_scale`: -1"),
            (lambda model: PathIntegrator(gradient(model), steps=0), "Invalid value for `steps`: 0"),
            (
                lambda model: GaussianSmoother(gradient(model), foo=1),
                "Invalid value for `kwargs`: 'foo'. Expected what GaussianSmoother has",
            ),
            (lambda model: WrapperBase(gradient(model), neuron_selection_mode="some"), "Invalid value for `neuron_selection_mode`: 'some'"),
        ],
    )
    def test_what_cannot_be_wrapped_is_refused(self, wrap, message, model):
        with pytest.raises(WelError, match=message):
            wrap(model)


class Broken(Rule):
    def apply(self, site, prepared, R):
        return [R[..., :1] / 0 * np.ones(site.part.input_shapes[0], "float32")]


class TestReverse:
    def test_the_rules_are_printed_from_the_output_down(self, model, capsys):
        innvestigate.create_analyzer("lrp.epsilon", model, epsilon=0.5, reverse_verbose=True)
        lines = capsys.readouterr().out.splitlines()
        assert lines[1:] == ["logits (Dense) => Epsilon(ε=0.5)", "hidden (Dense) => Epsilon(ε=0.5); relu => Unchanged"]

    def test_relevance_of_all_layers_is_kept(self, model):
        analyzer = innvestigate.create_analyzer("lrp.z", model, reverse_keep_tensors=True)
        found = analyzer.analyze(X)
        kept = dict(analyzer._reversed_tensors)
        assert [name for name, _ in analyzer._reversed_tensors][1:3] == ["hidden", "logits"]
        logits = model.predict(X, verbose=0)
        top = np.where(logits == logits.max(axis=1, keepdims=True), logits, 0)
        np.testing.assert_allclose(kept["logits"], top, rtol=1e-6)
        expected = wel.relevance(wel.load(model), "lrp_z", X, "logits", top[:, None], ["hidden"])["hidden"][:, 0]
        np.testing.assert_allclose(kept["hidden"], expected, rtol=1e-5, atol=1e-6)
        np.testing.assert_array_equal(analyzer._reversed_tensors[0][1], found)
        np.testing.assert_array_equal(found, innvestigate.create_analyzer("lrp.z", model).analyze(X))

    def test_the_ends_of_all_layers_are_printed(self, model, capsys):
        found = innvestigate.create_analyzer("gradient", model, reverse_check_min_max_values=True).analyze(X)
        lines = capsys.readouterr().out.splitlines()
        assert lines[1] == "logits: 0 to 1" and lines[-1].endswith(f": {found.min():g} to {found.max():g}")

    def test_the_first_layer_that_is_not_finite_is_told(self, model):
        analyzer = innvestigate.create_analyzer(
            "lrp", model, rule=[Broken(), "Z"], bn_layer_rule="Z", reverse_check_finite=True, neuron_selection_mode="all"
        )
        with pytest.warns(UserWarning, match=r"Relevance is not finite at layer 'hidden' \(Dense\) and below\."):
            analyzer.analyze(X)

    @pytest.mark.parametrize(
        "name, kwargs, message",
        [
            ("lrp.z", {"reverse_clip_values": (0, 1)}, r"Invalid value for `reverse_clip_values`: \(0, 1\)\. Expected False"),
            ("lrp.z", {"reverse_everything": True}, "Invalid value for `kwargs`: 'reverse_everything'. Expected one of reverse_verbose"),
            ("smoothgrad", {"reverse_verbose": True}, "Method 'smoothgrad' without them: it is not one way down"),
            ("input", {"reverse_keep_tensors": True}, "Method 'input' without them"),
        ],
    )
    def test_what_there_is_nothing_to_tell_of_is_refused(self, name, kwargs, message, model):
        with pytest.raises(WelError, match=message):
            innvestigate.create_analyzer(name, model, **kwargs)

    def test_what_is_off_may_be_said(self, model):
        innvestigate.create_analyzer("lrp.z", model, reverse_clip_values=False, reverse_project_bottleneck_layers=False)
