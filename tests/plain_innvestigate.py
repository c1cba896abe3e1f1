"""Relevance of the input by the installed innvestigate as it is, for the models and images that a caller has saved.

    python plain_innvestigate.py FOLDER

FOLDER holds `<case>.h5`, `<case>.npy` (images) and `cases.json` {case: analyzer name}; `<case>_plain.npy` is written.
"""

import json
import sys
from pathlib import Path

import innvestigate
import numpy as np
import tensorflow as tf


class InputLayer(tf.keras.layers.InputLayer):
    """Without what today's Keras 2 says of an input, and 2.14 does not know."""

    def __init__(self, optional=False, **config):
        super().__init__(**config)


tf.compat.v1.disable_eager_execution()
folder = Path(sys.argv[1])
for case, name in json.loads((folder / "cases.json").read_text()).items():
    model = tf.keras.models.load_model(folder / f"{case}.h5", compile=False, custom_objects={"InputLayer": InputLayer})
    analyzer = innvestigate.create_analyzer(name, model, neuron_selection_mode="all", disable_model_checks=True)
    np.save(folder / f"{case}_plain.npy", analyzer.analyze(np.load(folder / f"{case}.npy")))
