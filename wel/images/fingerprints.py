"""Known architectures: by the names of their layers, else by the shapes of their first kernels."""

from __future__ import annotations

import re
from collections import Counter
from dataclasses import dataclass

from wel.networks.graph import Graph, Node

PREFIXES = {"Conv2D": "", "DepthwiseConv2D": "d", "SeparableConv2D": "s"}


@dataclass(frozen=True)
class Family:
    """Architectures that share their preprocessing.

    Attributes:
        name: as people call it.
        spec: the preprocessing that its published weights want, see `wel.images.preprocessing.parse_preprocessing`.
        layers: regular expressions, each of which is the whole name of some layer, in one or another version of Keras.
        kernels: shapes of the first kernels, whatever their order: `3x3x64x128`, in front `d` for depthwise and `s` for
            separable convolutions, behind it `b` for a bias, `5*` for five of them.
        plain: whether there is no batch normalization between these kernels.
    """

    name: str
    spec: str
    layers: tuple[str, ...] = ()
    kernels: str = ""
    plain: bool = False


def _keras(name: str, module: str, *layers: str, kernels: str = "") -> Family:
    return Family(f"{name} of keras.applications", f"keras-applications:{module}", layers, kernels)


def _bare(name: str, spec: str, *layers: str, kernels: str = "") -> Family:
    """An architecture of keras.applications that has its preprocessing inside, built without it."""
    return Family(f"{name} of keras.applications without its own rescaling", spec, layers, kernels)


# the first that fits counts; what is more particular comes first
NAMED = (
    _keras("Xception", "xception", "block2_sepconv1"),
    _keras("VGG19", "vgg19", "block1_conv2", "block3_conv4", kernels="3x3x3x64b 3x3x64x64b 3x3x64x128b"),
    _keras("VGG16", "vgg16", "block1_conv2", kernels="3x3x3x64b 3x3x64x64b 3x3x64x128b"),
    _keras("ResNeXt", "resnext", "conv2_block1_2_reduce"),
    _keras("DenseNet", "densenet", "conv2_block1_concat"),
    _keras("ResNetV2", "resnet_v2", "conv2_block1_preact_bn"),
    _keras("ResNet", "resnet", "conv2_block1_1_conv"),
    _keras("ResNet50", "resnet50", "res2a_branch2a", "bn2a_branch2a"),
    _keras("InceptionResNetV2", "inception_resnet_v2", "block35_1_(conv|mixed)"),
    _keras("InceptionV3", "inception_v3", "mixed0", kernels="3x3x3x32 3x3x32x32 3x3x32x64"),
    _keras("NASNet", "nasnet", "stem_conv1", "(normal|reduction)_conv_1_.*"),
    _bare("MobileNetV3", "tf", "expanded_conv_1[/_]expand"),
    _keras("MobileNetV2", "mobilenet_v2", "block_1_expand|mobl1_conv_(1_)?expand"),
    _keras("MobileNet", "mobilenet", "conv_dw_1", "conv_pw_1"),
    _bare("EfficientNet", "torch", "stem_conv", "block1a_dwconv"),
    _bare("EfficientNetV2-S or -M", "scale:-1-0.9921875", "stem_conv", "block1a_project_conv", kernels="3x3x3x24 3x3x24x24"),
    _bare("EfficientNetV2-L", "scale:-1-0.9921875", "stem_conv", "block1a_project_conv", kernels="3x3x3x32 3x3x32x32"),
    _bare("EfficientNetV2-B", "torch", "stem_conv", "block1a_project_conv"),
    _bare("ConvNeXt", "torch", r"convnext_\w+_stage_0_block_0_depthwise_conv"),
    _bare("RegNet", "scale:0-1", r"regnet[xy]\d+_stem_conv"),
    _bare("ResNetRS", "torch", "BlockGroup2__block_0__.*"),
)
SHAPED = (
    Family(
        "VGG16",
        "caffe",
        kernels="3x3x3x64b 3x3x64x64b 3x3x64x128b 3x3x128x128b 3x3x128x256b 2*3x3x256x256b 3x3x256x512b 2*3x3x512x512b",
        plain=True,
    ),
    Family(
        "VGG19",
        "caffe",
        kernels="3x3x3x64b 3x3x64x64b 3x3x64x128b 3x3x128x128b 3x3x128x256b 3*3x3x256x256b 3x3x256x512b 3x3x512x512b",
        plain=True,
    ),
    Family("ResNet with biases, as in Keras", "caffe", kernels="7x7x3x64b 1x1x64x64b 3*3x3x64x64b 4*1x1x64x256b 2*1x1x256x64b"),
    Family("ResNetV2", "tf", kernels="7x7x3x64b 1x1x64x64 3*3x3x64x64 4*1x1x64x256b 2*1x1x256x64"),
    Family("ResNet without biases, as in PyTorch", "torch", kernels="7x7x3x64 1x1x64x64 3*3x3x64x64 4*1x1x64x256 2*1x1x256x64"),
    Family("ResNet-18 or -34 without biases, as in PyTorch", "torch", kernels="7x7x3x64 4*3x3x64x64"),
    Family("InceptionV3 or InceptionResNetV2", "tf", kernels="3x3x3x32 3x3x32x32 3x3x32x64 1x1x64x80 3x3x80x192"),
    Family("Xception", "tf", kernels="3x3x3x32 3x3x32x64 s3x3x64x1 s3x3x128x1 1x1x64x128"),
    Family("MobileNet", "tf", kernels="3x3x3x32 d3x3x32x1 1x1x32x64 d3x3x64x1 1x1x64x128"),
    Family("MobileNetV2", "tf", kernels="3x3x3x32 d3x3x32x1 1x1x32x16 1x1x16x96 d3x3x96x1 1x1x96x24"),
    Family("DenseNet", "torch", kernels="7x7x3x64 1x1x64x128 2*3x3x128x32 1x1x96x128"),
    Family("EfficientNet without rescaling", "torch", kernels="3x3x3x32 d3x3x32x1 1x1x32x8b 1x1x8x32b 1x1x32x16 1x1x16x96"),
)


def named_family(graph: Graph) -> Family | None:
    """The family whose layer names (and kernels, where names alone say too little) are in a network, nested models included."""
    names = [node.layer.name for node in graph.nodes]
    for family in NAMED:
        if all(any(re.fullmatch(pattern, name) for name in names) for pattern in family.layers) and _has_kernels(graph, family):
            return family
    return None


def shaped_family(graph: Graph) -> Family | None:
    """The family whose first kernels a network has, whatever its layers are called."""
    return next((family for family in SHAPED if _has_kernels(graph, family)), None)


def _has_kernels(graph: Graph, family: Family) -> bool:
    wanted = _counted(family.kernels)
    nodes = [node for node in graph.nodes if node.kind in PREFIXES][: sum(wanted.values())]
    if Counter(map(_kernel, nodes)) != wanted:
        return False
    return not family.plain or all(node.kind != "BatchNormalization" for node in graph.nodes[: graph.index(nodes[-1].name)])


def _counted(kernels: str) -> Counter:
    parts = [part.rpartition("*") for part in kernels.split()]
    return Counter({shape: int(count or 1) for count, _, shape in parts})


def _kernel(node: Node) -> str:
    biased = node.kind == "Conv2D" and node.layer.use_bias
    return PREFIXES[node.kind] + "x".join(map(str, node.layer.weights[0].shape)) + ("b" if biased else "")
