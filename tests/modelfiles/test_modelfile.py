"""wel.modelfiles.modelfile: kinds, versions and backends of model files, and files of weights."""

from __future__ import annotations

import json

import h5py
import numpy as np
import pytest
from conftest import KERAS_2

import wel
from wel.errors import WelError
from wel.modelfiles.modelfile import check_weights_path, opened, opened_weights


@pytest.fixture(params=[".h5", ".hdf5", ".keras", ".json"])
def path(request, functional, tmp_path):
    path = tmp_path / f"net{request.param}"
    if path.suffix == ".json":
        path.write_text(functional.to_json())
    else:
        functional.save(path, **({} if path.suffix == ".keras" else {"save_format": "h5"}))
    return path


def test_kinds(path, functional):
    kinds = {".h5": "HDF5 file", ".hdf5": "HDF5 file", ".keras": "archive", ".json": "architecture"}
    with opened(path) as file:
        assert file.kind == f"Keras {KERAS_2} {kinds[path.suffix]}" and file.keras_version == KERAS_2
        assert file.backend == (None if path.suffix == ".keras" else "tensorflow")
        assert file.configuration["config"]["name"] == "functional"
        if path.suffix == ".json":
            assert file.weights is None
        else:
            assert file.weights.numbers == functional.count_params()


def test_file_without_a_version(functional, tmp_path):
    (path := tmp_path / "net.json").write_text(json.dumps({"class_name": "Sequential", "config": []}))
    with opened(path) as file:
        assert (file.kind, file.keras_version, file.backend) == ("Keras architecture", None, None)


def test_version_of_the_weights_group(functional, tmp_path):
    """Keras 2.2.4 writes version and backend in both places, Keras 1 beside the weights only."""
    functional.save(tmp_path / "net.h5")
    with h5py.File(tmp_path / "net.h5", "r+") as file:
        file["model_weights"].attrs.update({"keras_version": b"1.2.2", "backend": b"theano"})
        for name in ("keras_version", "backend"):
            del file.attrs[name]
    with opened(tmp_path / "net.h5") as file:
        assert (file.kind, file.backend) == ("Keras 1.2.2 HDF5 file", "theano")


@pytest.mark.parametrize("name", ["w.h5", "w.weights.h5"])
def test_weights(name, functional, tmp_path):
    functional.save_weights(tmp_path / name)
    with opened_weights(tmp_path / name) as weights:
        assert weights.numbers == functional.count_params()
        assert weights.keras_version == (KERAS_2 if name == "w.h5" else None)
    with pytest.raises(WelError, match="It holds no architecture. Expected a whole model; or the weights with `--weights`"):
        with opened(tmp_path / name):
            pass


def test_weights_of_a_whole_model(path, functional):
    if path.suffix != ".json":
        with opened_weights(path) as weights:
            assert weights.numbers == functional.count_params()


def test_paths_of_weights(path, tmp_path):
    (tmp_path / "folder.h5").mkdir()
    for wrong in (tmp_path / "nothing.h5", tmp_path / "folder.h5", *([path] if path.suffix == ".json" else [])):
        with pytest.raises(WelError, match="^Invalid value for `weights`: .* Expected an existing file"):
            check_weights_path(wrong)
    if path.suffix != ".json":
        check_weights_path(path)


def test_a_keras_file_of_old_is_hdf5(functional, images, tmp_path):
    functional.save(tmp_path / "net.h5", save_format="h5")
    (tmp_path / "net.h5").rename(tmp_path / "net.keras")
    with opened(tmp_path / "net.keras") as file, opened_weights(tmp_path / "net.keras") as weights:
        assert file.kind == f"Keras {KERAS_2} HDF5 file" and weights.numbers == functional.count_params()
    np.testing.assert_array_equal(wel.load(tmp_path / "net.keras").model.predict(images, verbose=0), functional.predict(images, verbose=0))
