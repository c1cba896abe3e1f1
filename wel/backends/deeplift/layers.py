"""Layers that deeplift 0.6.13.0 lacks, in its own terms, and the package made to run on TensorFlow 2.

A layer has an output, its difference Δ = Δ⁺ + Δ⁻ from the output for the reference input, and multipliers m⁺, m⁻ of the
two parts. The contribution that is read at a layer is m⁺Δ⁺ + m⁻Δ⁻ (Shrikumar, Greenside and Kundaje 2017).
"""

from __future__ import annotations

from typing import Callable

import tensorflow as tf
from deeplift.layers import activations, convolutional, core, helper_functions, normalization, pooling

for _module in (activations, convolutional, core, helper_functions, normalization, pooling):
    _module.tf = tf.compat.v1  # the package is written in the terms of TensorFlow 1

LINEAR = {"dense_mxts_mode": core.DenseMxtsMode.Linear}


class Weight:
    """A tensor with the few properties of an array that the package asks a weight for.

    The package would write an array into the graph as a constant wherever it is used; a variable is in memory once.
    """

    def __init__(self, tensor: tf.Tensor):
        self.tensor = tensor
        self.shape = tuple(tensor.shape)

    @property
    def T(self) -> tf.Tensor:
        """The transposed weight."""
        return tf.transpose(self.tensor)

    def reshape(self, shape) -> tf.Tensor:
        """The weight in another shape."""
        return tf.reshape(self.tensor, shape)

    def __getitem__(self, key) -> tf.Tensor:
        return self.tensor[key]


tf.register_tensor_conversion_function(Weight, lambda weight, dtype=None, name=None, as_ref=False: weight.tensor)


def split(x) -> tuple[tf.Tensor, tf.Tensor]:
    """The positive and the negative part of a tensor; their sum is the tensor."""
    return x * helper_functions.gt_mask(x, 0.0), x * helper_functions.lt_mask(x, 0.0)


def by_sign(difference: tf.Tensor, above: tf.Tensor, below: tf.Tensor) -> tf.Tensor:
    """`above` where an input is above its reference, `below` where it is below, their mean where there is no difference."""
    return (
        helper_functions.gt_mask(difference, 0.0) * above
        + helper_functions.lt_mask(difference, 0.0) * below
        + helper_functions.eq_mask(difference, 0.0) * 0.5 * (above + below)
    )


class Sum(core.ListInputMixin, core.Node):
    """The sum of its inputs: a linear layer whose kernel is 1 for each of them."""

    def _compute_shape(self, input_shapes):
        return input_shapes[0]

    def _build_activation_vars(self, input_activations):
        return tf.add_n(input_activations)

    def _build_pos_and_neg_contribs(self):
        return tuple(tf.add_n(parts) for parts in zip(*map(split, self._get_input_diff_from_reference_vars())))

    def _get_mxts_increments_for_inputs(self):
        differences = self._get_input_diff_from_reference_vars()
        multipliers = [by_sign(x, self.get_pos_mxts(), self.get_neg_mxts()) for x in differences]
        return multipliers, multipliers


class Rearrangement(core.SingleInputMixin, core.Node):
    """A linear layer without weights of either sign, such as padding: Δ⁺ and m⁺ pass it by themselves, Δ⁻ and m⁻ too.

    Args:
        function: tensor -> tensor; linear, no negative coefficient.
    """

    def __init__(self, function: Callable, **kwargs):
        super().__init__(**kwargs)
        self._function = function

    def _compute_shape(self, input_shape):
        return input_shape

    def _build_activation_vars(self, input_activations):
        return self._function(input_activations)

    def _build_pos_and_neg_contribs(self):
        return tuple(map(self._function, self._get_input_pos_and_neg_contribs()))

    def _get_mxts_increments_for_inputs(self):
        return tuple(map(self._transposed, (self.get_pos_mxts(), self.get_neg_mxts())))

    def _transposed(self, multipliers):
        return tf.gradients(self.get_activation_vars(), self._get_input_activation_vars(), multipliers)[0]


class SplitMaxPool2D(pooling.MaxPool2D):
    """Max pooling whose Δ⁺ and Δ⁻ are the parts of its Δ; the package has zeros in their place."""

    def _build_pos_and_neg_contribs(self):
        return split(self._get_diff_from_reference_vars())


class Dense(core.Dense):
    """The package's dense layer, for a kernel that is not an array."""

    def __init__(self, kernel: Weight, bias, **kwargs):
        super().__init__(kernel=0.0, bias=0.0, **LINEAR, **kwargs)
        self.kernel, self.bias = kernel, bias


class Filter(core.SingleInputMixin, core.Node):
    """A linear layer with a kernel, given as a function: what the package has for convolutions, for further kinds of them.

    Δ⁺ = f(Δx⁺, W⁺) + f(Δx⁻, W⁻), Δ⁻ = f(Δx⁻, W⁺) + f(Δx⁺, W⁻); multipliers pass the transposed pairings back.

    Args:
        function: (input, kernel) -> output, linear in both.
        kernel: the kernel W.
        bias: one number per output channel.
    """

    def __init__(self, function: Callable, kernel: Weight, bias, **kwargs):
        super().__init__(**kwargs)
        self._function, self.kernel, self._bias = function, kernel, bias

    def _compute_shape(self, input_shape):
        return input_shape

    def _build_activation_vars(self, input_activations):
        return self._function(input_activations, self.kernel) + self._bias

    def _build_pos_and_neg_contribs(self):
        apply, (up, down), (positive, negative) = self._function, split(self._get_input_diff_from_reference_vars()), split(self.kernel)
        return apply(up, positive) + apply(down, negative), apply(down, positive) + apply(up, negative)

    def _get_mxts_increments_for_inputs(self):
        (positive, negative), m = split(self.kernel), (self.get_pos_mxts(), self.get_neg_mxts())
        above = self._transposed(m[0], positive) + self._transposed(m[1], negative)
        below = self._transposed(m[0], negative) + self._transposed(m[1], positive)
        multipliers = by_sign(self._get_input_diff_from_reference_vars(), above, below)
        return multipliers, multipliers

    def _transposed(self, multipliers, kernel):
        x = self._get_input_activation_vars()
        return tf.gradients(self._function(x, kernel), x, multipliers)[0]


class _Uncrossed:
    """Mix-in for a linear layer: positive multipliers reach positive inputs only, negative ones negative inputs only."""

    def _get_mxts_increments_for_inputs(self):
        kernel = self.kernel
        self.kernel = Weight(split(kernel)[0])
        increments = super()._get_mxts_increments_for_inputs()
        self.kernel = kernel
        return increments


class UncrossedDense(_Uncrossed, Dense):
    """A dense layer of the ablation."""


class UncrossedConv2D(_Uncrossed, convolutional.Conv2D):
    """A convolution of the ablation."""


class UncrossedFilter(_Uncrossed, Filter):
    """A further kind of convolution of the ablation."""
