"""How many images go into one batch of the native engine: its memory per image, and what may be taken."""

from __future__ import annotations

from typing import Iterable

import numpy as np
import psutil

from wel.networks.graph import Graph, Node
from wel.system.devices import free_gpu_memory

# what a batch takes by default: half of what is free, and no more than this, beyond which nothing gets faster
MOST = 2 << 30
# of one image: copies of every layer's values (the values, masks, denominators), and of the largest layer's relevance for each vector
STATES, ROWS = 4, 6


def images_within(memory: int | None, graph: Graph, rows: int, dtype: str) -> int:
    """How many images, with so many vectors each, fit into `memory` bytes, at least one; by default into a part of what is free."""
    sizes = [int(np.prod(node.shape)) for node in graph.nodes]
    per_image = np.dtype(dtype).itemsize * (STATES * sum(sizes) + ROWS * rows * max(sizes))
    return max(1, int((memory or min(MOST, free_memory() // 2)) // per_image))


def forward_bytes(nodes: Iterable[Node], dtype: str = "float32") -> int:
    """Bytes of one image's forward pass through some layers: their values, and those before their activation functions."""
    return 2 * np.dtype(dtype).itemsize * sum(int(np.prod(node.shape)) for node in nodes)


def free_memory() -> int:
    """Bytes that are free where TensorFlow computes: on its GPU if it has one, else in main memory."""
    return free_gpu_memory() or psutil.virtual_memory().available
