"""wel.networks.logits: softmax and sigmoid come off the end, whatever form they have, and nothing else changes."""

from __future__ import annotations

import numpy as np
import pytest
from conftest import randomized

import wel
from wel.errors import WelError
from wel.networks.logits import logits_and_activation, with_output


def without_final_activation(model):
    return logits_and_activation(model)[0]


def head(image, *, filters: int = 4):
    """Four numbers per image, without an activation."""
    from tensorflow.keras import layers

    return layers.Dense(4, name="dense")(layers.Flatten()(layers.Conv2D(filters, 3, activation="relu")(image)))


def image():
    from tensorflow.keras import layers

    return layers.Input((8, 8, 3), name="image")


def fused(activation):
    from tensorflow.keras import Model, layers

    source = image()
    x = layers.Flatten()(layers.Conv2D(4, 3, activation="relu")(source))
    return Model(source, layers.Dense(4, activation=activation, name="dense")(x))


def separate(layer):
    from tensorflow.keras import Model

    source = image()
    return Model(source, layer(head(source)))


def fused_sequential():
    from tensorflow.keras import Sequential, layers

    return Sequential([image_layer(), layers.Conv2D(4, 3, activation="relu"), layers.Flatten(), layers.Dense(4, activation="softmax")])


def image_layer():
    from tensorflow.keras import layers

    return layers.InputLayer((8, 8, 3))


def separate_sequential():
    from tensorflow.keras import Sequential, layers

    return Sequential([image_layer(), layers.Flatten(), layers.Dense(4), layers.Activation("softmax")])


def built_later():
    from tensorflow.keras import Sequential, layers

    model = Sequential([layers.Conv2D(4, 3, activation="relu"), layers.Flatten(), layers.Dense(4, activation="softmax")])
    model.build((None, 8, 8, 3))
    return model


def in_nested():
    from tensorflow.keras import Model

    source = image()
    return Model(source, fused("softmax")(source))


def in_two_levels():
    from tensorflow.keras import Model, Sequential

    source = image()
    return Model(source, Sequential([image_layer(), in_nested()], name="middle")(source))


def in_second_output():
    """The nested model has two outputs; the outer one ends in the second, a softmax; the first ends in a ReLU."""
    from tensorflow.keras import Model, layers

    inner = image()
    features = layers.Conv2D(4, 3, activation="relu")(inner)
    both = Model(inner, [features, layers.Dense(4, activation="softmax")(layers.Flatten()(features))])
    source = image()
    return Model(source, both(source)[1])


def operation(function):
    def build():
        from tensorflow.keras import Model

        source = image()
        return Model(source, function(head(source)))

    return build


def softmax_operation(x):
    import tensorflow as tf

    return tf.nn.softmax(x, axis=-1)


def sigmoid_operation(x):
    import tensorflow as tf

    return tf.sigmoid(x)


def layer(name: str, *args):
    """A builder that defers the import of Keras."""

    def build():
        from tensorflow.keras import layers

        return separate(getattr(layers, name)(*args))

    return build


def layer_as_activation():
    from tensorflow.keras import layers

    return fused(layers.Softmax())


def named_dictionary():
    from tensorflow.keras import Model

    source = image()
    model = fused("softmax")
    return Model(source, {"classes": model(source)})


ENDS = {
    "fused softmax": (lambda: fused("softmax"), "softmax"),
    "fused sigmoid": (lambda: fused("sigmoid"), "sigmoid"),
    "activation softmax": (layer("Activation", "softmax"), "softmax"),
    "activation sigmoid": (layer("Activation", "sigmoid"), "sigmoid"),
    "softmax layer": (layer("Softmax"), "softmax"),
    "softmax layer as activation": (layer_as_activation, "softmax"),
    "sequential, fused": (fused_sequential, "softmax"),
    "sequential, separate": (separate_sequential, "softmax"),
    "sequential, built later": (built_later, "softmax"),
    "nested": (in_nested, "softmax"),
    "two levels": (in_two_levels, "softmax"),
    "second output of a nested model": (in_second_output, "softmax"),
    "tf.nn.softmax": (operation(softmax_operation), "softmax"),
    "tf.sigmoid": (operation(sigmoid_operation), "sigmoid"),
    "output in a dictionary": (named_dictionary, "softmax"),
}


def applied(activation: str, logits: np.ndarray) -> np.ndarray:
    from scipy.special import expit, softmax

    return softmax(logits, axis=-1) if activation == "softmax" else expit(logits)


def predictions(model, images) -> np.ndarray:
    out = model(images, training=False)
    return np.asarray(next(iter(out.values())) if isinstance(out, dict) else out)


@pytest.mark.parametrize("case", ENDS)
def test_activation_comes_off(case, images):
    build, activation = ENDS[case]
    model = randomized(build())
    before, weights = predictions(model, images), model.get_weights()
    config = model.get_config()

    linear = without_final_activation(model)
    logits = predictions(linear, images)

    assert linear is not model and linear.name == model.name
    assert np.ptp(logits) > 0.2 and not np.allclose(logits.sum(axis=1), 1)
    np.testing.assert_allclose(applied(activation, logits), before, atol=1e-6)
    np.testing.assert_array_equal(predictions(model, images), before)
    assert model.get_config() == config
    for kept, copied in zip(weights, linear.get_weights()):
        np.testing.assert_array_equal(kept, copied)
    assert without_final_activation(linear) is linear


def test_copy_has_weights_of_its_own(images):
    model = randomized(fused("softmax"))
    before = predictions(model, images)
    linear = without_final_activation(model)
    linear.set_weights([0 * weight for weight in linear.get_weights()])
    np.testing.assert_array_equal(predictions(model, images), before)


@pytest.mark.parametrize("name", ["sequential", "functional", "nested", "shared_layer", "residual"])
def test_model_that_ends_in_logits_is_returned_itself(name, request):
    model = request.getfixturevalue(name)
    assert without_final_activation(model) is model


def test_softmax_in_the_middle_stays(images):
    from tensorflow.keras import Model, layers

    source = image()
    gates = layers.Dense(4, activation="softmax")(layers.Flatten()(source))
    model = Model(source, layers.Dense(3)(gates))
    assert without_final_activation(model) is model


def test_activation_inside_a_recurrent_layer_stays():
    from tensorflow.keras import Sequential, layers

    model = Sequential([layers.Input((8, 3)), layers.SimpleRNN(4, activation="sigmoid")])
    assert without_final_activation(model) is model


def test_adapted_normalization_is_copied(images):
    from tensorflow.keras import Model, layers

    source = image()
    scaled = layers.Normalization(name="scale")
    model = Model(source, layers.Dense(4, activation="softmax")(layers.Flatten()(scaled(source))))
    scaled.adapt(3 * images + 1)
    before = predictions(model, images)
    np.testing.assert_allclose(applied("softmax", predictions(without_final_activation(model), images)), before, atol=1e-6)


def shared_dense():
    from tensorflow.keras import Model, layers

    source = image()
    dense = layers.Dense(4, activation="softmax", name="shared")
    x = dense(layers.Dense(4)(layers.Flatten()(source)))
    return Model(source, dense(x))


def shared_activation():
    from tensorflow.keras import Model, layers

    source = image()
    softmax = layers.Activation("softmax", name="shared")
    return Model(source, softmax(layers.Dense(4)(softmax(head(source)))))


def shared_model():
    from tensorflow.keras import Model, Sequential, layers

    source = image()
    block = Sequential([layers.Input((4,)), layers.Dense(4, activation="softmax")], name="shared")
    return Model(source, block(block(head(source))))


@pytest.mark.parametrize("build", [shared_dense, shared_activation, shared_model])
def test_last_layer_that_is_called_elsewhere_is_refused(build):
    with pytest.raises(WelError, match="'shared' is called elsewhere in the model too.*Expected a model that ends in logits"):
        without_final_activation(build())


def test_shared_last_layer_without_activation_is_no_obstacle():
    from tensorflow.keras import Model, layers

    source = image()
    dense = layers.Dense(4)
    model = Model(source, dense(dense(head(source))))
    assert without_final_activation(model) is model


def custom_layer():
    from tensorflow.keras import layers

    class Doubled(layers.Layer):
        def call(self, inputs):
            return 2 * inputs

    return Doubled


def test_live_model_with_a_layer_of_the_users_own(images):
    from tensorflow.keras import Model, layers

    source = image()
    model = randomized(Model(source, layers.Softmax()(custom_layer()()(head(source)))))
    logits = predictions(without_final_activation(model), images)
    np.testing.assert_allclose(applied("softmax", logits), predictions(model, images), atol=1e-6)


def test_model_that_cannot_be_copied_is_refused():
    from tensorflow.keras import Model, layers

    source = image()
    x = layers.Dense(4, activation=lambda x: 2 * x)(layers.Flatten()(source))
    with pytest.raises(WelError, match="cannot be copied to take its last activation off"):
        without_final_activation(Model(source, layers.Softmax()(x)))


@pytest.mark.parametrize("model", [None, 3, "cifar10"])
def test_what_is_no_model_is_handed_on(model):
    assert without_final_activation(model) is model


def test_several_outputs_are_handed_on():
    from tensorflow.keras import Model, layers

    source = image()
    x = head(source)
    model = Model(source, [layers.Softmax()(x), x])
    assert without_final_activation(model) is model


# --- which activation, and which output -------------------------------------------------------------------------------


@pytest.mark.parametrize("case", ENDS)
def test_activation_is_named(case):
    build, activation = ENDS[case]
    model, found = logits_and_activation(build())
    assert found == activation
    assert logits_and_activation(model) == (model, None)


def test_log_softmax_is_named():
    import tensorflow as tf

    assert logits_and_activation(fused("log_softmax"))[1] == "log_softmax"
    assert logits_and_activation(operation(tf.nn.log_softmax)())[1] == "log_softmax"


def test_model_with_a_function_of_its_own_is_copied(images):
    """Functions of a live model are the caller's: they may be written into a configuration and read again."""
    from tensorflow.keras import Model, layers

    source = image()
    model = randomized(Model(source, layers.Softmax()(layers.Lambda(lambda x: 2 * x)(head(source)))))
    logits = predictions(without_final_activation(model), images)
    np.testing.assert_allclose(applied("softmax", logits), predictions(model, images), atol=1e-6)


@pytest.fixture(scope="module")
def three_outputs():
    """Outputs `classes` (softmax), `block` and `block_1`, the two outputs of a nested model."""
    from tensorflow.keras import Model, layers

    inner = layers.Input((4,))
    block = Model(inner, [layers.Dense(2, name="one")(inner), layers.Dense(3, activation="sigmoid", name="two")(inner)], name="block")
    source = image()
    x = head(source)
    return randomized(Model(source, [layers.Softmax(name="classes")(x), *block(x)], name="three"))


@pytest.mark.parametrize("output, which", [("classes", 0), ("0", 0), (0, 0), ("block", 1), ("1", 1), ("block_1", 2), ("2", 2)])
def test_output(output, which, three_outputs, images):
    model = with_output(three_outputs, output)
    assert model.name == "three" and len(model.outputs) == 1
    np.testing.assert_array_equal(predictions(model, images), np.asarray(three_outputs(images, training=False)[which]))
    logits, activation = logits_and_activation(model)
    assert activation == ("softmax", None, "sigmoid")[which]
    if activation:
        np.testing.assert_allclose(applied(activation, predictions(logits, images)), predictions(model, images), atol=1e-6)


@pytest.mark.parametrize("output", [None, "", "3", "-1", "dense", "CLASSES"])
def test_output_that_is_not_there(output, three_outputs):
    expected = rf"^Invalid value for `output`: {output!r}. Expected one of classes, block, block_1, the outputs of 'three'\.$"
    with pytest.raises(WelError, match=expected):
        with_output(three_outputs, output)


def test_only_output(functional):
    for output in (None, "dense", "0"):
        assert with_output(functional, output) is functional
    with pytest.raises(WelError, match="Expected one of dense, the outputs of 'functional'"):
        with_output(functional, "1")


@pytest.mark.parametrize("model", [None, 3])
def test_output_of_what_is_no_model(model):
    assert with_output(model, "x") is model


# --- one vector of an output with places


@pytest.fixture(scope="module")
def segmenting():
    """(6, 7, 3) in, logits of 4 classes at each of 6 × 7 places out, with a softmax."""
    from tensorflow.keras import Sequential, layers

    stack = [layers.Input((6, 7, 3)), layers.Conv2D(5, 3, padding="same", activation="relu"), layers.Conv2D(4, 1, activation="softmax")]
    return Sequential(stack, name="segmenting")


@pytest.mark.parametrize("index", ["2,5", (2, 5), [2, np.int64(5)]])
def test_the_logits_of_one_place(segmenting, index):
    x = np.random.default_rng(0).random((2, 6, 7, 3), dtype="float32")
    net = wel.load(segmenting, output_index=index)
    assert net.output_shape == (4,) and net.final_activation == "softmax"
    expected = wel.load(segmenting).model.predict(x, verbose=0)[:, 2, 5]
    np.testing.assert_array_equal(net.model.predict(x, verbose=0), expected)
    # the gradient there reaches the 3 × 3 pixels around that place only
    reached = wel.attribution(net, "gradient", x, [1, 2]).any(axis=(0, 3))
    assert np.argwhere(reached).min(axis=0).tolist() == [1, 4] and np.argwhere(reached).max(axis=0).tolist() == [3, 6]


def test_the_mean_over_all_places(segmenting):
    x = np.random.default_rng(0).random((2, 6, 7, 3), dtype="float32")
    found = wel.load(segmenting, output_index="mean").model.predict(x, verbose=0)
    np.testing.assert_allclose(found, wel.load(segmenting).model.predict(x, verbose=0).mean(axis=(1, 2)), rtol=1e-5)


@pytest.mark.parametrize(("rank", "index"), [(1, "3"), (3, "1,0,2")])
def test_sequences_and_volumes_have_places_too(rank, index):
    from tensorflow.keras import Sequential, layers

    model = Sequential([layers.Input((4,) * rank + (2,)), getattr(layers, f"Conv{rank}D")(3, 1)])
    x = np.random.default_rng(0).random((2, *(4,) * rank, 2), dtype="float32")
    place = tuple(map(int, index.split(",")))
    expected = model.predict(x, verbose=0)[(slice(None), *place)]
    np.testing.assert_allclose(wel.load(model, output_index=index).model.predict(x, verbose=0), expected, rtol=1e-6)


@pytest.mark.parametrize("index", ["6,0", "0", "0,0,0", "-1,2", "a,b", "", (0.5, 1)])
def test_a_place_that_is_none(segmenting, index):
    with pytest.raises(WelError, match="^Invalid value for `output_index`: .*Expected 'mean', or 2 whole numbers from 0 to 5, 6"):
        wel.load(segmenting, output_index=index)


def test_one_vector_has_no_places(sequential):
    with pytest.raises(WelError, match="^Invalid value for `output_index`: 'mean'. Expected None: the output of 'sequential' has shape"):
        wel.load(sequential, output_index="mean")
