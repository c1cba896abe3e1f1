"""Models of Keras 3: their configurations in the words of Keras 2.14, and their weights, of archives (.keras) and of HDF5 files."""

from __future__ import annotations

import re
from collections import Counter
from typing import Any, Iterator

import h5py
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
    triples,
)

LAYERS = frozenset(
    "InputLayer Activation ActivityRegularization Add AlphaDropout Average AveragePooling1D AveragePooling2D AveragePooling3D "
    "BatchNormalization Concatenate Conv1D Conv1DTranspose Conv2D Conv2DTranspose Conv3D Conv3DTranspose Cropping1D Cropping2D "
    "Cropping3D Dense DepthwiseConv1D DepthwiseConv2D Dot Dropout ELU Flatten GaussianDropout GaussianNoise GlobalAveragePooling1D "
    "GlobalAveragePooling2D GlobalAveragePooling3D GlobalMaxPooling1D GlobalMaxPooling2D GlobalMaxPooling3D GroupNormalization "
    "Identity LayerNormalization LeakyReLU MaxPooling1D MaxPooling2D MaxPooling3D Maximum Minimum Multiply PReLU Permute ReLU "
    "RepeatVector Rescaling Reshape SeparableConv1D SeparableConv2D Softmax SpatialDropout1D SpatialDropout2D SpatialDropout3D "
    "Subtract UnitNormalization UpSampling1D UpSampling2D UpSampling3D ZeroPadding1D ZeroPadding2D ZeroPadding3D".split()
)
# that mean the same in both; hard_sigmoid does not
ACTIVATIONS = frozenset(
    "relu relu6 elu selu gelu silu swish leaky_relu mish tanh sigmoid softplus softsign softmax log_softmax exponential linear".split()
)
RENAMED = {"batch_shape": "batch_input_shape"}
RENAMED_OF = {"LeakyReLU": {"negative_slope": "alpha"}}
# arguments that Keras 2.14 has not -> the values at which they change nothing
GONE: dict[str, tuple] = {
    "optional": (False,), "ragged": (False,), "sparse": (False,), "renorm": (False,), "renorm_clipping": (None,), "autocast": (True,),
    "synchronized": (False, True), "lora_rank": (None,), "lora_alpha": (None,), "quantization_config": (None,), "rms_scaling": (False,),
}  # fmt: skip
UNSAID_1D = ("ZeroPadding1D", "Cropping1D", "UpSampling1D")
TRAINING = re.compile(r".*_(initializer|regularizer|constraint)|renorm_momentum|build_config|compile_config|seed")


def applies(configuration: dict, keras_version: str | None) -> bool:
    """Whether a model's configuration is one of Keras 3; without a version, whether it has what only Keras 3 writes.

    Raises:
        WelError: for what is no model's configuration.
    """
    with malformed_refused("Keras 3"):
        if keras_version:
            return int(re.match(r"\d*", keras_version)[0] or 0) >= 3
        return any(_telling(layer) for layer in all_layers(configuration))


def _telling(layer: dict) -> bool:
    config = layer["config"]
    calls: list = layer.get("inbound_nodes") or [None]
    settings = config if isinstance(config, dict) else {}
    policy = settings.get("dtype")
    has_policy = isinstance(policy, dict) and policy.get("class_name") == "DTypePolicy"
    return has_policy or "batch_shape" in settings or (isinstance(calls[0], dict) and "args" in calls[0])


def converted(configuration: dict) -> Converted:
    """The configuration in Keras 2.14's words, for inference in float32: initialisers, regularisers and constraints are left out.

    Raises:
        WelError: for a layer, an operation or an argument that Keras 2.14 has no equal for; all such layers are named.
    """
    with malformed_refused("Keras 3"):
        unknown = [_described(layer) for layer in all_layers(configuration) if not _known(layer)]
        if unknown:
            raise refused(f"Keras 2.14 has no equal for these layers of Keras 3: {', '.join(unknown)}.")
        policies = {str(policy) for layer in all_layers(configuration) if (policy := _policy(layer)) not in (None, "float32")}
        notes = ["Read as Keras 3: it was translated to Keras 2.14, without initialisers, regularisers and constraints."]
        if policies:
            notes.append(f"It computes in {', '.join(sorted(policies))}; here it computes in float32.")
        return Converted(_model(configuration), tuple(notes))


def _known(layer: dict) -> bool:
    # the operations of keras.ops have layers' names too, such as Add
    module = str(layer.get("module") or "keras.layers")
    return is_model(layer) or (layer.get("class_name") in LAYERS and module.split(".")[0] == "keras" and ".ops" not in module)


def _described(layer: dict) -> str:
    module = layer.get("module")
    return f"'{name_of(layer)}' ({f'{module}.' if module else ''}{layer.get('class_name')})"[:120]


def _policy(layer: dict) -> str | None:
    policy = layer["config"].get("dtype")
    if isinstance(policy, dict):
        if policy["class_name"] != "DTypePolicy":
            raise refused(f"its layer '{name_of(layer)}' has the dtype policy {policy['class_name']}, which is not read.")
        return policy["config"]["name"]
    return policy


def _model(configuration: dict) -> dict:
    layers, name = parts(configuration), configuration["config"]["name"]
    if configuration["class_name"] == "Sequential":
        stack = _with_input(configuration, [_layer(layer) for layer in layers])
        return {"class_name": "Sequential", "config": {"name": name, "layers": stack}}
    nested = {layer["name"] for layer in layers if is_model(layer)}
    graph = []
    for layer in layers:
        calls = [_call(layer, call, nested) for call in layer["inbound_nodes"]]
        graph.append({**_layer(layer), "name": layer["name"], "inbound_nodes": calls})
    inner = configuration["config"]
    ends = {key: [_tensor(end, nested) for end in triples(inner[key])] for key in ("input_layers", "output_layers")}
    return {"class_name": "Functional", "config": {"name": name, "layers": graph, **ends}}


def _with_input(configuration: dict, layers: list[dict]) -> list[dict]:
    """The layers of a Sequential, with an InputLayer where Keras 3 was shown the shape only later."""
    shape = configuration["config"].get("build_input_shape")
    if not shape or layers[0]["class_name"] == "InputLayer":
        return layers
    return [{"class_name": "InputLayer", "config": {"batch_input_shape": shape, "name": f"{name_of(layers[0])}_input"}}, *layers]


def _tensor(source: tuple | list, nested: set[str]) -> list:
    """(layer, node, tensor); in Keras 2 the calls of a nested model count from 1."""
    name, node, tensor = source
    return [name, node + (name in nested), tensor]


def _layer(layer: dict) -> dict:
    if is_model(layer):
        return _model(layer)
    kind, config = layer["class_name"], {}
    for key, value in layer["config"].items():
        if TRAINING.fullmatch(key):
            continue
        if key in GONE:
            if value not in GONE[key]:
                raise refused(f"its layer '{name_of(layer)}' has {key}={value!r}, which Keras 2.14 has not.")
            continue
        config[RENAMED_OF.get(kind, RENAMED).get(key, key)] = value
    if "activation" in config:
        config["activation"] = _activation(layer, config["activation"])
    if kind in UNSAID_1D and config.pop("data_format", None) not in (None, "channels_last"):
        raise refused(f"its layer '{name_of(layer)}' is a {kind} of data format channels_first, which Keras 2.14 has not.")
    return {"class_name": kind, "config": {**config, "dtype": "float32"}}


def _activation(layer: dict, activation: Any) -> str:
    name = activation.get("config") if isinstance(activation, dict) and activation.get("class_name") == "function" else activation
    if name is None:
        return "linear"
    if not isinstance(name, str) or name not in ACTIVATIONS:
        shown = name.get("class_name") if isinstance(name, dict) else name
        expected = f"Expected one of {', '.join(sorted(ACTIVATIONS))}"
        raise refused(f"its layer '{name_of(layer)}' has the activation {str(shown)[:60]!r}. {expected}.")
    return name


def _call(layer: dict, call: dict, nested: set[str]) -> list[list]:
    """One call in Keras 2's form: [[layer, node, tensor, arguments], …]."""
    (argument,) = call["args"] or [None]
    arguments = {key: value for key, value in call["kwargs"].items() if value is not None}
    if not set(arguments) <= {"training"} or not isinstance(arguments.get("training", False), bool):
        raise refused(f"its layer '{name_of(layer)}' is called with {', '.join(map(repr, arguments))}, which is not read.")
    tensors = argument if isinstance(argument, list) else [argument]
    if not all(isinstance(tensor, dict) and tensor.get("class_name") == "__keras_tensor__" for tensor in tensors):
        raise refused(f"its layer '{name_of(layer)}' is called with something that is no layer's output.")
    return [[*_tensor(tensor["config"]["keras_history"], nested), arguments] for tensor in tensors]


def load_weights(model: Any, file: h5py.Group, configuration: dict) -> None:
    """Puts the weights of a Keras 3 file into the model that was built from the converted configuration.

    Args:
        model: Keras model.
        file: `model.weights.h5` of an archive (`layers/conv2d_1/vars/0`: named by class, counted in the configuration's order),
            or an HDF5 model file or weights file (`conv/conv/kernel`: named by layer).
        configuration: the file's own, not converted.

    Raises:
        WelError: when they do not fit the model.
    """
    with malformed_refused("Keras 3"):
        group = file["model_weights"] if "model_weights" in file else file
        if "layer_names" in group.attrs:
            _load_by_name(model, group, converted(configuration).configuration)
        else:
            _load_archived(model, group, configuration)


def _load_by_name(model: Any, group: h5py.Group, configuration: dict) -> None:
    from keras.src.saving.legacy.hdf5_format import load_attributes_from_hdf5_group as listed

    for part in parts(configuration):
        if part["class_name"] == "InputLayer":
            continue
        layer = model.get_layer(name_of(part))
        variables = in_file_order(list(leaves(layer, part)) if is_model(part) else [layer])
        if not variables:
            continue
        if layer.name not in group:
            raise refused(f"its file has no weights of the layer '{layer.name}'.")
        stored = group[layer.name]
        assign(layer.name, variables, [np.asarray(stored[name]) for name in listed(stored, "weight_names")])


def _load_archived(model: Any, group: h5py.Group, configuration: dict) -> None:
    paths = list(_paths(configuration))
    for layer, path in zip(leaves(model, converted(configuration).configuration), paths):
        stored = group[path] if path in group else {}
        said = stored.attrs.get("name") if stored else None
        if said is not None and said != layer.name:
            raise refused(f"its file has at '{path}' the weights of the layer '{said}'. Expected those of '{layer.name}'.")
        values = [np.asarray(stored[str(i)]) for i in range(len(stored))]
        assign(layer.name, layer._trainable_weights + layer._non_trainable_weights, values)


def _paths(configuration: dict, prefix: str = "") -> Iterator[str]:
    """Where an archive keeps the variables of each layer, those of nested models in place."""
    counts: Counter[str] = Counter()
    for part in parts(configuration):
        if configuration["class_name"] == "Sequential" and part["class_name"] == "InputLayer":
            continue
        kind = _snake_case(part["class_name"])
        path = f"{prefix}layers/{kind}_{counts[kind]}" if counts[kind] else f"{prefix}layers/{kind}"
        counts[kind] += 1
        if is_model(part):
            yield from _paths(part, f"{path}/")
        else:
            yield f"{path}/vars"


def _snake_case(name: str) -> str:
    """Keras 3's own: Conv2D -> conv2d, LeakyReLU -> leaky_re_lu."""
    return re.sub("([a-z])([A-Z])", r"\1_\2", re.sub("(.)([A-Z][a-z]+)", r"\1_\2", name)).lower()
