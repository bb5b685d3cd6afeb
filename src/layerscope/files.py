"""The one place that opens files for reading; frameworks open their own models themselves."""

from __future__ import annotations

import os
import stat
import zipfile
from collections.abc import Iterator
from contextlib import contextmanager
from itertools import islice
from pathlib import Path
from typing import BinaryIO

from .errors import BadOption, LayerscopeError, first_line, near
from .memory import amount, available_text, limit, short_of_memory

MOST_ENTRIES = 100_000  # of an archive
SIBLINGS = 1000  # of a folder, at most so many names are compared with one that isn't there


def open_regular(
    path: str | os.PathLike[str], *, what: str = "file", error: type[LayerscopeError] = BadOption
) -> BinaryIO:
    """The file at `path`, open for reading bytes; `what` says in messages what it should hold.

    Raises `error` where there is no such file (with near names), where it is a folder, a pipe or a device, and where it may
    not be read.
    """
    path = Path(path)
    try:
        file = open(path, "rb", opener=_without_waiting)  # noqa: SIM115 - the caller closes it
    except FileNotFoundError as cause:
        raise error(no_such_file(path, what)) from cause
    except (OSError, ValueError) as cause:  # ValueError: a zero byte in the name
        if os.path.isdir(path):
            raise error(f"{what} {path}: not a regular file, but a folder") from cause
        raise error(f"{what} {path}: {_reason(cause)}") from cause
    if not stat.S_ISREG(os.fstat(file.fileno()).st_mode):
        file.close()
        raise error(f"{what} {path}: not a regular file, but a pipe or device; save what comes out of it as a file")
    return file


def _without_waiting(path: str, flags: int) -> int:
    """Opening a pipe would wait for its other end, before anything can tell that it is one."""
    return os.open(path, flags | getattr(os, "O_NONBLOCK", 0))


@contextmanager
def parsing(path: str | os.PathLike[str], what: str, error: type[LayerscopeError] = BadOption) -> Iterator[None]:
    """Around a parser of the file at `path`: whatever it raises becomes an `error` that names the file and `what` it is not.

    >>> import json
    >>> from layerscope.errors import ModelNotReadable
    >>> with parsing("labels.json", "a JSON list", ModelNotReadable):
    ...     json.loads("[")
    Traceback (most recent call last):
    layerscope.errors.ModelNotReadable: labels.json can't be read as a JSON list: Expecting value: line 1 column 2 (char 1)

    Errors of layerscope and what ends the program pass. What a parser may raise has no end: struct errors, `KeyError`,
    `RecursionError`, panics of Rust, which are no `Exception`.
    """
    try:
        yield
    except LayerscopeError:
        raise
    except BaseException as cause:
        if not isinstance(cause, Exception) and type(cause).__name__ != "PanicException":
            raise
        short = "it needs more memory than there is" if short_of_memory(cause) else first_line(cause)
        raise error(f"{Path(path).name} can't be read as {what}: {short[:300]}") from cause


@contextmanager
def open_zip(
    path: str | os.PathLike[str], what: str, error: type[LayerscopeError] = BadOption
) -> Iterator[zipfile.ZipFile]:
    """The zip archive at `path`, open for reading, and whatever it raises as `parsing` does.

    Refused before anything is unpacked is one that says it would unpack to more than the memory there is.
    """
    with (
        open_regular(path, what=what, error=error) as file,
        parsing(path, what, error),
        zipfile.ZipFile(file) as archive,
    ):
        check_unpacked(archive, path, error)
        yield archive


def check_unpacked(archive: zipfile.ZipFile, path: str | os.PathLike[str], error: type[LayerscopeError]) -> None:
    """Raise `error` where an archive would unpack to more than the memory there is, or holds too many files."""
    entries = archive.infolist()
    unpacked, most = sum(entry.file_size for entry in entries), limit()
    if len(entries) > MOST_ENTRIES:
        raise error(f"{Path(path).name} holds {len(entries):,} files, and at most {MOST_ENTRIES:,} are read")
    if most is not None and unpacked > most:
        raise error(f"{Path(path).name} would unpack to {amount(unpacked)}, and {available_text(most)}")


def no_such_file(path: Path, what: str, advice: str = "") -> str:
    """The message for a file that isn't there, with near names from its folder at the end."""
    if os.path.islink(path):
        return f"{what} {path}: a link to {os.readlink(path)}, where there is no file"
    return f"{what} {path}: no such file{advice}{near(path.name, _siblings(path))}"


def read_bytes(
    path: str | os.PathLike[str],
    *,
    what: str = "file",
    error: type[LayerscopeError] = BadOption,
    most: int | None = None,
) -> bytes:
    """The bytes of the file at `path`; raises `error` as `open_regular` does, and where there are more than `most`."""
    with open_regular(path, what=what, error=error) as file:
        size = os.fstat(file.fileno()).st_size
        try:
            # Files of the kernel say that they have no bytes.
            data = b"" if most is not None and size > most else file.read(-1 if most is None else most + 1)
        except OSError as cause:
            raise error(f"{what} {path}: {_reason(cause)}") from cause
    if most is not None and max(size, len(data)) > most:
        raise error(f"{what} {path}: {amount(max(size, len(data)))} are more than the {amount(most)} that are read")
    return data


def _siblings(path: Path) -> list[str]:
    try:
        return [sibling.name for sibling in islice(path.parent.iterdir(), SIBLINGS)]
    except OSError:
        return []


def _reason(cause: Exception) -> str:
    return getattr(cause, "strerror", None) or str(cause)
