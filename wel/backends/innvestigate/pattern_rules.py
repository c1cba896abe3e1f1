"""PatternNet and PatternAttribution (Kindermans et al. 2018) as innvestigate reverse mappings; 1.0.8 had them, 2.x dropped them.

With z a layer's value before its activation function f, and Lᵀ[k] the layer transposed with kernel k and without bias,

    R_in = Lᵀ[a] (f'(z) ∘ R)        PatternNet
    R_in = Lᵀ[a ∘ w] (f'(z) ∘ R)    PatternAttribution

where a is the layer's pattern. A BatchNormalization that is folded into the layer before it (`wel.methods.patterns`) passes R on, and
w is the folded kernel. All other layers follow their gradient. `paper` divides R, where it has more than one axis per image and
all of the network goes through that one tensor, by its largest absolute value per image (1.0.8's
`reverse_project_bottleneck_layers`); `corrected` does not. Injected vectors stay as they are.
"""

from __future__ import annotations

from typing import Mapping, Sequence

import innvestigate.backend as ibackend
import numpy as np
import tensorflow as tf
from innvestigate.analyzer.reverse_base import ReverseAnalyzerBase

from wel.backends.innvestigate.residual import affine
from wel.backends.worker import Unsupported
from wel.networks.kernels import folded_norms, kernel_of, linear_map, unit_axes
from wel.networks.kinds import PATTERN_KINDS, is_linear


class PatternNet(ReverseAnalyzerBase):
    """The analyzer of both methods.

    Attributes:
        patterns: layer name -> variable that holds the layer's pattern; zero until `load_patterns` sets it.
    """

    attribution = False

    def __init__(self, model, semantics: str, **kwargs):
        super().__init__(model, reverse_project_bottleneck_layers=semantics == "paper", **kwargs)
        self.patterns: dict[str, tf.Variable] = {}
        self._norms: dict = {}

    def _create_analysis(self, model, *args, **kwargs):
        layers = {layer.name: layer for layer in model.layers}
        folded = folded_norms((name, layer, _sources(layer)) for name, layer in layers.items())
        self._norms = {name: layers[norm] for name, norm in folded.items()}
        self._add_conditional_reverse_mapping(lambda layer: type(layer).__name__ in PATTERN_KINDS, self._kernel_mapping)
        self._add_conditional_reverse_mapping(lambda layer: layer.name in folded.values(), _pass_on)
        return super()._create_analysis(model, *args, **kwargs)

    def _kernel_mapping(self, layer, state):
        shape = kernel_of(layer).shape
        pattern = tf.compat.v1.Variable(tf.zeros(shape), trainable=False, name=f"pattern_{layer.name}")
        self.patterns[layer.name] = pattern
        kernel = pattern * self._folded_kernel(layer) if self.attribution else pattern

        def apply(Xs, Ys, Rs, _state):
            return tf.gradients(linear_map(layer, Xs[0], kernel), Xs, _through_activation(layer, Xs[0], Rs[0]))

        return apply

    def _folded_kernel(self, layer):
        kernel = tf.convert_to_tensor(kernel_of(layer))
        if layer.name not in self._norms:
            return kernel
        scale, _ = affine(self._norms[layer.name], layer.output)
        return kernel * tf.reshape(scale, kernel.shape[-unit_axes(layer) :])


class PatternAttribution(PatternNet):
    """PatternNet with the kernel a ∘ w."""

    attribution = True


def load_patterns(session, variables: Sequence[tf.Variable], arrays: Mapping[str, np.ndarray]) -> None:
    """Gives the variables of a `PatternNet`, in node order, the job's arrays `pattern_000`, `pattern_001`, …

    Raises:
        Unsupported: when there are more or fewer of them than layers with a kernel, or a shape differs.
    """
    given = [arrays[key] for key in sorted(arrays) if key.startswith("pattern_")]
    if [array.shape for array in given] != [tuple(variable.shape) for variable in variables]:
        raise Unsupported(f"Expected {len(variables)} patterns, one of each kernel's shape, in node order. Received {len(given)}.")
    feeds = {variable.initializer.inputs[1]: array for variable, array in zip(variables, given)}
    session.run([variable.initializer for variable in variables], feeds)


def _sources(layer) -> list[str]:
    return [source.name for source in ibackend.to_list(layer.inbound_nodes[0].inbound_layers)]


def _pass_on(Xs, Ys, Rs, state):
    return Rs


def _through_activation(layer, x, R):
    if is_linear(layer):
        return R
    z = linear_map(layer, x, kernel_of(layer))
    if layer.use_bias:
        z = tf.nn.bias_add(z, layer.bias)
    return tf.gradients(layer.activation(z), z, R)[0]
