"""wel.cascading_randomization: which layers are fresh at a stage, that the network comes back, and explainers whose answer is known."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from functools import partial
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from conftest import of_methods
from conftest import randomized as seeded
from interruption import Interrupting

import wel
from wel.errors import UnsupportedError, WelError
from wel.measures.cosine import chance_level
from wel.measures.likeness import MEASURES
from wel.measures.similarity import similarity, ssim
from wel.networks.initialization import initialize
from wel.studies.cascading import ORDERS, Fresh, activation_correlations, cascade, choose_stages, randomized
from wel.studies.maps import attribution

ROOT = Path(__file__).parents[2]
COLUMNS = (
    "model method semantics backend stage stage_index layer_index measure images values nan_fraction median mean ci_low ci_high baseline "
    "order maps samples noise_scale activation_correlation"
).split()
IMAGE_COLUMNS = "method semantics stage image true_class class_from ssim".split()
FIXTURES = ["sequential", "functional", "nested", "shared_layer", "residual"]


@pytest.fixture(scope="module")
def net(functional):
    return wel.load(functional)


def weights_of(net) -> dict[str, list[np.ndarray]]:
    return {node.name: [array.copy() for array in node.layer.get_weights()] for node in net.graph.nodes if node.layer.weights}


def assert_same(one: dict, other: dict) -> None:
    assert one.keys() == other.keys()
    for name in one:
        for a, b in zip(one[name], other[name]):
            np.testing.assert_array_equal(a, b)


# --- stages


@pytest.mark.parametrize(
    ("model", "stages"),
    [
        ("functional", "dense hidden conv2 conv1"),
        ("nested", "dense block/conv#2"),  # a layer is fresh from its last call on
        ("shared_layer", "dense conv#2"),
        ("residual", "dense bn_skip bn3 skip conv3 bn2 conv2 bn1 conv1"),
    ],
)
def test_all_layers_with_weights_from_the_last_one_down(request, model, stages):
    net = wel.load(request.getfixturevalue(model))
    assert choose_stages(net, None) == choose_stages(net, "all")
    assert set(choose_stages(net, "all")) == set(stages.split())
    places = [net.graph.index(stage) for stage in choose_stages(net, "all")]
    assert places == sorted(places, reverse=True)


def test_a_network_of_the_zoo_has_the_papers_stages():
    net = wel.load("vgg16", weights="random", input_shape=(32, 32, 3), classes=3)
    paper = "fc3 fc1 conv5_3 conv5_1 conv4_3 conv4_1 conv3_1 conv2_1 conv1_1".split()
    assert [net.shown(stage) for stage in choose_stages(net, None)] == paper
    assert len(choose_stages(net, "all")) == 16
    assert [net.shown(stage) for stage in choose_stages(net, ["conv1_1", "fc1", "block1_conv1"])] == ["fc1", "conv1_1"]


@pytest.mark.parametrize(
    ("layers", "sentence"),
    [
        ("nope", "^Invalid value for `layers`: 'nope'. Expected one of input, output, conv1, "),
        (["dense", "input"], r"^Invalid value for `layers`: \['dense', 'input'\]. Expected 'all', or one or more layers above the input"),
        ([], r"^Invalid value for `layers`: \[\]. Expected 'all', or one or more layers above the input, up to 'dense'.$"),
    ],
)
def test_stages_that_cannot_be(net, images, tmp_path, layers, sentence):
    with pytest.raises(WelError, match=sentence):
        wel.cascading_randomization(net, images, "gradient", layers, out=tmp_path / "run")
    assert list(tmp_path.iterdir()) == []


def test_a_stage_without_weights_from_there_on_is_refused():
    from tensorflow.keras import Sequential, layers

    net = wel.load(Sequential([layers.Input((8, 8, 3)), layers.Flatten(), layers.Dense(3, name="last"), layers.ReLU(name="relu")]))
    with pytest.raises(WelError, match=r"^Invalid value for `layers`: \['relu'\]. Expected .*up to 'last'.$"):
        choose_stages(net, "relu")
    empty = wel.load(Sequential([layers.Input((8, 8, 3)), layers.Flatten()]))
    with pytest.raises(WelError, match="^Invalid value for `net`: .*Expected a network with weights.$"):
        choose_stages(empty, "all")


# --- what is fresh


@pytest.mark.parametrize("model", FIXTURES)
def test_layers_before_a_stage_are_untouched_and_all_others_changed(request, model):
    net = wel.load(request.getfixturevalue(model))
    before, fresh = weights_of(net), Fresh(net, 1)
    for stage in net.layers[1:]:
        last_call = {id(node.layer): net.graph.index(node.name) for node in net.graph.nodes}
        with randomized(net, stage, fresh):
            now = weights_of(net)
        for name in before:
            is_fresh = last_call[id(net.graph[name].layer)] >= net.graph.index(stage)
            # the fixtures' weights hold no zeros and no ones, which is all that an initialiser of a bias gives
            assert all((a != b).any() == is_fresh for a, b in zip(now[name], before[name])), (stage, name)
            assert all((a == b).all() != is_fresh for a, b in zip(now[name], before[name])), (stage, name)
        assert_same(weights_of(net), before)


def test_a_block_starts_at_its_relu(residual):
    # relu2 stands behind conv2 and bn2 of the main branch: they are trained yet, conv3 and what follows is fresh
    net = wel.load(residual)
    before = weights_of(net)
    with randomized(net, "relu2", Fresh(net, 0)):
        changed = {name for name, arrays in weights_of(net).items() if (arrays[0] != before[name][0]).any()}
    assert {"conv3", "bn3", "dense"} <= changed and changed.isdisjoint({"conv1", "bn1", "conv2", "bn2"})


def test_only_what_an_initialiser_gives_anyway_stays_as_it_was():
    from tensorflow.keras import Sequential, layers

    stack = [layers.Input((8, 8, 3)), layers.Conv2D(4, 3), layers.BatchNormalization(), layers.Flatten(), layers.Dense(3)]
    model = Sequential(stack)
    initialize(model, 0)  # an untrained network: zeros in all biases, BatchNormalization as it begins
    net = wel.load(model)
    before = weights_of(net)
    with randomized(net, net.layers[1], Fresh(net, 0)):
        same = {name: [bool((a == b).all()) for a, b in zip(now, before[name])] for name, now in weights_of(net).items()}
    assert sorted(same.values()) == sorted([[False, True], [True] * 4, [False, True]])


def test_fresh_weights_are_the_initialisers_and_no_shuffle(residual):
    net = wel.load(residual)
    before, fresh = weights_of(net), Fresh(net, 2)
    for name in ("bn1", "bn2", "bn3", "bn_skip"):
        for array, value in zip(fresh[name], (1, 0, 0, 1)):  # gamma, beta, moving mean, moving variance
            np.testing.assert_array_equal(array, np.full_like(array, value))
    for name in ("conv1", "conv2", "conv3", "skip", "dense"):
        kernel = fresh[name][0]
        receptive = np.prod(kernel.shape[:-2])
        limit = np.sqrt(6 / (receptive * (kernel.shape[-2] + kernel.shape[-1])))  # Glorot's uniform distribution
        assert np.abs(kernel).max() <= limit and np.abs(kernel).max() > 0.8 * limit
        assert not np.isin(kernel, before[name][0]).any()


def test_stages_keep_the_same_fresh_weights(net):
    fresh, seen = Fresh(net, 3), []
    for stage in choose_stages(net, "all"):
        with randomized(net, stage, fresh):
            seen.append(weights_of(net))
    for earlier, later in zip(seen, seen[1:]):
        changed = [name for name in earlier if (earlier[name][0] != later[name][0]).any()]
        assert len(changed) == 1  # one more layer


@pytest.mark.parametrize("model", FIXTURES)
def test_the_whole_cascade_is_a_fresh_network(request, images, model):
    from tensorflow import keras

    trained = request.getfixturevalue(model)
    other = seeded(keras.models.clone_model(trained), seed=99)
    nets = [wel.load(trained), wel.load(other)]
    found = []
    for net in nets:
        last = choose_stages(net, "all")[-1]
        with randomized(net, last, Fresh(net, 5)):
            found.append((net.weights_hash(), net.model.predict(images, verbose=0), attribution(net, "gradient", images, 1)))
    assert nets[0].weights_hash() != nets[1].weights_hash()
    assert found[0][0] == found[1][0]  # nothing of the trained network is left
    np.testing.assert_array_equal(found[0][1], found[1][1])
    np.testing.assert_array_equal(found[0][2], found[1][2])


def test_fresh_weights_depend_on_seed_and_name_only(net):
    from tensorflow.keras import Sequential, layers

    rng_before = np.random.get_state()[1].tolist()
    fresh = Fresh(net, 4)
    assert np.random.get_state()[1].tolist() == rng_before
    # the layer `hidden`, 54 to 7, in another network, at another place
    other = wel.load(Sequential([layers.Input((54,)), layers.Dense(7, name="hidden"), layers.Dense(7, name="else")]))
    np.testing.assert_array_equal(Fresh(other, 4)["hidden"][0], fresh["hidden"][0])
    assert (Fresh(other, 5)["hidden"][0] != fresh["hidden"][0]).all()
    square = wel.load(Sequential([layers.Input((7,)), layers.Dense(7, name="one"), layers.Dense(7, name="two")]))
    drawn = Fresh(square, 4)
    assert (drawn["one"][0] != drawn["two"][0]).all()


def own_layer():
    """A layer of somebody's own, whose weight has no initialiser that it tells of."""
    from tensorflow.keras import layers

    class Scaled(layers.Layer):
        def build(self, shape):
            self.factor = self.add_weight("factor", shape[-1:], initializer="ones")

        def call(self, x):
            return x * self.factor

    return Scaled(name="own")


def test_a_layer_without_initialisers_is_refused_before_anything_is_written(images, tmp_path):
    from tensorflow.keras import Sequential, layers

    net = wel.load(Sequential([layers.Input((8, 8, 3)), own_layer(), layers.Flatten(), layers.Dense(3)]))
    with pytest.raises(UnsupportedError, match=r"^Layer 'own' \(Scaled\) has weights without an initialiser of its own"):
        wel.cascading_randomization(net, images, "gradient", out=tmp_path / "run")
    assert list(tmp_path.iterdir()) == []
    # below the stage it is in nobody's way
    assert len(of_methods(wel.cascading_randomization(net, images, "gradient", layers=net.layers[-1]).table)) == 1


def test_statistics_of_data_stay_as_they_are(images):
    from tensorflow.keras import Sequential, layers

    normal = layers.Normalization(name="normal")
    normal.adapt(images)
    net = wel.load(Sequential([layers.Input((8, 8, 3)), normal, layers.Conv2D(4, 3, name="conv"), layers.Flatten(), layers.Dense(3)]))
    before, kernel = normal.get_weights(), net.model.get_layer("conv").get_weights()[0]
    assert [net.shown(stage) for stage in choose_stages(net, "all")] == [net.layers[-1], "conv"]
    with randomized(net, "normal", Fresh(net, 0)):
        for one, other in zip(normal.get_weights(), before):
            np.testing.assert_array_equal(one, other)
        assert (net.model.get_layer("conv").get_weights()[0] != kernel).all()
    table = of_methods(wel.cascading_randomization(net, images, "gradient").table)
    assert table["stage"].tolist() == [net.layers[-1], "conv"] and table["values"].tolist() == [3, 3]


# --- orders


STAGES_OF = {
    # from the first layer up; a layer that is called more than once counts where it is called first
    "bottom-up": {"functional": "conv1 conv2 hidden dense", "nested": "block/conv dense", "shared_layer": "conv dense"},
    "independent": {"functional": "dense hidden conv2 conv1", "nested": "dense block/conv#2", "shared_layer": "dense conv#2"},
}


@pytest.mark.parametrize("order", STAGES_OF)
@pytest.mark.parametrize("model", ["functional", "nested", "shared_layer"])
def test_stages_of_other_orders(request, model, order):
    assert choose_stages(wel.load(request.getfixturevalue(model)), None, order) == STAGES_OF[order][model].split()


def test_what_is_fresh_in_other_orders(residual):
    net = wel.load(residual)
    before, fresh = weights_of(net), Fresh(net, 1)
    for stage in net.layers[1:]:
        place = net.graph.index(stage)
        for order, wanted in (("bottom-up", range(1, place + 1)), ("independent", [place])):
            with randomized(net, stage, fresh, order):
                now = weights_of(net)
            for name in before:
                assert all((a != b).any() for a, b in zip(now[name], before[name])) == (net.graph.index(name) in wanted), (order, stage)
                assert all((a == b).all() for a, b in zip(now[name], before[name])) != (net.graph.index(name) in wanted), (order, stage)
            assert_same(weights_of(net), before)


def test_a_layer_called_twice_is_fresh_as_a_whole_in_every_order(shared_layer):
    net = wel.load(shared_layer)
    before, fresh = weights_of(net), Fresh(net, 1)
    for stage, order in (("conv", "bottom-up"), ("conv", "independent"), ("conv#2", "independent")):
        with randomized(net, stage, fresh, order):
            changed = {name for name, arrays in weights_of(net).items() if (arrays[0] != before[name][0]).any()}
        assert changed == {"conv", "conv#2"}, (stage, order)


@pytest.mark.parametrize("method", ["gradient", "lrp_alpha1_beta0", "grad_cam"])
def test_orders_meet_where_the_same_is_fresh(net, images, method):
    settings = {"methods": method, "classes": [0, 1, 3], "seed": 4}
    down, up, alone = (wel.cascading_randomization(net, images, order=order, **settings).images for order in ORDERS)

    def of(found: pd.DataFrame, stage: str) -> np.ndarray:
        return found.loc[(found["method"] == method) & (found["stage"] == stage), "ssim"].to_numpy()

    # all is random; the last layer alone is; the first layer alone is
    for one, other in (
        (of(down, "conv1"), of(up, "dense")),
        (of(down, "dense"), of(alone, "dense")),
        (of(up, "conv1"), of(alone, "conv1")),
    ):
        assert np.isfinite(one).any()
        np.testing.assert_allclose(one, other, rtol=0, atol=1e-4)
    assert (of(up, "conv2") != of(alone, "conv2")).all() and (of(down, "conv2") != of(alone, "conv2")).all()


@pytest.mark.parametrize("order", ["bottom-up", "independent"])
def test_a_naive_replica_of_other_orders(functional, images, order):
    from tensorflow import keras

    net = wel.load(functional)
    result = wel.cascading_randomization(net, images, "gradient", classes=[0, 1, 3], seed=6, order=order)
    assert set(result.table["order"]) == {order}
    fresh, copy = Fresh(net, 6), keras.models.clone_model(functional)
    copy.set_weights(functional.get_weights())
    for stage in STAGES_OF[order]["functional"].split():
        if order == "independent":
            copy.set_weights(functional.get_weights())
        copy.get_layer(stage).set_weights(fresh[stage])
        one, other = (np.abs(attribution(wel.load(model), "gradient", images, [0, 1, 3])).max(-1) for model in (functional, copy))
        rows = result.images[(result.images["method"] == "gradient") & (result.images["stage"] == stage)]
        np.testing.assert_array_equal(rows["ssim"], [ssim(b, a, "paper", 99.5) for a, b in zip(one, other)])


def test_of_the_zoo_single_layers_are_its_stages_where_all_of_them_have_weights():
    plain = wel.load("vgg16", weights="random", input_shape=(32, 32, 3), classes=3)
    assert choose_stages(plain, None, "independent") == choose_stages(plain, None)
    assert choose_stages(plain, None, "bottom-up") == choose_stages(plain, None)[::-1]
    residual = wel.load("resnet50", weights="random", input_shape=(32, 32, 3), classes=3)
    assert choose_stages(residual, None, "independent") == choose_stages(residual, "all")  # the paper's end in ReLUs
    assert choose_stages(residual, None, "bottom-up") == choose_stages(residual, None)[::-1]


@pytest.mark.parametrize(
    ("order", "layers", "sentence"),
    [
        ("sideways", None, "^Invalid value for `order`: 'sideways'. Expected one of top-down, bottom-up, independent.$"),
        ("independent", ["dense", "pool"], r"^Invalid value for `layers`: \['dense', 'pool'\]. Expected 'all', or .* input with weights.$"),
        ("bottom-up", ["input"], r"^Invalid value for `layers`: \['input'\]. Expected 'all', or one or more .*, from 'conv1' on.$"),
    ],
)
def test_orders_that_cannot_be(net, images, tmp_path, order, layers, sentence):
    with pytest.raises(WelError, match=sentence):
        wel.cascading_randomization(net, images, "gradient", layers, order=order, out=tmp_path / "run")
    assert list(tmp_path.iterdir()) == []


def test_bottom_up_a_layer_that_cannot_be_made_random_is_in_the_way_from_there_on(images):
    from tensorflow.keras import Sequential, layers

    net = wel.load(Sequential([layers.Input((8, 8, 3)), layers.Conv2D(3, 3, name="conv"), own_layer(), layers.Flatten(), layers.Dense(3)]))
    assert len(of_methods(wel.cascading_randomization(net, images, "gradient", "conv", order="bottom-up").table)) == 1
    assert len(of_methods(wel.cascading_randomization(net, images, "gradient", ["conv", net.layers[-1]], order="independent").table)) == 2
    for order in ("bottom-up", "top-down", "independent"):
        with pytest.raises(UnsupportedError, match=r"^Layer 'own' \(Scaled\) has weights without an initialiser of its own"):
            wel.cascading_randomization(net, images, "gradient", order=order)


# --- activations


@pytest.mark.parametrize("order", ORDERS)
@pytest.mark.parametrize("model", ["functional", "residual", "shared_layer"])
def test_activations_are_correlated_by_a_plain_loop(request, images, model, order):
    from tensorflow import keras

    keras_model = request.getfixturevalue(model)
    net = wel.load(keras_model)
    fresh = Fresh(net, 6)
    table = wel.cascading_randomization(net, images, "gradient", seed=6, order=order).table
    for stage in choose_stages(net, None, order):
        name, _, call = stage.partition("#")
        values = keras.Model(keras_model.input, keras_model.get_layer(name).get_output_at(int(call or 1) - 1))
        untouched = values.predict(images, verbose=0)
        with randomized(net, stage, fresh, order):
            now = values.predict(images, verbose=0)
        expected = np.mean([np.corrcoef(a.ravel(), b.ravel())[0, 1] for a, b in zip(now, untouched)])
        found = table.loc[table["stage"] == stage, "activation_correlation"]
        assert len(set(found)) == 1 and found.iloc[0] == pytest.approx(expected, abs=1e-6)


def test_activations_of_batches_are_those_of_all(net, images, monkeypatch):
    whole = activation_correlations(net, images, ["dense", "conv2"], Fresh(net, 0))
    monkeypatch.setattr("wel.backends.native.memory.images_within", lambda *settings: 2)
    found = activation_correlations(net, images, ["conv2", "dense"], Fresh(net, 0))
    for stage in ("conv2", "dense"):
        np.testing.assert_allclose(found[stage], whole[stage], rtol=0, atol=1e-6)


def test_activations_that_are_all_the_same_have_no_correlation(images):
    from tensorflow.keras import Sequential, initializers, layers

    hidden = layers.Dense(5, activation="relu", bias_initializer=initializers.Constant(-100.0), name="hidden")
    net = wel.load(seeded(Sequential([layers.Input((8, 8, 3)), layers.Flatten(), hidden, layers.Dense(3)])))
    assert np.isnan(activation_correlations(net, images, ["hidden"], Fresh(net, 0))["hidden"]).all()
    assert wel.cascading_randomization(net, images, "gradient", "hidden").table["activation_correlation"].isna().all()


# --- measures


def test_measures_are_told_apart(net, images):
    given = {"methods": "lrp_z", "layers": ["dense", "conv1"], "classes": [0, 1, 3]}
    several = wel.cascading_randomization(net, images, measures=MEASURES, absolute=True, bins=20, **given)
    rows = of_methods(several.table)
    assert rows["measure"].tolist() == [*MEASURES] * 2 and set(rows["maps"]) == {"absolute"} and rows["baseline"].isna().all()
    assert list(several.images.columns) == [*IMAGE_COLUMNS, *list(MEASURES)[1:]]
    for measure in MEASURES:
        values = several.images.query("method == 'lrp_z' and stage == 'conv1'")[measure]
        row = rows.query("measure == @measure and stage == 'conv1'").iloc[0]
        assert row["median"] == pytest.approx(np.median(values)) and row["values"] == 3
    alone = wel.cascading_randomization(net, images, measures="cosine", **given)
    assert alone.table["baseline"].iloc[0] == chance_level(192) and list(alone.images.columns)[-1] == "cosine"


def test_edges_fail_and_random_passes_by_every_measure(net, images):
    found = wel.cascading_randomization(net, images, "gradient", measures=list(MEASURES), order="independent").table
    medians = {name: group.set_index(["stage", "measure"])["median"].unstack() for name, group in found.groupby("method")}
    same = {"ssim": 1, "cosine": 1, "rank_correlation": 1, "hog": 1, "complexity_rise": 0}
    for measure, value in same.items():
        np.testing.assert_allclose(medians["edges"][measure], value, rtol=0, atol=1e-9)
    # 192 values: chance is 0.05 for |cos|; the entropy of noise stays what it is
    assert (medians["random"][["cosine", "rank_correlation"]] < 0.2).all(axis=None) and medians["random"][
        "complexity_rise"
    ].abs().max() < 0.1


# --- the network comes back


@pytest.mark.parametrize("error", [ValueError, KeyboardInterrupt, SystemExit])
@pytest.mark.parametrize("model", FIXTURES)
def test_the_network_comes_back_after_an_exception(request, model, error):
    net = wel.load(request.getfixturevalue(model))
    before = weights_of(net)
    with pytest.raises(error):
        with randomized(net, net.layers[1], Fresh(net, 0)):
            raise error
    assert_same(weights_of(net), before)


def test_the_network_comes_back_when_its_weights_cannot_be_set(net):
    before = weights_of(net)
    with pytest.raises(ValueError):
        with randomized(net, "conv1", {**Fresh(net, 0), "hidden": [np.ones(3)]}):
            pass
    assert_same(weights_of(net), before)


def test_ctrl_c_while_the_network_is_put_back(net, monkeypatch):
    before, interrupted = weights_of(net), []
    dense, plain = net.graph["dense"].layer, net.graph["dense"].layer.set_weights

    def interrupting(arrays):
        if (arrays[0] == before["dense"][0]).all():
            interrupted.append(True)
            os.kill(os.getpid(), signal.SIGINT)
        plain(arrays)

    monkeypatch.setattr(dense, "set_weights", interrupting)
    with pytest.raises(KeyboardInterrupt):
        with randomized(net, "conv1", Fresh(net, 0)):
            pass
    assert interrupted
    assert_same(weights_of(net), before)


# --- explainers whose answer is known


def edges(net, images, classes):
    """Differences of neighbouring pixels: looks like a map, knows nothing of the network."""
    return np.abs(np.diff(images, axis=1, append=0)) + np.abs(np.diff(images, axis=2, append=0))


def gradient(net, images, classes):
    import tensorflow as tf

    with tf.GradientTape() as tape:
        inputs = tf.constant(images)
        tape.watch(inputs)
        chosen = tf.gather(net.model(inputs, training=False), classes, axis=1, batch_dims=1)
    return tape.gradient(chosen, inputs).numpy()


@pytest.mark.parametrize("semantics", ["paper", "corrected"])
def test_an_edge_detector_is_insensitive_and_the_gradient_sensitive(net, images, semantics):
    compare = partial(similarity, reduction="max_abs", percentile=99.5, semantics=semantics)
    fresh, stages = Fresh(net, 0), choose_stages(net, "all")
    control = dict(cascade(net, edges, compare, images, np.zeros(3, int), stages, fresh))
    assert list(control) == stages
    for values in control.values():
        np.testing.assert_allclose(values, 1, rtol=0, atol=1e-12)
    found = dict(cascade(net, gradient, compare, images, np.zeros(3, int), stages, fresh))
    assert all(np.median(values) < 0.8 for values in found.values())


def test_an_explainer_sees_each_stage_once_and_the_untouched_network_once(net, images):
    seen, before = [], weights_of(net)

    def explain(net, images, classes):
        seen.append(weights_of(net))
        return np.zeros((3, 8, 8, 3))

    fresh, stages = Fresh(net, 0), choose_stages(net, "all")
    for count, _ in enumerate(cascade(net, explain, lambda one, other: {}, images, np.zeros(3, int), stages, fresh), start=2):
        assert len(seen) == count
        assert_same(weights_of(net), before)  # whenever a stage is handed out
    assert len(seen) == 1 + len(stages)
    assert_same(seen[0], before)
    for stage, weights in zip(stages, seen[1:]):
        with randomized(net, stage, fresh):
            assert_same(weights, weights_of(net))


def test_without_stages_nothing_is_explained(net, images):
    assert list(cascade(net, None, None, images, np.zeros(3, int), [], {})) == []


# --- the study


@pytest.mark.parametrize(("semantics", "backend"), [("paper", "native"), ("corrected", "native"), ("paper", "wrapped")])
def test_a_naive_replica_gives_the_same(functional, images, semantics, backend):
    from tensorflow import keras

    net = wel.load(functional)
    methods, classes = ["gradient", "lrp_alpha1_beta0", "deep_taylor"], [0, 1, 3]
    before = net.weights_hash()
    settings = {"semantics": semantics, "backend": backend}
    result = wel.cascading_randomization(net, images, methods, classes=classes, seed=6, **settings)
    assert net.weights_hash() == before
    assert list(result.table.columns) == COLUMNS and list(result.images.columns) == IMAGE_COLUMNS
    fresh = Fresh(net, 6)
    copy = keras.models.clone_model(functional)
    copy.set_weights(functional.get_weights())
    order = ["dense", "hidden", "conv2", "conv1"]
    assert result.table["stage"].tolist() == order * 5 and result.table["stage_index"].tolist() == [1, 2, 3, 4] * 5
    for stage in order:
        copy.get_layer(stage).set_weights(fresh[stage])  # one more layer each time, none put back
        for name in methods:
            one, other = (attribution(wel.load(model), name, images, classes, **settings) for model in (functional, copy))
            reduced = [np.abs(m).max(-1) if name == "gradient" else m.sum(-1) for m in (one, other)]
            expected = [ssim(b, a, semantics, 99.5) for a, b in zip(*reduced)]  # the untouched network's map is the one that flips
            rows = result.images[(result.images["method"] == name) & (result.images["stage"] == stage)]
            np.testing.assert_array_equal(rows["ssim"], expected)
            row = result.table[(result.table["method"] == name) & (result.table["stage"] == stage)].iloc[0]
            assert row["values"] == np.isfinite(expected).sum()
            np.testing.assert_array_equal(row["median"], np.median([value for value in expected if value == value] or [np.nan]))
    assert of_methods(result.table)["values"].sum() > 18


def test_the_class_is_the_untouched_networks(net, functional, images):
    predicted = functional.predict(images, verbose=0).argmax(axis=1)
    free = wel.cascading_randomization(net, images, "gradient", "conv1")
    given = wel.cascading_randomization(net, images, "gradient", "conv1", classes=predicted.tolist())
    np.testing.assert_array_equal(free.images["true_class"], [*predicted] * 3)
    np.testing.assert_array_equal(of_methods(free.images)["ssim"], of_methods(given.images)["ssim"])
    assert set(free.images["class_from"]) == {"prediction"} and set(given.images["class_from"]) == {"label"}


@pytest.mark.parametrize("model", FIXTURES)
def test_every_kind_of_network(request, images, model):
    net = wel.load(request.getfixturevalue(model))
    before = net.weights_hash()
    result = wel.cascading_randomization(net, images, ["gradient", "lrp_alpha1_beta0", "deeplift_rescale"])
    assert net.weights_hash() == before
    found = of_methods(result.table)
    assert found["values"].sum() > 0 and (found["median"].dropna() < 1).all()
    assert result.table["stage"].unique().tolist() == [net.shown(stage) for stage in choose_stages(net, "all")]


def test_a_stage_does_not_depend_on_the_others(net, images):
    whole = wel.cascading_randomization(net, images, ["gradient"]).images
    alone = wel.cascading_randomization(net, images, ["gradient"], "conv2").images
    pd.testing.assert_frame_equal(whole[whole["stage"] == "conv2"].reset_index(drop=True), alone)


def test_maps_that_vanish_are_counted_and_not_measured(images):
    from tensorflow.keras import Sequential, initializers, layers

    dead = initializers.Constant(-100.0)  # fresh, the layer lets nothing through
    hidden = layers.Dense(5, activation="relu", bias_initializer=dead, name="hidden")
    stack = [layers.Input((8, 8, 3)), layers.Conv2D(3, 3, name="conv"), layers.Flatten(), hidden, layers.Dense(3)]
    table = wel.cascading_randomization(wel.load(seeded(Sequential(stack))), images, "gradient", layers=["hidden", "conv"]).table
    table = of_methods(table)
    assert (table["nan_fraction"] == 1).all() and table["median"].isna().all()


# --- runs


ARGUMENTS = {"methods": ["gradient", "lrp_z"], "layers": ["dense", "conv2", "conv1"], "seed": 1, "semantics": "both"}
FILES = ("cascading.csv", "cascading_images.csv")


def test_an_interrupted_run_goes_on_and_ends_in_the_same_files(net, images, tmp_path):
    whole, before = Interrupting(), net.weights_hash()
    wel.cascading_randomization(net, images, **ARGUMENTS, out=tmp_path / "whole", steps=whole)
    assert (whole.total, whole.done) == (24, 24)  # 2 methods and 2 controls × 2 semantics × 3 images
    for after in (1, 5, 6, 24):
        with pytest.raises(KeyboardInterrupt):
            wel.cascading_randomization(net, images, **ARGUMENTS, out=tmp_path / "parts", steps=Interrupting(after))
        assert net.weights_hash() == before
        assert not any((tmp_path / "parts" / file).exists() for file in FILES)
    steps = Interrupting()
    wel.cascading_randomization(net, images, **ARGUMENTS, out=tmp_path / "parts", steps=steps)
    assert steps.done == 24
    for file in FILES:
        assert (tmp_path / "parts" / file).read_bytes() == (tmp_path / "whole" / file).read_bytes()
    assert sorted(path.name for path in (tmp_path / "parts").iterdir()) == sorted([*FILES, "run.json"])


KILLED = """
import json, os, signal, sys
import numpy as np
import wel
from wel.system.progress import Steps

model, images, out, arguments = sys.argv[1:]

class Killed(Steps):
    done = 0
    def advance(self, count, *words):
        self.done += count
        if self.done >= 4:
            os.kill(os.getpid(), signal.SIGKILL)

wel.cascading_randomization(wel.load(model), np.load(images), **json.loads(arguments), out=out, steps=Killed())
"""


@pytest.mark.slow
def test_a_run_that_was_killed_goes_on_and_ends_in_the_same_files(functional, images, tmp_path):
    functional.save(tmp_path / "tiny.h5")
    np.save(tmp_path / "images.npy", images)
    net = wel.load(tmp_path / "tiny.h5")
    command = [sys.executable, "-c", KILLED, tmp_path / "tiny.h5", tmp_path / "images.npy", tmp_path / "killed", json.dumps(ARGUMENTS)]
    environment = {**os.environ, "PYTHONPATH": str(ROOT)}
    done = subprocess.run(list(map(str, command)), env=environment, capture_output=True, text=True, timeout=300)
    assert done.returncode == -signal.SIGKILL, done.stderr
    assert len(list((tmp_path / "killed" / "parts").glob("*.npz"))) == 2  # of three images each
    steps = Interrupting()
    wel.cascading_randomization(net, images, **ARGUMENTS, out=tmp_path / "killed", steps=steps)
    wel.cascading_randomization(net, images, **ARGUMENTS, out=tmp_path / "whole")
    assert steps.done == 24
    for file in FILES:
        assert (tmp_path / "killed" / file).read_bytes() == (tmp_path / "whole" / file).read_bytes()


def test_a_finished_run_is_read_again(net, images, tmp_path):
    first = wel.cascading_randomization(net, images, **ARGUMENTS, out=tmp_path / "run")
    again = wel.cascading_randomization(net, images, **ARGUMENTS, out=tmp_path / "run", steps=Interrupting(after=0))  # nothing is computed
    pd.testing.assert_frame_equal(again.table, first.table, check_exact=True)
    pd.testing.assert_frame_equal(again.images, first.images, check_exact=True)


CHANGES = [
    {"seed": 2},
    {"layers": "all"},
    {"layers": ["dense"]},
    {"classes": [0, 0, 0]},
    {"order": "independent"},
    {"measures": "hog"},
    {"absolute": True},
    {"samples": 2},
]


@pytest.mark.parametrize("change", CHANGES)
def test_a_run_with_other_settings_is_kept(net, images, tmp_path, change):
    wel.cascading_randomization(net, images, **ARGUMENTS, out=tmp_path / "run")
    kept = (tmp_path / "run" / FILES[0]).read_bytes()
    with pytest.raises(WelError, match="^Invalid value for `out`: .*a run with other settings"):
        wel.cascading_randomization(net, images, **{**ARGUMENTS, **change}, out=tmp_path / "run")
    assert (tmp_path / "run" / FILES[0]).read_bytes() == kept
