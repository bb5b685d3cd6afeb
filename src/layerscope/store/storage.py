"""Where a store lies: a folder of this machine, or a place with the same few verbs. Names are paths with `/`."""

from __future__ import annotations

import errno
import os
from abc import ABC, abstractmethod
from collections.abc import Iterator
from contextlib import AbstractContextManager, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from ..errors import BadOption
from ..files import open_regular
from ..writing import sweep, write_durably
from .lock import locked

LOCK = "lock"
FULL = (errno.ENOSPC, errno.EFBIG, getattr(errno, "EDQUOT", errno.ENOSPC))  # Windows has no quotas


class Storage(ABC):
    """What scans ask of a place. Whatever isn't there is a `FileNotFoundError`; `put` is whole or not at all, and lasting."""

    @abstractmethod
    def get(self, name: str) -> bytes: ...

    @abstractmethod
    def get_range(self, name: str, start: int, length: int) -> bytes: ...

    @abstractmethod
    def put(self, name: str, data: bytes) -> None: ...

    @abstractmethod
    def put_new(self, name: str, data: bytes) -> bool:
        """Write what isn't there yet; whether it wasn't."""

    @abstractmethod
    def sizes(self, prefix: str = "") -> dict[str, int]:
        """The names below a folder, sorted, with the bytes of each."""

    @abstractmethod
    def modified(self, name: str) -> float:
        """When it was last written, in seconds since 1970, by the clock of the place."""

    def has(self, name: str) -> bool:
        """Whether there is a file of that name."""
        try:
            self.modified(name)
        except (FileNotFoundError, NotADirectoryError):
            return False
        return True

    @abstractmethod
    def delete(self, name: str) -> None:
        """Remove it, where it is there."""

    @abstractmethod
    def sweep(self) -> int:
        """Remove what killed writers left unfinished; how many files that were."""

    @abstractmethod
    def locked(self) -> AbstractContextManager[None]:
        """Inside the block, no other scan writes to this place. Raises `BadOption` where one does already."""

    @abstractmethod
    def zarr(self) -> Any:
        """The place as zarr's own store, for reading."""


@dataclass(frozen=True)
class Folder(Storage):
    """A folder of this machine."""

    root: str

    def path(self, name: str) -> Path:
        return Path(self.root, *name.split("/"))

    def get(self, name: str) -> bytes:
        try:
            with open(self.path(name), "rb") as file:
                return file.read()
        except FileNotFoundError:
            raise
        except OSError as error:
            raise BadOption(f"{self.path(name)} can't be read: {error.strerror}") from error

    def get_range(self, name: str, start: int, length: int) -> bytes:
        with open_regular(self.path(name)) as file:
            file.seek(start)
            return file.read(length)

    def put(self, name: str, data: bytes) -> None:
        try:
            write_durably(self.path(name), data)
        except BadOption as error:
            if getattr(error.__cause__, "errno", None) not in FULL:
                raise
            raise BadOption(str(error), "make room, and the same scan goes on from here") from error.__cause__

    def put_new(self, name: str, data: bytes) -> bool:
        return write_durably(self.path(name), data, new=True)

    def sizes(self, prefix: str = "") -> dict[str, int]:
        return dict(sorted(_sizes(self.path(prefix) if prefix else Path(self.root), prefix)))

    def modified(self, name: str) -> float:
        return self.path(name).stat().st_mtime

    def delete(self, name: str) -> None:
        self.path(name).unlink(missing_ok=True)

    def sweep(self) -> int:
        return sweep(self.root)

    @contextmanager
    def locked(self) -> Iterator[None]:
        with locked(self.path(LOCK), self.root):
            yield

    def zarr(self) -> Any:
        from zarr.storage import LocalStore

        return LocalStore(self.root, read_only=True)

    def __str__(self) -> str:
        return self.root


def _sizes(folder: Path, prefix: str) -> Iterator[tuple[str, int]]:
    if not folder.is_dir():
        return
    for entry in os.scandir(folder):
        name = f"{prefix}/{entry.name}" if prefix else entry.name
        if entry.is_dir():
            yield from _sizes(Path(entry.path), name)
        elif not entry.name.startswith("."):
            yield name, entry.stat().st_size


def storage_of(where: Any) -> Storage:
    """The place that a caller means by a path.

    >>> storage_of("runs/cats")
    Folder(root='runs/cats')
    """
    if isinstance(where, Storage):
        return where
    if not isinstance(where, str | os.PathLike) or not os.fspath(where):
        raise BadOption(f"store={where!r}: give the folder or the URL that the store lies at, or is to be made at")
    if isinstance(where, str) and "://" in where:
        scheme, _, path = where.partition("://")
        if scheme.lower() != "file":
            from .remote import remote_storage

            return remote_storage(where)
        where = path
    folder = os.path.expanduser(os.fspath(where))
    if os.path.isfile(folder):
        raise BadOption(f"{folder} is a file, and a store is a folder")
    return Folder(folder)
