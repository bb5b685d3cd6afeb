"""Which kind of data set is meant, and the rows of each; `listed` is behind `samples.list_samples`."""

from __future__ import annotations

import glob
import os
import re
import stat
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from ...errors import BadOption, ImageNotReadable
from ...files import no_such_file
from ...inputs.formats import is_video
from ...inputs.images import CONTAINERS, collect, is_stream
from ...inputs.paths import SUFFIXES, check_local, matches, natural
from ...inputs.video import Frame, Unread
from ...surface import by_surface
from .folders import classes, in_folder, in_order, size_of
from .lists import is_list, rows_of_list
from .origins import Files, Memory, Origin
from .saved import is_saved, saved_rows
from .tars import is_compressed, rows_of_tar
from .texts import Rows

BRACES = re.compile(r"\{([^{}]*)\}")
MOST_NAMES = 1_000_000  # that braces may stand for


@dataclass(frozen=True)
class Wanted:
    """What is asked of a data set beside its images: see `list_samples`."""

    labels: str | None
    column: str | None


def listed(source: Any, *, labels: str | None, column: str | None) -> tuple[Origin, Rows]:
    """The origin of a data set's samples, and their rows."""
    wanted = Wanted(labels, column)
    if isinstance(source, str | os.PathLike):
        return _one(os.path.expanduser(_text(source)), wanted)
    if isinstance(source, CONTAINERS) and source:
        items = list(source)
        if all(isinstance(item, Frame | Unread) for item in items):
            return _frames(items)
        if all(isinstance(item, str | os.PathLike) for item in items):
            return _several([os.path.expanduser(_text(item)) for item in items], wanted)
        if any(isinstance(item, Frame | Unread | str | os.PathLike) for item in items):
            raise BadOption("a data set is made of files, of frames of videos, or of arrays: give them separately")
    if is_stream(source):
        raise BadOption(
            f"a {type(source).__name__} gives its images once, and a data set is read again where it was interrupted: give a"
            " folder, a list of files, or list(...) of its images"
        )
    rows, sources = Rows(), collect(source)
    for number, image in enumerate(sources):
        rows.add(str(number), id=image.id)
    return Memory({number: image.item for number, image in enumerate(sources)}), rows


def _text(path: str | os.PathLike[str]) -> str:
    name = os.fspath(path)
    if not isinstance(name, str):
        raise BadOption(f"{path!r}: give a path as text")
    check_local(name)
    return name


def _one(name: str, wanted: Wanted) -> tuple[Origin, Rows]:
    """A single path, whose samples are named from its folder on."""
    if os.path.isdir(name):
        if is_saved(name):
            return saved_rows(name, wanted.labels, wanted.column)
        return _files(name, _of_folder(name, wanted))
    if os.path.exists(name):
        folder, base = os.path.split(name)
        return _files(folder, _of_names(folder, [base], wanted))
    names = list(expanded(name))
    if len(names) == 1 and not glob.has_magic(name):
        raise ImageNotReadable(no_such_file(Path(name), "data set"))
    folder = _folder_of(name)
    start = len(os.path.join(folder, ""))
    return _files(folder, _of_names(folder, [name[start:] for name in names], wanted))


def _several(names: list[str], wanted: Wanted) -> tuple[Origin, Rows]:
    """A list of paths, whose samples are named as they are given there."""
    return _files("", _of_names("", [part for name in names for part in expanded(name)], wanted))


def _files(folder: str, rows: Rows) -> tuple[Origin, Rows]:
    return Files(os.path.abspath(folder)), rows


def _of_names(folder: str, names: list[str], wanted: Wanted) -> Rows:
    """The samples of files, folders and patterns below a folder, in that order."""
    rows = Rows()
    for name in names:
        path = os.path.join(folder, name)
        try:
            status = os.stat(path)
        except (OSError, ValueError):  # ValueError: a name that no file can have
            if glob.has_magic(name):
                rows.extend(_matching(folder, name, wanted))
            else:
                rows.add(name, label=_own(name, wanted))  # its outcome says what is wrong
            continue
        if stat.S_ISDIR(status.st_mode):
            if is_saved(path):
                raise BadOption(f"{path}: a data set that was saved by `datasets` is given alone, not in a list")
            rows.extend(below(name, _of_folder(path, wanted)))
        else:
            _add_file(rows, folder, name, wanted=wanted, size=status.st_size)
    return rows


def _add_file(rows: Rows, folder: str, name: str, *, wanted: Wanted, size: int) -> None:
    """Adds what one file holds: an image, or the images of a list or a tar."""
    path, start = os.path.join(folder, name), name.lower()
    if start.endswith(".tar"):
        rows.extend(rows_of_tar(folder, name, wanted.labels, wanted.column))
    elif is_compressed(start):
        raise BadOption(
            f"{path}: images are read from where they lie in a tar, and this one is compressed: unpack it to a .tar"
        )
    elif is_list(start):
        rows.extend(below(os.path.dirname(name), rows_of_list(path, wanted.labels, wanted.column)))
    elif is_video(start):
        raise ImageNotReadable(
            f"{path}: a video: give "
            + by_surface(f"ls.video({name!r}, fps=1), or frames=[0, 30]", "--frames 0,30,60 or --fps 1")
        )
    else:
        rows.add(name, size=size, label=_own(name, wanted))


def _own(name: str, wanted: Wanted) -> str | None:
    return classes([name], "folder")[0] if wanted.labels == "folder" else None


def _matching(folder: str, pattern: str, wanted: Wanted) -> Rows:
    """What a pattern finds below a folder; images have their classes from the part of it that isn't fixed."""
    start = len(os.path.join(folder, ""))
    names = [path[start:] for path in matches(Path(folder, pattern))]
    if any(name.lower().endswith(".tar") for name in names):
        return _of_names(folder, names, wanted)
    fixed = os.path.join(_folder_of(pattern), "")
    rows = Rows()
    for name in names:
        rows.add(name[len(fixed) :].replace(os.sep, "/"), size=size_of(os.path.join(folder, name)))
    return below(fixed, in_order(rows, wanted.labels))


def _of_folder(folder: str, wanted: Wanted) -> Rows:
    """The images of a folder and of those in it; else its tars."""
    rows = in_folder(folder, wanted.labels)
    if not rows.sources:
        tars = sorted((name for name in os.listdir(folder) if name.lower().endswith(".tar")), key=natural)
        if not tars:
            raise ImageNotReadable(
                f"{folder}: no image in this folder or its sub-folders, and no .tar; the suffixes looked for are"
                f" {' '.join(SUFFIXES)}"
            )
        return _of_names(folder, tars, wanted)
    return rows


def below(folder: str, rows: Rows) -> Rows:
    """Rows as seen from further up; absolute sources stay."""
    if folder:
        rows.sources = [os.path.join(folder, source) for source in rows.sources]
        rows.ids = [os.path.join(folder, id) for id in rows.ids]
    return rows


def expanded(name: str) -> Iterator[str]:
    """What braces stand for: numbers with as many digits as given, or words; a file that has them in its name is itself.

    >>> list(expanded("x-{08..10}.tar")), list(expanded("{cat,dog}/1.jpg"))
    (['x-08.tar', 'x-09.tar', 'x-10.tar'], ['cat/1.jpg', 'dog/1.jpg'])
    """
    match = BRACES.search(name)
    if match is None or os.path.exists(name):
        yield name
        return
    for part in _parts(name, match[1]):
        yield from expanded(name[: match.start()] + part + name[match.end() :])


def _parts(name: str, inside: str) -> list[str]:
    span = re.fullmatch(r"(\d+)\.\.(\d+)", inside)
    if span is None:
        if "," not in inside:
            raise BadOption(
                f"{name}: no such file, and {{{inside}}} stands for nothing: give {{000..123}} or {{cat,dog}}"
            )
        return inside.split(",")
    first, last = int(span[1]), int(span[2])
    if not first <= last < first + MOST_NAMES:
        raise BadOption(
            f"{name}: {{{inside}}} counts from the lower to the higher number, up to {MOST_NAMES:,} of them"
        )
    return [str(number).zfill(len(span[1])) for number in range(first, last + 1)]


def _folder_of(pattern: str) -> str:
    """The folder that a pattern begins with, before anything in it that stands for several."""
    parts = pattern.split("/")
    fixed = next((at for at, part in enumerate(parts) if glob.has_magic(part) or "{" in part), len(parts) - 1)
    return "/".join(parts[:fixed]) or ("/" if pattern.startswith("/") else "")


def _frames(images: list[Any]) -> tuple[Origin, Rows]:
    """Frames of videos, as `ls.video` names them: of one video from its folder on, of several by the paths that were given."""
    rows = Rows()
    paths = {image.item.path for image in images if isinstance(image, Frame)}
    folder = str(min(paths).parent) if len(paths) == 1 else ""
    for image in images:
        if isinstance(image, Unread):
            rows.add(image.id)  # its outcome says what is wrong
        else:
            rows.add(f"{image.item.path.name if folder else image.item.path}#{image.number}")
    return _files(folder, rows)
