"""What a hostile file would do, and whether it did: a file that must not appear, a secret that must not be read.

Beside the files, Python's own audit events are watched, which no wrapper around a library can hide: sockets (names that are
looked up included), questions on the terminal, other programs.
"""

from __future__ import annotations

import contextlib
import json
import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np

from helpers import wording
from layerscope.errors import TrustRequired

SECRET = 987654.0  # the only value of the secret, whatever its format
FORBIDDEN = (
    "socket.connect", "socket.bind", "socket.sendto", "socket.sendmsg", "socket.getaddrinfo", "socket.gethostbyname",
    "socket.gethostbyaddr", "socket.getnameinfo", "builtins.input", "subprocess.Popen", "os.system", "os.exec",
    "os.posix_spawn", "os.spawn",
)  # fmt: skip
LOCAL = 1  # socket.AF_UNIX

_watches: list[Watch] = []


class Watch:
    """The forbidden audit events between `__enter__` and `__exit__`, which fails where there was one."""

    installed = False

    def __init__(self) -> None:
        self.events: list[str] = []

    def __enter__(self) -> Watch:
        if not Watch.installed:  # an audit hook can't be taken back
            sys.addaudithook(_heard)
            Watch.installed = True
        _watches.append(self)
        return self

    def __exit__(self, *error: object) -> None:
        _watches.remove(self)
        assert not self.events, f"forbidden: {self.events}"


def _heard(event: str, arguments: tuple[Any, ...]) -> None:
    if _watches and event in FORBIDDEN and getattr(arguments[0] if arguments else None, "family", None) != LOCAL:
        for watch in _watches:
            watch.events.append(f"{event} {arguments!r:.200}")
        raise PermissionError(f"{event} is forbidden in this test")


class Touch:
    """An object that makes a folder when it is unpickled."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def __reduce__(self) -> tuple[Any, ...]:
        return os.mkdir, (str(self.path),)


class Canary:
    """`path` must not appear; `secret` (a folder with `numbers.npy` and what a test adds) must not be read."""

    def __init__(self, folder: Path) -> None:
        self.path = folder / "canary" / "sang"
        self.path.parent.mkdir()
        self.secret = folder / "secret"
        self.secret.mkdir()
        np.save(self.secret / "numbers.npy", np.full(8, SECRET, np.float32))

    @property
    def sings(self) -> bool:
        """Whether the code of a file ran."""
        return any(self.path.parent.iterdir())

    @property
    def code(self) -> str:
        """Python that makes the file: one expression without line breaks, which says where at its end."""
        return f"__import__('pathlib').Path.touch(__import__('pathlib').Path({str(self.path)!r}))"

    def pickled(self) -> Touch:
        """An object that makes it, as a folder, when it is unpickled."""
        return Touch(self.path)

    def hush(self) -> None:
        """Forget that it sang."""
        for path in self.path.parent.iterdir():
            path.rmdir() if path.is_dir() else path.unlink()

    @contextlib.contextmanager
    def refused(self, error: type[Exception] = TrustRequired, *data: Any) -> Iterator[None]:
        """An error of this class is raised with these words in it, no code ran, no socket was opened, nothing was asked."""
        with wording.raises(error, *data), Watch():
            yield
        assert not self.sings, "code from the file ran"

    @contextlib.contextmanager
    def sung(self) -> Iterator[None]:
        """Code from the file runs, so that the test knows its attack is one; whatever the loader says afterwards is let go."""
        with contextlib.suppress(Exception):
            yield
        assert self.sings, "the attack isn't one: nothing ran although the file was trusted"
        self.hush()


PRELUDE = """
import json, sys
sys.path[:0] = {path!r}
from helpers import canary
with canary.Watch() as watch:
    try:
        exec({script!r})
    except Exception as error:
        said = f"{{type(error).__name__}}: {{error}}"
    else:
        said = ""
    events, watch.events = watch.events, []
print("\\n" + json.dumps({{"said": said, "events": events}}))
"""


def run(
    script: str, env: dict[str, str] | None = None, answer: str = "y\n", seconds: float = 120
) -> tuple[str, list[str]]:
    """(the error that a script ends with or `""`, the forbidden events) of a process whose stdin answers "y" to everything."""
    path = [str(Path(__file__).parents[1]), str(Path(__file__).parents[2] / "src")]
    done = subprocess.run(
        [sys.executable, "-c", PRELUDE.format(path=path, script=script)],
        input=answer * 20,
        capture_output=True,
        text=True,
        timeout=seconds,
        env={**os.environ, **(env or {})},
    )
    assert done.returncode == 0, done.stderr
    last = json.loads(done.stdout.splitlines()[-1])
    return last["said"], last["events"]
