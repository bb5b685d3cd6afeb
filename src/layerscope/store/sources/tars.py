"""Images in WebDataset tars: found by their headers once, then read from where they lie, without unpacking."""

from __future__ import annotations

import json
import os
import re
import tarfile
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any, BinaryIO

from ...errors import BadOption
from ...files import open_regular
from ...inputs.paths import SUFFIXES
from ...safe_text import counted
from ...surface import option
from .lists import LABELS, label_text
from .texts import Rows

KEY = re.compile(r"(?s)((?:.*/)?[^./][^./]*)\.([^/]*)")  # of WebDataset: what comes before the first dot of a name
COMPRESSED = (".tar.gz", ".tgz", ".tar.zst", ".tar.xz", ".tar.bz2", ".tar.lz4")
FIELDS = (*LABELS, "class_name", "label_name", "cls")  # of a `.json`
MOST = 1 << 20  # bytes of a label
END = bytes(512)


@dataclass
class Group:
    """What a tar holds under one key: by suffix the name, the offset and the size of each file."""

    key: str
    parts: dict[str, tuple[str, int, int]] = field(default_factory=dict)


def is_compressed(name: str) -> bool:
    """Whether a file is a tar that would have to be unpacked to find anything in it, by its name."""
    return name.lower().endswith(COMPRESSED)


def rows_of_tar(folder: str, name: str, labels: str | None, column: str | None) -> Rows:
    """The images of one tar, as `name@offset+size`. Raises `BadOption` for one that is damaged or cut off."""
    rows, several, without, unread = Rows(), set[str](), 0, 0
    path = os.path.join(folder, name)
    with open_regular(path, what="tar") as file:
        for group in _groups(file, path):
            images = _images(group, column)
            if not images:
                without += 1
                continue
            if len(images) > 1:
                several.update(images)
            member, offset, size = group.parts[images[0]]
            try:
                label = _label(file, group, labels)
            except ValueError:
                label, unread = None, unread + 1
            rows.add(f"{name}@{offset}+{size}", id=f"{name}/{member}", size=size, label=label)
    if not rows.sources:
        wanted = f" of {option('column', column)}" if column else ""
        raise BadOption(f"{path}: a tar without an image{wanted}; the suffixes looked for are {' '.join(SUFFIXES)}")
    if several:
        rows.notes.append(
            f"{name} has several images under one key ({', '.join(sorted(several))}), of which the first is taken:"
            f" {option('column')} chooses another"
        )
    if without:
        rows.notes.append(f"{name} has {counted(without, 'key')} without an image, left out")
    if unread:
        rows.notes.append(f"{name}: {counted(unread, 'label')} can't be read")
    return rows


def _images(group: Group, column: str | None) -> list[str]:
    """The suffixes of a group's images, plain ones before such as `seg.png`."""
    if column is not None:
        return [suffix for suffix in group.parts if suffix == column.lower().removeprefix(".")]
    return sorted(
        (suffix for suffix in group.parts if f".{suffix}".endswith(SUFFIXES)), key=lambda suffix: "." in suffix
    )


def _groups(file: BinaryIO, path: str) -> Iterator[Group]:
    """The files of a tar that lie together under one key."""
    group = Group("")
    for member in _members(file, path):
        name = member.name.removeprefix("./")
        match = KEY.fullmatch(name)
        if match is None:  # a hidden file, or one without a suffix
            continue
        if match[1] != group.key or match[2].lower() in group.parts:
            if group.parts:
                yield group
            group = Group(match[1])
        group.parts[match[2].lower()] = (name, member.offset_data, member.size)
    if group.parts:
        yield group


def _members(file: BinaryIO, path: str) -> Iterator[tarfile.TarInfo]:
    """The files in a tar, up to its proper end: `tarfile` takes a damaged header after the first for the end."""
    count = 0
    try:
        with tarfile.open(fileobj=file, mode="r:", encoding="utf-8", errors="surrogateescape") as tar:
            while (member := tar.next()) is not None:
                tar.members.clear()  # type: ignore[attr-defined] # else it keeps all of them
                if member.isfile():
                    if member.issparse():
                        raise BadOption(
                            f"{path}: {member.name} is stored with holes (sparse), and can't be read in place"
                        )
                    count += 1
                    yield member
            end = tar.offset
    except tarfile.TarError as cause:
        raise BadOption(
            f"{path}: damaged or cut off after {counted(count, 'file')} ({cause}): download it again"
        ) from cause
    file.seek(end)
    mark = file.read(512)
    if mark != END:
        what = "cut off" if len(mark) < 512 else "damaged"
        raise BadOption(f"{path}: {what} after {counted(count, 'file')}, at byte {end:,}: download it again")
    while part := file.read(1 << 20):
        if part.strip(b"\0"):
            raise BadOption(
                f"{path}: holds more behind its end, as tars that were joined by `cat`: join them by `tar -A`"
            )


def _label(file: BinaryIO, group: Group, labels: str | None) -> str | None:
    """The label of a group: its `.cls`, a field of its `.json`, the folder, or what the user named. Raises `ValueError`."""
    if labels is None:
        return None
    if labels == "folder":
        return label_text(os.path.basename(os.path.dirname(group.key)))
    suffix = "cls" if labels == "auto" else labels.lower().removeprefix(".")
    if suffix in group.parts:
        return label_text(_data(file, group.parts[suffix]).decode("utf-8"))
    if "json" not in group.parts:
        return None
    about: Any = json.loads(_data(file, group.parts["json"]))
    if not isinstance(about, dict):
        return None
    names = FIELDS if labels == "auto" else (labels,)
    found = [about[name] for name in names if isinstance(about.get(name), str | int)]
    return label_text(found[0]) if found else None


def _data(file: BinaryIO, part: tuple[str, int, int]) -> bytes:
    _, offset, size = part
    file.seek(offset)
    return file.read(min(size, MOST))
