"""NVIDIA's GPUs and what TensorFlow needs for them: why it finds none, what it compiles first, what is missing."""

from __future__ import annotations

import ctypes
import os
import tempfile
from dataclasses import dataclass
from importlib.metadata import distribution
from pathlib import Path

from wel.system.devices import VISIBLE

PACKAGES = "pip install 'wel[gpu]'"
CACHE_SIZE = 4 << 30
CUDA_FOLDER = "--xla_gpu_cuda_data_dir="
BLACKWELL = 10  # and above: what they are built for is younger than any TensorFlow's kernels


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


def _libraries(**versions: str) -> dict[str, str]:
    names = {"cuda_runtime": "cudart", "cuda_cupti": "cupti"}
    return {folder: f"lib{names.get(folder, folder)}.so.{version}" for folder, version in versions.items()}


# of TensorFlow 2.14 and 2.15, of later ones
GENERATIONS = (
    Cuda(
        "CUDA 11.8 and cuDNN 8",
        11,
        "450.80.02",
        _libraries(cuda_runtime="11.0", cublas="11", cudnn="8", cufft="10", curand="10", cusolver="11", cusparse="11", cuda_cupti="11.8"),
    ),
    Cuda(
        "CUDA 12 and cuDNN 9",
        12,
        "525.60.13",
        _libraries(cuda_runtime="12", cublas="12", cudnn="9", cufft="11", curand="10", cusolver="11", cusparse="12", cuda_cupti="12"),
    ),
)


def generation(cuda_version: str | None) -> Cuda:
    """What a TensorFlow needs that says this of its CUDA ("11.8", "12.5.1"); of one built without, what its build with CUDA would need."""
    older = bool(cuda_version) and str(cuda_version).startswith("11")
    return GENERATIONS[0] if older else GENERATIONS[-1]


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
    """The libraries of CUDA and cuDNN that can be loaded neither from the system nor from NVIDIA's wheels."""
    return [name for folder, name in cuda.libraries.items() if not (_loads(name) or _loads(str(wheels() / folder / "lib" / name)))]


def _loads(library: str) -> bool:
    try:
        ctypes.CDLL(library)
    except OSError:
        return False
    return True


def wheels() -> Path:
    """The folder into which NVIDIA's wheels are installed, where TensorFlow looks for libraries."""
    return Path(str(distribution("tensorflow").locate_file("nvidia")))


def why_none(cuda: Cuda, cuda_build: bool, visible: str | None, driver: Driver, missing: list[str], image: bool) -> str:
    """Why TensorFlow finds no GPU, and how to mend it, in the order in which it has to be mended.

    Args:
        cuda: what this TensorFlow needs.
        cuda_build: whether TensorFlow was built with CUDA.
        visible: the value of CUDA_VISIBLE_DEVICES, None if it is not set.
        driver: NVIDIA's driver.
        missing: libraries that cannot be loaded.
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
    return " ".join(reasons or ["Driver and libraries are there: with TF_CPP_MIN_LOG_LEVEL=0 TensorFlow says why it uses no GPU."])


def kernels_included(capability: tuple[int, int], built: list[str]) -> bool:
    """Whether TensorFlow has machine code for a GPU: what is built for x.y runs on x.z with z ≥ y.

    Args:
        capability: the GPU's compute capability, (major, minor).
        built: what TensorFlow was built for, such as ["sm_75", "compute_80"].
    """
    numbers = [int(name.rpartition("_")[2]) for name in built]
    return any(number // 10 == capability[0] and number % 10 <= capability[1] for number in numbers)


def compiled_first(capability: tuple[int, int]) -> str:
    """What to know, and do, where TensorFlow has to compile its kernels for a GPU of that compute capability."""
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
    """Where XLA finds the libdevice that training on a GPU needs: in the folder that XLA_FLAGS names or the system's, None if nowhere."""
    named = [word[len(CUDA_FOLDER) :] for word in os.environ.get("XLA_FLAGS", "").split() if word.startswith(CUDA_FOLDER)]
    folders = [Path(folder) for folder in (*named, "/usr/local/cuda")]
    return next((folder for folder in folders if (folder / "nvvm" / "libdevice").is_dir()), None)


def writable(folder: Path) -> bool:
    """Whether files can be written to a folder, or to the one in which it would have to be made."""
    try:
        tempfile.TemporaryFile(dir=next(path for path in (folder, *folder.absolute().parents) if path.exists())).close()
    except OSError:
        return False
    return True
