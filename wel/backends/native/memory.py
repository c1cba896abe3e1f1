"""How many images go into one batch of the native engine: its memory per image, and what may be taken."""

from __future__ import annotations

from contextlib import contextmanager
from contextvars import ContextVar
from typing import Iterable, Iterator, Sequence

import numpy as np

from wel.networks.graph import Graph, Node
from wel.networks.kinds import ACTIVATION_LAYERS, KERNELS, RESCALINGS, activation_name
from wel.rules.base import Relevance
from wel.rules.deeplift import Contributions
from wel.system.devices import free_gpu_memory
from wel.system.memory import main_memory

# what a batch takes by default: a quarter of what there is, and no more than this, beyond which nothing gets faster
MOST = 2 << 30
# what methods have in common takes that at most, of an audit, and no more than a sixth of what there is
MOST_IN_COMMON = 3 << 30
# of one image: copies of every layer's values (the values, masks, denominators), and of the largest layer's relevance for each vector;
# DeepLIFT keeps the reference's values and contributions too, and passes two multipliers where it keeps these apart
STATES, ROWS = 4, 6
NUMBER_BY_NUMBER = ACTIVATION_LAYERS | RESCALINGS | {"BatchNormalization", "Add", "Subtract", "Average"}
_allowed: ContextVar[int | None] = ContextVar("allowed", default=None)


def images_within(memory: int | None, graph: Graph, rows: int, dtype: str, flow: Relevance = Relevance()) -> int:
    """How many images, with so many vectors each, fit into `memory` bytes; by default into a part of what there is."""
    return int(batch_memory(memory) // bytes_per_image(graph, rows, dtype, flow))


def batch_memory(memory: int | None) -> int:
    """Bytes that a batch may take: so many, or by default a part of what there is."""
    return memory or _allowed.get() or min(MOST, memory_there() // 4)


@contextmanager
def within_memory(memory: int) -> Iterator[None]:
    """What a batch may take by default within the block, so that what is computed together does not depend on this machine."""
    token = _allowed.set(memory)
    try:
        yield
    finally:
        _allowed.reset(token)


def bytes_per_image(graph: Graph, rows: int, dtype: str, flow: Relevance = Relevance()) -> int:
    """What one image with so many vectors takes at most, of a method that passes that through a network."""
    states = 2 * STATES if isinstance(flow, Contributions) else STATES
    several = 2 * ROWS if isinstance(flow, Contributions) and flow.split else ROWS
    sizes = [int(np.prod(node.shape)) for node in graph.nodes]
    return np.dtype(dtype).itemsize * (states * sum(sizes) + several * rows * max(sizes))


def images_in_common(several: Sequence[Sequence[Node]]) -> int:
    """Of how many images what methods have in common is kept, of all these layers together, of the trained network and random ones."""
    return min(MOST_IN_COMMON, memory_there() // 6) // sum(map(common_bytes, several))


def common_bytes(nodes: Iterable[Node], dtype: str = "float32") -> int:
    """Bytes of what methods have in common of one image in some layers.

    It is their values; of layers that are not computed number by number DeepLIFT's too, of kernels the values before an activation function
    and two products, of others the places of maxima.
    """
    return np.dtype(dtype).itemsize * sum(_in_common(node) * int(np.prod(node.shape)) for node in nodes)


def _in_common(node: Node) -> int:
    """How many copies of a layer's values."""
    if node.kind in KERNELS:
        return 4 + (activation_name(node.layer) != "linear")
    return 1 if node.kind in NUMBER_BY_NUMBER else 3


def memory_there() -> int:
    """Bytes where TensorFlow computes: those that are free on its GPU if it has one, else all of main memory.

    What is free of that changes with what else the machine does, and with the size of batches last bits would.
    """
    return free_gpu_memory() or main_memory()
