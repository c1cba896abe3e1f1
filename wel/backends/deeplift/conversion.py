"""From a flat Keras configuration to deeplift's layers; the package's own reader knows neither residual networks nor Keras 2.14's files."""

from __future__ import annotations

from dataclasses import dataclass
from functools import partial
from typing import Callable

import numpy as np
import tensorflow as tf
from deeplift.layers import activations, convolutional, core, normalization, pooling
from tensorflow import keras

from wel.backends.deeplift import layers as own
from wel.backends.worker import Unsupported

Mode = core.NonlinearMxtsMode


@dataclass(frozen=True)
class Rules:
    """Which layer class stands for a layer, and how multipliers pass a ReLU."""

    relu_mode: str = Mode.Rescale
    dense: type = own.Dense
    convolution: type = convolutional.Conv2D
    filter: type = own.Filter
    max_pooling: type = pooling.MaxPool2D


METHODS = {
    "deeplift_rescale": {},
    "deeplift_reveal_cancel": {"relu_mode": Mode.RevealCancel},
    "deeplift_ablation": {"dense": own.UncrossedDense, "convolution": own.UncrossedConv2D, "filter": own.UncrossedFilter},
}
SEMANTICS = {"paper": {}, "corrected": {"max_pooling": own.SplitMaxPool2D}}


@dataclass(frozen=True)
class Call:
    """One layer of the flat network as it is converted.

    Attributes:
        kind: Keras's class name.
        config: Keras's configuration.
        weights: the layer's weights in the order of `get_weights`.
        inputs: the deeplift layers, already built, that come in.
        rules: the method's.
    """

    kind: str
    config: dict
    weights: list
    inputs: list
    rules: Rules

    @property
    def name(self) -> str:
        """The layer's name in the flat network, and in TensorFlow's graph."""
        return self.config["name"]

    @property
    def rank(self) -> int:
        """Number of dimensions of the first input, the batch included."""
        return len(self.inputs[0].get_shape())


def build_layers(network: dict, method: str, semantics: str, weights: dict[str, list]) -> dict[str, core.Layer]:
    """Builds deeplift's graph of a network in the current TensorFlow graph: forward, reference, contributions, multipliers.

    Args:
        network: `network.json` of the worker protocol.
        method: key of `METHODS`.
        semantics: key of `SEMANTICS`.
        weights: flat layer name -> its weights in the order of `get_weights`.

    Returns:
        Flat layer name -> the deeplift layer that holds the layer's output.

    Raises:
        Unsupported: for a layer, or a setting of a layer, that has no rule.
    """
    rules = Rules(**METHODS[method], **SEMANTICS[semantics])
    shown = {flat: name for name, flat in network["nodes"].items()}
    built, everything = {}, []
    for layer in network["config"]["layers"]:
        name, kind = layer["name"], layer["class_name"]
        inputs = [built[source[0]] for call in layer["inbound_nodes"] for source in call]
        call = Call(kind, layer["config"], weights.get(name, []), inputs, rules)
        chain = _connected(_converted(call, f"Method '{method}' has no rule for layer '{shown.get(name, name)}' ({kind})"), inputs)
        everything += chain
        built[name] = chain[-1]
    for layer in reversed(everything):  # the package's own recursion would go as deep as the network
        layer.update_mxts()
    return built


def _converted(call: Call, refusal: str) -> list[core.Layer]:
    """The deeplift layers, one after another, that stand for a Keras layer."""
    if call.kind not in CONVERSIONS:
        raise Unsupported(refusal + ".")
    try:
        return CONVERSIONS[call.kind](call) + _activation(call)
    except Unsupported as reason:
        raise Unsupported(f"{refusal}: {reason}.") from None


def _connected(chain: list[core.Layer], inputs: list[core.Layer]) -> list[core.Layer]:
    for layer in chain:
        if inputs:
            layer.set_inputs(inputs)
        layer.build_fwd_pass_vars()
        layer._shape = layer.get_activation_vars().shape.as_list()  # the package's own is wrong behind pooling
        inputs = [layer]
    return chain


def _activation(call: Call) -> list[core.Layer]:
    activation = call.config.get("activation") or "linear"
    if activation == "linear":
        return []
    if activation not in ("relu", "sigmoid", "tanh"):
        raise Unsupported(f"its activation is {activation}")
    if activation == "relu":
        return [activations.ReLU(nonlinear_mxts_mode=call.rules.relu_mode, name=call.name, verbose=False)]
    kind = {"sigmoid": activations.Sigmoid, "tanh": activations.Tanh}[activation]
    return [kind(nonlinear_mxts_mode=Mode.Rescale, name=call.name, verbose=False)]


def _input(call: Call) -> list[core.Layer]:
    return [core.Input(batch_shape=call.config["batch_input_shape"], name=call.name)]


def _pass(call: Call) -> list[core.Layer]:
    return [core.NoOp(name=call.name)]


def _rectifier(call: Call) -> list[core.Layer]:
    config = call.config
    if config.get("max_value") is not None or config.get("threshold"):
        raise Unsupported("it has a maximum or a threshold")
    slope = float(config.get("negative_slope") or config.get("alpha") or 0)
    mode = Mode.Rescale if slope else call.rules.relu_mode
    return [activations.PReLU(alpha=slope, nonlinear_mxts_mode=mode, name=call.name, verbose=False)]


def _prelu(call: Call) -> list[core.Layer]:
    return [activations.PReLU(alpha=call.weights[0], nonlinear_mxts_mode=Mode.Rescale, name=call.name, verbose=False)]


def _kernel_and_bias(call: Call, channels: int) -> dict:
    """Constructor arguments for the weights; the package adds a bias to every layer."""
    return {"kernel": call.weights[0], "bias": call.weights[1] if call.config["use_bias"] else np.zeros(channels, "float32")}


def _dense(call: Call) -> list[core.Layer]:
    return [call.rules.dense(name=_inner(call), **_kernel_and_bias(call, call.config["units"]))]


def _convolution(call: Call) -> list[core.Layer]:
    config = call.config
    if config.get("groups", 1) != 1:
        raise Unsupported("it has groups")
    weights = _kernel_and_bias(call, config["filters"])
    if max(config["dilation_rate"]) > 1:
        return [_filter(call, tf.nn.convolution, weights, dilations=config["dilation_rate"], strides=config["strides"])]
    conv = call.rules.convolution(
        strides=config["strides"],
        padding=config["padding"].upper(),
        data_format=config["data_format"],
        conv_mxts_mode=core.ConvMxtsMode.Linear,
        name=_inner(call),
        **weights,
    )
    return [conv]


def _depthwise(call: Call) -> list[core.Layer]:
    config = call.config
    weights = _kernel_and_bias(call, call.inputs[0].get_shape()[-1] * config["depth_multiplier"])
    strides = [1, *config["strides"], 1]
    return [_filter(call, tf.nn.depthwise_conv2d, weights, dilations=config["dilation_rate"], strides=strides)]


def _filter(call: Call, function: Callable, weights: dict, **settings) -> core.Layer:
    if call.config["data_format"] != "channels_last":
        raise Unsupported("its channels come first")

    def apply(x, kernel):
        return function(x, tf.convert_to_tensor(kernel), padding=call.config["padding"].upper(), **settings)

    return call.rules.filter(apply, name=_inner(call), **weights)


def _inner(call: Call) -> str:
    """A name for the linear part of a layer that may have an activation."""
    return f"preact_{call.name}"


def _normalisation(call: Call) -> list[core.Layer]:
    config, (mean, variance) = call.config, call.weights[-2:]
    learned = iter(call.weights)
    gamma = next(learned) if config["scale"] else np.ones(mean.shape, "float32")
    beta = next(learned) if config["center"] else np.zeros(mean.shape, "float32")
    (axis,) = np.atleast_1d(config["axis"])
    names = dict(gamma=gamma, beta=beta, mean=mean, var=variance, epsilon=config["epsilon"], axis=int(axis))
    return [normalization.BatchNormalization(name=call.name, verbose=False, **names)]


def _pooling(kind: Callable[[Rules], Callable], call: Call) -> list[core.Layer]:
    config = call.config
    settings = {key: config[key] for key in ("pool_size", "strides", "data_format")}
    return [kind(call.rules)(padding=config["padding"].upper(), name=call.name, verbose=False, **settings)]


def _max_pooling(rules: Rules) -> Callable:
    return partial(rules.max_pooling, maxpool_deeplift_mode=core.MaxPoolDeepLiftMode.gradient)


def _average_pooling(rules: Rules) -> Callable:
    return pooling.AvgPool2D


def _flatten(call: Call) -> list[core.Layer]:
    return [core.Flatten(name=call.name, verbose=False)]


def _concatenation(call: Call) -> list[core.Layer]:
    return [core.Concat(axis=call.config["axis"] % call.rank, name=call.name, verbose=False)]


def _sum(call: Call) -> list[core.Layer]:
    if any(layer.get_shape() != call.inputs[0].get_shape() for layer in call.inputs):
        raise Unsupported("its inputs differ in shape")
    return [own.Sum(name=call.name)]


def _rearrangement(call: Call) -> list[core.Layer]:
    layer = keras.layers.deserialize({"class_name": call.kind, "config": call.config})
    return [own.Rearrangement(layer.call, name=call.name)]


IDENTITIES = (
    *("Dropout", "SpatialDropout1D", "SpatialDropout2D", "AlphaDropout", "GaussianDropout", "GaussianNoise"),
    "ActivityRegularization",
)
REARRANGEMENTS = (
    *("ZeroPadding1D", "ZeroPadding2D", "Cropping1D", "Cropping2D", "UpSampling1D", "UpSampling2D"),
    *("Reshape", "Permute", "RepeatVector", "GlobalAveragePooling1D", "GlobalAveragePooling2D"),
)
CONVERSIONS = {
    "InputLayer": _input,
    "Activation": _pass,
    "ReLU": _rectifier,
    "LeakyReLU": _rectifier,
    "PReLU": _prelu,
    "Dense": _dense,
    "Conv2D": _convolution,
    "DepthwiseConv2D": _depthwise,
    "BatchNormalization": _normalisation,
    "MaxPooling2D": partial(_pooling, _max_pooling),
    "AveragePooling2D": partial(_pooling, _average_pooling),
    "Flatten": _flatten,
    "Concatenate": _concatenation,
    "Add": _sum,
    **dict.fromkeys(IDENTITIES, _pass),
    **dict.fromkeys(REARRANGEMENTS, _rearrangement),
}
