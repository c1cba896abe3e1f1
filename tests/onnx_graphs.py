"""Small ONNX files with seeded weights, written field by field, as `onnx.proto` has them."""

from __future__ import annotations

from typing import Any, Iterable

import numpy as np

SHAPE, CLASSES = (9, 8, 3), 3
DATA_TYPES = {"float32": 1, "int32": 6, "int64": 7}


def varint(number: int) -> bytes:
    """Seven bits a byte, the lowest first; a negative one as its 64 bits."""
    number &= (1 << 64) - 1
    found = bytearray()
    while number > 127:
        found.append(number & 127 | 128)
        number >>= 7
    return bytes([*found, number])


def field(number: int, value: int | float | str | bytes) -> bytes:
    """A field of a message."""
    if isinstance(value, int):
        return varint(number << 3) + varint(value)
    if isinstance(value, float):
        return varint(number << 3 | 5) + np.float32(value).tobytes()
    content = value.encode() if isinstance(value, str) else value
    return varint(number << 3 | 2) + varint(len(content)) + content


def tensor(name: str, array: np.ndarray) -> bytes:
    """Weights, as raw bytes."""
    sizes = b"".join(field(1, int(size)) for size in array.shape)
    return sizes + field(2, DATA_TYPES[str(array.dtype)]) + field(8, name) + field(9, array.tobytes())


def attribute(name: str, value: Any) -> bytes:
    """A setting of a node: a number, a text, or whole numbers."""
    kinds = {float: (2, 1), int: (3, 2), str: (4, 3)}
    if isinstance(value, list):
        return field(1, name) + b"".join(field(8, one) for one in value) + field(20, 7)
    number, kind = kinds[type(value)]
    return field(1, name) + field(number, value) + field(20, kind)


def value_info(name: str, sizes: Iterable[int | str]) -> bytes:
    """An input or output of float32; a size that is a text is open."""
    dims = b"".join(field(1, field(2 if isinstance(size, str) else 1, size)) for size in sizes)
    return field(1, name) + field(2, field(1, field(1, 1) + field(2, dims)))


class Graph:
    """A graph that grows node by node; each takes what the last one gave, unless it is told otherwise."""

    def __init__(self, seed: int = 0, shape: tuple[int, ...] = SHAPE):
        self.random, self.shape = np.random.RandomState(seed), shape
        self.nodes: list[bytes] = []
        self.weights: dict[str, np.ndarray] = {}
        self.last = "image"

    def add(self, kind: str, *inputs: str | np.ndarray, of: str | None = None, **settings: Any) -> str:
        """A node; arrays among its inputs are weights."""
        output = f"{kind.lower()}_{len(self.nodes)}"
        names = [of or self.last] if of != "" else []
        for number, one in enumerate(inputs):
            names.append(one if isinstance(one, str) else f"{output}_w{number}")
            if not isinstance(one, str):
                self.weights[names[-1]] = one
        parts = [*(field(1, name) for name in names), field(2, output), field(3, output), field(4, kind)]
        self.nodes.append(b"".join(parts) + b"".join(field(5, attribute(*pair)) for pair in settings.items()))
        self.last = output
        return output

    def draw(self, *shape: int) -> np.ndarray:
        """Weights between −½ and ½."""
        return (self.random.random_sample(shape) - 0.5).astype("float32")

    def written(self) -> bytes:
        """The file; the last node gives its output."""
        graph = b"".join(field(1, node) for node in self.nodes) + field(2, "graph")
        graph += b"".join(field(5, tensor(*pair)) for pair in self.weights.items())
        graph += field(11, value_info("image", ["batch", *self.shape])) + field(12, value_info(self.last, ["batch", CLASSES]))
        return field(1, 7) + field(7, graph) + field(8, field(1, "") + field(2, 13))


def small_graph(head: str) -> bytes:
    """A residual network of every operation that is known, with one of three heads.

    Args:
        head: "channels first" flattens (channels, height, width), "channels last" (height, width, channels) by a shape that is computed
            from the batch, "pooled" takes the mean.
    """
    graph = Graph()
    graph.add("Transpose", perm=[0, 3, 1, 2])
    # 9×8 -> 5×4; the height is padded as "same" does, the width is not
    graph.add("Conv", graph.draw(4, 3, 3, 3), graph.draw(4), strides=[2, 2], pads=[1, 1, 1, 1], kernel_shape=[3, 3])
    skip = graph.add("Relu")
    graph.add("Conv", graph.draw(8, 1, 3, 3), group=4, pads=[1, 1, 1, 1], kernel_shape=[3, 3])
    graph.add("BatchNormalization", graph.draw(8), graph.draw(8), graph.draw(8), np.abs(graph.draw(8)) / 50, epsilon=1e-3)
    graph.add("Clip", np.float32(0), np.float32(6))
    graph.add("Conv", graph.draw(4, 8, 1, 1), kernel_shape=[1, 1])
    graph.add("Add", skip)
    graph.add("Relu")
    # 5×4 -> 3×2, padded by a row above and below, by a column on the right
    graph.add("MaxPool", kernel_shape=[3, 3], strides=[2, 2], pads=[1, 0, 1, 1])
    HEADS[head](graph)
    graph.add("Softmax", axis=1)
    return graph.written()


def _channels_first(graph: Graph) -> None:
    graph.add("AveragePool", kernel_shape=[2, 1])  # 3×2 -> 2×2
    graph.add("Flatten")
    graph.add("Gemm", graph.draw(CLASSES, 16), graph.draw(CLASSES), transB=1)


def _channels_last(graph: Graph) -> None:
    pooled, values = graph.last, graph.add("Transpose", perm=[0, 2, 3, 1])
    graph.add("Shape", of=pooled)
    graph.add("Gather", np.array([0, 2, 3, 1]))
    graph.add("Slice", np.array([0]), np.array([1]), np.array([0]))
    graph.add("Concat", np.array([24]), axis=0)
    shape = graph.add("Cast", to=7)
    graph.add("Reshape", shape, of=values)
    graph.add("MatMul", graph.draw(24, 5))
    graph.add("Add", graph.draw(5))
    graph.add("Relu")
    graph.add("Mul", graph.draw(5))
    graph.add("Add", graph.draw(5))
    graph.add("MatMul", graph.draw(5, CLASSES))
    graph.add("Add", graph.draw(CLASSES))


def _pooled(graph: Graph) -> None:
    graph.add("AveragePool", kernel_shape=[3, 2])
    graph.add("Reshape", np.array([-1, 1, 1, 4]))
    graph.add("Reshape", np.array([-1, 4]))
    graph.add("MatMul", graph.draw(4, CLASSES))
    graph.add("Add", graph.draw(CLASSES))


HEADS = {"channels first": _channels_first, "channels last": _channels_last, "pooled": _pooled}


def images(count: int = 2, shape: tuple[int, ...] = SHAPE) -> np.ndarray:
    """Inputs between −2 and 2."""
    return (np.random.RandomState(1).random_sample((count, *shape)) * 4 - 2).astype("float32")
