"""Stores in places that are reached by a URL: object stores through obstore, what else fsspec knows through fsspec."""

from __future__ import annotations

import json
import os
import secrets
import socket
import threading
import time
from abc import abstractmethod
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from functools import cached_property
from typing import Any

from ..core.tables import library
from ..errors import BadOption, LibraryMissing, one_line
from .storage import Storage

LOCK = "lock"
BEAT = 10.0  # seconds after which the holder of a lock says that it is still there
STALE = 3 * BEAT  # without a word for so long, a holder is gone
THROUGH_OBSTORE = ("s3", "s3a", "gs", "az", "adl", "azure", "abfs", "abfss", "http", "https")


def remote_storage(url: str) -> Storage:
    """The place of a URL. Raises `LibraryMissing` and, for a URL that no library knows, `BadOption`."""
    scheme = url.partition("://")[0].lower()
    return Bucket(url.rstrip("/")) if scheme in THROUGH_OBSTORE else FileSystem(url.rstrip("/"))


class Remote(Storage):
    """What places reached by a URL have in common: names below the URL, and a lock that its holder renews."""

    url: str

    @abstractmethod
    def _version(self, name: str) -> Any:
        """What is another whenever a file is written; `None` where it isn't there."""

    @abstractmethod
    def _take_over(self, name: str, data: bytes, version: Any) -> bool:
        """Write over a file that still has this version; whether it had."""

    @contextmanager
    def locked(self) -> Iterator[None]:
        about = {"host": socket.gethostname(), "pid": os.getpid(), "token": secrets.token_hex(8)}
        held = json.dumps(about).encode()
        if not self.put_new(LOCK, held):
            self._wait_for_silence(held)
        ended, lost = threading.Event(), threading.Event()

        def renew() -> None:
            for number in range(1 << 30):
                if ended.wait(BEAT):
                    return
                try:
                    if json.loads(self.get(LOCK))["token"] != about["token"]:
                        lost.set()
                        return
                    self.put(LOCK, json.dumps({**about, "beat": number}).encode())
                except (BadOption, OSError, ValueError, KeyError):
                    continue  # the place can't be reached just now; scanning itself says so

        beat = threading.Thread(target=renew, name="layerscope-lock", daemon=True)
        beat.start()
        try:
            yield
        finally:
            ended.set()
            beat.join()
            if not lost.is_set():
                self.delete(LOCK)

    def _wait_for_silence(self, held: bytes) -> None:
        """Take the lock of a holder that says nothing more; raises `BadOption` where one is still at work."""
        before, start = self._version(LOCK), time.monotonic()
        while time.monotonic() - start < STALE:
            time.sleep(BEAT / 10)
            now = self._version(LOCK)
            if now is None and self.put_new(LOCK, held):
                return
            if now != before:
                self._refuse()
        if not self._take_over(LOCK, held, before):
            self._refuse()

    def _refuse(self) -> None:
        try:
            about = json.loads(self.get(LOCK))
            holder = f" (process {about['pid']} on {about['host']})"
        except (OSError, ValueError, KeyError):
            holder = ""
        raise BadOption(
            f"{self.url} is being written by another scan{holder}", "wait until it has ended, or give another store"
        )

    def sweep(self) -> int:
        return 0  # what isn't whole was never put

    def __str__(self) -> str:
        return self.url


@dataclass(frozen=True)
class Bucket(Remote):
    """A prefix of an object store: S3 and its like, Google Cloud, Azure, WebDAV.

    Keys, endpoint and region come from the environment, as obstore reads them (`AWS_ACCESS_KEY_ID`, `AWS_ENDPOINT_URL` …).
    """

    url: str

    def __getstate__(self) -> dict[str, Any]:
        return {"url": self.url}  # connections don't travel

    def __setstate__(self, state: dict[str, Any]) -> None:
        object.__setattr__(self, "url", state["url"])

    @cached_property
    def _library(self) -> Any:
        return library("obstore", f"a store at {self.url}", "; layerscope[store] has it")

    @cached_property
    def _store(self) -> Any:
        from importlib import import_module

        self._library  # noqa: B018 - raises `LibraryMissing`
        try:
            return import_module("obstore.store").from_url(self.url)
        except Exception as error:  # obstore's own errors have no common parent with a name
            raise BadOption(f"{self.url} can't be opened: {_short(error)}") from error

    @contextmanager
    def _said(self, what: str, name: str) -> Iterator[None]:
        """What the object store answers, as a `BadOption`; of what is read, `FileNotFoundError` passes."""
        try:
            yield
        except (OSError, self._library.exceptions.BaseError) as error:
            if what == "read" and isinstance(error, FileNotFoundError):
                raise
            raise BadOption(f"can't {what} {self.url}/{name}: {_short(error)}") from error

    def get(self, name: str) -> bytes:
        with self._said("read", name):
            return bytes(self._library.get(self._store, name).bytes())

    def get_range(self, name: str, start: int, length: int) -> bytes:
        with self._said("read", name):
            return bytes(self._library.get_range(self._store, name, start=start, length=length)) if length else b""

    def put(self, name: str, data: bytes) -> None:
        with self._said("write", name):
            self._library.put(self._store, name, data, use_multipart=False)

    def put_new(self, name: str, data: bytes) -> bool:
        with self._said("write", name):
            try:
                self._library.put(self._store, name, data, mode="create", use_multipart=False)
            except self._library.exceptions.AlreadyExistsError:
                return False
        return True

    def sizes(self, prefix: str = "") -> dict[str, int]:
        with self._said("list", prefix):
            listed = self._library.list(self._store, prefix or None)
            return dict(sorted((entry["path"], entry["size"]) for entries in listed for entry in entries))

    def modified(self, name: str) -> float:
        with self._said("read", name):
            seconds: float = self._library.head(self._store, name)["last_modified"].timestamp()
            return seconds

    def delete(self, name: str) -> None:
        with self._said("delete", name):
            try:
                self._library.delete(self._store, name)
            except FileNotFoundError:
                return

    def zarr(self) -> Any:
        from zarr.storage import ObjectStore

        return ObjectStore(self._store, read_only=True)

    def _version(self, name: str) -> Any:
        with self._said("read", name):
            try:
                return self._library.head(self._store, name)["e_tag"]
            except FileNotFoundError:
                return None

    def _take_over(self, name: str, data: bytes, version: Any) -> bool:
        with self._said("write", name):
            try:
                self._library.put(self._store, name, data, mode={"e_tag": version}, use_multipart=False)
            except (self._library.exceptions.PreconditionError, FileNotFoundError):
                return False
        return True


@dataclass(frozen=True)
class FileSystem(Remote):
    """A place that fsspec knows. Files are written under another name and moved, where that isn't an object store.

    Two scans that begin at the same instant are told apart only where the place lists what was just written.
    """

    url: str

    def __getstate__(self) -> dict[str, Any]:
        return {"url": self.url}

    def __setstate__(self, state: dict[str, Any]) -> None:
        object.__setattr__(self, "url", state["url"])

    @cached_property
    def _place(self) -> tuple[Any, str]:
        """fsspec's file system, and the path in it."""
        fsspec = library("fsspec", f"a store at {self.url}", "; folders and s3:// need none")
        try:
            system, root = fsspec.core.url_to_fs(self.url)
        except ImportError as error:
            raise LibraryMissing(f"a store at {self.url} needs a library that fsspec names: {_short(error)}") from error
        except Exception as error:  # whatever fsspec's many systems raise
            raise BadOption(f"{self.url} can't be opened: {_short(error)}") from error
        return system, root.rstrip("/")

    @contextmanager
    def _said(self, what: str, name: str) -> Iterator[tuple[Any, str]]:
        system, root = self._place
        try:
            yield system, f"{root}/{name}" if name else root
        except FileNotFoundError:
            raise
        except OSError as error:
            raise BadOption(f"can't {what} {self.url}/{name}: {_short(error)}") from error

    def get(self, name: str) -> bytes:
        with self._said("read", name) as (system, path):
            return bytes(system.cat_file(path))

    def get_range(self, name: str, start: int, length: int) -> bytes:
        with self._said("read", name) as (system, path):
            return bytes(system.cat_file(path, start=start, end=start + length)) if length else b""

    def put(self, name: str, data: bytes) -> None:
        with self._said("write", name) as (system, path):
            folder, _, plain = path.rpartition("/")
            system.makedirs(folder, exist_ok=True)
            unfinished = f"{folder}/.{plain}.{secrets.token_hex(4)}.part"
            system.pipe_file(unfinished, data)
            system.mv(unfinished, path)

    def put_new(self, name: str, data: bytes) -> bool:
        with self._said("write", name) as (system, path):
            if system.exists(path):
                return False
        self.put(name, data)
        return self.get(name) == data

    def sizes(self, prefix: str = "") -> dict[str, int]:
        _, root = self._place
        with self._said("list", prefix) as (system, path):
            system.invalidate_cache()
            if not system.exists(path):
                return {}
            found = system.find(path, detail=True)
            names = ((name[len(root) :].lstrip("/"), int(entry["size"])) for name, entry in found.items())
            return dict(sorted((name, size) for name, size in names if not name.rpartition("/")[2].startswith(".")))

    def modified(self, name: str) -> float:
        with self._said("read", name) as (system, path):
            seconds: float = system.modified(path).timestamp()
            return seconds

    def delete(self, name: str) -> None:
        with self._said("delete", name) as (system, path):
            if system.exists(path):
                system.rm_file(path)

    def sweep(self) -> int:
        with self._said("list", "") as (system, path):
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


def _short(error: BaseException) -> str:
    """The first line of what a library says, which may go on for pages, without what the server sent."""
    return one_line(error).partition(": <?xml")[0][:300]
