"""What CSC and effective rank share: random vectors from start layers, measured at every layer below, image batch by image batch."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Callable, Dict, Iterator, List, Mapping, NamedTuple, Sequence, Tuple, Union

import numpy as np

from wel.backends.request import DTYPES, Measure
from wel.errors import check_whole, invalid, one_of
from wel.measures.vectors import random_vectors
from wel.methods.composites import registered_rules
from wel.methods.options import arrays_sha256
from wel.networks.network import Network
from wel.studies.study import Pieces, Settings, Study
from wel.studies.units import Arrays, Cell, Unit, Work
from wel.system.progress import Steps
from wel.system.runs import Run

Vectors = Mapping[str, np.ndarray]
Drawing = Union[int, np.ndarray]
Places = Dict[Tuple[str, str], List[Arrays]]


class Drawn(NamedTuple):
    """Which vectors a study takes.

    Attributes:
        start: start layers; the paper's for networks of the zoo, else the output.
        vectors: how many random vectors per image, or the vectors themselves, {start layer: (n, V, *shape)}.
        least: how many there have to be.
        why: the reason, for the error.
        batch_size: images that are computed at once; sized from memory if it is None.
    """

    start: Sequence[str] | str | None
    vectors: int | Vectors
    least: int
    why: str
    batch_size: int | None


@dataclass(frozen=True, eq=False)
class Batch:
    """Computes a piece: what arrives of the vectors of some images, here or on a worker.

    Attributes:
        numbers: of the images, in the study.
        vectors: start layer -> how many are drawn for each image, or the vectors themselves, (n, V, *shape).
        seed: of those that are drawn.
        measure: what is kept of relevance in the backend.
        keep: a measured value as arrays.
        left: how many images are left to compute in the same way, these among them.
    """

    numbers: Tuple[int, ...]
    vectors: Mapping[str, Drawing]
    seed: int
    measure: Measure
    keep: Callable[[Any], Arrays]
    left: int

    def __call__(self, work: Work) -> dict[str, np.ndarray]:
        """The arrays: the images' numbers as `done`, and what is kept at every layer below a start layer, "start/layer/name"."""
        vectors = {start: self._drawn(work.net, start, one) for start, one in self.vectors.items()}
        found = work.opened.measure(work.request, work.images, vectors, None, self.measure, self.left)
        arrays = {f"{_place(work.net, *place)}/{name}": array for place, value in found.items() for name, array in self.keep(value).items()}
        return {"done": np.array(self.numbers), **arrays}

    def _drawn(self, net: Network, start: str, drawing: Drawing) -> np.ndarray:
        if isinstance(drawing, np.ndarray):
            return drawing
        return random_vectors(self.seed, start, self.numbers, drawing, net.graph[start].shape)


def _place(net: Network, start: str, layer: str) -> str:
    return f"{net.graph.index(start)}/{net.graph.index(layer)}"


class VectorStudy(Study):
    """A study that injects vectors at start layers.

    Attributes:
        starts: Keras names of the start layers.
    """

    def __init__(self, settings: Settings, drawn: Drawn):
        self._check_settings(settings, drawn)
        net, given = settings.net, None
        if isinstance(drawn.vectors, Mapping):
            given = {net.find(name, "vectors"): array for name, array in drawn.vectors.items()}
        self.starts = net.start_layers(list(given) if drawn.start is None and given is not None else drawn.start)
        super().__init__(settings)
        self._batch_size, self._count = drawn.batch_size, drawn.vectors
        self._given = None if given is None else {start: self._checked(start, given, drawn) for start in self.starts}

    @staticmethod
    def _check_settings(settings: Settings, drawn: Drawn) -> None:
        if not isinstance(drawn.vectors, Mapping):
            check_whole("vectors", drawn.vectors, drawn.least, f": {drawn.why}")
        dtype, memory = settings.precision
        for name, value in (("batch_size", drawn.batch_size), ("memory", memory)):
            if value is not None:
                check_whole(name, value, 1)
        if dtype not in DTYPES:
            raise invalid("dtype", dtype, one_of(DTYPES))
        if dtype != "float32" and settings.backend != "native":
            raise invalid("dtype", dtype, f"'float32', the only one that the backend '{settings.backend}' computes in")

    def _checked(self, start: str, given: Vectors, drawn: Drawn) -> np.ndarray:
        if start not in given:
            raise invalid("vectors", list(given), f"vectors for the start layer '{self.net.shown(start)}' too")
        vectors = self.net.checked_vectors(given[start], start, len(self.images))
        if vectors.shape[1] < drawn.least:
            raise invalid("vectors", f"{vectors.shape[1]} per image", f"{drawn.least} or more: {drawn.why}")
        return vectors

    def count(self, start: str) -> int:
        """How many vectors an image has at a start layer."""
        return int(self._count) if self._given is None else self._given[start].shape[1]

    def drawing(self, start: str, images: Sequence[int]) -> Drawing:
        """How many vectors are drawn for some images at a start layer, or the vectors that were given."""
        return int(self._count) if self._given is None else self._given[start][list(images)]

    def record(self) -> dict[str, Any]:
        return {
            **super().record(),
            "start_layers": [self.net.shown(start) for start in self.starts],
            "vectors": int(self._count) if self._given is None else arrays_sha256(self._given.values()),
            "dtype": self.precision.dtype,
            "registered_rules": registered_rules() if self.backend == "native" else {},
        }

    def rows(
        self,
        run: Run,
        steps: Steps,
        measure: Measure,
        keep: Callable[[Any], Arrays],
        summarise: Callable[[Cell, str, str, Sequence[Arrays], np.ndarray], dict[str, Any]],
    ) -> dict[Cell, list[dict[str, Any]]]:
        """Measures every cell, and makes of each start layer and layer one entry, from the output down.

        Args:
            run, steps: as for `Study.measured`, with one step for each start layer and image.
            measure: what is kept of relevance in the backend.
            keep: a measured value as arrays.
            summarise: function (cell, start layer, layer, the arrays of all batches, the images of each) -> an entry, fit for JSON.
        """

        def units(cell: Cell, kept: Mapping[str, Arrays]) -> Iterator[Unit]:
            return self._units(cell, kept, measure, keep)

        def condense(cell: Cell, pieces: Pieces) -> list[dict[str, Any]]:
            return self._condensed(cell, pieces, summarise)

        def weigh(arrays: Arrays) -> int:
            return len(self.starts) * len(arrays["done"])

        return self.measured(run, steps, len(self.starts) * len(self.images), units, weigh, condense)

    def _units(self, cell: Cell, kept: Mapping[str, Arrays], measure: Measure, keep: Callable[[Any], Arrays]) -> Iterator[Unit]:
        done = {int(image) for piece in kept.values() for image in piece["done"]}
        left = [image for image in range(len(self.images)) if image not in done]
        for batch in self._batches(cell, left):
            vectors = {start: self.drawing(start, batch) for start in self.starts}
            more = len(left) - left.index(batch[0])
            compute = Batch(tuple(batch), vectors, self.seed, measure, keep, more)
            yield Unit(cell, f"{batch[0]:06d}", self.images[batch], compute)

    def _batches(self, cell: Cell, images: list[int]) -> list[list[int]]:
        # the same for workers: TensorFlow's last bits depend on how many images it computes at once
        size = self._batch_size or self.opened(cell).images_at_once(sum(map(self.count, self.starts)), self.requests[cell])
        return [images[first : first + size] for first in range(0, len(images), size)]

    def _condensed(self, cell: Cell, pieces: Pieces, summarise: Callable) -> list[dict[str, Any]]:
        batches = [piece["done"] for piece in pieces.values()]
        places = _by_place(pieces)
        below = [(start, layer) for start in self.starts for layer in reversed(self.net.graph.below(start))]
        return [summarise(cell, *place, places[_place(self.net, *place)], batches) for place in below]

    def layer_row(self, cell: Cell, start: str, layer: str) -> dict[str, Any]:
        """The columns that say what a row of a start layer and a layer is of."""
        return {
            **self.row(cell),
            "start": self.net.shown(start),
            "layer": self.net.shown(layer),
            "layer_index": self.net.graph.index(layer),
            "channels": self.net.graph[layer].shape[-1],
            "images": len(self.images),
            "vectors": self.count(start),
        }


def _by_place(pieces: Pieces) -> dict[str, list[dict[str, np.ndarray]]]:
    """The arrays of each place, "start/layer", piece by piece."""
    found: dict[str, list[dict[str, np.ndarray]]] = {}
    for piece in pieces.values():
        parts: dict[str, dict[str, np.ndarray]] = {}
        for key, array in piece.items():
            place, _, name = key.rpartition("/")
            parts.setdefault(place, {})[name] = array
        for place, arrays in parts.items():
            found.setdefault(place, []).append(arrays)
    return found
