"""Environments of ONNX Runtime and PyTorch, made from locks with hashes beside this file, and what they predict."""

from __future__ import annotations

import subprocess
import tempfile
from pathlib import Path

import numpy as np
from probes import Reference

from wel.errors import WelError
from wel.system.environments import Environment, outside

FOLDER = Path(__file__).parent
RUNTIMES = {
    "onnx": Environment("onnx", "ONNX Runtime", ("3.11", "3.12", "3.13"), lambda: FOLDER / "requirements-onnx.lock"),
    # the last PyTorch whose wheel holds all that it needs
    "torch": Environment("torch", "PyTorch 1.12", ("3.10", "3.9"), lambda: FOLDER / "requirements-torch.lock"),
}


def predicted(runtime: str, cache: Path, model: bytes, inputs: np.ndarray, logits: str) -> Reference:
    """What a runtime predicts, in an environment that is made below `cache` where it is not there.

    Args:
        runtime: "onnx" or "torch".
        model: the contents of its file.
        inputs: (n, height, width, channels).
        logits: the value of an ONNX graph that the softmax is taken of.

    Raises:
        WelError: when the environment cannot be made, or the runtime fails.
    """
    environment, folder = RUNTIMES[runtime], cache / runtime
    if not environment.is_whole(folder):
        environment.make(folder, environment.find_python())
    with tempfile.TemporaryDirectory() as scratch:
        paths = [Path(scratch) / name for name in ("model", "inputs.npy", "predictions.npz")]
        paths[0].write_bytes(model)
        np.save(paths[1], inputs)
        command = [str(folder / "bin" / "python"), str(FOLDER / "reference.py"), runtime, *map(str, paths), logits]
        done = subprocess.run(command, capture_output=True, text=True, env=outside())
        if done.returncode != 0:
            raise WelError(f"{environment.holds} failed: {(done.stderr.strip() or 'without a word').splitlines()[-1]}")
        with np.load(paths[2]) as arrays:
            return Reference(arrays["predictions"], arrays["logits"])
