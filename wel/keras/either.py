"""Which Keras a model or a layer is of: the module `wel.keras.two` or `wel.keras.three`, which have the same functions."""

from __future__ import annotations

from typing import Any

from wel.keras import three, two
from wel.keras.call import Call

# the packages that Keras's own classes are of
OWN = ("keras", "tf_keras")


def keras_of(layer: Any) -> Any:
    """`wel.keras.three` for a layer, a model or an operation of Keras 3, else `wel.keras.two`.

    Raises:
        WelError: for one of Keras 3 that does not run on TensorFlow.
    """
    three.check_backend(layer)
    return three if three.is_of_3(layer) else two


def call_of(tensor: Any) -> Call | None:
    """The call that a Keras tensor comes from; None for an input."""
    history = tensor._keras_history  # (layer or operation, its node, place)
    node = history[0]._inbound_nodes[history[1]]
    return None if node.is_input else keras_of(history[0])._call(node)


def is_model(layer: Any) -> bool:
    """Whether it is a model, of either Keras."""
    return keras_of(layer).is_model(layer)


def is_listed(model: Any) -> bool:
    """Whether it is a model whose layers' calls are known."""
    return is_model(model) and keras_of(model).is_listed(model)


def is_own(layer: Any) -> bool:
    """Whether a layer's class is one of Keras's own."""
    return type(layer).__module__.split(".")[0] in OWN
