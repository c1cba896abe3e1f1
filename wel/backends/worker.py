"""The worker's half of the protocol: jobs come in on standard input, answers go out as files.

This file runs under every interpreter that a backend may need, Python 3.7 of the original stack included, so it
imports nothing but the standard library and numpy, and nothing of wel.

One line of JSON each way: the worker says `{"ready": {...}}` once; then for every request `{"job": DIR}` it reads
`DIR/job.json` and `DIR/arrays.npz`, writes `DIR/answer.npz` and replies `{"ok": true}`, or `{"error": sentence, "kind": ...}`
where kind is "unsupported" (the method cannot be had for this network) or "internal". End of input ends the worker.

A relevance job holds:
    network    directory with `network.json` (`config`: a flat functional Keras config with one layer per node;
               `nodes`: node name -> layer name, input first, in execution order; `input`, `output`: node names)
               and `weights.npz` (`<layer name>/<k>`: the layer's k-th array of `get_weights()`)
    architecture, weights_hash   what the two files are, so that a built graph can be kept and only its weights set anew
    method, semantics, options   as in `wel.relevance`
    start, at                    node names: where `vectors` are injected, where relevance is read
    batch_rows                   how many (image, vector) rows may be computed at once
End of input also removes the directory that the environment variable WEL_WORKER_FOLDER names, so that a caller that was
killed leaves nothing behind.
arrays.npz holds images (n, *input) and vectors (n, V, *start); answer.npz holds `at_<i>` (n, V, *shape of at[i]) float32.
"""

from __future__ import annotations

import json
import os
import shutil
import sys
import traceback

import numpy as np


class Unsupported(Exception):
    """The method cannot be computed for this network; the message says why in one sentence."""


def serve(compute, versions):
    """Answers jobs until standard input ends.

    Args:
        compute: function (job, arrays) -> {name: array}.
        versions: dict of package versions, reported once at the start.
    """
    replies = _take_over_stdout()
    try:
        _say(replies, {"ready": versions})
        for line in sys.stdin:
            _say(replies, _outcome(compute, json.loads(line)["job"]))
    except BrokenPipeError:
        pass  # the caller was killed while a job ran
    finally:
        shutil.rmtree(os.environ.get("WEL_WORKER_FOLDER", ""), ignore_errors=True)


def _outcome(compute, folder):
    try:
        with open(os.path.join(folder, "job.json")) as file:
            job = json.load(file)
        with np.load(os.path.join(folder, "arrays.npz")) as arrays:
            arrays = {key: arrays[key] for key in arrays.files}
        np.savez(os.path.join(folder, "answer.npz"), **compute(job, arrays))
        return {"ok": True}
    except Unsupported as error:
        return {"error": str(error), "kind": "unsupported"}
    except Exception as error:  # whatever a wrapped package raises has to reach the caller, not end the worker
        traceback.print_exc()
        return {"error": "{}: {}".format(type(error).__name__, error), "kind": "internal"}


def _take_over_stdout():
    """Keeps standard output for replies; what libraries print goes to standard error."""
    replies = os.fdopen(os.dup(1), "w")
    os.dup2(2, 1)
    return replies


def _say(replies, message):
    replies.write(json.dumps(message) + "\n")
    replies.flush()
