"""The first result of the installed innvestigate as it is, without wel: relevance of one image's input.

    python first_innvestigate.py MODEL.h5 IMAGES.npy ANALYZER

Prints the seconds from the loaded model to the relevance, what is built included.
"""

from __future__ import annotations

import sys
import time

import innvestigate
import numpy as np
import tensorflow as tf


class InputLayer(tf.keras.layers.InputLayer):
    """Without what today's Keras 2 says of an input, and 2.14 does not know."""

    def __init__(self, optional=False, **config):
        super().__init__(**config)


def main(model: str, images: str, name: str) -> None:
    """Prints the seconds."""
    tf.compat.v1.disable_eager_execution()
    loaded = tf.keras.models.load_model(model, compile=False, custom_objects={"InputLayer": InputLayer})
    inputs = np.load(images)
    before = time.perf_counter()
    analyzer = innvestigate.create_analyzer(name, loaded, neuron_selection_mode="all", disable_model_checks=True)
    analyzer.analyze(inputs)
    print(time.perf_counter() - before)


if __name__ == "__main__":
    main(*sys.argv[1:])
