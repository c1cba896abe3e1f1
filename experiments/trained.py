"""Networks that were really trained (`make real`), with the paper's names, start layers and stages."""

from __future__ import annotations

import json
from pathlib import Path
from typing import NamedTuple, NoReturn

import wel
from wel.errors import WelError
from wel.networks.network import Network
from wel.networks.zoo import ZOO, Architecture

FOLDER = Path("runs/real")
# what figures and claims call networks
LABELS = {
    "vgg16": "VGG-16",
    "vgg16_mri": "VGG-16 of brain MRI",
    "resnet50": "ResNet-50",
    "resnet50_nsfw": "ResNet-50 of half width",
    "efficientnet_lite0": "EfficientNet-Lite0",
    "cifar10": "cifar10",
    "resnet20": "resnet20",
}


class Layers(NamedTuple):
    """Layers of a network: where relevance is injected, down to which it is randomised (from the input up), and the paper's names."""

    start: tuple[str, ...]
    randomized: tuple[str, ...]
    aliases: dict[str, str] = {}


NETWORKS = {
    "vgg16_mri": Layers(
        tuple("dense_3 dense conv4_3 conv3_3 conv2_2".split()),
        tuple("conv1_1 conv2_1 conv3_1 conv4_1 conv4_3 conv5_1 conv5_3 dense dense_3".split()),
        {paper: keras for paper, keras in ZOO["vgg16"].aliases.items() if not paper.startswith("fc")},
    ),
    "resnet50_nsfw": Layers(tuple("block5_3 block4_6 block3_4 block2_3".split()), ZOO["resnet50"].randomized_layers),
    "efficientnet_lite0": Layers(
        tuple("dense block6_4 block5_3 block4_3 block2_2".split()),
        tuple("stem block2_2 block3_2 block4_3 block5_3 block6_4 head dense".split()),
    ),
}


def trained(name: str) -> Network | None:
    """One of them, or None where its files are not there; what `make real` says beside it tells how pictures go in and what classes are."""
    path, beside = FOLDER / f"{name}.h5", FOLDER / f"{name}.card.json"
    if not (path.is_file() and beside.is_file()):
        return None
    net, layers = wel.load(path), NETWORKS[name]
    card = json.loads(beside.read_text("utf-8"))
    architecture = Architecture(
        name=name,
        build=_from_file,
        input_shape=net.input_shape,
        classes=net.count_logits(),
        preprocessing=card["preprocessing"],
        samples="imagenet",
        start_layers=layers.start,
        randomized_layers=layers.randomized,
        aliases=layers.aliases,
        class_names=tuple(card["classes"]) if isinstance(card["classes"], list) else (),
    )
    return Network(net.model, name, architecture, net.origin, net.final_activation)


def _from_file(input_shape: tuple[int, int, int], classes: int) -> NoReturn:
    """In the place of what builds a network of the zoo: these are in files."""
    raise WelError("The networks of `make real` are loaded from their files, with the shapes and classes that they have.")


def top_start(net: Network) -> str:
    """The paper's start layer that is nearest the output, or for a network of `make real` the one in its place."""
    return net.shown(max(net.start_layers(None), key=net.graph.index))
