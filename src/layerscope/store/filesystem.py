"""A store in any other place that fsspec knows."""

from __future__ import annotations

import secrets
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from functools import cached_property
from typing import Any

from ..core.tables import library
from ..errors import BadOption, LibraryMissing
from .remote import Remote, short


@dataclass(frozen=True)
class FileSystem(Remote):
    """A place that fsspec knows. Files are written under another name and moved, where that isn't an object store.

    Two scans that begin at the same instant are told apart only where the place lists what was just written.
    """

    url: str

    @cached_property
    def _place(self) -> tuple[Any, str]:
        """fsspec's file system, and the path in it."""
        fsspec = library("fsspec", f"a store at {self.url}", "; folders and s3:// need none")
        try:
            system, root = fsspec.core.url_to_fs(self.url)
        except ImportError as error:
            raise LibraryMissing(f"a store at {self.url} needs a library that fsspec names: {short(error)}") from error
        except Exception as error:  # whatever fsspec's many systems raise
            raise BadOption(f"{self.url} can't be opened: {short(error)}") from error
        return system, root.rstrip("/")

    @contextmanager
    def _named_errors(self, what: str, name: str) -> Iterator[tuple[Any, str]]:
        system, root = self._place
        try:
            yield system, f"{root}/{name}" if name else root
        except FileNotFoundError:
            raise
        except OSError as error:
            raise BadOption(f"can't {what} {self.url}/{name}: {short(error)}") from error

    def get(self, name: str) -> bytes:
        with self._named_errors("read", name) as (system, path):
            return bytes(system.cat_file(path))

    def get_range(self, name: str, start: int, length: int) -> bytes:
        with self._named_errors("read", name) as (system, path):
            return bytes(system.cat_file(path, start=start, end=start + length)) if length else b""

    def put(self, name: str, data: bytes) -> None:
        with self._named_errors("write", name) as (system, path):
            folder, _, plain = path.rpartition("/")
            system.makedirs(folder, exist_ok=True)
            unfinished = f"{folder}/.{plain}.{secrets.token_hex(4)}.part"
            system.pipe_file(unfinished, data)
            system.mv(unfinished, path)

    def put_new(self, name: str, data: bytes) -> bool:
        with self._named_errors("write", name) as (system, path):
            if system.exists(path):
                return False
        self.put(name, data)
        return self.get(name) == data

    def sizes(self, prefix: str = "") -> dict[str, int]:
        _, root = self._place
        with self._named_errors("list", prefix) as (system, path):
            system.invalidate_cache()
            if not system.exists(path):
                return {}
            found = system.find(path, detail=True)
            names = ((name[len(root) :].lstrip("/"), int(entry["size"])) for name, entry in found.items())
            return dict(sorted((name, size) for name, size in names if not name.rpartition("/")[2].startswith(".")))

    def modified(self, name: str) -> float:
        with self._named_errors("read", name) as (system, path):
            seconds: float = system.modified(path).timestamp()
            return seconds

    def delete(self, name: str) -> None:
        with self._named_errors("delete", name) as (system, path):
            if system.exists(path):
                system.rm_file(path)

    def sweep(self) -> int:
        with self._named_errors("list", "") as (system, path):
            found = system.find(path) if system.exists(path) else []
            left = [name for name in found if name.endswith(".part") and name.rpartition("/")[2].startswith(".")]
            for name in left:
                system.rm_file(name)
            return len(left)

    def zarr(self) -> Any:
        from zarr.storage import FsspecStore

        return FsspecStore.from_url(self.url, read_only=True)

    def _version(self, name: str) -> Any:
        try:
            return self.get(name)
        except FileNotFoundError:
            return None

    def _take_over(self, name: str, data: bytes, version: Any) -> bool:
        if self._version(name) != version:
            return False
        self.put(name, data)
        return self.get(name) == data
