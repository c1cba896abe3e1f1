"""The container image: its locks and its script here; the image itself where an engine has it (`make image`)."""

from __future__ import annotations

import hashlib
import os
import re
import runpy
import shutil
import subprocess
from pathlib import Path

import pytest
from test_packaging import locked, wanted

from wel.errors import WelError
from wel.networks import imagenet

ROOT = Path(__file__).parents[1]
IMAGE = os.environ.get("WEL_IMAGE", "wel")


@pytest.fixture(scope="module")
def prepare() -> dict:
    """The names that docker/prepare.py defines."""
    return runpy.run_path(str(ROOT / "docker" / "prepare.py"))


# --- locks and files


def test_gpu_lock_holds_the_other_lock_and_only_nvidias_packages_besides():
    run, gpu = locked("requirements.lock"), locked("requirements-gpu.lock")
    assert run.items() <= gpu.items()
    added = {name: version for name, (version, _) in gpu.items() if name not in run}
    assert len(added) == 12 and all(re.fullmatch(r"nvidia-[a-z-]+-cu12", name) for name in added)
    ((tensorflow,), (same,)) = (
        [str(one.specifier) for one in wanted(name) if one.name == "tensorflow"] for name in ("requirements-gpu.in", "requirements.in")
    )
    assert tensorflow == same
    assert [name for name, (_, hashes) in gpu.items() if hashes == 0] == []


def test_nothing_that_the_image_is_built_from_names_a_host():
    files = [path for path in (ROOT / "docker").iterdir() if path.suffix != ".md"]
    hosts = {path.name: re.findall(r"://\S*|--(?:index|extra-index|find-links|trusted)\S*", path.read_text()) for path in files}
    assert {name: found for name, found in hosts.items() if found} == {}


def test_every_copied_path_is_in_the_context():
    listed = [line[1:] for line in (ROOT / ".dockerignore").read_text().splitlines() if line.startswith("!")]
    assert [path for path in listed if not (ROOT / path).exists()] == []
    sources = [
        word
        for file in (ROOT / "docker").glob("Dockerfile*")
        for line in re.findall(r"^COPY (?!--from)(.+)$", file.read_text(), re.MULTILINE)
        for word in line.split()[:-1]
        if word != "."
    ]
    assert len(sources) >= 5
    assert [path for path in sources if not (ROOT / path).exists() or not any(Path(path).is_relative_to(one) for one in listed)] == []


# --- weights that are put into the image


def test_no_weights_are_fetched_unless_they_are_named(prepare, monkeypatch):
    monkeypatch.setattr(imagenet, "published", lambda name: pytest.fail("nothing should be fetched"))
    prepare["fetch_weights"]("")
    prepare["fetch_weights"](" , ")


def test_networks_without_imagenet_weights_are_refused(prepare):
    with pytest.raises(WelError, match="^Invalid value for `WEIGHTS`: 'cifar10'. Expected one of vgg16, resnet50.$"):
        prepare["fetch_weights"]("cifar10")


def test_named_weights_are_fetched_and_checked(prepare, monkeypatch, tmp_path, capsys):
    source = tmp_path / "source.h5"
    source.write_text("stands for weights")
    digest = hashlib.md5(source.read_bytes()).hexdigest()
    monkeypatch.setenv("KERAS_HOME", str(tmp_path / "cache"))
    (tmp_path / "cache").mkdir()
    monkeypatch.setattr(imagenet, "published", lambda name: imagenet.Published(f"{name}.h5", source.as_uri(), digest))
    prepare["fetch_weights"]("resnet50, vgg16")
    models = tmp_path / "cache" / "models"
    assert {path.name: path.read_text() for path in models.iterdir()} == dict.fromkeys(["resnet50.h5", "vgg16.h5"], "stands for weights")
    assert f"resnet50: {models / 'resnet50.h5'}" in capsys.readouterr().out
    monkeypatch.setattr(imagenet, "published", lambda name: imagenet.Published(f"{name}.h5", source.as_uri(), "0" * 32))
    with pytest.raises(WelError, match="^Invalid file '.*vgg16.h5'. Expected Keras's ImageNet weights of vgg16 with md5 0000"):
        prepare["fetch_weights"]("vgg16")


# --- the image


def _found_engine() -> tuple[str, str]:
    """The engine that has the image, and why there is none."""
    engines = [engine for engine in ("docker", "podman") if shutil.which(engine)]
    answering = [engine for engine in engines if _asks(engine, "info")]
    having = [engine for engine in answering if _asks(engine, "image", "inspect", IMAGE)]
    if having:
        return having[0], ""
    if answering:
        return "", f"{answering[0]} has no image '{IMAGE}': make image"
    return "", f"{' and '.join(engines)}: no answer" if engines else "neither docker nor podman is installed"


def _asks(*command: str) -> bool:
    try:
        return subprocess.run(command, capture_output=True, timeout=60).returncode == 0
    except subprocess.TimeoutExpired:
        return False


@pytest.fixture(scope="module")
def engine() -> str:
    found, reason = _found_engine()
    return found or pytest.skip(reason)


@pytest.fixture
def out(engine):
    """A volume that is mounted at /out, removed afterwards."""
    name = f"wel-test-{os.getpid()}"
    subprocess.run([engine, "volume", "create", name], check=True, capture_output=True)
    yield name
    subprocess.run([engine, "volume", "rm", "--force", name], check=True, capture_output=True)


def run(engine: str, *arguments: object, options: tuple[str, ...] = ()) -> subprocess.CompletedProcess:
    command = [engine, "run", "--rm", "--network", "none", "--read-only", *options, IMAGE, *map(str, arguments)]
    return subprocess.run(command, capture_output=True, text=True, timeout=1800)


def test_image_prints_help(engine):
    done = run(engine)
    assert done.returncode == 0 and "Usage: wel" in done.stdout and " doctor " in done.stdout


def test_image_refuses_in_one_sentence_what_it_has_no_weights_for(engine):
    done = run(engine, "csc", "--model", "resnet50", "--limit", 1)
    if done.returncode == 0:
        pytest.skip("the image holds the weights")
    *before, sentence = done.stderr.strip().splitlines()
    assert done.returncode == 2 and all(line.startswith("Downloading data from ") for line in before)
    assert sentence.startswith("wel: The ImageNet weights of resnet50 cannot be downloaded (")
    assert "-v FOLDER:/cache/models" in sentence and "--build-arg WEIGHTS=resnet50" in sentence


def test_image_is_sound(engine):
    done = run(engine, "doctor")
    assert done.returncode == 0 and "wel can work." in done.stdout and "cannot be written" not in done.stdout.replace("/cache, cannot", "")
    assert "kept in /var/cache/wel/numba" in done.stdout and "(container image)" in done.stdout


@pytest.mark.slow
@pytest.mark.parametrize("user", [None, "4321:4321"])
def test_image_draws_figures_for_any_user(engine, out, user):
    options = ("-v", f"{out}:/out", *(("--user", user) if user else ()))
    done = run(engine, "csc", "--model", "cifar10", "--limit", 5, "--methods", "gradient,lrp_alpha1_beta0", "--out", "run", options=options)
    assert done.returncode == 0, done.stderr
    assert "created a temporary cache" not in done.stderr and "Figure: run/figures/csc_fc6.png" in done.stdout
    look = ["--entrypoint", "python", IMAGE, "-c", "print(open('run/figures/csc_fc6.png', 'rb').read(8))"]
    kept = subprocess.run([engine, "run", "--rm", "-v", f"{out}:/out", *look], capture_output=True, text=True)
    assert kept.stdout.strip() == repr(b"\x89PNG\r\n\x1a\n"), kept.stderr


@pytest.mark.slow
def test_image_verifies_its_engine_against_the_installed_packages(engine):
    options = ["--methods", "gradient,lrp_alpha1_beta0,deeplift_rescale", "--start-layers", "fc6", "--limit", 1]
    done = run(engine, "verify", *options)
    assert done.returncode == 0, done.stderr + done.stdout
    assert done.stdout.count("equal") == 3
