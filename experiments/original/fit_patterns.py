"""Fits patterns with innvestigate 1.0.8's PatternComputer: the golden numbers that `wel fit-patterns` is tested against.

    python fit_patterns.py --model tests/golden/tiny_vgg_keras224.h5 --out tests/golden/tiny_vgg_patterns.npz

Runs under the interpreter of the original stack. The file holds `images` (n, *input) and, for each estimator,
`<estimator>/pattern_000`, `<estimator>/pattern_001`, … in layer order.
"""

from __future__ import annotations

import argparse

import keras
import numpy as np
from innvestigate.tools import PatternComputer

ESTIMATORS = ["linear", "relu.positive", "relu.negative"]
BATCH_SIZE = 16


def main():
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--model", required=True, help="a .h5 file of a network that ends in logits")
    parser.add_argument("--out", required=True, help="the .npz file to write")
    parser.add_argument("--images", type=int, default=64, help="how many random images, uniform in [0, 1)")
    parser.add_argument("--seed", type=int, default=0, help="of the images")
    arguments = parser.parse_args()
    model = keras.models.load_model(arguments.model, compile=False)
    size = (arguments.images,) + keras.backend.int_shape(model.input)[1:]
    images = np.random.RandomState(arguments.seed).uniform(size=size).astype("float32")
    fitted = PatternComputer(model, pattern_type=ESTIMATORS).compute(images, batch_size=BATCH_SIZE)
    arrays = {"{}/pattern_{:03d}".format(name, i): array for name in ESTIMATORS for i, array in enumerate(fitted[name])}
    np.savez_compressed(arguments.out, images=images, **arrays)


if __name__ == "__main__":
    main()
