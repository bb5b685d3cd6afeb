"""A sequence as one row a channel: round numbers of its axis below, pages or whole-number pooling where it is long."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from math import ceil, isfinite
from typing import Any

import numpy as np

from ..core.feature_map import FeatureMap
from ..errors import BadOption, near
from ..picture.canvas import Canvas, Frame
from ..picture.caption import about, title_of
from ..picture.codes import INK_MIDDLE
from ..picture.colorbar import round_numbers
from ..picture.font import SMALL, font
from ..picture.numbers import number
from ..picture.picture import Picture
from ..picture.scale import Scale, marks_of
from ..picture.shapes import Cell

# Rows are high enough to be told apart, also where there are too many positions for wide ones.
WIDE, TALL, ROW = 768, 2048, 14


# A longer sequence has several pages: programs that show pictures stumble over very wide ones.
WIDEST, PAGE_PIXELS = 4096, 16_000_000


POOLS = {"max": (np.max, "largest"), "min": (np.min, "smallest")}


@dataclass(frozen=True)
class Ruler:
    """The axis that positions lie along: its name, and how much of it one position is."""

    axis: str = "position"
    step: float = 1.0

    def __post_init__(self) -> None:
        if not isinstance(self.axis, str) or not self.axis:
            raise BadOption(f"axis={self.axis!r}: give the axis a name, such as 'seconds'")
        plain = isinstance(self.step, int | float | np.number) and not isinstance(self.step, bool)
        if not plain or not isfinite(self.step) or self.step <= 0:
            raise BadOption(f"step={self.step!r}: use a number above 0, how much of the axis one position is")

    def said(self, first: int, last: int, of: int) -> str:
        ends = f"{number(first * self.step, 6)} to {number(last * self.step, 6)}"
        whole = "" if (first, last) == (0, of - 1) else f" of 0 to {number((of - 1) * self.step, 6)}"
        return f"{self.axis} {ends}{whole}, left to right"


@dataclass(frozen=True, eq=False)
class Window:
    """The part of a sequence that a picture shows: `[channel, column]`, each column `each` positions from `first` on."""

    values: np.ndarray
    first: int
    each: int
    of: int
    page: int
    pages: int
    pool: str

    @classmethod
    def of_table(cls, table: np.ndarray, page: int, pool: str | None) -> Window:
        """Raises `BadOption` for a page or a rule of pooling that doesn't exist."""
        if pool is not None and pool not in POOLS:
            raise BadOption(f"pool={pool!r}: use 'max' or 'min', or None for pages.{near(str(pool), POOLS)}")
        channels, count = table.shape
        most = min(WIDEST, max(256, PAGE_PIXELS // channels))
        pages = ceil(count / most) if pool is None else 1
        if not isinstance(page, int | np.integer) or not 0 <= page < pages:
            raise BadOption(f"page={page!r}: this strip has {pages}, 0 to {pages - 1}")
        if pool is None:
            return cls(table[:, page * most : (page + 1) * most], page * most, 1, count, int(page), pages, "")
        each = ceil(count / WIDE)
        starts = range(0, count, each)
        columns = [POOLS[pool][0](table[:, at : at + each], axis=1) for at in starts]
        return cls(np.stack(columns, 1), 0, each, count, 0, 1, pool if each > 1 else "")

    @property
    def last(self) -> int:
        return min(self.of, self.first + self.values.shape[1] * self.each) - 1

    def said(self, ruler: Ruler) -> str:
        """Which positions these are, in words."""
        text = ruler.said(self.first, self.last, self.of)
        if self.pages > 1:
            text += f", page {self.page + 1} of {self.pages}"
        if self.pool:
            text += f", each column the {POOLS[self.pool][1]} of {self.each} positions"
            left = self.of % self.each
            text += f" (the last of {left})" if left else ""
        return text


def drawn(
    one: FeatureMap,
    window: Window,
    ruler: Ruler,
    rule: Scale,
    places: Sequence[int],
    lines: tuple[str, ...],
    image: int,
    flip: bool,
    text: int = 1,
) -> Picture:
    """One row a channel, position to the right; `flip` has the first channel at the bottom."""
    rows = list(enumerate(places))[:: -1 if flip else 1]
    codes = np.stack([rule.codes(window.values[at], 0, place) for at, place in rows])
    channels, columns = codes.shape
    zoom = text * max(1, min(16, WIDE // columns, TALL // channels))
    tall = max(zoom, text * min(ROW, TALL // channels))
    letters = font(SMALL * text)
    left = (len(str(max(one.channels))) + 1) * letters.width
    ticks = _ticks(window, ruler, zoom, text)
    reach = max(
        [
            columns * zoom,
            len(ruler.axis) * letters.width,
            *(x + (len(label) + 1) // 2 * letters.width for x, label in ticks),
        ]
    )
    height = channels * tall
    bar, marks = rule if rule.single else None, marks_of(codes)
    frame = Frame(title_of(one), lines, bar, marks, reach_of(one.values), text)
    canvas = frame.around(height + 6 * text + 2 * letters.height, left + reach)
    numbers = [one.channels[place] for _, place in rows]
    row_numbers(canvas, numbers, tall, 0, height)
    canvas.body[:height, left : left + columns * zoom] = codes.repeat(tall, 0).repeat(zoom, 1)
    below = height + 5 * text
    for x, label in ticks:
        canvas.fill(left + x, height, text, below - height, color=INK_MIDDLE)
        canvas.write(max(0, left + x - len(label) * letters.width // 2), below, label, muted=True)
    canvas.write(left, below + letters.height, ruler.axis, muted=True)
    cells = tuple(
        Cell(canvas.x + left, canvas.y + row * tall, columns * zoom, tall, image, channel, *rule.range(0, place))
        for row, (channel, (_, place)) in enumerate(zip(numbers, rows, strict=True))
    )
    facts = about(one, rule, positions=[window.first, window.last], pool=window.pool or None)
    return canvas.picture(cells, rule, facts, page=window.page, pages=window.pages, zoom=zoom, tall=tall)


def _ticks(window: Window, ruler: Ruler, zoom: int, size: int) -> list[tuple[int, str]]:
    """(x, text) of round numbers that lie on positions, at the middle of their column, none touching another."""
    low, high = window.first * ruler.step, window.last * ruler.step
    wide = window.values.shape[1] * zoom
    found: list[tuple[int, str]] = []
    letters = font(SMALL * size)
    taken = -letters.width
    values = round_numbers(low, high, max(2, min(10, wide // (80 * size)))) if high > low else [low]
    for value in values:
        position = round(value / ruler.step)
        # A round number between two positions would stand at neither.
        if not window.first <= position <= window.last or abs(position * ruler.step - value) > 1e-6 * abs(ruler.step):
            continue
        text = number(value, 6)
        x = (position - window.first) // window.each * zoom + zoom // 2
        half = (len(text) + 1) * letters.width // 2
        if x - half >= taken:
            found.append((x, text))
            taken = x + half
    return found


def reach_of(values: np.ndarray) -> tuple[float, float]:
    """How far the finite values go."""
    finite = np.isfinite(values)
    return float(values.min(where=finite, initial=np.inf)), float(values.max(where=finite, initial=-np.inf))


def row_numbers(canvas: Canvas, numbers: Sequence[int], pitch: int, top: int, height: int) -> None:
    """The channel number in front of a row, as often as there is room for one; the rows are `height` pixels from `top` on."""
    high = canvas.letters.height
    for row in range(0, len(numbers), ceil(high / pitch)):
        y = min(row * pitch + max(0, (pitch - high) // 2), max(0, height - high))
        canvas.write(0, top + y, str(numbers[row]))


def no_pages(page: Any) -> None:
    """Raises `BadOption` for a second page of what has one."""
    if page != 0:
        raise BadOption(f"page={page!r}: this strip has 1, 0 to 0")
