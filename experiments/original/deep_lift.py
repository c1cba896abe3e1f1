"""DeepLIFT of deeplift 0.6.9.3: multipliers go in at one node, contributions are read at others.

The package has no layers for residual sums, zero padding and global average pooling over images; they are written here
in its own terms: a layer has an output, its difference Δ = Δ⁺ + Δ⁻ from the reference, and multipliers m⁺, m⁻.
It would also write every kernel into the graph some twenty times as a constant; here it gets the Keras model's variables.
"""

from __future__ import annotations

import contextlib
import io

import numpy as np
import tensorflow as tf
from deeplift import layers, util
from deeplift.conversion import kerasapi_conversion as conversion
from deeplift.layers import helper_functions as masks
from worker import Unsupported

Mode = layers.NonlinearMxtsMode


class Weight:
    """A variable with the few properties of an array that the package asks a weight for."""

    def __init__(self, tensor):
        self.tensor = tensor
        self.shape = tuple(tensor.shape.as_list())

    @property
    def T(self):
        return tf.transpose(self.tensor)

    def reshape(self, shape):
        return tf.reshape(self.tensor, shape)

    def __getitem__(self, key):
        return self.tensor[key]

    def positive(self):
        """The weight with its negative entries set to zero."""
        return Weight(self.tensor * masks.gt_mask(self.tensor, 0.0))


tf.register_tensor_conversion_function(Weight, lambda weight, dtype=None, name=None, as_ref=False: weight.tensor)


class Dense(layers.Dense):
    """The package's dense layer, for a kernel that is not an array."""

    def __init__(self, kernel, bias, **kwargs):
        super().__init__(kernel=0.0, bias=0.0, **kwargs)
        self.kernel, self.bias = kernel, bias


class Sum(layers.ListInputMixin, layers.Node):
    """The sum of its inputs, as a linear layer whose kernel is 1 for each of them."""

    def _compute_shape(self, input_shapes):
        return input_shapes[0]

    def _build_activation_vars(self, input_activations):
        return tf.add_n(input_activations)

    def _build_pos_and_neg_contribs(self):
        differences = self._get_input_diff_from_reference_vars()
        positive = tf.add_n([x * masks.gt_mask(x, 0.0) for x in differences])
        negative = tf.add_n([x * masks.lt_mask(x, 0.0) for x in differences])
        return positive, negative

    def _get_mxts_increments_for_inputs(self):
        multipliers = [self._multiplier(x) for x in self._get_input_diff_from_reference_vars()]
        return multipliers, multipliers

    def _multiplier(self, difference):
        """m⁺ for inputs above their reference, m⁻ below, their mean where there is no difference."""
        positive, negative = self.get_pos_mxts(), self.get_neg_mxts()
        return (
            masks.gt_mask(difference, 0.0) * positive
            + masks.lt_mask(difference, 0.0) * negative
            + masks.eq_mask(difference, 0.0) * 0.5 * (positive + negative)
        )


class _Rearrangement(layers.SingleInputMixin, layers.Node):
    """A linear layer with a non-negative kernel, so that Δ⁺ and m⁺ pass it by themselves, and Δ⁻ and m⁻ too."""

    def _build_pos_and_neg_contribs(self):
        return tuple(self._build_activation_vars(x) for x in self._get_input_pos_and_neg_contribs())

    def _get_mxts_increments_for_inputs(self):
        return self._transposed(self.get_pos_mxts()), self._transposed(self.get_neg_mxts())


class ZeroPadding(_Rearrangement):
    """Zeros around an image; `padding` is ((top, bottom), (left, right))."""

    def __init__(self, padding, **kwargs):
        super().__init__(**kwargs)
        self.padding = padding

    def _compute_shape(self, input_shape):
        batch, height, width, channels = input_shape
        (top, bottom), (left, right) = self.padding
        return [batch, height + top + bottom, width + left + right, channels]

    def _build_activation_vars(self, input_activations):
        return tf.pad(input_activations, [[0, 0]] + [list(side) for side in self.padding] + [[0, 0]])

    def _transposed(self, multipliers):
        (top, _), (left, _) = self.padding
        height, width = self._get_input_shape()[1:3]
        return multipliers[:, top : top + height, left : left + width]


class GlobalAverage(_Rearrangement):
    """The mean over an image's positions."""

    def _compute_shape(self, input_shape):
        return [input_shape[0], input_shape[-1]]

    def _build_activation_vars(self, input_activations):
        return tf.reduce_mean(input_activations, axis=(1, 2))

    def _transposed(self, multipliers):
        images = self._get_input_activation_vars()
        positions = tf.cast(tf.reduce_prod(tf.shape(images)[1:3]), tf.float32)
        return tf.ones_like(images) * (multipliers / positions)[:, None, None]


class _Uncrossed:
    """Mix-in for a linear layer: positive multipliers reach positive inputs only, negative ones negative inputs only."""

    def _get_mxts_increments_for_inputs(self):
        kernel = self.kernel
        self.kernel = kernel.positive()
        increments = super()._get_mxts_increments_for_inputs()
        self.kernel = kernel
        return increments


class UncrossedDense(_Uncrossed, Dense):
    """A dense layer of the ablation."""


class UncrossedConv2D(_Uncrossed, layers.Conv2D):
    """A convolution of the ablation."""


def _sum_conversion(name, verbose, **kwargs):
    return [Sum(name=name, verbose=verbose)]


def _padding_conversion(config, name, verbose, **kwargs):
    if config.get("data_format") == "channels_first":
        raise Unsupported("ZeroPadding2D with channels first has no DeepLIFT layer here.")
    return [ZeroPadding(padding=config["padding"], name=name, verbose=verbose)]


def _average_conversion(config, name, verbose, **kwargs):
    if config.get("data_format") == "channels_first":
        raise Unsupported("GlobalAveragePooling2D with channels first has no DeepLIFT layer here.")
    return [GlobalAverage(name=name, verbose=verbose)]


def _dense_conversion(layer_class):
    def convert(config, name, verbose, dense_mxts_mode, **kwargs):
        activation = conversion.activation_conversion(config=config, name=name, verbose=verbose, **kwargs)
        kernel, bias = (config["weights"] + [np.zeros(config["units"], "float32")])[:2]
        name = ("preact_" if activation else "") + name
        dense = layer_class(kernel=kernel, bias=bias, name=name, verbose=verbose, dense_mxts_mode=dense_mxts_mode)
        return util.connect_list_of_layers([dense] + activation)

    return convert


def _uncrossed_convolution(**kwargs):
    converted = conversion.conv2d_conversion(**kwargs)
    converted[0].__class__ = UncrossedConv2D
    return converted


OWN_LAYERS = {
    "Add": _sum_conversion,
    "ZeroPadding2D": _padding_conversion,
    "GlobalAveragePooling2D": _average_conversion,
    "Dense": _dense_conversion(Dense),
}
UNCROSSED_LAYERS = {"Dense": _dense_conversion(UncrossedDense), "Conv2D": _uncrossed_convolution}

# method -> (how multipliers pass a ReLU, layers with conversions of their own)
METHODS = {
    "deeplift_rescale": (Mode.Rescale, OWN_LAYERS),
    "deeplift_reveal_cancel": (Mode.RevealCancel, OWN_LAYERS),
    "deeplift_ablation": (Mode.Rescale, dict(OWN_LAYERS, **UNCROSSED_LAYERS)),
}


class Contributions:
    """One method's DeepLIFT graph of one network, with the weights that the network has when it runs.

    Args:
        network: `network.Network`.
        method: key of `METHODS`.

    Raises:
        Unsupported: when deeplift 0.6.9.3 has no counterpart for a layer.
    """

    def __init__(self, network, method):
        self._network = network
        mode, own_layers = METHODS[method]
        with network.active():
            self._layers = _convert(network, mode, own_layers)
            self._input = self._layers[network.input + "_0"]
            self._input.update_mxts()

    def relevance(self, images, vectors, start, at, reference):
        """Contributions m⁺Δ⁺ + m⁻Δ⁻ at the nodes `at` for vectors set as both multipliers of the node `start`.

        One row per image and vector; `reference` holds the images that Δ is measured from, a row each.
        """
        feeds = {
            self._input.get_activation_vars(): images,
            self._input.get_reference_vars(): reference,
            self._layer(start).get_pos_mxts(): vectors,
            self._layer(start).get_neg_mxts(): vectors,
        }
        return self._network.run([self._layer(node).get_target_contrib_vars() for node in at], feeds)

    def _layer(self, node):
        return self._layers[self._network.layer_name(node) + "_0"]


def _convert(network, mode, own_layers):
    """The deeplift layers of a network by name; `<layer>_0` holds the layer's output."""
    for layer in network.config["layers"]:
        _check_counterpart(layer, own_layers)
    with_weights = [dict(layer, config=_with_weights(layer, network.model)) for layer in network.config["layers"]]
    with contextlib.redirect_stdout(io.StringIO()):  # the package prints its advice whatever `verbose` says
        graph = conversion.convert_functional_model(
            dict(network.config, layers=with_weights),
            nonlinear_mxts_mode=mode,
            verbose=False,
            custom_conversion_funcs=own_layers,
        )
    return graph.get_name_to_layer()


def _check_counterpart(layer, own_layers):
    kind, activation = layer["class_name"], layer["config"].get("activation", "linear")
    try:
        own_layers.get(kind) or conversion.layer_name_to_conversion_function(kind)
        conversion.activation_to_conversion_function(activation)
    except KeyError:
        raise Unsupported("deeplift 0.6.9.3 has no counterpart of a {} layer with activation {}.".format(kind, activation))
    if max(np.ravel(layer["config"].get("dilation_rate", 1))) > 1:
        raise Unsupported("deeplift 0.6.9.3 has no dilated convolutions, but this network has a {} layer of that kind.".format(kind))


def _with_weights(layer, model):
    config, weights = layer["config"], [Weight(variable.read_value()) for variable in model.get_layer(layer["name"]).weights]
    if layer["class_name"] == "BatchNormalization":  # the package expects γ and β even where the layer leaves them out
        if not config.get("scale", True):
            weights.insert(0, np.ones(weights[-1].shape, "float32"))
        if not config.get("center", True):
            weights.insert(1, np.zeros(weights[-1].shape, "float32"))
    return dict(config, weights=weights)
