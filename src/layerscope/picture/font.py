"""Text as codes of ink: Inter, with DejaVu Sans behind it, drawn once for each size and character, then copied.

What neither face has (Chinese, emoji) is written as an escape such as `\\u6f22`, never as an empty box. Figures are as wide as
each other, so that columns of numbers stand still.
"""

from __future__ import annotations

import io
import re
import threading
from collections.abc import Callable, Sequence
from functools import cached_property, lru_cache
from importlib import resources
from math import ceil
from typing import TYPE_CHECKING

import numpy as np

from ..safe_text import escape
from .codes import GAP, INK, INK_MIDDLE, INKS, STRENGTHS

if TYPE_CHECKING:
    from importlib.resources.abc import Traversable

    from PIL.ImageFont import FreeTypeFont

# Labels and notes; the line below the title; the title.
SMALL, MEDIUM, LARGE = 12, 14, 20

# A map of so many pixels has letters of that size; in a wider one they grow, so that the whole picture shown 900 pixels wide
# has none of less than 10, up to a limit.
WIDE, LARGEST = 880, 16
FAMILY, FALLBACK = "Inter", "DejaVu Sans"
FILES = {"regular": "Inter-Regular.ttf", "bold": "Inter-SemiBold.ttf", "fallback": "DejaVuSans.ttf"}
POINTS = 0x110000
SEAMS = "./_:-"
# Where a line may end: not within a size, a difference, or before a number in brackets.
SPACES = re.compile(r"(?<![×−]) (?![×−] |\(\d)")


def font_file(face: str) -> Traversable:
    """The font file of a face: `"regular"`, `"bold"` or `"fallback"`."""
    return resources.files("layerscope").joinpath("assets", "fonts", FILES[face])


class Font:
    """The letters of one size, each a whole number of pixels wide: `width` measures text, `line` and `lines` draw it."""

    def __init__(self, size: int, bold: bool = False) -> None:
        self.size, self.bold = size, bold
        self._face = _open("bold" if bold else "regular", size)
        self.ascent, descent = self._face.getmetrics()
        self.height = self.ascent + descent
        # For each character where its columns begin among those drawn so far, and how many they are; 0 before it is drawn.
        self._starts, self._widths = np.zeros(POINTS, np.int32), np.zeros(POINTS, np.int32)
        # Column 0 is bare paper. Of each ink the same columns.
        self._columns = {ink: np.full((1, self.height), GAP, np.uint8) for ink in (INK, INK_MIDDLE)}
        self._advances = _Advances(self)
        # Characters that the face itself lacks, and those that no face has.
        self._borrowed: set[str] = set()
        self._missing: set[str] = set()
        self._adding = threading.Lock()

    def __reduce__(self) -> tuple[Callable[[int, bool], Font], tuple[int, bool]]:
        # A copy, and a picture in another process, have the font of that size there.
        return font, (self.size, self.bold)

    def width(self, text: str) -> int:
        """The pixels that a line of text takes."""
        return sum(map(self._advances.__getitem__, text))

    def widest(self, texts: Sequence[str]) -> int:
        """The pixels that the longest of some lines takes; 0 where there is none."""
        return int(self._measure(texts)[2].max(initial=0))

    def wrap(self, text: str, pixels: int) -> list[str]:
        """`text` in lines of at most so many pixels, broken as `wrap` does."""
        return wrap(text, pixels, self.width)

    def cut_text(self, text: str, pixels: int, lines: int = 1) -> list[str]:
        """`text` in at most so many lines of so many pixels; its middle gives way to `…` where it is too long."""
        parts = self.wrap(text, pixels)
        if len(parts) <= max(1, lines):
            return parts
        kept = len(text) - 1
        while kept > 2:
            cut = f"{text[: kept - kept // 2]}…{text[len(text) - kept // 2 :]}"
            parts = _pieces(cut, pixels, self.width)
            if len(parts) <= max(1, lines):
                return parts
            kept -= max(1, (self.width(cut) - pixels * max(1, lines)) // self.size)
        return ["…"]

    def shown(self, text: str) -> str:
        """`text` as it is drawn: escapes in place of what no face has."""
        self.width(text)
        return "".join(escape(sign) if sign in self._missing else sign for sign in text)

    def is_plain(self, text: str) -> bool:
        """Whether the face itself, without the one behind it, has every character of a text."""
        self.width(text)
        return self._borrowed.isdisjoint(text)

    def line(self, text: str, ink: int = INK) -> np.ndarray:
        """The codes of one line of text, `[height, width]`."""
        return self.lines([text], ink=ink)[0]

    def lines(self, texts: Sequence[str], width: int | None = None, *, ink: int = INK) -> np.ndarray:
        """The codes of many lines, `[line, height, width]`, cut or filled to `width` pixels (those of the longest)."""
        points, wide, lengths = self._measure(texts)
        ends = wide.cumsum()
        columns = (self._starts[points] - ends + wide).repeat(wide)
        columns += np.arange(len(columns))
        width = int(lengths.max(initial=0)) if width is None else width
        if (lengths > width).any():
            first = np.repeat(np.cumsum(lengths) - lengths, lengths)
            columns = columns[np.arange(len(columns)) - first < width]
            lengths = np.minimum(lengths, width)
        table = np.zeros((len(texts), width), np.int64)
        across = np.arange(width)
        table[across < lengths[:, None]] = columns
        return self._columns[ink].take(table, axis=0).transpose(0, 2, 1)

    def _measure(self, texts: Sequence[str]) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        """The code points of all lines, drawn by now, the pixels that each takes, and those that each line takes."""
        points = np.frombuffer("".join(texts).encode("utf-32-le", "surrogatepass"), np.uint32)
        wide = self._widths[points]
        if not wide.all():
            self._add(np.unique(points[wide == 0]))
            wide = self._widths[points]
        ends = np.zeros(len(points) + 1, np.int64)
        wide.cumsum(out=ends[1:])
        stops = ends[np.fromiter(map(len, texts), np.intp, len(texts)).cumsum()]
        lengths = stops.copy()
        lengths[1:] -= stops[:-1]
        return points, wide, lengths

    def _add(self, points: np.ndarray) -> None:
        """Draw these characters. A width is written once the columns are there, so that readers need no lock."""
        with self._adding:  # several threads may draw at once
            points = points[self._widths[points] == 0]
            letters = [self._letter(chr(point)) for point in points.tolist()]
            if not letters:
                return
            widths = np.array(list(map(len, letters)))
            start = len(self._columns[INK])
            covered = np.concatenate(letters)
            self._columns = {ink: np.concatenate([old, _inked(covered, ink)]) for ink, old in self._columns.items()}
            self._starts[points] = start + np.cumsum(widths) - widths
            self._widths[points] = widths

    def _letter(self, sign: str) -> np.ndarray:
        """How much of each pixel a character covers, uint8 `[column, row]`; of an escape where no face has it."""
        from PIL import Image, ImageDraw

        face = self._face_of(sign)
        if face is None:
            self._missing.add(sign)
            return np.concatenate([self._letter(part) for part in escape(sign)])
        advance, side = round(face.getlength(sign)), self.size
        image = Image.new("L", (advance + 2 * side, self.height))
        ImageDraw.Draw(image).text((side, self.ascent), sign, fill=255, font=face, anchor="ls")
        columns = np.asarray(image).T
        # What hangs over on either side is kept: the letter takes more room.
        inked = np.flatnonzero((columns > 16).any(1))
        first, last = (int(inked[0]), int(inked[-1]) + 1) if len(inked) else (side, side)
        return columns[min(first, side) : max(last, side + advance, side + 1)]

    def _face_of(self, sign: str) -> FreeTypeFont | None:
        """The face that has a character: in the files what is missing has no width."""
        paired = "\ud800" <= sign <= "\udfff"  # half of a pair, which no file has
        if not paired and self._face.getlength(sign) > 0:
            return self._face
        self._borrowed.add(sign)
        return self._fallback if not paired and self._fallback.getlength(sign) > 0 else None

    @cached_property
    def _fallback(self) -> FreeTypeFont:
        return _open("fallback", self.size)


class _Advances(dict[str, int]):
    """The width of each character of a font."""

    def __init__(self, letters: Font) -> None:
        super().__init__()
        self._letters = letters

    def __missing__(self, sign: str) -> int:
        self[sign] = width = self._letters.line(sign).shape[1]
        return width


def readable_text(width: int) -> float:
    """How many times as large as on a screen letters beside a map of so many pixels are to be; a whole number of pixels each.

    >>> readable_text(448), readable_text(4000) > 4
    (1.0, True)
    """
    return min(max(SMALL, ceil(SMALL * width / WIDE)) / SMALL, LARGEST)


def small(text: float) -> Font:
    """The font of labels and notes, `text` times as large as on a screen."""
    return font(round(SMALL * text))


@lru_cache(maxsize=32)
def font(size: int, bold: bool = False) -> Font:
    """The font of that size in pixels."""
    return Font(size, bold)


def _open(face: str, size: int) -> FreeTypeFont:
    from PIL import ImageFont

    # One letter at a time needs no shaping, and the engine for it fails on control characters.
    return ImageFont.truetype(io.BytesIO(font_file(face).read_bytes()), size, layout_engine=ImageFont.Layout.BASIC)


def _inked(covered: np.ndarray, ink: int) -> np.ndarray:
    """The codes of the inks that come nearest to pixels covered by so much of `ink`, 0 to 255."""
    known = INKS.index(ink) + 1
    codes = np.array((GAP, *INKS[:known]), np.uint8)
    shares = np.array((0.0, *STRENGTHS[:known])) / STRENGTHS[known - 1] * 255
    return codes[np.searchsorted((shares[1:] + shares[:-1]) / 2, covered)]


def wrap(text: str, room: int, measure: Callable[[str], int] = len) -> list[str]:
    """`text` in lines that measure at most `room`, broken at ` · ` first, then at spaces, then behind `.`, `/` and the like.

    >>> wrap("one · two three · four", 10)
    ['one', 'two three', 'four']
    >>> wrap("encoder.layer_11.dense", 10)
    ['encoder.', 'layer_11.', 'dense']
    """
    lines: list[str] = []
    for part in text.split(" · "):
        if lines and measure(longer := f"{lines[-1]} · {part}") <= room:
            lines[-1] = longer
        elif measure(part) <= room:
            lines.append(part)
        else:
            lines.extend(_wrap_words(part, room, measure))
    return lines


def _wrap_words(text: str, room: int, measure: Callable[[str], int]) -> list[str]:
    """`text` in lines that measure at most `room`, broken at spaces, else within words.

    A size, a difference and a number in brackets behind another stay whole: `14 × 14`, `a − b`, `5 (2.71)`.
    """
    lines = [""]
    whole = SPACES.split(text)
    for word in (part for unit in whole for part in ([unit] if measure(unit) <= room else unit.split(" "))):
        if lines[-1] and measure(longer := f"{lines[-1]} {word}") <= room:
            lines[-1] = longer
            continue
        lines += _pieces(word, room, measure)
    return [line for line in lines if line]


def _pieces(text: str, room: int, measure: Callable[[str], int]) -> list[str]:
    """`text` in pieces that measure at most `room`, a character at least; one empty piece of nothing.

    They end behind a sign that parts the names of layers, where that leaves a piece a third full, else anywhere.
    """
    pieces = [""]
    used = 0
    for sign in text:
        wide = measure(sign)
        if pieces[-1] and used + wide > room:
            end = 1 + max(map(pieces[-1].rfind, SEAMS))
            whole, rest = pieces[-1][:end], pieces[-1][end:]
            if 3 * measure(whole) < room or measure(rest) + wide > room:
                whole, rest = pieces[-1], ""
            pieces[-1:] = [whole, rest]
            used = measure(rest)
        pieces[-1] += sign
        used += wide
    return pieces
