"""wel.networks.zoo and wel.networks.architectures: layers, names, numbers of parameters, and what `wel.load` makes of a zoo name."""

from __future__ import annotations

import json
import re
from functools import lru_cache

import numpy as np
import pytest
from tensorflow import keras

from wel.errors import WelError
from wel.images.preprocessing import PREPROCESSINGS
from wel.networks import loading
from wel.networks.loading import load
from wel.networks.zoo import ZOO, architecture
from wel.system.files import file_sha256, models_folder
from wel.training import save_half_precision


@lru_cache(maxsize=None)
def small(name: str):
    """The network with random weights, at 32×32 and 10 classes so that VGG-16 and ResNet-50 stay small."""
    return load(name, weights="random", input_shape=(32, 32, 3), classes=10, seed=1)


def each_network(function):
    return pytest.mark.parametrize("name", list(ZOO), scope="module")(function)


def positions(net, names) -> list[int]:
    return [net.graph.index(net.find(name)) for name in names]


@each_network
def test_aliases_are_layers(name):
    net = small(name)
    assert set(net.aliases.values()) <= set(net.layers)
    assert len(set(net.aliases.values())) == len(net.aliases)
    assert not set(net.aliases) & set(net.layers)
    assert [net.alias(keras_name) for keras_name in net.aliases.values()] == list(net.aliases)


@each_network
def test_aliases_stand_in_the_order_of_the_network(name):
    net = small(name)
    found = positions(net, [alias for alias in net.aliases if "skip" not in alias and "pool" not in alias])
    assert found == sorted(found)


@each_network
def test_start_and_randomized_layers_are_layers(name):
    net = small(name)
    starts, randomized = positions(net, ZOO[name].start_layers), positions(net, ZOO[name].randomized_layers)
    assert starts == sorted(starts, reverse=True) and net.graph.nodes[starts[0]].name == net.graph.output
    assert randomized == sorted(randomized) and net.graph.nodes[randomized[-1]].name == net.graph.output


@each_network
def test_output_is_logits_of_the_classes_asked_for(name):
    net = small(name)
    node = net.graph[net.graph.output]
    assert (node.kind, node.shape, node.layer.get_config()["activation"]) == ("Dense", (10,), "linear")
    assert (net.name, net.input_shape, net.graph.input) == (name, (32, 32, 3), "input")


@each_network
def test_entry_fits_the_rest_of_wel(name):
    arch = architecture(name)
    assert arch.preprocessing in PREPROCESSINGS and arch.trained in ("bundled", "imagenet")
    assert (models_folder() / "data" / arch.samples).is_dir()


def test_unknown_network():
    with pytest.raises(WelError, match="Invalid value for `model`: 'vgg17'. Expected one of cifar10, resnet20, vgg16, resnet50."):
        architecture("vgg17")


def test_cifar10_parameters():
    # kernels + biases: 3·9·32 + 32, 32·9·64 + 64, 64·9·128 + 128, 128·9·128 + 128, 8·8·128·1024 + 1024, 1024·10 + 10
    assert small("cifar10").model.count_params() == 896 + 18_496 + 73_856 + 147_584 + 8_389_632 + 10_250


def test_resnet20_parameters():
    # 3×3 kernels: 27·16 | 6 of 9·16·16 | 9·16·32, 5 of 9·32·32 | 9·32·64, 5 of 9·64·64; shortcuts 16·32, 32·64; dense 64·10 + 10
    convolutions = 432 + 13_824 + 4_608 + 46_080 + 18_432 + 184_320 + 512 + 2_048
    # 4 numbers per channel: 16 | 6·16 | 6·32 + 32 | 6·64 + 64
    assert small("resnet20").model.count_params() == convolutions + 650 + 4 * (16 + 96 + 224 + 448)


def test_vgg16_parameters():
    # at 224×224 and 1000 classes fc1 sees 7·7·512 = 25,088 values instead of 512, and fc3 has 1000 units of 4096 + 1 instead of 10
    assert small("vgg16").model.count_params() + (25_088 - 512) * 4096 + 990 * 4097 == 138_357_544


def test_resnet50_parameters():
    # the number does not depend on the image; the dense layer has 1000 units of 2048 + 1 instead of 10
    assert small("resnet50").model.count_params() + 990 * 2049 == 25_636_712


def test_resnet20_has_twenty_layers_of_the_papers_sizes():
    graph = small("resnet20").graph
    sizes = [(node.shape[:2], node.shape[2]) for node in graph.nodes if node.kind == "Conv2D" and node.layer.kernel_size == (3, 3)]
    assert sizes == [((32, 32), 16)] * 7 + [((16, 16), 32)] * 6 + [((8, 8), 64)] * 6  # and the dense layer: 6n + 2 = 20
    shortcuts = [node for node in graph.nodes if node.kind == "Conv2D" and node.layer.kernel_size == (1, 1)]
    assert [(node.name, node.layer.strides, node.shape) for node in shortcuts] == [
        ("conv3_skip", (2, 2), (16, 16, 32)),
        ("conv4_skip", (2, 2), (8, 8, 64)),
    ]


def test_resnet20_normalises_after_every_convolution():
    graph = small("resnet20").graph
    after = {node.inputs[0]: node.kind for node in graph.nodes[1:] if len(node.inputs) == 1}
    assert {after[node.name] for node in graph.nodes if node.kind == "Conv2D"} == {"BatchNormalization"}


def test_resnet20_sums():
    graph = small("resnet20").graph
    sums = {node.name: node.inputs for node in graph.nodes if node.kind == "Add"}
    assert len(sums) == 9
    assert sums["add2_1"] == ("bn_conv2_1b", "relu_conv1")
    assert sums["add3_1"] == ("bn_conv3_1b", "bn_conv3_skip")
    assert sums["add3_2"] == ("bn_conv3_2b", "block3_1")
    assert graph["block3_2"].inputs == ("add3_2",)


def test_resnet20_in_mixed_precision_keeps_statistics_in_float32():
    keras.mixed_precision.set_global_policy("mixed_bfloat16")
    try:
        layer = ZOO["resnet20"].build().get_layer("bn_conv3_skip")
    finally:
        keras.mixed_precision.set_global_policy("float32")
    x = np.random.default_rng(0).normal(3, 2, (8, 16, 16, 32)).astype("float32")
    assert layer(x, training=True).dtype == "bfloat16"
    _, _, mean, variance = layer.get_weights()
    # momentum 0.99: from 0 and 1 one step goes 0.01 of the way to the batch's; the mean of 2048 inputs of 8 bits is better than 8 bits
    np.testing.assert_allclose(mean, 0.01 * x.mean((0, 1, 2)), rtol=1e-3)
    np.testing.assert_allclose(variance, 0.99 + 0.01 * x.var((0, 1, 2), ddof=1), rtol=1e-4)


def test_resnet50_is_keras_applications_108():
    """Layer order decides what `model.set_weights` with the original's arrays does: third convolution, shortcut, then their BN."""
    net = small("resnet50")
    names = [layer.name for layer in net.model.layers]
    assert len(names) == 177
    assert names[:7] == ["input", "conv1_pad", "conv1", "bn_conv1", "activation_1", "pool1_pad", "max_pooling2d_1"]
    first = names.index("res4a_branch2a")
    assert names[first : first + 12] == [
        *("res4a_branch2a", "bn4a_branch2a", "activation_23", "res4a_branch2b", "bn4a_branch2b", "activation_24"),
        *("res4a_branch2c", "res4a_branch1", "bn4a_branch2c", "bn4a_branch1", "add_8", "activation_25"),
    ]
    assert names[-4:] == ["add_16", "activation_49", "avg_pool", "fc1000"]


def test_resnet50_sums_take_the_main_branch_first():
    graph = small("resnet50").graph
    sums = {node.name: node.inputs for node in graph.nodes if node.kind == "Add"}
    assert len(sums) == 16
    assert sums["add_4"] == ("bn3a_branch2c", "bn3a_branch1")
    assert sums["add_5"] == ("bn3b_branch2c", "activation_13")


def test_resnet50_stride_and_epsilon():
    net = small("resnet50")
    strided = [net.shown(layer.name) for layer in net.model.layers if getattr(layer, "strides", None) == (2, 2)]
    expected = ["conv1", "maxpool", *(f"conv{stage}_{part}" for stage in (3, 4, 5) for part in ("1a", "skip"))]
    assert sorted(strided) == sorted(expected)
    assert {layer.epsilon for layer in net.model.layers if isinstance(layer, keras.layers.BatchNormalization)} == {1e-3}


def test_resnet50_aliases():
    net = small("resnet50")
    pairs = {
        "conv2_1a": "res2a_branch2a",
        "conv4_6c": "res4f_branch2c",
        "conv5_skip": "res5a_branch1",
        "block2_1": "activation_4",
        "block3_4": "activation_22",
        "block5_3": "activation_49",
        "maxpool": "max_pooling2d_1",
    }
    assert {alias: net.find(alias) for alias in pairs} == pairs
    assert len(net.aliases) == 16 * 4 + 4 + 3  # three convolutions and a sum per block, four shortcuts; maxpool, avgpool, dense
    blocks = [net.graph[name] for alias, name in net.aliases.items() if alias.startswith("block")]
    assert [node.inputs for node in blocks] == [(f"add_{number}",) for number in range(1, 17)]


def test_vgg16_aliases():
    net = small("vgg16")
    assert net.layers[1:] == [
        net.find(alias)
        for alias in (
            "conv1_1 conv1_2 pool1 conv2_1 conv2_2 pool2 conv3_1 conv3_2 conv3_3 pool3 conv4_1 conv4_2 conv4_3 pool4 "
            "conv5_1 conv5_2 conv5_3 pool5 flatten fc1 fc2 fc3"
        ).split()
    ]


def test_random_weights_depend_on_the_seed():
    one, same, other = (load("resnet20", weights="random", seed=seed).weights_hash() for seed in (0, 0, 1))
    assert one == same != other


@pytest.mark.parametrize("shape", [(16, 16, 3), (224, 224), (0, 64, 3), 224])
def test_shape_that_cannot_be_built(shape):
    expected = "Expected (height, width, channels), large enough for the pooling layers of vgg16."
    with pytest.raises(WelError, match=re.escape(f"Invalid value for `input_shape`: {shape!r}. {expected}")):
        load("vgg16", weights="random", input_shape=shape)


@pytest.mark.parametrize("classes", [0, -1, 2.5, "ten"])
def test_number_of_classes_that_is_none(classes):
    with pytest.raises(WelError, match=f"Invalid value for `classes`: {classes!r}. Expected a whole number from 1 on."):
        load("vgg16", weights="random", classes=classes)


@pytest.mark.parametrize("name", ["resnet20", "vgg16"])
@pytest.mark.parametrize("options", [dict(input_shape=(64, 64, 3)), dict(classes=20), dict(classes=0)])
def test_trained_weights_fit_one_shape(name, options):
    with pytest.raises(WelError, match="trained weights fit one shape only. Expected weights='random' with them."):
        load(name, **options)


@pytest.fixture
def checkout(tmp_path, monkeypatch):
    """A folder that stands for `models/`, without any trained network."""
    monkeypatch.setattr(loading, "models_folder", lambda: tmp_path)
    (tmp_path / "resnet20").mkdir()
    return tmp_path / "resnet20"


@pytest.fixture
def bundled(checkout):
    """As training leaves it: half-precision weights and their card."""
    model = load("resnet20", weights="random", seed=4).model
    save_half_precision(model, checkout / "resnet20.h5")
    (checkout / "card.json").write_text(json.dumps({"sha256": file_sha256(checkout / "resnet20.h5")}))
    return model


def test_network_that_is_not_trained_yet(checkout):
    with pytest.raises(WelError, match="The trained weights of resnet20 are not in this checkout. Expected `--weights random`, `--weights"):
        load("resnet20")


def test_bundled_weights_are_the_trained_ones_in_half_precision(bundled):
    for array, found in zip(bundled.get_weights(), load("resnet20").model.get_weights()):
        np.testing.assert_array_equal(array.astype("float16"), found)


def test_bundled_weights_with_another_hash_are_refused(bundled, checkout):
    with open(checkout / "resnet20.h5", "ab") as file:
        file.write(b"\0")
    with pytest.raises(WelError, match="Expected the bundled weights with sha256 [0-9a-f]{64}. Received other contents."):
        load("resnet20")


def test_weights_file_of_a_bundled_network(bundled, checkout):
    found = load("resnet20", weights=checkout / "resnet20.h5").weights_hash()
    assert found == load("resnet20").weights_hash()
    with pytest.raises(WelError, match="Invalid value for `weights`: .* does not fit"):
        load("cifar10", weights=checkout / "resnet20.h5")
