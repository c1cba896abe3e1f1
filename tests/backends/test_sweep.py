"""wel.backends.native.sweep: several start layers in one sweep, batches, models of all kinds, what stays as it was, random networks."""

from __future__ import annotations

import gc
import weakref

import numpy as np
import pytest
import tensorflow as tf
from conftest import INPUT_SHAPE, randomized
from engines import Opened, Swept, assert_equals_replica, tape_gradient, vectors_for
from hypothesis import HealthCheck, assume, given, settings
from hypothesis import strategies as st
from replicas import Replica, relative
from tensorflow.keras import Model, Sequential, layers

import wel
from wel.backends.native.sweep import Sweep
from wel.backends.request import Injection, Request, Whole
from wel.errors import UnsupportedError
from wel.measures.counts import CosineCounts
from wel.methods.composites import rules_for
from wel.methods.registry import find_method

# of the residual network: the output, the sum, inside either branch, below the block
STARTS = ("dense", "add", "bn3", "relu2", "bn_skip", "relu1")


@pytest.fixture(scope="module")
def opened(residual) -> Opened:
    return Opened(wel.load(residual))


@pytest.mark.parametrize("method", ["gradient", "lrp_alpha2_beta1", "deeplift_reveal_cancel"])
def test_start_layers_in_one_sweep_equal_start_layers_one_by_one(residual, images, method):
    net = wel.load(residual)
    vectors = {start: vectors_for(net, start, 3, seed=k) for k, start in enumerate(STARTS)}
    found = Swept(net, method, "corrected", images, vectors).relevance()
    assert "bn_skip" not in found["bn3"] and "relu2" not in found["bn_skip"]  # the other branch
    for start in STARTS:
        assert set(found[start]) == set(net.graph.below(start))
        alone = wel.relevance(net, method, images, start, vectors[start], backend="native", semantics="corrected")
        for name, array in found[start].items():
            assert relative(array, alone[net.shown(name)]) <= 1e-5, (start, name)


def test_start_layers_beside_each_other(residual, images):
    """Neither is below the other: their rows meet below the fork."""
    net = wel.load(residual)
    vectors = {start: vectors_for(net, start, 3, seed=k) for k, start in enumerate(("bn3", "bn_skip"))}
    found = Swept(net, "gradient", "paper", images, vectors).relevance()
    assert ("relu2" in found["bn3"], "relu2" in found["bn_skip"]) == (True, False)
    assert ("skip" in found["bn3"], "skip" in found["bn_skip"]) == (False, True)
    for start, rows in vectors.items():
        alone = wel.relevance(net, "gradient", images, start, rows, backend="native")
        for name in ("relu1", net.graph.input):
            assert relative(found[start][name], alone[net.shown(name)]) <= 1e-6


def test_only_some_nodes_are_read_and_nothing_below_them_is_computed(opened, images):
    vectors = vectors_for(opened.net, "dense", 3)
    every = opened.relevance("lrp_z", images, "dense", vectors)
    some = opened.relevance("lrp_z", images, "dense", vectors, at=["bn3", "relu1"])
    assert list(some) == ["bn3", "relu1"]
    for name, array in some.items():
        assert relative(array, every[name]) <= 1e-12
    graph = opened.net.graph
    sweep = Sweep(graph, rules_for(graph, "lrp_z", "paper", {}), (Injection("dense", 1, frozenset({"bn3"}), Whole()),))
    assert {part.node.name for part, _ in sweep.passed} == {"dense", "avgpool", "relu3", "add"}


def test_cosines_are_those_of_the_relevance(residual, images):
    """Counted in the sweep of all start layers, or from the relevance of each by numpy."""
    net = wel.load(residual)
    vectors = {start: vectors_for(net, start, 3, 3, seed=k) for k, start in enumerate(("dense", "bn3", "relu1"))}
    opened = Opened(net, "float32")
    found = opened.cosines("lrp_alpha1_beta0", images, vectors)
    assert set(found) == {(start, name) for start in vectors for name in net.graph.below(start)}
    relevance = {start: opened.relevance("lrp_alpha1_beta0", images, start, vectors[start]) for start in vectors}
    for (start, name), (counts, broken) in found.items():
        cosines = cosines_of(relevance[start][name])
        assert isinstance(counts, CosineCounts) and counts.values.sum() > 0 and broken == 0
        expected = CosineCounts.merged(CosineCounts.of(k, np.minimum(one, 1)) for k, one in enumerate(cosines))
        np.testing.assert_array_equal(counts.values, expected.values)
        np.testing.assert_array_equal(counts.dropped, expected.dropped)
        np.testing.assert_allclose(counts.total, expected.total, rtol=1e-5, err_msg=f"{start} {name}")


def cosines_of(relevance) -> np.ndarray:
    """|cos| of every pair of vectors at every location."""
    n, count, *_, channels = relevance.shape
    located = np.moveaxis(relevance.reshape(n, count, -1, channels), 1, 2).astype("float64")
    with np.errstate(invalid="ignore"):
        unit = located / np.linalg.norm(located, axis=-1, keepdims=True)
    first, second = np.triu_indices(count, 1)
    return np.abs((unit[:, :, first] * unit[:, :, second]).sum(-1))


def test_vectors_of_different_number(opened, images):
    vectors = {"dense": vectors_for(opened.net, "dense", 3, 2), "add": vectors_for(opened.net, "add", 3, 4)}
    together = opened.cosines("gradient", images, vectors)
    for start in vectors:
        for key, (counts, _) in opened.cosines("gradient", images, {start: vectors[start]}).items():
            np.testing.assert_array_equal(together[key][0].values, counts.values)
            np.testing.assert_allclose(together[key][0].total, counts.total, rtol=1e-9)


@pytest.mark.parametrize("method", ["lrp_alpha1_beta0", "rectgrad"])
def test_batches_of_any_size_give_the_same(residual, images, method):
    net = wel.load(residual)
    vectors = vectors_for(net, "dense", 3)
    options = {"percentile": 70.0} if method == "rectgrad" else {}
    whole = Opened(net, "float32").relevance(method, images, "dense", vectors, **options)
    small = Opened(net, "float32", memory=1)
    assert small.native.images_at_once(2, Request(find_method(method), "corrected", options)) == 1
    for name, array in small.relevance(method, images, "dense", vectors, **options).items():
        assert relative(array, whole[name]) <= 1e-6
    for k in range(2):
        alone = Opened(net, "float32").relevance(method, images, "dense", vectors[:, k : k + 1], at=["relu1"], **options)["relu1"]
        assert relative(alone, whole["relu1"][:, k : k + 1]) <= 1e-6


@pytest.mark.parametrize("method", ["gradient", "lrp_z", "lrp_alpha5_beta4", "pattern_net", "deeplift_rescale", "deeplift_reveal_cancel"])
def test_relevance_is_linear_in_the_vectors(functional, images, method):
    net = wel.load(functional)
    one, two = (vectors_for(net, "dense", 3, 1, seed) for seed in (0, 1))
    options = {"reference": np.zeros(INPUT_SHAPE)} if "deeplift" in method else {}
    if method == "pattern_net":
        options = {"patterns": [np.random.default_rng(3).standard_normal(w.shape) for w in net.model.get_weights() if w.ndim > 1]}
    rows = np.concatenate([one, two, 3 * one - 2 * two], axis=1)
    for name, found in Opened(net).relevance(method, images, "dense", rows, "corrected", **options).items():
        # the third row was rounded to float32 before it went in
        assert relative(3.0 * found[:, 0] - 2.0 * found[:, 1], found[:, 2]) <= 1e-5, name


# --- models of all kinds


@pytest.mark.parametrize("kind", ["nested", "shared_layer", "sequential", "functional"])
def test_models_in_every_form_equal_the_replica(request, images, kind):
    opened, matrices = Opened(wel.load(request.getfixturevalue(kind))), {}
    for method in ("gradient", "lrp_alpha1_beta0"):
        assert_equals_replica(opened, method, "corrected", images, matrices)


def gradient_at_input(model, images, **settings):
    net = wel.load(model)
    vectors = vectors_for(net, net.graph.output, len(images))
    found = wel.relevance(net, "gradient", images, vectors=vectors, at="input", backend="native", **settings)["input"]
    return found, tape_gradient(model, images, vectors, "float32")


@pytest.mark.parametrize("use", ["add", "concatenate", "multiply", "operators", "average", "normalized", "softmax", "recurrent", "lambda"])
def test_gradients_of_any_differentiable_layer(images, use):
    image = layers.Input(INPUT_SHAPE)
    x = layers.Conv2D(4, 3, activation=tf.nn.softplus)(image)
    y = {
        "add": lambda: layers.Add()([x, x]),
        "concatenate": lambda: layers.Concatenate()([x, x]),
        "multiply": lambda: layers.Multiply()([x, x, x]),
        "operators": lambda: 2 * x - tf.tanh(x) / (1 + x),
        "average": lambda: layers.Average()([x, layers.GlobalAveragePooling2D(keepdims=True)(x)]),
        "normalized": lambda: layers.LayerNormalization()(x),
        "softmax": lambda: layers.Dense(5, activation="softmax")(layers.Subtract()([x, layers.Dense(4)(x)])),
        "recurrent": lambda: layers.GRU(3)(layers.Reshape((6, 24))(x)),
        "lambda": lambda: layers.Lambda(lambda values: tf.sort(values, axis=-1))(x),
    }[use]()
    found, expected = gradient_at_input(randomized(Model(image, layers.Dense(3)(layers.Flatten()(y)))), images)
    assert relative(found, expected) <= 1e-6


class Squared(layers.Layer):
    """A layer of the user's own."""

    def call(self, x):
        return x**2


def test_custom_layers_have_gradients_and_no_other_rule(images):
    image = layers.Input(INPUT_SHAPE)
    model = randomized(Model(image, layers.Dense(3)(layers.Flatten()(Squared(name="squared")(layers.Conv2D(2, 3)(image))))))
    found, expected = gradient_at_input(model, images)
    assert relative(found, expected) <= 1e-6
    net = wel.load(model)
    for method in ("lrp_z", "lrp_alpha1_beta0", "deep_taylor", "deeplift_rescale"):
        with pytest.raises(UnsupportedError, match="has no rule for layer 'squared'"):
            wel.relevance(net, method, images, vectors=np.ones((3, 1, 3)), backend="native")


def test_custom_activation_functions(images):
    def bent(x):
        return tf.where(x > 0, x, 0.1 * x**2)

    image = layers.Input(INPUT_SHAPE)
    model = randomized(Model(image, layers.Dense(3)(layers.Flatten()(layers.Conv2D(2, 3, activation=bent, name="bent")(image)))))
    found, expected = gradient_at_input(model, images)
    assert relative(found, expected) <= 1e-6
    net = wel.load(model)
    assert np.isfinite(wel.relevance(net, "lrp_z", images, vectors=np.ones((3, 1, 3)), backend="native", at="input")["input"]).all()
    with pytest.raises(UnsupportedError, match=r"'guided_backprop' has no rule for layer 'bent'"):
        wel.relevance(net, "guided_backprop", images, vectors=np.ones((3, 1, 3)), backend="native")


@pytest.mark.parametrize("policy", ["mixed_float16", "mixed_bfloat16"])
def test_models_of_mixed_precision_compute_in_float32(images, policy):
    plain = Sequential([layers.Input(INPUT_SHAPE), layers.Conv2D(4, 3, activation="relu"), layers.Flatten(), layers.Dense(3)])
    randomized(plain, seed=3)
    stack = [layers.Conv2D(4, 3, activation="relu", dtype=policy), layers.Flatten(dtype=policy), layers.Dense(3, dtype=policy)]
    mixed = Sequential([layers.Input(INPUT_SHAPE), *stack])
    mixed.set_weights(plain.get_weights())
    vectors = np.random.default_rng(1).standard_normal((3, 2, 3))
    for method in ("gradient", "lrp_alpha1_beta0"):
        read = [wel.relevance(wel.load(model), method, images, vectors=vectors, backend="native") for model in (mixed, plain)]
        found, expected = (one["input"] for one in read)
        assert found.dtype == "float32" and relative(found, expected) <= 1e-6


# --- the caller's model


def test_a_live_model_keeps_working_and_nothing_in_it_changes(images):
    from tensorflow.keras import optimizers

    stack = [layers.Input(INPUT_SHAPE), layers.Conv2D(3, 3), layers.BatchNormalization(), layers.Dropout(0.5), layers.Flatten()]
    model = randomized(Sequential([*stack, layers.Dense(4)]))
    before, weights = model.predict(images, verbose=0), model.get_weights()
    for method in ("gradient", "lrp_alpha1_beta0", "deeplift_rescale"):
        wel.relevance(wel.load(model), method, images, vectors=np.ones((3, 1, 4)), backend="native")
    np.testing.assert_array_equal(model.predict(images, verbose=0), before)
    for array, old in zip(model.get_weights(), weights):
        np.testing.assert_array_equal(array, old)
    model.compile(optimizers.SGD(0.01), "mse")
    model.fit(images, np.zeros((3, 4)), epochs=20, verbose=0)  # whose losses hang on what Dropout draws
    assert tf.executing_eagerly() and np.square(model.predict(images, verbose=0)).mean() < np.square(before).mean()


@pytest.mark.parametrize("method", ["gradient", "lrp_alpha2_beta1", "deeplift_reveal_cancel"])
def test_new_weights_take_effect_in_the_next_call(images, method):
    """Those of every kind of layer that has any, in a sweep that was compiled for the old ones."""
    image = layers.Input(INPUT_SHAPE)
    x = layers.PReLU(shared_axes=[1, 2])(layers.BatchNormalization()(layers.Conv2D(3, 3)(image)))
    x = layers.DepthwiseConv2D(2)(x)
    model = randomized(Model(image, layers.Dense(3)(layers.Flatten()(x))), seed=1)
    net, vectors = wel.load(model), np.ones((3, 1, 3))
    old = wel.relevance(net, method, images, vectors=vectors, backend="native", at="input")["input"]
    randomized(model, seed=2)
    new = wel.relevance(net, method, images, vectors=vectors, backend="native", at="input")["input"]
    fresh = wel.relevance(wel.load(model), method, images, vectors=vectors, backend="native", at="input")["input"]
    assert relative(new, old) > 0.1
    np.testing.assert_array_equal(new, fresh)


def test_networks_that_are_gone_leave_nothing_behind(images):
    """Compiled sweeps live as long as their network, so that opening many of them does not grow."""
    gone = []
    for seed in range(8):
        model = randomized(Sequential([layers.Input(INPUT_SHAPE), layers.Flatten(), layers.Dense(2, name="dense")]), seed)
        net = wel.load(model)
        for dtype in ("float32", "float64"):
            sweeps = Opened(net, dtype)
            sweeps.relevance("gradient", images, "dense", np.ones((3, 1, 2)))
            gone += [weakref.ref(sweeps), weakref.ref(sweeps.native)]
        wel.relevance(net, "gradient", images, vectors=np.ones((3, 1, 2)), backend="native")
        gone += [weakref.ref(net), weakref.ref(model.layers[-1])]
        del model, net, sweeps
    tf.keras.backend.clear_session()
    gc.collect()
    assert [one for one in gone if one() is not None] == []


# --- random architectures

PROPERTY_METHODS = (
    "lrp_alpha2_beta1", "lrp_z", "deeplift_reveal_cancel", "lrp_alpha5_beta4", "lrp_cmp_alpha2_beta1", "lrp_epsilon", "deep_taylor",
    "rectgrad", "lrp_alpha1_beta0", "deeplift_rescale", "lrp_cmp_alpha1_beta0", "guided_backprop", "deconvnet", "deeplift_ablation",
)  # fmt: skip
PROPERTY_OPTIONS = {"deep_taylor": {"low": -1.0, "high": 2.0}, "rectgrad": {"percentile": 60.0}, "lrp_epsilon": {"epsilon": 1e-3}}


def convolution(draw, x):
    channels = draw(st.integers(1, 6))
    groups = draw(st.sampled_from([g for g in (1, 2, 3) if x.shape[-1] % g == 0 and channels % g == 0]))
    strides, dilation = draw(st.sampled_from([(1, 1), (1, 1), (2, 1), (1, 2)]))
    padding = draw(st.sampled_from(["same", "valid"])) if min(x.shape[1:3]) > 4 else "same"
    settings = {"strides": strides, "dilation_rate": dilation, "groups": groups, "padding": padding}
    activation = draw(st.sampled_from(["relu", None]))
    return layers.Conv2D(channels, draw(st.integers(1, 3)), use_bias=draw(st.booleans()), activation=activation, **settings)(x)


def twice(draw, x):
    """A layer that is used two times."""
    conv = layers.Conv2D(x.shape[-1], 3, padding="same", activation="relu", use_bias=draw(st.booleans()))
    return conv(conv(x))


def block(draw, x):
    """A residual block, or one whose branches are joined side by side."""
    y = layers.Conv2D(x.shape[-1], draw(st.integers(1, 3)), padding="same", activation=draw(st.sampled_from(["relu", None])))(x)
    return draw(st.sampled_from([layers.Add, layers.Concatenate]))()([y, draw(st.sampled_from([x, y]))])


STEPS = (
    convolution,
    convolution,
    twice,
    block,
    lambda draw, x: layers.DepthwiseConv2D(2, padding="same", depth_multiplier=1, use_bias=draw(st.booleans()), activation="relu")(x),
    lambda draw, x: layers.BatchNormalization(scale=draw(st.booleans()))(x),
    lambda draw, x: layers.ReLU()(x),
    lambda draw, x: layers.MaxPooling2D(2, strides=draw(st.integers(1, 2)), padding="same")(x),
    lambda draw, x: layers.AveragePooling2D(2, strides=1, padding=draw(st.sampled_from(["same", "valid"])))(x),
)


def network(draw) -> wel.Network:
    """A small network with random layers and weights."""
    image = x = layers.Input((6, 5, draw(st.integers(1, 3))))
    for step in draw(st.lists(st.sampled_from(STEPS), min_size=2, max_size=6)):
        if min(x.shape[1:3]) > 1 and x.shape[-1] <= 6:
            x = step(draw, x)
    x = draw(st.sampled_from([layers.Flatten, layers.GlobalAveragePooling2D]))()(x)
    model = randomized(Model(image, layers.Dense(3, use_bias=draw(st.booleans()))(x)), seed=draw(st.integers(0, 1000)))
    return wel.load(model)


def well_conditioned(net, replica: Replica, image) -> bool:
    """Whether every sum that a rule divides by is at least a millionth of its terms: else its last bit decides."""
    values = replica.values(image)
    for node in net.graph.nodes[1:]:
        x = np.concatenate([values[source] for source in node.inputs])
        if "MaxPool" in node.kind or node.kind == "ReLU":
            continue
        layer = replica.affine(node)
        products = x[:, None] * layer.weights
        parts = [np.maximum(products, 0).sum(0), -np.minimum(products, 0).sum(0)]
        for terms, sums in [(parts[0] + parts[1], parts[0] - parts[1]), (parts[0], parts[0]), (parts[1], -parts[1])]:
            terms, sums = terms + np.abs(layer.bias), sums + layer.bias
            if (np.abs(sums) < 1e-6 * terms).any():
                return False
    return True


@settings(max_examples=settings().max_examples // 10, derandomize=True, database=None, suppress_health_check=list(HealthCheck))
@given(st.data())
def test_random_networks(data):
    """The gradient against TensorFlow's own, and three methods against their replicas."""
    net = network(data.draw)
    images = np.random.default_rng(0).uniform(-1, 2, (2, *net.input_shape)).astype("float32")
    opened, vectors = Opened(net), vectors_for(net, net.graph.output)
    gradient = opened.relevance("gradient", images, net.graph.output, vectors, at=[net.graph.input])[net.graph.input]
    assert relative(gradient, tape_gradient(float64_twin(net), images, vectors)) <= 1e-9
    matrices: dict = {}
    assume(all(well_conditioned(net, Replica(net, "gradient", affine=matrices), image) for image in images))
    for method in data.draw(st.permutations(PROPERTY_METHODS))[:3]:
        semantics = data.draw(st.sampled_from(["paper", "corrected"]))
        options = {"reference": np.zeros(net.input_shape)} if method.startswith("deeplift_") else PROPERTY_OPTIONS.get(method, {})
        assert_equals_replica(opened, method, semantics, images, matrices, **options)


def float64_twin(net):
    """The network as a Keras model of its own in float64."""
    config = net.graph.flat_config()
    for layer in config["layers"]:
        layer["config"]["dtype"] = "float64"
    twin = Model.from_config(config)
    for node in net.graph.nodes:
        twin.get_layer(net.graph.flat_name(node.name)).set_weights(node.layer.get_weights())
    return twin
