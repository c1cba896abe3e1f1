"""Backends that run in a process of their own: the wrapped packages and the original stack."""

from __future__ import annotations

import hashlib
import json
import shutil
import tempfile
import weakref
from pathlib import Path
from typing import Any, Callable, Collection, Iterable, Mapping

import numpy as np

from wel.backends.process import Worker, write_network
from wel.backends.request import Measure, Precision, Request
from wel.errors import UnsupportedError, of_method
from wel.methods.registry import LRP, TAYLOR, Method
from wel.modelfiles.tf_keras import in_keras2
from wel.networks.graph import Graph
from wel.networks.kernels import why_no_pattern
from wel.networks.kinds import (
    ACTIVATION_LAYERS,
    AUGMENTATIONS,
    KERNELS,
    LINEAR_LAYERS,
    LOOKUPS,
    POOLINGS,
    SEEN_THROUGH,
    SHAPES,
    TWO_KERNELS,
    activation_name,
    is_relu,
)
from wel.networks.network import Network

# what a wrapped package may hold at once, and how many copies of all layer outputs it makes for one row
MEMORY = 1 << 30
COPIES = 8


class WrappedBackend:
    """A backend behind the worker protocol; its process starts when it is first needed and is used again.

    Attributes:
        name: as in `backend=...`.
    """

    def __init__(self, name: str, start_worker: Callable[[], Worker]):
        self.name = name
        self._start_worker = start_worker
        self._worker: Worker | None = None

    @property
    def worker(self) -> Worker:
        """The process behind this backend."""
        if self._worker is None:
            self._worker = self._start_worker()
        return self._worker

    def check(self, method: Method, semantics: str, graph: Graph, between: tuple[Collection[str], Collection[str]] | None = None) -> None:
        """Raises UnsupportedError for a method that the wrapped package cannot compute; the original stack tells only when it is asked.

        A package goes through the whole network, whatever it is to pass.
        """
        if self.name != "original" and (reason := why_not_wrapped(method, graph, semantics)):
            raise UnsupportedError(reason)

    def open(self, net: Network, precision: Precision = Precision()) -> OpenNetwork:
        """The network with the weights that it has now, ready for this backend, which computes in float32."""
        return OpenNetwork(self, net, precision.memory or MEMORY)

    def close(self) -> None:
        """Ends the process, if one was started."""
        if self._worker is not None:
            self._worker.close()
            self._worker = None


class OpenNetwork:
    """A network's graph and weights, as they were when it was opened, in a backend's hands."""

    def __init__(self, backend: WrappedBackend, net: Network, memory: int):
        self._worker = backend.worker
        self._graph, self._memory = net.graph, memory
        self._row_bytes = _bytes_per_row(net)
        config = json.dumps(_network_config(net), sort_keys=True)
        folder = tempfile.mkdtemp(dir=self._worker.folder)
        weakref.finalize(self, shutil.rmtree, folder, ignore_errors=True)
        write_network(Path(folder), config, net.graph.flat_weights())
        self._job = {
            "network": folder,
            "architecture": hashlib.sha256(config.encode()).hexdigest(),
            "weights_hash": net.weights_hash(),
        }

    def measure(
        self,
        request: Request,
        images: np.ndarray,
        vectors: Mapping[str, np.ndarray],
        at: Iterable[str] | None,
        measure: Measure,
        left: int | None = None,
    ) -> dict[tuple[str, str], Any]:
        """As `wel.backends.request.Opened.measure`, start layer after start layer.

        Raises:
            UnsupportedError: when the method cannot be had for this network.
            WelError: when the worker fails.
        """
        found = {}
        for start, array in vectors.items():
            below = self._graph.below(start)
            names = below if at is None else [name for name in dict.fromkeys(at) if name in below]
            for name, relevance in self._relevance(request, images, start, array, names).items():
                found[start, name] = measure.of(relevance)
        return found

    def _relevance(self, request: Request, images: np.ndarray, start: str, vectors: np.ndarray, at: list[str]) -> dict[str, np.ndarray]:
        """Relevance at the nodes `at` for vectors (n, V, *start shape): {node: (n, V, *shape)} float32."""
        rows = max(1, self._memory // self._row_bytes)
        plain, arrays = _separated(request.options)
        if plain.pop("stabilizer", 0):
            raise UnsupportedError(f"The option `stabilizer` of {request.method.name} is the native backend's alone. Expected 0.")
        asked = {"method": request.method.key, "semantics": request.semantics, "options": plain}
        job = {**self._job, **asked, "start": start, "at": at, "batch_rows": rows}
        answer = self._worker.run(job, {"images": images, "vectors": vectors, **arrays})
        return {name: answer[f"at_{i}"] for i, name in enumerate(at)}

    def images_at_once(self, rows: int, request: Request) -> int:
        """How many images with that many vectors each a job should hold, so that it stays within its memory."""
        return max(1, self._memory // (self._row_bytes * rows))


def _separated(options: Mapping[str, Any]) -> tuple[dict, dict[str, np.ndarray]]:
    """Options that fit into JSON, and arrays: `reference` as it is, the list `patterns` as `pattern_000`, `pattern_001`, …"""
    arrays = {key: value for key, value in options.items() if isinstance(value, np.ndarray)}
    patterns = options.get("patterns", [])
    arrays.update({f"pattern_{i:03d}": array for i, array in enumerate(patterns)})
    return {key: value for key, value in options.items() if key not in (*arrays, "patterns")}, arrays


def _network_config(net: Network) -> dict:
    graph = net.graph
    return {
        "config": in_keras2(graph.flat_config()),
        "nodes": {name: graph.flat_name(name) for name in graph.names},
        "input": graph.input,
        "output": graph.output,
    }


def _bytes_per_row(net: Network) -> int:
    return 4 * COPIES * sum(int(np.prod(node.shape)) for node in net.graph.nodes)


# layers for which innvestigate's relevance methods have a rule, and those that it passes by their gradient
INNVESTIGATE = ACTIVATION_LAYERS | KERNELS | POOLINGS | (SHAPES - AUGMENTATIONS)
INNVESTIGATE |= {"Masking", "BatchNormalization", "Add", "Average", "Maximum", "Minimum"}
INNVESTIGATE_PAPER = INNVESTIGATE | {"Subtract", "Multiply", "Dot"}
DEEPLIFT_ACTIVATIONS = ("linear", "relu", "sigmoid", "tanh", "ReLU", "LeakyReLU", "PReLU")
DEEPLIFT = (
    (SHAPES - AUGMENTATIONS)
    | {"Activation", "ReLU", "LeakyReLU", "PReLU", "Dense", "Conv2D", "DepthwiseConv2D", "BatchNormalization", "Add"}
    | {"MaxPooling2D", "AveragePooling2D", "GlobalAveragePooling1D", "GlobalAveragePooling2D"}
) - {"Cropping3D", "UpSampling3D", "ZeroPadding3D", "SpatialDropout3D"}


def why_not_wrapped(method: Method, graph: Graph, semantics: str = "paper") -> str | None:
    """Why no wrapped package computes a method for a network, in one sentence; None if one does."""
    if method.wrapped == "deeplift":
        for node in graph.nodes:
            if node.kind not in DEEPLIFT or activation_name(node.layer) not in DEEPLIFT_ACTIVATIONS or _is_limited(node.layer):
                return of_method(method.name, f"has no rule for layer '{node.name}' ({node.kind}, {activation_name(node.layer)}).")
    if method.relu_only:
        for node in graph.nodes:
            if not _is_relu_or_linear(node.layer):
                return of_method(method.name, f"is defined for ReLU networks only; layer '{node.name}' has {activation_name(node.layer)}.")
    if "patterns" in method.options:
        for node in graph.nodes:
            kind = why_no_pattern(node.layer)
            if kind:
                return of_method(method.name, f"has no pattern for layer '{node.name}' ({kind}).")
    known = _known(method, semantics)
    for node in graph.nodes:
        # innvestigate has no gradient of a lookup, not even 0
        if (known is not None and node.kind not in known) or (node.kind in LOOKUPS and method.family != LRP):
            return of_method(method.name, f"has no rule for layer '{node.name}' ({node.kind}).")
    return None


def _known(method: Method, semantics: str) -> frozenset[str] | None:
    """The layers that innvestigate computes a method for as wel does; None: all but lookups."""
    paper = semantics == "paper"
    if method.family == LRP:
        known = (INNVESTIGATE_PAPER if paper else INNVESTIGATE) | {"Embedding"}
    elif method.family == TAYLOR:
        known = INNVESTIGATE_PAPER if paper else INNVESTIGATE
    else:
        seen = method.relu_only or "patterns" in method.options
        return SEEN_THROUGH | ACTIVATION_LAYERS | KERNELS | LINEAR_LAYERS if seen else None
    return known if paper or method.two_kernels else known - TWO_KERNELS


def _is_limited(layer) -> bool:
    return type(layer).__name__ == "ReLU" and (layer.max_value is not None or bool(layer.threshold))


def _is_relu_or_linear(layer) -> bool:
    """innvestigate does not know a ReLU with a maximum that is a function."""
    return activation_name(layer) == "linear" or (is_relu(layer) and activation_name(layer) != "relu6")
