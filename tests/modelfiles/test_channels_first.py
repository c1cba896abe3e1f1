"""wel.modelfiles.channels_first: rewritten networks compute what a naive float64 replica computes on channels-first arrays."""

from __future__ import annotations

import copy
import json
import sys

import numpy as np
import pytest
from conftest import randomized
from legacy_files import arrays, broken, built, names, opened

from wel.errors import WelError
from wel.keras.two import private
from wel.modelfiles import channels_first

FIRST = dict(data_format="channels_first")


@pytest.fixture(scope="module")
def planes() -> np.ndarray:
    """Two inputs (2, 3, 7, 6): three sizes that differ, so that no axis is taken for another."""
    return np.random.default_rng(5).uniform(-1, 1, (2, 3, 7, 6))


def rewritten(model):
    """The channels_last model of a channels_first one, with its weights."""
    configuration = json.loads(model.to_json())
    assert channels_first.applies(configuration, None)
    target = built(channels_first.converted(configuration).configuration)
    channels_first.copy_weights(model, target)
    assert sorted(weight.shape for weight in target.get_weights()) == sorted(weight.shape for weight in model.get_weights())
    return target


def check(model, planes, expected) -> None:
    target = rewritten(model)
    assert not channels_first.applies(json.loads(target.to_json()), None)
    found = target.predict(np.moveaxis(planes, 1, -1).astype("float32"), verbose=0)
    np.testing.assert_allclose(found, expected, atol=1e-5)


# --- the replica, on arrays (images, channels, rows, columns) ---------------------------------------------------------


def weights_of(model, name):
    return [weight.astype(float) for weight in model.get_layer(name).get_weights()]


def conv(x, kernel, bias, stride=1):
    """Padding 'valid': y[n, f, i, j] = b[f] + the sum over c, a, b of x[n, c, i·s + a, j·s + b] · k[a, b, c, f]."""
    rows, columns = ((x.shape[axis] - kernel.shape[axis - 2]) // stride + 1 for axis in (2, 3))
    y = np.zeros((len(x), kernel.shape[3], rows, columns)) + bias[:, None, None]
    for i in range(rows):
        for j in range(columns):
            window = x[:, :, i * stride : i * stride + kernel.shape[0], j * stride : j * stride + kernel.shape[1]]
            y[:, :, i, j] += np.einsum("ncab,abcf->nf", window, kernel)
    return y


def pool(x, reduce, size=2):
    n, c, rows, columns = x.shape
    x = x[:, :, : rows // size * size, : columns // size * size]
    return reduce(x.reshape(n, c, rows // size, size, columns // size, size), axis=(3, 5))


def normalize(x, gamma, beta, mean, variance, epsilon=1e-3):
    gamma, beta, mean, variance = (value[:, None, None] for value in (gamma, beta, mean, variance))
    return gamma * (x - mean) / np.sqrt(variance + epsilon) + beta


def softmax(x, axis):
    e = np.exp(x - x.max(axis, keepdims=True))
    return e / e.sum(axis, keepdims=True)


def relu(x):
    return np.maximum(x, 0)


def sigmoid(x):
    return 1 / (1 + np.exp(-x))


# --- networks ---------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("flatten", [dict(), FIRST])
@pytest.mark.parametrize("with_input", [True, False])
def test_sequential(planes, flatten, with_input):
    from tensorflow.keras import Sequential, layers

    given = dict() if with_input else dict(input_shape=(3, 7, 6))
    stack = [
        layers.Conv2D(4, (3, 2), activation="relu", name="conv", **FIRST, **given),
        layers.BatchNormalization(axis=1, name="bn"), layers.SpatialDropout2D(0.5, **FIRST), layers.MaxPooling2D(**FIRST),
        layers.Flatten(**flatten), layers.Dense(5, name="dense"),
    ]  # fmt: skip
    model = randomized(Sequential([layers.Input((3, 7, 6))] * with_input + stack))
    x = relu(conv(planes, *weights_of(model, "conv")))
    x = pool(normalize(x, *weights_of(model, "bn")), np.max)
    x = np.moveaxis(x, 1, -1) if flatten else x  # of channels_first, Flatten itself moves the channels to the end
    kernel, bias = weights_of(model, "dense")
    check(model, planes, x.reshape(2, -1) @ kernel + bias)


def test_residual_with_concatenation(planes):
    from tensorflow.keras import Model, layers

    image = layers.Input((3, 7, 6))
    x = layers.Conv2D(4, 1, name="stem", **FIRST)(image)
    y = layers.ReLU()(layers.BatchNormalization(axis=1, name="bn")(x))
    y = layers.Conv2D(4, 1, name="conv", **FIRST)(y)
    y = layers.Concatenate(axis=-3)([layers.Add()([x, y]), layers.LeakyReLU(0.5)(y)])
    y = layers.Concatenate(axis=2)([y, y])
    y = layers.Conv2D(3, 2, 2, name="last", **FIRST)(layers.ZeroPadding2D(((0, 1), (2, 0)), **FIRST)(y))
    model = randomized(Model(image, [layers.GlobalAveragePooling2D(**FIRST)(y)]))

    x = conv(planes, *weights_of(model, "stem"))
    y = conv(relu(normalize(x, *weights_of(model, "bn"))), *weights_of(model, "conv"))
    y = np.concatenate([x + y, np.where(y > 0, y, 0.5 * y)], axis=1)
    y = np.pad(np.concatenate([y, y], axis=2), [(0, 0), (0, 0), (0, 1), (2, 0)])
    check(model, planes, conv(y, *weights_of(model, "last"), stride=2).mean(axis=(2, 3)))


def test_squeeze_and_excitation(planes):
    from tensorflow.keras import Model, layers

    image = layers.Input((3, 7, 6))
    x = layers.Conv2D(4, 1, name="stem", **FIRST)(image)
    gate = layers.Dense(4, activation="sigmoid", name="gate")(layers.GlobalMaxPooling2D(**FIRST)(x))
    model = randomized(Model(image, layers.GlobalAveragePooling2D(**FIRST)(layers.Multiply()([x, layers.Reshape((4, 1, 1))(gate)]))))
    x = conv(planes, *weights_of(model, "stem"))
    kernel, bias = weights_of(model, "gate")
    check(model, planes, (x * sigmoid(x.max(axis=(2, 3)) @ kernel + bias)[:, :, None, None]).mean(axis=(2, 3)))


def test_layers_that_depend_on_the_order(planes):
    """Dense and softmax on the columns of an image, PReLU with a slope per value, Permute and Reshape, averages."""
    from tensorflow.keras import Model, layers

    image = layers.Input((3, 7, 6))
    x = layers.PReLU(name="prelu")(image)
    x = layers.Softmax()(layers.Dense(5, name="columns")(layers.AveragePooling2D(**FIRST)(x)))
    x = layers.Activation("softmax")(layers.Permute((2, 1, 3))(x))
    x = layers.Reshape((5, 3, 3))(layers.Softmax(axis=1)(x))
    model = randomized(Model(image, layers.Dense(2, name="last")(layers.Flatten()(x))))

    (alpha,) = weights_of(model, "prelu")
    kernel, bias = weights_of(model, "columns")
    x = softmax(pool(np.where(planes > 0, planes, alpha * planes), np.mean) @ kernel + bias, 3)
    x = softmax(softmax(x.transpose(0, 2, 1, 3), 3), 1).reshape(2, 5, 3, 3)
    kernel, bias = weights_of(model, "last")
    check(model, planes, x.reshape(2, -1) @ kernel + bias)


def test_nested_and_called_twice(planes):
    from tensorflow.keras import Model, Sequential, layers

    part = layers.Input((3, 7, 6))
    inner = Sequential([layers.Input((3, 7, 6)), layers.Conv2D(3, 1, name="c", **FIRST), layers.ReLU()], name="inner")
    block = Model(part, layers.Add()([part, layers.Permute((1, 2, 3))(inner(part))]), name="block")
    image = layers.Input((3, 7, 6))
    norm = layers.PReLU(name="shared")
    model = randomized(Model(image, layers.Flatten()(norm(block(norm(block(image)))))))

    kernel, bias = (weight.astype(float) for weight in model.get_layer("block").get_layer("inner").get_layer("c").get_weights())
    (alpha,) = weights_of(model, "shared")
    x = planes
    for _ in range(2):
        x = x + relu(conv(x, kernel, bias))
        x = np.where(x > 0, x, alpha * x)
    check(model, planes, x.reshape(2, -1))


def test_one_dimension():
    """The convolution of a signal (2 channels, 9 steps) is that of an image with one column."""
    from tensorflow.keras import Sequential, layers

    stack = [layers.Input((2, 9)), layers.Conv1D(3, 4, name="conv", **FIRST), layers.Flatten(), layers.Dense(2, name="dense")]
    model = randomized(Sequential(stack))
    signals = np.random.default_rng(0).uniform(-1, 1, (2, 2, 9))
    kernel, bias = weights_of(model, "conv")
    x = conv(signals[..., None], kernel[:, None], bias)[..., 0]
    kernel, bias = weights_of(model, "dense")
    check(model, signals, x.reshape(2, -1) @ kernel + bias)


def test_three_dimensions():
    """A 1×1×1 convolution and an average over a volume (2 channels, 3×4×5)."""
    from tensorflow.keras import Sequential, layers

    stack = [layers.Input((2, 3, 4, 5)), layers.Conv3D(3, 1, name="conv", **FIRST), layers.BatchNormalization(axis=1), layers.Flatten()]
    model = randomized(Sequential(stack))
    kernel, bias = weights_of(model, "conv")
    volumes = np.random.default_rng(0).uniform(-1, 1, (2, 2, 3, 4, 5))
    x = np.einsum("ncijk,cf->nfijk", volumes, kernel[0, 0, 0]) + bias[:, None, None, None]
    expected = normalize(x.reshape(2, 3, 3, 20), *(weight.astype(float) for weight in model.layers[1].get_weights()))
    check(model, volumes, expected.reshape(2, -1))


# --- files ------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", names("keras2.2.4_tensorflow_channels_first*"))
def test_files_of_keras2(name):
    load_weights_from_hdf5_group = sys.modules[private("preprocess_weights_for_loading").__module__].load_weights_from_hdf5_group

    configuration, weights = opened(name)
    images, expected = arrays(name)
    source = built(configuration)
    load_weights_from_hdf5_group(weights, source)
    before = copy.deepcopy(configuration)
    converted, (note,) = channels_first.converted(configuration)
    assert configuration == before and "rewritten to channels_last" in note
    model = built(converted)
    channels_first.copy_weights(source, model)
    np.testing.assert_allclose(model.predict(np.moveaxis(images, 1, -1), verbose=0), expected, atol=1e-5)


# --- what is refused, what does not apply -----------------------------------------------------------------------------


def test_does_not_apply_to_channels_last(functional, sequential, nested):
    for model in (functional, sequential, nested):
        assert not channels_first.applies(json.loads(model.to_json()), None)


def stacked(*stack) -> dict:
    from tensorflow.keras import Sequential, layers

    return json.loads(Sequential([layers.Input((3, 7, 6)), *stack]).to_json())


def test_refusals():
    from tensorflow.keras import layers

    conv_first, conv_last = layers.Conv2D(2, 1, **FIRST), layers.Conv2D(2, 1)
    with pytest.raises(WelError, match="mix the data formats"):
        channels_first.converted(stacked(conv_first, conv_last))
    with pytest.raises(WelError, match="'unknown' is a CategoryEncoding on channels_first images"):
        mutant = stacked(conv_first, layers.ReLU(name="unknown"))
        mutant["config"]["layers"][2]["class_name"] = "CategoryEncoding"
        channels_first.converted(mutant)
    with pytest.raises(WelError, match="activation of its layer 'soft' may depend on the order"):
        channels_first.converted(stacked(layers.Conv2D(2, 1, activation="softmax", name="soft", **FIRST)))
    with pytest.raises(WelError, match="'lstm' is a LSTM, of which wel cannot tell"):
        channels_first.converted(stacked(conv_first, layers.Reshape((2, 42)), layers.LSTM(2, name="lstm")))


def test_bare_operations_are_refused():
    from tensorflow.keras import Model, layers

    image = layers.Input((3, 7, 6))
    x = layers.Conv2D(2, 1, **FIRST)(image)
    with pytest.raises(WelError, match="tensors as keyword arguments"):
        channels_first.converted(json.loads(Model(image, x + x).to_json()))
    with pytest.raises(WelError, match="is a TFOpLambda on channels_first images"):
        channels_first.converted(json.loads(Model(image, x + 1.0).to_json()))


def test_layers_in_a_circle_are_refused():
    configuration = opened("keras2.2.4_tensorflow_channels_first_functional.h5")[0]
    first = configuration["config"]["layers"][1]
    first["inbound_nodes"] = [[[first["name"], 0, 0, {}]]]
    with pytest.raises(WelError, match="depends on itself"):
        channels_first.converted(configuration)


@pytest.mark.parametrize("name", names("keras2.2.4_*"))
def test_broken_configurations_end_in_a_sentence(name):
    for mutant in broken(opened(name)[0], seed=1, count=150):
        for call in (channels_first.converted, channels_first.applies):
            try:
                call(mutant)
            except WelError as error:
                assert "\n" not in str(error)
