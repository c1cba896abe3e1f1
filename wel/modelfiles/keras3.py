"""Models of Keras 3 in the words of Keras 2, for where Keras 3 itself is not there, or keeps channels first."""

from __future__ import annotations

import re
from typing import Any, Iterator

import h5py

from wel.modelfiles import keras3_weights
from wel.modelfiles.conversion import (
    INSIDE,
    Converted,
    all_layers,
    inside,
    is_model,
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
    "Subtract UnitNormalization UpSampling1D UpSampling2D UpSampling3D ZeroPadding1D ZeroPadding2D ZeroPadding3D "
    "AdditiveAttention Attention Bidirectional CategoryEncoding CenterCrop ConvLSTM1D ConvLSTM2D ConvLSTM3D EinsumDense "
    "Embedding GRU GRUCell LSTM LSTMCell Masking MultiHeadAttention Normalization RNN RandomBrightness RandomContrast RandomCrop "
    "RandomFlip RandomRotation RandomTranslation RandomZoom Resizing SimpleRNN SimpleRNNCell StackedRNNCells TimeDistributed".split()
)
# that mean the same in both; hard_sigmoid does not
ACTIVATIONS = frozenset(
    "relu relu6 elu selu gelu silu swish leaky_relu mish tanh sigmoid softplus softsign softmax log_softmax exponential linear".split()
)
ACTIVATION_LAYERS = ("ELU", "LeakyReLU", "PReLU", "ReLU")
RENAMED = {"batch_shape": "batch_input_shape"}
RENAMED_OF = {"LeakyReLU": {"negative_slope": "alpha"}}
# arguments that Keras 2 has not -> the values at which they change nothing
GONE: dict[str, tuple] = {
    "optional": (False,), "ragged": (False,), "sparse": (False,), "renorm": (False,), "renorm_clipping": (None,), "autocast": (True,),
    "synchronized": (False, True), "lora_rank": (None,), "lora_alpha": (None,), "quantization_config": (None,), "rms_scaling": (False,),
    "use_gate": (False,), "sliding_window": (None,), "flash_attention": (None, False), "pad_to_aspect_ratio": (False,),
    "antialias": (False,), "use_cudnn": ("auto", True, False),
}  # fmt: skip
UNSAID = ("ZeroPadding1D", "Cropping1D", "UpSampling1D", "CenterCrop", "RandomCrop", "Resizing")
# what these have and Keras 2 has not; augmentations do nothing at inference
AUGMENTATION = re.compile("Random(Brightness|Contrast|Flip|Rotation|Translation|Zoom)")
UNSAID_OF = {"Resizing": ("fill_mode", "fill_value")}  # of its padding
UNSAID_OF_AUGMENTATIONS = ("data_format", "value_range", "fill_mode", "interpolation", "fill_value")
# of a call, behind the first one
ARGUMENTS = {"MultiHeadAttention": ("value", "key")}
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
    """The configuration in Keras 2's words, for inference in float32: initialisers, regularisers and constraints are left out.

    Raises:
        WelError: for a layer, an operation or an argument that Keras 2 has no equal for; all such layers are named.
    """
    with malformed_refused("Keras 3"):
        unknown = [_described(layer) for layer in all_layers(configuration) if not _known(layer)]
        if unknown:
            raise refused(f"wel does not translate these layers of Keras 3 to Keras 2: {', '.join(unknown)}.")
        policies = {str(policy) for layer in all_layers(configuration) if (policy := _policy(layer)) not in (None, "float32")}
        notes = ["Read as Keras 3: it was translated to Keras 2, without initialisers, regularisers and constraints."]
        if policies:
            notes.append(f"It computes in {', '.join(sorted(policies))}; here it computes in float32.")
        return Converted(_model(configuration), tuple(notes))


def layer_in_keras2(layer: dict) -> dict:
    """A layer's own configuration in Keras 2's words, of how Keras 3 writes the whole layer.

    Raises:
        WelError: for a layer or an argument that Keras 2 has no equal for.
    """
    if is_model(layer) or not _known(layer):
        raise refused(f"Keras 2 has no equal for {_described(layer)}.")
    return _layer(layer)["config"]


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
    kinds = {layer["name"]: layer["class_name"] for layer in layers}
    ends = {key: [_end(end, kinds[end[0]]) for end in triples(inner[key])] for key in ("input_layers", "output_layers")}
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


def _end(end: tuple, kind: str) -> list:
    """(layer, node, tensor) of a model's input or output, where the calls of a nested functional model count from 1 in Keras 3 too."""
    name, node, tensor = end
    if kind == "Functional":
        return [name, max(node, 1), tensor]
    return _tensor(end, {name} if kind == "Sequential" else set())


def _layer(layer: dict) -> dict:
    if is_model(layer):
        return _model(layer)
    kind, config, inner = layer["class_name"], {}, inside(layer)
    unsaid = UNSAID_OF_AUGMENTATIONS if AUGMENTATION.fullmatch(kind) else UNSAID_OF.get(kind, ())
    for key, value in layer["config"].items():
        if TRAINING.fullmatch(key) or key in unsaid:
            continue
        if key in GONE:
            if value not in GONE[key]:
                raise refused(f"its layer '{name_of(layer)}' has {key}={value!r}, which Keras 2 has not.")
            continue
        config[RENAMED_OF.get(kind, RENAMED).get(key, key)] = value
    config.update({key: _activation(layer, config[key]) for key in ("activation", "recurrent_activation") if key in config})
    config.update({key: _layer(inner[key]) for key in INSIDE if key in inner})
    if kind == "MultiHeadAttention":
        config.update(query_shape=None, key_shape=None, value_shape=None)  # which it infers when it is called
    if "cells" in config:
        config["cells"] = [_layer(cell) for cell in config["cells"]]
    if kind in UNSAID and config.pop("data_format", None) not in (None, "channels_last"):
        raise refused(f"its layer '{name_of(layer)}' is a {kind} of data format channels_first, which Keras 2 has not.")
    return {"class_name": kind, "config": {**config, "dtype": "float32"}}


def _activation(layer: dict, activation: Any) -> str | dict:
    if isinstance(activation, dict) and activation.get("class_name") in ACTIVATION_LAYERS and _known(activation):
        return _layer(activation)
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
    tensors, more = call["args"][0] if call["args"] else None, dict(zip(ARGUMENTS.get(layer["class_name"], ()), call["args"][1:]))
    if len(call["args"]) > 1 + len(more):
        raise refused(f"its layer '{name_of(layer)}' is called with {len(call['args'])} arguments, which is not read.")
    arguments = {key: value for key, value in {**more, **call["kwargs"]}.items() if value not in (None, [None, None])}
    unknown = set(arguments) - {"training", *ARGUMENTS.get(layer["class_name"], ())}
    if unknown or not isinstance(arguments.get("training", False), bool):
        raise refused(
            f"its layer '{name_of(layer)}' is called with {', '.join(map(repr, sorted(unknown or arguments)))}, which is not read."
        )
    tensors = tensors if isinstance(tensors, list) else [tensors]
    if not all(map(_is_tensor, [*tensors, *(value for key, value in arguments.items() if key != "training")])):
        raise refused(f"its layer '{name_of(layer)}' is called with something that is no layer's output.")
    arguments = {key: value if key == "training" else _source(value, nested) for key, value in arguments.items()}
    return [[*_source(tensor, nested), arguments] for tensor in tensors]


def _is_tensor(argument: Any) -> bool:
    return isinstance(argument, dict) and argument.get("class_name") == "__keras_tensor__"


def _source(tensor: dict, nested: set[str]) -> list:
    return _tensor(tensor["config"]["keras_history"], nested)


def load_weights(model: Any, file: h5py.Group, configuration: dict) -> tuple[str, ...]:
    """Puts the weights of a Keras 3 file into the model of Keras 2 that was built from the converted configuration.

    Args:
        model: Keras model.
        file: `model.weights.h5` of an archive (`layers/conv2d_1/vars/0`: named by class, counted in the configuration's order),
            or an HDF5 model file or weights file (`conv/conv/kernel`: named by layer).
        configuration: the file's own, not converted.

    Returns:
        Sentences on what was done with them.

    Raises:
        WelError: when they do not fit the model.
    """
    with malformed_refused("Keras 3"):
        ordered = dict(_in_order(model, configuration))
    return keras3_weights.load_weights(model, file, lambda part: ordered[id(part)])


def _in_order(model: Any, configuration: dict) -> Iterator[tuple[int, list[Any]]]:
    """The layers of a model, and of those inside it, in the order of the configuration: `Model.layers` can have another one."""
    listed = [
        part for part in parts(configuration) if not (configuration["class_name"] == "Sequential" and part["class_name"] == "InputLayer")
    ]
    layers = [model.get_layer(name_of(part)) for part in listed]
    yield id(model), layers
    for layer, part in zip(layers, listed):
        wrapped = part if is_model(part) else inside(part).get("layer", {})
        if is_model(wrapped):
            yield from _in_order(layer if wrapped is part else layer.layer, wrapped)
