"""Models of Keras 1 (2015 to 2017): their configurations in the words of Keras 2, and their weights.

Keras 1 is the last version whose convolution kernels of `dim_ordering` 'th' are stored as (filters, channels, rows, columns), and its
files name no backend; the names of their weights do: TensorFlow's variables end in `:0`, Theano's do not.
"""

from __future__ import annotations

import re
from dataclasses import dataclass, field
from typing import Any, Iterator

import numpy as np

from wel.modelfiles.conversion import (
    Converted,
    all_layers,
    assign,
    in_file_order,
    is_model,
    leaves,
    malformed_refused,
    name_of,
    parts,
    refused,
)
from wel.modelfiles.hdf5 import listed
from wel.modelfiles.naming import notes_on, order_of_layers, order_of_weights
from wel.modelfiles.theano_kernels import flip_kernels

# arguments that are named otherwise in Keras 2
RENAMED = {
    "nb_filter": "filters", "border_mode": "padding", "subsample": "strides", "subsample_length": "strides", "bias": "use_bias",
    "dim_ordering": "data_format", "atrous_rate": "dilation_rate", "output_dim": "units", "p": "rate", "sigma": "stddev",
    "pool_length": "pool_size", "stride": "strides", "filter_length": "kernel_size", "length": "size", "input_dtype": "dtype",
}  # fmt: skip
# arguments that mean the same in both
KEPT = frozenset(
    "name trainable batch_input_shape activation depth_multiplier pool_size strides size padding cropping epsilon momentum axis alpha "
    "theta target_shape dims n mask_value input_dim input_length mask_zero sparse".split()
)
# arguments that matter in training only, or that the shape of the input says again
TRAINING = re.compile(r"init|dropout|.*_(init|regularizer|constraint)|weights")
# of which Keras 1's files do not keep the dim_ordering
UNSAID = (
    "UpSampling2D", "UpSampling3D", "ZeroPadding2D", "ZeroPadding3D", "Cropping2D", "Cropping3D", "SpatialDropout2D", "SpatialDropout3D",
)  # fmt: skip
SAME_NAME = (
    "InputLayer Dense Activation Dropout SpatialDropout1D Flatten Reshape Permute RepeatVector Masking ActivityRegularization "
    "MaxPooling1D AveragePooling1D MaxPooling2D AveragePooling2D MaxPooling3D AveragePooling3D GlobalAveragePooling1D GlobalMaxPooling1D "
    "GlobalAveragePooling2D GlobalMaxPooling2D GlobalAveragePooling3D GlobalMaxPooling3D UpSampling1D ZeroPadding1D Cropping1D "
    "LeakyReLU PReLU ELU ThresholdedReLU GaussianNoise GaussianDropout BatchNormalization Embedding TimeDistributed"
).split()
MERGES = {"sum": "Add", "mul": "Multiply", "ave": "Average", "max": "Maximum", "concat": "Concatenate", "dot": "Dot"}
GONE = {
    "Highway": "Keras 2 has no such layer", "MaxoutDense": "Keras 2 has no such layer", "SReLU": "Keras 2 has no such layer",
    "ParametricSoftplus": "Keras 2 has no such layer", "TimeDistributedDense": "save it with TimeDistributed(Dense) instead",
    "Lambda": "it is Python bytecode of another Python version",
}  # fmt: skip
# the axes of a kernel of dim_ordering 'th' in Keras 2's order: (filters, channels, …) -> (…, channels, filters)
TO_KERAS2 = {3: (2, 1, 0), 4: (2, 3, 1, 0), 5: (2, 3, 4, 1, 0)}


@dataclass(frozen=True)
class Kind:
    """What becomes of a class of Keras 1.

    Attributes:
        name: the class of Keras 2.
        joined: argument of Keras 2 -> the arguments of Keras 1 that it is the tuple of.
        ignored: arguments of Keras 1 that Keras 2 infers.
    """

    name: str
    joined: dict[str, tuple[str, ...]] = field(default_factory=dict)
    ignored: tuple[str, ...] = ()


ROWS = {"kernel_size": ("nb_row", "nb_col")}
KINDS = {
    **{name: Kind(name) for name in (*SAME_NAME, *UNSAID)},
    "Dense": Kind("Dense", ignored=("input_dim",)),
    "Convolution1D": Kind("Conv1D", ignored=("input_dim", "input_length")),
    "AtrousConvolution1D": Kind("Conv1D", ignored=("input_dim", "input_length")),
    "Convolution2D": Kind("Conv2D", ROWS),
    "AtrousConvolution2D": Kind("Conv2D", ROWS),
    "SeparableConvolution2D": Kind("SeparableConv2D", ROWS),
    "Deconvolution2D": Kind("Conv2DTranspose", ROWS, ignored=("output_shape",)),
    "Convolution3D": Kind("Conv3D", {"kernel_size": ("kernel_dim1", "kernel_dim2", "kernel_dim3")}),
}
KINDS.update({short: KINDS[short.replace("Conv", "Convolution")] for short in ("Conv1D", "Conv2D", "Conv3D", "SeparableConv2D")})
KINDS.update(Deconv2D=KINDS["Deconvolution2D"], AtrousConv2D=KINDS["AtrousConvolution2D"], AtrousConv1D=KINDS["AtrousConvolution1D"])


def applies(configuration: dict, keras_version: str | None) -> bool:
    """Whether a model's configuration is one of Keras 1; without a version, whether a layer has arguments that only Keras 1 knew.

    Raises:
        WelError: for what is no model's configuration.
    """
    version = keras_version or (configuration.get("keras_version") if isinstance(configuration, dict) else None)
    with malformed_refused("Keras 1"):
        if version:
            return str(version).startswith(("0.", "1."))
        telling = {"nb_filter", "dim_ordering", "border_mode", "W_regularizer", "input_dtype", "pool_length", "concat_axis"}
        return any(telling & set(layer["config"]) for layer in all_layers(configuration) if isinstance(layer["config"], dict))


def converted(configuration: dict) -> Converted:
    """The configuration in Keras 2's words, for inference: initialisers, regularisers and constraints are left out.

    Raises:
        WelError: for a layer or an argument that Keras 2 has no equal for.
    """
    with malformed_refused("Keras 1"):
        return Converted(_model(configuration, _ordering(configuration)), tuple(_notes(configuration)))


def _notes(configuration: dict) -> list[str]:
    notes = ["Read as Keras 1: its layers and arguments were translated to Keras 2, without initialisers, regularisers and constraints."]
    unsaid = [name_of(layer) for layer in all_layers(configuration) if layer["class_name"] in UNSAID]
    if unsaid:
        ordering = _ordering(configuration)
        notes.append(f"Keras 1 does not store the dim_ordering of {', '.join(unsaid)}: taken as '{ordering}', as in its other layers.")
    return notes


def _ordering(configuration: dict) -> str:
    """The dim_ordering that a model's layers agree on; 'tf' where none has one."""
    found = {layer["config"]["dim_ordering"] for layer in all_layers(configuration) if "dim_ordering" in layer["config"]}
    if not found <= {"tf", "th"}:
        raise refused("a layer's dim_ordering is neither 'tf' nor 'th'.")
    if len(found) == 2:
        raise refused("its layers mix the dim_orderings 'tf' and 'th', and Keras 1 does not store that of all layers.")
    return found.pop() if found else "tf"


def _model(configuration: dict, ordering: str, name: str | None = None) -> dict:
    layers = parts(configuration)
    if configuration["class_name"] == "Sequential":
        # a Sequential of Keras 1 has no name of its own
        converted_layers = [_layer(layer, ordering, f"sequential_{i}") for i, layer in enumerate(layers)]
        return {"class_name": "Sequential", "config": {"name": name or "sequential", "layers": converted_layers}}
    inner = configuration["config"]
    graph = [{**_layer(layer, ordering, layer["name"]), "name": layer["name"], "inbound_nodes": layer["inbound_nodes"]} for layer in layers]
    config = {"name": inner.get("name", name), "layers": graph}
    config.update({key: inner[key] for key in ("input_layers", "output_layers")})
    return {"class_name": "Functional", "config": config}


def _layer(layer: dict, ordering: str, name: str) -> dict:
    kind = layer["class_name"]
    if is_model(layer):
        return _model(layer, ordering, layer.get("name", name))
    if kind == "Merge":
        return _merge(layer)
    if kind not in KINDS:
        why = GONE.get(kind, "wel does not know how to translate it")
        raise refused(f"its layer '{name_of(layer)}' is a {kind} of Keras 1, which cannot be read: {why}.")
    config = _arguments(layer, KINDS[kind])
    if kind in UNSAID:
        config["data_format"] = _data_format(ordering)
    if kind == "TimeDistributed":
        config["layer"] = _dense(layer, ordering)
    return {"class_name": KINDS[kind].name, "config": config}


def _dense(wrapper: dict, ordering: str) -> dict:
    inner = wrapper["config"]["layer"]
    if inner["class_name"] != "Dense":
        raise refused(f"its layer '{name_of(wrapper)}' is a TimeDistributed {inner['class_name']} of Keras 1. Expected a Dense in it.")
    return _layer(inner, ordering, name_of(inner))


def _arguments(layer: dict, kind: Kind) -> dict[str, Any]:
    old = {key: value for key, value in layer["config"].items() if not (key in kind.ignored or TRAINING.fullmatch(key))}
    config: dict[str, Any] = {new: [old.pop(part) for part in several] for new, several in kind.joined.items()}
    for key, value in old.items():
        if key not in KEPT and key not in RENAMED and key not in SPECIAL:
            raise refused(f"its layer '{name_of(layer)}' has the argument {key!r}, which a {layer['class_name']} of Keras 1 has not.")
        config.update(SPECIAL[key](layer, value) if key in SPECIAL else {RENAMED.get(key, key): value})
    if layer["class_name"] == "Embedding":
        config["output_dim"] = config.pop("units")
    return config


def _data_format(ordering: str) -> str:
    return {"tf": "channels_last", "th": "channels_first"}[ordering]


def _dim_ordering(layer: dict, value: Any) -> dict[str, Any]:
    return {"data_format": _data_format(value)}


def _border_mode(layer: dict, value: Any) -> dict[str, Any]:
    if value not in ("valid", "same"):
        raise refused(f"its layer '{name_of(layer)}' has the border_mode {value!r}, which Keras 2 has not. Expected 'valid' or 'same'.")
    return {"padding": value}


def _mode(layer: dict, value: Any) -> dict[str, Any]:
    if value != 0:
        why = "it normalises by the statistics of the batch at hand" if value == 2 else "it normalises each image by its own statistics"
        raise refused(f"its layer '{name_of(layer)}' is a BatchNormalization of mode {value!r}, which Keras 2 has not: {why}.")
    return {}


def _padding(layer: dict, value: Any) -> dict[str, Any]:
    """ZeroPadding2D: (rows, columns) or (top, bottom, left, right)."""
    if layer["class_name"] == "ZeroPadding2D" and isinstance(value, list) and len(value) == 4:
        return {"padding": [value[:2], value[2:]]}
    if isinstance(value, dict):
        sides = ("left_pad", "right_pad") if layer["class_name"] == "ZeroPadding1D" else ("top_pad", "bottom_pad", "left_pad", "right_pad")
        pads = [value.get(side, 0) for side in sides]
        return {"padding": pads if len(pads) == 2 else [pads[:2], pads[2:]]}
    return {"padding": value}


def _wrapped(layer: dict, value: Any) -> dict[str, Any]:
    return {}


SPECIAL = {"dim_ordering": _dim_ordering, "border_mode": _border_mode, "mode": _mode, "padding": _padding, "layer": _wrapped}


def _merge(layer: dict) -> dict:
    old = layer["config"]
    if "layers" in old:
        raise refused("it is a Sequential that starts with a Merge of several models, of which Keras 2 has none. Expected one input.")
    if old.get("mode_type", "raw") != "raw" or old["mode"] not in MERGES:
        raise refused(f"its Merge layer '{name_of(layer)}' has the mode {str(old['mode'])[:40]!r}. Expected one of {', '.join(MERGES)}.")
    config = {"name": old["name"]}
    if old["mode"] == "concat":
        config["axis"] = old["concat_axis"]
    if old["mode"] == "dot":
        config["axes"] = old["dot_axes"]
    return {"class_name": MERGES[old["mode"]], "config": config}


def load_weights(model: Any, group: Any, configuration: dict) -> tuple[str, ...]:
    """Puts the weights of a Keras 1 file into the model that was built from the converted configuration.

    Args:
        model: Keras model of the converted configuration.
        group: h5py group with the attribute `layer_names`: a weights file, or `model_weights` of a whole model.
        configuration: the file's own, not converted, which tells the order of the kernels' axes.

    Returns:
        Sentences on what was done with them.

    Raises:
        WelError: when they do not fit the model.
    """
    with malformed_refused("Keras 1"):
        if "layer_names" not in group.attrs:
            raise refused("its weights are in the format of Keras 0, which is not read. Expected weights of Keras 1.")
        stored = {name: names for name in listed(group, "layer_names") if (names := listed(group[name], "weight_names"))}
        layers = [entry for entry in _layers(model, converted(configuration).configuration) if in_file_order(entry[1])]
        if len(stored) != len(layers):
            raise refused(f"its file has the weights of {len(stored)} layers. Expected {len(layers)}.")
        _check_output_shapes(model, configuration)
        channels_first = _ordering(configuration) == "th"
        order = order_of_layers([name for name, _ in layers], list(stored))
        orders = {model.name: order}
        for (name, leaf_layers), place in zip(layers, order.places):
            part, names = group[list(stored)[place]], list(stored.values())[place]
            orders[name] = order_of_weights(leaf_layers, in_file_order(leaf_layers), names)
            _assign(name, leaf_layers, [np.asarray(part[names[place]]) for place in orders[name].places], channels_first)
        notes = notes_on(orders)
        if any(name.endswith(":0") for names in stored.values() for name in names):
            return notes
        return (*notes, "Saved with the Theano backend, as the names of its weights show.", *flip_kernels(model))


def _check_output_shapes(model: Any, configuration: dict) -> None:
    """Deconvolution2D's output shape is free in Keras 1 and follows from the other arguments in Keras 2."""
    expected = {name_of(part): part["config"]["output_shape"] for part in all_layers(configuration) if "Deconv" in part["class_name"]}
    for layer in model._flatten_layers():
        shape = expected.get(layer.name)
        if shape is not None and sorted(filter(None, layer.output_shape)) != sorted(filter(None, shape[1:])):
            inferred = f"Expected {layer.output_shape}, as Keras 2 infers"
            raise refused(f"its layer '{layer.name}' has the output shape {tuple(shape)}. {inferred}.")


def _layers(model: Any, configuration: dict) -> Iterator[tuple[str, list[Any]]]:
    """Name and leaf layers of each layer that a file keeps together, in its order."""
    for part in parts(configuration):
        if part["class_name"] != "InputLayer":
            layer = model.get_layer(name_of(part))
            yield layer.name, list(leaves(layer, part)) if is_model(part) else [layer]


def _assign(name: str, layers: list[Any], values: list[np.ndarray], channels_first: bool) -> None:
    kinds = {id(weight): type(layer).__name__ for layer in layers for weight in layer.weights}
    variables = in_file_order(layers)
    assign(name, variables, [_in_order_of_keras2(kinds[id(v)], value, channels_first) for v, value in zip(variables, values)])


def _in_order_of_keras2(kind: str, value: np.ndarray, channels_first: bool) -> np.ndarray:
    if "Conv" not in kind or value.ndim < 3:
        return value
    if kind == "Conv1D":
        return value[:, 0]
    if channels_first:
        value = value.transpose(TO_KERAS2[value.ndim])
    # of a transposed convolution, Keras 1 keeps the filters last
    return value.swapaxes(-1, -2) if kind == "Conv2DTranspose" else value
