"""What in a model's configuration is not Keras's own: code that the file carries, modules that it names, classes that nobody knows."""

from __future__ import annotations

import inspect
from dataclasses import dataclass
from functools import cache
from typing import Any, Callable, Iterator, Mapping

from wel.keras.two import keras2, private
from wel.modelfiles.configuration import OPERATOR, objects
from wel.modelfiles.conversion import FileError
from wel.modelfiles.operators import operator_name

# what runs code or arbitrary operations that a file names, while it is being loaded or later
CODE = frozenset(
    "Lambda __lambda__ TensorFlowOpLayer ClassMethod InstanceMethod InstanceProperty ResidualWrapper DropoutWrapper DeviceWrapper "
    "_RNNCellWrapper TFSMLayer JaxLayer FlaxLayer TorchModuleWrapper".split()
)
OPERATIONS = ("TFOpLambda", "SlicingOpLambda")
# the TensorFlow functions that a file may call: arithmetic and shapes, nothing that reads, writes or loads
FUNCTION_GROUPS = ("math.", "nn.", "linalg.", "image.", "__operators__.")
FUNCTIONS = frozenset(
    "boolean_mask broadcast_to cast clip_by_value concat convert_to_tensor einsum expand_dims fill gather gather_nd identity "
    "norm one_hot ones_like pad rank repeat reshape reverse roll shape size slice squeeze stack stop_gradient strided_slice "
    "tensordot tile transpose where zeros_like".split()
)
# Keras's, and not read, because building them reads files that a model file names, or takes as long as the file likes
UNREAD = {
    **dict.fromkeys("StringLookup IntegerLookup TextVectorization FeatureSpace".split(), "which reads vocabularies"),
    "MelSpectrogram": "which makes tables as large as its file says",
    **dict.fromkeys("DenseFeatures SequenceFeatures LinearModel WideDeepModel".split(), "which reads feature columns"),
    **dict.fromkeys("LocallyConnected1D LocallyConnected2D".split(), "which Keras builds position by position"),
}
# functions with as many outputs as a file likes, where wel reads layers with one
SEVERAL_OUTPUTS = ("split", "unstack")
# how Keras writes plain values
VALUES = frozenset("TensorShape __tuple__ __ellipsis__ __bytes__ __tensor__ __numpy__ Policy".split())
# Keras's, and called by no layer that is built from a configuration
NO_ACTIVATIONS = frozenset("deserialize get serialize keras_export".split())


@dataclass(frozen=True)
class Known:
    """What one Keras has of its own, and knows by name.

    Attributes:
        is_own: function of a part with a class, whether Keras has the class, and it only computes.
        activations: function -> names of activation functions.
        registered: function (name) -> what the user has registered with it, None where there is nothing.
    """

    is_own: Callable[[dict], bool]
    activations: Callable[[], frozenset[str]]
    registered: Callable[[str], Any]


class ForeignError(FileError):
    """What a configuration has that is not Keras's own."""


@dataclass(frozen=True)
class Foreign:
    """Something in a configuration that is not Keras's own.

    Attributes:
        layer: name of the layer that it belongs to, empty where there is none.
        what: in words.
        is_code: whether Keras loads it by running what the file says.
        is_named: whether it is a class or function that the user may have.
    """

    layer: str
    what: str
    is_code: bool = False
    is_named: bool = False

    def __str__(self) -> str:
        return f"layer {self.layer[:80]!r}: {self.what}" if self.layer else self.what


def foreign_parts(configuration: dict, given: Mapping[str, Any], known: Known | None = None) -> list[Foreign]:
    """Everything in a configuration that is neither Keras's own, nor given, nor registered with Keras; each once, in its order.

    Args:
        configuration: of a model, as its file has it.
        given: name -> class or function that the user vouches for.
        known: what is Keras's own; by default Keras 2's.
    """
    known = known or KERAS2
    return list(dict.fromkeys(found for part, owner in objects(configuration) for found in _foreign_in(part, owner, given, known)))


def check_own(
    configuration: dict, given: Mapping[str, Any], allow_code: bool, *, code_only: bool = False, known: Known | None = None
) -> None:
    """Raises ForeignError that lists what is not Keras's own, unless it is code and code is allowed.

    Args:
        configuration: of a model, as its file has it.
        given: name -> class or function that the user vouches for.
        allow_code: lets code pass.
        code_only: lets pass what is merely unknown.
        known: what is Keras's own; by default Keras 2's.
    """
    found = [part for part in foreign_parts(configuration, given, known) if not (allow_code if part.is_code else code_only)]
    if not found:
        return
    listed = "; ".join(map(str, found[:6])) + (f"; … ({len(found)} in all)" if len(found) > 6 else "")
    carries = f"carries code of its own ({listed}), which wel does not run" if any(part.is_code for part in found) else ""
    raise ForeignError(f"{carries or f'needs code that it does not hold ({listed})'}. {_expected(found)}")


def _expected(found: list[Foreign]) -> str:
    ways = ["Keras's own layers"]
    if any(part.is_named for part in found):
        ways.append("`--custom-objects module:names` with the classes and functions that you have")
    if any(part.is_code for part in found):
        ways.append("`--allow-code` when you trust the file")
    return f"Expected {', or '.join(ways)}."


def given_objects(configuration: dict, given: Mapping[str, Any], known: Known | None = None) -> dict[str, Any]:
    """What the user vouches for, or has registered with Keras, under every name of the configuration for it, such as `package>Name`."""
    known = known or KERAS2
    names = {str(part.get(key)) for part, _ in objects(configuration) for key in ("class_name", "registered_name")}
    registered = {name: found for name in names if (found := known.registered(name)) is not None}
    return {**registered, **given, **{name: given[_short(name)] for name in names if _short(name) in given}}


def _foreign_in(part: dict, owner: str, given: Mapping[str, Any], known: Known) -> Iterator[Foreign]:
    """What is foreign in one object, not in the objects inside it."""
    for key, value in part.items():
        if key.endswith("activation") and isinstance(value, str) and not _is_known_function(value, given, known):
            yield Foreign(owner, f"the activation {value[:80]}", is_named=True)
    if "class_name" in part:
        found = _foreign_object(part, owner, given, known)
        if found:
            yield found


def _foreign_object(part: dict, owner: str, given: Mapping[str, Any], known: Known) -> Foreign | None:
    kind, registered, module = part["class_name"], part.get("registered_name"), part.get("module")
    if not isinstance(kind, str) or not all(isinstance(name, (str, type(None))) for name in (registered, module)):
        return Foreign(owner, "a class without a name")
    if kind == "function":
        return _foreign_function(part.get("config"), module, owner, given, known)
    # the name that Keras looks up first, before it imports a module
    if _is_given(registered if "module" in part and "registered_name" in part else kind, given, known):
        return None
    code = {_short(kind), _short(registered or "")} & CODE
    if code == {OPERATOR}:
        return Foreign(owner, f"the TensorFlow operator {operator_name(part.get('config'))}", is_code=True)
    if code:
        return Foreign(owner, f"a layer of the class {min(code)}", is_code=True)
    if kind in OPERATIONS:
        return _foreign_operation(part.get("config"), owner)
    if module and module.split(".")[0] != "keras":
        return Foreign(owner, f"the class {kind[:80]} of the module {module[:80]}", is_code=True, is_named=True)
    if kind in UNREAD:
        return Foreign(owner, f"the class {kind}, {UNREAD[kind]}")
    if kind in VALUES or known.is_own(part):
        return None
    return Foreign(owner, f"the class {kind[:80]}, which is not Keras's", is_named=True)


def _foreign_function(name: Any, module: str | None, owner: str, given: Mapping[str, Any], known: Known) -> Foreign | None:
    if not isinstance(name, str):
        return Foreign(owner, "a function without a name")
    own = (module or "keras").split(".")[0] in ("keras", "builtins")
    if _is_given(name, given, known) or (own and name in known.activations()):
        return None
    place = f" of the module {module[:80]}" if module else ""
    return Foreign(owner, f"the function {name[:80]}{place}", is_code=bool(module), is_named=True)


def _foreign_operation(config: Any, owner: str) -> Foreign | None:
    function = str(config.get("function") if isinstance(config, dict) else config).replace("compat.v1.", "")
    if function in SEVERAL_OUTPUTS:
        return Foreign(owner, f"the TensorFlow function {function}, which has several outputs")
    known = function in FUNCTIONS or function.startswith(FUNCTION_GROUPS)
    return None if known else Foreign(owner, f"the TensorFlow function {function[:80]}", is_code=True)


def _is_known_function(name: str, given: Mapping[str, Any], known: Known) -> bool:
    return name in known.activations() or _is_given(name, given, known)


def _is_given(name: str | None, given: Mapping[str, Any], known: Known) -> bool:
    return name is not None and (_short(name) in given or known.registered(name) is not None)


def _short(name: str) -> str:
    return name.replace(">", ".").split(".")[-1]


@cache
def known_classes() -> frozenset[str]:
    """Names of Keras's layers, models, initialisers, regularisers and constraints."""
    keras, initializers, serialization = keras2(), private("initializers"), private("serialization")
    serialization.populate_deserializable_objects()
    initializers.populate_deserializable_objects()
    layers = {name for name, value in serialization.LOCAL.ALL_OBJECTS.items() if inspect.isclass(value)} | {"Input"}
    modules = (keras.layers, keras.regularizers, keras.constraints)
    public = {name for module in modules for name, value in vars(module).items() if inspect.isclass(value)}
    return frozenset(layers | public | set(initializers.LOCAL.ALL_OBJECTS)) - CODE - set(UNREAD)


def known_strings() -> frozenset[str]:
    """Names that Keras accepts for an initialiser, a regulariser or a constraint."""
    return known_classes() | {"l1_l2"}


@cache
def known_activations() -> frozenset[str]:
    """Names that Keras accepts for an activation function."""
    activations = private("activations")
    found: dict[str, Any] = {}
    private("populate_dict_with_module_objects")(found, (activations.activation_layers, activations), obj_filter=callable)
    return frozenset(found) - NO_ACTIVATIONS


def _is_of_keras2(part: dict) -> bool:
    return {part["class_name"], part.get("registered_name") or part["class_name"]} <= known_classes()


KERAS2 = Known(_is_of_keras2, known_activations, lambda name: keras2().saving.get_registered_object(name))
