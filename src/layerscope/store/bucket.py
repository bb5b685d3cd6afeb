"""A store in an object store, reached through obstore."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from functools import cached_property
from typing import Any

from ..core.tables import library
from ..errors import BadOption
from .remote import Remote, short


@dataclass(frozen=True)
class Bucket(Remote):
    """A prefix of an object store: S3 and its like, Google Cloud, Azure, WebDAV.

    Keys, endpoint and region come from the environment, as obstore reads them (`AWS_ACCESS_KEY_ID`, `AWS_ENDPOINT_URL` …).
    """

    url: str

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
            raise BadOption(f"{self.url} can't be opened: {short(error)}") from error

    @contextmanager
    def _named_errors(self, what: str, name: str) -> Iterator[None]:
        """What the object store answers, as a `BadOption`; of what is read, `FileNotFoundError` passes."""
        try:
            yield
        except (OSError, self._library.exceptions.BaseError) as error:
            if what == "read" and isinstance(error, FileNotFoundError):
                raise
            raise BadOption(f"can't {what} {self.url}/{name}: {short(error)}") from error

    def get(self, name: str) -> bytes:
        with self._named_errors("read", name):
            return bytes(self._library.get(self._store, name).bytes())

    def get_range(self, name: str, start: int, length: int) -> bytes:
        with self._named_errors("read", name):
            return bytes(self._library.get_range(self._store, name, start=start, length=length)) if length else b""

    def put(self, name: str, data: bytes) -> None:
        with self._named_errors("write", name):
            self._library.put(self._store, name, data, use_multipart=False)

    def put_new(self, name: str, data: bytes) -> bool:
        with self._named_errors("write", name):
            try:
                self._library.put(self._store, name, data, mode="create", use_multipart=False)
            except self._library.exceptions.AlreadyExistsError:
                return False
        return True

    def sizes(self, prefix: str = "") -> dict[str, int]:
        with self._named_errors("list", prefix):
            listed = self._library.list(self._store, prefix or None)
            return dict(sorted((entry["path"], entry["size"]) for entries in listed for entry in entries))

    def modified(self, name: str) -> float:
        with self._named_errors("read", name):
            seconds: float = self._library.head(self._store, name)["last_modified"].timestamp()
            return seconds

    def delete(self, name: str) -> None:
        with self._named_errors("delete", name):
            try:
                self._library.delete(self._store, name)
            except FileNotFoundError:
                return

    def zarr(self) -> Any:
        from zarr.storage import ObjectStore

        return ObjectStore(self._store, read_only=True)

    def _version(self, name: str) -> Any:
        with self._named_errors("read", name):
            try:
                return self._library.head(self._store, name)["e_tag"]
            except FileNotFoundError:
                return None

    def _take_over(self, name: str, data: bytes, version: Any) -> bool:
        with self._named_errors("write", name):
            try:
                self._library.put(self._store, name, data, mode={"e_tag": version}, use_multipart=False)
            except (self._library.exceptions.PreconditionError, FileNotFoundError):
                return False
        return True
