"""One file, PIL image or array as an upright RGB photo with a name.

What a `Photo` holds, whatever it was read from:

- upright pixels: the EXIF orientation is applied, also to PIL images that still carry one;
- transparency composited on white;
- the first frame of an animation, the first page of a file with many (a PIL image: the one it stands at), with a note;
- colours as the file stores them: embedded ICC profiles are not applied;
- 16-bit grey as 0–65535, that is /257 on the scale 0–255, its precision kept in `values` (`levels.py` has the details),
  white where the file says that 0 is; 16-bit colours of PNG, TIFF and PPM likewise (`deep.py`), of other formats at 8 bits.
"""

from __future__ import annotations

import hashlib
import io
import os
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from functools import cached_property, partial
from pathlib import Path
from typing import Any, BinaryIO

import numpy as np
from PIL import ExifTags, Image

from ..core.conversion import count_masked, is_array, library_of, to_host
from ..core.note import Note
from ..errors import ImageNotReadable, ImageTooLarge, LayerscopeError, one_line
from ..files import open_regular
from ..memory import short_of_memory
from ..safe_text import counted
from .deep import colours_of, deep_of, is_garbled
from .formats import ANEW, DAMAGED, bits_of, check_memory, check_size, identified, pixel_limit, unknown
from .levels import Extent, Range
from .pixels import ARRAYS, BANDS, Planes, planes_of_array, planes_of_colours, planes_of_image
from .remarks import remarks

ARRAY = f"give an array that is {ARRAYS}"

ORIENTATIONS = {
    2: Image.Transpose.FLIP_LEFT_RIGHT,
    3: Image.Transpose.ROTATE_180,
    4: Image.Transpose.FLIP_TOP_BOTTOM,
    5: Image.Transpose.TRANSPOSE,
    6: Image.Transpose.ROTATE_270,
    7: Image.Transpose.TRANSVERSE,
    8: Image.Transpose.ROTATE_90,
}
TURNED = (5, 6, 7, 8)  # those that swap the sides


@dataclass(frozen=True, eq=False)
class Photo:
    """One upright image: `pixels` uint8 `[height, width, 3]` in RGB, never to be written to.

    `mode` is what the source was ("L", "CMYK", "I;16", "RGBA" …), `orientation` that of its EXIF data (1: upright),
    `notes` are remarks for people, `note` all in one. Sources with more than 8 bits keep their precision in `values`, float32
    from 0 to 255 of shape `[height, width, 1 or 3]`; else it is `None`.

    >>> photo = read(np.zeros((2, 3), np.uint8), id="dark")
    >>> photo.id, photo.mode, photo.size, photo.grey
    ('dark', 'L', (2, 3), True)
    """

    id: str
    pixels: np.ndarray
    mode: str = "RGB"
    orientation: int = 1
    notes: tuple[Note, ...] = ()
    values: np.ndarray | None = None

    @property
    def note(self) -> str:
        """The remarks in one line; `""` for none."""
        return self.notes[0] if len(self.notes) == 1 else "; ".join(self.notes)

    @property
    def size(self) -> tuple[int, int]:
        """(height, width) of the upright image."""
        return self.pixels.shape[0], self.pixels.shape[1]

    @property
    def nbytes(self) -> int:
        """The memory that the photo takes."""
        return self.pixels.nbytes + (0 if self.values is None else self.values.nbytes)

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


def read(source: Any, *, id: str | None = None, limit: int | None = None, range: Range | None = None) -> Photo:
    """The photo in a path, bytes, an open file, a PIL image, or an array (numpy, torch, TensorFlow, JAX).

    Arrays are uint8, uint16 (0–65535), bool, float in 0–1, or whole numbers up to 255 of any type, of shape `(H, W)` or
    `(H, W, 1, 3 or 4)`. `range` is what is black and white in images of more than 8 bits, where neither type nor file says
    it. `limit` is the largest number of pixels to decode (default 100 million, or the environment variable
    `LAYERSCOPE_MAX_PIXELS`); it is checked before decoding. Raises `ImageNotReadable` or its child `ImageTooLarge`.

    >>> read(np.full((4, 6, 3), 0.5, np.float32)).pixels[0, 0]
    array([128, 128, 128], dtype=uint8)
    """
    if isinstance(source, Photo):
        return source if id is None else replace(source, id=id)
    limit = pixel_limit(limit)
    name = label_of(source) if id is None else id
    with _reason(name, DAMAGED, ANEW) if kind_of(source) != "array" else _reason(name, "can't be read", ARRAY):
        if isinstance(source, (str, os.PathLike)):
            return _from_file(Path(source), name, limit, range)
        if isinstance(source, Image.Image):
            return _from_pil(source, name, limit, range)
        if hasattr(source, "read"):
            source = source.read()
            if isinstance(source, str):
                raise ImageNotReadable(f"{name}: the file is open as text; open it in binary mode, open(path, 'rb')")
        if isinstance(source, (bytes, bytearray, memoryview)):
            return _from_stream(io.BytesIO(source), name, limit, range)
        extent = source.extent if isinstance(source, Member) else None
        planes, mode = planes_of_array(as_image(source), name, range, extent)
        return _photo(name, planes, mode=mode)


def as_array(source: Any) -> np.ndarray:
    """`source` as a numpy array: anything with `__array__`; torch tensors are detached and copied to the host."""
    if not is_array(source):
        raise ImageNotReadable(
            f"{label_of(source)}: not an image; give a path, bytes, a PIL image, or an array ({ARRAYS})"
        )
    if masked := count_masked(source):
        raise ImageNotReadable(
            f"{label_of(source)}: an array with {counted(masked, 'masked value')}, and an image has a value everywhere: give"
            " array.filled(...)"
        )
    try:
        return to_host(source)  # a sparse tensor has none
    except (TypeError, ValueError, RuntimeError, BufferError) as error:  # NotImplementedError is a RuntimeError
        raise ImageNotReadable(f"{label_of(source)}: can't be read as an array ({one_line(error)}): {ARRAY}") from error


def as_image(source: Any) -> np.ndarray:
    """As `as_array`, with the channels last. PyTorch has them first; three that come last are left as they are."""
    array = as_array(source)
    first = library_of(source) == "torch" and array.ndim in (3, 4) and array.shape[-1] != 3
    return np.moveaxis(array, -3, -1) if first and array.shape[-3] in BANDS else array


@dataclass(frozen=True, eq=False)
class Member:
    """An image of several arrays that came together and have one scale, and the extent of all of them."""

    values: np.ndarray
    extent: Extent

    def __array__(self, dtype: Any = None, copy: bool | None = None) -> np.ndarray:
        return self.values


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
    return "array" if is_array(source) else type(source).__name__


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
        reason = one_line(error)
        if short_of_memory(error):
            raise ImageTooLarge(
                f"{name}: decoding it takes more memory than there is: make the image smaller"
            ) from error
        raise ImageNotReadable(f"{name}: {wrong} ({reason}): {advice}") from error


def _from_file(path: Path, name: str, limit: int, range: Range | None) -> Photo:
    with open_regular(path, what="image", error=ImageNotReadable) as stream:
        return _from_stream(stream, name, limit, range)


def header_size(path: Path, name: str) -> tuple[int, int]:
    """(height, width) of the upright image as the head of a file states it; the pixels may still be damaged.

    Raises `ImageNotReadable` where the head already tells that it is no image, or one that is too large.
    """
    with _reason(name, DAMAGED, ANEW), open_regular(path, what="image", error=ImageNotReadable) as stream:
        image = _identified(stream, name, pixel_limit(None))
        width, height = image.size
        return (width, height) if _stored_orientation(image) in TURNED else (height, width)


def _identified(stream: BinaryIO, name: str, limit: int) -> Image.Image:
    if not stream.read(1):
        raise ImageNotReadable(f"{name}: the file is empty (0 bytes): download or copy it again")
    image = identified(stream, name, limit)
    if image is None:
        raise ImageNotReadable(f"{name}: {unknown(stream, name)}")
    return image


def _from_stream(stream: BinaryIO, name: str, limit: int, range: Range | None) -> Photo:
    image = _identified(stream, name, limit)
    deep = deep_of(image)
    if deep is None:
        return _from_pil(image, name, limit, range)
    check_memory(name, image, deep=True)
    stored = _stored_orientation(image)
    colours = colours_of(deep, image, partial(_again, stream, name, limit), _upright)
    planes = planes_of_colours(colours, name, range)
    orientation = max(stored, _orientation(image))
    return _photo(name, planes, mode=f"{deep.bands};16", orientation=orientation, notes=remarks(image))


def _again(stream: BinaryIO, name: str, limit: int) -> Image.Image:
    image = identified(stream, name, limit)
    if image is None:
        raise ImageNotReadable(f"{name}: the file changed while it was read")
    return image


def _from_pil(image: Image.Image, name: str, limit: int, range: Range | None) -> Photo:
    check_size(name, image, limit)
    check_memory(name, image)
    if is_garbled(image):
        raise ImageNotReadable(f"{name}: Pillow reads the bands of this TIFF of 16 bits wrongly: give its path")
    bits, mode, stored = bits_of(image), image.mode, _stored_orientation(image)
    planes = planes_of_image(_upright(image), name, range, bits)
    orientation = max(stored, _orientation(image))
    return _photo(name, planes, mode=mode, orientation=orientation, notes=remarks(image, bits))


def _upright(image: Image.Image) -> Image.Image:
    """The image, decoded and turned as its EXIF data say."""
    tile = getattr(image, "_tile_size", None)
    if tile is not None and getattr(image, "_im", 0) is None:
        # Pillow would check a TIFF's canvas against its process-wide limit; it takes a canvas that is there.
        image.im = Image.new(image.mode, tile).im
    image.load()  # makes a TIFF upright, and finds the EXIF that a PNG has after its pixels
    orientation = _orientation(image)
    return image.transpose(ORIENTATIONS[orientation]) if orientation in ORIENTATIONS else image


def _stored_orientation(image: Image.Image) -> int:
    """The orientation that a TIFF loses when it is decoded. A PNG may have its own behind the pixels, and would be decoded."""
    return 1 if image.format == "PNG" else _orientation(image)


def _orientation(image: Image.Image) -> int:
    orientation = image.getexif().get(ExifTags.Base.Orientation, 1)
    return orientation if orientation in ORIENTATIONS else 1


def _photo(name: str, planes: Planes, *, mode: str, orientation: int = 1, notes: tuple[Note, ...] = ()) -> Photo:
    values, colours = None, planes.values
    if colours.dtype != np.uint8:
        values = np.ascontiguousarray(colours, np.float32)
        values.flags.writeable = False
        colours = np.rint(values).astype(np.uint8)
    pixels = np.repeat(colours, 3, axis=2) if colours.shape[2] == 1 else np.ascontiguousarray(colours)
    pixels.flags.writeable = False
    return Photo(name, pixels, mode, int(orientation), (*notes, *planes.notes), values)
