"""wel.studies.tops: maps of random stages in one sweep are those of the network that is made random itself, which stays as it is."""

from __future__ import annotations

import numpy as np
import pytest
import tensorflow as tf
from conftest import of_methods
from replicas import relative

import wel
from wel.backends.native.backend import NativeBackend
from wel.backends.request import Request
from wel.methods.layers import with_layer
from wel.methods.options import settle_options
from wel.methods.registry import METHODS
from wel.studies.cascading import Fresh, choose_stages, randomized
from wel.studies.maps import class_vectors, maps_of, one_hot
from wel.studies.tops import Tops

layers = tf.keras.layers
CLASSES = np.array([1, 0, 3])


def patterns_of(net):
    return [np.random.default_rng(3).standard_normal(w.shape).astype("float32") for w in net.model.get_weights() if w.ndim > 1]


def request_for(net, method, semantics, images):
    given = {"patterns": patterns_of(net)} if "patterns" in METHODS[method].options else {}
    given = with_layer(net, METHODS[method], given)
    return Request(METHODS[method], semantics, settle_options(METHODS[method], given, images))


@pytest.mark.parametrize(
    ("model", "method", "semantics"),
    [
        ("functional", "gradient", "paper"),
        ("functional", "lrp_alpha2_beta1", "paper"),
        ("functional", "pattern_net", "paper"),  # which divides at bottlenecks, the cuts among them
        ("functional", "deeplift_reveal_cancel", "paper"),  # two multipliers go down, and differences up
        ("residual", "lrp_z", "paper"),  # BatchNormalization, and stages within a branch
        ("residual", "lrp_alpha1_beta0", "corrected"),
        ("residual", "deeplift_rescale", "corrected"),
        ("residual", "smoothgrad", "paper"),
        ("functional", "integrated_gradients", "corrected"),
        ("residual", "grad_cam", "paper"),  # some stages are above the layer that it looks at, some below
        ("functional", "grad_cam_plus_plus", "paper"),
        ("residual", "layer_cam", "paper"),
        ("functional", "occlusion", "paper"),
        ("residual", "occlusion", "paper"),
    ],
)
def test_stages_in_one_sweep_are_the_network_made_random(request, images, model, method, semantics):
    net = wel.load(request.getfixturevalue(model))
    stages, fresh, before = choose_stages(net, "all"), Fresh(net, 3), net.weights_hash()
    asked, head = request_for(net, method, semantics, images), one_hot(CLASSES, 4)
    tops = Tops(net, stages, fresh)
    assert tops.stages == stages
    heads = {stage: head[:, None] for stage in (None, *stages)}
    maps = tops.maps(NativeBackend().open(net), asked, images, heads, METHODS[method].head == "logit")
    assert net.weights_hash() == before
    assert relative(maps[None][:, 0], maps_of(net, asked, images, class_vectors(net, asked.method, images, CLASSES))) <= 1e-6
    for stage in stages:
        with randomized(net, stage, fresh):
            expected = maps_of(net, asked, images, class_vectors(net, asked.method, images, CLASSES))
        assert relative(maps[stage][:, 0], expected) <= 1e-5, stage


@pytest.mark.parametrize("method", ["lrp_z", "grad_cam", "occlusion"])
def test_several_maps_of_a_stage(functional, images, method):
    net, stage = wel.load(functional), "hidden"
    tops, opened = Tops(net, [stage], Fresh(net, 0)), NativeBackend().open(net)
    asked = request_for(net, method, "paper", images)
    both = np.stack([one_hot(CLASSES, 4), one_hot((CLASSES + 1) % 4, 4)], axis=1)
    found = tops.maps(opened, asked, images, {stage: both})[stage]
    for k in range(2):
        alone = tops.maps(opened, asked, images, {stage: both[:, k : k + 1]})[stage]
        assert relative(found[:, k], alone[:, 0]) <= 1e-6


def test_a_layer_called_on_both_sides_of_a_stage_is_left_to_the_network_itself(shared_layer):
    # fresh from its second call on, it is fresh in its first one too
    net = wel.load(shared_layer)
    assert Tops(net, ["dense", "conv#2"], Fresh(net, 0)).stages == ["dense"]


def test_a_layer_that_cannot_be_copied_is_left_to_the_network_itself(images):
    class Own(layers.Dense):
        """Without a configuration."""

        def __init__(self, given):
            super().__init__(given)

        def get_config(self):
            return {}

    net = wel.load(tf.keras.Sequential([layers.Input((8, 8, 3)), layers.Flatten(), Own(5), layers.Dense(4, name="last")]))
    assert Tops(net, ["last"], Fresh(net, 0)).stages == ["last"]
    both = ["last", net.layers[2]]
    assert Tops(net, both, Fresh(net, 0)).stages == ["last"]
    assert Tops(net, both[1:], Fresh(net, 0)).stages == []
    table = of_methods(wel.cascading_randomization(net, images, "gradient", both).table)
    assert len(table) == 2 and table["median"].notna().all()
