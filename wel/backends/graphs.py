"""What the workers of the wrapped packages share: graphs kept between jobs, and jobs cut into batches of rows."""

from __future__ import annotations

import json
from collections import OrderedDict
from typing import Any, Callable, Sequence

import numpy as np

KEPT_GRAPHS = 4


class KeptGraphs:
    """The graphs used last; a graph is built for the first job that needs it.

    Args:
        build: function job -> graph, an object with a method `close`.
        parts: keys of a job that its graph depends on.
    """

    def __init__(self, build: Callable[[dict], Any], parts: Sequence[str]):
        self._build = build
        self._parts = tuple(parts)
        self._kept: OrderedDict[str, Any] = OrderedDict()

    def get(self, job: dict) -> Any:
        """The graph for a job."""
        key = json.dumps([job[part] for part in self._parts], sort_keys=True)
        graph = self._kept.pop(key, None) or self._new(job)
        self._kept[key] = graph
        return graph

    def _new(self, job: dict) -> Any:
        while len(self._kept) >= KEPT_GRAPHS:
            self._kept.popitem(last=False)[1].close()
        return self._build(job)


def in_batches(run: Callable[[np.ndarray, np.ndarray], list], vectors: np.ndarray, batch_rows: int) -> dict[str, np.ndarray]:
    """Answers a relevance job, at most `batch_rows` (image, vector) rows at once.

    Args:
        run: function (image number of each row, vector of each row) -> one array per `at` node, a row each.
        vectors: (n, V, *start shape).

    Returns:
        {`at_<i>`: (n, V, *shape of the i-th node)}.
    """
    count, per_image = vectors.shape[:2]
    rows = vectors.reshape(count * per_image, *vectors.shape[2:])
    owners = np.repeat(np.arange(count), per_image)
    batches = [slice(first, first + batch_rows) for first in range(0, len(rows), batch_rows)]
    parts = [run(owners[batch], rows[batch]) for batch in batches]
    joined = [np.concatenate(part) for part in zip(*parts)]
    return {f"at_{i}": array.reshape(count, per_image, *array.shape[1:]) for i, array in enumerate(joined)}
