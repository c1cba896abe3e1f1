"""Small Keras models that tests share, 8×8×3 pixels in and 4 logits out, with seeded random weights.

They live as long as the test session: a test that changes weights builds its own model or puts the old ones back.
"""

from __future__ import annotations

import gc
import io
import os
import signal
from functools import lru_cache
from importlib.metadata import version

# before numpy and TensorFlow: the workers of pytest-xdist share the cores, and threads that wait for one another burn them
for setting in ("OMP_NUM_THREADS", "TF_NUM_INTRAOP_THREADS", "TF_NUM_INTEROP_THREADS"):
    os.environ.setdefault(setting, "1")
os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")
# `tensorflow.keras` is Keras 2 in these tests, whatever TensorFlow it is; those of Keras 3 import keras
os.environ["TF_USE_LEGACY_KERAS"] = "1"

import numpy as np  # noqa: E402
import pytest  # noqa: E402
from hypothesis import settings  # noqa: E402

import wel  # noqa: E402  (before TensorFlow, whose order of summation it chooses)
from wel.system.environments import WRAPPED  # noqa: E402

# a shell starts its background jobs with Ctrl-C ignored, which the tests of Ctrl-C would inherit
signal.signal(signal.SIGINT, signal.default_int_handler)

settings.register_profile("quick", max_examples=100, deadline=None)
settings.register_profile("thorough", max_examples=2000, deadline=None)
settings.load_profile("quick")

# of the Keras 2 that there is
KERAS_2 = version("keras") if version("keras").startswith("2.") else version("tf_keras")
INPUT_SHAPE = (8, 8, 3)
CLASSES = 4


@pytest.hookimpl(tryfirst=True)
def pytest_collection_modifyitems(items):
    """With `--dist loadgroup` one process has all tests of a file, and one all that need the processes of the wrapped packages."""
    missing = _why_no_wrapped_packages()
    for item in items:
        values = item.callspec.params.values() if hasattr(item, "callspec") else ()
        if any(isinstance(value, str) and value == "wrapped" for value in values):
            item.add_marker("wrapped")
        wrapped = item.get_closest_marker("wrapped") is not None
        item.add_marker(pytest.mark.xdist_group("wrapped" if wrapped else str(item.path)))
        if wrapped and missing:
            item.add_marker(pytest.mark.skip(reason=missing))


def _why_no_wrapped_packages() -> str:
    try:
        WRAPPED.python()
    except wel.WelError as error:
        return str(error)
    return ""


def pytest_collection_finish():
    """What is there now stays, and compiling graphs makes many objects: a garbage collection of all of them every time takes an eighth."""
    gc.freeze()
    gc.set_threshold(50_000, 20, 20)


def _looked_at_here(check, *arguments: str, content: bytes = b"", seconds: float) -> None:
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("sys.stdin", io.TextIOWrapper(io.BytesIO(content)))
        check(*arguments)


@pytest.fixture(autouse=True)
def looked_at_here(request, monkeypatch):
    """HDF5 files are looked at in this process, save in tests marked `apart`: a process for each takes a sixth of a second."""
    if request.node.get_closest_marker("apart") is None:
        monkeypatch.setattr("wel.modelfiles.hdf5.check_apart", _looked_at_here)


def randomized(model, seed: int = 0):
    """The model with weights that depend on the seed only: kernels of unit gain, positive variances, no zeros."""
    rng = np.random.default_rng(seed)
    model.set_weights([_weight(rng, weight.name, weight.shape) for weight in model.weights])
    return model


def _weight(rng: np.random.Generator, name: str, shape) -> np.ndarray:
    if "variance" in name or "gamma" in name:
        return rng.uniform(0.5, 1.5, shape).astype("float32")
    if len(shape) > 1:
        return (rng.standard_normal(shape) / np.sqrt(np.prod(shape[:-1]))).astype("float32")
    return (0.1 * rng.standard_normal(shape)).astype("float32")


@lru_cache(maxsize=None)
def loaded(model):
    """The Network of one of the models below, the same one every time: a compiled sweep is found again only for the same object."""
    return wel.load(model)


def of_methods(table):
    """The rows of a study's table that are of the methods that were asked for, without the controls behind them."""
    return table[~table["method"].isin(["random", "edges"])].reset_index(drop=True)


@pytest.fixture(scope="session")
def images() -> np.ndarray:
    """Three inputs (3, 8, 8, 3) in [0, 1]."""
    return np.random.default_rng(7).random((3, *INPUT_SHAPE), dtype="float32")


@pytest.fixture(scope="session")
def sequential():
    """conv, relu, pool, flatten, drop, dense; ReLU layers of their own."""
    from tensorflow.keras import Sequential, layers

    stack = [
        layers.Input(INPUT_SHAPE, name="image"),
        layers.Conv2D(5, 3, padding="same", name="conv"),
        layers.ReLU(name="relu"),
        layers.MaxPooling2D(name="pool"),
        layers.Flatten(name="flatten"),
        layers.Dropout(0.5, name="drop"),
        layers.Dense(CLASSES, name="dense"),
    ]
    return randomized(Sequential(stack, name="sequential"), seed=1)


@pytest.fixture(scope="session")
def functional():
    """conv1, conv2, pool, flatten, hidden, dense; ReLU fused into the layers before it."""
    from tensorflow.keras import Model, layers

    image = layers.Input(INPUT_SHAPE, name="image")
    x = layers.Conv2D(4, 3, padding="same", activation="relu", name="conv1")(image)
    x = layers.Conv2D(6, 3, activation="relu", name="conv2")(x)
    x = layers.MaxPooling2D(name="pool")(x)
    x = layers.Flatten(name="flatten")(x)
    x = layers.Dense(7, activation="relu", name="hidden")(x)
    return randomized(Model(image, layers.Dense(CLASSES, name="dense")(x), name="functional"), seed=2)


@pytest.fixture(scope="session")
def nested():
    """The model `block` (conv, relu) called twice, then flatten, dense: nodes block/conv, block/relu, block/conv#2, block/relu#2."""
    from tensorflow.keras import Model, Sequential, layers

    inner = [layers.Input(INPUT_SHAPE), layers.Conv2D(3, 3, padding="same", name="conv"), layers.ReLU(name="relu")]
    block = Sequential(inner, name="block")
    image = layers.Input(INPUT_SHAPE, name="image")
    x = layers.Flatten(name="flatten")(block(block(image)))
    return randomized(Model(image, layers.Dense(CLASSES, name="dense")(x), name="nested"), seed=3)


@pytest.fixture(scope="session")
def shared_layer():
    """One convolution called twice in a row: nodes conv, relu, conv#2, relu#2, flatten, dense."""
    from tensorflow.keras import Model, layers

    image = layers.Input(INPUT_SHAPE, name="image")
    conv, relu = layers.Conv2D(3, 3, padding="same", name="conv"), layers.ReLU(name="relu")
    x = relu(conv(relu(conv(image))))
    x = layers.Flatten(name="flatten")(x)
    return randomized(Model(image, layers.Dense(CLASSES, name="dense")(x), name="shared_layer"), seed=4)


@pytest.fixture(scope="session")
def residual():
    """conv1, bn1, relu1, then a block (conv2, bn2, relu2, conv3, bn3, plus a 1×1 shortcut: skip, bn_skip), add, relu3, avgpool, dense."""
    from tensorflow.keras import Model, layers

    def conv_bn(x, number: str, channels: int, size: int, stride: int = 1):
        x = layers.Conv2D(channels, size, stride, padding="same", use_bias=False, name=f"conv{number}" if number.isdigit() else number)(x)
        return layers.BatchNormalization(name=f"bn{number}" if number.isdigit() else f"bn_{number}")(x)

    image = layers.Input(INPUT_SHAPE, name="image")
    x = layers.ReLU(name="relu1")(conv_bn(image, "1", 4, 3))
    main = conv_bn(layers.ReLU(name="relu2")(conv_bn(x, "2", 6, 3, 2)), "3", 6, 3)
    x = layers.Add(name="add")([main, conv_bn(x, "skip", 6, 1, 2)])
    x = layers.GlobalAveragePooling2D(name="avgpool")(layers.ReLU(name="relu3")(x))
    return randomized(Model(image, layers.Dense(CLASSES, name="dense")(x), name="residual"), seed=5)
