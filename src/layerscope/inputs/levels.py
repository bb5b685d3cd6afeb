"""What the numbers of an image stand for: which of them is black and which is white, by its type, its tags, or its owner.

8 bits need no word. 16 bits are 0–65535, unless a TIFF says 12; floats are 0–1, or whole numbers up to 255, as Keras's
`img_to_array` gives them; other integers are 0–255 where they lie in it, and have no white of their own otherwise: their
owner says it (`Recipe.range`). Arrays that come together are judged together (`Extent`): a dark image of a batch has the
scale of the others. Older Pillow makes mode "I", 32 bits, of a PNG's 16.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np
from PIL import Image

from ..core.note import Note
from ..errors import ImageNotReadable
from ..safe_text import counted
from ..surface import by_surface, levels_option, option

Range = tuple[float, float]
BITS, PHOTOMETRIC, SAMPLES, FORMAT, SIGNED = 258, 262, 277, 339, 2  # tags of a TIFF, and a value of the last
HIGHEST_USED = (281, 341)  # MaxSampleValue, SMaxSampleValue: what occurs in the image, not what is white in it
WHITE_IS_ZERO = 0
WHITES = (255, 1023, 4095, 16383, 65535)  # of 8 to 16 bits
WHOLE = Note("whole-numbers", "a float image of whole numbers up to 255, read as 0–255")
BINARY = Note("zeros-and-ones", "a float image of nothing but 0 and 1, read as 0–1")


@dataclass(frozen=True)
class Extent:
    """The lowest and the highest value of arrays that have one scale, and whether all of them are whole numbers."""

    low: float
    high: float
    whole: bool

    @classmethod
    def of(cls, values: np.ndarray) -> Extent:
        """That of an array of integers or floats, without NaN and infinite values.

        A batch is looked at image by image, to hold no second one in memory.
        """
        if not values.size:
            return cls(0, 0, True)
        low, high = values.min().item(), values.max().item()
        if not low - low == high - high == 0:
            return cls.of(values[np.isfinite(values)])
        parts = values if values.ndim == 4 else [values]
        return cls(low, high, values.dtype.kind != "f" or (low >= 0 and high <= 255 and all(map(_is_whole, parts))))

    @property
    def is_pixels(self) -> bool:
        """Whether floats can only be whole numbers from 0 to 255."""
        return self.whole and self.low >= 0 and 1 < self.high <= 255

    @property
    def is_binary(self) -> bool:
        """Whether floats are only 0 and 1, which may be black and white, or the darkest two of 0 to 255."""
        return self.whole and self.low >= 0 and self.high == 1


def _is_whole(values: np.ndarray) -> bool:
    rows = (values[:1], values) if values.ndim > 1 else (values,)  # mostly, one row has the answer
    return all((row == np.rint(row)).all() for row in rows)


def say_range(low: float, high: float) -> str:
    """How the owner of an image says what is black and white, with a range that its values lie in."""
    black, white = (low, high) if low < 0 else (0, next((white for white in WHITES if high <= white), high))
    return f"{levels_option(black, white)} says what is black and white in it"


@dataclass(frozen=True)
class Levels:
    """Black and white of an image; `high` is `None` where nobody can know it."""

    low: float = 0.0
    high: float | None = 1.0
    inverted: bool = False
    used: float | None = None


def levels_of_image(image: Image.Image) -> Levels:
    """The levels of an image of one float or of more than 8 bits, by its tags where it is a TIFF."""
    tags = getattr(image, "tag_v2", {})
    if image.mode == "F":
        levels = Levels()
    else:
        bits, signed = tags.get(BITS, (16,))[0], SIGNED in tags.get(FORMAT, ())
        levels = Levels(high=None if bits > 16 else (1 << (bits - signed)) - 1)
    used = next((float(np.max(tags[tag])) for tag in HIGHEST_USED if tag in tags), None)
    return replace(levels, inverted=tags.get(PHOTOMETRIC) == WHITE_IS_ZERO and bool(tags), used=used)


def is_signed(image: Image.Image) -> bool:
    """Whether it is a TIFF of signed integers; of 8 bits Pillow gives them as if they had no sign."""
    return SIGNED in getattr(image, "tag_v2", {}).get(FORMAT, ())


def as_stored(image: Image.Image) -> np.ndarray:
    """The numbers with the sign that the file gives them: Pillow's 8 bits have none, its 32 bits always have one."""
    values, tags = np.asarray(image), getattr(image, "tag_v2", {})
    if image.mode == "L":
        return values.view(np.int8)
    return values.view(np.uint32) if tags.get(BITS) == (32,) and image.mode == "I" and not is_signed(image) else values


def opacity(alpha: np.ndarray, range: Range | None, name: str) -> np.ndarray:
    """An alpha channel from 0 to 255: what hides all is the white of its type, whatever white is in the colours."""
    high = float(alpha.max())
    whites = (65535.0,) if alpha.dtype == np.uint16 else (1.0, 255.0, 65535.0)
    if range is not None:
        whites = tuple(sorted({*whites, range[1]}))
    white = next((white for white in whites if high <= white), None)
    if white is None or not alpha.min() >= 0:
        raise ImageNotReadable(
            f"{name}: its alpha channel goes from {alpha.min():g} to {high:g}: give the colours alone"
        )
    return np.asarray(alpha * (255 / white), np.float32)


def planes_of_integers(
    values: np.ndarray, levels: Levels, name: str, extent: Extent | None = None
) -> tuple[np.ndarray, tuple[Note, ...]]:
    """Integers as float32 from 0 to 255, and what must be said of their range."""
    low, high = (int(values.min()), int(values.max())) if extent is None else (int(extent.low), int(extent.high))
    if levels.high is None:
        used = "" if levels.used is None else f"; a tag says that they go up to {levels.used:,g}"
        raise ImageNotReadable(
            f"{name}: 32-bit integers from {low:,} to {high:,}, and the file doesn't say which of them is white{used}:"
            f" {say_range(low, high)}"
        )
    if low < levels.low or high > levels.high:
        bits = (int(levels.high) + 1).bit_length() - 1
        sign = " and a sign" if bits % 2 else ""
        raise ImageNotReadable(
            f"{name}: integers from {low} to {high}, but an image of {bits} bits{sign} has 0–{levels.high:.0f}:"
            f" {say_range(low, high)}"
        )
    if levels.inverted:
        values = levels.high - values.astype(np.float32)
    scale = levels.high / 255  # 257 for 16 bits, as everywhere
    return np.asarray(np.divide(values, scale, dtype=np.float32)), doubt(high, levels.high, levels.used)


def planes_of_untold(values: np.ndarray, name: str, extent: Extent) -> tuple[np.ndarray, tuple[Note, ...]]:
    """Integers of a type that no image has (int64, uint32, int16 …): those that lie in 0–255 are that."""
    low, high = int(extent.low), int(extent.high)
    if low < 0 or high > 255:
        raise ImageNotReadable(
            f"{name}: an array of {values.dtype} from {low} to {high}, whose white isn't known: {say_range(low, high)}; or"
            f" pass a ready batch with {option('preprocess', None)}"
        )
    note = Note("whole-numbers", f"an array of {values.dtype} with values up to 255, read as 0–255")
    return values.astype(np.uint8), (note, *doubt(high, 255))


def planes_of_floats(
    values: np.ndarray, levels: Levels, name: str, extent: Extent | None = None
) -> tuple[np.ndarray, tuple[Note, ...]]:
    """Floats as planes: from 0 to 1, or whole numbers from 0 to 255."""
    check_finite(values, name)
    extent = extent or Extent.of(values)
    notes: tuple[Note, ...] = ()
    if extent.is_pixels:
        planes, notes = values.astype(np.uint8), (WHOLE,)
    elif extent.low >= 0 and extent.high <= 1:
        planes = np.asarray(np.multiply(values, 255, dtype=np.float32))
        notes = (BINARY,) if extent.is_binary else ()
    else:
        raise ImageNotReadable(
            f"{name}: a float image must lie in 0–1, or hold whole numbers from 0 to 255, and this one holds"
            f" {extent.low:g} to {extent.high:g}: {say_range(extent.low, extent.high)}; or convert it to uint8 (0–255), or"
            f" pass a ready batch with {option('preprocess', None)}"
        )
    return (255 - planes if levels.inverted else planes), notes


def check_finite(values: np.ndarray, name: str) -> None:
    """Raises `ImageNotReadable` for NaN and infinite values, which have no colour."""
    wrong = 0 if values.dtype.kind != "f" else values.size - int(np.count_nonzero(np.isfinite(values)))
    if wrong:
        kind = "NaN" if np.isnan(values).any() else "infinite values"
        filled = "give np.nan_to_num(image), with a nan=, posinf= and neginf= that suit it"
        raise ImageNotReadable(
            f"{name}: the image holds {kind} ({wrong:,} of {counted(values.size, 'value')}), and a photo has a value"
            f" everywhere: {by_surface(filled, filled, 'save the image with numbers in their place')}"
        )


def planes_in_range(values: np.ndarray, range: Range, levels: Levels, name: str) -> tuple[np.ndarray, tuple[Note, ...]]:
    """Numbers of any type as float32 from 0 to 255, by what their owner says is black and white; others are clipped."""
    low, high = range
    if np.isnan(values).any():  # what is infinite is white or black
        check_finite(values, name)
    scaled = (values.astype(np.float64) - low) * (255 / (high - low))
    outside = int(np.count_nonzero((scaled < 0) | (scaled > 255)))
    planes = np.clip(scaled, 0, 255).astype(np.float32)
    notes = (
        (Note("clipped", f"{outside / values.size:.1%} of its values are outside {low:g} to {high:g}"),)
        if outside
        else ()
    )
    return (255 - planes if levels.inverted else planes), notes


def doubt(highest: int, white: float, used: float | None = None, *, exact: bool = True) -> tuple[Note, ...]:
    """A note where an image uses so little of its range that it may hold fewer bits than its type has."""
    if not 0 < highest <= white / 4:
        return ()
    tags = "" if used is None else f", and a tag says that values go up to {used:,g}"
    value = f"{highest:,}" if exact else f"below {highest + 1:,}"
    return (Note("range", f"its highest value is {value} of {white:,.0f}{tags}"),)
