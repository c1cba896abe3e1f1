"""wel.networks.graph: names and order of nodes, and that nodes and flat configuration compute what the model computes."""

from __future__ import annotations

import json

import numpy as np
import pytest
from conftest import randomized

from wel.errors import WelError
from wel.networks.graph import build_graph

FIXTURES = ("sequential", "functional", "nested", "shared_layer", "residual")


def image(shape=(8, 8, 3)):
    from tensorflow.keras import layers

    return layers.Input(shape, name="image")


def chain(*steps, shape=(8, 8, 3)):
    """A functional model of the given layers, one after the other."""
    from tensorflow.keras import Model

    source = x = image(shape)
    for step in steps:
        x = step(x)
    return Model(source, x)


def replayed(graph, images) -> dict[str, np.ndarray]:
    """The value of every node, each computed by `Node.apply` from the values of its inputs."""
    import tensorflow as tf

    values = {graph.input: tf.constant(images)}
    for node in graph.nodes[1:]:
        values[node.name] = node.apply([values[name] for name in node.inputs])
    return {name: np.asarray(value) for name, value in values.items()}


def rebuilt(graph):
    """The flat model as a backend's process builds it: from JSON and from arrays by name."""
    from tensorflow import keras

    weights = graph.flat_weights()
    flat = keras.Model.from_config(json.loads(json.dumps(graph.flat_config())))
    for layer in flat.layers:
        layer.set_weights([weights[f"{layer.name}/{k}"] for k in range(len(layer.weights))])
    return flat


def check_equivalence(model, images) -> None:
    """Node by node and as a flat model, the graph computes what the model computes, in shapes as promised."""
    graph = build_graph(model)
    expected = model.predict(images, verbose=0)
    values = replayed(graph, images)
    assert np.ptp(expected) > 1e-3
    np.testing.assert_allclose(values[graph.output], expected, atol=1e-6, rtol=1e-6)
    assert {name: value.shape[1:] for name, value in values.items()} == {node.name: node.shape for node in graph.nodes}
    flat = rebuilt(graph)
    np.testing.assert_allclose(flat.predict(images, verbose=0), expected, atol=1e-6, rtol=1e-6)
    assert [layer.name for layer in flat.layers if layer.name == graph.flat_name(graph.output)] == [flat.output_names[0]]


# --- order and names ---------------------------------------------------------------------------------------------------

NAMES = {
    "sequential": ["image", "conv", "relu", "pool", "flatten", "drop", "dense"],
    "functional": ["image", "conv1", "conv2", "pool", "flatten", "hidden", "dense"],
    "nested": ["image", "block/conv", "block/relu", "block/conv#2", "block/relu#2", "flatten", "dense"],
    "shared_layer": ["image", "conv", "relu", "conv#2", "relu#2", "flatten", "dense"],
}


@pytest.mark.parametrize("name", NAMES)
def test_names_of_a_chain(name, request):
    graph = build_graph(request.getfixturevalue(name))
    assert graph.names == NAMES[name]
    assert (graph.input, graph.output) == ("image", "dense")
    assert [node.inputs for node in graph.nodes] == [(), *((before,) for before in graph.names[:-1])]
    assert [graph.index(name) for name in graph.names] == list(range(len(graph.names)))
    assert [graph[name].name for name in graph.names] == graph.names


def test_residual_order_and_inputs(residual):
    graph = build_graph(residual)
    assert graph["add"].inputs == ("bn3", "bn_skip")
    assert graph["conv2"].inputs == graph["skip"].inputs == ("relu1",)
    for node in graph.nodes:
        assert all(graph.index(source) < graph.index(node.name) for source in node.inputs)
    assert set(graph.names) == {"image", *(layer.name for layer in residual.layers)}


def test_kind_shape_and_layer(functional):
    graph = build_graph(functional)
    # 8×8 same → 8×8; 8×8 valid 3×3 → 6×6; pool 2 → 3×3; 3·3·6 = 54
    assert [node.shape for node in graph.nodes] == [(8, 8, 3), (8, 8, 4), (6, 6, 6), (3, 3, 6), (54,), (7,), (4,)]
    assert [node.kind for node in graph.nodes] == ["InputLayer", "Conv2D", "Conv2D", "MaxPooling2D", "Flatten", "Dense", "Dense"]
    assert all(node.layer is functional.get_layer(node.name) for node in graph.nodes)


def test_below(residual, nested):
    graph = build_graph(residual)
    # the shortcut is not computed from the main branch
    assert graph.below("bn_skip") == ["image", "conv1", "bn1", "relu1", "skip"]
    assert graph.below("conv3") == ["image", "conv1", "bn1", "relu1", "conv2", "bn2", "relu2"]
    assert graph.below("dense") == graph.names[:-1]
    assert graph.below("image") == []
    assert build_graph(nested).below("block/conv#2") == ["image", "block/conv", "block/relu"]


def two_levels():
    """middle(inner(inner(x))) called twice: inner's convolution is called four times."""
    from tensorflow.keras import Model, Sequential, layers

    inner = Sequential([layers.Input((8, 8, 3)), layers.Conv2D(3, 3, padding="same", activation="relu", name="conv")], name="inner")
    source = layers.Input((8, 8, 3))
    middle = Model(source, layers.ReLU(name="relu")(inner(inner(source))), name="middle")
    outer = image()
    return randomized(Model(outer, layers.Flatten(name="flatten")(middle(middle(outer)))))


def test_second_calls_inside_nested_models():
    names = ["image"]
    for conv, again, relu in (("", "#2", ""), ("#3", "#4", "#2")):
        names += [f"middle/inner/conv{conv}", f"middle/inner/conv{again}", f"middle/relu{relu}"]
    assert build_graph(two_levels()).names == [*names, "flatten"]


def test_same_layer_inside_and_outside_a_nested_model():
    from tensorflow.keras import Model, Sequential, layers

    conv = layers.Conv2D(3, 3, padding="same", name="conv")
    block = Sequential([layers.Input((8, 8, 3)), conv], name="block")
    source = image()
    assert build_graph(Model(source, conv(block(source)))).names == ["image", "block/conv", "conv"]


def test_names_stay_unique_when_a_layer_is_called_like_a_nested_one():
    from tensorflow.keras import Model, Sequential, layers

    conv, other = (layers.Conv2D(3, 3, padding="same", name=name) for name in ("conv", "block/conv"))
    block = Sequential([layers.Input((8, 8, 3)), conv], name="block")
    source = image()
    graph = build_graph(Model(source, block(other(block(source)))))
    assert graph.names == ["image", "block/conv", "block/conv#2", "block/conv#3"]
    assert [node.layer for node in graph.nodes[1:]] == [conv, other, conv]


def test_branch_that_leads_nowhere():
    from tensorflow.keras import Model, layers

    inner = layers.Input((8, 8, 3))
    features = layers.Conv2D(2, 3, name="features")(inner)
    unused = layers.Dense(5, name="unused")(layers.Flatten(name="unused_flat")(features))
    both = Model(inner, [unused, features], name="both")
    source = image()
    model = Model(source, layers.Flatten(name="flatten")(both(source)[1]))
    assert build_graph(model).names == ["image", "both/features", "flatten"]
    check_equivalence(randomized(model), np.random.default_rng(0).random((2, 8, 8, 3), dtype="float32"))


def test_cut_in_the_middle(functional):
    from tensorflow.keras import Model

    graph = build_graph(Model(functional.input, functional.get_layer("pool").output))
    assert graph.names == ["image", "conv1", "conv2", "pool"] and graph.output == "pool"


def test_model_without_layers():
    from tensorflow.keras import Model

    source = image()
    graph = build_graph(Model(source, source))
    assert graph.names == ["image"] and graph.input == graph.output and graph.below("image") == []


# --- the same numbers -------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", FIXTURES)
def test_fixture_networks(name, request, images):
    check_equivalence(request.getfixturevalue(name), images)


def many_layers():
    from tensorflow.keras import Model, layers

    source = image()
    x = layers.ZeroPadding2D(((1, 2), (0, 1)))(source)
    x = layers.SeparableConv2D(6, 3, depth_multiplier=2, activation="relu")(x)
    x = layers.BatchNormalization()(layers.DepthwiseConv2D(3, padding="same", depth_multiplier=2)(x))
    x = layers.ReLU(max_value=0.5, negative_slope=0.1)(x)
    x = layers.Conv2DTranspose(4, 3, strides=2, padding="same", output_padding=1)(x)
    x = layers.LeakyReLU(0.2)(layers.Conv2D(4, 3, strides=2, dilation_rate=1, use_bias=False)(x))
    x = layers.PReLU(shared_axes=[1, 2])(layers.SpatialDropout2D(0.3)(x))
    x = layers.Activation("tanh")(layers.UpSampling2D(2)(layers.AveragePooling2D(2)(x)))
    x = layers.Permute((3, 1, 2))(layers.Cropping2D(1)(x))
    x = layers.Reshape((-1, 4))(x)
    x = layers.GaussianNoise(1.0)(layers.Dense(3, activation="elu")(x))
    return Model(source, layers.Dense(4)(layers.Dropout(0.5)(layers.Flatten()(x))))


def joined():
    from tensorflow.keras import Model, layers

    source = image()
    one, other = (layers.Conv2D(4, 3, activation=name)(source) for name in ("relu", "sigmoid"))
    joints = [kind()([one, other]) for kind in (layers.Add, layers.Multiply, layers.Average, layers.Maximum, layers.Subtract)]
    x = layers.Concatenate(axis=-1)([*joints, layers.Add()([one, one])])
    return Model(source, layers.Dense(4)(layers.GlobalAveragePooling2D()(x)))


def keyword_call():
    from tensorflow.keras import Model, layers

    source = image()
    conv = layers.Conv2D(3, 3, padding="same")
    x = layers.Subtract()(inputs=[conv(inputs=source), source])
    return Model(source, layers.GlobalMaxPooling2D()(layers.BatchNormalization()(x, training=False)))


def transfer(**kwargs):
    """A trained base inside a new head, as in transfer learning; the base takes images of any size."""
    from tensorflow.keras import Model, Sequential, layers

    features = [layers.Conv2D(4, 3, name="conv"), layers.BatchNormalization(name="bn"), layers.ReLU(name="relu")]
    base = Sequential([layers.Input((None, None, 3)), *features], name="base")
    source = image()
    x = layers.GlobalAveragePooling2D(name="pool")(base(source, **kwargs))
    return Model(source, layers.Dense(4, name="dense")(layers.Dropout(0.2, name="drop")(x)))


def functional_in_sequential():
    from tensorflow.keras import Model, Sequential, layers

    inner = layers.Input((8, 8, 3))
    block = Model(inner, layers.Add()([inner, layers.Conv2D(3, 3, padding="same", activation="relu")(inner)]), name="block")
    return Sequential([layers.InputLayer((8, 8, 3)), block, Sequential([layers.Flatten(), layers.Dense(4)], name="head")])


def nested_with_named_inputs():
    """A nested model of two inputs that is called with a dictionary, in another order than its inputs."""
    from tensorflow.keras import Model, layers

    one, other = layers.Input((8, 8, 3), name="one"), layers.Input((8, 8, 3), name="other")
    difference = Model([one, other], layers.Subtract()([one, other]), name="difference")
    source = image()
    x = difference({"other": source, "one": layers.Conv2D(3, 3, padding="same")(source)})
    return Model(source, layers.Dense(4)(layers.Flatten()(x)))


def built_later():
    from tensorflow.keras import Sequential, layers

    model = Sequential([layers.Conv2D(2, 3, activation="relu"), layers.Flatten(), layers.Dense(3)])
    model.build((None, 8, 8, 3))
    return model


def numpy_numbers():
    from tensorflow.keras import layers

    # configurations with numbers that JSON does not know
    reshape = layers.Reshape((np.int64(36), np.int64(2)))
    return chain(layers.Conv2D(np.int64(2), 3), reshape, layers.Flatten(), layers.Dense(np.int64(3)))


def regularized():
    from tensorflow.keras import layers

    constrained = layers.Conv2D(2, 3, kernel_regularizer="l2", activity_regularizer="l1", bias_constraint="non_neg")
    return chain(constrained, layers.Flatten(), layers.Dense(3, kernel_initializer="orthogonal"))


def tensorflow_activation():
    import tensorflow as tf
    from tensorflow.keras import layers

    return chain(layers.Conv2D(2, 3, activation=tf.nn.leaky_relu), layers.Flatten(), layers.Dense(3, activation=layers.ReLU(max_value=1)))


def fixed_batch():
    from tensorflow.keras import Model, layers

    source = layers.Input(batch_shape=(3, 8, 8, 3))
    return Model(source, layers.Dense(2)(layers.Flatten()(source)))


MODELS = {
    "many layers": many_layers,
    "joined": joined,
    "keyword call": keyword_call,
    "two levels": two_levels,
    "transfer": transfer,
    "transfer, training=False": lambda: transfer(training=False),
    "functional in sequential": functional_in_sequential,
    "named inputs": nested_with_named_inputs,
    "built later": built_later,
    "numpy numbers": numpy_numbers,
    "regularized": regularized,
    "TensorFlow activation": tensorflow_activation,
    "fixed batch": fixed_batch,
}


@pytest.mark.parametrize("case", MODELS)
def test_equivalence(case, images):
    check_equivalence(randomized(MODELS[case]()), images)


def test_transfer_shapes_and_names():
    graph = build_graph(transfer(training=False))
    assert {node.name: node.shape for node in graph.nodes} == {
        "image": (8, 8, 3),
        "base/conv": (6, 6, 4),
        "base/bn": (6, 6, 4),
        "base/relu": (6, 6, 4),
        "pool": (4,),
        "drop": (4,),
        "dense": (4,),
    }


def test_inference_even_where_the_call_asks_for_training(images):
    from tensorflow.keras import layers

    plain, forced = (layers.Dropout(0.5), layers.BatchNormalization()), (layers.Dropout(0.5), layers.BatchNormalization())
    expected = randomized(chain(*plain, layers.Flatten())).predict(images, verbose=0)
    trained = randomized(chain(lambda x: forced[0](x, training=True), lambda x: forced[1](x, True), layers.Flatten()))
    graph = build_graph(trained)
    np.testing.assert_allclose(replayed(graph, images)[graph.output], expected, atol=1e-6)


def test_flat_weights_are_those_of_now(images):
    from tensorflow.keras import layers

    model = randomized(chain(layers.Conv2D(2, 3, name="conv"), layers.BatchNormalization(name="bn"), layers.Flatten()))
    graph = build_graph(model)
    before = graph.flat_weights()
    assert {key: array.shape for key, array in before.items()} == {
        "node1/0": (3, 3, 3, 2), "node1/1": (2,), "node2/0": (2,), "node2/1": (2,), "node2/2": (2,), "node2/3": (2,)
    }  # fmt: skip
    randomized(model, seed=9)
    after = graph.flat_weights()
    assert all(array.dtype == np.float32 and (array != before[key]).all() for key, array in after.items())
    np.testing.assert_allclose(rebuilt(graph).predict(images, verbose=0), model.predict(images, verbose=0), atol=1e-6)


def test_mixed_precision_becomes_float32(images):
    from tensorflow import keras

    policy = keras.mixed_precision.Policy("mixed_bfloat16")
    model = randomized(chain(keras.layers.Conv2D(2, 3, dtype=policy), keras.layers.Flatten(), keras.layers.Dense(3, dtype="float32")))
    flat = rebuilt(build_graph(model))
    assert flat.compute_dtype == "float32" and {weight.dtype.name for weight in flat.weights} == {"float32"}
    # bfloat16 has 8 bits of mantissa: 2⁻⁸ = 0.4 %
    np.testing.assert_allclose(flat.predict(images, verbose=0), model.predict(images, verbose=0), atol=0.02)


# --- bare operations: nodes like others, but not for a flat configuration ---------------------------------------------


def test_operations_are_applied_but_not_rebuilt(images):
    import tensorflow as tf
    from tensorflow.keras import Model, layers

    source = image()
    x = layers.Conv2D(2, 3, padding="same")(source)
    model = randomized(Model(source, tf.concat([x, source, tf.nn.relu(features=x)], axis=3)[:, 1:-1]))
    graph = build_graph(model)
    np.testing.assert_allclose(replayed(graph, images)[graph.output], model.predict(images, verbose=0), atol=1e-6)
    with pytest.raises(WelError, match=r"^Layer 'tf\..*' is a bare operation\. Expected Keras layers only"):
        graph.flat_config()


def test_operations_that_are_layers_are_rebuilt(images):
    """2x − 1 on both sides of a ReLU, a sum and a mean, none of them a Keras layer in the model."""
    import tensorflow as tf
    from tensorflow.keras import Model, layers

    source = image()
    x = layers.Conv2D(3, 3, padding="same")(2 * source - 1)
    model = randomized(Model(source, tf.reduce_mean(tf.nn.relu(x) + source, axis=[1, 2])))
    graph = build_graph(model)
    for found in (replayed(graph, images)[graph.output], rebuilt(graph).predict(images, verbose=0)):
        np.testing.assert_allclose(found, model.predict(images, verbose=0), atol=1e-6)


def test_equal_inputs_keep_their_places():
    from tensorflow.keras import layers

    node = build_graph(chain(lambda x: layers.Subtract(name="difference")([x, x])))["difference"]
    assert node.inputs == ("image", "image")
    # 5 - 2 = 3
    assert float(np.asarray(node.apply([np.full((1, 1), 5.0, "float32"), np.full((1, 1), 2.0, "float32")]))[0, 0]) == 3.0


def test_a_flat_model_augments_nothing_whoever_calls_it(images):
    from tensorflow import keras
    from tensorflow.keras import layers

    graph = build_graph(chain(layers.RandomFlip(), layers.RandomContrast(0.9), layers.Rescaling(2.0)))
    flat = keras.Model.from_config(graph.flat_config())
    np.testing.assert_array_equal(flat(images, training=True), 2 * images)


def own_layer():
    from tensorflow.keras import layers

    class Doubled(layers.Layer):
        def call(self, inputs):
            return 2 * inputs

    return chain(Doubled(name="odd"))


def own_activation():
    from tensorflow.keras import layers

    return chain(layers.Dense(3, activation=lambda x: 2 * x, name="odd"))


def second_argument():
    from tensorflow.keras import layers

    return chain(layers.Reshape((64, 3)), lambda x: layers.MultiHeadAttention(2, 2, name="odd")(x, x))


def constant():
    import tensorflow as tf
    from tensorflow.keras import layers

    return chain(lambda x: layers.Add(name="odd")([x, tf.ones((1, 8, 8, 3))]))


def list_of_one():
    from tensorflow.keras import layers

    return chain(lambda x: layers.Concatenate(name="odd")([x]))


@pytest.mark.parametrize("build", [own_layer, own_activation, second_argument, constant, list_of_one])
def test_what_a_flat_model_cannot_repeat_is_refused(build, images):
    model = build()
    graph = build_graph(model)
    np.testing.assert_allclose(replayed(graph, images)[graph.output], model.predict(images, verbose=0), atol=1e-6)
    with pytest.raises(WelError, match="^Layer 'odd' "):
        graph.flat_config()


# --- models that are refused ------------------------------------------------------------------------------------------


def subclassed():
    from tensorflow import keras

    class Own(keras.Model):
        def __init__(self):
            super().__init__(name="own")
            self.dense = keras.layers.Dense(3)

        def call(self, inputs):
            return self.dense(inputs)

    return Own()


def unbuilt():
    from tensorflow.keras import Sequential, layers

    return Sequential([layers.Dense(3)], name="own")


def subclassed_inside():
    return chain(subclassed())


def unbuilt_shape():
    from tensorflow.keras import layers

    return chain(layers.Conv2D(3, 3), shape=(None, None, 3))


def several_inputs():
    from tensorflow.keras import Model, layers

    inputs = [layers.Input((4,)), layers.Input((4,))]
    return Model(inputs, layers.Add()(inputs))


def several_outputs():
    from tensorflow.keras import Model, layers

    source = image()
    return Model(source, [layers.Flatten()(source), source])


def layer_with_several_outputs():
    from tensorflow.keras import layers

    return chain(layers.Reshape((64, 3)), layers.LSTM(2, return_state=True, name="lstm"), lambda outputs: outputs[0])


def nested_on_a_constant():
    import tensorflow as tf
    from tensorflow.keras import Model, layers

    pair = [layers.Input((4,)), layers.Input((4,))]
    both = Model(pair, layers.Add()(pair), name="both")
    return chain(lambda x: both([x, tf.ones((1, 4))]), shape=(4,))


def output_of_changing_size():
    import tensorflow as tf

    return chain(lambda x: x[:, : tf.shape(x)[0]], shape=(4,))


REFUSED = {
    "no model": (lambda: "text", r"^Invalid value for `model`: 'str'\. Expected a Keras model\.$"),
    "subclassed": (subclassed, "'own' is a subclassed or unbuilt model"),
    "unbuilt": (unbuilt, "'own' is a subclassed or unbuilt model"),
    "subclassed inside": (subclassed_inside, "'own' is a subclassed or unbuilt model"),
    "any size": (unbuilt_shape, r"takes inputs of shape \(None, None, 3\)\. Expected a fixed input shape"),
    "several inputs": (several_inputs, "has 2 inputs. Expected one input"),
    "several outputs": (several_outputs, "has 2 outputs. Expected one output"),
    "layer with several outputs": (layer_with_several_outputs, "layer 'lstm' has 3 outputs. Expected layers with one output"),
    "nested on a constant": (nested_on_a_constant, "'both' inside it is called on a constant"),
    "size that depends on the batch": (output_of_changing_size, r"has outputs of shape \(None,\)\. Expected a fixed shape"),
}


@pytest.mark.parametrize("case", REFUSED)
def test_refused_in_one_sentence(case):
    build, message = REFUSED[case]
    with pytest.raises(WelError, match=message) as caught:
        build_graph(build())
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("value", [np.nan, np.inf, -np.inf])
def test_weights_that_are_not_finite_are_refused(value):
    from tensorflow.keras import layers

    model = chain(layers.Conv2D(2, 3, name="fine"), layers.Conv2D(2, 3, name="odd"))
    kernel, bias = model.get_layer("odd").get_weights()
    kernel[0, 1, 0, 1] = value
    model.get_layer("odd").set_weights([kernel, bias])
    with pytest.raises(WelError, match=r"^Invalid weights: layer 'odd' holds NaN or infinite values\. Expected finite numbers\.$"):
        build_graph(model).flat_weights()
