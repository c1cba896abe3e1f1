"""wel.networks.initialization: seeds, the initialisers' own distributions, and nothing from TensorFlow's global state."""

from __future__ import annotations

import numpy as np
import pytest
from tensorflow import keras

from wel.networks.architectures import build_cifar10, build_resnet20
from wel.networks.initialization import fresh_weights, initialize


def weights(model, seed: int) -> dict[str, list[np.ndarray]]:
    initialize(model, seed)
    return {layer.name: layer.get_weights() for layer in model.layers if layer.weights}


def kernels(model, seed: int) -> dict[str, np.ndarray]:
    return {name: arrays[0] for name, arrays in weights(model, seed).items() if not name.startswith("bn_")}


@pytest.fixture(scope="module")
def resnet20():
    return build_resnet20()


@pytest.mark.parametrize("build", [build_cifar10, build_resnet20])
def test_same_seed_same_weights(build):
    keras.utils.set_random_seed(1)
    one = weights(build(), 7)
    keras.utils.set_random_seed(2)  # neither TensorFlow's seed nor the weights before may matter
    other = weights(build(), 7)
    assert one.keys() == other.keys()
    for name in one:
        for a, b in zip(one[name], other[name]):
            np.testing.assert_array_equal(a, b)


def test_initialize_leaves_the_global_generators_alone(resnet20):
    keras.utils.set_random_seed(3)
    before = np.random.random(), keras.backend.random_normal((3,)).numpy().tolist()
    keras.utils.set_random_seed(3)
    initialize(resnet20, 0)
    assert (np.random.random(), keras.backend.random_normal((3,)).numpy().tolist()) == before


def test_other_seed_other_kernels(resnet20):
    one, other = kernels(resnet20, 0), kernels(resnet20, 1)
    for name in one:
        # independent draws: the correlation of n pairs has a standard deviation of 1/√n
        correlation = np.corrcoef(one[name].ravel(), other[name].ravel())[0, 1]
        assert abs(correlation) < 5 / np.sqrt(one[name].size), name


def test_layers_of_equal_shape_differ(resnet20):
    found = kernels(resnet20, 0)
    equal = [found[f"conv2_{block}{part}"].ravel() for block in (1, 2, 3) for part in "ab"]
    correlations = np.corrcoef(equal)[np.triu_indices(6, 1)]
    assert np.abs(correlations).max() < 5 / np.sqrt(equal[0].size)


def test_spread_is_the_initialisers(resnet20):
    # he_normal has variance 2 / fan_in; the standard deviation of a sample of n has a relative error of 1/√(2n) or less
    for name, kernel in kernels(resnet20, 0).items():
        fan_in = np.prod(kernel.shape[:-1])
        assert abs(kernel.std() / np.sqrt(2 / fan_in) - 1) < 5 / np.sqrt(2 * kernel.size), name


def test_batch_normalization_starts_as_its_initialisers_say(resnet20):
    found = [arrays for name, arrays in weights(resnet20, 5).items() if name.startswith("bn_")]
    assert len(found) == 21  # 19 convolutions and 2 shortcuts
    for gamma, beta, mean, variance in found:
        np.testing.assert_array_equal(gamma, np.ones_like(gamma))
        np.testing.assert_array_equal(beta, np.zeros_like(beta))
        np.testing.assert_array_equal(mean, np.zeros_like(mean))
        np.testing.assert_array_equal(variance, np.ones_like(variance))


def test_batch_normalization_with_initialisers_of_its_own():
    layer = keras.layers.BatchNormalization(gamma_initializer=keras.initializers.Constant(0.5), moving_variance_initializer="he_normal")
    layer.build((None, 4))
    gamma, beta, mean, variance = fresh_weights(layer, 0)
    np.testing.assert_array_equal([gamma, beta, mean], np.repeat([[0.5], [0], [0]], 4, axis=1))
    assert len(np.unique(variance)) == 4


def test_order_of_asking_does_not_matter(resnet20):
    first, last = resnet20.get_layer("conv1"), resnet20.get_layer("dense")
    one = fresh_weights(first, 3), fresh_weights(last, 4)
    other = fresh_weights(last, 4), fresh_weights(first, 3)
    np.testing.assert_array_equal(one[0][0], other[1][0])
    np.testing.assert_array_equal(one[1][0], other[0][0])


def test_fresh_weights_fit_the_layer_and_leave_it_alone(resnet20):
    layer = resnet20.get_layer("dense")
    before = layer.get_weights()
    fresh = fresh_weights(layer, 11)
    assert [(a.shape, a.dtype) for a in fresh] == [((64, 10), np.float32), ((10,), np.float32)]
    np.testing.assert_array_equal(layer.get_weights()[0], before[0])
    np.testing.assert_array_equal(fresh[1], np.zeros(10))


def test_nested_models_are_reached():
    inner = keras.Sequential([keras.layers.Input((4,)), keras.layers.Dense(4, name="a"), keras.layers.Dense(4, name="b")])
    outer = keras.Sequential([keras.layers.Input((4,)), inner, keras.layers.Dense(4, name="c")])
    initialize(outer, 0)
    found = [layer.get_weights()[0] for layer in (*inner.layers, outer.get_layer("c"))]
    initialize(outer, 0)
    for layer, kernel in zip((*inner.layers, outer.get_layer("c")), found):
        np.testing.assert_array_equal(layer.get_weights()[0], kernel)
    assert len({kernel.tobytes() for kernel in found}) == 3


@pytest.mark.parametrize(
    "layer, shape",
    [
        (keras.layers.DepthwiseConv2D(3), (8, 8, 3)),
        (keras.layers.SeparableConv2D(4, 3), (8, 8, 3)),
        (keras.layers.LSTM(4), (5, 3)),
        (keras.layers.Bidirectional(keras.layers.GRU(4)), (5, 3)),
        (keras.layers.PReLU(alpha_initializer="uniform"), (8,)),
        (keras.layers.Embedding(9, 4), (5,)),
    ],
    ids=lambda value: type(value).__name__,
)
def test_layers_whose_initialisers_have_other_names_or_places(layer, shape):
    keras.Sequential([keras.layers.Input(shape), layer])
    one, same, other = (fresh_weights(layer, seed) for seed in (0, 0, 1))
    assert [array.shape for array in one] == [array.shape for array in layer.get_weights()]
    for a, b in zip(one, same):
        np.testing.assert_array_equal(a, b)
    assert not np.array_equal(one[0], other[0])


def test_the_depthwise_initialiser_is_the_layers_own():
    layer = keras.layers.DepthwiseConv2D(3, depthwise_initializer=keras.initializers.RandomUniform(2, 3), bias_initializer="ones")
    keras.Sequential([keras.layers.Input((8, 8, 3)), layer])
    kernel, bias = fresh_weights(layer, 0)
    assert kernel.min() >= 2 and kernel.max() <= 3 and (bias == 1).all()


@pytest.mark.parametrize("constant", ["zeros", "ones"])
def test_a_kernel_that_began_as_a_constant_becomes_random(constant):
    layer = keras.layers.Dense(4, kernel_initializer=constant)
    keras.Sequential([keras.layers.Input(3), layer])
    kernel, bias = fresh_weights(layer, 5)
    # Glorot: uniform in ±√(6 / (3 + 4))
    assert np.ptp(kernel) > 0 and np.abs(kernel).max() <= np.sqrt(6 / 7) and (bias == 0).all()
