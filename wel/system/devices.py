"""Where wel computes: one device, GPU memory that grows with need, full float32.

All of it is settings of the environment, so that the processes that wel starts compute in the same place. CUDA and TensorFlow
read them when they first look for devices: who has TensorFlow look before wel, or sets them, has their own.
"""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
from typing import List, Optional

from wel.errors import invalid
from wel.system.arithmetic import prefer

# else TensorFlow takes all of a GPU's memory when it starts, and a worker beside it finds none
GROWING_MEMORY = {"TF_FORCE_GPU_ALLOW_GROWTH": "true"}
# else every large tensor is new memory of the system's, page by page, which takes four times as long as multiplying two of them
KEPT_MEMORY = {"TF_CPU_ALLOCATOR_USE_BFC": "true", "TF_CPU_BFC_MEM_LIMIT_IN_MB": str(1 << 20)}
# GPUs are then numbered as nvidia-smi numbers them
NUMBERED_BY_BUS = {"CUDA_DEVICE_ORDER": "PCI_BUS_ID"}
NO_TF32 = {"NVIDIA_TF32_OVERRIDE": "0"}
VISIBLE, TF32 = "CUDA_VISIBLE_DEVICES", "WEL_ALLOW_TF32"
THREADS = "TF_NUM_INTRAOP_THREADS"


def grow_memory() -> None:
    """What `import wel` does: TensorFlow takes memory as it needs it and, of main memory, keeps it, where it does not run already."""
    if "tensorflow" not in sys.modules:
        prefer({**GROWING_MEMORY, **KEPT_MEMORY})


def choose_device(device: str) -> None:
    """Makes this process, and those that it starts, compute on one device.

    Args:
        device: "auto" (the first GPU if there is one, else the CPU), "cpu", "gpu" (the first one) or "gpu:1" (the second), counted
            among those that CUDA_VISIBLE_DEVICES names.

    Raises:
        WelError: when it is none of these, or there is no such GPU.
    """
    number = _gpu_number(device)
    prefer(NUMBERED_BY_BUS)
    os.environ[VISIBLE] = "-1" if number is None else visible_gpu(os.environ.get(VISIBLE), number)
    if device.startswith("gpu") and not _gpus():
        raise invalid("device", device, "'auto' or 'cpu': TensorFlow finds no such GPU here, and `wel doctor` says why")


def _gpu_number(device: str) -> Optional[int]:
    found = re.fullmatch(r"cpu|auto|gpu(?::(\d{1,3}))?", device)
    if not found:
        raise invalid("device", device, "'auto', 'cpu', 'gpu' or 'gpu:1' for the second GPU")
    return None if device == "cpu" else int(found[1] or 0)


def visible_gpu(listed: Optional[str], number: int) -> str:
    """The value of CUDA_VISIBLE_DEVICES for one GPU of those that it lists already (None: all), "-1" where there is none."""
    if listed is None:
        return str(number)
    names = [name.strip() for name in listed.split(",")]
    # CUDA takes the names up to the first one that is no device
    known = names[: next((index for index, name in enumerate(names) if not name or name.startswith("-")), len(names))]
    return known[number] if number < len(known) else "-1"


def allow_tf32(allowed: bool) -> None:
    """Whether this process, and those that it starts, may compute with TF32 (10 bits of mantissa) on GPUs that have it."""
    if allowed:
        os.environ[TF32] = "1"
    else:
        prefer(NO_TF32)


def tf32_allowed() -> bool:
    """Whether the environment allows TF32; wel computes in full float32 by default, as 1 − |cos| and parity need it."""
    return os.environ.get(TF32) == "1"


def used_device() -> str:
    """The device on which TensorFlow computes, in words, such as "CPU (8 cores)" or "GPU (NVIDIA A100-SXM4-40GB)"."""
    gpus = _gpus()
    if not gpus:
        return f"CPU ({len(usable_cores())} cores)"
    return f"GPU ({gpu_details(gpus[0])[0]}{', TF32 allowed' if tf32_allowed() else ''})"


def usable_cores() -> list[int]:
    """The numbers of the cores that this process may use; all of the machine's where the system does not say."""
    return sorted(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else list(range(os.cpu_count() or 1))


def adding_threads() -> int:
    """How many threads TensorFlow shares a sum among: as it was told, as the environment says, or one for each core."""
    return _told_threads() or int(os.environ.get(THREADS) or 0) or len(usable_cores())


def _told_threads() -> int:
    if "tensorflow" not in sys.modules:  # which takes seconds to import, and then has been told nothing
        return 0
    import tensorflow as tf  # waits for another thread that imports it

    return tf.config.threading.get_intra_op_parallelism_threads()


def gpu_details(gpu) -> tuple[str, Optional[tuple[int, int]]]:
    """A GPU's name and compute capability (None if unknown), as TensorFlow says them."""
    import tensorflow as tf

    details = tf.config.experimental.get_device_details(gpu)
    return details.get("device_name", gpu.name), details.get("compute_capability")


def free_gpu_memory() -> int:
    """Bytes that are free on the GPU on which TensorFlow computes, 0 where there is none or nvidia-smi does not say."""
    if not _gpus() or not shutil.which("nvidia-smi"):
        return 0
    first = os.environ.get(VISIBLE, "0").split(",")[0]
    query = ["nvidia-smi", f"--id={first}", "--query-gpu=memory.free", "--format=csv,noheader,nounits"]
    found = subprocess.run(query, capture_output=True, text=True, check=False).stdout.split()
    return int(found[0]) << 20 if found and found[0].isdecimal() else 0


def _gpus() -> List:
    import tensorflow as tf

    return tf.config.get_visible_devices("GPU")
