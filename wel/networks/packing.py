"""A network as the bytes of a model file, which another process opens as it would a stranger's: nothing in it is run."""

from __future__ import annotations

import hashlib
import tempfile
from pathlib import Path
from typing import NamedTuple

from wel.errors import WelError
from wel.keras.either import keras_of
from wel.modelfiles.building import quiet
from wel.networks.loading import load
from wel.networks.network import Network


class Packed(NamedTuple):
    """A network on its way to another process.

    Attributes:
        name: the file's, with the ending that says its format.
        data: the file's bytes.
        identity: of the network, by `identity_of`.
    """

    name: str
    data: bytes
    identity: str


def identity_of(net: Network) -> str:
    """sha256 over a network's weights, and the names and classes of its layers."""
    layers = [(node.name, type(node.layer).__module__, type(node.layer).__name__) for node in net.graph.nodes]
    return hashlib.sha256(repr((net.weights_hash(), layers)).encode()).hexdigest()


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
            raise _unpackable(f"Keras cannot save it ({str(error).strip().splitlines()[0][:200]})") from error
        return Packed(name, path.read_bytes(), identity_of(net))


def unpacked(sent: Packed) -> Network:
    """The network of a file's bytes, within the bounds of `wel.load`, which neither runs nor imports what a file names.

    Raises:
        WelError: when the file carries code, or what it gives is another network.
    """
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / sent.name
        path.write_bytes(sent.data)
        try:
            net = load(path)
        except WelError as error:
            raise _unpackable(str(error).replace(str(path), path.name).rstrip(".")) from error
    if identity_of(net) != sent.identity:
        raise _unpackable("its layers are others when its file is read")
    return net


def _unpackable(reason: str) -> WelError:
    message = f"Invalid value for `net`: it cannot be sent to workers: {reason}"
    return WelError(f"{message}. Expected a network of layers that wel reads from files, or no workers.")
