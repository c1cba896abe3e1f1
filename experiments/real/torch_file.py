"""A file of PyTorch's weights as it was until version 1.5, read without PyTorch, and without running anything that it names."""

from __future__ import annotations

import io
import pickle
from collections import OrderedDict
from typing import Any, BinaryIO, Callable

import numpy as np

from wel.errors import WelError

MAGIC, FORMAT = 0x1950A86A20F9469CFC6C, 1001
TYPES = {"FloatStorage": "<f4", "LongStorage": "<i8"}


class _Tensor:
    """A part of a storage: sizes and strides in numbers, from an offset on."""

    def __init__(self, storage: tuple[str, str, int], offset: int, sizes: tuple[int, ...], strides: tuple[int, ...], *rest: Any):
        self.dtype, self.key, self.count = storage
        self.offset, self.sizes, self.strides = offset, sizes, strides

    def array(self, numbers: np.ndarray) -> np.ndarray:
        last = self.offset + sum((size - 1) * stride for size, stride in zip(self.sizes, self.strides))
        if min((self.offset, *self.sizes, *self.strides)) < 0 or last >= len(numbers):
            raise WelError(f"Invalid file of weights: a tensor of shape {self.sizes} goes on behind its {len(numbers)} numbers.")
        strides = [stride * numbers.itemsize for stride in self.strides]
        return np.lib.stride_tricks.as_strided(numbers[self.offset :], self.sizes, strides).copy()


class _Unpickler(pickle.Unpickler):
    """Builds dictionaries and tensors, nothing else."""

    known: dict[tuple[str, str], Callable] = {
        ("collections", "OrderedDict"): OrderedDict,
        ("torch._utils", "_rebuild_tensor_v2"): _Tensor,
    }

    def find_class(self, module: str, name: str) -> Any:
        if module == "torch" and name in TYPES:
            return TYPES[name]
        if (module, name) not in self.known:
            raise WelError(f"Invalid file of weights: it names {module}.{name}. Expected tensors of float32 and int64 only.")
        return self.known[module, name]

    def persistent_load(self, pid: Any) -> tuple[str, str, int]:
        _, dtype, key, _, count, _ = pid
        return dtype, key, count


def torch_weights(contents: bytes) -> dict[str, np.ndarray]:
    """The arrays of a `state_dict` that `torch.save` has written, by name.

    The file is a row of pickles (a magic number, the format's version, the machine, the dictionary, the keys of its storages), then each
    storage as a count and its numbers.

    Raises:
        WelError: when it is no such file, or names something else than arrays.
    """
    file = io.BytesIO(contents)
    if [_unpickled(file), _unpickled(file)] != [MAGIC, FORMAT]:
        raise WelError("Invalid file of weights: it begins otherwise. Expected one that PyTorch wrote before version 1.6.")
    machine, tensors, keys = (_unpickled(file) for _ in range(3))
    if not machine["little_endian"]:
        raise WelError("Invalid file of weights: its numbers are big-endian. Expected little-endian ones.")
    dtypes = {tensor.key: tensor.dtype for tensor in tensors.values()}
    numbers = {key: _storage(file, dtypes[key]) for key in keys}
    return {name: tensor.array(numbers[tensor.key]) for name, tensor in tensors.items()}


def _unpickled(file: BinaryIO) -> Any:
    try:
        return _Unpickler(file).load()
    except (pickle.UnpicklingError, EOFError) as error:
        raise WelError(f"Invalid file of weights ({error}). Expected one that PyTorch wrote before version 1.6.") from error


def _storage(file: BinaryIO, dtype: str) -> np.ndarray:
    count = int.from_bytes(file.read(8), "little")
    raw = file.read(count * np.dtype(dtype).itemsize)
    if len(raw) < count * np.dtype(dtype).itemsize:
        raise WelError(f"Invalid file of weights: it ends within {count} numbers.")
    return np.frombuffer(raw, dtype)
