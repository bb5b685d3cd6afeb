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
from typing import Any

from ..errors import BadOption, one_line
from .storage import LOCK, Storage

BEAT = 10.0  # seconds after which the holder of a lock says that it is still there
STALE = 3 * BEAT  # without a word for so long, a holder is gone
THROUGH_OBSTORE = ("s3", "s3a", "gs", "az", "adl", "azure", "abfs", "abfss", "http", "https")


def remote_storage(url: str) -> Storage:
    """The place of a URL. Raises `LibraryMissing` and, for a URL that no library knows, `BadOption`."""
    from .bucket import Bucket
    from .filesystem import FileSystem

    scheme = url.partition("://")[0].lower()
    return Bucket(url.rstrip("/")) if scheme in THROUGH_OBSTORE else FileSystem(url.rstrip("/"))


class Remote(Storage):
    """What places reached by a URL have in common: names below the URL, and a lock that its holder renews."""

    url: str

    def __getstate__(self) -> dict[str, Any]:
        return {"url": self.url}  # connections don't travel

    def __setstate__(self, state: dict[str, Any]) -> None:
        object.__setattr__(self, "url", state["url"])

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


def short(error: BaseException) -> str:
    """The first line of what a library says, which may go on for pages, without what the server sent."""
    return one_line(error).partition(": <?xml")[0][:300]
