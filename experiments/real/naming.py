"""What the layers of the networks in ONNX files are called: Keras's names for VGG-16, those of the paper for ResNet-50."""

from __future__ import annotations

import re

from onnx_file import Node

BRANCH = re.compile(r"bn_stage(\d)_block(\d)_(?:branch2([abc])|proj_shortcut)/")
OTHERS = {"bn_1/": "conv1", "max_pooling2d/": "maxpool", "pool/": "avgpool", "fc_nsfw/": "dense"}


def vgg16_name(node: Node, before: str) -> str:
    """The name that the layer has in Keras: functional_1/block1_conv1_1/BiasAdd -> block1_conv1, dense_1_2/MatMul -> dense_1.

    Keras wrote each name with a number behind it.
    """
    return re.sub(r"_\d+$", "", node.name.split("/")[1])


def resnet50_name(node: Node, before: str) -> str:
    """wel's names for residual networks: conv3_1a, relu_conv3_1a, conv3_skip, add3_1, block3_1; `dense` for the logits."""
    if node.kind == "Relu":
        return before.replace("add", "block") if before.startswith("add") else f"relu_{before}"
    if node.kind == "Add":
        return before.replace("conv", "add").rstrip("abc")
    output = node.outputs[0]
    if found := BRANCH.match(output):
        stage, block, branch = found.groups()
        return f"conv{int(stage) + 2}_{f'{int(block) + 1}{branch}' if branch else 'skip'}"
    return next(name for beginning, name in OTHERS.items() if output.startswith(beginning))
