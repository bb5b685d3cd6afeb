"""The image files of folders and patterns, with the folder that each lies in as its class: quick for a million in one."""

from __future__ import annotations

import os
from collections.abc import Iterator, Sequence
from contextlib import contextmanager

from ...errors import ImageNotReadable
from ...inputs.paths import SUFFIXES, natural
from ...safe_text import counted
from .texts import Rows

SPLITS = {"train", "training", "val", "valid", "validation", "dev", "test", "testing"}


def in_folder(folder: str, labels: str | None) -> Rows:
    """The images of a folder, relative to it; where it has none, those of its sub-folders, each real folder once.

    Links to folders are followed, after all folders that are no links, so that a loop ends and a folder keeps its own name.
    """
    rows, folders = Rows(), [""]
    links: list[str] = []
    seen: set[tuple[int, int]] = set()
    while folders or links:
        if not folders:
            links.sort()
            folders.append(links.pop(0))
        below = folders.pop()
        status = os.stat(os.path.join(folder, below))
        if (status.st_dev, status.st_ino) in seen:
            continue
        seen.add((status.st_dev, status.st_ino))
        inside = _look_into(folder, below, rows)
        if not below and rows.sources:
            if any(inside):
                others = counted(sum(map(len, inside)), "sub-folder")
                rows.notes.append(
                    f"{folder} has images of its own, so those of its {others} are left out: give {folder}/**"
                )
            break
        folders += inside[0]
        links += inside[1]
    return in_order(rows, labels)


def _look_into(folder: str, below: str, rows: Rows) -> tuple[list[str], list[str]]:
    """Adds the images right in a folder to `rows`; its sub-folders that aren't hidden, and its links to folders."""
    folders: list[str] = []
    links: list[str] = []
    with _entries(os.path.join(folder, below)) as entries:
        for entry in entries:
            name = entry.name
            if name[0] == ".":
                continue
            if _is_folder(entry):
                (links if entry.is_symlink() else folders).append(f"{below}{name}/")
            elif name.lower().endswith(SUFFIXES):
                rows.sources.append(below + name)
                rows.sizes.append(_size(entry))
    return folders, links


@contextmanager
def _entries(folder: str) -> Iterator[Iterator[os.DirEntry[str]]]:
    try:
        with os.scandir(folder) as entries:
            yield entries
    except OSError as cause:  # a folder that is left out would be images without an outcome
        raise ImageNotReadable(f"folder {folder}: {cause.strerror}") from cause


def _is_folder(entry: os.DirEntry[str]) -> bool:
    try:
        return entry.is_dir()
    except OSError:  # a link that leads in a circle, or where nobody may look: reading it says so
        return False


def _size(entry: os.DirEntry[str]) -> int | None:
    try:
        return entry.stat().st_size
    except OSError:
        return None


def size_of(path: str) -> int | None:
    """The size of a file; `None` where there is none."""
    try:
        return os.stat(path).st_size
    except (OSError, ValueError):  # ValueError: a name that no file can have
        return None


def in_order(rows: Rows, labels: str | None) -> Rows:
    """The rows in natural order, and their classes."""
    keys = [f"{natural(name)}\0{name}" for name in rows.sources]
    order = sorted(range(len(keys)), key=keys.__getitem__)
    del keys
    sources = [rows.sources[number] for number in order]
    return Rows(sources, list(sources), [rows.sizes[number] for number in order], classes(sources, labels), rows.notes)


def classes(names: Sequence[str], labels: str | None) -> list[str | None]:
    """The classes of files by their folders: "auto" takes the first folder, or the one below `train`, `val` and such.

    >>> classes(["cat/1.jpg", "dog/old/2.jpg"], "auto"), classes(["train/cat/1.jpg", "val/dog/2.jpg"], "auto")
    (['cat', 'dog'], ['cat', 'dog'])
    >>> classes(["dog/old/2.jpg", "3.jpg"], "folder")
    ['old', None]
    """
    if labels is None:
        return [None] * len(names)
    if labels == "folder":
        return [os.path.basename(os.path.dirname(name)) or None for name in names]
    firsts = {name.partition("/")[0] for name in names if "/" in name}
    depth = 1 if firsts and {first.lower() for first in firsts} <= SPLITS else 0
    return [parts[depth] if len(parts := name.split("/", depth + 1)) > depth + 1 else None for name in names]
