"""Live models of Keras 3: their layer graph, their copies, and what all studies make of them."""

from __future__ import annotations

from functools import cache

import numpy as np
import pytest

keras = pytest.importorskip("keras", minversion="3")

import tensorflow as tf  # noqa: E402
from keras3_models import BUILDERS, SHAPE, built  # noqa: E402

import wel  # noqa: E402
from wel.backends.native.backend import NativeBackend  # noqa: E402
from wel.backends.native.scores import fast_logits_of  # noqa: E402
from wel.backends.request import Precision, Request, relevance_at  # noqa: E402
from wel.errors import UnsupportedError, WelError  # noqa: E402
from wel.keras.three import keras3  # noqa: E402
from wel.keras.two import keras2  # noqa: E402
from wel.methods.registry import CSC_METHODS, METHODS  # noqa: E402
from wel.networks import architectures  # noqa: E402


@cache
def network(name: str):
    return wel.load(built(name))


def inputs(net, count: int = 2) -> np.ndarray:
    return np.random.default_rng(3).random((count, *net.input_shape), dtype="float32")


def vectors(net, count: int = 2) -> np.ndarray:
    return np.random.default_rng(4).standard_normal((count, 2, *net.output_shape)).astype("float32")


def relative(found, expected) -> float:
    return np.abs(found - expected).max() / np.abs(expected).max()


def gradient(net, x, v, dtype: str = "float32") -> np.ndarray:
    opened = NativeBackend().open(net, Precision(dtype))
    return relevance_at(opened, Request(METHODS["gradient"], "paper"), x, net.graph.output, v, [net.graph.input])[net.graph.input]


def tape_gradient(net, x, v) -> np.ndarray:
    x = tf.constant(x)
    with tf.GradientTape(persistent=True) as tape:
        tape.watch(x)
        sums = [tf.reduce_sum(net.model(x, training=False) * v[:, k]) for k in range(v.shape[1])]
    return np.stack([tape.gradient(one, x).numpy() for one in sums], axis=1)


@pytest.mark.parametrize("name", BUILDERS)
def test_gradient_is_tensorflows(name):
    net = network(name)
    x, v = inputs(net), vectors(net)
    assert relative(NativeBackend().open(net).output(x), net.model(x, training=False).numpy()) < 1e-5
    assert relative(gradient(net, x, v), tape_gradient(net, x, v)) < 1e-5


@pytest.mark.parametrize("name", [name for name in BUILDERS if name != "own_layer"])
def test_float64(name):
    net = network(name)
    x, v = inputs(net), vectors(net)
    found = gradient(net, x, v, "float64")
    assert found.dtype == "float64" and relative(gradient(net, x, v), found) < 1e-5


def test_of_a_layer_that_its_configuration_does_not_rebuild_there_is_no_float64():
    class Times(keras.layers.Layer):
        def __init__(self, factor, **settings):
            super().__init__(**settings)
            self.factor = factor

        def get_config(self):
            return {"name": self.name}

        def call(self, x):
            return self.factor * x

    image = keras.Input(SHAPE)
    net = wel.load(keras.Model(image, Times(3.0, name="thrice")(image)))
    with pytest.raises(WelError, match=r"^Layer 'thrice' \(Times\) cannot be rebuilt to compute in float64\. Expected layers that"):
        NativeBackend().open(net, Precision("float64"))


@pytest.mark.parametrize("name", BUILDERS)
def test_every_method_applies_or_says_at_which_layer_it_does_not(name):
    net = network(name)
    x, v = inputs(net, 1), vectors(net, 1)
    for method in CSC_METHODS:
        try:
            NativeBackend().check(METHODS[method], "paper", net.graph)
        except UnsupportedError as error:
            assert any(f"'{node.name}'" in str(error) for node in net.graph.nodes), error
            continue
        if "patterns" not in METHODS[method].options:
            found = wel.relevance(net, method, x, start="output", vectors=v)
            assert all(np.isfinite(array).all() for array in found.values())


KINDS = {
    "operations": ["Rescaling", "Rescaling", "Conv2D", "ReLU", "Rescaling", "Concatenate", "Selection", "ReLU", "Add", "ZeroPadding2D"]
    + ["Permute", "GlobalAveragePooling2D", "Dense", "Activation"],
    "nested": ["Conv2D", "Conv2D", "Conv2D", "ReLU", "Flatten", "Dense", "Activation"],
    "gated": ["Conv2D", "GlobalAveragePooling2D", "Dense", "Activation", "Multiply", "Flatten", "Dense"],
    "unknown_operation": ["Conv2D", "ops.Einsum", "Dense"],
}


@pytest.mark.parametrize("name", KINDS)
def test_kinds(name):
    assert [node.kind for node in network(name).graph.nodes[1:]] == KINDS[name]


def test_names_of_nested_and_shared_layers():
    assert network("nested").layers[1:5] == ["squeeze/conv1x1", "squeeze/conv1x1#2", "block/conv", "block/relu"]
    assert network("shared").layers[1:5] == ["conv", "relu", "conv#2", "relu#2"]


@pytest.mark.parametrize(
    ("name", "activation"),
    [("functional", "softmax"), ("sequential", "softmax"), ("nested", "sigmoid"), ("operations", "softmax"), ("shared", None)],
)
def test_the_last_activation_comes_off(name, activation):
    model = built(name)
    x = np.random.default_rng(3).random((2, *SHAPE), dtype="float32")
    before = model(x, training=False).numpy()
    net = wel.load(model)
    assert net.final_activation == activation
    logits = net.logits(x)
    np.testing.assert_allclose(before, logits if activation is None else net.probabilities(logits), atol=1e-6)
    np.testing.assert_array_equal(model(x, training=False).numpy(), before)
    model.set_weights([0 * array for array in model.get_weights()])
    assert np.array_equal(net.logits(x), logits) == (activation is not None)  # which is a copy then


def test_last_layer_that_is_called_elsewhere():
    image, dense = keras.Input((4,)), keras.layers.Dense(4, activation="softmax", name="twice")
    with pytest.raises(WelError, match="^Invalid value for `model`: its last layer 'twice' is called elsewhere in the model too"):
        wel.load(keras.Model(image, dense(dense(image))))


def test_quantized_layers_are_refused():
    model = keras.Sequential([keras.Input((4,)), keras.layers.Dense(2, name="dense")], name="small")
    model.quantize("int8")
    with pytest.raises(
        WelError, match=r"^Invalid value for `model`: layer 'dense' is quantized \(int8\), and has no gradient\. Expected the"
    ):
        wel.load(model)


def test_output_of_several():
    image = keras.Input(SHAPE)
    x = keras.layers.Flatten()(image)
    ends = {"classes": keras.layers.Dense(3, name="dense3")(x), "boxes": keras.layers.Dense(2, activation="softmax", name="dense2")(x)}
    model = keras.Model(image, ends)
    with pytest.raises(WelError, match="^Invalid value for `output`: None. Expected one of boxes, classes, the outputs of"):
        wel.load(model)
    assert [wel.load(model, output=name).output_shape for name in ("boxes", "classes", "dense3")] == [(2,), (3,), (3,)]
    assert wel.load(model, output="boxes").final_activation == "softmax"


def test_input_of_several_with_the_others_fixed():
    left, right = keras.Input((3,), name="left"), keras.Input((2,), name="right")
    model = keras.Model([left, right], keras.layers.Dense(2)(keras.layers.Concatenate()([left, right])))
    net = wel.load(model, input="left", fixed={"right": [3.0, 4.0]})
    x = np.float32([[1, 2, 5], [0, 1, 1]])
    np.testing.assert_array_equal(net.logits(x), model([x, np.float32([[3, 4]] * 2)]).numpy())
    assert net.graph["right"].kind == "Fixed"
    assert relative(gradient(net, x, vectors(net)), tape_gradient(net, x, vectors(net))) < 1e-6


def test_place_of_an_output_with_places():
    image = keras.Input(SHAPE)
    model = keras.Model(image, keras.layers.Conv2D(3, 1)(image))
    x = np.random.default_rng(3).random((2, *SHAPE), dtype="float32")
    np.testing.assert_allclose(wel.load(model, output_index="4,2").logits(x), model(x).numpy()[:, 4, 2], atol=1e-7)
    np.testing.assert_allclose(wel.load(model, output_index="mean").logits(x), model(x).numpy().mean((1, 2)), atol=1e-6)


@pytest.mark.parametrize("name", ["functional", "sequential", "nested", "shared", "steps", "recurrent", "attention", "seen_statistics"])
def test_cascading_leaves_the_network_as_it_was(name):
    net = network(name)
    before = net.model.get_weights()
    table = wel.cascading_randomization(net, inputs(net), methods="gradient", classes=[0, 1]).table
    assert len(table) and all(np.array_equal(one, other) for one, other in zip(before, net.model.get_weights()))


def test_fresh_weights_depend_on_the_seed_and_the_name_only():
    from wel.studies.cascading import Fresh

    one, other = (Fresh(wel.load(built("functional")), seed=5) for _ in range(2))
    drawn = [{name: fresh[name] for name in fresh} for fresh in (one, other)]
    assert set(drawn[0]) == {"conv1", "conv2", "bn", "head"}
    for name, arrays in drawn[0].items():
        assert all(np.array_equal(array, again) for array, again in zip(arrays, drawn[1][name]))
    assert np.ptp(drawn[0]["conv1"][0]) > 0 and not np.array_equal(drawn[0]["conv1"][0], built("functional").get_weights()[0])


def test_weights_without_an_initialiser_of_their_own():
    with pytest.raises(UnsupportedError, match=r"^Layer 'scaled' \(Scaled\) has weights without an initialiser of its own"):
        wel.cascading_randomization(network("own_layer"), inputs(network("own_layer")), methods="gradient", classes=[0, 1])


def test_rules_of_the_users_own():
    class Doubling(wel.Rule):
        def apply(self, site, prepared, R):
            return [2 * R]

    net = network("own_layer")
    try:
        wel.register_rule("Lambda", Doubling())
        wel.register_rule("Scaled", Doubling())
        found = wel.relevance(
            net, "lrp_alpha1_beta0", inputs(net, 1), start="conv", at=["input", "scaled"], vectors=np.ones((1, 1, 6, 6, 4), "float32")
        )
    finally:
        from wel.methods import composites

        composites._registered.clear()
        composites._built.clear()
    np.testing.assert_array_equal(found["input"], 4 * found["scaled"])


def test_a_rule_for_an_operation():
    from wel.methods import composites

    net = network("unknown_operation")

    class Halved(wel.Rule):
        def apply(self, site, prepared, R):
            return [0.5 * R[:, :, None, None] * tf.ones_like(x)[:, None] for x in site.inputs]

    try:
        wel.register_rule("ops.Einsum", Halved())
        found = wel.relevance(net, "lrp_z", inputs(net, 1), start="einsum", at=["conv"], vectors=np.ones((1, 1, 4), "float32"))
    finally:
        composites._registered.clear()
        composites._built.clear()
    np.testing.assert_array_equal(found["conv"], np.ones((1, 1, 6, 6, 4)))  # 0.5 from each of the two inputs


FLAT = ["functional", "sequential", "nested", "shared", "gated", "dictionaries", "steps", "convolutions", "room", "seen_statistics"]


@pytest.mark.parametrize("name", FLAT)
def test_the_flat_model_of_keras_2_predicts_the_same(name):
    net = network(name)
    flat = keras2().Model.from_config(net.graph.flat_config())
    weights = net.graph.flat_weights()
    for layer in flat.layers:
        if layer.weights:
            layer.set_weights([weights[f"{layer.name}/{k}"] for k in range(len(layer.weights))])
    np.testing.assert_allclose(flat(inputs(net), training=False).numpy(), net.logits(inputs(net)), atol=1e-5)


@pytest.mark.parametrize(
    ("name", "layer"),
    [("unknown_operation", "einsum"), ("own_layer", "doubled"), ("attention", "attention"), ("activations", "hard_swish")],
)
def test_what_keras_2_cannot_repeat_is_refused(name, layer):
    with pytest.raises(WelError, match=f"^Layer '{layer}'"):
        network(name).graph.flat_config()


def both(architecture: str, monkeypatch):
    """The same network, with the same weights, of Keras 2 and of Keras 3."""
    of_two = wel.load(architecture)
    monkeypatch.setattr(architectures, "keras2", keras3)
    model = of_two.architecture.build(of_two.input_shape, 10)
    assert isinstance(model, keras.Model)
    model.set_weights(of_two.model.get_weights())
    return of_two, wel.load(model)


@pytest.mark.parametrize("architecture", ["cifar10", "resnet20"])
def test_both_keras_side_by_side_give_the_same_numbers_to_the_last_bit(architecture, monkeypatch):
    nets = both(architecture, monkeypatch)
    x = wel.load_images(nets[0], limit=1).inputs
    start = nets[0].start_layers(None)[:2]
    methods = ["gradient", "guided_backprop", "deep_taylor", "lrp_z", "lrp_alpha1_beta0", "lrp_alpha2_beta1", "deeplift_rescale"]
    tables = [wel.csc(net, x, methods, start=start, vectors=3).table.drop(columns=["model"]) for net in nets]
    assert tables[0].equals(tables[1])


def test_patterns_of_both_are_the_same(monkeypatch):
    nets = both("resnet20", monkeypatch)
    x = wel.load_images(nets[0], limit=2).inputs
    for one, other in zip(*(wel.fit_patterns(net, x).arrays for net in nets)):
        np.testing.assert_array_equal(one, other)


def test_a_live_model_on_another_backend_is_refused(monkeypatch):
    monkeypatch.setattr(keras.config, "backend", lambda: "jax")
    keras3.cache_clear()
    try:
        expected = (
            "^Invalid value for `model`: 'small' runs on Keras 3's jax backend, and wel computes in TensorFlow. Expected its .keras file"
        )
        with pytest.raises(WelError, match=expected):
            wel.load(BUILDERS["shared"]())
    finally:
        keras3.cache_clear()


def test_names_that_tensorflow_takes_for_no_scopes():
    image = keras.Input((2,))
    model = keras.Model(image, keras.layers.Dense(3, name="énd of it")(image), name="my model")
    net, x = wel.load(model), np.array([[1.0, 2.0], [3.0, -1.0]], "float32")
    with pytest.raises(ValueError, match="not a valid .*scope name"):
        model.predict(x, verbose=0)  # Keras itself
    kernel, _ = model.get_weights()
    np.testing.assert_allclose(net.logits(x), x @ kernel, rtol=1e-6)
    np.testing.assert_allclose(net.values(x, "énd of it"), x @ kernel, rtol=1e-6)
    np.testing.assert_allclose(fast_logits_of({None: net.graph})(x)[0], x @ kernel, rtol=1e-6)
