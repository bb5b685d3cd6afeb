"""What the numbers of an image stand for: which of them is black and which is white, by its type, its tags, or its owner.

8 bits need no word. 16 bits are 0–65535, unless a TIFF says 12; floats are 0–1, or whole numbers up to 255, as Keras's
`img_to_array` gives them. 32-bit integers have no white of their own: their owner says it (`Recipe.range`). Older Pillow
makes mode "I", 32 bits, of a PNG's 16.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, replace

import numpy as np
from PIL import Image

from ..core.note import Note
from ..errors import ImageNotReadable

Range = tuple[float, float]
BITS, PHOTOMETRIC, SAMPLES, FORMAT, SIGNED = 258, 262, 277, 339, 2  # tags of a TIFF, and a value of the last
HIGHEST_USED = (281, 341)  # MaxSampleValue, SMaxSampleValue: what occurs in the image, not what is white in it
WHITE_IS_ZERO = 0
SAY = "preprocess={'name': 'auto', 'range': (0, 4095)} says what is black and white in it"
WHOLE = Note("whole-numbers", "a float image of whole numbers up to 255, read as 0–255")


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


def planes_of_integers(values: np.ndarray, levels: Levels, name: str) -> tuple[np.ndarray, tuple[Note, ...]]:
    """Integers as float32 from 0 to 255, and what must be said of their range."""
    low, high = int(values.min()), int(values.max())
    if levels.high is None:
        used = "" if levels.used is None else f"; a tag says that they go up to {levels.used:,g}"
        raise ImageNotReadable(
            f"{name}: 32-bit integers from {low:,} to {high:,}, and the file doesn't say which of them is white{used}: {SAY}"
        )
    if low < levels.low or high > levels.high:
        raise ImageNotReadable(
            f"{name}: integers from {low} to {high}, but an image of {(int(levels.high) + 1).bit_length() - 1} bits has"
            f" 0–{levels.high:.0f}: {SAY}"
        )
    if levels.inverted:
        values = levels.high - values.astype(np.float32)
    scale = levels.high / 255  # 257 for 16 bits, as everywhere
    return np.asarray(np.divide(values, scale, dtype=np.float32)), doubt(high, levels.high, levels.used)


def planes_of_floats(values: np.ndarray, levels: Levels, name: str) -> tuple[np.ndarray, tuple[Note, ...]]:
    """Floats as planes: from 0 to 1, or whole numbers from 0 to 255."""
    low, high = float(values.min()), float(values.max())
    notes: tuple[Note, ...] = ()
    if low >= 0 and 1 < high <= 255 and (values == np.rint(values)).all():
        planes, notes = values.astype(np.uint8), (WHOLE,)
    elif low >= 0 and high <= 1:  # false for NaN
        planes = np.asarray(np.multiply(values, 255, dtype=np.float32))
    else:
        extent = "NaN" if math.isnan(low) else f"{low:g} to {high:g}"
        raise ImageNotReadable(
            f"{name}: a float image must lie in 0–1, or hold whole numbers from 0 to 255, and this one holds {extent}: {SAY};"
            " or convert it to uint8 (0–255), or pass a ready batch with preprocess=None"
        )
    return (255 - planes if levels.inverted else planes), notes


def planes_in_range(values: np.ndarray, range: Range, levels: Levels, name: str) -> tuple[np.ndarray, tuple[Note, ...]]:
    """Numbers of any type as float32 from 0 to 255, by what their owner says is black and white; others are clipped."""
    low, high = range
    if np.isnan(values).any():
        raise ImageNotReadable(f"{name}: the image holds NaN, and a photo has a value everywhere")
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
