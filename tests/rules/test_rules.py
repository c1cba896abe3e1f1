"""wel.rules on every kind of layer, each method against the naive replica in float64, and every rule by hand."""

from __future__ import annotations

import numpy as np
import pytest
import tensorflow as tf
from conftest import randomized
from deeplift_replica import DeepLiftReplica
from engines import Opened, assert_equals_replica, vectors_for
from replicas import PatternReplica, Replica, alpha_beta_rule, epsilon_rule, excess_rule, fused_norm, relative, z_rule
from tensorflow.keras import Model, Sequential, layers

import wel
from wel.networks.kernels import folded_norms, kernel_layers
from wel.rules.lrp import AlphaBeta, Epsilon, Excess, Fused, WSquare, Z

SHAPE = (5, 5, 3)
OPTIONS = {
    "deep_taylor": {"low": -0.5, "high": 1.5},
    "rectgrad": {"percentile": 70.0},
    "lrp_epsilon": {"epsilon": 0.01},
    "lrp_unbiased": {"epsilon": 0.01},
    "epsilon_gamma_box": {"low": -0.5, "high": 1.5},
    "deeplift_rescale": {"reference": np.full(SHAPE, 0.25, "float32")},
    "deeplift_reveal_cancel": {"reference": np.full(SHAPE, 0.25, "float32")},
    "deeplift_ablation": {"reference": np.zeros(SHAPE, "float32")},
}


def flat(x):
    """A layer's output as one vector, so that branches of all shapes can be joined."""
    return layers.Flatten()(x)


def kernels(signed, positive):
    """Every layer with a kernel, on inputs of both signs or without a negative one."""
    yield layers.Conv2D(3, 2, name="valid")(signed)
    yield layers.Conv2D(3, 3, padding="same", strides=2, name="same_strided")(positive)
    yield layers.Conv2D(3, 2, strides=(1, 2), use_bias=False, name="strided")(signed)
    yield layers.Conv2D(3, 2, dilation_rate=2, padding="same", name="dilated")(signed)
    yield layers.Conv2D(4, 2, groups=2, activation="relu", name="grouped")(signed)
    yield layers.Conv2D(6, 2, groups=3, strides=2, padding="same", name="grouped_one_by_one")(layers.Conv2D(3, 1)(signed))
    yield layers.DepthwiseConv2D(2, strides=2, padding="same", depth_multiplier=2, name="depthwise")(signed)
    yield layers.DepthwiseConv2D(2, activation="relu6", name="depthwise_positive")(positive)
    yield layers.SeparableConv2D(3, 2, depth_multiplier=2, name="separable")(signed)
    yield layers.Conv2DTranspose(3, 3, strides=2, padding="same", name="transposed")(signed)
    yield layers.Conv2DTranspose(2, 2, strides=2, activation="relu", name="transposed_positive")(positive)
    yield layers.Dense(3, name="everywhere")(signed)
    yield layers.LocallyConnected2D(2, 2, strides=2, activation="relu", name="local")(signed)
    steps = layers.Reshape((8, 8))(signed)
    yield layers.LocallyConnected1D(3, 2, implementation=2, name="local_steps")(steps)
    yield layers.LocallyConnected1D(2, 3, implementation=3, name="local_sparse")(steps)
    yield layers.SeparableConv1D(3, 2, depth_multiplier=2, strides=2, activation="relu", name="separable_1d")(steps)
    yield layers.SeparableConv1D(3, 2, padding="causal", dilation_rate=2, name="separable_causal")(steps)
    yield layers.DepthwiseConv1D(3, strides=2, padding="same", name="depthwise_1d")(steps)
    yield layers.Conv1DTranspose(3, 3, strides=2, padding="same", name="transposed_1d")(steps)
    room = layers.Reshape((2, 4, 4, 2))(signed)
    yield layers.Conv3D(2, 2, name="room")(room)
    yield layers.Conv3DTranspose(2, 2, strides=(1, 2, 1), activation="relu", name="transposed_3d")(room)
    yield layers.Conv1D(3, 3, strides=2, padding="same", name="strided_1d")(steps)
    yield layers.Conv1D(3, 2, padding="causal", dilation_rate=2, name="causal")(steps)
    yield layers.Dense(3, activation="relu", name="dense")(layers.Flatten(name="flattened")(positive))


def sums(signed, positive):
    """BatchNormalization, sums and averages."""
    yield layers.BatchNormalization(name="norm")(signed)
    yield layers.BatchNormalization(axis=1, center=False, name="norm_rows")(positive)
    yield layers.BatchNormalization(axis=2, scale=False, name="norm_columns")(signed)
    yield layers.Add(name="add")([signed, positive])
    yield layers.Add(name="add_positive")([positive, positive])
    yield layers.Add(name="add_three")([signed, positive, signed])
    yield layers.Add(name="add_broadcast")([signed, layers.GlobalAveragePooling2D(keepdims=True, name="kept")(signed)])
    yield layers.Average(name="average")([signed, positive])
    yield layers.Subtract(name="difference")([positive, signed])
    yield layers.Subtract(name="difference_broadcast")([layers.GlobalMaxPooling2D(keepdims=True)(signed), signed])
    yield layers.AveragePooling2D(3, strides=2, padding="same", name="average_same")(signed)
    yield layers.AveragePooling2D(2, name="average_valid")(positive)
    yield layers.GlobalAveragePooling2D(name="average_global")(signed)
    yield layers.AveragePooling1D(3, name="average_1d")(layers.Reshape((8, 8))(signed))


def shapes(signed, positive):
    """Layers that move values, and max pooling."""
    yield layers.ZeroPadding2D(((1, 0), (0, 2)), name="padding")(signed)
    yield layers.Cropping2D(((1, 0), (0, 1)), name="cropping")(signed)
    yield layers.UpSampling2D(2, name="upsampling")(signed)
    yield layers.Concatenate(axis=1, name="concatenate")([signed, positive])
    yield layers.Permute((3, 1, 2), name="permute")(signed)
    yield layers.RepeatVector(2, name="repeat")(flat(signed))
    yield layers.Dropout(0.5, name="dropout")(signed)
    yield layers.MaxPooling2D(2, name="maximum")(signed)
    yield layers.MaxPooling2D(3, strides=2, padding="same", name="maximum_same")(positive)
    yield layers.GlobalMaxPooling2D(name="maximum_global")(signed)
    yield layers.MaxPooling1D(3, strides=1, name="maximum_1d")(layers.Reshape((8, 8))(signed))


def functions(signed, positive):
    """Activation functions, in layers and as layers."""
    yield layers.LeakyReLU(0.2, name="leaky")(signed)
    yield layers.PReLU(shared_axes=[1, 2], name="prelu")(signed)
    yield layers.ELU(name="elu")(signed)
    yield layers.ReLU(0.5, name="relu_max")(signed)
    yield layers.ReLU(negative_slope=0.3, name="relu_slope")(signed)
    yield layers.ThresholdedReLU(0.1, name="relu_threshold")(signed)
    for name in ("sigmoid", "tanh", "softplus", "swish", "elu"):
        yield layers.Activation(name, name=f"{name}_layer")(signed)
        yield layers.Dense(3, activation=name, name=f"{name}_dense")(signed)


def products(signed, positive):
    """Products, which DeepLIFT has no rule for."""
    yield layers.Multiply(name="multiply")([signed, positive])
    yield layers.Multiply(name="square")([signed, signed])
    yield layers.Multiply(name="cube")([signed, positive, signed])


def behind(signed, positive):
    """A kernel behind layers that give negative values and behind layers that keep or make them not negative."""
    before = [
        layers.Conv2D(2, 1)(positive),
        layers.Conv2D(2, 1, activation="tanh")(positive),
        layers.BatchNormalization()(positive),
        layers.LeakyReLU(0.3)(signed),
        layers.ReLU(negative_slope=0.3)(signed),
        layers.PReLU(alpha_initializer="ones")(signed),
        layers.ELU()(signed),
        layers.Activation("swish")(signed),
        layers.Add()([signed, positive]),
        layers.Concatenate()([positive, signed]),
        layers.Multiply()([signed, positive]),
        layers.ReLU(6.0)(signed),
        layers.Activation("softplus")(signed),
        layers.Concatenate()([positive, layers.Activation("sigmoid")(signed)]),
        layers.ZeroPadding2D()(layers.MaxPooling2D(2, strides=1)(positive)),
        layers.Add()([positive, layers.AveragePooling2D(2, strides=1, padding="same")(positive)]),
    ]
    yield from (layers.DepthwiseConv2D(2)(x) for x in before)


def joined(*kinds) -> wel.Network:
    """A convolution, its ReLU, and branches of these kinds from them, joined: a network per kind would compile as many sweeps."""
    image = layers.Input(SHAPE, name="image")
    signed = layers.Conv2D(4, 2, name="signed")(image)
    positive = layers.ReLU(name="positive")(signed)
    branches = [flat(branch) for kind in kinds for branch in kind(signed, positive)]
    return wel.load(randomized(Model(image, layers.Concatenate(name="joined")(branches)), seed=6))


@pytest.fixture(scope="module")
def images() -> np.ndarray:
    return np.random.default_rng(3).uniform(-0.5, 1.5, (2, *SHAPE)).astype("float32")


def case(*kinds):
    def fixture():
        return Opened(joined(*kinds)), {}

    return pytest.fixture(fixture, scope="module")


linear, moving, curved, multiplied, followed = case(kernels, sums), case(shapes), case(functions), case(products), case(behind)


@pytest.mark.parametrize(
    "method, semantics",
    [
        ("gradient", "paper"),
        ("deep_taylor", "paper"),
        ("deep_taylor", "corrected"),
        ("lrp_z", "paper"),
        ("lrp_epsilon", "corrected"),
        ("lrp_alpha2_beta1", "paper"),
        ("lrp_alpha2_beta1", "corrected"),
        ("deeplift_reveal_cancel", "paper"),
        ("deeplift_ablation", "corrected"),
        ("lrp_unbiased", "corrected"),
        ("w_square", "corrected"),
        ("flat", "paper"),
        ("z_plus_fast", "paper"),
        ("z_plus_fast", "corrected"),
        ("lrp_composite_a", "corrected"),
        ("lrp_composite_b_flat", "paper"),
        ("deep_taylor_unbounded", "corrected"),
        ("epsilon_plus", "paper"),
        ("epsilon_alpha2_beta1_flat", "paper"),
        ("epsilon_gamma_box", "corrected"),
        ("beta_smooth", "paper"),
    ],
)
def test_linear_layers_equal_the_replica(linear, images, method, semantics):
    opened, matrices = linear
    assert_equals_replica(opened, method, semantics, images, matrices, **OPTIONS.get(method, {}))


@pytest.mark.parametrize(
    "method, semantics, options",
    [
        *(("lrp_gamma", "corrected", {"gamma": 0.5, "bias": bias}) for bias in ("scaled", "unscaled", "none")),
        ("lrp_alpha_beta", "corrected", {"alpha": 1.75, "beta": 0.75}),
        ("lrp_alpha_beta", "paper", {"alpha": 3.0, "beta": 1.5}),
        ("lrp_alpha_beta", "corrected", {"alpha": 2.5, "beta": 1.5, "bias": "without"}),
        ("lrp_alpha_beta", "paper", {"alpha": 2.5, "beta": 1.5, "bias": "without"}),
    ],
)
def test_free_numbers_and_biases_equal_the_replica(linear, images, method, semantics, options):
    opened, matrices = linear
    assert_equals_replica(opened, method, semantics, images, matrices, **options)


class FusedReplica(Replica):
    """LRP-z, with another rule at BatchNormalization as innvestigate 2.1.2 takes it."""

    def __init__(self, *arguments, rule):
        super().__init__(*arguments)
        self._rule = rule

    def _linear(self, node, x, R):
        fused = node.kind == "BatchNormalization"
        return self._rule(x, fused_norm(node.layer, node.shape), R) if fused else super()._linear(node, x, R)


@pytest.mark.parametrize(
    "rule, replica",
    [
        (Z(), z_rule),
        (Epsilon(0.5), lambda *site: epsilon_rule(*site, 0.5)),
        (AlphaBeta(2, 1, "split"), lambda *site: alpha_beta_rule(*site, 2, 1, "corrected")),
        (Excess(), excess_rule),
        (WSquare(), lambda x, layer, R: R),
    ],
)
def test_fused_batch_normalization_equals_the_replica(linear, images, rule, replica):
    opened, matrices = linear
    vectors = vectors_for(opened.net, "joined", len(images))
    method = wel.composite("fused", {"BatchNormalization": Fused(rule)}, base="lrp_z")
    found = opened.relevance(method, images, "joined", vectors, **method.defaults)
    expected = FusedReplica(opened.net, "lrp_z", "corrected", matrices, rule=replica).relevance(images, "joined", vectors)
    off = {name: relative(found[name], expected[name]) for name in found}
    assert max(off.values()) <= 1e-9, off


@pytest.mark.parametrize(
    "method, semantics",
    [
        ("gradient", "paper"),
        ("lrp_alpha1_beta0", "corrected"),
        ("deeplift_reveal_cancel", "paper"),
        ("deeplift_reveal_cancel", "corrected"),
    ],
)
def test_layers_that_move_values_equal_the_replica(moving, images, method, semantics):
    opened, matrices = moving
    assert_equals_replica(opened, method, semantics, images, matrices, **OPTIONS.get(method, {}))


@pytest.mark.parametrize(
    "method, semantics",
    [
        ("gradient", "paper"),
        ("lrp_z", "paper"),
        ("lrp_z", "corrected"),
        ("lrp_alpha2_beta1", "paper"),
        ("deeplift_rescale", "paper"),
        ("deeplift_reveal_cancel", "paper"),
    ],
)
def test_activation_functions_equal_the_replica(curved, images, method, semantics):
    opened, matrices = curved
    assert_equals_replica(opened, method, semantics, images, matrices, **OPTIONS.get(method, {}))


def test_negative_inputs_of_a_kernel_are_seen_wherever_they_come_from(followed, images):
    """Where inputs are known not to be negative, half of αβ is left out."""
    opened, matrices = followed
    assert_equals_replica(opened, "lrp_alpha2_beta1", "corrected", images, matrices)


@pytest.mark.parametrize("method", ["gradient", "lrp_z"])
def test_products_equal_the_replica(multiplied, images, method):
    opened, matrices = multiplied
    assert_equals_replica(opened, method, "corrected", images, matrices)


def test_masked_steps_get_no_gradient():
    # the second step equals the mask value everywhere and is taken as 0: nothing passes
    net = wel.load(Sequential([layers.Input((2, 2)), layers.Masking(5.0), layers.Flatten()]))
    found = wel.relevance(net, "gradient", np.array([[[5, 1], [5, 5]]]), vectors=np.ones((1, 1, 4)), backend="native")
    np.testing.assert_array_equal(found["input"], [[[[1, 1], [0, 0]]]])


@pytest.mark.parametrize("interpolation", ["bilinear", "bicubic"])
def test_interpolation_may_change_signs(interpolation):
    """Bicubic interpolation of values from 0 on falls below 0, and α1β0 must see it. TensorFlow interpolates in float32."""
    image = layers.Input((3, 3, 2))
    enlarged = layers.UpSampling2D(3, interpolation=interpolation)(layers.ReLU()(image))
    net = wel.load(randomized(Model(image, layers.Conv2D(2, 2)(enlarged)), seed=1))
    images = np.random.default_rng(0).choice([0, 1], (1, 3, 3, 2)).astype("float32")
    for method in ("lrp_alpha2_beta1", "gradient", "deeplift_rescale"):
        options = {"reference": np.zeros((3, 3, 2), "float32")} if method == "deeplift_rescale" else {}
        assert_equals_replica(Opened(net), method, "corrected", images, {}, tolerance=1e-5, **options)


# --- by hand


def net_of(*stack, weights=()) -> wel.Network:
    """Layers one after the other, the input's shape first."""
    model = Sequential([layers.Input(stack[0], name="x"), *stack[1:]])
    model.set_weights([np.array(array, "float32") for array in weights])
    return wel.load(model)


def arriving(net, method: str, x, R, semantics: str = "corrected", at: str = "input", **options) -> list:
    """Relevance of one image and one vector."""
    images, vectors = np.array([x], "float32"), np.array([[R]], "float32")
    return wel.relevance(net, method, images, vectors=vectors, at=at, backend="native", semantics=semantics, **options)[at][0, 0].tolist()


@pytest.mark.parametrize(
    "method, semantics, expected",
    [
        # x = (1, 2), w = (1, -2), b = 1, z = 1 - 4 + 1 = -2, R = 6
        ("gradient", "paper", [6, -12]),
        # 1·6/-2, -4·6/-2
        ("lrp_z", "paper", [-3, 12]),
        # 1·6/-2.5, -4·6/-2.5
        ("lrp_epsilon", "paper", [-2.4, 9.6]),
        ("lrp_cmp_alpha2_beta1", "paper", [-3, 12]),
        # z+ = 1 + 1 = 2: 1/2·6
        ("lrp_alpha1_beta0", "corrected", [3, 0]),
        # and z- = -4: 2·1/2·6, -(-4/-4)·6
        ("lrp_alpha2_beta1", "corrected", [6, -6]),
        # b in both: z- = -4 + 1 = -3, -(-4/-3)·6
        ("lrp_alpha2_beta1", "paper", [6, -8]),
        ("lrp_alpha5_beta4", "paper", [15, -32]),
        # x w - l w+ - h w- = (1 + 1, -4 + 6) = (2, 2) share 6
        ("deep_taylor", "paper", [3, 3]),
    ],
)
def test_a_kernel_by_hand(method, semantics, expected):
    net = net_of((2,), layers.Dense(1), weights=[[[1], [-2]], [1]])
    options = {"lrp_epsilon": {"epsilon": 0.5}, "deep_taylor": {"low": -1, "high": 3}}.get(method, {})
    np.testing.assert_allclose(arriving(net, method, [1, 2], [6], semantics, **options), expected, rtol=1e-6)


@pytest.mark.parametrize("semantics, expected", [("corrected", [6, 0]), ("paper", [3, 0])])
def test_deep_taylor_behind_the_first_layer_by_hand(semantics, expected):
    # x = (1, 2), w = (1, -2): α1β0 with z+ = 1, to which `paper` adds b = 1; R = 6
    net = net_of((2,), layers.ReLU(name="relu"), layers.Dense(1), weights=[[[1], [-2]], [1]])
    assert arriving(net, "deep_taylor", [1, 2], [6], semantics, at="relu", low=0, high=2) == expected


@pytest.mark.parametrize(
    "method, semantics, expected",
    [
        # x = 3, μ = 1, γ/√(σ²+ε) = 2/2 = 1, β = 2: y = 4, b = 2 - 1 = 1; R = 8
        ("gradient", "paper", 8),
        ("deep_taylor", "paper", 8),
        # x (y - β) R / ((x - μ) y) = 3·2·8/(2·4)
        ("lrp_z", "paper", 6),
        # x w R / y
        ("lrp_z", "corrected", 6),
        # 3/(3 + 1)·8, no inhibitor
        ("lrp_alpha2_beta1", "corrected", 12),
    ],
)
def test_batch_normalization_by_hand(method, semantics, expected):
    net = net_of((1,), layers.BatchNormalization(epsilon=0.5), weights=[[2], [2], [1], [3.5]])
    assert arriving(net, method, [3], [8], semantics) == [pytest.approx(expected)]


@pytest.mark.parametrize(
    "method, semantics, expected",
    [
        # x = 3, s = -1, b = 7: y = 4; R = 8
        ("gradient", "paper", -8),
        ("deep_taylor", "paper", 8),
        # s x R / y = -3·8/4, without 1.0.8's (y - β)/(x - μ)
        ("lrp_z", "paper", -6),
        ("lrp_epsilon", "paper", -4.8),
        # no activator: 2·0; inhibitor -3 alone: -(-3/-3)·8
        ("lrp_alpha2_beta1", "corrected", -8),
        # b in both: -(-3/(-3 + 7))·8
        ("lrp_alpha2_beta1", "paper", 6),
    ],
)
@pytest.mark.parametrize("layer", [lambda: layers.Rescaling(-1, 7), lambda: layers.Rescaling([-1.0], [7.0])], ids=["numbers", "channels"])
def test_rescaling_by_hand(layer, method, semantics, expected):
    options = {"epsilon": 1} if method == "lrp_epsilon" else {}
    assert arriving(net_of((1,), layer()), method, [3], [8], semantics, **options) == [pytest.approx(expected)]


def preprocessed(stack) -> wel.Network:
    """Layers between the input and a convolution, its ReLU and a dense layer whose weights are the same each time."""
    model = Sequential([layers.Input(SHAPE), *stack, layers.Conv2D(4, 2), layers.ReLU(), layers.Flatten(), layers.Dense(3)])
    for seed, layer in enumerate((model.layers[-4], model.layers[-1])):
        draw = np.random.default_rng(seed).standard_normal
        layer.set_weights([draw(array.shape, dtype="float32") for array in layer.get_weights()])
    return wel.load(model)


def norm_of(scale, offset):
    """BatchNormalization as y = sx + b: γ = s, β = b, μ = 0, σ² + ε = 1."""
    layer = layers.BatchNormalization(epsilon=0.5)
    layer.build((None, *SHAPE))
    layer.set_weights([np.full(3, value, "float32") for value in (scale, offset, 0, 0.5)])
    return layer


@pytest.fixture(scope="module")
def rescaled():
    """Rescaling by numbers and per channel, Normalization with given and with adapted statistics; and BatchNormalization instead."""
    adapted = layers.Normalization()
    adapted.adapt(np.array([[0, 0, 1], [1, 4, 5]], "float32").reshape(2, 1, 1, 3))  # μ = (½, 2, 3), σ = (½, 2, 2)
    stack = [
        layers.Rescaling(0.25, -0.5),
        layers.Rescaling([1.0, -2.0, 0.5], offset=[0.0, 1.0, -0.25]),
        layers.Normalization(mean=[0.5, -1.0, 2.0], variance=[4.0, 0.25, 0.0625]),
        layers.Normalization(axis=None, mean=0.5, variance=0.25),
        adapted,
    ]
    # (x - μ)/σ = x/σ - μ/σ
    norms = [(0.25, -0.5), ([1, -2, 0.5], [0, 1, -0.25]), ([0.5, 2, 4], [-0.25, 2, -8]), (2, -1), ([2, 0.5, 0.5], [-1, -1, -1.5])]
    return Opened(preprocessed(stack)), preprocessed([norm_of(*pair) for pair in norms]), {}


@pytest.mark.parametrize(
    "method, semantics",
    [
        ("gradient", "paper"),
        ("lrp_z", "paper"),
        ("lrp_z", "corrected"),
        ("lrp_epsilon", "paper"),
        ("lrp_alpha1_beta0", "paper"),
        ("lrp_alpha1_beta0", "corrected"),
        ("lrp_alpha2_beta1", "paper"),
        ("deep_taylor", "corrected"),
        ("deeplift_rescale", "corrected"),
        ("deeplift_reveal_cancel", "paper"),
    ],
)
def test_rescaling_equals_the_replica_of_the_same_affine_batch_normalization(rescaled, images, method, semantics):
    opened, norms, matrices = rescaled
    vectors, options = vectors_for(norms, norms.graph.output), OPTIONS.get(method, {})
    found = opened.relevance(method, images, opened.net.graph.output, vectors, semantics, **options)
    # 1.0.8's own rule for BatchNormalization, in `paper` for LRP-z and LRP-ε, is none of theirs
    same = "corrected" if method in ("lrp_z", "lrp_epsilon") else semantics
    replica = DeepLiftReplica if method.startswith("deeplift_") else Replica
    expected = replica(norms, method, same, matrices, **options).relevance(images, norms.graph.output, vectors)
    assert max(relative(one, other) for one, other in zip(found.values(), expected.values())) <= 1e-9
    assert len(found) == len(expected)


@pytest.mark.parametrize("method", ["gradient", "lrp_z", "lrp_alpha1_beta0", "deep_taylor", "deeplift_rescale", "deeplift_reveal_cancel"])
def test_augmentation_passes_relevance_unchanged(images, method):
    """At the input too, where Deep Taylor has its bounded rule on the convolution behind it."""
    flips = [layers.RandomFlip(), layers.RandomRotation(0.2), layers.RandomZoom(0.2), layers.RandomTranslation(0.1, 0.1)]
    nets = preprocessed([*flips, layers.RandomContrast(0.2), layers.RandomBrightness(0.2)]), preprocessed([])
    vectors = vectors_for(nets[1], nets[1].graph.output)
    options = OPTIONS.get(method, {})
    found, expected = (
        Opened(net).relevance(method, images, net.graph.output, vectors, at=[net.graph.input], **options)[net.graph.input] for net in nets
    )
    np.testing.assert_array_equal(found, expected)


@pytest.mark.parametrize(
    "method, options, expected",
    [
        # x = (1, -1, 2), R = (3, 2, -1)
        ("gradient", {}, [3, 0, -1]),
        ("guided_backprop", {}, [3, 0, 0]),
        ("deconvnet", {}, [3, 2, 0]),
        # y·R = (3, 0, -2); the largest but k = round(2·0.5) = 1 is 0, and 3 alone is above it
        ("rectgrad", {"percentile": 50}, [3, 0, 0]),
        # k = round(2·1) = 2: above -2 are 3 and 0, but x = -1 passes nothing
        ("rectgrad", {"percentile": 0}, [3, 0, 0]),
        # k = round(2·0.02) = 0: nothing is above the largest
        ("rectgrad", {}, [0, 0, 0]),
        ("lrp_z", {}, [3, 2, -1]),
    ],
)
def test_a_rectifier_by_hand(method, options, expected):
    assert arriving(net_of((3,), layers.ReLU()), method, [1, -1, 2], [3, 2, -1], **options) == expected


@pytest.mark.parametrize("rank, percentile, kept", [(2, 100 - 100 * 2.5 / 25, 2), (4, 100 - 100 * 3.5 / 25, 4)])
def test_rectgrad_rounds_a_half_to_even(rank, percentile, kept):
    # 26 values: k = round(25 (1 - q/100)) = round(2.5) = 2, round(3.5) = 4, and k values are above the one that follows them
    x = np.arange(1, 27)
    assert np.count_nonzero(arriving(net_of((26,), layers.ReLU()), "rectgrad", x, np.ones(26), percentile=percentile)) == kept == rank


@pytest.mark.parametrize(
    "semantics, R, expected",
    [
        # x = (1, 3): a quarter and three quarters
        ("corrected", [-4], [[-1], [-3]]),
        ("corrected", [40000], [[10000], [30000]]),
        # clipped to [0, 1000]
        ("paper", [-4], [[0], [0]]),
        ("paper", [40000], [[1000], [1000]]),
    ],
)
def test_add_by_hand(semantics, R, expected):
    x = layers.Input(1, name="x")
    model = Model(x, layers.Add()([layers.Dense(1, use_bias=False, name=name)(x) for name in ("one", "three")]))
    model.set_weights(list(np.array([[[1.0]], [[3.0]]])))
    assert [arriving(wel.load(model), "lrp_alpha1_beta0", [1], R, semantics, at=name) for name in ("one", "three")] == expected


def test_deeplift_by_hand_where_batch_normalization_turns_signs():
    """x = (2, 1), W = (2, -1), γ = -1 (and ε = 0 but for rounding), ReLU with a shift of 5, R = 1.

    Δ+ = 4, Δ- = -1; behind γ: Δ+ = 1, Δ- = -4, r = 5. f(5 + 1) - f(5) = 1, f(5 - 4 + 1) - f(5 - 4) = 1, so Δ+out = 1 and m+ = 1;
    likewise Δ-out = -4 and m- = 1: in front of γ both are -1, at the input -W, times x: (-4, 1).
    """
    net = net_of(
        (2,), layers.Dense(1, use_bias=False), layers.BatchNormalization(epsilon=0), layers.ReLU(),
        weights=[[[2], [-1]], [-1], [5], [0], [1]],
    )  # fmt: skip
    np.testing.assert_allclose(arriving(net, "deeplift_reveal_cancel", [2, 1], [1]), [-4, 1], rtol=1e-6)


# --- patterns


def patterned(seed: int) -> wel.Network:
    """Every kind of layer that has a pattern, two BatchNormalizations that are folded and one that is not, a residual block."""
    image = layers.Input((6, 6, 2), name="image")
    x = layers.ReLU(name="relu")(layers.BatchNormalization(name="norm1")(layers.Conv2D(3, 3, padding="same", name="conv")(image)))
    x = layers.BatchNormalization(name="norm2")(layers.DepthwiseConv2D(3, strides=2, depth_multiplier=2, name="depthwise")(x))
    branch = layers.Conv2D(6, 1, activation="relu", name="branch")(x)
    x = layers.MaxPooling2D((2, 1), name="pool")(layers.BatchNormalization(name="norm3")(layers.Add(name="add")([x, branch])))
    x = layers.Conv1D(3, 2, activation="relu", name="conv1d")(layers.Reshape((2, 6), name="steps")(x))
    return wel.load(randomized(Model(image, layers.Dense(3, name="dense")(layers.Flatten(name="flatten")(x))), seed))


@pytest.mark.parametrize("semantics", ["paper", "corrected"])
@pytest.mark.parametrize("method", ["pattern_net", "pattern_attribution"])
def test_patterns_equal_the_replica(method, semantics):
    net = patterned(seed=1)
    rng = np.random.default_rng(2)
    patterns = [rng.standard_normal(layer.kernel.shape).astype("float32") for layer in kernel_layers(net.graph)]
    folded = folded_norms((node.name, node.layer, node.inputs) for node in net.graph.nodes)
    assert folded == {"conv": "norm1", "depthwise": "norm2"}
    images, vectors = rng.standard_normal((2, 6, 6, 2), dtype="float32"), vectors_for(net, "dense")
    found = Opened(net).relevance(method, images, "dense", vectors, semantics, patterns=patterns)
    expected = PatternReplica(net, method, semantics, patterns, folded).relevance(images, "dense", vectors)
    for name in expected:
        assert relative(found[name], expected[name]) <= 1e-9, name


# --- equivalences and conservation


@pytest.fixture(scope="module")
def unbiased() -> Opened:
    """Convolution, max pooling, convolution, residual sum, dense; ReLU, no biases."""
    image = layers.Input(SHAPE, name="image")
    x = layers.Conv2D(4, 2, use_bias=False, activation="relu", name="conv1")(image)
    x = layers.MaxPooling2D(2, strides=1, name="pool")(x)
    branch = layers.Conv2D(4, 3, padding="same", use_bias=False, activation="relu", name="conv2")(x)
    x = layers.Flatten(name="flatten")(layers.Add(name="add")([x, branch]))
    x = layers.Dense(6, use_bias=False, activation="relu", name="hidden")(x)
    return Opened(wel.load(randomized(Model(image, layers.Dense(3, use_bias=False, name="dense")(x)), seed=9)))


@pytest.fixture(scope="module")
def values(unbiased, images) -> dict[str, np.ndarray]:
    """The output of every layer, (n, 1, *shape)."""
    from replicas import Replica

    parts = [Replica(unbiased.net, "gradient").values(image) for image in images]
    graph = unbiased.net.graph
    return {name: np.stack([part[name].reshape(1, *graph[name].shape) for part in parts]) for name in graph.names}


def test_without_biases_lrp_z_and_deeplift_are_gradient_times_input(unbiased, images, values):
    vectors = vectors_for(unbiased.net, "dense")
    gradient = unbiased.relevance("gradient", images, "dense", vectors)
    lrp = unbiased.relevance("lrp_z", images, "dense", vectors * values["dense"])
    rescale = unbiased.relevance("deeplift_rescale", images, "dense", vectors, reference=np.zeros(SHAPE))
    for name in gradient:
        assert relative(lrp[name], gradient[name] * values[name]) <= 1e-9, name
        if name != "pool":  # where the maximum moves with the image, the pooling's Δ is not the Δ of one input
            assert relative(rescale[name], gradient[name] * values[name]) <= 1e-9, name


def test_alpha_beta_is_made_of_two_terms_at_every_layer(unbiased, images):
    # R = αA - (α - 1)B, so that α5β4 = 4 α2β1 - 3 α1β0 wherever relevance has passed one layer
    vectors = vectors_for(unbiased.net, "conv2")
    one, two, five = (unbiased.relevance(f"lrp_alpha{a}_beta{a - 1}", images, "conv2", vectors, at=["pool"])["pool"] for a in (1, 2, 5))
    assert relative(five, 4 * two - 3 * one) <= 1e-9


@pytest.mark.parametrize("semantics", ["paper", "corrected"])
def test_alpha1_beta0_and_deep_taylor_are_z_plus_without_biases(unbiased, images, values, semantics):
    """z+: R_i = Σ_j x_i w_ij+ R_j / Σ_i x_i w_ij+, behind a ReLU, where x is not negative."""
    vectors = vectors_for(unbiased.net, "hidden")
    up = np.maximum(unbiased.net.graph["hidden"].layer.kernel, 0).astype("float64")
    x = values["flatten"]
    expected = x * (vectors / (x @ up) @ up.T)
    for method, options in (("lrp_alpha1_beta0", {}), ("deep_taylor", {"low": -0.5, "high": 1.5})):
        found = unbiased.relevance(method, images, "hidden", vectors, semantics, at=["flatten"], **options)["flatten"]
        assert relative(found, expected) <= 1e-9


@pytest.mark.parametrize("method", ["lrp_z", "lrp_alpha1_beta0", "lrp_alpha2_beta1"])
def test_relevance_is_conserved_without_biases(unbiased, images, method):
    """At every cut through the network what arrives is what was injected; α2β1 needs products of both signs, and Add has none below 0."""
    images = np.abs(images)
    vectors = vectors_for(unbiased.net, "hidden")
    found = unbiased.relevance(method, images, "hidden", vectors)
    injected = vectors.sum(axis=-1, dtype="float64")
    for name in ("flatten", "add") if method == "lrp_alpha2_beta1" else ("flatten", "add", "pool", "conv1", "image"):
        arrived = found[name].reshape(2, 2, -1)
        assert np.abs(arrived.sum(-1) - injected).max() <= 1e-9 * np.abs(arrived).sum(-1).max(), name


@pytest.mark.parametrize(
    "method, kept",
    [
        ("lrp_z", lambda z, b, up, down: (z - b) / z),
        ("lrp_epsilon", lambda z, b, up, down: (z - b) / (z + 0.1 * np.sign(z))),
        ("lrp_alpha1_beta0", lambda z, b, up, down: up / (up + np.maximum(b, 0))),
        ("lrp_alpha2_beta1", lambda z, b, up, down: 2 * up / (up + np.maximum(b, 0)) - down / (down + np.minimum(b, 0))),
    ],
)
def test_what_biases_and_epsilon_absorb(method, kept):
    """Of the relevance R_j of a unit the inputs get R_j times the inputs' share of the denominators."""
    rng = np.random.default_rng(4)
    weights, bias, x, R = rng.standard_normal((5, 4)), rng.standard_normal(4), rng.standard_normal(5), rng.standard_normal(4)
    weights, bias, x, R = (array.astype("float32").astype("float64") for array in (weights, bias, x, R))
    opened = Opened(net_of((5,), layers.Dense(4, name="dense"), weights=[weights, bias]))
    options = {"epsilon": 0.1} if method == "lrp_epsilon" else {}
    found = opened.relevance(method, x[None].astype("float32"), "dense", R[None, None], **options)["x"]
    products = x[:, None] * weights
    shares = kept(x @ weights + bias, bias, np.maximum(products, 0).sum(0), np.minimum(products, 0).sum(0))
    np.testing.assert_allclose(found.sum(), R @ shares, rtol=1e-9)


def test_nothing_goes_through_a_condition():
    x = tf.keras.layers.Input((6,))
    h = tf.keras.layers.Dense(5)(x)
    model = tf.keras.Model(x, tf.keras.layers.Dense(3)(tf.where(h > 0, h, 0.1 * h)))
    net, inputs = wel.load(model), np.random.default_rng(0).random((4, 6), dtype="float32") - 0.5
    found = wel.relevance(net, "gradient", inputs, vectors=np.ones((4, 1, 3), "float32"), at="input")["input"][:, 0]
    with tf.GradientTape() as tape:
        tape.watch(given := tf.constant(inputs))
        z = model(given)
    np.testing.assert_allclose(found, tape.gradient(z, given), atol=1e-6)
