"""Networks of data format channels_first, rewritten to channels_last, because TensorFlow's CPU kernels know no other.

Every tensor of the rank of an image is kept channels-last. A layer that depends on the order of its input's values (Flatten, Reshape,
Dense on images, …) is put between two Permute layers, which give it the order that it had, so that all weights stay as they are.
"""

from __future__ import annotations

import copy
from dataclasses import dataclass, field
from typing import Any, Sequence

from wel.modelfiles.conversion import (
    Converted,
    all_layers,
    first_node,
    is_model,
    malformed_refused,
    name_of,
    parts,
    refused,
    sources_of,
    triples,
    with_sources,
)

# rank (with the images of a batch) that a layer with a data_format works on: its name says it, these do not
RANKS = {"1D": 3, "2D": 4, "3D": 5}
ELEMENTWISE = frozenset(
    "ReLU LeakyReLU ELU ThresholdedReLU Dropout GaussianNoise GaussianDropout AlphaDropout ActivityRegularization Identity "
    "InputLayer".split()
)
# of which a model may have others than of its convolutions: these do nothing at inference, Flatten is called on anything
DROPOUTS = ("SpatialDropout1D", "SpatialDropout2D", "SpatialDropout3D")
OWN_FORMAT = ("Flatten", *DROPOUTS)
MERGING = frozenset("Add Subtract Multiply Average Maximum Minimum".split())
# layers whose one axis is named; the weights of the first two are one value per channel
BY_AXIS = frozenset("BatchNormalization GroupNormalization Concatenate Softmax SyncBatchNormalization BatchNormalizationV1".split())
ORDERED = frozenset("Dense PReLU LayerNormalization UnitNormalization Permute Reshape".split())
TO_VECTOR = ("GlobalAveragePooling", "GlobalMaxPooling")
FORMATTED = ("Conv", "DepthwiseConv", "SeparableConv", "MaxPooling", "AveragePooling", "ZeroPadding", "Cropping", "UpSampling", *TO_VECTOR)
POINTWISE = frozenset("relu relu6 elu selu gelu swish silu mish tanh sigmoid hard_sigmoid softplus softsign exponential linear".split())


def applies(configuration: dict, keras_version: str | None = None) -> bool:
    """Whether a layer of the model computes on channels_first images.

    Raises:
        WelError: for what is no model's configuration.
    """
    with malformed_refused("data format channels_first"):
        return bool(_ranks(configuration))


def has_images(configuration: dict, rank: int) -> bool:
    """Whether tensors of a rank, the batch included, are channels_first images."""
    return rank in _ranks(configuration)


def converted(configuration: dict) -> Converted:
    """The configuration with all images channels-last and weights of the same shapes.

    Inputs change from (channels, rows, columns) to (rows, columns, channels). Layers can change their order in `Model.layers`: weights go
    over by name (`copy_weights`).

    Raises:
        WelError: for layers whose dependence on the order is not known, and for models that mix both formats.
    """
    with malformed_refused("data format channels_first"):
        ranks = _ranks(configuration)
        rewriting = _Rewriting(ranks)
        configuration = rewriting.model(copy.deepcopy(configuration), None)[0]
        layers = "one Permute layer" if rewriting.added == 1 else f"{rewriting.added} Permute layers"
        added = f", with {layers} where the order matters" if rewriting.added else ""
        note = f"Its data format channels_first was rewritten to channels_last{added}: it takes images with the channels last."
        return Converted(configuration, (note,))


def copy_weights(source: Any, target: Any) -> None:
    """Copies all weights from the model of the old configuration to that of the converted one, by the names of their layers.

    Raises:
        WelError: where names are not unique.
    """
    for layer in source.layers:
        if not layer.weights:
            continue
        twin = _twin(layer, target)
        if hasattr(layer, "layers"):
            copy_weights(layer, twin)
        else:
            twin.set_weights(layer.get_weights())


def _twin(layer: Any, target: Any) -> Any:
    """The layer of the other model that takes a layer's weights."""
    # Keras 2.0 stores no names of nested Sequentials: they are known by the names of their layers
    twins = [other for other in target.layers if _names(other) == _names(layer)]
    named = [other for other in twins if other.name == layer.name]
    if not named and len(twins) != 1:
        raise refused(f"its layer '{layer.name}' has a name that is not its own.")
    return (named or twins)[0]


def _names(layer: Any) -> list[str]:
    """Names of a nested model's layers with weights, else the layer's own."""
    if not hasattr(layer, "layers"):
        return [layer.name]
    return ["nested", *sorted(name for part in layer.layers if part.weights for name in _names(part))]


def _ranks(configuration: dict) -> frozenset[int]:
    """The ranks of the tensors that are channels_first images."""
    formats: dict[int, set[str]] = {}
    for layer in all_layers(configuration):
        if "data_format" in layer["config"] and layer["class_name"] not in OWN_FORMAT:
            data_format = str(layer["config"]["data_format"])
            if data_format == "channels_first" or _is_formatted(layer):
                formats.setdefault(_rank_of(layer), set()).add(data_format)
    first = {rank for rank, found in formats.items() if "channels_first" in found}
    if any(formats[rank] != {"channels_first"} for rank in first):
        raise refused("its layers mix the data formats channels_first and channels_last. Expected one of them.")
    return frozenset(first)


def _is_formatted(layer: dict) -> bool:
    return any(layer["class_name"].split(dimensions)[0] in FORMATTED for dimensions in RANKS if dimensions in layer["class_name"])


def _rank_of(layer: dict) -> int:
    kind = layer["class_name"]
    if _is_formatted(layer):
        return next(rank for dimensions, rank in RANKS.items() if dimensions in kind)
    raise refused(f"its layer '{name_of(layer)}' is a {kind} with a data_format, which wel cannot rewrite to channels_last.")


def _last(rank: int) -> list[int]:
    """Permute's `dims` from channels-first to channels-last; (2, 3, 1) for images."""
    return [*range(2, rank), 1]


def _first(rank: int) -> list[int]:
    """Permute's `dims` from channels-last to channels-first; (3, 1, 2) for images."""
    return [rank - 1, *range(1, rank - 1)]


def _moved(shape: list) -> list:
    """A shape with the batch dimension, channels moved to the end."""
    return [shape[0], *shape[2:], shape[1]]


@dataclass
class _Rewriting:
    """The rewriting of one configuration.

    Attributes:
        ranks: of the tensors that are images.
        added: how many Permute layers were put in.
    """

    ranks: frozenset[int]
    added: int = 0

    def model(self, configuration: dict, rank: int | None) -> tuple[dict, Sequence[int | None]]:
        """A model rewritten in place, given the rank of its input if it says none; with the ranks of its outputs."""
        configuration.pop("build_config", None)
        if configuration["class_name"] == "Sequential":
            return configuration, [self._sequential(configuration, rank)]
        return configuration, _Graph(self, configuration).rewrite()

    def _sequential(self, configuration: dict, rank: int | None) -> int | None:
        layers = _with_input(configuration)
        rewritten: list[dict] = []
        for layer in layers:
            rank = self.input(layer) if layer["class_name"] == "InputLayer" else rank
            if rank is None and not is_model(layer):
                raise refused(f"its Sequential says no input shape before the layer '{name_of(layer)}'.")
            before, after, rank = self.layer(layer, [rank])
            permuted = [(before, "before"), (None, ""), (after, "after")]
            rewritten += [layer if not where else self.permute(layer, dims, where) for dims, where in permuted if dims or not where]
        layers[:] = rewritten
        if isinstance(configuration["config"], dict):
            configuration["config"].pop("build_input_shape", None)
        return rank

    def input(self, layer: dict) -> int:
        """Rewrites an InputLayer's shape; its rank."""
        key = "batch_shape" if "batch_shape" in layer["config"] else "batch_input_shape"
        shape = layer["config"][key]
        if len(shape) in self.ranks:
            layer["config"][key] = _moved(shape)
        return len(shape)

    def permute(self, layer: dict, dims: list[int], where: str) -> dict:
        """A Permute layer beside another one, in the same style of configuration."""
        self.added += 1
        added = {"class_name": "Permute", "config": {"name": f"{name_of(layer)}_{where}_{self.added}", "dims": dims}}
        return {"module": "keras.layers", "registered_name": None, **added} if "module" in layer else added

    def layer(self, layer: dict, ranks: list[int | None]) -> tuple[list[int] | None, list[int] | None, int | None]:
        """Rewrites a layer in place for inputs of certain ranks; `dims` of the Permutes before and after it, and its output's rank."""
        layer.pop("build_config", None)
        kind, config = layer["class_name"], layer["config"]
        if is_model(layer):
            outputs = self.model(layer, ranks[0])[1]
            return None, None, outputs[0]
        rank = ranks[0]
        if "batch_input_shape" in config and kind != "InputLayer":
            del config["batch_input_shape"]
        if kind in DROPOUTS:
            config.pop("data_format", None)
            return None, None, rank
        if kind == "Flatten":
            return self._flatten(layer, rank), None, 2
        if kind in ORDERED:
            return self._sandwich(layer, rank, len(config["target_shape"]) + 1 if kind == "Reshape" else rank)
        if rank not in self.ranks:
            return None, None, self._other_rank(layer, rank)
        if any(other != rank for other in ranks):
            raise refused(f"its layer '{name_of(layer)}' joins images and other tensors, which wel cannot rewrite to channels_last.")
        return self._image_layer(layer, rank)

    def _flatten(self, layer: dict, rank: int) -> list[int] | None:
        # with channels_first, Flatten itself moves the channels to the end
        own = layer["config"].get("data_format")
        if rank not in self.ranks:
            return None
        layer["config"]["data_format"] = "channels_last"
        return None if own == "channels_first" else _first(rank)

    def _sandwich(self, layer: dict, rank: int, output: int) -> tuple[list[int] | None, list[int] | None, int]:
        return _first(rank) if rank in self.ranks else None, _last(output) if output in self.ranks else None, output

    def _image_layer(self, layer: dict, rank: int) -> tuple[list[int] | None, list[int] | None, int]:
        kind, config = layer["class_name"], layer["config"]
        if kind in ELEMENTWISE or kind in MERGING or (kind == "Activation" and _pointwise(config["activation"])):
            return None, None, rank
        if kind in ("Activation", "Rescaling") or (kind in BY_AXIS and not _one_axis(config.get("axis", -1))):
            return self._sandwich(layer, rank, rank)
        if kind in BY_AXIS:
            config["axis"] = _axis(config.get("axis", -1), rank)
            return None, None, rank
        if "data_format" not in config or _rank_of(layer) != rank:
            raise refused(f"its layer '{name_of(layer)}' is a {kind} on channels_first images, which wel cannot rewrite to channels_last.")
        if not _pointwise(config.get("activation", "linear")):
            why = "may depend on the order of channels. Expected a layer of its own for it"
            raise refused(f"the activation of its layer '{name_of(layer)}' {why}.")
        config["data_format"] = "channels_last"
        return None, None, 2 if kind.startswith(TO_VECTOR) and not config.get("keepdims") else rank

    def _other_rank(self, layer: dict, rank: int) -> int:
        """Rank of the output of a layer whose input is no image."""
        kind, config = layer["class_name"], layer["config"]
        if kind in ELEMENTWISE or kind in MERGING or kind in BY_AXIS or kind in ("Activation", "Masking", "Rescaling"):
            return rank
        if kind == "RepeatVector":
            return 3
        if "D" in kind and kind[:-2] in FORMATTED and kind[-2:] in RANKS:
            return 2 if kind.startswith(TO_VECTOR) and not config.get("keepdims") else rank
        raise refused(f"its layer '{name_of(layer)}' is a {kind}, of which wel cannot tell whether it depends on the order of channels.")


def _with_input(configuration: dict) -> list[dict]:
    """The layers of a Sequential, which is made to start with an InputLayer if it says its input's shape otherwise."""
    layers = parts(configuration)
    first = layers[0]
    if is_model(first) or first["class_name"] == "InputLayer":
        return layers
    own = configuration["config"] if isinstance(configuration["config"], dict) else {}
    shape = first["config"].get("batch_input_shape") or own.get("build_input_shape")
    if shape:
        entry = {"class_name": "InputLayer", "config": {"batch_input_shape": shape, "name": f"{name_of(first)}_input"}}
        layers.insert(0, {"module": "keras.layers", "registered_name": None, **entry} if "module" in first else entry)
    return layers


def _pointwise(activation: Any) -> bool:
    return isinstance(activation, str) and activation in POINTWISE


def _one_axis(axis: Any) -> bool:
    return isinstance(axis, int) or (isinstance(axis, list) and len(axis) == 1)


def _axis(axis: Any, rank: int) -> Any:
    """Where an axis of a channels-first tensor (with the batch as axis 0) is in the channels-last one."""
    if isinstance(axis, list):
        return [_axis(axis[0], rank)]
    axis %= rank
    return {0: 0, 1: rank - 1}.get(axis, axis - 1)


@dataclass
class _Graph:
    """The rewriting of one functional model.

    Attributes:
        known: (layer, node) -> the ranks of its output tensors.
        moved: (layer, node) -> name of the Permute layer behind it.
        done: layer -> the ranks of its inputs, and what came of rewriting it.
        added: the Permute layers.
    """

    rewriting: _Rewriting
    configuration: dict
    known: dict[tuple[str, int], list[int]] = field(default_factory=dict)
    moved: dict[tuple[str, int], str] = field(default_factory=dict)
    done: dict[str, tuple] = field(default_factory=dict)
    added: list[dict] = field(default_factory=list)

    def rewrite(self) -> list[int]:
        """Rewrites the model in place; the ranks of its outputs."""
        layers = parts(self.configuration)
        pending = [(layer, i) for layer in layers for i in range(len(layer["inbound_nodes"]))]
        for layer in layers:
            layer.pop("build_config", None)
            if layer["class_name"] == "InputLayer":
                self.known[layer["name"], 0] = [self.rewriting.input(layer)]
        while pending:
            waiting = [(layer, i) for layer, i in pending if not self._call(layer, i)]
            if len(waiting) == len(pending):
                raise refused(f"its layer '{name_of(waiting[0][0])}' depends on itself or on a layer that is not there.")
            pending = waiting
        config = self.configuration["config"]
        config["layers"] += self.added
        outputs = triples(config["output_layers"])
        config["output_layers"] = [self._source(output) for output in outputs]
        return [self.known[name, node][tensor] for name, node, tensor in outputs]

    def _call(self, layer: dict, i: int) -> bool:
        """Rewrites one call of a layer once the ranks of all its inputs are known."""
        call = sources_of(layer["inbound_nodes"][i])
        if not all((name, node) in self.known for name, node, _ in call):
            return False
        node = (layer["name"], first_node(layer) + i)
        before, after, self.known[node] = self._layer(layer, [self.known[name, node][tensor] for name, node, tensor in call])
        sources = [self._source(source) for source in call]
        if before:
            sources = [[self._add(layer, before, "before", sources[0]), 0, 0]]
        if after:
            self.moved[node] = self._add(layer, after, "after", [*node, 0])
        layer["inbound_nodes"][i] = with_sources(layer["inbound_nodes"][i], sources)
        return True

    def _layer(self, layer: dict, ranks: list[int]) -> tuple[list[int] | None, list[int] | None, list[int]]:
        """Rewrites a layer at its first call, with which the others have to agree; the Permutes around it, the ranks of its outputs."""
        if layer["name"] not in self.done:
            if is_model(layer):
                result = None, None, self.rewriting.model(layer, ranks[0])[1]
            else:
                before, after, rank = self.rewriting.layer(layer, ranks)
                result = before, after, [rank]
            self.done[layer["name"]] = ranks, result
        first_ranks, result = self.done[layer["name"]]
        if ranks != first_ranks:
            raise refused(f"its layer '{name_of(layer)}' is called with images and with other tensors.")
        return result

    def _source(self, source: tuple[str, int, int]) -> list:
        name, node, tensor = source
        return [self.moved[name, node], 0, 0] if (name, node) in self.moved else [name, node, tensor]

    def _add(self, layer: dict, dims: list[int], where: str, source: list) -> str:
        added = self.rewriting.permute(layer, dims, where)
        name = added["config"]["name"]
        self.added.append({**added, "name": name, "inbound_nodes": [[[*source, {}]]]})
        return name
