"""wel.images.arrays: rows as NumPy reads them, no more of a file than needed, and nothing that is unpickled."""

from __future__ import annotations

import pickle
import zipfile

import numpy as np
import pytest

from wel.errors import WelError
from wel.images.arrays import stored_arrays

MAGIC = b"\x93NUMPY"
ARRAYS = [
    np.arange(24, dtype="<i4").reshape(4, 3, 2),
    np.arange(24, dtype=">f8").reshape(4, 6),
    np.asfortranarray(np.arange(24, dtype="uint8").reshape(4, 3, 2)),
    np.array(["a", "bcd", "ü"]),
    np.arange(4.0),
    np.zeros((3, 0, 2)),
    np.zeros((0, 2)),
]


@pytest.mark.parametrize("array", ARRAYS, ids=lambda array: f"{array.dtype}-{array.shape}")
@pytest.mark.parametrize("kind", ["npy", "npz", "compressed"])
def test_rows(tmp_path, array, kind):
    path = tmp_path / f"some.{'npy' if kind == 'npy' else 'npz'}"
    with open(path, "wb") as file:
        {"npy": np.save, "npz": np.savez, "compressed": np.savez_compressed}[kind](file, array)
    (stored,) = stored_arrays(path).values()
    assert (stored.shape, stored.dtype) == (array.shape, array.dtype)
    for count in (0, 1, 2, 99):
        rows = list(stored.rows(count))
        assert len(rows) == min(count, len(array))
        for row, expected in zip(rows, array):
            np.testing.assert_array_equal(row, expected)


def test_names(tmp_path):
    np.savez(tmp_path / "some.npz", x=np.zeros(3), y=np.zeros(2))
    assert {key: stored.shape for key, stored in stored_arrays(tmp_path / "some.npz").items()} == {"x": (3,), "y": (2,)}
    np.save(tmp_path / "some.npy", np.zeros(3))
    assert list(stored_arrays(tmp_path / "some.npy")) == [""]


class Touches:
    """Unpickled, it would leave a file behind."""

    def __init__(self, path):
        self.path = path

    def __reduce__(self):
        return open, (str(self.path), "w")


@pytest.mark.parametrize("kind", ["npy", "npz"])
def test_nothing_is_unpickled(tmp_path, kind):
    path, trace = tmp_path / f"some.{kind}", tmp_path / "trace"
    values = np.array([Touches(trace)], dtype=object)
    np.save(path, values) if kind == "npy" else np.savez(path, values)
    with pytest.raises(WelError, match=r"^Invalid file .* as \.np. \(.* holds Python objects, which would have to be unpickled\)"):
        stored_arrays(path)
    path.write_bytes(pickle.dumps(Touches(trace)))
    with pytest.raises(WelError, match="^Invalid file"):
        stored_arrays(path)
    assert not trace.exists()


@pytest.mark.parametrize("name", ["some.npy", "some.npz"])
@pytest.mark.parametrize("content", [b"", b"text", b"PK\x03\x04", MAGIC, MAGIC + b"\x03\x00\x10\x00{}", MAGIC + b"\x01\x00\x05\x00[1,2]"])
def test_no_arrays(tmp_path, name, content):
    (tmp_path / name).write_bytes(content)
    with pytest.raises(WelError, match=rf"^Invalid file '.*{name}': it cannot be read as \{name[4:]} \(.+\)\.$"):
        stored_arrays(tmp_path / name)


def test_missing_and_single(tmp_path):
    with pytest.raises(WelError, match="No such file"):
        stored_arrays(tmp_path / "missing.npy")
    np.save(tmp_path / "one.npy", np.float32(1))
    with pytest.raises(WelError, match="the array is a single number"):
        stored_arrays(tmp_path / "one.npy")


def test_damaged_archive(tmp_path):
    path = tmp_path / "some.npz"
    np.savez_compressed(path, x=np.random.default_rng(0).random((50, 50)))
    content = bytearray(path.read_bytes())
    content[len(content) // 2] ^= 255
    path.write_bytes(content)
    with pytest.raises(WelError, match="^Invalid file"):
        list(stored_arrays(path)["x"].rows(50))


def test_archive_with_a_password(tmp_path):
    path = tmp_path / "some.npz"
    np.savez(path, x=np.zeros(3))
    content = bytearray(path.read_bytes())
    for signature, flags in ((b"PK\x03\x04", 6), (b"PK\x01\x02", 8)):  # of the file's header and of the directory's entry
        content[content.index(signature) + flags] |= 1
    path.write_bytes(content)
    with zipfile.ZipFile(path) as archive:
        assert archive.infolist()[0].flag_bits & 1
    with pytest.raises(WelError, match="^Invalid file .*encrypted"):
        stored_arrays(path)
