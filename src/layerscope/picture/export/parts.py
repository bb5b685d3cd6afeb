"""The parts of a picture: its text as text, its bar and its marks as boxes, and the pixels that are left.

Text is drawn from a font of fixed cells, so a line that should stand somewhere can be checked pixel by pixel. What is found
as expected becomes a `Text`; what isn't (drawn over, or by other code) stays in `bare` as pixels. So nothing that a picture
shows can be missing in what is made from its parts.
"""

from __future__ import annotations

import string
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from functools import lru_cache
from math import isnan
from typing import Any

import numpy as np

from ..canvas import BAR_TICK, MARGIN, MUTED, STRENGTHS, Caption, bar_ticks, placed_ticks
from ..codes import ABOVE, BELOW, GAP, INK, INK_LIGHT, OWN
from ..font import SMALL, Font, font
from ..numbers import short_span
from ..scale import MARKS
from ..shapes import Cell, Swatch, Text
from . import Drawn

UNKNOWN = 255


# Whose a text is, where it isn't a tile's.
PICTURE, BAR = -1, -2


@dataclass(frozen=True)
class Label:
    """A text of the picture: grey or black, and whose it is: the number of a tile, `PICTURE` or `BAR`."""

    text: Text
    muted: bool = False
    tile: int = PICTURE


@dataclass(frozen=True)
class Parts:
    """`labels`, `boxes` (marks, bar, ticks) and `bare`: the picture's pixels without them, uint8 as in the picture."""

    labels: tuple[Label, ...]
    boxes: tuple[Swatch, ...]
    bar: tuple[Swatch, ...]
    bare: np.ndarray
    paper: Any

    def rest(self, cells: Iterable[Cell]) -> tuple[int, int, np.ndarray] | None:
        """x, y and pixels of the smallest box that holds what is neither text nor box nor tile; `None`: there is nothing."""
        left = self.bare.copy()
        for cell in cells:
            left[cell.y : cell.y + cell.height, cell.x : cell.x + cell.width] = self.paper
        drawn = left != self.paper
        rows, columns = (np.flatnonzero((drawn.any(-1) if drawn.ndim == 3 else drawn).any(axis)) for axis in (1, 0))
        if not len(rows):
            return None
        x, y = int(columns[0]), int(rows[0])
        return x, y, left[y : rows[-1] + 1, x : columns[-1] + 1]


def parts_of(picture: Drawn) -> Parts:
    """What the picture consists of."""
    finder = _Finder(picture)
    for label in (*_caption(picture, finder.codes), *_ticks(picture), *_caps(picture, finder)):
        finder.take(label)
    for at, cell in enumerate(picture.cells):
        _tile_labels(finder, at, cell, SMALL * picture.text)
    for text in picture.texts:
        if not finder.taken(text):
            finder.take(Label(text)) or finder.take(Label(text, muted=True))
    boxes = [each for each in (*_legend(picture, finder.codes), *_marks_beside(picture)) if finder.holds(each)]
    bar = _bar(picture, finder.codes)
    for each in (*boxes, *bar):
        finder.cover(each.x, each.y, each.width, each.height)
    bare = picture.pixels.copy()
    paper = GAP if picture.indexed else picture.palette()[GAP]
    bare[finder.covered] = paper
    return Parts(tuple(finder.labels), tuple(boxes), bar, bare, paper)


class _Finder:
    def __init__(self, picture: Drawn) -> None:
        self.codes = _as_codes(picture)
        self.covered = np.zeros(self.codes.shape, bool)
        self.labels: list[Label] = []
        self.letters = font(SMALL * picture.text)

    def take(self, label: Label) -> bool:
        """Whether the label stands there, pixel by pixel. If so it's kept, and its place is covered."""
        x, y, text, size = label.text
        if not text or x < 0 or y < 0:
            return False
        ink = (MUTED if label.muted else STRENGTHS).take(font(size).line(text))
        box = self.codes[y : y + ink.shape[0], x : x + ink.shape[1]]
        if not box.size or not np.array_equal(box, ink[: box.shape[0], : box.shape[1]]):
            return False
        self.labels.append(label)
        self.cover(x, y, ink.shape[1], ink.shape[0])
        return True

    def taken(self, text: Text) -> bool:
        """Whether the place of a text is covered already: by itself, as the number of a tile."""
        x, y, line, size = text
        letters = font(size)
        return bool(self.covered[y : y + letters.height, x : x + len(line) * letters.width].all())

    def read(self, x: int, y: int) -> str:
        """The grey text that begins there, letter by letter up to the first place that holds none."""
        known, found = _letters(self.letters), ""
        wide, high = self.letters.width, self.letters.height
        while x + wide <= self.codes.shape[1]:
            box = self.codes[y : y + high, x : x + wide]
            letter = known.get(np.ascontiguousarray(box).tobytes())
            if letter is None:
                break
            found += letter
            x += wide
        return found.rstrip()

    def holds(self, box: Swatch) -> bool:
        x, y, width, height, code = box
        found = self.codes[y : y + height, x : x + width]
        return bool(found.size and (found == code).all())

    def cover(self, x: int, y: int, width: int, height: int) -> None:
        self.covered[y : y + height, x : x + width] = True


def _as_codes(picture: Drawn) -> np.ndarray:
    """The codes of an indexed picture. Of an RGB one those of paper, ink and marks, and 255 for all other colours."""
    if picture.indexed:
        return picture.pixels
    if picture.frame is not None:
        return np.where(picture.frame == OWN, np.uint8(UNKNOWN), picture.frame)
    packed = picture.pixels.astype(np.uint32) @ np.array([1 << 16, 1 << 8, 1], np.uint32)
    codes = np.full(packed.shape, UNKNOWN, np.uint8)
    table = picture.palette().astype(np.uint32) @ np.array([1 << 16, 1 << 8, 1], np.uint32)
    for code in range(GAP, INK + 1):
        codes[packed == table[code]] = code
    for cell in picture.cells:
        codes[cell.y : cell.y + cell.height, cell.x : cell.x + cell.width] = UNKNOWN
    return codes


def _head(picture: Drawn, codes: np.ndarray) -> Caption:
    """The caption, with the marks whose boxes stand above the first tile."""
    top = min((cell.y for cell in picture.cells), default=picture.height)
    marks = set(np.unique(codes[:top]).tolist()) & set(MARKS)
    return Caption(picture.title, picture.lines, marks, picture.width - 2 * MARGIN * picture.text, picture.text)


def _caption(picture: Drawn, codes: np.ndarray) -> Iterator[Label]:
    for text in _head(picture, codes).texts():
        yield Label(text)


def _legend(picture: Drawn, codes: np.ndarray) -> Iterator[Swatch]:
    yield from _head(picture, codes).swatches()


def _ticks(picture: Drawn) -> Iterator[Label]:
    if picture.bar is not None and picture.scale is not None and picture.scale.single:
        for _, text in placed_ticks(picture.bar, bar_ticks(picture.scale), picture.text):
            yield Label(text, tile=BAR)


@lru_cache(maxsize=4)
def _letters(letters: Font) -> dict[bytes, str]:
    """Each letter that may stand beside a bar by its pixels."""
    signs = string.ascii_letters + string.digits + " .+-−…"
    return {np.ascontiguousarray(MUTED.take(letters.line(each))).tobytes(): each for each in signs}


def _cap(picture: Drawn) -> tuple[int, int, int] | None:
    """Where what lies beyond the bar's ends stands: the rows above and below it, and how tall."""
    bar = picture.bar
    if bar is None or picture.scale is None or not picture.scale.single:
        return None
    tall, space = font(SMALL * picture.text).height, 2 * picture.text
    return bar.y - tall - space, bar.y + bar.height + space, tall


def _caps(picture: Drawn, finder: _Finder) -> Iterator[Label]:
    """How far the values go beyond the bar."""
    rows = _cap(picture)
    if rows is None or picture.bar is None:
        return
    for y in rows[:2]:
        x = picture.bar.x + picture.bar.width + BAR_TICK * picture.text
        text = finder.read(x, y) if y >= 0 else ""
        if text.startswith(("max", "min", "above", "below")):
            yield Label(Text(x, y, text, SMALL * picture.text), muted=True)


def _marks_beside(picture: Drawn) -> Iterator[Swatch]:
    """The ticks' lines, and what stands for values beyond the bar's ends."""
    bar = picture.bar
    if bar is None or picture.scale is None or not picture.scale.single:
        return
    text = picture.text
    for at, _ in placed_ticks(bar, bar_ticks(picture.scale), text):
        yield Swatch(bar.x + bar.width, at, 4 * text, min(text, bar.y + bar.height - at), INK)
    over, under, tall = _cap(picture) or (0, 0, 0)
    yield Swatch(bar.x, over, bar.width, tall, ABOVE)
    yield Swatch(bar.x, under, bar.width, tall, BELOW)


def _bar(picture: Drawn, codes: np.ndarray) -> tuple[Swatch, ...]:
    """The bar as boxes of one colour each, from top to bottom."""
    bar = picture.bar
    if bar is None or picture.scale is None:
        return ()
    if picture.indexed:
        column = codes[bar.y : bar.y + bar.height, bar.x].astype(int)
    else:
        # An RGB picture's bar was drawn in codes as well, and coloured afterwards.
        share = (np.arange(bar.height) + 0.5) / bar.height
        column = picture.scale.codes(bar.high * (1 - share) + bar.low * share).astype(int)
    starts = [0, *(np.flatnonzero(np.diff(column)) + 1).tolist()]
    ends = [*starts[1:], len(column)]
    return tuple(
        Swatch(bar.x, bar.y + start, bar.width, end - start, int(column[start]))
        for start, end in zip(starts, ends, strict=True)
    )


def _tile_labels(finder: _Finder, at: int, cell: Cell, size: int) -> None:
    """The number above a tile, and its range or what is special: on the same line, or on one of its own."""
    letters = finder.letters
    above = finder.codes[max(0, cell.y - 2 * letters.height) : cell.y, cell.x : cell.x + max(cell.width, letters.width)]
    if ((above >= INK_LIGHT) & (above <= INK)).any():
        name = str(cell.channel)
        for lines in (1, 2):
            if finder.take(Label(Text(cell.x, cell.y - lines * letters.height, name, size), False, at)):
                break
        for text in filter(None, _words(cell)):
            wide = len(text) * letters.width
            y = cell.y - letters.height
            places = ((cell.x + cell.width - wide, True), (cell.x, True), (cell.x, False))
            if any(finder.take(Label(Text(x, y, text, size), muted, at)) for x, muted in places):
                return


def _words(cell: Cell) -> tuple[str, ...]:
    if isnan(cell.low):
        return (cell.note,)
    return (cell.note, *(short_span(cell.low, cell.high, digits) for digits in (3, 2)))
