"""Compares the driver with numbers that the original stack computed once: every method, start layer and layer below.

    python check_golden.py --python PYTHON37 --golden DIR

This Python needs numpy and h5py; PYTHON37 has `requirements.lock` installed. For every network and method the largest
‖ours − golden‖ / ‖golden‖ over all layers is printed. NaN equals NaN, and where the golden number is 0 ours has to be 0
up to the few roundings that a sum leaves when it cancels (a layer of zeros has to be one exactly). The exit code is 1 if
a method is above its tolerance.

A denominator near zero makes some relevances depend on the last bit of the activations, and that bit depends on the
processor (TensorFlow's 1/√x is approximate). So a layer above the tolerance is measured against ours once more, with
every weight moved by at most one unit in the last place: it passes if that alone moves it as far.
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
import tempfile
from pathlib import Path

import h5py
import numpy as np

DRIVER = Path(__file__).resolve().parent / "driver.py"
BATCH_ROWS = 3  # an image's rows are split over batches
ONE_TERM, SEVERAL_TERMS = 1e-5, 1e-3
CANCELLED = 1e-6  # of the layer's largest number
ROUNDING_SEEDS = range(8)
# name in the golden files -> (wel's name, tolerance)
METHODS = {
    "Gradient": ("gradient", ONE_TERM),
    "GuidedBP": ("guided_backprop", ONE_TERM),
    "Deconv": ("deconvnet", ONE_TERM),
    "RectGrad": ("rectgrad", ONE_TERM),
    "DTD": ("deep_taylor", ONE_TERM),
    "PatternNet": ("pattern_net", ONE_TERM),
    "PatternAttr": ("pattern_attribution", ONE_TERM),
    "LRP_alpha1beta0": ("lrp_alpha1_beta0", ONE_TERM),
    "DeepLIFT_Resc": ("deeplift_rescale", ONE_TERM),
    "LRP-z": ("lrp_z", SEVERAL_TERMS),
    "LRP_alpha2beta1": ("lrp_alpha2_beta1", SEVERAL_TERMS),
    "LRP_alpha5beta4": ("lrp_alpha5_beta4", SEVERAL_TERMS),
    "LRP_CMP_alpha1beta0": ("lrp_cmp_alpha1_beta0", SEVERAL_TERMS),
    "LRP_CMP_alpha2beta1": ("lrp_cmp_alpha2_beta1", SEVERAL_TERMS),
    "DeepLIFT_RevC": ("deeplift_reveal_cancel", SEVERAL_TERMS),
    "DeepLIFT_Abla": ("deeplift_ablation", SEVERAL_TERMS),
}


class Driver:
    """The driver's process; `ask` sends it one job."""

    def __init__(self, python, log):
        self._log = Path(log.name)
        command = [str(python), str(DRIVER)]
        self._process = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=log, universal_newlines=True)
        self.versions = self._reply()["ready"]

    def ask(self, job, arrays):
        """The driver's answer to a job, {`at_<i>`: array}."""
        with tempfile.TemporaryDirectory() as folder:
            Path(folder, "job.json").write_text(json.dumps(job))
            np.savez(os.path.join(folder, "arrays.npz"), **arrays)
            self._process.stdin.write(json.dumps({"job": folder}) + "\n")
            self._process.stdin.flush()
            reply = self._reply()
            if "ok" not in reply:
                raise SystemExit("{}: {}".format(job["method"], reply["error"]))
            with np.load(os.path.join(folder, "answer.npz")) as answer:
                return dict(answer)

    def _reply(self):
        line = self._process.stdout.readline()
        if not line:
            code, lines = self._process.wait(), self._log.read_text().splitlines()
            raise SystemExit("The driver ended with exit code {}: {}".format(code, "".join(lines[-1:])))
        return json.loads(line)

    def close(self):
        """Ends the process."""
        self._process.stdin.close()
        self._process.wait()


class GoldenNetwork:
    """One network of the golden files, written out as the worker protocol wants it.

    Attributes:
        name: prefix of its files.
        inputs: what `<name>_inputs.npz` holds.
        folder: `network.json` and `weights.npz`.
    """

    def __init__(self, golden, name, folder):
        self.name, self.folder = name, folder
        with np.load(str(golden / (name + "_inputs.npz"))) as inputs:
            self.inputs = dict(inputs)
        with h5py.File(str(golden / (name + "_keras224.h5")), "r") as file:
            config = json.loads(_text(file.attrs["model_config"]))["config"]
            groups = file["model_weights"] if "model_weights" in file else file
            self._weights = {key: array for layer in config["layers"] for key, array in _layer_weights(groups, layer["name"])}
        folder.mkdir()
        (folder / "network.json").write_text(json.dumps(_description(config)))
        self.set_rounding(None)

    def set_rounding(self, seed):
        """Writes the weights, as they are (None) or each moved at random by at most one unit in the last place."""
        random = np.random.RandomState(seed)
        steps = {key: 0 if seed is None else random.uniform(-1, 1, array.shape) for key, array in self._weights.items()}
        moved = {key: (array + steps[key] * np.spacing(np.abs(array))).astype("float32") for key, array in self._weights.items()}
        np.savez(str(self.folder / "weights.npz"), **moved)
        self._weights_hash = "rounding {}".format(seed)

    def relevance(self, driver, method, start, layers):
        """The driver's relevance at `layers`, {layer: (images × vectors, *shape)}, vectors running fastest."""
        images, vectors = self.inputs["images"], self.inputs["relevance_" + start]
        patterns = {"pattern_{:03d}".format(i): self.inputs[key] for i, key in enumerate(sorted(self._pattern_keys()))}
        arrays = dict(patterns, images=images, vectors=np.stack([vectors] * len(images)))
        bounds = {"low": float(images.min()), "high": float(images.max())} if method == "deep_taylor" else {}
        job = dict(network=str(self.folder), architecture=self.name, weights_hash=self._weights_hash, method=method)
        job.update(semantics="paper", options=bounds, start=start, at=layers, batch_rows=BATCH_ROWS)
        answer = driver.ask(job, arrays)
        return {layer: answer["at_{}".format(i)].reshape((-1,) + answer["at_{}".format(i)].shape[2:]) for i, layer in enumerate(layers)}

    def _pattern_keys(self):
        return [key for key in self.inputs if key.startswith("pattern_")]


def _text(attribute):
    return attribute.decode() if isinstance(attribute, bytes) else attribute


def _layer_weights(groups, layer):
    names = [_text(name) for name in groups[layer].attrs["weight_names"]]
    return [("{}/{}".format(layer, k), groups[layer][name][()]) for k, name in enumerate(names)]


def _description(config):
    """`network.json` for a Keras 2.2.4 configuration, put into the words of Keras 2.14 that the driver translates back."""
    layers = [_modern_layer(layer) for layer in config["layers"]]
    return {
        "config": dict(config, layers=layers),
        "nodes": {layer["name"]: layer["name"] for layer in layers},
        "input": config["input_layers"][0][0],
        "output": config["output_layers"][0][0],
    }


def _modern_layer(layer):
    kind, config = layer["class_name"], dict(layer["config"], dtype="float32")
    if kind == "Activation" and config["activation"] == "relu":
        kind, config = "ReLU", {"name": layer["name"], "max_value": None, "negative_slope": 0.0, "threshold": 0.0}
    elif kind == "Conv2D":
        config["groups"] = 1
    elif kind == "BatchNormalization":
        config["axis"] = [config["axis"]]
    elif kind == "GlobalAveragePooling2D":
        config["keepdims"] = False
    elif kind == "InputLayer":
        config["ragged"] = False
    return dict(layer, class_name=kind, config=config)


def difference(ours, golden):
    """‖ours − golden‖ / ‖golden‖; infinite where one of them alone is NaN, or golden alone is 0."""
    golden = golden.reshape(ours.shape)  # the original left its sums flat under DeepLIFT
    if np.any(np.isnan(ours) != np.isnan(golden)):
        return np.inf
    ours, golden = np.nan_to_num(ours).astype("float64"), np.nan_to_num(golden).astype("float64")
    if np.any(np.abs(ours[golden == 0]) > CANCELLED * np.abs(golden).max()):
        return np.inf
    distance = np.linalg.norm(ours - golden)
    return distance / np.linalg.norm(golden) if distance else 0.0


def read_golden(file):
    """{start: {layer: array}} of one golden file."""
    by_start = {}
    with np.load(str(file)) as arrays:
        for key in arrays.files:
            start, layer = key.split("|")
            by_start.setdefault(start, {})[layer] = arrays[key]
    return by_start


def check_method(driver, network, file, method, tolerance):
    """Compares one method on one network; returns whether it passes, and the row of the table."""
    golden = read_golden(file)
    ours = {start: network.relevance(driver, method, start, list(layers)) for start, layers in golden.items()}
    found = {(s, layer): difference(ours[s][layer], array) for s, layers in golden.items() for layer, array in layers.items()}
    worst = max(found, key=found.get)
    above = [place for place, distance in found.items() if distance > tolerance]
    rounding = _rounding(driver, network, method, ours, above) if above else {}
    passed = all(np.isfinite(found[place]) and found[place] <= rounding[place] for place in above)
    verdict = "ok" if passed else "FAILED"
    noise = "rounding {:.1e} in {} layers".format(max(rounding.values()), len(above)) if above else ""
    numbers = ["{:.1e}".format(found[worst]), "{:.0e}".format(tolerance)]
    return passed, [network.name, method, *numbers, verdict, "at {1} from {0}".format(*worst), noise]


def _rounding(driver, network, method, ours, places):
    """How far weights moved in their last place move our own relevance, {(start, layer): largest over the seeds}."""
    moved = dict.fromkeys(places, 0.0)
    for seed in ROUNDING_SEEDS:
        network.set_rounding(seed)
        for start in {start for start, _ in places}:
            layers = [layer for s, layer in places if s == start]
            for layer, array in network.relevance(driver, method, start, layers).items():
                moved[start, layer] = max(moved[start, layer], difference(array, ours[start][layer]))
    network.set_rounding(None)
    return moved


def main():
    """Checks every golden file; returns the exit code."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--python", required=True, help="interpreter with requirements.lock installed")
    parser.add_argument("--golden", required=True, type=Path, help="directory of the golden files")
    arguments = parser.parse_args()
    passed = []
    with tempfile.TemporaryDirectory() as folder, open(os.path.join(folder, "log"), "w") as log:
        driver = Driver(arguments.python, log)
        print(json.dumps(driver.versions))
        for name in json.loads((arguments.golden / "meta.json").read_text())["nets"]:
            network = GoldenNetwork(arguments.golden, name, Path(folder, name))
            for golden_name, (method, tolerance) in METHODS.items():
                file = arguments.golden / "{}__{}.npz".format(name, golden_name)
                if file.exists():
                    ok, row = check_method(driver, network, file, method, tolerance)
                    passed.append(ok)
                    print("{:12}{:23}{:>9}{:>7}  {:7}{:38}{}".format(*row), flush=True)
        driver.close()
    print("{} of {} passed".format(sum(passed), len(passed)))
    return 0 if all(passed) else 1


if __name__ == "__main__":
    sys.exit(main())
