"""The networks that wel knows by name: how they are built, what goes in, what the paper calls their layers."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Callable

from wel.errors import invalid, one_of
from wel.networks.architectures import build_cifar10, build_resnet20, build_resnet50, build_vgg16, resnet50_blocks


@dataclass(frozen=True)
class Architecture:
    """A network of the zoo.

    Attributes:
        name: as in `wel.load(name)`.
        build: function (input_shape, classes) -> Keras model with logits as output.
        input_shape: (height, width, channels) of the trained network.
        classes: number of logits of the trained network.
        preprocessing: name of what turns uint8 RGB pixels into inputs, a key of `wel.images.load.PREPROCESSINGS`.
        samples: the bundled images that suit it, a folder of `models/data`.
        start_layers: the paper's start layers.
        randomized_layers: the paper's layers of cascading randomisation, from input to output.
        trained: where its trained weights come from: "bundled" with wel, or "imagenet", Keras's published ones.
        aliases: the paper's layer names -> Keras names, where they differ.
        class_names: what the classes are called; empty where wel does not know.
    """

    name: str
    build: Callable
    input_shape: tuple[int, int, int]
    classes: int
    preprocessing: str
    samples: str
    start_layers: tuple[str, ...]
    randomized_layers: tuple[str, ...]
    trained: str = "bundled"
    aliases: dict[str, str] = field(default_factory=dict)
    class_names: tuple[str, ...] = ()


def _names(words: str) -> tuple[str, ...]:
    return tuple(words.split())


def _vgg16_aliases() -> dict[str, str]:
    depths = {1: 2, 2: 2, 3: 3, 4: 3, 5: 3}
    convolutions = {f"conv{block}_{i}": f"block{block}_conv{i}" for block, depth in depths.items() for i in range(1, depth + 1)}
    return {**convolutions, **{f"pool{block}": f"block{block}_pool" for block in depths}, "fc3": "predictions"}


def _resnet50_aliases() -> dict[str, str]:
    aliases = {"maxpool": "max_pooling2d_1"}
    for number, (stage, letter) in enumerate(resnet50_blocks(), start=1):
        block = "abcdef".index(letter) + 1
        aliases.update({f"conv{stage}_{block}{part}": f"res{stage}{letter}_branch2{part}" for part in "abc"})
        if block == 1:
            aliases[f"conv{stage}_skip"] = f"res{stage}a_branch1"
        aliases[f"block{stage}_{block}"] = f"activation_{3 * number + 1}"
    return {**aliases, "avgpool": "avg_pool", "dense": "fc1000"}


CIFAR10_CLASSES = ("airplane", "automobile", "bird", "cat", "deer", "dog", "frog", "horse", "ship", "truck")
_CIFAR10 = dict(input_shape=(32, 32, 3), classes=10, preprocessing="0-1", samples="cifar10", class_names=CIFAR10_CLASSES)
_IMAGENET = dict(input_shape=(224, 224, 3), classes=1000, preprocessing="caffe", samples="imagenet", trained="imagenet")

ZOO = {
    arch.name: arch
    for arch in (
        Architecture(
            name="cifar10",
            build=build_cifar10,
            start_layers=_names("fc6 fc5 conv4 conv3 conv2"),
            randomized_layers=_names("conv1 conv2 conv3 conv4 fc5 fc6"),
            **_CIFAR10,
        ),
        Architecture(
            name="resnet20",
            build=build_resnet20,
            start_layers=_names("dense block4_1 block3_2 block2_2"),
            randomized_layers=_names("conv1 block2_1 block2_2 block2_3 block3_1 block3_2 block3_3 block4_1 block4_2 block4_3 dense"),
            **_CIFAR10,
        ),
        Architecture(
            name="vgg16",
            build=build_vgg16,
            start_layers=_names("fc3 fc1 conv4_3 conv3_3 conv2_2"),
            randomized_layers=_names("conv1_1 conv2_1 conv3_1 conv4_1 conv4_3 conv5_1 conv5_3 fc1 fc3"),
            aliases=_vgg16_aliases(),
            **_IMAGENET,
        ),
        Architecture(
            name="resnet50",
            build=build_resnet50,
            start_layers=_names("dense block5_1 block4_2 block3_4 block3_2 block2_2"),
            randomized_layers=_names("conv1 block2_2 block3_1 block3_3 block4_1 block4_6 block5_2 dense"),
            aliases=_resnet50_aliases(),
            **_IMAGENET,
        ),
    )
}


def architecture(name: str) -> Architecture:
    """Looks a network up by name.

    Raises:
        WelError: when the zoo has no network of that name.
    """
    if name not in ZOO:
        raise invalid("model", name, one_of(ZOO))
    return ZOO[name]
