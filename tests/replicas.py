"""Naive replicas of every rule: float64, one image at a time, every layer an explicit matrix.

Slower and less complicated than any backend, and close to the definitions: a layer is y = xW + b, a rule is a few lines of
numpy on x, W, b and the relevances R that come from above, one row per vector. Values and relevances are flat vectors; the
inputs of a layer with several of them are joined end to end, so that Add has the matrix [I; I].
"""

from __future__ import annotations

from functools import reduce
from itertools import combinations
from typing import Callable, NamedTuple

import numpy as np

SAFE = 1e-7  # stands in for a denominator that is exactly 0
ALPHA_BETA = {
    "lrp_alpha1_beta0": (1, 0),
    "lrp_alpha2_beta1": (2, 1),
    "lrp_alpha5_beta4": (5, 4),
    "lrp_cmp_alpha1_beta0": (1, 0),
    "lrp_cmp_alpha2_beta1": (2, 1),
}
CMP_EPSILON = 1e-10
# one rule for all kernels, but in `paper` innvestigate's own at BatchNormalization and Add; so are LRP's composites
SINGLE = ("lrp_unbiased", "w_square", "flat", "z_plus_fast")
SEQUENTIAL = {f"lrp_composite_{letter}{end}": alpha_beta for letter, alpha_beta in (("a", (1, 0)), ("b", (2, 1))) for end in ("", "_flat")}
CANONICAL = ("epsilon_plus", "epsilon_plus_flat", "epsilon_alpha2_beta1", "epsilon_alpha2_beta1_flat", "epsilon_gamma_box")
STABILIZER = 1e-6  # zennit's, and its ε at dense layers
GAMMA = 0.25
# layers that innvestigate passes relevance by their gradient, and activation functions all the same
GRADIENT_LAYERS = ("ReLU", "LeakyReLU", "PReLU", "ELU", "ThresholdedReLU")
NOISE = ("Dropout", "SpatialDropout2D", "AlphaDropout", "GaussianDropout", "GaussianNoise", "ActivityRegularization", "Identity")
PASSED_UNCHANGED = ("Activation", *GRADIENT_LAYERS, *NOISE)
# what only moves values or rescales each by itself: what innvestigate 1.0.8 looks through for the first kernel, and all of it
PAPER_MOVING = ("Flatten", "Reshape", "Permute", "Rescaling", "Normalization")
MOVING = (*PAPER_MOVING, *NOISE, "Cropping2D", "ZeroPadding2D", "UpSampling2D", "Concatenate", "BatchNormalization", "RepeatVector")
METHODS = ("gradient", "guided_backprop", "deconvnet", "rectgrad", "deep_taylor", "lrp_z", "lrp_epsilon", *ALPHA_BETA)


def relative(found: np.ndarray, expected: np.ndarray) -> float:
    """‖a − b‖ / ‖b‖; 0 where both are zero."""
    found, expected = found.astype(np.float64), expected.astype(np.float64)
    distance = np.linalg.norm(found - expected)
    return distance / np.linalg.norm(expected) if distance else 0.0


class Affine(NamedTuple):
    """A layer without its activation as y = xW + b: weights (inputs, outputs), bias (outputs,)."""

    weights: np.ndarray
    bias: np.ndarray

    def __call__(self, x: np.ndarray) -> np.ndarray:
        return x @ self.weights + self.bias


def affine_of(layer, shapes, weights=None) -> Affine:
    """The matrix of a Keras layer whose inputs have these shapes: what its float64 twin makes of 0 and of every unit vector.

    `weights` stand in place of the layer's own.
    """
    twin = _float64_twin(layer, shapes, layer.get_weights() if weights is None else weights)
    sizes = [int(np.prod(shape)) for shape in shapes]

    def apply(rows):
        parts = np.split(rows, np.cumsum(sizes)[:-1], axis=1)
        inputs = [part.reshape(-1, *shape) for part, shape in zip(parts, shapes)]
        return np.asarray(twin(inputs if len(inputs) > 1 else inputs[0])).reshape(len(rows), -1)

    bias = apply(np.zeros((1, sum(sizes))))[0]
    return Affine(apply(np.eye(sum(sizes))) - bias, bias)


def _float64_twin(layer, shapes, weights):
    config = {**layer.get_config(), "dtype": "float64", "name": f"{layer.name.replace('/', '_')}_twin"}
    if "activation" in config:
        config["activation"] = "linear"
    twin = type(layer).from_config(config)
    built = [(None, *shape) for shape in shapes]
    twin.build(built if len(built) > 1 else built[0])
    twin.set_weights([np.asarray(array, np.float64) for array in weights])
    return twin


def max_pool_matrix(layer, x: np.ndarray, shape) -> np.ndarray:
    """(inputs, outputs): 1 where an output took its value from, the first maximum of its window."""
    *sizes, channels = shape
    index, taken = np.arange(x.size).reshape(shape), []
    for window in np.ndindex(*(len(_windows(layer, axis, size)) for axis, size in enumerate(sizes))):
        inside = index[tuple(_windows(layer, axis, sizes[axis])[i] for axis, i in enumerate(window))].reshape(-1, channels)
        taken += inside[x[inside].argmax(axis=0), np.arange(channels)].tolist()
    matrix = np.zeros((x.size, len(taken)))
    matrix[taken, np.arange(len(taken))] = 1
    return matrix


def _windows(layer, axis: int, size: int) -> list[slice]:
    """Where a pooling's windows lie along one axis; with padding "same" parts of them lie outside, half of that before the start."""
    if "Global" in type(layer).__name__:
        return [slice(0, size)]
    (width, stride) = (value[axis] if isinstance(value, tuple) else value for value in (layer.pool_size, layer.strides))
    if layer.padding == "valid":
        starts = range(0, size - width + 1, stride)
    else:
        count = -(-size // stride)
        before = max((count - 1) * stride + width - size, 0) // 2
        starts = range(-before, count * stride - before, stride)
    return [slice(max(start, 0), start + width) for start in starts]


def product_matrix(parts: list[np.ndarray]) -> np.ndarray:
    """(inputs, outputs), the derivative of the inputs' product: for each of them the product of the others."""
    others = [reduce(np.multiply, parts[:k] + parts[k + 1 :]) for k in range(len(parts))]
    return np.concatenate([np.diag(other) for other in others])


def activation_of(layer, shape) -> tuple[Callable, Callable]:
    """A layer's activation function on flat values, and its derivative."""
    kind = type(layer).__name__
    if kind in ("LeakyReLU", "PReLU"):
        slope = np.broadcast_to(np.asarray(layer.alpha, np.float64), shape).ravel()
        return lambda x: np.where(x > 0, x, slope * x), lambda x: np.where(x > 0, 1, slope)
    if kind == "ELU":
        return FUNCTIONS["elu"]
    if kind == "ThresholdedReLU":
        return lambda x: np.where(x > layer.theta, x, 0), lambda x: 1.0 * (x > layer.theta)
    if kind == "ReLU":
        limit = np.inf if layer.max_value is None else layer.max_value
        slope = float(layer.negative_slope or 0)
        return lambda x: np.clip(x, 0, limit) + slope * np.minimum(x, 0), lambda x: np.where(x > 0, x < limit, slope)
    return FUNCTIONS[getattr(getattr(layer, "activation", None), "__name__", "linear")]


def _sigmoid(x: np.ndarray) -> np.ndarray:
    return 1 / (1 + np.exp(-x))


FUNCTIONS = {
    "linear": (lambda x: x, np.ones_like),
    "relu": (lambda x: np.maximum(x, 0), lambda x: 1.0 * (x > 0)),
    "relu6": (lambda x: np.clip(x, 0, 6), lambda x: 1.0 * ((x > 0) & (x < 6))),
    "elu": (lambda x: np.where(x > 0, x, np.exp(x) - 1), lambda x: np.where(x > 0, 1, np.exp(x))),
    "sigmoid": (_sigmoid, lambda x: _sigmoid(x) * (1 - _sigmoid(x))),
    "tanh": (np.tanh, lambda x: 1 - np.tanh(x) ** 2),
    "softplus": (lambda x: np.log(1 + np.exp(x)), _sigmoid),
    "swish": (lambda x: x * _sigmoid(x), lambda x: _sigmoid(x) * (1 + x * (1 - _sigmoid(x)))),
}


def _safe(z: np.ndarray, stabilizer: float = 0) -> np.ndarray:
    return z + stabilizer * np.where(z >= 0, 1, -1) if stabilizer else np.where(z == 0, SAFE, z)


def z_rule(x, layer: Affine, R):
    """R_i = x_i Σ_j w_ij R_j / z_j."""
    return x * (R / _safe(layer(x)) @ layer.weights.T)


def epsilon_rule(x, layer: Affine, R, epsilon: float):
    """R_i = x_i Σ_j w_ij R_j / (z_j + ε sign z_j), sign 0 = 1."""
    z = layer(x)
    return x * (R / (z + epsilon * np.where(z >= 0, 1, -1)) @ layer.weights.T)


def gamma_rule(x, layer: Affine, R, gamma: float, bias: str = "scaled"):
    """R_i = x_i Σ_j (w_ij + γw_ij⁺) R_j / (Σ_i x_i (w_ij + γw_ij⁺) + b̂_j), b̂ = b + γb⁺, b or 0."""
    weights = layer.weights + gamma * np.maximum(layer.weights, 0)
    biases = {"scaled": layer.bias + gamma * np.maximum(layer.bias, 0), "unscaled": layer.bias, "none": 0 * layer.bias}
    return z_rule(x, Affine(weights, biases[bias]), R)


def signed_gamma_rule(x, layer: Affine, R, gamma: float, stabilizer: float):
    """zennit's γ: what has the output's sign counts γ more, of the shares x_i w_ij as of the bias; an output of 0 hands nothing down."""
    found = np.zeros((len(R), x.size))
    for j, z in enumerate(layer(x)):
        keep, terms, bias = np.maximum if z > 0 else np.minimum, x * layer.weights[:, j], layer.bias[j]
        shares = terms + gamma * keep(terms, 0)
        total = shares.sum() + bias + gamma * keep(bias, 0)
        found += R[:, [j]] * shares / (total + stabilizer * (1 if total >= 0 else -1)) * (z != 0)
    return found


def share_rule(weights: np.ndarray, R):
    """R_i = Σ_j w_ij R_j / Σ_i w_ij, whatever the input is."""
    return R / _safe(weights.sum(0)) @ weights.T


def excess_rule(x, layer: Affine, R):
    """x⁺ ⊙ (2 W⁺ᵀ(R / (W⁺x⁺ + b⁺)) − W⁻ᵀ(R / (W⁻x⁺ + b⁻)))."""
    up, down = (Affine(keep(layer.weights, 0), keep(layer.bias, 0)) for keep in (np.maximum, np.minimum))
    return 2 * z_rule(np.maximum(x, 0), up, R) - z_rule(np.maximum(x, 0), down, R)


def fused_norm(layer, shape) -> Affine:
    """A BatchNormalization as innvestigate 2.1.2 has it: w = γ/√(v² + ε), b = β − μ/√(v² + ε)."""
    variance, mean = over_axis(layer, layer.moving_variance, shape), over_axis(layer, layer.moving_mean, shape)
    deviation = np.sqrt(variance**2 + layer.epsilon)
    gamma = over_axis(layer, layer.gamma, shape) if layer.scale else np.ones_like(mean)
    beta = over_axis(layer, layer.beta, shape) if layer.center else np.zeros_like(mean)
    return Affine(np.diag(gamma / deviation), beta - mean / deviation)


def by_sign(weights: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """w⁺ and w⁻."""
    return np.maximum(weights, 0), np.minimum(weights, 0)


def alpha_beta_rule(x, layer: Affine, R, alpha: float, beta: float, semantics: str, signs=None, stabilizer: float = 0):
    """R_i = Σ_j (α (x_i w_ij)⁺ / z_j⁺ − β (x_i w_ij)⁻ / z_j⁻) R_j; z_j± holds b_j in `paper` and b_j± in `corrected`.

    (x w)⁺ = x⁺w⁺ + x⁻w⁻ and (x w)⁻ = x⁺w⁻ + x⁻w⁺; `signs` stand in place of w⁺ and w⁻.
    """
    positive, negative = signs or by_sign(layer.weights)
    above, below = np.maximum(x, 0)[:, None], np.minimum(x, 0)[:, None]
    up, down = above * positive + below * negative, above * negative + below * positive
    paper = semantics == "paper"
    bias_up, bias_down = (layer.bias, layer.bias) if paper else (np.maximum(layer.bias, 0), np.minimum(layer.bias, 0))
    activators = R @ (up / _safe(up.sum(0) + bias_up, stabilizer)).T
    inhibitors = R @ (down / _safe(down.sum(0) + bias_down, stabilizer)).T
    return alpha * activators - beta * inhibitors


def bounded_rule(x, layer: Affine, R, low, high, signs=None, stabilizer: float = 0):
    """zᴮ: R_i = Σ_j (x_i w_ij − l_i w_ij⁺ − h_i w_ij⁻) R_j / Σ_i (…); `signs` stand in place of w⁺ and w⁻."""
    positive, negative = signs or by_sign(layer.weights)
    shares = x[:, None] * layer.weights - low[:, None] * positive - high[:, None] * negative
    return R @ (shares / _safe(shares.sum(0), stabilizer)).T


def add_rule(x, layer: Affine, R, alpha: float, beta: float, semantics: str):
    """Add as the layer [I; I] under αβ; `paper` clips the result to [0, 1000]."""
    relevance = alpha_beta_rule(x, layer, R, alpha, beta, semantics)
    return np.clip(relevance, 0, 1000) if semantics == "paper" else relevance


def paper_batch_norm_rule(x, layer, affine: Affine, R, shape):
    """R_i = x (y − β) R / ((x − μ) y ± 1e-7), innvestigate 1.0.8's LRP-z for BatchNormalization."""
    y, mean = affine(x), over_axis(layer, layer.moving_mean, shape)
    shift = over_axis(layer, layer.beta, shape) if layer.center else 0
    denominator = (x - mean) * y
    return x * (y - shift) * R / (denominator + SAFE * np.where(denominator >= 0, 1, -1))


def over_axis(layer, vector, shape) -> np.ndarray:
    """A number per place of a BatchNormalization's axis, for every value of a layer of this shape."""
    axis = layer.axis[0] if isinstance(layer.axis, (list, tuple)) else layer.axis
    last = np.moveaxis(np.empty(shape), axis - 1 if axis > 0 else axis, -1)
    filled = np.broadcast_to(np.asarray(vector, np.float64), last.shape)
    return np.moveaxis(filled, -1, axis - 1 if axis > 0 else axis).ravel()


def important(y, R, percentile: float):
    """RectGrad: R where y·R is strictly above its percentile, else 0; nearest rank, counted from the top, halves to even."""
    importance = np.sort(y * R, axis=1)[:, ::-1]
    rank = int(np.round((y.size - 1) * (1 - percentile / 100)))
    return np.where(y * R > importance[:, [rank]], R, 0)


class Replica:
    """A network and a method; `relevance` has the meaning of `wel.relevance`, in float64.

    Layers: what `affine_of` makes a matrix of, max pooling, Multiply; activations: `activation_of`.
    """

    def __init__(self, net, method: str, semantics: str = "paper", affine: dict | None = None, **options):
        self._graph, self._method, self._options = net.graph, method, options
        self._semantics = "corrected" if method in CANONICAL else semantics
        self._affine = {} if affine is None else affine

    def relevance(self, images, start: str, vectors) -> dict[str, np.ndarray]:
        """{node below start: (n, V, *shape)} for images (n, *input) and vectors (n, V, *shape of start)."""
        parts = [self._one(image, start, rows) for image, rows in zip(images, vectors)]
        return {name: np.stack([part[name] for part in parts]) for name in self._graph.below(start)}

    def _one(self, image, start: str, vectors) -> dict[str, np.ndarray]:
        values = self.values(image)
        arrived = {start: np.asarray(vectors, np.float64).reshape(len(vectors), -1)}
        for name in [start, *reversed(self._graph.below(start))]:
            if name != start:
                arrived[name] = self._arriving(name, arrived[name])
            if name == self._graph.input:
                continue
            node = self._graph[name]
            x = np.concatenate([values[source] for source in node.inputs])
            back = self._back(node, x, values[name], arrived[name])
            cuts = np.cumsum([values[source].size for source in node.inputs])[:-1]
            for source, part in zip(node.inputs, np.split(back, cuts, axis=1)):
                arrived[source] = arrived.get(source, 0) + part
        return {name: arrived[name].reshape(len(vectors), *self._graph[name].shape) for name in self._graph.below(start)}

    def _arriving(self, name: str, R):
        """Relevance at a node, once all of it has come down."""
        return R

    def values(self, image) -> dict[str, np.ndarray]:
        """The output of every node, flat."""
        values = {self._graph.input: np.asarray(image, np.float64).ravel()}
        for node in self._graph.nodes[1:]:
            x = np.concatenate([values[source] for source in node.inputs])
            values[node.name] = activation_of(node.layer, node.shape)[0](self._before_activation(node, x))
        return values

    def affine(self, node) -> Affine:
        """The layer of a node as a matrix, its activation left out."""
        if node.name not in self._affine:
            shapes = [self._graph[source].shape for source in node.inputs]
            identity = node.kind in PASSED_UNCHANGED
            size = int(np.prod(node.shape))
            self._affine[node.name] = Affine(np.eye(size), np.zeros(size)) if identity else affine_of(node.layer, shapes)
        return self._affine[node.name]

    def _before_activation(self, node, x):
        if node.kind == "Multiply":
            return np.prod(np.split(x, len(node.inputs)), axis=0)
        return x @ self._matrix(node, x) if "MaxPool" in node.kind else self.affine(node)(x)

    def _derivative(self, node, x):
        return activation_of(node.layer, node.shape)[1](self._before_activation(node, x))

    def _matrix(self, node, x):
        """The layer's derivative at x, its activation left out."""
        if "MaxPool" in node.kind:
            return max_pool_matrix(node.layer, x, self._graph[node.inputs[0]].shape)
        if node.kind == "Multiply":
            return product_matrix(np.split(x, len(node.inputs)))
        return self.affine(node).weights

    def _back(self, node, x, y, R):
        if self._method in ("gradient", "guided_backprop", "deconvnet", "rectgrad", "beta_smooth"):
            return self._activation_back(node, x, y, R) @ self._matrix(node, x).T
        special = self._deep_taylor if self._method.startswith("deep_taylor") else self._lrp
        relevance = special(node, x, y, R)
        return R @ self._matrix(node, x).T if relevance is None else relevance

    def _activation_back(self, node, x, y, R):
        if self._method != "gradient" and is_relu(node.layer):
            if self._method == "deconvnet":
                return np.maximum(R, 0)
            if self._method == "beta_smooth" and not has_maximum(node.layer):
                return R * _sigmoid(self._options.get("beta", 10) * self._before_activation(node, x))
            if self._method == "guided_backprop":
                R = np.maximum(R, 0)
            if self._method == "rectgrad":
                R = important(y, R, self._options.get("percentile", 98))
        return R * self._derivative(node, x)

    def _deep_taylor(self, node, x, y, R):
        corrected = self._semantics == "corrected"
        if has_kernel(node.layer):
            layer, ends = self.affine(node), None if "unbounded" in self._method else self._ends(node.inputs[0])
            if ends is not None:
                return bounded_rule(x, layer, R, *ends, self._signs(node))
            return alpha_beta_rule(x, layer._replace(bias=0 * layer.bias) if corrected else layer, R, 1, 0, "paper", self._signs(node))
        if node.kind in ("BatchNormalization", "Rescaling", "Normalization"):
            return R
        if node.kind in ("Add", "Subtract") and corrected:
            return add_rule(x, self.affine(node), R, 1, 0, "corrected")
        return R * self._derivative(node, x) if node.kind in PASSED_UNCHANGED else None

    def _ends(self, name: str):
        """The least and the largest value of every input of a node, if they are the network's moved or rescaled; else None."""
        node = self._graph[name]
        if name == self._graph.input:
            return tuple(np.full(int(np.prod(node.shape)), self._options[end], np.float64) for end in ("low", "high"))
        linear = node.kind == "Activation" and node.layer.activation.__name__ == "linear" and self._semantics == "corrected"
        if node.kind not in (PAPER_MOVING if self._semantics == "paper" else MOVING) and not linear:
            return None
        sources = [self._ends(source) for source in node.inputs]
        if None in sources:
            return None
        one, other = (self.affine(node)(np.concatenate(several)) for several in zip(*sources))
        return np.minimum(one, other), np.maximum(one, other)

    def _signs(self, node):
        """w⁺ and w⁻ of a kernel; in `paper`, of two kernels in a row, the product of the positive and of the negative parts of both."""
        if self._semantics == "corrected" or "Separable" not in node.kind:
            return by_sign(self.affine(node).weights)
        shapes = [self._graph[source].shape for source in node.inputs]
        depthwise, pointwise, *bias = node.layer.get_weights()
        return tuple(
            affine_of(node.layer, shapes, [keep(depthwise, 0), keep(pointwise, 0), *bias]).weights for keep in (np.maximum, np.minimum)
        )

    def _lrp(self, node, x, y, R):
        paper = self._semantics == "paper"
        if paper and node.kind in GRADIENT_LAYERS:
            return R * self._derivative(node, x)
        if paper and node.kind in ("Average", "Subtract"):
            return None
        if "Average" in node.kind:
            return epsilon_rule(x, self.affine(node), R, STABILIZER) if self._method in CANONICAL else z_rule(x, self.affine(node), R)
        if node.kind in PASSED_UNCHANGED:
            return R
        if node.kind == "Multiply" and not paper:
            return np.tile(R, len(node.inputs)) / len(node.inputs)
        if has_kernel(node.layer) or node.kind in ("Add", "Subtract", "BatchNormalization"):
            return self._by_method(node, x, R)
        return None

    def _by_method(self, node, x, R):
        if self._method in ALPHA_BETA:
            return self._alpha_beta(node, x, R)
        if self._method in CANONICAL:
            return self._canonical(node, x, R)
        if self._method == "lrp_gamma":
            return gamma_rule(x, self.affine(node), R, self._options.get("gamma", GAMMA), self._options.get("bias", "scaled"))
        if self._method == "lrp_alpha_beta":
            return self._free_alpha_beta(node, x, R)
        if self._method not in (*SINGLE, *SEQUENTIAL) or (self._semantics == "paper" and not has_kernel(node.layer)):
            return self._linear(node, x, R)
        return self._single(node, x, R) if self._method in SINGLE else self._sequential(node, x, R)

    def _free_alpha_beta(self, node, x, R):
        layer, numbers = self.affine(node), (self._options["alpha"], self._options["beta"])
        layer = layer._replace(bias=0 * layer.bias) if self._options.get("bias") == "without" else layer
        if node.kind == "Add":
            return add_rule(x, layer, R, *numbers, self._semantics)
        return alpha_beta_rule(x, layer, R, *numbers, self._semantics, self._signs(node))

    def _single(self, node, x, R):
        layer = self.affine(node)
        if self._method == "lrp_unbiased":
            return epsilon_rule(x, layer._replace(bias=0 * layer.bias), R, self._options["epsilon"])
        if self._method == "z_plus_fast":
            return z_rule(x, Affine(self._signs(node)[0], 0 * layer.bias), R)
        return share_rule(self._of_kernels(node, np.square if self._method == "w_square" else np.ones_like), R)

    def _of_kernels(self, node, function: Callable) -> np.ndarray:
        """The matrix of a layer, the function being applied to each of its kernels; of one without a kernel, to what is not 0 in it."""
        weights = self.affine(node).weights
        if not has_kernel(node.layer):
            return np.where(weights == 0, 0, function(weights))
        arrays = [array.astype(np.float64) for array in node.layer.get_weights()]
        kernels = len(arrays) - node.layer.use_bias
        arrays = [*map(function, arrays[:kernels]), *arrays[kernels:]]
        return affine_of(node.layer, [self._graph[source].shape for source in node.inputs], arrays).weights

    def _sequential(self, node, x, R):
        if self._method.endswith("_flat") and has_kernel(node.layer) and self._is_moved(node.inputs[0]):
            return share_rule(self._of_kernels(node, np.ones_like), R)
        if node.kind == "Dense":
            return epsilon_rule(x, self.affine(node), R, self._options.get("epsilon", 0.1))
        return alpha_beta_rule(x, self.affine(node), R, *SEQUENTIAL[self._method], self._semantics, self._signs(node))

    def _canonical(self, node, x, R):
        layer, box = self.affine(node), self._method == "epsilon_gamma_box"
        if node.kind == "BatchNormalization":
            return R
        if has_kernel(node.layer) and self._method.endswith("_flat") and self._is_moved(node.inputs[0]):
            return share_rule(self._of_kernels(node, np.ones_like), R)
        if node.kind == "Dense" or not has_kernel(node.layer):
            return epsilon_rule(x, layer, R, STABILIZER)
        if box and self._is_moved(node.inputs[0]):
            return bounded_rule(x, layer, R, *self._ends(node.inputs[0]), stabilizer=STABILIZER)
        if box:
            return signed_gamma_rule(x, layer, R, GAMMA, STABILIZER)
        return alpha_beta_rule(x, layer, R, *((2, 1) if "2" in self._method else (1, 0)), "corrected", stabilizer=STABILIZER)

    def _is_moved(self, name: str) -> bool:
        """Whether a node holds the network's input, moved or rescaled."""
        self._options = {"low": 0.0, "high": 0.0, **self._options}
        return self._ends(name) is not None

    def _alpha_beta(self, node, x, R):
        if "cmp" in self._method and node.kind == "Dense":
            return epsilon_rule(x, self.affine(node), R, CMP_EPSILON)
        if node.kind == "Add":
            return add_rule(x, self.affine(node), R, *ALPHA_BETA[self._method], self._semantics)
        return alpha_beta_rule(x, self.affine(node), R, *ALPHA_BETA[self._method], self._semantics, self._signs(node))

    def _linear(self, node, x, R):
        paper = self._semantics == "paper"
        if paper and node.kind == "BatchNormalization":
            return paper_batch_norm_rule(x, node.layer, self.affine(node), R, node.shape)
        if self._method in ("lrp_z", *SINGLE, *SEQUENTIAL) or (paper and node.kind == "Add"):
            return z_rule(x, self.affine(node), R)
        return epsilon_rule(x, self.affine(node), R, self._options.get("epsilon", 1e-7))


def is_relu(layer) -> bool:
    """Whether a layer is, or ends in, a ReLU, which may have a maximum."""
    if type(layer).__name__ == "ReLU":
        return not layer.negative_slope and not layer.threshold
    return getattr(getattr(layer, "activation", None), "__name__", "") in ("relu", "relu6")


def has_maximum(layer) -> bool:
    """Whether a ReLU has a maximum."""
    return getattr(layer, "max_value", None) is not None or getattr(getattr(layer, "activation", None), "__name__", "") == "relu6"


def has_kernel(layer) -> bool:
    """Whether a layer is dense, a convolution or locally connected."""
    return any(word in type(layer).__name__ for word in ("Dense", "Conv", "LocallyConnected"))


class PatternReplica(Replica):
    """PatternNet and PatternAttribution: at every layer with a pattern the gradient with another kernel in its place.

    Args:
        patterns: one per layer with a kernel, in execution order.
        folded: layer -> the BatchNormalization that is folded into it.
    """

    def __init__(self, net, method: str, semantics: str, patterns, folded: dict[str, str]):
        super().__init__(net, method, semantics)
        kernels = [node for node in net.graph.nodes if has_kernel(node.layer)]
        self._patterns = {node.name: pattern for node, pattern in zip(kernels, patterns)}
        self._folded = folded

    def _back(self, node, x, y, R):
        if node.name in self._folded.values():
            return R
        matrix = self._other_matrix(node) if node.name in self._patterns else self._matrix(node, x)
        return R * self._derivative(node, x) @ matrix.T

    def _arriving(self, name: str, R):
        divided = self._semantics == "paper" and len(self._graph[name].shape) > 1 and name in self._graph.bottlenecks()
        largest = np.abs(R).max(axis=1, keepdims=True)
        return R / np.where(largest == 0, 1, largest) if divided else R

    def _other_matrix(self, node) -> np.ndarray:
        """The layer's matrix if it had its pattern a, or a ∘ w, for a kernel; w with the scale of a folded BatchNormalization."""
        weights = node.layer.get_weights()
        kernel = np.asarray(self._patterns[node.name], np.float64)
        if self._method == "pattern_attribution":
            kernel = kernel * weights[0] * self._scale(node, weights[0].shape)
        shapes = [self._graph[source].shape for source in node.inputs]
        return affine_of(node.layer, shapes, [kernel, *weights[1:]]).weights

    def _scale(self, node, shape) -> np.ndarray:
        if node.name not in self._folded:
            return np.ones(1)
        layer = self._graph[self._folded[node.name]].layer
        scale = np.asarray(layer.gamma, np.float64) / np.sqrt(np.asarray(layer.moving_variance, np.float64) + layer.epsilon)
        return scale.reshape(shape[2:] if node.kind == "DepthwiseConv2D" else shape[-1:])


def ratio(vectors) -> float:
    """p̂ in the plainest way, for (V, anything)."""
    flat = np.asarray(vectors, "float64").reshape(len(vectors), -1)
    pairs = list(combinations(flat, 2))
    above, below = sum((a @ a) * (b @ b) for a, b in pairs), sum((a @ b) ** 2 for a, b in pairs)
    with np.errstate(divide="ignore", invalid="ignore"):
        return np.float64(above) / below
