"""A network as the bytes of a model file, which another process opens as it would a stranger's: nothing in it is run."""

from __future__ import annotations

import hashlib
import tempfile
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from wel.errors import WelError, first_line
from wel.keras import three, two
from wel.keras.either import keras_of
from wel.modelfiles.building import quiet
from wel.modelfiles.modelfile import Origin
from wel.networks.inputs import fixed_class
from wel.networks.loading import load
from wel.networks.network import Network
from wel.networks.zoo import ZOO


class Packed(NamedTuple):
    """A network on its way to another process.

    Attributes:
        name: the file's, with the ending that says its format.
        data: the file's bytes, uint8: an array travels as it lies in memory, `bytes` would be copied three times on the way.
        identity: of the network, by `identity_of`.
        content: sha256 of all that numbers follow from, also of what layers do with their weights; of the bytes it would be another each
            time, as Keras writes the time into them.
        called: the network's name.
        architecture: its name in the zoo, None for a network that wel does not know.
        final_activation: what was taken off the model's end.
        origin: the file that it comes from.
    """

    name: str
    data: np.ndarray
    identity: str
    content: str
    called: str = "network"
    architecture: str | None = None
    final_activation: str | None = None
    origin: Origin | None = None

    def without_data(self) -> Packed:
        """What is told of the network, without the file's bytes."""
        return self._replace(data=np.empty(0, "uint8"))


def identity_of(net: Network) -> str:
    """sha256 over a network's weights, the names and classes of its layers, and what their fresh weights come from."""
    layers = [(node.name, type(node.layer).__module__, type(node.layer).__name__, _initializers(node.layer)) for node in net.graph.nodes]
    return hashlib.sha256(repr((net.weights_hash(), layers)).encode()).hexdigest()


def _initializers(layer: Any) -> list[str]:
    """Of a layer and those inside it, the initialisers without their seeds, which those of fresh weights replace."""
    found = []
    for owner in keras_of(layer).layers_inside(layer):
        for name, one in sorted(vars(owner).items()):
            if name.endswith("_initializer") and hasattr(one, "get_config"):
                found.append(repr((name, type(one).__name__, sorted({**one.get_config(), "seed": None}.items()))))
    return found


def packed(net: Network) -> Packed:
    """The network, with the weights that it has now, as Keras saves it.

    Raises:
        WelError: when Keras cannot save it.
    """
    name = f"network{keras_of(net.model).SUFFIX}"
    with tempfile.TemporaryDirectory() as folder, quiet():
        path = Path(folder) / name
        try:
            net.model.save(path)
        except Exception as error:  # whatever a layer raises that has no configuration
            raise _unpackable(f"Keras cannot save it ({first_line(error)})") from error
        known = net.architecture and net.architecture.name
        identity, told = identity_of(net), (net.name, known, net.final_activation, net.origin)
        content = hashlib.sha256(repr((identity, net.model.to_json(), told)).encode()).hexdigest()
        return Packed(name, np.fromfile(path, "uint8"), identity, content, *told)


def unpacked(sent: Packed) -> Network:
    """The network of a file's bytes, as `opened_again` opens it."""
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / sent.name
        sent.data.tofile(path)
        return opened_again(sent, path)


def opened_again(sent: Packed, path: Path) -> Network:
    """The network of a file, within the bounds of `wel.load`, which neither runs nor imports what a file names.

    Args:
        sent: what is told of it; its bytes are not asked for.
        path: the file.

    Raises:
        WelError: when the file carries code, or what it gives is another network.
    """
    try:
        model = load(path, custom_objects={"Fixed": fixed_class(three if path.suffix == three.SUFFIX else two)}).model
    except WelError as error:
        raise _unpackable(str(error).replace(str(path), sent.name).rstrip(".")) from error
    net = Network(model, sent.called, ZOO.get(sent.architecture or ""), sent.origin, sent.final_activation)
    if identity_of(net) != sent.identity:
        raise _unpackable("its layers are others when its file is read")
    return net


def _unpackable(reason: str) -> WelError:
    message = f"Invalid value for `net`: it cannot be sent to workers: {reason}"
    return WelError(f"{message}. Expected a network of layers that wel reads from files, or no workers.")
