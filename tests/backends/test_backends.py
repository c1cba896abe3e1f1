"""wel.backends: every method against its naive replica at every layer, and what a caller's process keeps."""

from __future__ import annotations

import os
import subprocess
import sys
from functools import partial
from pathlib import Path

import numpy as np
import pytest
from conftest import loaded
from replicas import METHODS, Replica, relative

import wel
from wel.backends import find_backend
from wel.errors import UnsupportedError
from wel.methods.registry import find_method

pytestmark = pytest.mark.wrapped

relevance = partial(wel.relevance, backend="wrapped")
ROOT = Path(__file__).parents[2]
SEMANTICS = ("paper", "corrected")
LRP = [name for name in METHODS if name.startswith("lrp_")]
SHAPE = (7, 7, 3)


def options_of(method: str) -> dict:
    return {"deep_taylor": {"low": -0.5, "high": 1.5}, "rectgrad": {"percentile": 70}}.get(method, {})


def vectors_for(net, start: str, count: int = 2, images: int = 2, seed: int = 0) -> np.ndarray:
    return np.random.default_rng(seed).standard_normal((images, count, *net.graph[start].shape), dtype="float32")


def conditioned(model, seed: int):
    """Weights for which no sum that a rule divides by comes near zero: in an output channel six of seven have one sign.

    It is negative in one channel of three, which is off behind a ReLU; kernels have Σ|w| = 2, biases |b| ≤ 0.002.
    """
    rng = np.random.default_rng(seed)
    model.set_weights([_conditioned(rng, weight.name, weight.shape) for weight in model.weights])
    return model


def _conditioned(rng, name: str, shape):
    if "variance" in name or "gamma" in name:
        return rng.uniform(0.5, 1.5, shape)
    if "depthwise_kernel" in name:  # every channel has its own kernel: (height, width, channels, 1)
        return np.swapaxes(_conditioned(rng, "kernel", (*shape[:2], shape[3], shape[2])), 2, 3)
    if len(shape) == 1:
        return rng.uniform(-0.002, 0.002, shape)
    size, channels = int(np.prod(shape[:-1])), shape[-1]
    signs = np.stack([rng.permutation(np.where(np.arange(size) < 6 / 7 * size, 1, -1)) for _ in range(channels)], axis=1)
    kernel = signs * rng.uniform(0.5, 1, (size, channels)) * np.where(np.arange(channels) % 3 == 1, -1, 1)
    return (2 * kernel / np.abs(kernel).sum(0)).reshape(shape)


@pytest.fixture(scope="module")
def pictures() -> np.ndarray:
    """Two inputs in [-0.5, 1.5], one value of eight below zero."""
    rng = np.random.default_rng(5)
    size = (2, *SHAPE)
    return np.where(rng.random(size) < 1 / 8, rng.uniform(-0.5, -0.2, size), rng.uniform(0.5, 1.5, size)).astype("float32")


@pytest.fixture(scope="module")
def varied():
    """Every kind of layer that a replica knows: strides, dilation, poolings, two residual blocks; ReLU fused, as a layer, left out."""
    from tensorflow.keras import Model, layers

    image = layers.Input(SHAPE, name="image")
    x = layers.Conv2D(6, 3, padding="same", activation="relu", name="conv")(image)
    x = layers.DepthwiseConv2D(2, activation="relu", name="depthwise")(x)
    x = layers.ZeroPadding2D(((0, 1), (1, 0)), name="padding")(x)
    x = layers.BatchNormalization(name="bn1")(layers.Conv2D(7, 2, dilation_rate=2, name="dilated")(x))
    x = layers.AveragePooling2D(2, strides=1, padding="same", name="average")(layers.ReLU(name="relu1")(x))
    main = layers.BatchNormalization(name="bn2")(layers.Conv2D(5, 3, strides=(1, 2), padding="same", use_bias=False, name="strided")(x))
    x = layers.Add(name="add2")([main, layers.Conv2D(5, 1, strides=(1, 2), name="skip2")(x)])
    x = layers.Activation("relu", name="relu2")(x)
    main = layers.Conv2D(4, 3, padding="same", activation="relu", name="wide")(x)
    x = layers.Add(name="add3")([layers.BatchNormalization(name="bn3")(layers.Conv2D(5, 1, name="narrow")(main)), x])
    x = layers.MaxPooling2D((2, 1), name="maximum")(layers.ReLU(name="relu3")(x))
    x = layers.Dropout(0.5, name="dropout")(layers.Flatten(name="flatten")(x))
    x = layers.Dense(5, name="linear")(layers.Dense(9, activation="relu", name="hidden")(x))
    return wel.load(conditioned(Model(image, layers.Dense(4, name="logits")(x), name="varied"), seed=1))


@pytest.fixture(scope="module")
def matrices() -> dict:
    """The matrices of `varied`, which all replicas share."""
    return {}


def assert_equals_replica(net, method: str, semantics: str, images, start: str, matrices: dict) -> None:
    options, vectors = options_of(method), vectors_for(net, start)
    found = relevance(net, method, images, start, vectors, semantics=semantics, **options)
    expected = Replica(net, method, semantics, matrices, **options).relevance(images, start, vectors)
    assert [net.find(name) for name in found] == list(expected)
    for name, array in found.items():
        assert array.dtype == np.float32 and np.abs(expected[net.find(name)]).max() > 0
        assert relative(array, expected[net.find(name)]) <= 5e-6, (start, name)


@pytest.mark.parametrize("semantics", SEMANTICS)
@pytest.mark.parametrize("method", METHODS)
def test_every_layer_equals_the_naive_replica(varied, pictures, matrices, method, semantics):
    for start in ("logits", "add2", "dilated"):
        assert_equals_replica(varied, method, semantics, pictures, start, matrices)


def test_every_start_layer_equals_the_naive_replica(varied, pictures, matrices):
    for start in varied.layers[1:]:
        assert_equals_replica(varied, "gradient", "paper", pictures, start, matrices)


@pytest.mark.parametrize("method", ["gradient", "guided_backprop", "deconvnet", "rectgrad"])
def test_gradient_methods_are_the_same_in_both_semantics(functional, images, method):
    net = loaded(functional)
    vectors = vectors_for(net, "dense", images=3)
    paper, corrected = (relevance(net, method, images, vectors=vectors, semantics=one) for one in SEMANTICS)
    for name in paper:
        np.testing.assert_array_equal(paper[name], corrected[name])


# --- by hand


def dense(weights, bias, name: str = "dense"):
    """x -> xW + b as a network."""
    from tensorflow.keras import Sequential, layers

    weights, bias = np.array(weights, "float32"), np.array(bias, "float32")
    model = Sequential([layers.Input(len(weights), name="x"), layers.Dense(len(bias), name="y")], name=name)
    model.set_weights([weights, bias])
    return wel.load(model)


@pytest.mark.parametrize(
    ("semantics", "expected"),
    [
        # x = (1, 1), w = (1, -1), b = -1, y = -1 = R. Both biases in the denominator: 1·1 + 0 - 1 = 0, so R / 1e-7
        ("paper", [-1e7, 0]),
        # the negative bias belongs to the other denominator: 1·1 / 1 · R
        ("corrected", [-1, 0]),
    ],
)
def test_alpha1_beta0_with_a_bias_by_hand(semantics, expected):
    net = dense([[1], [-1]], [-1])
    found = relevance(net, "lrp_alpha1_beta0", np.ones((1, 2)), vectors=[[[-1]]], semantics=semantics)
    np.testing.assert_allclose(found["input"], [[expected]], rtol=1e-6)


def test_alpha2_beta1_with_both_biases_by_hand():
    # x = (1, 2), W = [[1, -2], [1, 1]], b = (1, -1), R = (1, 1)
    # corrected: y0: z+ = 1 + 2 + 1 = 4, no inhibitor; y1: z+ = 2, z- = -2 - 1 = -3
    # R0 = 2·1/4 - 1·(-2)/(-3) = 1/2 - 2/3 = -1/6; R1 = 2·2/4 + 2·2/2 = 3
    net = dense([[1, -2], [1, 1]], [1, -1])
    found = relevance(net, "lrp_alpha2_beta1", np.array([[1, 2]]), vectors=[[[1, 1]]], semantics="corrected")
    np.testing.assert_allclose(found["input"], [[[-1 / 6, 3]]], rtol=1e-6)


@pytest.mark.parametrize(
    ("semantics", "arriving", "expected"),
    [
        # the branches carry 1 and 3, so they get a quarter and three quarters
        ("corrected", -4, (-1, -3)),
        ("corrected", 40000, (10000, 30000)),
        # what the paper's residual layers did to it: clipped to [0, 1000]
        ("paper", -4, (0, 0)),
        ("paper", 40000, (1000, 1000)),
        ("paper", 400, (100, 300)),
    ],
)
def test_add_under_alpha1_beta0_by_hand(semantics, arriving, expected):
    from tensorflow.keras import Model, layers

    x = layers.Input(1, name="x")
    branches = [layers.Dense(1, use_bias=False, name=name)(x) for name in ("one", "three")]
    model = Model(x, layers.Add(name="sum")(branches))
    model.set_weights([np.full((1, 1), 1.0), np.full((1, 1), 3.0)])
    found = relevance(wel.load(model), "lrp_alpha1_beta0", np.ones((1, 1)), vectors=[[[arriving]]], semantics=semantics)
    np.testing.assert_allclose([found["one"].item(), found["three"].item()], expected, rtol=1e-6)


# --- equivalences and invariants


@pytest.fixture(scope="module")
def unbiased():
    """conv1, conv2, maximum, flatten, hidden, dense without biases; every sum has positive and negative terms."""
    from tensorflow.keras import Sequential, layers

    stack = [
        layers.Input(SHAPE, name="image"),
        layers.Conv2D(5, 3, use_bias=False, activation="relu", name="conv1"),
        layers.Conv2D(6, 2, use_bias=False, activation="relu", name="conv2"),
        layers.MaxPooling2D(name="maximum"),
        layers.Flatten(name="flatten"),
        layers.Dense(21, use_bias=False, activation="relu", name="hidden"),
        layers.Dense(4, use_bias=False, name="dense"),
    ]
    return wel.load(conditioned(Sequential(stack, name="unbiased"), seed=3))


@pytest.fixture(scope="module")
def nonnegative() -> np.ndarray:
    return np.random.default_rng(6).uniform(0.2, 1, (2, *SHAPE)).astype("float32")


def outputs(net, images) -> dict[str, np.ndarray]:
    """The output of every layer, from Keras itself."""
    from tensorflow.keras import Model

    layers = [net.graph[name].layer for name in net.layers]
    return dict(zip(net.layers, Model(net.model.input, [layer.output for layer in layers])(images)))


def test_lrp_z_is_gradient_times_input_without_biases(unbiased, pictures):
    # eq. 5 of the paper; LRP starts from logit × v where the gradient starts from v, at every layer
    values = {name: np.asarray(array)[:, None] for name, array in outputs(unbiased, pictures).items()}
    vectors = vectors_for(unbiased, "dense")
    gradient = relevance(unbiased, "gradient", pictures, vectors=vectors)
    for semantics in SEMANTICS:
        lrp = relevance(unbiased, "lrp_z", pictures, vectors=vectors * values["dense"], semantics=semantics)
        for name in lrp:
            assert relative(lrp[name], values[unbiased.find(name)] * gradient[name]) <= 1e-5, name


def test_alpha1_beta0_is_z_plus_without_biases_and_negative_inputs(unbiased, nonnegative):
    vectors = vectors_for(unbiased, "dense")
    paper, corrected = (relevance(unbiased, "lrp_alpha1_beta0", nonnegative, vectors=vectors, semantics=one) for one in SEMANTICS)
    z_plus = relevance(unbiased, "deep_taylor", nonnegative, vectors=vectors, semantics="corrected")
    for name in corrected:
        assert relative(paper[name], corrected[name]) <= 1e-6
        assert name == "input" or relative(z_plus[name], corrected[name]) <= 1e-6  # Deep Taylor has a rule of its own at the input


@pytest.mark.parametrize("method", ["lrp_z", "lrp_alpha1_beta0", "lrp_alpha2_beta1"])
def test_relevance_is_conserved_without_biases(unbiased, nonnegative, method):
    vectors = vectors_for(unbiased, "dense")
    for name, array in relevance(unbiased, method, nonnegative, vectors=vectors, semantics="corrected").items():
        arrived = array.reshape(2, 2, -1)
        np.testing.assert_array_less(np.abs(arrived.sum(-1) - vectors.sum(-1)), 1e-5 * np.abs(arrived).sum(-1), err_msg=name)


@pytest.mark.parametrize("method", ["gradient", "guided_backprop", "lrp_z", "lrp_alpha2_beta1"])
def test_what_is_injected_inside_a_branch_leaves_the_other_branch_alone(residual, images, method):
    net = loaded(residual)
    both = relevance(net, method, images, "add", vectors_for(net, "add", images=3), at=["bn3", "bn_skip", "relu1", "input"])
    main = relevance(net, method, images, "bn3", both["bn3"], at=["relu1", "input"])
    skip = relevance(net, method, images, "bn_skip", both["bn_skip"], at=["relu1", "input"])
    assert all(np.abs(part["relu1"]).max() > 0 for part in (main, skip))
    assert relative(main["relu1"] + skip["relu1"], both["relu1"]) <= 1e-5
    if method != "guided_backprop":  # a ReLU on relevance is not linear: below relu1 the branches no longer add up
        assert relative(main["input"] + skip["input"], both["input"]) <= 1e-4


@pytest.mark.parametrize("method", ["gradient", "rectgrad", "deep_taylor", "lrp_z", "lrp_alpha2_beta1", "lrp_cmp_alpha1_beta0"])
def test_residual_networks_have_finite_relevance_everywhere(residual, images, method):
    net = loaded(residual)
    for semantics in SEMANTICS:
        found = relevance(net, method, images, vectors=vectors_for(net, "dense", images=3), semantics=semantics)
        assert len(found) == 14 and all(np.isfinite(array).all() for array in found.values())
        assert np.abs(found["add"]).max() > 0


# --- networks of all kinds


def tape_gradients(model, images, vectors) -> np.ndarray:
    """(n, V, *input): what TensorFlow's own gradient makes of every vector, in the caller's process."""
    import tensorflow as tf

    x = tf.constant(images)
    with tf.GradientTape(persistent=True) as tape:
        tape.watch(x)
        sums = [tf.reduce_sum(model(x) * vectors[:, k]) for k in range(vectors.shape[1])]
    return np.stack([tape.gradient(one, x).numpy() for one in sums], axis=1)


@pytest.mark.parametrize("kind", ["sequential", "functional", "nested", "shared_layer"])
def test_live_models_and_files_give_the_same(request, images, tmp_path, kind):
    model = request.getfixturevalue(kind)
    live = wel.load(model)
    vectors = vectors_for(live, "dense", images=3)
    for method in ("gradient", "lrp_alpha1_beta0"):
        expected = relevance(live, method, images, vectors=vectors)
        for suffix in (".h5", ".keras"):
            model.save(tmp_path / f"model{suffix}")
            found = relevance(wel.load(tmp_path / f"model{suffix}"), method, images, vectors=vectors)
            assert list(found) == list(expected)
            for name in found:
                np.testing.assert_array_equal(found[name], expected[name])
        if method == "gradient":
            assert relative(expected["input"], tape_gradients(model, images, vectors)) <= 1e-6


def heads(name: str):
    """Networks that end, or join, in ways that innvestigate has trouble with."""
    from tensorflow.keras import Model, layers

    image = layers.Input(SHAPE, name="image")
    x = layers.Conv2D(4, 3, activation="relu", name="conv")(image)
    if name == "feature maps as output":
        return Model(image, layers.Conv2D(2, 2, name="maps")(x))
    joined = {"the same input twice": layers.Add, "joined with itself": layers.Concatenate, "squared": layers.Multiply}[name]()([x, x])
    return Model(image, layers.Dense(3, name="dense")(layers.Flatten(name="flatten")(joined)))


@pytest.mark.parametrize("name", ["feature maps as output", "the same input twice", "joined with itself", "squared"])
def test_gradients_of_unusual_networks(pictures, name):
    net = wel.load(conditioned(heads(name), seed=4))
    vectors = vectors_for(net, net.graph.output)
    found = relevance(net, "gradient", pictures, vectors=vectors, at="input")["input"]
    assert relative(found, tape_gradients(net.model, pictures, vectors)) <= 1e-6


def test_deep_taylor_has_no_relu_at_the_output(pictures):
    # a negative logit keeps its map: innvestigate appends a ReLU, which would leave nothing
    net = dense([[-1], [-2]], [-1])
    found = relevance(net, "deep_taylor", np.ones((1, 2)), vectors=[[[1]]], low=0, high=2)
    # z^B: x w - l w+ - h w- = (-1 + 2, -2 + 4) = (1, 2), which share R = 1
    np.testing.assert_allclose(found["input"], [[[1 / 3, 2 / 3]]], rtol=1e-6)


def test_weights_are_read_when_a_study_starts(pictures):
    net = dense([[1], [2]], [0])
    ones = np.ones((1, 2))
    first = relevance(net, "gradient", ones, vectors=[[[1]]])["input"]
    net.model.set_weights([np.array([[3], [4]]), np.zeros(1)])
    second = relevance(net, "gradient", ones, vectors=[[[1]]])["input"]
    np.testing.assert_array_equal([first.ravel(), second.ravel()], [[1, 2], [3, 4]])


@pytest.mark.parametrize("method", ["guided_backprop", "deconvnet", "rectgrad", "deep_taylor"])
def test_methods_for_relu_networks_refuse_others(method):
    from tensorflow.keras import Sequential, layers

    net = wel.load(Sequential([layers.Input(3), layers.Dense(2, activation="tanh", name="soft"), layers.Dense(2)]))
    with pytest.raises(UnsupportedError, match=rf"^Method '{method}' .* layer 'soft' has tanh\.$"):
        relevance(net, method, np.ones((1, 3)), vectors=np.ones((1, 1, 2)))


@pytest.mark.parametrize("method", ["deep_taylor", *LRP])
def test_relevance_methods_refuse_layers_without_a_rule(method):
    from tensorflow.keras import Sequential, layers

    net = wel.load(Sequential([layers.Input(3), layers.LayerNormalization(name="norm"), layers.Dense(2)]))
    with pytest.raises(UnsupportedError, match=rf"^Method '{method}' has no rule for layer 'norm' \(LayerNormalization\)\.$"):
        relevance(net, method, np.ones((1, 3)), vectors=np.ones((1, 1, 2)))


@pytest.mark.parametrize("method", ["deep_taylor", "lrp_alpha1_beta0", "lrp_cmp_alpha2_beta1"])
def test_methods_that_split_kernels_by_sign_refuse_separable_convolutions(pictures, method):
    from tensorflow.keras import Sequential, layers

    net = wel.load(Sequential([layers.Input(SHAPE), layers.SeparableConv2D(4, 3, name="separable"), layers.Flatten(), layers.Dense(2)]))
    with pytest.raises(UnsupportedError, match="layer 'separable'"):
        relevance(net, method, pictures, vectors=np.ones((2, 1, 2)), semantics="corrected")


def test_an_activation_that_is_a_layer_is_no_relu():
    from tensorflow.keras import Sequential, layers

    net = wel.load(Sequential([layers.Input(3), layers.Dense(2, activation=layers.LeakyReLU(), name="leaky"), layers.Dense(2)]))
    with pytest.raises(UnsupportedError, match="layer 'leaky' has LeakyReLU"):
        relevance(net, "guided_backprop", np.ones((1, 3)), vectors=np.ones((1, 1, 2)))


# --- the caller's process


def test_eager_models_of_the_caller_keep_working(images):
    import tensorflow as tf
    from tensorflow.keras import Sequential, layers, optimizers

    model = Sequential([layers.Input((8, 8, 3)), layers.Flatten(), layers.Dense(4)])
    before = model.predict(images, verbose=0)
    net = wel.load(model)
    relevance(net, "gradient", images, vectors=np.ones((3, 1, 4)))
    assert tf.executing_eagerly()
    np.testing.assert_array_equal(model.predict(images, verbose=0), before)
    model.compile(optimizers.SGD(0.01), "mse")
    losses = model.fit(images, np.zeros((3, 4)), epochs=3, verbose=0).history["loss"]
    assert losses[2] < losses[0]


def test_one_process_serves_all_calls(functional, images):
    worker = find_backend("wrapped", find_method("gradient")).worker
    assert worker is find_backend("innvestigate", find_method("lrp_z")).worker
    folder = worker.folder
    before = sorted(folder.iterdir())
    for method in ("gradient", "lrp_z"):
        relevance(loaded(functional), method, images, vectors=np.ones((3, 1, 4)))
        assert worker.folder == folder and sorted(folder.iterdir()) == before  # no network, no job is left behind


SCRIPT = """
import numpy as np, tensorflow as tf
import wel
from wel.backends import find_backend
from wel.methods.registry import METHODS

model = tf.keras.Sequential([tf.keras.layers.Input(2), tf.keras.layers.Dense(1)])
model.set_weights([np.array([[3.0], [4.0]]), np.zeros(1)])
found = wel.relevance(wel.load(model), "gradient", np.ones((1, 2)), vectors=[[[1]]], backend="wrapped")
print(found["input"].ravel().tolist(), tf.executing_eagerly(), model.predict(np.ones((1, 2)), verbose=0).tolist())
print(find_backend("wrapped", METHODS["gradient"]).worker.folder)
"""


@pytest.mark.slow
def test_a_plain_script_without_a_main_guard_works_and_leaves_nothing_behind(tmp_path):
    (tmp_path / "script.py").write_text(SCRIPT)
    done = run_python([str(tmp_path / "script.py")])
    said, folder = done.stdout.splitlines()  # what the script prints once, it was run once
    assert said == "[3.0, 4.0] True [[7.0]]" and done.returncode == 0
    assert folder and not Path(folder).exists()


def run_python(arguments: list[str]) -> subprocess.CompletedProcess:
    environment = {**os.environ, "PYTHONPATH": str(ROOT), "TF_CPP_MIN_LOG_LEVEL": "3"}
    return subprocess.run([sys.executable, *arguments], text=True, capture_output=True, env=environment, timeout=300)
