"""Models without their softmax, and the places at which scripts find things."""

from __future__ import annotations

from importlib import import_module

import keras
import numpy as np
import pytest
from keras import layers

import wel
import wel.innvestigate as innvestigate
from wel.errors import WelError
from wel.innvestigate.analyzer import AnalyzerBase
from wel.innvestigate.utils.keras.graph import pre_softmax_tensors
from wel.keras.two import keras2

X = np.random.default_rng(0).standard_normal((2, 5)).astype("float32")
KERAS = {"2": lambda: keras2(), "3": lambda: keras}


def model_of(version: str, *ends: str) -> keras.Model:
    """A model with one output for each last activation function."""
    module = KERAS[version]()
    x = module.Input((5,))
    outputs = [module.layers.Dense(3, activation=end)(x) for end in ends]
    return module.Model(x, outputs[0] if len(outputs) == 1 else outputs)


@pytest.mark.parametrize("version", KERAS)
class TestPreSoftmaxTensors:
    def test_logits_of_every_output(self, version):
        model = model_of(version, "softmax", "softmax")
        logits = KERAS[version]().Model(model.inputs, pre_softmax_tensors(model.outputs))
        for k, found in enumerate(logits.predict(X, verbose=0)):
            np.testing.assert_allclose(found, X @ model.get_weights()[2 * k], rtol=1e-5, atol=1e-6)

    def test_a_layer_of_its_own(self, version):
        module = KERAS[version]()
        x = module.Input((5,))
        before = module.layers.Dense(3)(x)
        model = module.Model(x, module.layers.Activation("softmax")(before))
        logits = module.Model(x, pre_softmax_tensors(model.outputs[0]))
        np.testing.assert_allclose(np.asarray(logits.predict(X, verbose=0)).reshape(2, 3), X @ model.get_weights()[0], rtol=1e-5, atol=1e-6)

    def test_another_end_is_refused_or_left(self, version):
        model = model_of(version, "sigmoid")
        with pytest.raises(WelError, match="Invalid value for `Xs`.*Expected outputs of a softmax"):
            pre_softmax_tensors(model.outputs)
        assert pre_softmax_tensors(model.outputs, should_find_softmax=False)[0] is model.outputs[0]

    def test_an_input_is_left(self, version):
        x = KERAS[version]().Input((5,))
        assert pre_softmax_tensors([x], should_find_softmax=False)[0] is x


def test_a_sigmoid_is_an_output_activation_too():
    model = model_of("3", "sigmoid")
    logits = innvestigate.model_wo_output_activation(model)
    np.testing.assert_allclose(logits.predict(X, verbose=0), X @ model.get_weights()[0], rtol=1e-5, atol=1e-6)
    with pytest.raises(WelError, match="which ends in neither"):
        innvestigate.model_wo_output_activation(logits)


@pytest.mark.parametrize(
    "path",
    [
        "analyzer.Gradient",
        "analyzer.BaselineLRPZ",
        "analyzer.base.AnalyzerBase",
        "analyzer.base.NotAnalyzeableModelException",
        "analyzer.deeplift.DeepLIFTWrapper",
        "analyzer.deeptaylor.BoundedDeepTaylor",
        "analyzer.gradient_based.IntegratedGradients",
        "analyzer.misc.Random",
        "analyzer.pattern_based.PatternNet",
        "analyzer.relevance_based.LRP",
        "analyzer.relevance_based.relevance_analyzer.LRPEpsilon",
        "analyzer.relevance_based.relevance_analyzer.LRP_RULES",
        "analyzer.relevance_based.relevance_rule.Alpha1Beta0Rule",
        "analyzer.wrapper.PathIntegrator",
        "backend.graph.model_wo_softmax",
        "utils.model_wo_softmax",
        "utils.keras.graph.model_wo_softmax",
        "utils.visualizations.heatmap",
    ],
)
def test_what_scripts_import_is_there(path):
    module, _, name = path.rpartition(".")
    found = getattr(import_module(f"wel.innvestigate.{module}"), name)
    reached = innvestigate
    for part in path.split("."):  # scripts write innvestigate.utils.keras.graph.… after `import innvestigate` alone
        reached = getattr(reached, part)
    assert reached is found


def test_every_name_is_the_class_of_that_name():
    assert len(innvestigate.analyzers) == 33
    for name, kind in innvestigate.analyzers.items():
        assert issubclass(kind, AnalyzerBase) and kind.name == name


def test_baseline_lrp_z_is_input_times_gradient_of_relus_only():
    x = keras.Input((5,))
    model = keras.Model(x, layers.Dense(2)(layers.Dense(4, activation="relu", use_bias=False)(x)))
    found = innvestigate.analyzer.BaselineLRPZ(model).analyze(X)
    # without biases LRP-z is the same
    np.testing.assert_allclose(found, innvestigate.create_analyzer("lrp.z", model).analyze(X), rtol=1e-4, atol=1e-5)
    with pytest.raises(innvestigate.NotAnalyzeableModelException, match="other activation functions than ReLU"):
        innvestigate.analyzer.BaselineLRPZ(model_of("3", "tanh"))


@pytest.mark.parametrize("version", KERAS)
def test_of_several_inputs_one_varies(version):
    module = KERAS[version]()
    left, right = (module.Input((5,), name=name) for name in ("left", "right"))
    model = module.Model([left, right], module.layers.Dense(3)(module.layers.Concatenate()([left, right])))
    with pytest.raises(
        WelError, match=r"with 2 inputs\"\. Expected a model with one input, such as `wel\.load\(model, input=…, fixed=…\)\.model`"
    ):
        innvestigate.create_analyzer("gradient", model)
    one = wel.load(model, input="left", fixed={"right": np.ones(5, "float32")}).model
    # d y₁ / d left is the kernel's first five rows
    found = innvestigate.create_analyzer("gradient", one, neuron_selection_mode="index").analyze(X, 1)
    np.testing.assert_allclose(found, np.tile(model.get_weights()[0][:5, 1], (2, 1)), rtol=1e-6)
