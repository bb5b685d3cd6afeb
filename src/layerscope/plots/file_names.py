"""The names of the files of a job: one for each image and each layer, never the same for two, and never that of an input."""

from __future__ import annotations

import hashlib
import mimetypes
import os
import re
import unicodedata
from collections.abc import Hashable, Iterable
from pathlib import Path
from typing import Any

from ..errors import BadOption, near
from ..inputs.images import collect
from ..inputs.paths import is_image
from ..writing import make_folder

PICTURES = (".png", ".svg", ".pdf", ".jpg", ".jpeg", ".webp", ".tif", ".tiff", ".bmp", ".gif")
NUMBERS = (".npz", ".npy", ".csv")
LONGEST = 255  # bytes of a name, on all common file systems
ROW = re.compile(r"(.+)( row \d+)", re.DOTALL)  # of an image: the id of what is no image itself
FRAME = re.compile(r"(.+#)(\d+)", re.DOTALL)  # of a video
RESERVED = re.compile(r"(con|prn|aux|nul|(com|lpt)[0-9¹²³])(\.|$)", re.IGNORECASE)  # by Windows, with any suffix


class Paths:
    """Paths to write to: none for two owners, none that is one of `inputs`, by whatever name or link, and none of a folder."""

    def __init__(self, inputs: Iterable[str | os.PathLike[str]] = ()) -> None:
        self._inputs = {identity for path in inputs if (identity := _identity(path))}
        self._owners: dict[str, Hashable] = {}

    def is_input(self, path: str | os.PathLike[str]) -> bool:
        """Whether there is a file at `path` that is one of the inputs."""
        return _identity(path) in self._inputs

    def hold(self, path: Path) -> None:
        """Keep a file that is there: nobody gets its path."""
        self._owners.setdefault(_folded(os.path.realpath(path)), path)

    def free(self, folder: Path, stem: str, suffix: str, owner: Hashable) -> Path:
        """The path of `owner` in `folder`: numbered where that is taken, shortened where it is too long."""
        first, number = f"_{stem}" if RESERVED.match(stem) else stem, 1
        while True:
            name = _fitting(f"{first}-{number}" if number > 1 else first, LONGEST - len(os.fsencode(suffix)))
            path = folder / f"{name}{suffix}"
            blocked = self.is_input(path) or os.path.isdir(path)
            if not blocked and self._owners.setdefault(_folded(os.path.realpath(path)), owner) == owner:
                return path
            number += 1


class Namer:
    """Names the files of a job; an image (or a layer) whose name another one has already gets a number.

    `output` is a file for one picture, or a folder (`None`: the current one); `ending` stands behind image and layer.
    """

    def __init__(self, output: Path | None, ending: str = "", paths: Paths | None = None) -> None:
        self.output, self.ending, self.paths = output, ending, paths or Paths()
        self._images: dict[str, str] = {}
        self._layers: dict[str, str] = {}

    @property
    def single(self) -> bool:
        """Whether `output` is the one picture, not a folder."""
        return self.output is not None and self.output.suffix.lower() in PICTURES and not os.path.isdir(self.output)

    def picture(self, layer: str, image: str, part: str = "") -> Path:
        """The file of a picture, in a folder that is there; `part` tells it from others of the same image and layer."""
        owner = (layer, image, part)
        if self.output is not None and self.single:
            folder = make_folder(self.output.parent)
            if not part:
                return self.output
            return self.paths.free(folder, f"{self.output.stem}{part}", self.output.suffix, owner)
        folder = make_folder(self.output or Path())
        return self.paths.free(folder, f"{self.image(image)}-{self.layer(layer)}{self.ending}{part}", ".png", owner)

    def values(self, file: Path, layer: str | None, image: str | None) -> Path:
        """The file for values, or where several layers or images have one each, that of this layer and image beside it."""
        parts = [] if image is None else [self.image(image)]
        parts += [] if layer is None else [self.layer(layer)]
        folder = make_folder(file.parent)
        return self.paths.free(folder, "-".join((file.stem, *parts)), file.suffix, (layer, image)) if parts else file

    def image(self, id: str) -> str:
        """The part of a name that stands for an image."""
        row = ROW.fullmatch(id)
        name, rest = (row[1], row[2]) if row else (id, "")
        if frame := FRAME.fullmatch(name):  # so that names are in the order of frames
            name = f"{frame[1]}{frame[2]:0>6}"
        return _unused(self._images, (str(Path(name).with_suffix("")) if is_image(name) else name) + rest, id)

    def layer(self, path: str) -> str:
        """The part of a name that stands for a layer."""
        return _unused(self._layers, path or "output", path)


def describe_rule(combine: str | None, kind: str = "") -> str:
    """What stands behind image and layer: the combination, what it was given, and the kind of picture: overlay or figure."""
    name, _, argument = (combine or "").partition(":")
    parts = [name, Path(argument).stem, kind]
    return "".join(f"-{safe(part)}" for part in parts if part)


def files_of(images: Any) -> list[Path]:
    """The files among `images`, which may be whatever `collect` takes, or ready batches."""
    if isinstance(images, str | os.PathLike):
        return [source.file or source.item for source in collect(images)]
    return [path for item in images for path in files_of(item)] if isinstance(images, list | tuple) else []


def safe(text: str) -> str:
    """A part of a file name: what is special on any system becomes `_`.

    >>> safe("vgg16/block1_conv2:1")
    'vgg16_block1_conv2_1'
    """
    return re.sub(r"[^\w.\-]+", "_", unicodedata.normalize("NFC", text)).strip(".") or "image"


def check_ending(output: Path) -> None:
    """Raises `BadOption` for a name that ends as files of another kind do, or nearly as ours: no folder is meant."""
    ending = output.suffix.lower()
    known = (*PICTURES, *NUMBERS)
    if ending in known or os.path.isdir(output):
        return
    foreign = mimetypes.guess_type(f"x{ending}")[0]
    hint = near(ending, known) if len(ending) > len(".gz") and not foreign else ""
    if foreign or hint:
        film = "; ls.animate in Python writes films as .gif or .webp" if (foreign or "").startswith("video/") else ""
        raise BadOption(
            f"-o {output}: no picture is written as {ending}: use {', '.join(known)}, or a folder{film}{hint}"
        )


def _unused(taken: dict[str, str], text: str, owner: str) -> str:
    """A part of a file name for `owner`; numbered where another has that name already."""
    short = safe(text)
    name, number = short, 2
    while taken.setdefault(_folded(name), owner) != owner:
        name, number = f"{short}-{number}", number + 1
    return name


def _folded(name: str) -> str:
    """What two names have in common that are one on a system where case doesn't count, nor how accents are composed."""
    return unicodedata.normalize("NFC", unicodedata.normalize("NFD", name).casefold())


def _fitting(name: str, most: int) -> str:
    """The name in at most `most` bytes: beginning and end, with a hash of the whole between them.

    >>> _fitting("a" * 50 + "z" * 50, 30)
    'aaaaaaaaaaaaaa-efd7d95f-zzzzzz'
    """
    encoded = os.fsencode(name)
    if len(encoded) <= most:
        return name
    digest = hashlib.blake2b(encoded, digest_size=4).hexdigest()
    tail = (most - len(digest) - 2) // 3
    head = most - len(digest) - 2 - tail
    return f"{encoded[:head].decode(errors='ignore')}-{digest}-{encoded[-tail:].decode(errors='ignore')}"


def _identity(path: str | os.PathLike[str]) -> tuple[int, int] | None:
    """What links to one file have in common; `None` where there is no file."""
    try:
        status = os.stat(path)
    except (OSError, ValueError):
        return None
    return status.st_dev, status.st_ino
