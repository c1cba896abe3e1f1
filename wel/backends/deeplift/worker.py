"""The deeplift backend's process: relevance jobs computed by the installed deeplift 0.6.13.0 (`wel/backends/worker.py` has the protocol).

A job's arrays may hold `reference`, DeepLIFT's reference input, (*input) or one per image; else it is 0.
"""

from __future__ import annotations

from importlib.metadata import version

import numpy as np
import tensorflow as tf

from wel.backends.deeplift.contributions import Contributions
from wel.backends.graphs import KeptGraphs
from wel.backends.worker import serve


def main() -> None:
    """Serves relevance jobs until standard input ends."""
    tf.config.experimental.enable_tensor_float_32_execution(False)
    graphs = KeptGraphs(Contributions, parts=("architecture", "method", "semantics"))

    def compute(job: dict, arrays: dict) -> dict[str, np.ndarray]:
        contributions = graphs.get(job)
        contributions.set_weights(job)
        return contributions.relevance(job, **arrays)

    serve(compute, {"tensorflow": tf.__version__, "deeplift": version("deeplift")})


if __name__ == "__main__":
    main()
