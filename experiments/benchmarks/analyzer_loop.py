"""An analyzer by innvestigate's interface, of the installed innvestigate or of wel: maps of one image until standard input ends.

    python analyzer_loop.py innvestigate|wel.innvestigate MODEL.h5 IMAGES.npy ANALYZER

Every line on standard input is one map; the answer to it is {"seconds": ..., "cpu": ...}. The first map's are from the loaded model on,
what is built included.
"""

from __future__ import annotations

import json
import os
import sys
import time
from importlib import import_module

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")


def main(module: str, model: str, images: str, name: str) -> None:
    """Answers maps."""
    innvestigate = import_module(module)  # before TensorFlow, which wel has settings for
    import numpy as np
    import tensorflow as tf

    if module == "innvestigate":
        tf.compat.v1.disable_eager_execution()
    loaded, inputs, analyzer = _loaded(model), np.load(images), None
    for _ in sys.stdin:
        before, cpu = time.perf_counter(), time.process_time()
        analyzer = analyzer or innvestigate.create_analyzer(name, loaded)
        analyzer.analyze(inputs)
        print(json.dumps({"seconds": time.perf_counter() - before, "cpu": time.process_time() - cpu}), flush=True)


def _loaded(path: str):
    import tensorflow as tf

    keras = tf.keras if tf.__version__ < "2.16" else import_module("tf_keras")

    class InputLayer(keras.layers.InputLayer):
        """Without what today's Keras 2 says of an input, and 2.14 does not know."""

        def __init__(self, optional=False, **config):
            super().__init__(**config)

    return keras.models.load_model(path, compile=False, custom_objects={"InputLayer": InputLayer})


if __name__ == "__main__":
    main(*sys.argv[1:])
