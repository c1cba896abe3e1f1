"""wel.modelfiles.hdf5: what a file from a stranger may hold, told before anything is read; `archive` does the same for zip files."""

from __future__ import annotations

import io

import h5py
import numpy as np
import pytest

from wel.errors import WelError
from wel.modelfiles import hdf5

pytestmark = pytest.mark.apart


@pytest.fixture
def make(tmp_path):
    """Writes an HDF5 file and opens it as wel does; to disk and into memory."""

    def made(write, check, in_memory: bool = False):
        place = io.BytesIO() if in_memory else tmp_path / "x.h5"
        with h5py.File(place, "w") as file:
            write(file)
        stored = len(place.getvalue()) if in_memory else place.stat().st_size
        with hdf5.opened(place, stored) as file:
            return check(file)

    return made


def plain(file: h5py.File) -> None:
    file["a/b"] = np.arange(6, dtype="float32").reshape(2, 3)
    file["c"] = np.arange(4, dtype="uint8")
    file["half"] = np.zeros(5, dtype="float16")
    file["flag"] = np.array(True)
    file["scalar"] = np.float64(3)
    file.attrs.update({"text": "ä", "bytes": b"b", "number": 3, "numbers": [1.5, 2.5], "names": [b"a", b"bc"]})
    file["a"].attrs["fixed"] = np.array([b"a", b"bc"], dtype="S2")


@pytest.mark.parametrize("in_memory", [False, True])
def test_plain_files_are_read(make, in_memory):
    def check(file):
        np.testing.assert_array_equal(file["a/b"], [[0, 1, 2], [3, 4, 5]])
        # 2·3 + 4 + 5 + 1 + 1
        return hdf5.numbers_in(file), hdf5.text(file, "text"), hdf5.text(file, "bytes"), hdf5.text(file, "nothing")

    assert make(plain, check, in_memory) == (17, "ä", "b", None)


@pytest.mark.parametrize("name", ["number", "numbers", "names"])
def test_text_that_is_none(make, name):
    with pytest.raises(WelError, match=f"Its {name} is no text"):
        make(plain, lambda file: hdf5.text(file, name))


def test_parts_with_two_names_count_once(make):
    def write(file):
        file["a/b"] = np.zeros(7)
        file["c"] = file["a/b"]
        file["a/back"] = file["/"]

    assert make(write, hdf5.numbers_in) == 7


def refuse(make, write, sentence: str) -> None:
    with pytest.raises(WelError, match=sentence):
        make(write, lambda file: None)


def test_types(make):
    refuse(make, lambda file: file.create_dataset("x", data=np.zeros(3, dtype="complex64")), "Its dataset '/x' is of the type complex64")
    refuse(make, lambda file: file.create_dataset("x", data=np.zeros(3, dtype="V4")), "Its dataset '/x' is of the type")
    refuse(make, lambda file: file.__setitem__("x", np.dtype("float32")), "Its part 'x' is neither a group nor a dataset")
    refuse(make, lambda file: file.attrs.create("x", np.zeros(2, dtype=[("a", "f4")])), "Its attribute 'x' is neither text nor number")


def test_links(make):
    refuse(make, lambda file: file.__setitem__("x", h5py.SoftLink("/y")), "Its part 'x' is a link to somewhere else")
    refuse(make, lambda file: file.create_group("g").__setitem__("x", h5py.ExternalLink("/etc/hostname", "/")), "'x' is a link")


def test_numbers_that_are_not_stored(make):
    # 2²² float32 are 16 MiB, the slack; a row more is too much for what is never stored
    make(lambda file: file.create_dataset("x", (1 << 22,), "float32", chunks=(1 << 10,)), hdf5.numbers_in)
    refuse(
        make,
        lambda file: file.create_dataset("x", ((1 << 22) + 1,), "float32", chunks=(1 << 10,)),
        "It declares 16 MiB and stores 0 B. Expected 50 times",
    )


def look(path) -> None:
    """The look at a file, in this process, where its bounds can be changed."""
    hdf5.check_file(str(path), str(path.stat().st_size))


def test_what_takes_much_memory(tmp_path, monkeypatch):
    with h5py.File(path := tmp_path / "x.h5", "w") as file:
        file.attrs["long"] = "x" * (64 << 20)
        file.create_dataset("packed", data=np.zeros(1000, dtype="float32"), compression="gzip")
    look(path)
    monkeypatch.setattr(hdf5, "WORKING_MEMORY", 32 << 20)
    with pytest.raises(WelError, match="Its attribute 'long' is broken, or too large to be read"):
        look(path)


def test_heap_that_hdf5_reads_for_ever(tmp_path, monkeypatch):
    """A free place of no length in the heap of texts: HDF5 2.0 looks for the next one at the same place, again and again."""
    with h5py.File(tmp_path / "x.h5", "w") as file:
        file.attrs["text"] = "x" * 100
    content = bytearray((tmp_path / "x.h5").read_bytes())
    place = content.find(b"GCOL") + 16
    content[place : place + 16] = bytes(16)
    (tmp_path / "x.h5").write_bytes(content)
    monkeypatch.setattr(hdf5, "SECONDS", 1)
    with pytest.raises(WelError, match="cannot be read within 1 seconds|is broken"):
        with hdf5.opened(tmp_path / "x.h5", len(content)):
            pass


def test_many_parts(tmp_path, monkeypatch):
    with h5py.File(path := tmp_path / "x.h5", "w") as file:
        for number in range(5):
            file.create_group(str(number))
    monkeypatch.setattr(hdf5, "MOST_OBJECTS", 6)
    look(path)
    monkeypatch.setattr(hdf5, "MOST_OBJECTS", 5)
    with pytest.raises(WelError, match="more than 5 groups and datasets"):
        look(path)
