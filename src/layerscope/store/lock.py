"""One scan of a store at a time: a lock that the system itself lets go of when its holder ends, however it ends."""

from __future__ import annotations

import json
import os
import socket
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import datetime, timezone
from pathlib import Path
from typing import Any

from ..errors import BadOption
from ..writing import lock_file

MOST = 4096  # bytes of a lock that are read


@contextmanager
def locked(path: Path, name: str) -> Iterator[None]:
    """Hold the lock in the file at `path`; raises `BadOption`, which names the other's host and process, where one does."""
    since = datetime.now(timezone.utc).isoformat(timespec="seconds")
    about = {"host": socket.gethostname(), "pid": os.getpid(), "since": since}
    with lock_file(path, json.dumps(about).encode()) as own:
        if not own:
            raise BadOption(
                f"{name} is being written by another scan{_holder(path)}",
                "wait until it has ended, or give another store",
            )
        yield


def _holder(path: Path) -> str:
    try:
        about: Any = json.loads(path.read_bytes()[:MOST])
        return f" (process {int(about['pid'])} on {about['host']}, since {about['since']})"
    except (OSError, ValueError, KeyError, TypeError):  # it is just about to say who it is
        return ""
