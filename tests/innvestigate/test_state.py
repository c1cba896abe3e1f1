"""Analyzers that were saved and loaded: the same class, the same numbers; and what cannot be loaded."""

from __future__ import annotations

import keras
import numpy as np
import pytest
from keras import layers

import wel.innvestigate as innvestigate
from wel.errors import WelError
from wel.innvestigate.analyzer import AnalyzerBase, GaussianSmoother, Gradient, LRPEpsilon, PathIntegrator
from wel.innvestigate.rules import EpsilonRule, FlatRule
from wel.keras.two import keras2

X = np.random.default_rng(0).standard_normal((2, 6, 6, 2)).astype("float32")


def model_of(kind=layers, functional=keras.Model, entry=keras.Input) -> keras.Model:
    x = entry((6, 6, 2))
    y = kind.Flatten()(kind.Conv2D(3, 3, activation="relu", bias_initializer="ones")(x))
    return functional(x, kind.Dense(4)(y))


@pytest.fixture(scope="module")
def model() -> keras.Model:
    return model_of()


def same(analyzer: AnalyzerBase, other: AnalyzerBase, *selection) -> None:
    assert type(other) is type(analyzer)
    np.testing.assert_allclose(other.analyze(X, *selection), analyzer.analyze(X, *selection), rtol=1e-5, atol=1e-7)


@pytest.mark.parametrize(
    "name, kwargs",
    [
        ("input", {}),
        ("random", {"stddev": 2.0, "seed": 3}),
        ("gradient", {"postprocess": "abs"}),
        ("lrp.epsilon", {"epsilon": 0.5, "input_layer_rule": (-2, 3.0)}),
        ("lrp", {"rule": ["Flat", "Z"], "bn_layer_rule": FlatRule}),
        ("deep_taylor.bounded", {"low": np.float32(-4), "high": 4, "semantics": "corrected"}),
        ("integrated_gradients", {"steps": 3, "reference_inputs": np.ones((6, 6, 2))}),
    ],
)
def test_in_memory_and_in_a_file(name, kwargs, model, tmp_path):
    analyzer = innvestigate.create_analyzer(name, model, **kwargs)
    same(analyzer, AnalyzerBase.load(*analyzer.save()))
    assert analyzer.save(tmp_path / "saved.npz")[0] == type(analyzer).__name__
    same(analyzer, AnalyzerBase.load(tmp_path / "saved.npz"))


def test_of_keras_2(tmp_path):
    analyzer = LRPEpsilon(model_of(keras2().layers, keras2().Model, keras2().Input), epsilon=0.1)
    analyzer.save_npz(tmp_path / "saved")
    same(analyzer, AnalyzerBase.load_npz(tmp_path / "saved.npz"))


def test_the_mode_goes_with_it(model):
    analyzer = innvestigate.create_analyzer("lrp.z", model, neuron_selection_mode="index")
    same(analyzer, AnalyzerBase.load(*analyzer.save()), [3, 1])


def test_patterns_that_were_fitted(model, tmp_path):
    analyzer = innvestigate.create_analyzer("pattern.attribution", model)
    images = np.random.default_rng(1).standard_normal((30, 6, 6, 2)).astype("float32")
    analyzer.fit(images, batch_size=10, verbose=1)
    analyzer.save_npz(tmp_path / "fitted.npz")
    same(analyzer, AnalyzerBase.load_npz(tmp_path / "fitted.npz"))


@pytest.mark.parametrize(
    "wrap",
    [
        lambda inner: GaussianSmoother(inner, noise_scale=0.3, augment_by_n=3),
        lambda inner: PathIntegrator(inner, steps=4, reference_inputs=0.5),
    ],
)
def test_wrappers_take_the_other_analyzer_with_them(wrap, model, tmp_path):
    analyzer = wrap(LRPEpsilon(model, 0.1))
    analyzer.save_npz(tmp_path / "wrapped.npz")
    same(analyzer, AnalyzerBase.load_npz(tmp_path / "wrapped.npz"))


def test_an_analyzer_of_a_script_is_found(model):
    class Mine(Gradient):
        pass

    same(Mine(model), AnalyzerBase.load(*Mine(model).save()))


def test_a_rule_that_a_file_cannot_hold_is_refused_and_nothing_is_written(model, tmp_path):
    analyzer = innvestigate.create_analyzer("lrp", model, rule=EpsilonRule(epsilon=0.1), bn_layer_rule="Z")
    same(analyzer, AnalyzerBase.load(*analyzer.save()))
    with pytest.raises(WelError, match="rules by innvestigate's names, which a file can hold"):
        analyzer.save_npz(tmp_path / "saved.npz")
    assert list(tmp_path.iterdir()) == []


def test_a_folder_that_is_not_there(model, tmp_path):
    with pytest.raises(WelError, match="Invalid value for `fname`.*Expected a file that can be written"):
        Gradient(model).save_npz(tmp_path / "nowhere" / "saved.npz")


class TestWhatIsNoAnalyzer:
    def test_no_file(self, tmp_path):
        with pytest.raises(WelError, match="Invalid value for `fname`.*Expected an existing .npz file"):
            AnalyzerBase.load_npz(tmp_path / "none.npz")

    def test_a_pickle(self, tmp_path):
        np.savez(tmp_path / "old.npz", class_name="Gradient", state={"model_json": "{}"})
        with pytest.raises(WelError, match="is no analyzer that was saved here"):
            AnalyzerBase.load_npz(tmp_path / "old.npz")
        np.savez(tmp_path / "old.npz", analyzer=np.array({}, dtype=object))
        with pytest.raises(WelError, match="is no analyzer that was saved here"):
            AnalyzerBase.load_npz(tmp_path / "old.npz")

    def test_something_else(self, tmp_path):
        (tmp_path / "text.npz").write_text("no zip")
        with pytest.raises(WelError, match="is no analyzer that was saved here"):
            AnalyzerBase.load_npz(tmp_path / "text.npz")

    def test_an_unknown_class(self, model):
        _, state = Gradient(model).save()
        with pytest.raises(WelError, match="Invalid value for `class_name`: 'create_analyzer'. Expected one of"):
            AnalyzerBase.load("create_analyzer", state)

    @pytest.mark.parametrize("text", ["[1]", '{"class_name": "Gradient"}', '{"class_name": "Gradient", "state": {"seed": {"tuple": 3}}}'])
    def test_other_json(self, text, tmp_path):
        np.savez(tmp_path / "other.npz", analyzer=text)
        with pytest.raises(WelError, match="is no analyzer that was saved here"):
            AnalyzerBase.load_npz(tmp_path / "other.npz")

    def test_no_path(self):
        with pytest.raises(WelError, match="Invalid value for `fname`: None"):
            AnalyzerBase.load(None)

    def test_an_array_that_is_not_there(self, tmp_path):
        np.savez(tmp_path / "other.npz", analyzer='{"class_name": "Gradient", "state": {"model_weights": [{"array": 7}]}}')
        with pytest.raises(WelError, match="array_7 is not a file"):
            AnalyzerBase.load_npz(tmp_path / "other.npz")

    @pytest.mark.parametrize("more", [{3: 1}, {"model": 1}])
    def test_keys_that_save_does_not_give(self, more, model):
        kind, state = Gradient(model).save()
        with pytest.raises(WelError, match="Invalid value for `state`"):
            AnalyzerBase.load(kind, {**state, **more})

    @pytest.mark.parametrize("state", [{}, None, {"model_json": "{}"}])
    def test_no_state(self, state, tmp_path):
        with pytest.raises(WelError, match="Invalid value for `(state|fname)`"):
            AnalyzerBase.load("Gradient", state)

    def test_weights_that_do_not_fit(self, model):
        kind, state = Gradient(model).save()
        with pytest.raises(WelError, match="Invalid value for `model_json`"):
            AnalyzerBase.load(kind, {**state, "model_weights": state["model_weights"][:2]})

    def test_code_is_not_run(self):
        bad = keras.Sequential([keras.Input((2,)), layers.Lambda(lambda x: x, name="bad"), layers.Dense(1)])
        kind, state = Gradient(bad, allow_lambda_layers=True).save()
        assert "Lambda" in state["model_json"]
        with pytest.raises(WelError, match="Invalid value for `model_json`"):
            AnalyzerBase.load(kind, state)
