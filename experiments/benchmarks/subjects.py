"""Who is measured: each subject does one image and V vectors, and says how many seconds that took.

A subject is opened for a case and a method; its first run builds what it builds and is not counted.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
import time
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Callable, ContextManager, Iterator, Mapping

import tensorflow as tf
from cases import Case

from wel.backends import find_backend
from wel.backends.native.backend import NativeBackend
from wel.backends.process import module_worker
from wel.backends.request import Whole
from wel.backends.wrapped import WrappedBackend
from wel.errors import UnsupportedError, WelError
from wel.measures.counting import Cosines
from wel.methods.registry import DEEPLIFT, METHODS
from wel.system.arithmetic import CHOICE
from wel.system.environments import WRAPPED

Run = Callable[[], float]
Subject = Callable[[Case, str], ContextManager[Run]]

FOLDER = Path(__file__).parent
NOTHING: Mapping[str, str] = {}
# what `import wel` would set otherwise
AS_INSTALLED = {CHOICE: "default", "TF_CPU_ALLOCATOR_USE_BFC": "false"}
# images of a study, whose sweeps are compiled
MANY = 200
# the composite of zennit that stands for a method of ours
COMPOSITES = {
    "lrp_alpha1_beta0": "alpha1_beta0",
    "lrp_alpha2_beta1": "alpha2_beta1",
    "lrp_cmp_alpha1_beta0": "epsilon_plus",
}
ORIGINAL_METHODS = ("gradient", "lrp_alpha1_beta0", "lrp_alpha2_beta1", "deeplift_rescale")
# the 2020 stack takes minutes, or more memory than there is, for DeepLIFT at 224×224
ORIGINAL_DEEPLIFT_NETWORKS = ("cifar10",)


@contextmanager
def native(case: Case, method: str, images: int = MANY) -> Iterator[Run]:
    """wel's engine: CSC from the logits at all layers, cosines counted; as fast as in a study of so many images."""
    opened, request, vectors = NativeBackend().open(case.net), case.request(method), case.vectors([case.logits])
    yield _timed(lambda: opened.measure(request, case.images, vectors, None, Cosines(), images))


@contextmanager
def gradient(case: Case, method: str) -> Iterator[Run]:
    """The gradient of the same vectors, all of them in one batch."""
    compiled = batched_gradient(case)
    yield _timed(lambda: compiled().numpy())


@contextmanager
def yardstick(case: Case, method: str) -> Iterator[Run]:
    """The gradient in TensorFlow as it is installed, oneDNN included, in a process of its own."""
    with _loop(sys.executable, "loop.py", "gradient", case.net.name, method, str(case.count), environment=AS_INSTALLED) as run:
        yield run


@contextmanager
def fastest(case: Case, method: str) -> Iterator[Run]:
    """What `native` does, with the arithmetic `fastest`, in a process of its own."""
    with _loop(sys.executable, "loop.py", "native", case.net.name, method, str(case.count), environment={CHOICE: "fastest"}) as run:
        yield run


def batched_gradient(case: Case) -> Callable[[], tf.Tensor]:
    """A compiled gradient (V, *input shape): the image V times, a vector for each at the logits."""

    @tf.function
    def gradient(images, vectors):
        rows = tf.repeat(images, case.count, axis=0)
        with tf.GradientTape() as tape:
            tape.watch(rows)
            logits = case.net.model(rows, training=False)
        return tape.gradient(logits, rows, vectors)

    images, vectors = tf.constant(case.images), tf.constant(case.vectors([case.logits])[case.logits][0])
    return lambda: gradient(images, vectors)


@contextmanager
def wrapped(case: Case, method: str) -> Iterator[Run]:
    """innvestigate 2.1.2 or deeplift 0.6.13.0 in a process of its own, read at the input only."""
    # the native engine's sums, which are faster than those that wel asks the wrapped packages for
    module = f"wel.backends.{METHODS[method].wrapped}.worker"
    with _process(WrappedBackend("wrapped", lambda: module_worker(WRAPPED.python(), module, {})), case, method) as run:
        yield run


@contextmanager
def original(case: Case, method: str) -> Iterator[Run]:
    """The 2020 stack, read at the input only."""
    if method not in ORIGINAL_METHODS:
        raise UnsupportedError(f"The original stack is measured for {', '.join(ORIGINAL_METHODS)}.")
    if METHODS[method].family == DEEPLIFT and case.net.name not in ORIGINAL_DEEPLIFT_NETWORKS:
        raise UnsupportedError(f"The original stack's DeepLIFT is measured on {', '.join(ORIGINAL_DEEPLIFT_NETWORKS)}.")
    with _process(find_backend("original", METHODS[method]), case, method) as run:
        yield run


def zennit(python: str) -> Subject:
    """zennit 0.5.1 under an interpreter that has it: relevance kept at all layers, no cosines."""

    @contextmanager
    def subject(case: Case, method: str) -> Iterator[Run]:
        if method not in COMPOSITES or case.net.name == "cifar10":
            raise UnsupportedError(f"zennit is measured for {', '.join(COMPOSITES)} on vgg16 and resnet50.")
        with _loop(python, "zennit_loop.py", case.net.name, COMPOSITES[method], str(case.count)) as run:
            yield run

    return subject


def elsewhere(python: str) -> Subject:
    """What `native` does, under an interpreter that has wel with another TensorFlow."""

    @contextmanager
    def subject(case: Case, method: str) -> Iterator[Run]:
        with _loop(python, "loop.py", "native", case.net.name, method, str(case.count)) as run:
            yield run

    return subject


@contextmanager
def analyzer(python: str, module: str, *arguments: str, environment: Mapping[str, str] = NOTHING) -> Iterator[Callable[[], dict]]:
    """Maps by innvestigate's interface in a process of its own; each gives its seconds and CPU seconds."""
    with _loop(python, "analyzer_loop.py", module, *arguments, environment=environment, whole=True) as run:
        yield run


@contextmanager
def _loop(python: str, script: str, *arguments: str, environment: Mapping[str, str] = NOTHING, whole: bool = False) -> Iterator[Any]:
    """A script of this folder in a process of its own, which does one run for every line that it gets."""
    command, given = (python, str(FOLDER / script), *arguments), {**os.environ, **environment}
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, env=given) as process:
        try:
            yield lambda: _asked(process, script) if whole else _asked(process, script)["seconds"]
        finally:
            process.stdin.close()


@contextmanager
def sweep(case: Case, method: str) -> Iterator[Run]:
    """wel's engine: the paper's start layers in one sweep."""
    opened, request, vectors = NativeBackend().open(case.net), case.request(method), case.vectors(case.net.start_layers(None))
    yield _timed(lambda: opened.measure(request, case.images, vectors, None, Cosines(), MANY))


@contextmanager
def one_by_one(case: Case, method: str) -> Iterator[Run]:
    """wel's engine: the paper's start layers, each in a sweep of its own."""
    request, vectors = case.request(method), case.vectors(case.net.start_layers(None))
    # opened once for each, so that weights are prepared once
    opened = {start: NativeBackend().open(case.net) for start in vectors}
    yield _timed(lambda: [opened[start].measure(request, case.images, {start: vectors[start]}, None, Cosines(), MANY) for start in vectors])


def _timed(work: Callable[[], Any]) -> Run:
    def run() -> float:
        before = time.perf_counter()
        work()
        return time.perf_counter() - before

    return run


@contextmanager
def _process(backend: WrappedBackend, case: Case, method: str) -> Iterator[Run]:
    try:
        opened, request, vectors = backend.open(case.net), case.request(method), case.vectors([case.logits])
        yield _timed(lambda: opened.measure(request, case.images, vectors, [case.net.graph.input], Whole()))
    finally:
        backend.close()


def _asked(process: subprocess.Popen, script: str) -> dict:
    try:
        process.stdin.write("run\n")
        process.stdin.flush()
    except BrokenPipeError:
        pass  # said below
    answer = process.stdout.readline()
    if not answer:
        raise WelError(f"{script} ended with code {process.wait()}.")
    return json.loads(answer)
