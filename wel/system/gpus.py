"""NVIDIA's GPUs and what TensorFlow needs for them: why it finds none, what it compiles first, what is missing."""

from __future__ import annotations

import ctypes
import os
import tempfile
from dataclasses import dataclass
from importlib.metadata import distribution
from mmap import ACCESS_READ, mmap
from pathlib import Path

from wel.system.devices import VISIBLE

PACKAGES = "pip install 'wel[gpu]'"
CACHE_SIZE = 4 << 30
PTX = "compute_"
CUDA_FOLDER = "--xla_gpu_cuda_data_dir="
# the library that loads those of CUDA; the folders in which it looks stand in it
LOADER = "tensorflow/libtensorflow_framework.so.2"
BLACKWELL = 10  # and above: what they are built for is younger than any TensorFlow's kernels


# what TensorFlow loads before it takes a GPU, by the folder of NVIDIA's wheel; "{}" is cuDNN's version
OLDER_LIBRARIES = {
    "cuda_runtime": "libcudart.so.11.0",
    "cublas": "libcublas.so.11",
    "cudnn": "libcudnn.so.{}",
    "cufft": "libcufft.so.10",
    "cusolver": "libcusolver.so.11",
    "cusparse": "libcusparse.so.11",
}
LIBRARIES = {
    "cuda_runtime": "libcudart.so.12",
    "cublas": "libcublas.so.12",
    "cudnn": "libcudnn.so.{}",
    "cufft": "libcufft.so.11",
    "cusolver": "libcusolver.so.11",
    "cusparse": "libcusparse.so.12",
}


@dataclass(frozen=True)
class Cuda:
    """What a TensorFlow needs that was built for one generation of CUDA.

    Attributes:
        words: CUDA and cuDNN, for sentences.
        major: CUDA's version; what is built for it works with a driver that supports this major version.
        driver: the oldest one.
        libraries: by the folder of NVIDIA's wheel.
    """

    words: str
    major: int
    driver: str
    libraries: dict[str, str]


def generation(cuda_version: str | None, cudnn_version: str | None) -> Cuda:
    """What a TensorFlow needs that says so of its CUDA ("12.5.1") and cuDNN ("9"); of one built without, what its build with CUDA would."""
    older = (cuda_version or "").startswith("11.")
    major, driver, libraries = (11, "450.80.02", OLDER_LIBRARIES) if older else (12, "525.60.13", LIBRARIES)
    cudnn = (cudnn_version or "9").partition(".")[0]
    return Cuda(f"CUDA {major} and cuDNN {cudnn}", major, driver, {folder: name.format(cudnn) for folder, name in libraries.items()})


@dataclass(frozen=True)
class Driver:
    """NVIDIA's driver.

    Attributes:
        answer: what CUDA's cuInit returns, 0 when all is well; None when there is no driver.
        cuda: the newest CUDA version that it supports, 11080 for 11.8.
    """

    answer: int | None = None
    cuda: int = 0


def find_driver() -> Driver:
    """Asks the driver that is installed, if one is."""
    try:
        cuda = ctypes.CDLL("libcuda.so.1")
    except OSError:
        return Driver()
    supported = ctypes.c_int(0)
    cuda.cuDriverGetVersion(ctypes.byref(supported))
    return Driver(cuda.cuInit(0), supported.value)


def missing_libraries(cuda: Cuda) -> list[str]:
    """The libraries of CUDA and cuDNN that neither the system nor NVIDIA's wheels have."""
    return [name for folder, name in cuda.libraries.items() if not (_loads(name) or (wheels() / folder / "lib" / name).is_file())]


def unsearched_folders(cuda: Cuda) -> list[Path]:
    """The folders of NVIDIA's wheels that have what TensorFlow needs, and in which it does not look."""
    needed = {folder: wheels() / folder / "lib" for folder, name in cuda.libraries.items() if not _loads(name)}
    with open(str(distribution("tensorflow").locate_file(LOADER)), "rb") as file, mmap(file.fileno(), 0, access=ACCESS_READ) as loader:
        return [path for folder, path in needed.items() if path.is_dir() and loader.find(f"nvidia/{folder}/lib".encode()) < 0]


def _loads(library: str) -> bool:
    try:
        ctypes.CDLL(library)
    except OSError:
        return False
    return True


def wheels() -> Path:
    """The folder into which NVIDIA's wheels are installed."""
    return Path(str(distribution("tensorflow").locate_file("nvidia")))


def why_none(
    cuda: Cuda, cuda_build: bool, visible: str | None, driver: Driver, missing: list[str], unsearched: list[Path], image: bool
) -> str:
    """Why TensorFlow finds no GPU, and how to mend it, in the order in which it has to be mended.

    Args:
        cuda: what this TensorFlow needs.
        cuda_build: whether TensorFlow was built with CUDA.
        visible: the value of CUDA_VISIBLE_DEVICES, None if it is not set.
        driver: NVIDIA's driver.
        missing: libraries that are not there.
        unsearched: folders that have libraries, and in which TensorFlow does not look.
        image: whether this is wel's container image.
    """
    packages = "`make image-gpu` builds an image with them." if image else f"Install them: `{PACKAGES}`."
    reasons = []
    if visible is not None and visible.strip()[:1] in ("", "-"):
        reasons.append(f"{VISIBLE}={visible!r} hides all GPUs: unset it.")
    elif driver.answer is None:
        start = "`docker run --gpus all`, with NVIDIA's driver and container toolkit on the host"
        how = f"Start the container with {start}." if image else f"Install it; in a container, start that with {start}."
        reasons.append(f"There is no NVIDIA driver (libcuda.so.1). {how}")
    elif driver.answer != 0:
        reasons.append(f"NVIDIA's driver finds no GPU that it can use (cuInit: error {driver.answer}): see what `nvidia-smi` says.")
    elif driver.cuda < 1000 * cuda.major:
        supported = f"NVIDIA's driver supports CUDA {driver.cuda // 1000} and TensorFlow needs {cuda.major}"
        reasons.append(f"{supported}: install {cuda.driver} or later.")
    if not cuda_build:
        reasons.append(f"This TensorFlow was built without CUDA. {packages}")
    elif missing:
        which = "all of them" if len(missing) == len(cuda.libraries) else ", ".join(missing)
        reasons.append(f"Libraries of {cuda.words} cannot be loaded: {which}. {packages}")
    if cuda_build and unsearched:
        folders = ":".join(map(str, unsearched))
        reasons.append(f"TensorFlow does not look into all folders of NVIDIA's wheels: LD_LIBRARY_PATH={folders} in the environment.")
    return " ".join(reasons or ["Driver and libraries are there: with TF_CPP_MIN_LOG_LEVEL=0 TensorFlow says why it uses no GPU."])


def kernels_included(capability: tuple[int, int], built: list[str]) -> bool:
    """Whether TensorFlow has machine code for a GPU: what is built for x.y runs on x.z with z ≥ y.

    Args:
        capability: the GPU's compute capability, (major, minor).
        built: what TensorFlow was built for, such as ["sm_75", "compute_80"].
    """
    numbers = [int(name.rpartition("_")[2]) for name in built]
    return any(number // 10 == capability[0] and number % 10 <= capability[1] for number in numbers)


def without_kernels(capability: tuple[int, int], built: list[str]) -> str:
    """What to know, and do, where TensorFlow has no machine code for a GPU.

    Args:
        capability: the GPU's compute capability, (major, minor).
        built: what TensorFlow was built for; of "compute_90" it has PTX too, which is compiled for any GPU from 9.0 on.
    """
    oldest = min((int(name[len(PTX) :]) for name in built if name.startswith(PTX)), default=None)
    if oldest is None or capability < divmod(oldest, 10):
        return f"TensorFlow was not built for this GPU ({', '.join(built)}) and does not use it: `--device cpu`, or another TensorFlow."
    folder, size = os.environ.get("CUDA_CACHE_PATH"), os.environ.get("CUDA_CACHE_MAXSIZE", "0")
    if folder and writable(Path(folder)) and size.isdecimal() and int(size) >= CACHE_SIZE:
        how = f"They are kept in '{folder}'; in a container, mount a volume there."
    else:
        how = f"Keep them: CUDA_CACHE_PATH=FOLDER CUDA_CACHE_MAXSIZE={CACHE_SIZE}, with a folder that lasts and can be written."
    said = f"TensorFlow compiles its kernels for this GPU (PTX) at first use, which takes 30 minutes and more. {how}"
    if capability[0] < BLACKWELL:
        return said
    reported = "On Blackwell that is reported to fail (tensorflow#101746, tensorflow#111958)"
    return f"{said} {reported}; NVIDIA's own TensorFlow image is the reported way out."


def libdevice() -> Path | None:
    """Where XLA finds the libdevice that training on a GPU needs: by XLA_FLAGS, in the system or in NVIDIA's wheels; None if nowhere."""
    named = [word[len(CUDA_FOLDER) :] for word in os.environ.get("XLA_FLAGS", "").split() if word.startswith(CUDA_FOLDER)]
    folders = [Path(folder) for folder in (*named, "/usr/local/cuda", wheels() / "cuda_nvcc")]
    return next((folder for folder in folders if (folder / "nvvm" / "libdevice").is_dir()), None)


def writable(folder: Path) -> bool:
    """Whether files can be written to a folder, or to the one in which it would have to be made."""
    try:
        tempfile.TemporaryFile(dir=next(path for path in (folder, *folder.absolute().parents) if path.exists())).close()
    except OSError:
        return False
    return True
