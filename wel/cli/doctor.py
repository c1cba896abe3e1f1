"""`wel doctor`: what is installed, on what wel computes, what is missing and how to mend it."""

from __future__ import annotations

import os
import platform
from dataclasses import dataclass
from importlib import import_module
from importlib.metadata import PackageNotFoundError, requires, version
from pathlib import Path
from typing import Callable, Iterator

import psutil
import typer
from packaging.requirements import Requirement

from wel import __version__
from wel.cli.console import PLAIN, console, printable
from wel.errors import WelError
from wel.keras.three import keras3
from wel.keras.two import root
from wel.networks.zoo import ZOO
from wel.system.arithmetic import arithmetic
from wel.system.devices import VISIBLE, free_gpu_memory, gpu_details, tf32_allowed, used_device
from wel.system.environments import ORIGINAL, WRAPPED
from wel.system.files import in_image, keras_home, models_folder
from wel.system.gpus import (
    PACKAGES,
    find_driver,
    generation,
    kernels_included,
    libdevice,
    missing_libraries,
    unsearched_folders,
    why_none,
    without_kernels,
    writable,
)
from wel.system.memory import container_limit

LOCKED = "pip install --require-hashes -r docker/requirements.lock"
GIB = 1 << 30
ENOUGH = 4 * GIB  # `wel csc --model cifar10` stays below


@dataclass(frozen=True)
class Finding:
    """One thing that was looked at.

    Attributes:
        part: what.
        found: what there is.
        mend: what is missing and how to mend it, empty when nothing is.
        fatal: whether wel cannot work as it is.
    """

    part: str
    found: str
    mend: str = ""
    fatal: bool = False


def doctor() -> None:
    """Tell versions, devices and memory, and what is missing and how to mend it; exit code 1 if wel cannot work."""
    found = [finding for check in CHECKS for finding in check()]
    if not any(one.fatal for one in found):
        found += [finding for check in CHECKS_WITH_TENSORFLOW for finding in check()]
    screen = console()
    screen.print(printable(("part", "found"), [(one.part, one.found) for one in found]))
    for one in found:
        if one.mend:
            screen.print(f"{one.part}: {one.mend}", **PLAIN)
    works = not any(one.fatal for one in found)
    screen.print("wel can work." if works else "wel cannot work before this is mended.", **PLAIN)
    if not works:
        raise typer.Exit(1)


def check_python() -> Iterator[Finding]:
    """wel, Python and the system."""
    yield Finding("wel", f"{__version__} in {Path(__file__).parents[1]}{' (container image)' if in_image() else ''}")
    yield Finding("Python", f"{platform.python_version()} on {platform.platform()}")


def check_packages() -> Iterator[Finding]:
    """The packages that wel requires, in the versions that it requires."""
    try:
        wanted = [one for one in map(Requirement, requires("wel") or ()) if one.marker is None or one.marker.evaluate({"extra": ""})]
    except PackageNotFoundError:
        yield Finding("packages", "unknown", "wel is not installed, so nobody knows what it requires: `pip install --no-deps -e .`.")
        return
    known = {one.name: _version(one.name) for one in wanted}
    wrong = [str(one) for one in wanted if not (known[one.name] and one.specifier.contains(known[one.name], prereleases=True))]
    shown = ", ".join(f"{name} {found or 'missing'}" for name, found in known.items())
    yield Finding("packages", shown, f"Required: {', '.join(wrong)}. Install them: `{LOCKED}`." if wrong else "", fatal=bool(wrong))


def check_dask() -> Iterator[Finding]:
    """Whether there is what computes on workers."""
    found = _version("distributed")
    mend = "" if found else "Only `--workers` and `--scheduler` need it: `pip install 'wel[dask]'`."
    yield Finding("workers", f"distributed {found}" if found else "none", mend)


def _version(package: str) -> str | None:
    try:
        return version(package)
    except PackageNotFoundError:
        return None


def check_memory() -> Iterator[Finding]:
    """What is free, and what a container may take."""
    memory = psutil.virtual_memory()
    limit = container_limit(memory.total)
    limited = f"; this container may take {limit / GIB:.1f} GiB" if limit else ""
    scarce = min(memory.available, limit or memory.available) < ENOUGH
    mend = "Runs take up to 4 GiB by default; `--memory 500MB` makes them compute fewer images at once." if scarce else ""
    yield Finding("memory", f"{memory.available / GIB:.1f} of {memory.total / GIB:.1f} GiB free{limited}", mend)


def check_folders() -> Iterator[Finding]:
    """Whether results and downloads can be written."""
    results, downloads = Path.cwd(), keras_home()
    elsewhere = "Runs go to runs/ in it unless `--out` says otherwise: mount or take a folder that this user may write."
    yield _folder("results", results, elsewhere)
    yield _folder("downloads", downloads, "Weights cannot be kept there: set KERAS_HOME, or mount a folder that this user may write.")


def _folder(part: str, folder: Path, mend: str) -> Finding:
    kept = writable(folder)
    return Finding(part, f"{folder}{'' if kept else ', cannot be written'}", "" if kept else mend)


def check_tensorflow() -> Iterator[Finding]:
    """Whether TensorFlow can be imported."""
    try:
        import tensorflow as tf
    except Exception as error:  # whatever a broken installation raises
        mend = f"{type(error).__name__}: {error}. Install it anew: `{LOCKED}`."
        yield Finding("TensorFlow", "cannot be imported", " ".join(mend.split()), fatal=True)
        return
    built = tf.sysconfig.get_build_info()
    cuda = f"for CUDA {built['cuda_version']} and cuDNN {built['cudnn_version']}" if built["is_cuda_build"] else "without CUDA"
    kernels = f", compute capabilities {', '.join(built['cuda_compute_capabilities'])}" if built["is_cuda_build"] else ""
    yield Finding("TensorFlow", f"{tf.__version__}, built {cuda}{kernels}")


def check_keras() -> Iterator[Finding]:
    """Which Keras 2 and which Keras 3 there are."""
    try:
        old = import_module(root()).__version__
    except WelError as error:
        yield Finding("Keras", "no Keras 2", str(error), fatal=True)
        return
    new = keras3()
    yield Finding("Keras", f"{root()} {old}{f', keras {new.__version__}' if new else ''}")


def check_environments() -> Iterator[Finding]:
    """Whose interpreters have the wrapped packages and the 2020 stack."""
    for environment in (WRAPPED, ORIGINAL):
        try:
            yield Finding(environment.name, f"{environment.holds}: {environment.python()}")
        except WelError as error:
            yield Finding(environment.name, "none", f"{error} Only `wel verify` and `--backend` need it.")


def check_gpus() -> Iterator[Finding]:
    """The GPUs and what they need."""
    import tensorflow as tf

    built = tf.sysconfig.get_build_info()
    gpus = tf.config.list_physical_devices("GPU")
    for gpu in gpus:
        name, capability = gpu_details(gpu)
        included = capability is None or kernels_included(capability, built["cuda_compute_capabilities"])
        shown = "" if capability is None else f", compute capability {capability[0]}.{capability[1]}"
        yield Finding("GPU", f"{name}{shown}", "" if included else without_kernels(capability, built["cuda_compute_capabilities"]))
    if gpus:
        yield _libdevice()
    else:
        cuda = generation(built.get("cuda_version"), built.get("cudnn_version"))
        libraries = missing_libraries(cuda), unsearched_folders(cuda)
        why = why_none(cuda, built["is_cuda_build"], os.environ.get(VISIBLE), find_driver(), *libraries, in_image())
        yield Finding("GPU", "none", f"{why} The CPU works without.")


def _libdevice() -> Finding:
    folder = libdevice()
    mend = f"Training needs it: `{PACKAGES}`."
    return Finding("libdevice", str(folder or "none"), "" if folder else mend)


def check_device() -> Iterator[Finding]:
    """On what wel computes by default, and what is free there."""
    yield Finding("computes on", f"{used_device()}{'' if tf32_allowed() else ', in full float32'}")
    yield Finding("arithmetic", arithmetic())
    free = free_gpu_memory()
    if free:
        yield Finding("GPU memory", f"{free / GIB:.1f} GiB free")


def check_weights() -> Iterator[Finding]:
    """The trained weights of the zoo."""
    from wel.networks.imagenet import published

    bundled = [name for name, arch in ZOO.items() if arch.trained == "bundled"]
    lost = [name for name in bundled if not (models_folder() / name / f"{name}.h5").is_file()]
    mend = f"Not in '{models_folder()}': {', '.join(lost)}. Install wel anew." if lost else ""
    yield Finding("bundled weights", ", ".join(name for name in bundled if name not in lost) or "none", mend)
    folder = keras_home() / "models"
    files = {name: published(name).file for name, arch in ZOO.items() if arch.trained == "imagenet"}
    absent = {name: file for name, file in files.items() if not (folder / file).is_file()}
    where = f"mount a folder that holds them (`-v FOLDER:{folder}`)" if in_image() else f"put them into '{folder}'"
    advice = f"{' and '.join(absent)} download theirs at first use. Without a network, {where}: {', '.join(absent.values())}."
    yield Finding("ImageNet weights", ", ".join(name for name in files if name not in absent) or "none", advice if absent else "")


def check_compiled_code() -> Iterator[Finding]:
    """Whether the code that numba compiles can be kept."""
    from numba.core.caching import FunctionCache

    from wel.measures.fast_counting import count_located

    try:
        yield Finding("compiled code", f"kept in {FunctionCache(count_located).cache_path}")
    except RuntimeError:
        mend = "Every run compiles for some seconds: set NUMBA_CACHE_DIR to a folder that this user may write."
        yield Finding("compiled code", "not kept", mend)


Check = Callable[[], Iterator[Finding]]
CHECKS: tuple[Check, ...] = (check_python, check_packages, check_dask, check_memory, check_folders, check_tensorflow)
CHECKS_WITH_TENSORFLOW: tuple[Check, ...] = (check_keras, check_environments, check_gpus, check_device, check_weights, check_compiled_code)


COMMANDS = (doctor,)
