"""wel.images.fingerprints: families by layer names of several generations of Keras, and by kernel shapes whatever the names and order."""

from __future__ import annotations

import pytest

from wel.images.fingerprints import NAMED, SHAPED, named_family, shaped_family
from wel.images.preprocessing import parse_preprocessing
from wel.networks.network import Network

BOTTLENECKS = 3


def chain(*stack, shape=(16, 16, 3)):
    from tensorflow.keras import Sequential, layers

    return Network(Sequential([layers.Input(shape), *stack, layers.GlobalAveragePooling2D(), layers.Dense(3)]), "chain").graph


def named(*names: str):
    """A graph with layers of these names that do nothing in particular."""
    from tensorflow.keras import layers

    return chain(*(layers.Activation("relu", name=name) for name in names))


def test_every_family_names_a_preprocessing():
    for family in (*NAMED, *SHAPED):
        parse_preprocessing(family.spec)


@pytest.mark.parametrize("names, spec", [
    ("conv1 conv_dw_1 conv_pw_1 conv_pw_13", "keras-applications:mobilenet"),
    ("Conv1 expanded_conv_depthwise block_1_expand Conv_1", "keras-applications:mobilenet_v2"),
    ("Conv1 mobl1_conv_1_expand", "keras-applications:mobilenet_v2"),  # Keras 2.2.0
    ("Conv1 mobl1_conv_expand", "keras-applications:mobilenet_v2"),  # TensorFlow 1.9
    ("Conv expanded_conv_depthwise expanded_conv_1_expand", "tf"),
    ("conv1 bn_conv1 res2a_branch2a bn2a_branch2a fc1000", "keras-applications:resnet50"),
    ("conv1_conv conv2_block1_1_conv conv2_block1_out", "keras-applications:resnet"),
    ("conv1_conv conv2_block1_preact_bn conv2_block1_1_conv", "keras-applications:resnet_v2"),
    ("conv1_conv conv2_block1_1_conv conv2_block1_2_reduce", "keras-applications:resnext"),
    ("conv2_block1_1_conv conv2_block1_concat", "keras-applications:densenet"),
    ("conv2d block35_1_mixed", "keras-applications:inception_resnet_v2"),
    ("block1_conv1 block1_conv2 block2_sepconv1 block14_sepconv2", "keras-applications:xception"),
    ("stem_conv1 normal_conv_1_0", "keras-applications:nasnet"),
    ("stem_conv1 reduction_conv_1_stem_1", "keras-applications:nasnet"),
    ("stem_conv block1a_dwconv top_conv", "torch"),
    ("stem_conv block1a_project_conv block4a_dwconv2", "torch"),
    ("convnext_tiny_stem convnext_tiny_stage_0_block_0_depthwise_conv", "torch"),
    ("regnety002_stem_conv", "scale:0-1"),
])  # fmt: skip
def test_names(names, spec):
    assert named_family(named(*names.split())).spec == spec
    assert shaped_family(named(*names.split())) is None


def test_names_that_say_too_little():
    for names in ("conv1 pool1 fc1", "block1_conv1 block1_conv2 block3_conv4", "mixed0", "a_conv_dw_1 conv_pw_1", "conv_dw_1"):
        assert named_family(named(*names.split())) is None


@pytest.mark.parametrize("first, spec", [
    ((24, 24), "scale:-1-0.9921875"),
    ((32, 32), "scale:-1-0.9921875"),
    ((32, 16), "torch"),
    ((40, 16), "torch"),
])  # fmt: skip
def test_efficientnet_v2_by_its_first_kernels(first, spec):
    from tensorflow.keras import layers

    names = ("stem_conv", "block1a_project_conv")
    stack = [layers.Conv2D(filters, 3, use_bias=False, name=name) for filters, name in zip(first, names)]
    assert named_family(chain(*stack)).spec == spec


def resnet(biases: tuple[bool, bool], shortcut_first: bool):
    """The first stage of ResNet-50; `biases`: of the first and last convolutions, of those in between."""
    from tensorflow.keras import Model, layers

    outer, inner = biases
    x = image = layers.Input((32, 32, 3))
    x = layers.Conv2D(64, 7, 2, use_bias=outer)(x)
    for block in range(BOTTLENECKS):
        shortcut = x
        if block == 0 and shortcut_first:
            shortcut = layers.Conv2D(256, 1, use_bias=outer)(x)
        y = layers.Conv2D(64, 1, use_bias=inner)(x)
        y = layers.Conv2D(64, 3, padding="same", use_bias=inner)(y)
        y = layers.Conv2D(256, 1, use_bias=outer)(y)
        if block == 0 and not shortcut_first:
            shortcut = layers.Conv2D(256, 1, use_bias=outer)(x)
        x = layers.Add()([shortcut, y] if shortcut_first else [y, shortcut])
    x = layers.Conv2D(128, 1)(x)
    return Network(Model(image, layers.Dense(2)(layers.Flatten()(x))), "resnet").graph


@pytest.mark.parametrize("biases, spec", [((True, True), "caffe"), ((True, False), "tf"), ((False, False), "torch"), ((False, True), None)])
@pytest.mark.parametrize("shortcut_first", [True, False])
def test_resnet_by_its_kernels(biases, spec, shortcut_first):
    found = shaped_family(resnet(biases, shortcut_first))
    assert (found and found.spec) == spec


VGG16 = (64, 64, 128, 128, 256, 256, 256, 512, 512, 512)


@pytest.mark.parametrize("filters, normalized, name", [
    (VGG16, False, "VGG16"),
    ((*VGG16, 512, 512), False, "VGG16"),
    ((*VGG16[:7], 256, 512, 512), False, "VGG19"),
    (VGG16[:9], False, None),
    (VGG16, True, None),  # networks for CIFAR-10 have the same filters
    ((64, 128, *VGG16[2:]), False, None),
])  # fmt: skip
def test_vgg_by_its_kernels(filters, normalized, name):
    from tensorflow.keras import layers

    stack = []
    for count in filters:
        stack += [layers.Conv2D(count, 3, padding="same"), *([layers.BatchNormalization()] if normalized else [])]
    found = shaped_family(chain(*stack, layers.BatchNormalization()))  # one in a head of the user's does not matter
    assert (found and found.name) == name


def test_separable_and_depthwise_kernels():
    from tensorflow.keras import layers

    def conv(filters, size=1, **kwargs):
        return layers.Conv2D(filters, size, padding="same", use_bias=False, **kwargs)

    def depthwise():
        return layers.DepthwiseConv2D(3, padding="same", use_bias=False)

    mobilenet = [conv(32, 3), depthwise(), conv(64), depthwise(), conv(128), depthwise(), conv(128)]
    assert shaped_family(chain(*mobilenet)).name == "MobileNet"
    second = [(conv, 32, 3), (depthwise,), (conv, 16), (conv, 96), (depthwise,), (conv, 24)]
    assert shaped_family(chain(*(make(*sizes) for make, *sizes in second))).name == "MobileNetV2"
    grey = chain(*(make(*sizes) for make, *sizes in second), shape=(16, 16, 1))
    assert shaped_family(grey) is None
    assert shaped_family(chain(layers.SeparableConv2D(32, 3))) is None
