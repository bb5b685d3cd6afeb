"""Heaps of HDF5 files whose objects don't follow one another, on which the HDF5 library never ends."""

import struct

import h5py
import pytest

from layerscope.backends.keras.heaps import HEAP, OBJECT, check_heaps, check_width
from layerscope.errors import ModelNotReadable


def write(path, texts=("one", "a longer text", "")):
    with h5py.File(path, "w") as file:
        for index, text in enumerate(texts):
            file.attrs[f"text{index}"] = text
        file["words"] = [text or "empty" for text in texts]
    return bytearray(path.read_bytes())


def check(path, content):
    path.write_bytes(content)
    with open(path, "rb") as file:
        check_heaps(file, path)


def objects(content):
    """Where each object of the first heap lies, and its index and size."""
    at = content.index(HEAP) + 16
    while True:
        index, _, _, size = OBJECT.unpack_from(content, at)
        yield at, index, size
        if not index:
            return
        at += OBJECT.size + -(-size // 8) * 8


@pytest.mark.parametrize("texts", [("a",), ("x" * size for size in range(600)), ("long" * 30_000, "b")])
def test_heaps_that_the_library_writes_pass(tmp_path, texts):
    path = tmp_path / "m.h5"
    check(path, write(path, tuple(texts)))


@pytest.mark.parametrize(
    ("which", "size"), [(0, -16), (0, 2**63), (0, 10**6), (-1, 0), (-1, 8), (-1, -16), (-1, 2**63), (-1, 10**6)]
)
def test_sizes_that_lead_nowhere_are_refused(tmp_path, which, size):
    """An index of 0 is free space, whose size includes its own header; else the size is that of the text alone."""
    path = tmp_path / "m.h5"
    content = write(path)
    at = list(objects(content))[which][0]
    struct.pack_into("<Q", content, at + 8, size % 2**64)
    with pytest.raises(ModelNotReadable, match=r"m\.h5"):
        check(path, content)


def test_numbers_of_another_width_are_refused(tmp_path):
    path = tmp_path / "m.h5"
    create = h5py.h5p.create(h5py.h5p.FILE_CREATE)
    create.set_sizes(8, 4)
    h5py.h5f.create(str(path).encode(), h5py.h5f.ACC_TRUNC, create).close()
    with h5py.File(path) as file, pytest.raises(ModelNotReadable, match="width"):
        check_width(file, path)
