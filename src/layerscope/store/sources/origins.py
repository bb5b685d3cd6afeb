"""Where the bytes of a sample are read: a file, a part of a tar, a frame of a video, a row of a table, an array in memory."""

from __future__ import annotations

import errno
import hashlib
import os
import re
import threading
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, BinaryIO, ClassVar

from ...errors import BadOption, ImageNotReadable
from ...files import open_regular
from ...inputs.formats import is_video, pixel_limit
from ...inputs.photo import Photo
from ...inputs.photo import read as read_photo
from ...inputs.video import Video
from ...memory import amount

MEMBER = re.compile(r"(?s)(.+\.tar)@(\d+)\+(\d+)")
FRAME = re.compile(r"(?s)(.+)#(\d+)")
WHOLE = 256 << 20  # files up to so many bytes are read at once
PART = 1 << 20
NO_FILE = (FileNotFoundError, NotADirectoryError)
# What the system says of one file; anything else (a failing disk, a server that is gone, too many open files) is no
# property of that file.
OF_ONE_FILE = {
    *(errno.ENOENT, errno.ENOTDIR, errno.EACCES, errno.EPERM, errno.EISDIR, errno.ELOOP, errno.ENAMETOOLONG),
    *(errno.ENXIO, errno.ENODEV, errno.EINVAL, errno.EOPNOTSUPP, errno.EOVERFLOW),
}


@dataclass(frozen=True)
class Files:
    """Samples in files below a folder: `cat/1.jpg`, `x-000.tar@512+20480` (offset and size), `clip.mp4#30` (a frame).

    `root` is absolute, and what `source` is relative to; a source may be absolute itself.
    """

    root: str
    kind: ClassVar[str] = "files"

    def about(self) -> dict[str, str]:
        """What `origin_of` makes the same origin of."""
        return {"kind": self.kind, "root": self.root}

    def content(self, source: str, limit: int | None = None) -> Any:
        """What `photo.read` takes: the bytes, the path of a file that is too large to be read at once, or a frame."""
        if (member := MEMBER.fullmatch(source)) is not None:
            return self._part(self._path(member[1]), int(member[2]), int(member[3]))
        if (frame := frame_of(source)) is not None:
            path = self._path(frame[0])
            return _opened_video(path).photo(frame[1], os.path.basename(source), pixel_limit(limit))
        return whole_file(self._path(source))

    def _path(self, name: str) -> str:
        path = os.path.join(self.root, name)
        try:
            os.stat(path)
        except (*NO_FILE, ValueError) as cause:  # ValueError: a name that no file can have
            # Here, as `open_regular` would look for near names in the folder of each.
            if not os.path.isdir(self.root):
                raise BadOption(f"{self.root}: the folder of the images isn't there any more") from cause
            gone = "a link to a file that isn't there" if os.path.islink(path) else "no such file"
            raise ImageNotReadable(f"image {path}: {gone}") from FileNotFoundError(errno.ENOENT, gone, path)
        except OSError as cause:
            raise ImageNotReadable(f"image {path}: {cause.strerror}") from cause
        return path

    def _part(self, path: str, offset: int, size: int) -> bytes:
        with _reading(path) as file:
            file.seek(offset)
            data = file.read(size)
        if len(data) < size:
            raise ImageNotReadable(
                f"{os.path.basename(path)} ends {amount(size - len(data))} before the end of this image: download it again"
            )
        return data


@dataclass(frozen=True)
class Table:
    """Samples in the rows of a data set that Hugging Face's `datasets` saved: `12`, or `train/12` where it has splits."""

    root: str
    column: str
    kind: ClassVar[str] = "table"

    def about(self) -> dict[str, str]:
        """What `origin_of` makes the same origin of."""
        return {"kind": self.kind, "root": self.root, "column": self.column}

    def content(self, source: str, limit: int | None = None) -> Any:
        """The bytes of the image in a row, or the image."""
        from .saved import cell

        return cell(self, source)


@dataclass(frozen=True, eq=False)
class Memory:
    """Arrays, PIL images, bytes or photos of the caller's, by their numbers, which are the sources."""

    items: Mapping[int, Any]
    kind: ClassVar[str] = "memory"

    def about(self) -> dict[str, str]:
        """What `origin_of` says that it can't make again."""
        return {"kind": self.kind}

    def content(self, source: str, limit: int | None = None) -> Any:
        """The image of that number."""
        if int(source) not in self.items:
            raise not_there(f"image {source} isn't among those that are given")
        return self.items[int(source)]

    def only(self, sources: Iterable[str]) -> Memory:
        """An origin of some of them, which can be sent elsewhere without the others."""
        return Memory({number: self.items[number] for number in map(int, sources) if number in self.items})


Origin = Files | Table | Memory


def origin_of(about: dict[str, Any]) -> Origin:
    """The origin that `about` describes. Raises `BadOption` for images in memory, which are nowhere else.

    >>> origin_of(Files("/data/photos").about())
    Files(root='/data/photos')
    """
    kind = about.get("kind")
    if kind == Files.kind:
        return Files(about["root"])
    if kind == Table.kind:
        return Table(about["root"], about["column"])
    raise BadOption("images that were given as arrays or PIL images lie in no file: give them again")


def file_of(source: str) -> str:
    """The file that a source lies in: its own, a tar or a video.

    >>> file_of("cat/1.jpg"), file_of("x-000.tar@512+20480"), file_of("clip.mp4#30")
    ('cat/1.jpg', 'x-000.tar', 'clip.mp4')
    """
    if (member := MEMBER.fullmatch(source)) is not None:
        return member[1]
    frame = frame_of(source)
    return source if frame is None else frame[0]


def frame_of(source: str) -> tuple[str, int] | None:
    """The video and the number of the frame, where a source is one."""
    match = FRAME.fullmatch(source)
    return (match[1], int(match[2])) if match is not None and is_video(match[1]) else None


def not_there(text: str) -> ImageNotReadable:
    """The error that says that there is no such image, where no file system says it."""
    error = ImageNotReadable(text)
    error.__cause__ = FileNotFoundError(errno.ENOENT, text)
    return error


def is_missing(error: BaseException) -> bool:
    """Whether an error of reading says that there is no such file."""
    return isinstance(error.__cause__, NO_FILE)


def is_of_one_file(error: BaseException) -> bool:
    """Whether an error of reading is about this file alone, and not about the disk or the process."""
    cause = error.__cause__
    return (
        not isinstance(cause, OSError) or cause.errno is None or not 0 < cause.errno < 256 or cause.errno in OF_ONE_FILE
    )


def digest_of(content: Any) -> str:
    """The blake2b, in hex, of the bytes that were read; of a frame, an array or a PIL image, of its pixels."""
    if isinstance(content, bytes | bytearray | memoryview):
        return hashlib.blake2b(content, digest_size=16).hexdigest()
    if isinstance(content, Path):
        total = hashlib.blake2b(digest_size=16)
        with _reading(str(content)) as file:
            while part := file.read(PART):
                total.update(part)
        return total.hexdigest()
    photo = content if isinstance(content, Photo) else read_photo(content)
    return hashlib.blake2b(photo.digest.encode(), digest_size=16).hexdigest()


_LOCAL = threading.local()


def _opened_video(path: str) -> Video:
    """The video at `path`; each thread keeps the one that it read last, whose decoder goes on from frame to frame."""
    stat = os.stat(path)
    key = (path, stat.st_mtime_ns, stat.st_size)
    if getattr(_LOCAL, "key", None) != key:
        _LOCAL.video = Video(Path(path))
        _LOCAL.key = key
    video: Video = _LOCAL.video
    return video


def whole_file(path: str) -> bytes | Path:
    """The bytes of a file, or its path where it is too large to be read at once."""
    with _reading(path) as file:
        return file.read() if os.fstat(file.fileno()).st_size <= WHOLE else Path(path)


@contextmanager
def _reading(path: str) -> Iterator[BinaryIO]:
    """The file, open; what the system says while it is read is an `ImageNotReadable`, as it is of opening it."""
    with open_regular(path, what="image", error=ImageNotReadable) as file:
        try:
            yield file
        except OSError as cause:
            raise ImageNotReadable(f"image {path}: {cause.strerror}") from cause
