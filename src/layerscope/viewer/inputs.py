"""The images of a session: files, arrays and uploads, each under an id, or the rows of a batch that is ready for the model."""

from __future__ import annotations

import io
import re
from dataclasses import dataclass
from pathlib import Path
from threading import Lock
from typing import Any

import numpy as np
from PIL import Image

from ..errors import BadOption, ImageNotReadable
from ..inputs.formats import pixel_limit
from ..inputs.images import Source, collect
from ..inputs.photo import Photo, header_size, read
from ..inputs.recipe import READY
from ..safe_text import counted, printable
from ..scope.batches import count_images
from ..scope.scope import Scope
from .payload import pack

UPLOAD_PIXELS = 40_000_000
UPLOAD_BYTES = 32 << 20
UPLOADS_BYTES = 1 << 29  # of all uploads of a session, which it keeps as they came
LONGEST_NAME = 120
LONGEST_SIDE = 1024
SHARP = 128  # pixels up to which a photo is shown enlarged, every one of them
QUALITY = 88


@dataclass(frozen=True, eq=False)
class Entry:
    """One image: its id for the page, its name, its size (height, width), (0, 0) without a photo.

    `item` is what `Scope.capture` takes, which is `row` of it where it holds several. `source` is the path of its file, as the
    user wrote it.
    """

    id: str
    name: str
    size: tuple[int, int]
    item: Any
    row: int = 0
    batch: str = ""
    source: str | None = None

    @property
    def key(self) -> str:
        """What of a capture is kept together."""
        return self.batch or self.id


class Inputs:
    """The images of a session. `notes` say which of those given can't be read."""

    def __init__(self, scope: Scope, images: Any) -> None:
        self.ready = scope.preprocess == READY
        self.notes: tuple[str, ...] = ()
        self._entries: dict[str, Entry] = {}
        self._upload_bytes = 0
        self._lock = Lock()
        if images is None:
            return
        if self.ready:
            count = count_images(images, scope.preprocess, scope.facts.inputs) or 0
            for row in range(count):
                self._add(f"image {row}", (0, 0), images, row=row, batch="batch")
            return
        skips = []
        for source in collect(images):
            try:
                self._add(
                    source.id, self._size(source), source, source=None if source.file is None else str(source.file)
                )
            except ImageNotReadable as error:
                if source.explicit:
                    raise
                skips.append(f"skipped: {error}")
        if not self._entries:
            raise ImageNotReadable(f"none of {counted(len(skips), 'image')} can be read: {'; '.join(skips[:3])}")
        self.notes = tuple(skips)

    def __iter__(self) -> Any:
        return iter(tuple(self._entries.values()))

    def __getitem__(self, id: Any) -> Entry:
        if not isinstance(id, str) or id not in self._entries:
            raise BadOption(f"there is no image {id!r:.40} here")
        return self._entries[id]

    def upload(self, data: bytes, name: Any) -> tuple[Entry, Photo]:
        """A new image from the bytes of its file, and its photo.

        Raises `ImageNotReadable`, and `ImageTooLarge` before it is decoded.
        """
        if self.ready:
            raise BadOption("images can't be added to a batch that is ready for the model")
        name = file_name(name)
        if len(data) > UPLOAD_BYTES:
            raise BadOption(f"{name}: {len(data):,} bytes, and an image may have {UPLOAD_BYTES:,}")
        with self._lock:
            if self._upload_bytes + len(data) > UPLOADS_BYTES:
                raise BadOption(f"the images added so far fill the {UPLOADS_BYTES:,} bytes that there are for them")
            self._upload_bytes += len(data)
        try:
            photo = read(data, id=name, limit=min(UPLOAD_PIXELS, pixel_limit(None)))
        except BaseException:
            with self._lock:
                self._upload_bytes -= len(data)
            raise
        return self._add(name, photo.size, Source(name, data, explicit=True)), photo

    def _add(self, name: str, size: tuple[int, int], item: Any, **more: Any) -> Entry:
        with self._lock:
            names = {entry.name for entry in self._entries.values()}
            free, number = name, 2
            while free in names:
                free, number = f"{name}#{number}", number + 1
            entry = Entry(f"i{len(self._entries)}", free, size, item, **more)
            self._entries[entry.id] = entry
        return entry

    def _size(self, source: Source) -> tuple[int, int]:
        """The size that a file's header states; whatever else is decoded."""
        return header_size(source.item, source.id) if isinstance(source.item, Path) else source.read().size


def file_name(name: Any) -> str:
    r"""The name of a file from a page, of whatever system: its last part, legible, of bounded length.

    >>> file_name("C:\\photos\\cat.jpg"), file_name("../../etc/passwd"), file_name("")
    ('cat.jpg', 'passwd', 'image')
    """
    last = re.split(r"[/\\]", name)[-1] if isinstance(name, str) else ""
    last = printable(last.strip())
    if len(last) > LONGEST_NAME:
        last = f"{last[: LONGEST_NAME // 2]}…{last[-LONGEST_NAME // 2 + 1 :]}"
    return last if last.strip(".") else "image"


def photo_payload(photo: Photo) -> bytes:
    """The bytes of an image file no side of which is longer than 1,024 pixels, in a container; `photo` is its true size.

    >>> from layerscope.viewer.payload import unpack
    >>> meta, _ = unpack(photo_payload(Photo("grey", np.full((2048, 1024, 3), 128, np.uint8))))
    >>> meta
    {'media': 'image/jpeg', 'width': 512, 'height': 1024, 'photo': [2048, 1024]}
    """
    height, width = photo.size
    image = Image.fromarray(photo.pixels)
    shrink = max(height, width) / LONGEST_SIDE
    if shrink > 1:
        size = max(1, round(width / shrink)), max(1, round(height / shrink))
        image = image.resize(size, Image.Resampling.LANCZOS, reducing_gap=3)
    file, small = io.BytesIO(), max(height, width) <= SHARP
    if small:
        image.save(file, "PNG")
    else:
        image.save(file, "JPEG", quality=QUALITY, optimize=True)
    meta = {
        "media": "image/png" if small else "image/jpeg",
        "width": image.width,
        "height": image.height,
        "photo": [height, width],
    }
    return pack(meta, {"image": np.frombuffer(file.getvalue(), np.uint8)})
