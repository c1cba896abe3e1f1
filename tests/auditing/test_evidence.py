"""wel.auditing.evidence: the same numbers as the studies give, hand-computed cosines, and what is not defined for a network."""

from __future__ import annotations

import numpy as np
import pytest
import tensorflow as tf
from conftest import loaded, of_methods, randomized

import wel
from wel.auditing.depths import choose_depths, choose_layers
from wel.auditing.evidence import Examiner
from wel.auditing.plan import Plan
from wel.auditing.verdicts import CONVERGED, INSENSITIVE, SAME, UNDEFINED, Thresholds, judge
from wel.backends.native.sweep import Sweep
from wel.backends.request import Request
from wel.methods.registry import METHODS
from wel.studies.map_study import true_classes
from wel.studies.study import settled_options

layers = tf.keras.layers
SEED, VECTORS = 3, 4


@pytest.fixture(scope="module")
def net(functional):
    return loaded(functional)


def plan(net, images, starts=None, **more):
    depths = choose_depths(net, 3)
    settings = {"vector_images": 2, "vectors": VECTORS, "seed": SEED, **more}
    classes = true_classes(net, images, None)
    return Plan(images, classes, depths, starts or [net.graph.output, depths[-1]], choose_layers(net, 5), **settings)


def examined(net, images, method, semantics="paper", **more):
    return Examiner(net, plan(net, images, **more)).examine(request(method, semantics))


def request(method, semantics="paper"):
    return Request(METHODS[method], semantics, METHODS[method].defaults)


def of(evidence, test, **where):
    return next(one for one in evidence.tests if one.test == test and all(getattr(one, key) == value for key, value in where.items()))


@pytest.mark.parametrize("method, semantics", [("gradient", "paper"), ("lrp_alpha1_beta0", "corrected"), ("lrp_z", "corrected")])
def test_maps_are_compared_as_in_the_studies(net, images, method, semantics):
    # a map that begins with 1 and one that begins with the logit differ by a factor, whose sign SSIM leaves out
    found = examined(net, images, method, semantics)
    settings = {"methods": [method], "semantics": semantics, "seed": SEED}
    (other,) = of_methods(wel.random_logit(net, images, **settings).table)["median"]
    assert of(found, "other_class").value == pytest.approx(other, abs=1e-5)
    stages = {"pool": "hidden", "hidden": "dense", "conv1": "conv2"}  # cut above a layer: the next layer with weights is the stage
    table = of_methods(wel.cascading_randomization(net, images, layers=list(stages.values()), **settings).table).set_index("stage")
    for test in found.tests:
        if test.test == "randomised":
            row = table.loc[stages[test.above]]
            found_here = test.value, test.low, test.high
            assert found_here == pytest.approx(tuple(row[["median", "ci_low", "ci_high"]]), abs=1e-5, nan_ok=True)


def test_random_relevance_is_measured_as_in_the_studies(net, images):
    found = examined(net, images, "lrp_alpha1_beta0")
    start = ["output", choose_depths(net, 3)[-1]]
    settings = {"methods": ["lrp_alpha1_beta0"], "start": start, "vectors": VECTORS, "seed": SEED}
    table = wel.effective_rank(net, images[:2], **settings).table.set_index(["start", "layer"])
    csc = wel.csc(net, images[:2], **settings).table.set_index(["start", "layer"])
    for test in found.tests:
        if test.test == "convergence":
            row = table.loc[test.start, "input"]
            assert test.value == pytest.approx(row["rank_layer"], rel=1e-9)
            assert test.high - test.value == pytest.approx(2 * row["rank_layer_error"], rel=1e-6)
    assert {(row["start"], row["layer"]) for row in found.csc} == {
        ("dense", "hidden"),
        ("dense", "conv2"),  # below "pool"
        ("dense", "conv1"),
        ("dense", "input"),
        ("conv1", "input"),
    }
    for row in found.csc:
        expected = csc.loc[row["start"], row["layer"]]
        assert [row[name] for name in ("median", "p5", "p95", "baseline")] == pytest.approx(
            [expected[name] for name in ("median", "p5", "p95", "baseline")], rel=1e-12
        )


def test_a_layer_without_initialisers_leaves_out_only_the_cuts_below_it(images):
    class Scaled(layers.Layer):
        def build(self, shape):
            self.factor = self.add_weight("factor", shape[-1:], initializer="ones")

        def call(self, x):
            return x * self.factor

    stack = [layers.Conv2D(4, 3), layers.Flatten(), layers.Dense(6), Scaled(name="own"), layers.Dense(4)]
    net = wel.load(tf.keras.Sequential([layers.Input((8, 8, 3)), *stack]))
    inputs = np.random.default_rng(0).random((4, 8, 8, 3), dtype="float32")
    found = examined(net, inputs, "gradient", starts=[net.graph.output])
    top, low = (test for test in found.tests if test.test == "randomised")
    assert top.outcome != UNDEFINED and top.why == ""  # above it is the last dense layer alone
    assert low.outcome == UNDEFINED and low.why.startswith("Layer 'own' (Scaled) has weights without an initialiser of its own")
    assert of(found, "other_class").outcome != UNDEFINED
    verdict = judge([low], Thresholds())
    assert verdict.verdict == "inconclusive" and "cannot be told: layer 'own' (Scaled) has weights" in verdict.sentence


def test_statistics_of_data_are_in_nobodys_way():
    normal = layers.Normalization()
    normal.adapt(np.random.default_rng(1).random((20, 8, 8, 3)))
    net = wel.load(tf.keras.Sequential([layers.Input((8, 8, 3)), normal, layers.Conv2D(4, 3), layers.Flatten(), layers.Dense(4)]))
    found = examined(net, np.random.default_rng(0).random((4, 8, 8, 3), dtype="float32"), "gradient", starts=[net.graph.output])
    assert [test.why for test in found.tests] == [""] * len(found.tests) and UNDEFINED not in {test.outcome for test in found.tests}


def test_a_network_in_which_nothing_can_be_tested(images):
    net = wel.load(tf.keras.Sequential([layers.Input((8, 8, 3)), layers.Flatten(), layers.Dense(1)]))
    settings = {"vector_images": 1, "vectors": VECTORS, "seed": SEED}
    found = Examiner(net, Plan(images, true_classes(net, images, None), [], [], [], **settings)).examine(request("gradient"))
    assert found.tests == [] and judge(found.tests, Thresholds()).sentence == "No test is defined for this network."


def test_the_network_is_as_before(net, images):
    before = net.weights_hash()
    examined(net, images, "gradient")
    assert net.weights_hash() == before


def test_examples_are_the_maps_of_the_first_images(net, images):
    found = examined(net, images, "gradient")
    assert found.examples.shape == (2, 3, 8, 8)
    true = np.eye(4, dtype="float32")[net.model.predict(images, verbose=0).argmax(axis=1)]
    maps = wel.relevance(net, "gradient", images, vectors=true[:, None], at="input")["input"][:, 0]
    np.testing.assert_allclose(found.examples[:, 0], np.abs(maps).max(axis=-1)[:2], rtol=1e-6)


def test_the_same_whatever_came_before(net, images):
    examiner = Examiner(net, plan(net, images))
    examiner.examine(request("deconvnet"))
    # as text: what is undefined is nan, which equals nothing
    assert repr(examiner.examine(request("gradient")).tests) == repr(examined(net, images, "gradient").tests)


@pytest.mark.parametrize("normalized", [False, True])
@pytest.mark.parametrize("method", ["deeplift_rescale", "deeplift_reveal_cancel", "grad_cam"])
def test_what_methods_have_in_common_changes_no_number(method, normalized):
    kernels = [layers.Conv2D(4, 3, padding="same", name="a"), layers.ReLU(), layers.MaxPooling2D(), layers.Conv2D(5, 3, activation="relu")]
    stack = [*kernels[:1], *([layers.BatchNormalization()] if normalized else []), *kernels[1:], layers.Flatten(), layers.Dense(4)]
    net = wel.load(randomized(tf.keras.Sequential([layers.Input((8, 8, 3)), *stack])))
    inputs = np.random.default_rng(1).random((4, 8, 8, 3), dtype="float32")
    asked = Request(METHODS[method], "paper", settled_options(net, METHODS[method], {}, inputs))
    examiner = Examiner(net, plan(net, inputs))
    examiner.examine(request("gradient"))
    after, alone = examiner.examine(asked), Examiner(net, plan(net, inputs)).examine(asked)
    assert repr(after.tests) == repr(alone.tests) and after.csc == alone.csc
    np.testing.assert_array_equal(after.examples, alone.examples)


@pytest.mark.parametrize("method", ["gradient", "deeplift_reveal_cancel"])
def test_what_does_not_fit_into_memory_comes_down_in_several_sweeps(method, net, images, monkeypatch):
    asked = Request(METHODS[method], "paper", settled_options(net, METHODS[method], {}, images))
    settings = plan(net, images, starts=[net.graph.output])
    whole = Examiner(net, settings).examine(asked)
    monkeypatch.setattr("wel.backends.native.backend.images_within", lambda memory, graph, rows, *_: len(images) if rows <= VECTORS else 0)
    passes, forward = [], Sweep._computed
    monkeypatch.setattr(Sweep, "_computed", lambda self, name, *given: (passes.append(name), forward(self, name, *given)))
    parts = Examiner(net, settings).examine(asked)
    assert [test.value for test in parts.tests] == pytest.approx([test.value for test in whole.tests], rel=1e-5, nan_ok=True)
    np.testing.assert_allclose(parts.examples, whole.examples, rtol=1e-4, atol=1e-6)
    # image by image, and the vectors of one together or not, each goes up once
    assert passes.count("conv1") == len(images)


def test_methods_have_the_same_batches(monkeypatch):
    net = wel.load(randomized(tf.keras.Sequential([layers.Input((8, 8, 3)), layers.Conv2D(4, 3), layers.Flatten(), layers.Dense(4)])))
    inputs = np.random.default_rng(1).random((5, 8, 8, 3), dtype="float32")
    monkeypatch.setattr("wel.auditing.evidence.images_within", lambda memory, graph, rows, dtype: 2)
    examiner = Examiner(net, plan(net, inputs, vector_images=3))
    assert [*map(list, examiner._with_vectors)] == [[0, 1], [2]] and [*map(list, examiner._without)] == [[3, 4]]
    for method in ("gradient", "deeplift_reveal_cancel", "grad_cam"):
        examiner.examine(Request(METHODS[method], "paper", settled_options(net, METHODS[method], {}, inputs)))
    assert sorted(examiner._passes) == [(0, 1), (2,), (3, 4)]


def test_an_input_without_a_picture():
    model = tf.keras.Sequential([layers.Input(12), layers.Dense(5, activation="relu"), layers.Dense(4)])
    net = wel.load(model)
    inputs = np.random.default_rng(0).random((3, 12), dtype="float32")
    found = examined(net, inputs, "gradient", starts=[net.graph.output])
    assert {test.measure for test in found.tests if test.test != "convergence"} == {"cosine"}
    assert found.examples is None


def test_maps_of_a_few_numbers_are_parallel_by_chance():
    net = wel.load(tf.keras.Sequential([layers.Input(3), layers.Dense(5, activation="relu"), layers.Dense(4)]))
    found = examined(net, np.random.default_rng(0).random((4, 3), dtype="float32"), "gradient", starts=[net.graph.output])
    assert {test.outcome for test in found.tests} == {UNDEFINED} and found.csc == []


def test_maps_that_are_empty_in_most_places_are_not_the_same():
    # 10 × 10 of 64 × 64 pixels count: SSIM is high for any two maps, their |cos| is not
    stack = [layers.Input((64, 64, 3)), layers.Cropping2D(27), layers.Conv2D(8, 1, activation="relu"), layers.Flatten(), layers.Dense(4)]
    net = wel.load(randomized(tf.keras.Sequential(stack)))
    inputs = np.random.default_rng(1).random((6, 64, 64, 3), dtype="float32")
    test = of(examined(net, inputs, "input_x_gradient"), "other_class")
    assert test.value > 0.8 > test.cosine and test.outcome != SAME


@pytest.mark.parametrize("logits", [1, 2])
def test_another_class_means_nothing_for_two_logits_or_less(logits, images):
    convolution = layers.Conv2D(4, 3, activation="relu")
    net = wel.load(tf.keras.Sequential([layers.Input((8, 8, 3)), convolution, layers.Flatten(), layers.Dense(logits)]))
    found = examined(net, images, "gradient", starts=choose_depths(net, 1))
    assert [test.test for test in found.tests] == ["randomised", "convergence"]


def test_a_map_without_relevance_is_undefined(images):
    dead = layers.Conv2D(4, 3, activation="relu", kernel_initializer="zeros", bias_initializer=tf.keras.initializers.Constant(-1.0))
    net = wel.load(tf.keras.Sequential([layers.Input((8, 8, 3)), dead, layers.Flatten(), layers.Dense(4)]))
    found = examined(net, images, "gradient", starts=[net.graph.output])
    assert {test.outcome for test in found.tests} == {UNDEFINED}
    assert (
        judge(found.tests, Thresholds()).verdict == "inconclusive"
        and "there is nothing to compare" in judge(found.tests, Thresholds()).sentence
    )


def test_positive_weights_alone_make_every_map_the_same(images):
    # one positive matrix after another: Perron-Frobenius; α1β0 relevance of any class is one map by then
    kernels = [layers.Dense(60, activation="relu", use_bias=False) for _ in range(3)]
    model = tf.keras.Sequential([layers.Input((8, 8, 3)), layers.Flatten(), *kernels, layers.Dense(4, use_bias=False)])
    rng = np.random.default_rng(0)
    model.set_weights([rng.uniform(0.5, 1, weight.shape).astype("float32") for weight in model.weights])
    pictures = np.random.default_rng(2).random((5, 8, 8, 3), dtype="float32")
    found = examined(wel.load(model), pictures, "lrp_alpha1_beta0")
    assert of(found, "other_class").outcome == SAME and of(found, "convergence").outcome == CONVERGED
    assert judge(found.tests, Thresholds()).verdict == INSENSITIVE
