"""The 2020 stack as a worker process: Python 3.7, Keras 2.2.4, TensorFlow 1.13.1, innvestigate 1.0.8, deeplift 0.6.9.3.

Start it with an interpreter that has `requirements.lock` installed; it answers relevance jobs as
`wel/backends/worker.py` describes them, on `TF_NUM_INTRAOP_THREADS` cores, or
`OMP_NUM_THREADS`, by default on all.
Beside images and vectors, a job's arrays may hold
    pattern_000, pattern_001, …   one pattern per convolution or dense layer in node order (pattern methods)
    reference                     DeepLIFT's reference input, (*input) or one per image; else the option, else 0
"""

from __future__ import annotations

import collections
import hashlib
import json
import os
import sys
import warnings

FOLDER = os.path.dirname(os.path.abspath(__file__))
BACKENDS = os.path.join(FOLDER, "..", "..", "wel", "backends")

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "2")
warnings.filterwarnings("ignore", category=FutureWarning)  # TensorFlow 1.13 on NumPy 1.17, at import
sys.path.insert(0, BACKENDS)
import worker  # noqa: E402

sys.path.remove(BACKENDS)  # its other modules belong to wel's own Python, and some share a name with ours

import importlib_metadata  # noqa: E402
import numpy as np  # noqa: E402
import tensorflow as tf  # noqa: E402

tf.logging.set_verbosity(tf.logging.ERROR)

import analyzers  # noqa: E402
import deep_lift  # noqa: E402
from network import Network  # noqa: E402

PACKAGES = ("keras", "keras-applications", "tensorflow", "innvestigate", "deeplift", "numpy", "h5py")
KEPT_GRAPHS = 4


class Attribution:
    """A method built for a job's network.

    Args:
        job: the job that it is built for.
        patterns: for the pattern methods, one array per layer with a kernel.
    """

    def __init__(self, job, patterns):
        self._network = Network(job["network"])
        self._weights_hash = None
        try:
            self.set_weights(job)
            self._graph = self._build(job, patterns)
        except Exception:
            self.close()
            raise

    def _build(self, job, patterns):
        if job["method"] in deep_lift.METHODS:
            return deep_lift.Contributions(self._network, job["method"])
        return analyzers.Analysis(self._network, job["method"], job["options"], patterns)

    def set_weights(self, job):
        """Takes over the job's weights if they are not the ones that are set."""
        if job["weights_hash"] != self._weights_hash:
            self._network.load_weights(job["network"])
            self._weights_hash = job["weights_hash"]

    def relevance(self, *inputs, **settings):
        """See `analyzers.Analysis.relevance` and `deep_lift.Contributions.relevance`."""
        return self._graph.relevance(*inputs, **settings)

    def close(self):
        """Frees the graph."""
        self._network.close()


class Kept:
    """The graphs used last, by what they depend on."""

    def __init__(self):
        self._attributions = collections.OrderedDict()

    def get(self, job, patterns):
        """The attribution for a job, built if it is not there, with the job's weights."""
        key = _key(job, patterns)
        attribution = self._attributions.pop(key, None) or self._build(job, patterns)
        self._attributions[key] = attribution
        attribution.set_weights(job)
        return attribution

    def _build(self, job, patterns):
        while len(self._attributions) >= KEPT_GRAPHS:
            self._attributions.popitem(last=False)[1].close()
        return Attribution(job, patterns)


def _key(job, patterns):
    """What a graph depends on: the pattern methods make the weights its constants, the others its variables."""
    options = {key: value for key, value in job["options"].items() if key != "reference"}  # that one is fed
    weights = job["weights_hash"] if job["method"] in analyzers.PATTERN_METHODS else None
    digest = hashlib.sha256(b"".join(np.ascontiguousarray(pattern).tobytes() for pattern in patterns)).hexdigest()
    return json.dumps([job["architecture"], job["method"], options, weights, digest], sort_keys=True)


def compute(kept, job, arrays):
    """Answers one job: {`at_<i>`: relevance at the i-th node of `at`, (n, V, *shape) float32}.

    Raises:
        worker.Unsupported: for what the original stack does not have.
    """
    _check(job)
    patterns = [arrays[key] for key in sorted(arrays) if key.startswith("pattern_")]
    attribution = kept.get(job, patterns)
    answers = [[] for _ in job["at"]]
    for images, vectors, settings in _batches(job, arrays):
        for answer, part in zip(answers, attribution.relevance(images, vectors, job["start"], job["at"], **settings)):
            answer.append(part)
    count = arrays["vectors"].shape[:2]
    joined = [np.concatenate(answer) for answer in answers]
    return {"at_{}".format(i): rows.reshape(count + rows.shape[1:]) for i, rows in enumerate(joined)}


def _check(job):
    if job["method"] not in analyzers.METHODS and job["method"] not in deep_lift.METHODS:
        raise worker.Unsupported("The original stack has no method {}.".format(job["method"]))
    if job["semantics"] != "paper":
        raise worker.Unsupported("The original stack computes the paper's semantics only, not {}.".format(job["semantics"]))


def _batches(job, arrays):
    """Batches of at most `batch_rows` rows, one row per image and vector: (images, vectors, further inputs)."""
    images, vectors = arrays["images"], arrays["vectors"]
    rows = vectors.reshape((-1,) + vectors.shape[2:])
    owner = np.repeat(np.arange(len(images)), vectors.shape[1])
    reference = _reference(job, arrays) if job["method"] in deep_lift.METHODS else None
    for first in range(0, len(rows), job["batch_rows"]):
        batch = slice(first, first + job["batch_rows"])
        settings = {} if reference is None else {"reference": reference[owner[batch]]}
        yield images[owner[batch]], rows[batch], settings


def _reference(job, arrays):
    reference = arrays.get("reference", job["options"].get("reference"))
    return np.broadcast_to(np.float32(0 if reference is None else reference), arrays["images"].shape)


def main():
    """Serves jobs until standard input ends."""
    kept = Kept()
    versions = {package: importlib_metadata.version(package) for package in PACKAGES}
    versions["python"] = sys.version.split()[0]
    worker.serve(lambda job, arrays: compute(kept, job, arrays), versions)


if __name__ == "__main__":
    main()
