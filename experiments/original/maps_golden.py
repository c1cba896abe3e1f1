"""Maps and SSIM by the original stack: the golden numbers that `wel.studies.maps` and `wel.measures.similarity.ssim` are tested against.

    python maps_golden.py --golden tests/golden

Runs under the interpreter of the original stack (innvestigate 1.0.8, scikit-image 0.16.2). Reads `tiny_vgg_keras224.h5` and
the images of `tiny_vgg.npz`; writes `tiny_vgg_maps.npz` (the schema of `wel.studies.reference`) and `ssim.npz`: `maps` (pairs, 2, h, w),
`percentiles`, `paper` (pairs,) as the paper compared maps, and `plain` (pairs,), SSIM itself of the unscaled maps.

SmoothGrad is innvestigate's own analyzer; only the layer that draws noise is replaced by one that adds the given noise.
"""

from __future__ import annotations

import argparse
import hashlib
import json
import os

import innvestigate.layers
import keras
import keras.backend as K
import numpy as np
from innvestigate.analyzer import IntegratedGradients, SmoothGrad
from skimage.metrics import structural_similarity

SAMPLES = 6
NOISE_SCALE = 0.15
STEPS = 64
WINDOW = 5


def integrated_gradients(model, images, classes):
    analyzer = IntegratedGradients(model, steps=STEPS, neuron_selection_mode="index")
    return analyzer.analyze(images, neuron_selection=classes)


def smoothgrad(model, images, classes, noise):
    """SmoothGrad with noise (n, samples, *input): innvestigate repeats each image `samples` times in a row."""
    rows = noise.reshape((-1,) + noise.shape[2:])
    innvestigate.layers.TestPhaseGaussianNoise.call = lambda layer, inputs: inputs + K.constant(rows)
    analyzer = SmoothGrad(model, augment_by_n=noise.shape[1], neuron_selection_mode="index")
    return analyzer.analyze(images, neuron_selection=classes)


def weight_hash(layer):
    return hashlib.sha256(b"".join(np.ascontiguousarray(array, "float32").tobytes() for array in layer.get_weights())).hexdigest()


def write_maps(folder, random):
    K.get_uid("input")  # else innvestigate's layer for the reference input gets the name of the loaded model's own
    model = keras.models.load_model(os.path.join(folder, "tiny_vgg_keras224.h5"), compile=False)
    with np.load(os.path.join(folder, "tiny_vgg.npz")) as file:
        images = file["images"]
    logits = model.predict(images)
    classes = logits.argmax(axis=1)
    scale = NOISE_SCALE * (images.max(axis=(1, 2, 3)) - images.min(axis=(1, 2, 3)))
    noise = random.normal(size=(len(images), SAMPLES) + images.shape[1:]) * scale.reshape((-1, 1, 1, 1, 1))
    noise = noise.astype("float32")
    start, end = model.layers[-1].name, model.layers[0].name
    arrays = {
        "images": images,
        "logits": logits,
        "vectors/" + start: np.eye(logits.shape[1], dtype="float32")[classes][:, None],
        "integrated_gradients/{}/{}".format(start, end): integrated_gradients(model, images, classes)[:, None],
        "smoothgrad/{}/{}".format(start, end): smoothgrad(model, images, classes, noise)[:, None],
    }
    arrays.update({"weights/" + layer.name: weight_hash(layer) for layer in model.layers if layer.weights})
    arrays.update({"options/smoothgrad/noise/{:03d}".format(i): one for i, one in enumerate(noise)})
    options = {"integrated_gradients": {"steps": STEPS}, "smoothgrad": {}}
    about = {"semantics": "paper", "made_by": "innvestigate 1.0.8, keras 2.2.4, tensorflow 1.13.1", "options": options}
    np.savez_compressed(os.path.join(folder, "tiny_vgg_maps.npz"), about=json.dumps(about), **arrays)


def scaled(heatmap, percentile):
    """The map between its percentile, which becomes 0, and the mirrored percentile, which becomes 1."""
    low, high = np.percentile(heatmap, percentile), np.percentile(heatmap, 100 - percentile)
    return np.clip((heatmap - low) / (high - low), 0, 1)


def paper_ssim(one, other, percentile):
    pairs = [(scaled(one, percentile), scaled(sign * other, percentile)) for sign in (1, -1)]
    return max(structural_similarity(a, b, win_size=WINDOW) for a, b in pairs)


def map_pairs(random):
    """Pairs that are alike, opposite, unrelated, and sparse as RectGrad's are."""
    one, other = random.normal(size=(2, 24, 20))
    sparse = [np.where(np.abs(values) > 1.9, values, 0) for values in (one, one + 0.3 * other)]
    pairs = [(one, one + 0.5 * other), (one, 0.2 * other - one), (one, other), sparse, (np.abs(one), np.abs(one) + np.abs(other))]
    return np.array(pairs, dtype="float32")


def write_ssim(folder, random):
    maps, percentiles = map_pairs(random), np.array([99.5, 99.5, 99.5, 100.0, 99.5])
    arrays = {
        "maps": maps,
        "percentiles": percentiles,
        "paper": np.array([paper_ssim(one, other, q) for (one, other), q in zip(maps, percentiles)]),
        "plain": np.array([structural_similarity(one, other, win_size=WINDOW) for one, other in maps]),
    }
    np.savez_compressed(os.path.join(folder, "ssim.npz"), **arrays)


def main():
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--golden", required=True, help="the directory to read from and write to")
    parser.add_argument("--seed", type=int, default=0, help="of noise and maps")
    arguments = parser.parse_args()
    random = np.random.RandomState(arguments.seed)
    write_maps(arguments.golden, random)
    write_ssim(arguments.golden, random)


if __name__ == "__main__":
    main()
