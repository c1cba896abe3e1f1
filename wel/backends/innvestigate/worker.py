"""The innvestigate backend's process: relevance jobs computed by the analyzers of the installed innvestigate 2.1.2.

A job's network is built in a TensorFlow 1 graph, the analyzer reverses it once, and every job feeds the reversed
tensor of the start node and fetches those of the nodes below it.
"""

from __future__ import annotations

import json
from collections import OrderedDict
from pathlib import Path

import numpy as np
import tensorflow as tf

from wel.backends.innvestigate.reversal import Reversal
from wel.backends.worker import serve

KEPT_GRAPHS = 4


class _Reversals:
    """The graphs built so far, the last few kept, each with the weights that the job asks for."""

    def __init__(self):
        self._kept: OrderedDict[str, Reversal] = OrderedDict()

    def get(self, job: dict) -> Reversal:
        key = json.dumps([job[part] for part in ("architecture", "method", "semantics", "options")], sort_keys=True)
        reversal = self._kept.pop(key, None) or self._build(job)
        self._kept[key] = reversal
        reversal.set_weights(job["weights_hash"], Path(job["network"]) / "weights.npz")
        return reversal

    def _build(self, job: dict) -> Reversal:
        while len(self._kept) >= KEPT_GRAPHS:
            self._kept.popitem(last=False)[1].close()
        network = json.loads((Path(job["network"]) / "network.json").read_text())
        return Reversal(network, job["method"], job["semantics"], job["options"])


def main() -> None:
    """Serves relevance jobs until standard input ends."""
    import innvestigate  # noqa: F401  (reported below; a missing package must end the worker at once)

    tf.compat.v1.disable_eager_execution()
    tf.config.experimental.enable_tensor_float_32_execution(False)
    reversals = _Reversals()

    def compute(job: dict, arrays: dict) -> dict[str, np.ndarray]:
        reversal = reversals.get(job)
        reversal.set_patterns(arrays)
        return reversal.relevance(job, arrays["images"], arrays["vectors"])

    serve(compute, {"tensorflow": tf.__version__, "innvestigate": "2.1.2"})


if __name__ == "__main__":
    main()
