"""The image files of a path, a folder or a glob pattern."""

from __future__ import annotations

import glob
import os
import re
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import NoReturn

from ..errors import ImageNotReadable
from .arrays import is_arrays

# What counts as an image in a folder. HEIC and JPEG XL are here although Pillow needs a plugin for them: a folder of
# such files must be listed as skipped with the reason, not look empty.
SUFFIXES = (
    *(".jpg", ".jpeg", ".jpe", ".jfif", ".png", ".apng", ".gif", ".webp", ".bmp", ".dib", ".tif", ".tiff", ".avif"),
    *(".jp2", ".j2k", ".ppm", ".pgm", ".pbm", ".pnm", ".tga", ".ico", ".heic", ".heif", ".jxl"),
)
DIGITS = re.compile("[0-9]+")


def paths_of(name: str, *, arrays: bool = False) -> list[Path]:
    """The image files of a path, a folder or a pattern; of a folder that has none, or for `arrays`, those of arrays."""
    check_local(name)
    path = Path(os.path.expanduser(name))
    if os.path.isdir(path):
        return ([] if arrays else _in_folder(path, is_image)) or _in_folder(path, is_arrays) or _nothing_in(path)
    if os.path.exists(path) or not glob.has_magic(name):
        return [path]
    return [Path(match) for match in matches(path)]


def check_local(name: str) -> None:
    """Raises `ImageNotReadable` for the address of something in the network, and for no name at all."""
    if re.match(r"[a-z][a-z0-9+]+://", name, re.IGNORECASE):
        raise ImageNotReadable(f"{name}: nothing is fetched from the network; download the image and give its path")
    if not name:
        raise ImageNotReadable("an empty name is no image: give a path, or '.' for the current folder")


def matches(pattern: Path) -> list[str]:
    """The image files that match a pattern, in natural order; those of the suffix that it ends in, too."""
    suffixes = {*SUFFIXES, pattern.suffix.lower()}
    files = [match for match in _matches(pattern) if _suffix(match) in suffixes and os.path.isfile(match)]
    if not files:
        raise ImageNotReadable(
            f"{pattern}: no image file matches this pattern; the suffixes looked for are {' '.join(SUFFIXES)}"
        )
    return sorted(files, key=_order)


def _matches(pattern: Path) -> list[str]:
    """As `glob.glob(pattern, recursive=True)`, but `**` enters a folder once, however many links lead to it.

    A link to a folder above it would be followed forty deep, and two of them 2⁴⁰ times.
    """
    matches = [pattern.anchor]
    parts = pattern.parts[1:] if pattern.anchor else pattern.parts
    for part in (*parts, "*") if parts[-1:] == ("**",) else parts:
        if part == "**":
            seen: set[str] = set()
            matches = [below for match in matches for below in _folders_below(match, seen)]
        else:
            inside = [(match, name) for match in matches for name in glob.iglob(part, root_dir=match or None)]
            matches = list(dict.fromkeys(os.path.join(match, name) for match, name in inside))
    return matches


def _folders_below(folder: str, seen: set[str]) -> Iterator[str]:
    """The folder and those in it that aren't hidden, without those `seen` before."""
    for parent, names, _ in os.walk(folder or ".", followlinks=True):
        real = os.path.realpath(parent)
        if real in seen:
            names.clear()
            continue
        seen.add(real)
        names[:] = [name for name in names if not name.startswith(".")]
        names.sort(key=lambda name: (os.path.islink(os.path.join(parent, name)), name))
        yield parent if folder else parent[2:]  # without "./"


def _in_folder(folder: Path, wanted: Callable[[str], bool]) -> list[Path]:
    files: list[Path] = []
    for parent, folders, names in os.walk(folder):
        folders[:] = [name for name in folders if not name.startswith(".")]
        files += [Path(parent, name) for name in names if wanted(name) and not name.startswith(".")]
        if files and parent == str(folder):
            break
    return sorted(files, key=lambda path: _order(str(path)))


def _nothing_in(folder: Path) -> NoReturn:
    raise ImageNotReadable(
        f"{folder}: no image in this folder or its sub-folders; the suffixes looked for are {' '.join(SUFFIXES)}"
    )


def is_image(name: str) -> bool:
    """Whether a file of that name counts as an image in a folder."""
    return name.lower().endswith(SUFFIXES) and not name.startswith(".")


def _suffix(path: str) -> str:
    return os.path.splitext(path)[1].lower()


def _order(path: str) -> tuple[str, str]:
    return natural(path), path


def natural(name: str) -> str:
    """A sorting key in which numbers count as numbers: `img2` before `img10`.

    A number is its length and its digits, behind a sign that is less than all others of a name.

    >>> sorted(["img10", "Img2", "img02b"], key=natural)
    ['Img2', 'img02b', 'img10']
    """
    return DIGITS.sub(_number, name.lower())


def _number(match: re.Match[str]) -> str:
    digits = match[0].lstrip("0")
    return f"\x01{chr(len(digits))}{digits}"
