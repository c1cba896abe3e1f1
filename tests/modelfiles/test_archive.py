"""wel.modelfiles.archive: what is read of a .keras archive; tests/test_hostile_files.py has what is refused."""

from __future__ import annotations

import json
import zipfile

import pytest
from conftest import KERAS_2

from wel.errors import WelError
from wel.modelfiles import archive

pytestmark = pytest.mark.apart


@pytest.fixture
def path(functional, tmp_path):
    functional.save(tmp_path / "net.keras")
    return tmp_path / "net.keras"


def repacked(path, method: int, without=()):
    with zipfile.ZipFile(path) as old:
        contents = {name: old.read(name) for name in old.namelist() if name not in without}
    with zipfile.ZipFile(path, "w", method) as new:
        for name, content in contents.items():
            new.writestr(name, content)


# as Keras 2 calls them before 2.15
LAYERS = "_layer_checkpoint_dependencies" if KERAS_2.startswith("2.14.") else "layers"


@pytest.mark.parametrize("method", [zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED])
def test_opened(method, path, functional):
    repacked(path, method)
    with archive.opened(path) as found:
        assert found.configuration["config"]["name"] == "functional"
        assert found.keras_version == KERAS_2
        assert found.weights[f"{LAYERS}/conv2d/vars/0"].shape == (3, 3, 3, 4)
    assert not found.weights
    with archive.opened_weights(path) as weights:
        assert weights[f"{LAYERS}/dense/vars/1"].shape == (7,)


def test_archive_without_metadata(path):
    repacked(path, zipfile.ZIP_STORED, without=("metadata.json",))
    with archive.opened(path) as found:
        assert found.keras_version is None


def test_weights_of_an_archive_without_them(path):
    repacked(path, zipfile.ZIP_STORED, without=("model.weights.h5",))
    with pytest.raises(WelError, match="It holds no model.weights.h5"):
        with archive.opened_weights(path):
            pass


def test_changed_byte_is_noticed(path):
    """The checksum of the weights is looked at before they are read."""
    with zipfile.ZipFile(path) as content:
        member = content.getinfo("model.weights.h5")
    data = bytearray(path.read_bytes())
    data[member.header_offset + member.file_size // 2] ^= 1
    path.write_bytes(data)
    with pytest.raises(zipfile.BadZipFile, match="Bad CRC-32"):
        with archive.opened(path):
            pass


def test_configuration_is_as_keras_wrote_it(path, functional):
    with archive.opened(path) as found, zipfile.ZipFile(path) as content:
        assert found.configuration == json.loads(content.read("config.json"))
