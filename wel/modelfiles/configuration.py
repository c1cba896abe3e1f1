"""What a model file says about its architecture: read within bounds, and checked to be one that Keras finishes building."""

from __future__ import annotations

import json
from graphlib import CycleError, TopologicalSorter
from typing import Any, Container, Iterator

from wel.errors import WelError

# bytes of a configuration as text, and how deep its lists and dictionaries may be nested; Keras's largest network has 1 MiB
LONGEST, DEEPEST = 16 << 20, 200
MOST_LAYERS = 10_000
MODELS = ("Sequential", "Functional", "Model")
INPUTS = ("InputLayer", "Input")
# what Keras writes in place of a layer's name for an argument that is no layer's output
CONSTANT = "_CONSTANT_VALUE"
# a tensor among the arguments of a call in Keras 3
KERAS_TENSOR = "__keras_tensor__"
# an operator in TensorFlow 2.0 to 2.3
OPERATOR, OPERATOR_PREFIX = "TensorFlowOpLayer", "tf_op_layer_"

Call = tuple[str, int]


def parsed(text: str | bytes) -> dict:
    """A JSON object that is not too long or too deep.

    Raises:
        WelError: when it is something else, or says a thing twice.
    """
    if len(text) > LONGEST:
        raise WelError(f"Its configuration is longer than {LONGEST >> 20} MiB.")
    try:
        text = text.decode("utf-8") if isinstance(text, bytes) else text
        found = json.loads(text, object_pairs_hook=_unique, parse_constant=_constant)
    except RecursionError as error:
        raise _too_deep() from error
    except UnicodeDecodeError as error:
        raise WelError("Its configuration is no UTF-8 text.") from error
    except json.JSONDecodeError as error:
        raise WelError(f"Its configuration is no JSON ({error.msg}, line {error.lineno}).") from error
    except WelError:
        raise
    except ValueError as error:  # Python reads no longer ones
        raise WelError("Its configuration holds a number of thousands of digits.") from error
    if not isinstance(found, dict):
        raise WelError(f"Its configuration is a {type(found).__name__}. Expected a JSON object.")
    if _depth_above(found, DEEPEST):
        raise _too_deep()
    return found


def _unique(pairs: list[tuple[str, Any]]) -> dict:
    found = dict(pairs)
    if len(found) < len(pairs):
        raise WelError("Its configuration has an object with the same key twice.")
    return found


def _constant(name: str) -> float:
    if name == "NaN":
        raise WelError("Its configuration holds NaN. Expected numbers.")
    return float(name)


def _too_deep() -> WelError:
    return WelError(f"Its configuration is nested more than {DEEPEST} levels deep.")


def _depth_above(part: Any, most: int) -> bool:
    level = [part]
    for _ in range(most):
        level = [child for parent in level for child in children(parent)]
    return bool(level)


def children(part: Any) -> list:
    """What lies directly in a list or dictionary."""
    if isinstance(part, dict):
        return list(part.values())
    return list(part) if isinstance(part, (list, tuple)) else []


def objects(configuration: Any) -> Iterator[tuple[dict, str]]:
    """Every dictionary in a configuration, the outer ones first, with the name of the layer that it belongs to."""
    pending = [(configuration, "")]
    while pending:
        part, owner = pending.pop()
        if isinstance(part, dict):
            owner = _name(part) or owner
            yield part, owner
        pending.extend((child, owner) for child in reversed(children(part)))


def _name(part: dict) -> str | None:
    config = part.get("config")
    name = config.get("name") if isinstance(config, dict) and "class_name" in part else None
    return name if isinstance(name, str) else None


def for_inference(configuration: Any) -> Any:
    """A copy without losses, metrics and optimisers, in which anything may stand, and with recurrent layers as loops.

    Unrolling a recurrent layer changes no number, and takes memory for each step of its input when the layer is built.
    """
    if isinstance(configuration, dict):
        kept = {key: for_inference(value) for key, value in configuration.items() if key != "compile_config"}
        return {**kept, "unroll": False} if kept.get("unroll") is True else kept
    if isinstance(configuration, list):
        return [for_inference(value) for value in configuration]
    return configuration


def check_model(configuration: dict, given: Container[str] = ()) -> None:
    """Raises WelError unless a configuration is that of a Sequential or functional model, or of a class that is `given`.

    All calls of layers in it, and in models inside it, must have their inputs.
    """
    kind = configuration.get("class_name")
    if not isinstance(kind, str) or (kind not in MODELS and kind not in given):
        expected = "Expected a Sequential or functional model, or the class with `--custom-objects module:names`"
        raise WelError(f"It is of the class {str(kind)[:80]!r}. {expected}.")
    config = configuration.get("config")
    if kind in MODELS and not isinstance(config.get("layers") if isinstance(config, dict) else config, list):
        raise WelError("It has no list of layers.")
    for part, _ in objects(configuration):
        layers = part.get("layers")
        if isinstance(layers, list) and len(layers) > MOST_LAYERS:
            raise WelError(f"It has more than {MOST_LAYERS:,} layers.")
        if "input_layers" in part:
            _check_calls(part)


def _check_calls(config: dict) -> None:
    """Keras tries again and again to make a call whose inputs are missing, so all calls must have theirs.

    The name of a call is its layer's and a number, which begins with 1 for a model, because building it was a call too.
    """
    layers = config.get("layers")
    if not isinstance(layers, list) or not all(isinstance(layer, dict) for layer in layers):
        raise WelError("The layers of a model in it are no list of objects.")
    made: dict[Call, set[Call]] = {}
    inputs = {layer.get("name") for layer in layers if layer.get("class_name") in INPUTS}
    for layer in layers:
        for call, sources in _calls(layer):
            if call in made:
                raise WelError(f"Two of its layers are called {call[0][:80]!r}.")
            made[call] = sources
    for (name, _), sources in made.items():
        missing = [source for source, number in sources if source not in inputs and (source, number) not in made]
        if missing:
            raise WelError(f"Its layer {name[:80]!r} is called on an output of {missing[0][:80]!r} that is not there.")
    try:
        TopologicalSorter(made).prepare()
    except CycleError as error:
        raise WelError(f"Its layer {error.args[1][0][0][:80]!r} is called on its own output.") from error


def _calls(layer: dict) -> Iterator[tuple[Call, set[Call]]]:
    """A layer's calls and the calls that each of them needs: those that its inputs come from, and the layer's call before."""
    name, config, nodes = layer.get("name"), layer.get("config"), layer.get("inbound_nodes")
    if not isinstance(name, str) or not isinstance(config, (dict, list)):
        raise WelError(f"Its layer {str(name)[:80]!r} has no name or no configuration.")
    if isinstance(config, dict) and name not in _own_names(layer, config):
        raise WelError(f"Its layer {name[:80]!r} has another name in its own configuration.")
    if not isinstance(nodes, list):
        raise WelError(f"Its layer {name[:80]!r} has no list of calls.")
    is_keras3 = any(isinstance(node, dict) for node in nodes)  # which counts the calls of models like those of layers
    first = int(not is_keras3 and (isinstance(config, list) or isinstance(config.get("layers"), list)))
    for number, node in enumerate(nodes, start=first):
        sources = {(source, place) for source, place in _sources(node) if source != CONSTANT}
        if not sources and layer.get("class_name") not in INPUTS:
            raise WelError(f"Its layer {name[:80]!r} is called on constants alone.")
        yield (name, number), sources | ({(name, number - 1)} if number > first else set())


def _history(tensor: dict) -> Call:
    """The layer and the call that a tensor of Keras 3 comes from."""
    config = tensor.get("config")
    history = config.get("keras_history") if isinstance(config, dict) else None
    if isinstance(history, list) and [type(part) for part in history] == [str, int, int]:
        return history[0], history[1]
    raise WelError(f"A tensor in it is malformed: {str(tensor)[:80]}.")


def _own_names(layer: dict, config: dict) -> tuple[Any, ...]:
    """What a layer can be called in its model: by its own name, which TensorFlow 2.3 puts a prefix before when it is an operator."""
    own = config.get("name", layer["name"])
    return (own, f"{OPERATOR_PREFIX}{own}") if layer.get("class_name") == OPERATOR else (own,)


def _sources(node: Any) -> Iterator[Call]:
    """Every [layer, call, output(, arguments)] in a call, wherever it stands, as Keras finds them; and Keras 3's tensors."""
    if isinstance(node, dict) and "args" in node:
        yield from (_history(part) for part, _ in objects(node) if part.get("class_name") == KERAS_TENSOR)
        return
    pending = [node]
    while pending:
        part = pending.pop()
        if isinstance(part, list) and len(part) in (3, 4) and isinstance(part[0], str):
            if not isinstance(part[1], int):
                raise WelError(f"A call in it is malformed: {str(part)[:80]}.")
            yield part[0], part[1]
            pending.extend(part[3:])
        else:
            pending.extend(children(part))
