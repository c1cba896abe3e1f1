"""EfficientNet-Lite0, from the weights that PyTorch has."""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np
from torch_file import torch_weights

from wel.errors import WelError
from wel.keras.two import keras2

EPSILON = 1e-3


class Stage(NamedTuple):
    """Blocks of one shape: how many, kernel size, stride of the first one, what the channels are widened by within, channels."""

    blocks: int
    size: int
    stride: int
    widening: int
    channels: int


STAGES = (
    Stage(1, 3, 1, 1, 16),
    Stage(2, 3, 2, 6, 24),
    Stage(2, 5, 2, 6, 40),
    Stage(3, 3, 2, 6, 80),
    Stage(3, 5, 1, 6, 112),
    Stage(4, 5, 2, 6, 192),
    Stage(1, 3, 1, 6, 320),
)


# what Keras's layers have in PyTorch: kernels, of depthwise convolutions too, and BatchNormalization's γ, β, mean, variance
STATISTICS = ("weight", "bias", "running_mean", "running_var")
AXES = {"Conv2D": (2, 3, 1, 0), "DepthwiseConv2D": (2, 3, 0, 1), "Dense": (1, 0)}


def efficientnet_lite0(contents: bytes) -> Any:
    """The trained network: 224×224 RGB pixels (p − 127) / 128 in, 1000 logits of ImageNet's classes out.

    `block3_2` is the sum at the end of the second block of stage 3; blocks without a sum end in `block3_1_project_bn`.

    Source: EfficientNet (Tan and Le 2019), table 1, without squeeze-and-excitation and with ReLU6; padding as TensorFlow's "same".

    Raises:
        WelError: when the file is no file of weights, or of another network's.
    """
    return with_weights(build_efficientnet_lite0(), torch_weights(contents))


def with_weights(model: Any, weights: dict[str, np.ndarray]) -> Any:
    """The network, its weights set to those of a `state_dict` of PyTorch.

    Raises:
        WelError: for weights of another network.
    """
    names = _torch_names()
    if unknown := [key for key in weights if key.rpartition(".")[0] not in names.values()]:
        raise WelError(f"Invalid file of weights: {unknown[0]!r} is not in EfficientNet-Lite0.")
    for name, theirs in names.items():
        layer = model.get_layer(name)
        layer.set_weights(_arrays(layer, theirs, weights))
    return model


def _arrays(layer: Any, theirs: str, weights: dict[str, np.ndarray]) -> list[np.ndarray]:
    if type(layer).__name__ == "BatchNormalization":
        return [weights[f"{theirs}.{part}"] for part in STATISTICS]
    kernel, *bias = (weights[f"{theirs}.{part}"] for part in STATISTICS[: len(layer.weights)])
    return [kernel.transpose(AXES[type(layer).__name__]), *bias]


def _torch_names() -> dict[str, str]:
    """Layer -> what its weights are called in the file, which numbers the blocks from 0 on."""
    names = {"stem": "_conv_stem", "stem_bn": "_bn0", "head": "_conv_head", "head_bn": "_bn1", "dense": "_fc"}
    blocks = [(f"block{number}_{block}", stage) for number, stage in enumerate(STAGES, 1) for block in range(1, stage.blocks + 1)]
    for place, (name, stage) in enumerate(blocks):
        for number, part in enumerate(("expand", "depthwise", "project")):
            if part != "expand" or stage.widening > 1:
                names[f"{name}_{part}"] = f"_blocks.{place}._{part}_conv"
                names[f"{name}_{part}_bn"] = f"_blocks.{place}._bn{number}"
    return names


def build_efficientnet_lite0(input_shape: tuple[int, int, int] = (224, 224, 3), classes: int = 1000) -> Any:
    """The network with random weights."""
    layers = keras2().layers
    image = layers.Input(input_shape, name="input")
    x = _conv(image, "stem", 32, 3, 2)
    for number, stage in enumerate(STAGES, start=1):
        for block in range(1, stage.blocks + 1):
            x = _block(x, f"block{number}_{block}", stage, stage.stride if block == 1 else 1)
    x = _conv(x, "head", 1280)
    x = layers.GlobalAveragePooling2D(name="avgpool")(x)
    return keras2().Model(image, layers.Dense(classes, name="dense")(x), name="efficientnet_lite0")


def _block(x, name: str, stage: Stage, stride: int):
    layers = keras2().layers
    channels = x.shape[-1]
    main = _conv(x, f"{name}_expand", channels * stage.widening) if stage.widening > 1 else x
    depthwise = layers.DepthwiseConv2D(stage.size, stride, "same", use_bias=False, name=f"{name}_depthwise")
    main = _normalised(depthwise(main), f"{name}_depthwise")
    project = layers.Conv2D(stage.channels, 1, use_bias=False, name=f"{name}_project")
    main = layers.BatchNormalization(epsilon=EPSILON, name=f"{name}_project_bn")(project(main))
    return layers.Add(name=name)([main, x]) if stride == 1 and channels == stage.channels else main


def _conv(x, name: str, channels: int, size: int = 1, stride: int = 1):
    layer = keras2().layers.Conv2D(channels, size, stride, "same", use_bias=False, name=name)
    return _normalised(layer(x), name)


def _normalised(x, name: str):
    layers = keras2().layers
    return layers.ReLU(6.0, name=f"{name}_relu")(layers.BatchNormalization(epsilon=EPSILON, name=f"{name}_bn")(x))
