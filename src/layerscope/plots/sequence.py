"""A sequence as one row per channel: round numbers of its axis below, pages or whole-number pooling where it is long."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from math import ceil, isfinite

import numpy as np

from ..core.feature_map import FeatureMap
from ..errors import BadOption, near
from ..picture.canvas import Canvas, Frame
from ..picture.caption import about, quantity
from ..picture.codes import INK_MIDDLE
from ..picture.colorbar import round_numbers
from ..picture.font import small
from ..picture.numbers import number
from ..picture.palette import marks_of
from ..picture.picture import Picture
from ..picture.scale import Scale
from ..picture.shapes import Cell
from .options import DrawOptions, Page
from .tiles import PAGE_PIXELS

# Rows are high enough to be told apart, also where there are too many positions for wide ones.
WIDE, TALL, ROW = 768, 2048, 14

# A longer sequence has several pages: programs that show pictures stumble over very wide ones.
WIDEST = 4096
POOLS = {"max": (np.max, "largest"), "min": (np.min, "smallest")}


@dataclass(frozen=True, kw_only=True)
class StripOptions(DrawOptions):
    """What a strip has besides: the name of its axis, how much of it one position is, which way up, and how it is pooled."""

    axis: str = "position"
    step: float = 1
    flip: bool = False
    pool: str | None = None

    def __post_init__(self) -> None:
        super().__post_init__()
        if not isinstance(self.axis, str) or not self.axis:
            raise BadOption(f"axis={self.axis!r}: give the axis a name, such as 'seconds'")
        plain = isinstance(self.step, int | float | np.number) and not isinstance(self.step, bool)
        if not plain or not isfinite(self.step) or self.step <= 0:
            raise BadOption(f"step={self.step!r}: use a number above 0, the length of one position along the axis")
        if self.pool is not None and self.pool not in POOLS:
            raise BadOption(f"pool={self.pool!r}: use 'max' or 'min', or None for pages{near(str(self.pool), POOLS)}")


@dataclass(frozen=True, eq=False)
class Rows:
    """The channels of a strip: the map of one image, its number, where they lie in the map, scale, title and caption."""

    one: FeatureMap
    image: int
    indices: Sequence[int]
    rule: Scale
    title: str
    lines: tuple[str, ...]

    @property
    def numbers(self) -> list[int]:
        """Their true channel numbers."""
        return [self.one.channels[index] for index in self.indices]


@dataclass(frozen=True, eq=False)
class Window:
    """The part of a sequence that a picture shows: `[channel, column]`, a column `width` positions wide, from `first` on."""

    values: np.ndarray
    first: int
    width: int
    of: int
    page: Page
    pool: str

    @classmethod
    def of_table(cls, table: np.ndarray, options: StripOptions) -> Window:
        """The columns of a table `[channel, position]`. Raises `BadOption` for a page that doesn't exist."""
        (channels, count), pool = table.shape, options.pool
        most = min(WIDEST, max(256, PAGE_PIXELS // channels)) if pool is None else count
        page = options.pick_page(count, most)
        if pool is None:
            return cls(table[:, page.here], page.here.start, 1, count, page, "")
        width = ceil(count / WIDE)
        columns = [POOLS[pool][0](table[:, start : start + width], axis=1) for start in range(0, count, width)]
        return cls(np.stack(columns, 1), 0, width, count, page, pool if width > 1 else "")

    @property
    def last(self) -> int:
        return min(self.of, self.first + self.values.shape[1] * self.width) - 1

    def describe(self, options: StripOptions) -> str:
        """What its axis doesn't say: which part of the whole this is, what a column stands for, which way up it is."""
        step, parts = options.step, []
        if self.page.text:
            axis = "positions" if options.axis == "position" else options.axis
            here, whole = (self.first, self.last), (0, self.of - 1)
            first, last, *ends = (number(position * step, 6) for position in (*here, *whole))
            parts.append(f"{axis} {first} to {last} of {' to '.join(ends)}, {self.page.text}")
        if self.pool:
            left = self.of % self.width
            parts.append(f"each column the {POOLS[self.pool][1]} of {self.width} positions")
            parts[-1] += f" (the last of {left})" if left else ""
        parts += ["a row for each channel" + ", the first at the bottom" * options.flip]
        parts += (
            [f"positions {number(step, 6)} {options.axis} apart"] if step != 1 and options.axis != "position" else []
        )
        return ", ".join(parts)


def draw_sequence(rows: Rows, table: np.ndarray, options: StripOptions) -> Picture:
    """One row per channel of a table `[channel, position]`, positions to the right."""
    one, rule, size = rows.one, rows.rule, options.size
    window = Window.of_table(table, options)
    order = list(enumerate(rows.indices))[:: -1 if options.flip else 1]
    codes = np.stack([rule.codes(window.values[row], 0, index) for row, index in order])
    channels, columns = codes.shape
    zoom = max(1, round(size * max(1, min(16, WIDE // columns, TALL // channels))))
    tall = max(zoom, round(size * min(ROW, TALL // channels)))
    text = options.letters(columns * zoom)
    letters = small(text)
    left = row_numbers_width(one.channels, text)
    ticks = _ticks(window, options.step, zoom, text)
    reaches = [x + (letters.width(label) + 1) // 2 for x, label in ticks]
    width = max(columns * zoom, letters.width(options.axis), *reaches)
    height = channels * tall
    bar = rule if rule.single else None
    lines = (*rows.lines, *filter(None, [window.describe(options)]))
    marks, reach = marks_of(codes), reach_of(one.values)
    frame = Frame(rows.title, lines[0], lines[1:], bar, marks, reach, text, quantity(one))
    canvas = options.framed(frame).around(
        height + round(6 * text) + 2 * letters.height, left + width, beside=(0, height)
    )
    numbers = [one.channels[index] for _, index in order]
    write_row_numbers(canvas, numbers, tall, top=0, height=height, left=left)
    canvas.body[:height, left : left + columns * zoom] = codes.repeat(tall, 0).repeat(zoom, 1)
    below = height + round(5 * text)
    for x, label in ticks:
        canvas.fill(left + x, height, round(text), below - height, color=INK_MIDDLE)
        canvas.write(max(0, left + x - letters.width(label) // 2), below, label, muted=True)
    middle = left + (columns * zoom - letters.width(options.axis)) // 2
    canvas.write(max(left, middle), below + letters.height, options.axis, muted=True)
    cells = tuple(
        Cell(canvas.x + left, canvas.y + row * tall, columns * zoom, tall, rows.image, channel, *rule.range(0, index))
        for row, (channel, (_, index)) in enumerate(zip(numbers, order, strict=True))
    )
    facts = about(one, rule, positions=[window.first, window.last], pool=window.pool or None)
    return canvas.picture(cells, rule, facts, page=window.page.number, pages=window.page.pages, zoom=zoom, tall=tall)


def _ticks(window: Window, step: float, zoom: int, text: float) -> list[tuple[int, str]]:
    """(x, text) of round numbers that lie on positions, at the middle of their column, none touching another."""
    letters = small(text)
    low, high = window.first * step, window.last * step
    wide = window.values.shape[1] * zoom
    ticks: list[tuple[int, str]] = []
    taken = -WIDE
    values = round_numbers(low, high, max(2, min(10, int(wide / (80 * text))))) if high > low else [low]
    for value in values:
        position = round(value / step)
        # A round number between two positions would stand at neither.
        if not window.first <= position <= window.last or abs(position * step - value) > 1e-6 * abs(step):
            continue
        label = number(value, 6)
        x = (position - window.first) // window.width * zoom + zoom // 2
        half = (letters.width(label) + letters.height) // 2
        if x - half >= taken:
            ticks.append((x, label))
            taken = x + half
    return ticks


def reach_of(values: np.ndarray) -> tuple[float, float]:
    """How far the finite values go."""
    finite = np.isfinite(values)
    return float(values.min(where=finite, initial=np.inf)), float(values.max(where=finite, initial=-np.inf))


def row_numbers_width(numbers: Sequence[int], text: float) -> int:
    """The pixels in front of rows that their numbers take, with a gap."""
    return small(text).width(str(max(numbers))) + round(8 * text)


def write_column_numbers(canvas: Canvas, texts: Sequence[str], pitch: int, *, middle: int) -> None:
    """So many of the texts above columns that none touches another; `middle` is that of the first column."""
    letters = canvas.letters
    widest = letters.widest(texts) + letters.height // 2
    step = next(step for step in (1, 2, 5, 10, 20, 50, 100, len(texts)) if step * pitch >= widest or step == len(texts))
    columns = range(0, len(texts), step)
    words = [(middle + column * pitch - letters.width(texts[column]) // 2, 0, texts[column]) for column in columns]
    canvas.write_all(words, muted=True)


def write_row_numbers(canvas: Canvas, numbers: Sequence[int], pitch: int, *, top: int, height: int, left: int) -> None:
    """A number in front of each row that has room for one, up to a gap before `left`; rows fill `height` pixels from `top`."""
    letters, words, free = canvas.letters, [], 0
    for row in range(0, len(numbers), ceil(letters.height / pitch)):
        y = min(row * pitch + max(0, (pitch - letters.height) // 2), max(0, height - letters.height))
        if y < free:
            continue  # the last, moved up to where another stands
        free = y + letters.height
        text = str(numbers[row])
        words.append((max(0, left - round(8 * canvas.text) - letters.width(text)), top + y, text))
    canvas.write_all(words)
