"""Which layer class is what, by its name: one table for everything that asks.

Layers with a linear map of their own stand in `wel.rules.linear_kinds` too, with the arithmetic.
"""

from __future__ import annotations

from typing import Any


def _ranked(*names: str, ranks: tuple[int, ...] = (1, 2, 3)) -> frozenset[str]:
    return frozenset(f"{name}{rank}D" for name in names for rank in ranks)


# layers that are an activation function and nothing else; Softmax is none of them: no method passes it by itself
ACTIVATION_LAYERS = frozenset({"Activation", "ReLU", "LeakyReLU", "PReLU", "ELU", "ThresholdedReLU"})
KERNELS = frozenset(
    {"Dense", "Conv1DTranspose", "Conv2DTranspose", "Conv3DTranspose"}
    | _ranked("Conv")
    | _ranked("DepthwiseConv", "SeparableConv", "LocallyConnected", ranks=(1, 2))
)
# the positive part of a product of kernels is not the product of their positive parts
TWO_KERNELS = frozenset({"SeparableConv1D", "SeparableConv2D"})
# kernels for which patterns are defined (Kindermans et al. 2018)
PATTERN_KINDS = frozenset({"Dense", "Conv1D", "Conv2D", "DepthwiseConv2D"})
MAX_POOLINGS = _ranked("MaxPooling", "GlobalMaxPooling")
AVERAGE_POOLINGS = _ranked("AveragePooling", "GlobalAveragePooling")
POOLINGS = MAX_POOLINGS | AVERAGE_POOLINGS
# at work in training only
REGULARIZERS = _ranked("SpatialDropout") | {"Dropout", "AlphaDropout", "GaussianDropout", "GaussianNoise", "ActivityRegularization"}
AUGMENTATIONS = frozenset(f"Random{kind}" for kind in ("Flip", "Rotation", "Zoom", "Translation", "Contrast", "Brightness"))
# the identity at inference
IDENTITIES = AUGMENTATIONS | REGULARIZERS | {"InputLayer", "Identity"}
# TensorFlow's slices and the like, which the layer graph calls so
SELECTION = "Selection"
# linear, without weights, and every output is one input or 0
SHAPES = (
    IDENTITIES
    | {"Flatten", "Reshape", "Permute", "RepeatVector", "Concatenate", SELECTION}
    | _ranked("Cropping", "UpSampling", "ZeroPadding")
)
# what does not depend on the network's input: relevance that comes to it stays there
CONSTANTS = frozenset({"Fixed"})
# Keras's preprocessing layers that are per-channel affine maps with fixed numbers
RESCALINGS = frozenset({"Rescaling", "Normalization"})
# layers whose weights are statistics of data, fixed before training
DATA_STATISTICS = frozenset({"Normalization", "Discretization", "IntegerLookup", "StringLookup", "TextVectorization"})
# they look whole numbers up, and cannot be computed between them
LOOKUPS = frozenset({"Embedding", "IntegerLookup", "StringLookup", "Hashing", "CategoryEncoding", "Discretization"})
# what has no value below zero where no input has one
KEEP_SIGN = SHAPES | POOLINGS | {"Add", "Average", "Multiply", "Maximum", "Minimum"}

# other layers without a kernel or an activation function inside, whose gradient is all that there is to say
SMOOTH = MAX_POOLINGS | RESCALINGS | {"Masking", "Multiply", "Maximum", "Minimum", "Dot", "Embedding"}
SMOOTH |= {"LayerNormalization", "GroupNormalization", "UnitNormalization", "Resizing", "CenterCrop"}
# layers that methods see through: no activation function or kernel hides in them
SEEN_THROUGH = SHAPES | SMOOTH | CONSTANTS
# layers that are a linear map, without an activation function, besides those with a kernel
LINEAR_LAYERS = AVERAGE_POOLINGS | {"BatchNormalization", "Add", "Subtract", "Average"}

# activation functions by name, and layers that are one
ELEMENTWISE = frozenset(
    {"linear", "relu", "relu6", "sigmoid", "hard_sigmoid", "tanh", "softplus", "softsign", "swish", "silu", "elu", "selu", "gelu"}
    | {"exponential", "mish", "leaky_relu", "LeakyReLU", "PReLU", "ELU", "ReLU", "ThresholdedReLU"}
)
# what a signal is multiplied with: a share of it passes
GATES = frozenset({"sigmoid", "hard_sigmoid", "softmax"})
NEVER_NEGATIVE = frozenset({"relu", "relu6", "sigmoid", "hard_sigmoid", "softplus", "exponential", "softmax", "ThresholdedReLU"})
# ways of interpolation without negative coefficients
NO_OVERSHOOT = frozenset({"nearest", "bilinear", "area", "gaussian"})


def activation_name(layer: Any) -> str:
    """Name of a layer's activation function, or the class of a layer that is one; "linear" without any."""
    kind = type(layer).__name__
    if kind in ACTIVATION_LAYERS - {"Activation"}:
        return kind
    activation = getattr(layer, "activation", None)
    return "linear" if activation is None else getattr(activation, "__name__", type(activation).__name__)


def is_linear(layer: Any) -> bool:
    """Whether a layer has no activation function."""
    return type(layer).__name__ != "Softmax" and activation_name(layer) == "linear"


def is_relu(layer: Any) -> bool:
    """Whether a layer's activation function is max(x, 0), which may have a maximum."""
    if type(layer).__name__ == "ReLU":
        return not float(layer.negative_slope or 0) and not float(layer.threshold or 0)
    return activation_name(layer) in ("relu", "relu6")


def has_maximum(layer: Any) -> bool:
    """Whether a ReLU has a maximum."""
    return activation_name(layer) == "relu6" or getattr(layer, "max_value", None) is not None


def never_negative(layer: Any) -> bool:
    """Whether a layer's activation function has no value below zero."""
    return is_relu(layer) or activation_name(layer) in NEVER_NEGATIVE


def mixes_inputs(layer: Any) -> bool:
    """Whether a layer mixes its inputs with weights, which have more than one axis; BatchNormalization does not."""
    return any(len(weight.shape) > 1 for weight in getattr(layer, "weights", ()))
