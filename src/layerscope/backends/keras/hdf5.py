"""What an HDF5 file of weights must not hold: anything that has another file read, and more numbers than memory takes."""

from __future__ import annotations

import io
import json
import os
import struct
from pathlib import Path
from typing import IO, Any
from zipfile import ZIP_STORED, ZipFile

import h5py

from ...errors import ModelNotReadable
from ...files import open_regular, open_zip, parsing
from ...memory import amount, available_text, limit
from .heaps import check_content, check_heaps, check_width

WEIGHTS = "model.weights.h5"  # in a .keras file
HEADER = 30  # bytes of a zip entry before its name, the last four of which say how long name and extra field are
WHAT = "a Keras file"


def check_weights(path: Path, heaps: bool = True) -> None:
    """Raise `ModelNotReadable` where the HDF5 files in a `.keras`, `.h5` or `.weights.json` file don't stand alone.

    Without `heaps` these aren't looked at once more.
    """
    with open_regular(path, what="weights", error=ModelNotReadable) as file, parsing(path, WHAT, ModelNotReadable):
        if heaps:
            check_heaps(file, path)
        if path.name.endswith(".json"):
            for shard in _shards(path, file.read()):
                check_weights(shard)
        elif path.suffix.lower() == ".keras":
            with open_zip(path, WHAT, ModelNotReadable) as archive:
                _check_archive(archive, file, path)
        else:
            _check(file, path)


def _shards(path: Path, content: bytes) -> set[Path]:
    """The files that hold parts of the weights, which must lie beside the list of them."""
    listed = json.loads(content)["weight_map"].values()
    names = {name for entry in listed for name in ([entry] if isinstance(entry, str) else entry)}
    first = f"{path.stem.replace('.weights', '')}_00000.weights.h5"  # which Keras opens even if it isn't listed
    folders = {path.parent.resolve(), path.resolve().parent}  # a cache may have links to a folder of files
    for name in names | ({first} if os.path.lexists(path.parent / first) else set()):
        if Path(name).name != name or not name.endswith(".h5"):
            raise ModelNotReadable(f"{path.name} names the file {name!r}: weights must be .h5 files beside it")
        if (path.parent / name).resolve().parent not in folders:
            raise ModelNotReadable(f"{name}, beside {path.name}, is a link to a file elsewhere: copy that file here")
        names = names | {name}
    return {path.parent / name for name in names}


def _check_archive(archive: ZipFile, file: IO[bytes], path: Path) -> None:
    if WEIGHTS not in archive.namelist():
        return
    entry = archive.getinfo(WEIGHTS)
    if entry.compress_type != ZIP_STORED:
        content = archive.read(entry)
        check_content(content, path)
        _check(io.BytesIO(content), path)
        return
    file.seek(entry.header_offset)
    name, extra = struct.unpack_from("<HH", file.read(HEADER), HEADER - 4)
    _check(_Window(file, entry.header_offset + HEADER + name + extra, entry.file_size), path)


class _Window(io.RawIOBase):
    """The bytes of a file from `start` on, as a file: what `ZipFile.open` gives reads all before a byte to get back to it."""

    def __init__(self, file: IO[bytes], start: int, size: int) -> None:
        self.file, self.start, self.size, self.at = file, start, size, 0

    def seekable(self) -> bool:
        return True

    def readable(self) -> bool:
        return True

    def seek(self, offset: int, whence: int = io.SEEK_SET) -> int:
        self.at = (0, self.at, self.size)[whence] + offset
        return self.at

    def readinto(self, buffer: Any) -> int:
        self.file.seek(self.start + self.at)
        part = self.file.read(min(len(buffer), max(0, self.size - self.at)))
        buffer[: len(part)] = part
        self.at += len(part)
        return len(part)


def _check(file: IO[bytes] | _Window, path: Path) -> None:
    file.seek(0)
    with h5py.File(file, "r") as opened:
        check_width(opened, path)
        names: list[bytes] = []
        elsewhere = opened.id.links.visit(lambda name, link: _see(name, link, names), info=True)
        if elsewhere is not None:
            raise _refuse(path, elsewhere, "is a link")
        sizes = [_size(opened, name, path) for name in names]
    most = limit()
    if most is not None and sum(sizes) > most:
        raise ModelNotReadable(
            f"{path.name} would unpack to {amount(sum(sizes))} of numbers, and {available_text(most)}"
        )


def _see(name: bytes, link: Any, names: list[bytes]) -> bytes | None:
    """The name of a link to somewhere else, which ends the visit; `None` for an object of this file, added to `names`."""
    if link.type != h5py.h5l.TYPE_HARD:
        return name
    names.append(name)
    return None


def _size(file: h5py.File, name: bytes, path: Path) -> int:
    """How many bytes a data set says that it holds, nothing for a group."""
    data = h5py.h5o.open(file.id, name)
    if not isinstance(data, h5py.h5d.DatasetID):
        return 0
    plan = data.get_create_plist()
    if plan.get_external_count() or plan.get_layout() == h5py.h5d.VIRTUAL:
        raise _refuse(path, name, "keeps its numbers in other files")
    return int(data.get_space().get_simple_extent_npoints()) * int(data.get_type().get_size())


def _refuse(path: Path, name: bytes, why: str) -> ModelNotReadable:
    return ModelNotReadable(
        f"{path.name} isn't read: {name.decode('utf-8', 'replace')!r} in it {why}, and weights must be in the file itself."
        " Save the model again"
    )
