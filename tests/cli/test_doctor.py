"""`wel doctor` and wel.system.gpus: what is found, what is missing and how to mend it, and that it never fails where wel does."""

from __future__ import annotations

import os
import subprocess
import sys
from dataclasses import replace
from importlib.metadata import version
from pathlib import Path

import pytest
import tensorflow as tf

from wel import __version__
from wel.cli import doctor
from wel.cli.app import main
from wel.system import gpus
from wel.system.gpus import (
    CACHE_SIZE,
    Driver,
    generation,
    kernels_included,
    libdevice,
    missing_libraries,
    unsearched_folders,
    why_none,
    without_kernels,
    writable,
)

ROOT = Path(__file__).parents[2]
NO_GPU = pytest.mark.skipif(bool(tf.config.list_physical_devices("GPU")), reason="there is a GPU")
# what TensorFlow 2.14.1 and 2.21.0 are built for
BUILT = {
    "2.14.1": ["sm_35", "sm_50", "sm_60", "sm_70", "sm_75", "compute_80"],
    "2.21.0": ["sm_60", "sm_70", "sm_80", "sm_89", "compute_90"],
}
OLD, NEW = generation("11.8", "8"), generation("12.5.1", "9")


def run(capsys) -> tuple[int, dict[str, str], list[str]]:
    """Exit code, the table as {part: found}, and the lines below it."""
    with pytest.raises(SystemExit) as ended:
        main(["doctor"])
    lines = capsys.readouterr().out.splitlines()
    cells = [[cell.strip() for cell in line.split("│")[1:3]] for line in lines if line.startswith("│")]
    return ended.value.code or 0, dict(cells), [line for line in lines if line[:1].isalpha()]


def test_a_sound_installation(capsys):
    code, found, said = run(capsys)
    assert code == 0 and said[-1] == "wel can work."
    assert found["wel"].startswith(f"{__version__} in {ROOT / 'wel'}") and found["Python"].startswith("%d.%d." % sys.version_info[:2])
    assert found["TensorFlow"].startswith(f"{version('tensorflow')}, built for CUDA 1") and "compute_" in found["TensorFlow"]
    assert found["Keras"].startswith(("keras 2.", "tf_keras 2.")) and found["arithmetic"] == "original"
    assert {"wrapped", "original"} <= set(found)
    assert found["bundled weights"] == "cifar10, resnet20"
    assert " of " in found["memory"] and found["memory"].split()[3] == "GiB"


@NO_GPU
def test_it_says_that_and_why_there_is_no_gpu(capsys, monkeypatch):
    monkeypatch.delenv("CUDA_VISIBLE_DEVICES", raising=False)
    _, found, said = run(capsys)
    assert found["GPU"] == "none" and found["computes on"].startswith("CPU (") and found["computes on"].endswith(", in full float32")
    (line,) = [line for line in said if line.startswith("GPU: ")]
    assert line.endswith("The CPU works without.")
    if gpus.find_driver() == Driver():
        assert "There is no NVIDIA driver (libcuda.so.1)." in line


@NO_GPU
def test_it_says_that_gpus_are_hidden(capsys, monkeypatch):
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "-1")
    assert any(line.startswith("GPU: CUDA_VISIBLE_DEVICES='-1' hides all GPUs: unset it.") for line in run(capsys)[2])


def test_folders_that_cannot_be_written(capsys, monkeypatch, tmp_path):
    monkeypatch.setenv("KERAS_HOME", "/proc/none/cache")
    monkeypatch.chdir("/proc")
    _, found, said = run(capsys)
    assert found["results"] == "/proc, cannot be written" and found["downloads"] == "/proc/none/cache, cannot be written"
    assert [line.split(":")[0] for line in said if "this user may write" in line] == ["results", "downloads"]


def test_imagenet_weights_in_the_cache_are_found(capsys, monkeypatch, tmp_path):
    monkeypatch.setenv("KERAS_HOME", str(tmp_path))
    (tmp_path / "models").mkdir()
    (tmp_path / "models" / "resnet50_weights_tf_dim_ordering_tf_kernels.h5").touch()
    _, found, said = run(capsys)
    assert found["ImageNet weights"] == "resnet50"
    (line,) = [line for line in said if line.startswith("ImageNet weights: ")]
    assert line.startswith("ImageNet weights: vgg16 download") and f"'{tmp_path / 'models'}'" in line and "resnet50" not in line


def test_in_the_image_it_says_what_to_mount(capsys, monkeypatch, tmp_path):
    monkeypatch.setenv("KERAS_HOME", str(tmp_path))
    monkeypatch.setenv("WEL_IN_IMAGE", "1")
    _, found, said = run(capsys)
    assert found["wel"].endswith("(container image)")
    assert any(f"`-v FOLDER:{tmp_path / 'models'}`" in line for line in said)


def test_dask_is_needed_by_workers_alone(monkeypatch):
    for there, found, mend in (("2026.1.0", "distributed 2026.1.0", ""), (None, "none", "`pip install 'wel[dask]'`")):
        monkeypatch.setattr(doctor, "_version", lambda package, there=there: there)
        (finding,) = doctor.check_dask()
        assert finding.found == found and mend in finding.mend and bool(finding.mend) == bool(mend) and not finding.fatal


def test_a_container_with_little_memory(monkeypatch):
    monkeypatch.setattr(doctor, "container_limit", lambda total: 3 * doctor.GIB)
    (finding,) = doctor.check_memory()
    assert finding.found.endswith("; this container may take 3.0 GiB") and "--memory" in finding.mend


BROKEN = "import sys; sys.modules['tensorflow'] = None\nfrom wel.cli.app import main\nmain(['doctor'])"


def test_without_tensorflow_it_says_how_to_mend_it():
    environment = {**os.environ, "PYTHONPATH": str(ROOT)}
    done = subprocess.run([sys.executable, "-c", BROKEN], capture_output=True, text=True, env=environment, timeout=120)
    assert done.returncode == 1 and done.stderr == ""
    said = done.stdout.splitlines()
    assert said[-1] == "wel cannot work before this is mended."
    assert said[-2].startswith("TensorFlow: ModuleNotFoundError: ") and "--require-hashes -r docker/requirements.lock" in said[-2]


def test_a_package_of_another_version_is_named(monkeypatch):
    monkeypatch.setattr(doctor, "requires", lambda name: ["tensorflow>=2.14.1", "numpy<1", "no-such-package", 'pytest; extra == "test"'])
    (finding,) = doctor.check_packages()
    assert finding.found == f"tensorflow {version('tensorflow')}, numpy {version('numpy')}, no-such-package missing"
    assert finding.fatal and finding.mend.startswith("Required: numpy<1, no-such-package. ")


# --- GPUs


@pytest.mark.parametrize(
    ("tensorflow", "capability", "included"),
    [
        ("2.14.1", (3, 5), True),
        ("2.14.1", (3, 7), True),  # code for 3.5
        ("2.14.1", (5, 2), True),
        ("2.14.1", (7, 0), True),
        ("2.14.1", (7, 2), True),
        ("2.14.1", (8, 0), True),  # "compute_80" stands for machine code and PTX
        ("2.14.1", (8, 6), True),
        ("2.14.1", (8, 9), True),
        ("2.14.1", (9, 0), False),  # PTX only
        ("2.14.1", (3, 0), False),
        ("2.14.1", (2, 0), False),
        ("2.21.0", (5, 2), False),
        ("2.21.0", (7, 5), True),
        ("2.21.0", (8, 9), True),
        ("2.21.0", (9, 0), True),
        ("2.21.0", (10, 0), False),
        ("2.21.0", (12, 0), False),
    ],
)
def test_kernels_run_on_the_same_major_version_from_their_minor_version_on(tensorflow, capability, included):
    assert kernels_included(capability, BUILT[tensorflow]) is included


@pytest.mark.skipif(tf.__version__ not in BUILT, reason="no table for this TensorFlow")
def test_tensorflow_is_built_for_what_the_test_above_assumes():
    built = tf.sysconfig.get_build_info()
    assert built["cuda_compute_capabilities"] == BUILT[tf.__version__]
    assert generation(built["cuda_version"], built["cudnn_version"]) == (OLD if tf.__version__.startswith("2.14.") else NEW)


def test_generations_of_cuda():
    assert generation(None, None) == generation("12.5.1", "9.3") == NEW
    assert (OLD.major, OLD.words, OLD.libraries["cuda_runtime"]) == (11, "CUDA 11 and cuDNN 8", "libcudart.so.11.0")
    # TensorFlow 2.15 and 2.16: CUDA 12 with the older cuDNN
    between = generation("12.2", "8")
    assert (between.major, between.words, between.libraries["cudnn"]) == (12, "CUDA 12 and cuDNN 8", "libcudnn.so.8")
    assert {**between.libraries, "cudnn": "libcudnn.so.9"} == NEW.libraries


GOOD = Driver(0, 12020)


@pytest.mark.parametrize(
    ("facts", "words", "without"),
    [
        (dict(driver=Driver()), ["There is no NVIDIA driver (libcuda.so.1)", "docker run --gpus all"], ["hides", "cannot be loaded"]),
        (dict(driver=Driver(), missing=["libcudnn.so.8"]), ["no NVIDIA driver", "cannot be loaded: libcudnn.so.8.", gpus.PACKAGES], []),
        (dict(driver=Driver(), missing=["x"], image=True), ["Start the container with `docker run", "make image-gpu"], [gpus.PACKAGES]),
        (dict(missing=list(NEW.libraries.values())), ["cannot be loaded: all of them."], ["libcudart"]),
        (dict(driver=Driver(100, 12020)), ["cuInit: error 100", "nvidia-smi"], ["no NVIDIA driver"]),
        (dict(driver=Driver(0, 11080)), ["supports CUDA 11 and TensorFlow needs 12", "525.60.13"], []),
        (dict(driver=Driver(0, 11080), cuda=OLD), ["TF_CPP_MIN_LOG_LEVEL=0"], ["supports"]),
        (dict(driver=Driver(0, 10020), cuda=OLD), ["supports CUDA 10", "450.80.02"], []),
        (dict(visible=""), ["CUDA_VISIBLE_DEVICES='' hides"], ["no NVIDIA driver"]),
        (dict(visible=" -1"), ["hides all GPUs"], []),
        (dict(visible="0", missing=["libcublas.so.11"]), ["cannot be loaded: libcublas.so.11."], ["hides"]),
        (dict(unsearched=[Path("/a"), Path("/b")]), ["LD_LIBRARY_PATH=/a:/b in the environment."], ["cannot be loaded", "MIN_LOG"]),
        (dict(cuda_build=False, missing=["libcublas.so.11"]), ["built without CUDA", gpus.PACKAGES], ["cannot be loaded"]),
        (dict(), ["TF_CPP_MIN_LOG_LEVEL=0"], ["cannot be loaded", "driver."]),
    ],
)
def test_why_there_is_no_gpu(facts, words, without):
    said = why_none(**{**dict(cuda=NEW, cuda_build=True, visible=None, driver=GOOD, missing=[], unsearched=[], image=False), **facts})
    assert [word for word in words if word not in said] == [] and [word for word in without if word in said] == []
    assert "\n" not in said and said.endswith(".")


def test_missing_libraries_are_those_that_cannot_be_loaded():
    # libc is there on every Linux; no library has the other name
    cuda = replace(NEW, libraries={"c": "libc.so.6", "none": "libwel-none.so.1"})
    assert missing_libraries(cuda) == ["libwel-none.so.1"]


def test_wheels_are_searched_by_name_and_their_folders_told_where_tensorflow_does_not_look(monkeypatch, tmp_path):
    monkeypatch.setattr(gpus, "wheels", lambda: tmp_path)
    for folder in ("cublas", "of_wel"):
        (tmp_path / folder / "lib").mkdir(parents=True)
        (tmp_path / folder / "lib" / f"libwel-{folder}.so.1").touch()
    cuda = replace(NEW, libraries={"cublas": "libwel-cublas.so.1", "of_wel": "libwel-of_wel.so.1", "not_there": "libwel-none.so.1"})
    assert missing_libraries(cuda) == ["libwel-none.so.1"]
    # TensorFlow's loader names the folder of cublas, and no other of the three
    assert unsearched_folders(cuda) == [tmp_path / "of_wel" / "lib"]


@pytest.mark.skipif(tf.__version__ not in BUILT, reason="no table for this TensorFlow")
def test_tensorflow_2_21_does_not_look_for_cusolver_in_the_wheels(monkeypatch, tmp_path):
    monkeypatch.setattr(gpus, "wheels", lambda: tmp_path)
    monkeypatch.setattr(gpus, "_loads", lambda library: False)
    for folder in NEW.libraries:
        (tmp_path / folder / "lib").mkdir(parents=True)
    assert unsearched_folders(NEW) == ([tmp_path / "cusolver" / "lib"] if tf.__version__ == "2.21.0" else [])


@pytest.mark.parametrize(
    ("folder", "size", "kept"),
    [
        ("FOLDER", str(CACHE_SIZE), True),
        ("FOLDER/made/later", str(CACHE_SIZE), True),
        ("FOLDER", "268435456", False),
        ("FOLDER", "much", False),
        ("/proc/none", str(CACHE_SIZE), False),
        (None, str(CACHE_SIZE), False),
        ("FOLDER", None, False),
    ],
)
def test_whether_compiled_kernels_are_kept(monkeypatch, tmp_path, folder, size, kept):
    for name, value in (("CUDA_CACHE_PATH", folder), ("CUDA_CACHE_MAXSIZE", size)):
        monkeypatch.delenv(name, raising=False)
        if value is not None:
            monkeypatch.setenv(name, value.replace("FOLDER", str(tmp_path)))
    said, newer = (without_kernels(capability, BUILT[name]) for capability, name in (((9, 0), "2.14.1"), ((12, 0), "2.21.0")))
    assert "30 minutes and more" in said and "Blackwell" not in said and "Blackwell" in newer
    assert ("They are kept in" in said) is kept and (f"CUDA_CACHE_MAXSIZE={CACHE_SIZE}" in said) is not kept


@pytest.mark.parametrize(("capability", "built"), [((5, 2), BUILT["2.21.0"]), ((8, 6), BUILT["2.21.0"][:1]), ((3, 0), BUILT["2.14.1"])])
def test_a_gpu_older_than_the_ptx_cannot_be_used(capability, built):
    said = without_kernels(capability, built)
    assert said.startswith(f"TensorFlow was not built for this GPU ({', '.join(built)})") and "PTX" not in said


def test_libdevice_is_where_xla_flags_says_or_in_the_wheels(monkeypatch, tmp_path):
    monkeypatch.setattr(gpus, "wheels", lambda: tmp_path / "nvidia")
    (tmp_path / "nvvm" / "libdevice").mkdir(parents=True)
    monkeypatch.setenv("XLA_FLAGS", f"--xla_cpu_enable_fast_math=false --xla_gpu_cuda_data_dir={tmp_path}")
    assert libdevice() == tmp_path
    if not Path("/usr/local/cuda/nvvm/libdevice").is_dir():
        monkeypatch.setenv("XLA_FLAGS", f"--xla_gpu_cuda_data_dir={tmp_path / 'none'}")
        assert libdevice() is None
        (tmp_path / "nvidia" / "cuda_nvcc" / "nvvm" / "libdevice").mkdir(parents=True)
        assert libdevice() == tmp_path / "nvidia" / "cuda_nvcc"


def test_writable(tmp_path):
    assert writable(tmp_path) and writable(tmp_path / "not" / "there") and not writable(Path("/proc/none"))
