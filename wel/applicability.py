"""Which methods a backend can compute for a network, and why not, told from the layer graph alone."""
from __future__ import annotations

from wel.backends import find_backend
from wel.errors import UnsupportedError
from wel.methods.composites import _check_rules
from wel.methods.registry import Method
from wel.networks.graph import Graph
from wel.networks.kernels import why_no_pattern

ACTIVATIONS = frozenset({"Activation", "ReLU", "LeakyReLU", "PReLU", "ELU", "ThresholdedReLU"})
KERNELS = frozenset(
    {"Dense", "Conv1D", "Conv2D", "Conv3D", "Conv2DTranspose", "Conv3DTranspose", "DepthwiseConv2D", "SeparableConv1D", "SeparableConv2D"}
)
POOLINGS = frozenset(
    f"{span}{kind}Pooling{rank}D" for span in ("", "Global") for kind in ("Max", "Average") for rank in (1, 2, 3)
)
SHAPES = frozenset(
    {"InputLayer", "Flatten", "Reshape", "Permute", "RepeatVector", "Concatenate", "Masking"}
    | {f"{kind}{rank}D" for kind in ("Cropping", "UpSampling", "ZeroPadding") for rank in (1, 2, 3)}
)
REGULARIZERS = frozenset(
    {"Dropout", "SpatialDropout1D", "SpatialDropout2D", "SpatialDropout3D", "AlphaDropout", "GaussianDropout", "GaussianNoise"}
)
RELEVANCE = ACTIVATIONS | KERNELS | POOLINGS | SHAPES | REGULARIZERS | {"BatchNormalization", "Add", "ActivityRegularization"}
# the positive part of a product of kernels is not the product of their positive parts, which is what innvestigate takes
TWO_KERNELS = frozenset({"SeparableConv1D", "SeparableConv2D"})
UNSPLIT = ("lrp_z", "lrp_epsilon")
RELU_ONLY = ("guided_backprop", "deconvnet", "rectgrad", "deep_taylor")
RELEVANCE_BASED = ("deep_taylor", "lrp_", "excitation_", "contrastive_")
DEEPLIFT_ACTIVATIONS = ("linear", "relu", "sigmoid", "tanh", "ReLU", "LeakyReLU", "PReLU")
DEEPLIFT = (
    SHAPES
    | REGULARIZERS
    | {"Activation", "ReLU", "LeakyReLU", "PReLU", "Dense", "Conv2D", "DepthwiseConv2D", "BatchNormalization", "Add"}
    | {"MaxPooling2D", "AveragePooling2D", "GlobalAveragePooling1D", "GlobalAveragePooling2D", "ActivityRegularization"}
) - {"Masking", "Cropping3D", "UpSampling3D", "ZeroPadding3D", "SpatialDropout3D"}


def _why_not_wrapped(method: Method, graph: Graph) -> str | None:
    if method.wrapped == "deeplift":
        for node in graph.nodes:
            if node.kind not in DEEPLIFT or _activation(node.layer) not in DEEPLIFT_ACTIVATIONS or _is_limited(node.layer):
                return f"Method '{method.name}' has no rule for layer '{node.name}' ({node.kind}, {_activation(node.layer)})."
    if method.name in RELU_ONLY:
        for node in graph.nodes:
            if not _is_relu_or_linear(node.layer):
                return f"Method '{method.name}' is defined for ReLU networks only; layer '{node.name}' has {_activation(node.layer)}."
    if "patterns" in method.options:
        for node in graph.nodes:
            kind = why_no_pattern(node.layer)
            if kind:
                return f"Method '{method.name}' has no pattern for layer '{node.name}' ({kind})."
    if method.name.startswith(RELEVANCE_BASED):
        known = RELEVANCE if method.name in UNSPLIT else RELEVANCE - TWO_KERNELS
        for node in graph.nodes:
            if node.kind not in known:
                return f"Method '{method.name}' has no rule for layer '{node.name}' ({node.kind})."
    return None


def _is_limited(layer) -> bool:
    return type(layer).__name__ == "ReLU" and (layer.max_value is not None or bool(layer.threshold))


def check_applies(method: Method, backend: str, graph: Graph) -> None:
    """Refuses a method that a backend cannot compute for a network, before any work is done.

    Raises:
        WelError: for an unknown backend.
        UnsupportedError: saying what stands in the way.
    """
    name = find_backend(backend, method).name
    if name == "native":
        _check_rules(method, graph)
    elif name != "original" and (reason := _why_not_wrapped(method, graph)):
        raise UnsupportedError(reason)


def _activation(layer) -> str:
    kind = type(layer).__name__
    if kind in ACTIVATIONS - {"Activation"}:
        return kind
    activation = getattr(layer, "activation", None)
    return "linear" if activation is None else getattr(activation, "__name__", type(activation).__name__)


def _is_relu_or_linear(layer) -> bool:
    if type(layer).__name__ == "ReLU":
        return not float(layer.negative_slope or 0) and not float(layer.threshold or 0)
    return _activation(layer) in ("relu", "linear")
