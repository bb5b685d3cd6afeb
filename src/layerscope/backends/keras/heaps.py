"""The heaps of an HDF5 file, in which its texts lie: the HDF5 library walks them without a look at their sizes, for ever where
one is 0, so they are walked here before it opens the file.

The layout is that of https://docs.hdfgroup.org/hdf5/develop/_f_m_t3.html, "Disk Format: Level 1E - Global Heap".
"""

from __future__ import annotations

import mmap
import struct
from pathlib import Path
from typing import IO

import h5py

from ...errors import ModelNotReadable

HEAP = b"GCOL\1\0\0\0"
WIDTH = 8  # of a size, in every file that nobody has set up otherwise
OBJECT = struct.Struct("<HHIQ")  # index, references, reserved, size; index 0 is free space, whose size includes this


def check_heaps(file: IO[bytes], path: Path) -> None:
    """Raise `ModelNotReadable` where a heap in a file, which may be an archive with HDF5 files in it, is damaged."""
    with mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ) as content:
        check_content(content, path)


def check_content(content: bytes | mmap.mmap, path: Path) -> None:
    """Raise `ModelNotReadable` where a heap in some bytes is damaged."""
    at = -1
    while (at := content.find(HEAP, at + 1)) >= 0:
        if not _is_sound(content, at):
            raise ModelNotReadable(
                f"{path.name} is a damaged Keras file: sizes in its heap at byte {at:,} don't add up"
            )


def check_width(file: h5py.File, path: Path) -> None:
    """Raise `ModelNotReadable` where sizes in a file have another width than those that were walked."""
    if file.id.get_create_plist().get_sizes() != (WIDTH, WIDTH):
        raise ModelNotReadable(
            f"{path.name} is not a Keras file: its HDF5 has numbers of another width than {WIDTH} bytes"
        )


def _is_sound(content: bytes | mmap.mmap, start: int) -> bool:
    """Whether the objects of a heap follow one another up to its end; one that ends beyond the file isn't read at all."""
    if start + len(HEAP) + WIDTH > len(content):
        return True
    (size,) = struct.unpack_from("<Q", content, start + len(HEAP))
    end, at = start + size, start + len(HEAP) + WIDTH
    if end > len(content):
        return True
    while at + OBJECT.size <= end:
        index, _, _, held = OBJECT.unpack_from(content, at)
        taken = OBJECT.size + -(-held // 8) * 8 if index else held
        if not OBJECT.size <= taken <= end - at:
            return False
        at += taken
    return True
