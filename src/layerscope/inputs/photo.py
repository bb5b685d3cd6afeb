"""One file, PIL image or array as an upright RGB photo with a name.

What a `Photo` holds, whatever it was read from:

- upright pixels: the EXIF orientation is applied, also to PIL images that still carry one;
- transparency composited on white;
- the first frame of an animation or of a file with many pages (a PIL image: the frame it stands at), with a note;
- colours as the file stores them: embedded ICC profiles are not applied;
- 16-bit grey as 0–65535, that is /257 on the scale 0–255, its precision kept in `values` (`pixels.py` has the details).
  Colour files with 16 bits per channel come at 8 bits, because Pillow reads them so.
"""

from __future__ import annotations

import hashlib
import io
import os
import struct
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from functools import cached_property
from pathlib import Path
from typing import Any, BinaryIO

import numpy as np
from PIL import ExifTags, Image

from ..core.conversion import to_host
from ..core.note import Note
from ..errors import BadOption, ImageNotReadable, ImageTooLarge, LayerscopeError
from ..files import open_regular
from .pixels import ARRAYS, planes_of_array, planes_of_image

DEFAULT_LIMIT = 100_000_000
LIMIT_VARIABLE = "LAYERSCOPE_MAX_PIXELS"
ARRAY = f"give an array that is {ARRAYS}"
DAMAGED = "the file is truncated, damaged or in an unusual format"
ANEW = "download or copy it again, or open it in an image program and save it again"
PLUGINS = {".heic": "pillow-heif", ".heif": "pillow-heif", ".jxl": "pillow-jxl-plugin"}
UNSAFE = {"EPS"}  # Pillow starts Ghostscript to draw these

ORIENTATIONS = {
    2: Image.Transpose.FLIP_LEFT_RIGHT,
    3: Image.Transpose.ROTATE_180,
    4: Image.Transpose.FLIP_TOP_BOTTOM,
    5: Image.Transpose.TRANSPOSE,
    6: Image.Transpose.ROTATE_270,
    7: Image.Transpose.TRANSVERSE,
    8: Image.Transpose.ROTATE_90,
}


@dataclass(frozen=True, eq=False)
class Photo:
    """One upright image: `pixels` uint8 `[height, width, 3]` in RGB, never to be written to.

    `mode` is what the source was ("L", "CMYK", "I;16", "RGBA" …), `orientation` that of its EXIF data (1: upright),
    `note` a remark for people. Sources with more than 8 bits keep their precision in `values`, float32 from 0 to 255 of
    shape `[height, width, 1 or 3]`; else it is `None`.

    >>> photo = read(np.zeros((2, 3), np.uint8), id="dark")
    >>> photo.id, photo.mode, photo.size, photo.grey
    ('dark', 'L', (2, 3), True)
    """

    id: str
    pixels: np.ndarray
    mode: str = "RGB"
    orientation: int = 1
    note: str = ""
    values: np.ndarray | None = None

    @property
    def size(self) -> tuple[int, int]:
        """(height, width) of the upright image."""
        return self.pixels.shape[0], self.pixels.shape[1]

    @property
    def turned(self) -> bool:
        """Whether an EXIF orientation was applied."""
        return self.orientation != 1

    @property
    def grey(self) -> bool:
        """Whether the source has no colours; then the three channels of `pixels` are equal and each is the grey."""
        return self.mode.startswith(("1", "L", "I", "F")) and self.mode != "LAB"

    @cached_property
    def digest(self) -> str:
        """The sha256, in hex, of the image's size and pixels (and `values`); the same picture gives the same digest."""
        total = hashlib.sha256(f"{self.size[0]}x{self.size[1]} ".encode())
        total.update(self.pixels.tobytes())
        if self.values is not None:
            total.update(self.values.tobytes())
        return total.hexdigest()


def read(source: Any, *, id: str | None = None, limit: int | None = None) -> Photo:
    """The photo in a path, bytes, an open file, a PIL image, or an array (numpy, torch, TensorFlow, JAX).

    Arrays are uint8, uint16 (0–65535), bool, or float in 0–1, of shape `(H, W)` or `(H, W, 1, 3 or 4)`. `limit` is the
    largest number of pixels to decode (default 100 million, or the environment variable `LAYERSCOPE_MAX_PIXELS`); it is
    checked before decoding. Raises `ImageNotReadable` or its child `ImageTooLarge`.

    >>> read(np.full((4, 6, 3), 0.5, np.float32)).pixels[0, 0]
    array([128, 128, 128], dtype=uint8)
    """
    if isinstance(source, Photo):
        return source if id is None else replace(source, id=id)
    limit = pixel_limit(limit)
    name = label_of(source) if id is None else id
    with _reason(name, DAMAGED, ANEW) if kind_of(source) != "array" else _reason(name, "can't be read", ARRAY):
        if isinstance(source, (str, os.PathLike)):
            return _from_file(Path(source), name, limit)
        if isinstance(source, Image.Image):
            return _from_pil(source, name, limit)
        if hasattr(source, "read"):
            source = source.read()
            if isinstance(source, str):
                raise ImageNotReadable(f"{name}: the file is open as text; open it in binary mode, open(path, 'rb')")
        if isinstance(source, (bytes, bytearray, memoryview)):
            return _from_stream(io.BytesIO(source), name, limit)
        colours, mode = planes_of_array(as_array(source), name)
        return _photo(name, colours, mode=mode)


def pixel_limit(limit: int | None = None) -> int:
    """The current limit on the number of pixels: `limit`, else `LAYERSCOPE_MAX_PIXELS`, else 100 million.

    >>> pixel_limit(5_000_000)
    5000000
    """
    setting = (os.environ.get(LIMIT_VARIABLE) or DEFAULT_LIMIT) if limit is None else limit
    try:
        pixels = int(setting)
    except ValueError as error:
        raise BadOption(f"{LIMIT_VARIABLE}={setting!r}: give a whole number of pixels, such as 400000000") from error
    if pixels < 1:
        source = LIMIT_VARIABLE if limit is None else "limit"
        raise BadOption(f"{source}={pixels} lets no image through: give a number of pixels above 0")
    return pixels


def as_array(source: Any) -> np.ndarray:
    """`source` as a numpy array: anything with `__array__`; torch tensors are detached and copied to the host."""
    if not hasattr(source, "__array__"):
        raise ImageNotReadable(
            f"{label_of(source)}: not an image; give a path, bytes, a PIL image, or an array ({ARRAYS})"
        )
    return to_host(source)


def label_of(source: Any) -> str:
    """A name for a source that has none of its own."""
    if isinstance(source, (str, os.PathLike)):
        return Path(source).name or str(source)
    name = getattr(source, "name", None) if hasattr(source, "read") else None
    return Path(name).name if isinstance(name, str) and name else f"{kind_of(source)}-0"


def kind_of(source: Any) -> str:
    """The word for a source in an id: "bytes", "image", "file", "array"."""
    if isinstance(source, (bytes, bytearray, memoryview)):
        return "bytes"
    if isinstance(source, Image.Image):
        return "image"
    if hasattr(source, "read"):
        return "file"
    return "array" if hasattr(source, "__array__") else type(source).__name__


@contextmanager
def _reason(name: str, wrong: str, advice: str) -> Iterator[None]:
    """Turns whatever a decoder raises into one line: the name of the image, what is wrong with it, and what to do."""
    try:
        yield
    except LayerscopeError:
        raise
    except (Image.DecompressionBombError, Image.DecompressionBombWarning) as error:
        raise ImageTooLarge(
            f"{name}: Pillow's own limit for this format was hit ({error}); save the image in another format such as"
            " PNG, or smaller"
        ) from error
    except Exception as error:  # on damaged data decoders raise nearly anything: ValueError, KeyError, struct.error …
        reason = " ".join(str(error).split()) or type(error).__name__
        raise ImageNotReadable(f"{name}: {wrong} ({reason}): {advice}") from error


def _from_file(path: Path, name: str, limit: int) -> Photo:
    with open_regular(path, what="image", error=ImageNotReadable) as stream:
        return _from_stream(stream, name, limit)


def _from_stream(stream: BinaryIO, name: str, limit: int) -> Photo:
    if not stream.read(1):
        raise ImageNotReadable(f"{name}: the file is empty (0 bytes): download or copy it again")
    image = _identified(stream)
    if image is None:
        raise ImageNotReadable(f"{name}: {_unknown(stream, name)}")
    return _from_pil(image, name, limit)


def _identified(stream: BinaryIO) -> Image.Image | None:
    """The image in `stream` with only its header read, or `None`.

    This is `PIL.Image.open` without its check against `Image.MAX_IMAGE_PIXELS`, which raises an error of its own before our
    limit could be checked: that setting belongs to the whole process, and changing it here, even for a moment, would change
    it for other threads too. Hence Pillow's private names here and in `_from_pil`.
    """
    stream.seek(0)
    prefix = stream.read(16)
    tried = set(UNSAFE)
    for load_plugins in (Image.preinit, Image.init):
        load_plugins()
        for format in [name for name in Image.ID if name not in tried]:
            tried.add(format)
            factory, accept = Image.OPEN[format]
            answer = accept(prefix) if accept else True
            if not answer or isinstance(answer, str):  # a string says that the library for this format is missing
                continue
            stream.seek(0)
            try:
                return factory(stream, "")
            except (SyntaxError, IndexError, TypeError, struct.error):  # a plugin's ways to say "not mine"
                continue
    return None


def _unknown(stream: BinaryIO, name: str) -> str:
    stream.seek(0)
    start = stream.read(16)
    suffix = Path(name).suffix.lower()
    if start[4:8] == b"ftyp" and start[8:12] in (b"heic", b"heix", b"hevc", b"mif1", b"msf1"):
        suffix = ".heic"
    if suffix in PLUGINS:
        return f"Pillow needs a plugin to read {suffix} files: pip install {PLUGINS[suffix]}, and register it"
    if format := next((name for name in Image.ID if name not in UNSAFE and _begins(name, start)), None):
        return f"{DAMAGED} (it begins as {format}, and the rest of its header can't be read): {ANEW}"
    return (
        f"not in an image format that Pillow reads (it begins with {start[:8]!r}): save it as JPEG, PNG, WebP or TIFF"
    )


def _begins(format: str, start: bytes) -> bool:
    accept = Image.OPEN[format][1]
    return accept is not None and accept(start) is True


def _check_size(name: str, size: tuple[int, int], limit: int) -> None:
    pixels = size[0] * size[1]
    if pixels > limit:
        raise ImageTooLarge(
            f"{name}: {size[0]} × {size[1]} pixels ({pixels / 1e6:,.1f} megapixels) are more than the limit of"
            f" {limit / 1e6:,.1f} megapixels. If you trust the file, raise the limit with limit={pixels} or the"
            f" environment variable {LIMIT_VARIABLE}={pixels}"
        )


def _from_pil(image: Image.Image, name: str, limit: int) -> Photo:
    _check_size(name, image.size, limit)
    tile = getattr(image, "_tile_size", None)
    if tile is not None and getattr(image, "_im", 0) is None:
        # Pillow would check a TIFF's canvas against its process-wide limit; it takes a canvas that is there.
        _check_size(name, tile, limit)
        image.im = Image.new(image.mode, tile).im
    stored = image.getexif().get(ExifTags.Base.Orientation, 1)
    image.load()  # makes a TIFF upright, and finds the EXIF that a PNG has after its pixels
    remaining = image.getexif().get(ExifTags.Base.Orientation, 1)
    mode = image.mode
    upright = image.transpose(ORIENTATIONS[remaining]) if remaining in ORIENTATIONS else image
    return _photo(
        name,
        planes_of_image(upright, name),
        mode=mode,
        orientation=next((number for number in (stored, remaining) if number in ORIENTATIONS), 1),
        note=_note(image),
    )


def _note(image: Image.Image) -> str:
    several = image.format in ("GIF", "PNG", "WEBP", "TIFF", "AVIF") and getattr(image, "is_animated", False)
    return Note("frame", f"frame {image.tell() + 1} of several is read") if several else ""


def _photo(name: str, colours: np.ndarray, *, mode: str, orientation: int = 1, note: str = "") -> Photo:
    values = None
    if colours.dtype != np.uint8:
        values = np.ascontiguousarray(colours, np.float32)
        values.flags.writeable = False
        colours = np.rint(values).astype(np.uint8)
    pixels = np.repeat(colours, 3, axis=2) if colours.shape[2] == 1 else np.array(colours, order="C")
    pixels.flags.writeable = False
    return Photo(name, pixels, mode, int(orientation), note, values)
