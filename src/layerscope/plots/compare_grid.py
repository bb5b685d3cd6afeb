"""Where everything lies in a comparison: cells, names, photos and bars, in pixels from the corner of its body."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import takewhile
from math import ceil, sqrt
from typing import NamedTuple

import numpy as np

from ..picture.codes import GAP
from ..picture.colorbar import ColorBar
from ..picture.font import LARGEST, SEAMS, SMALL, Font, font, readable_text, small
from ..picture.numbers import number, short_span
from ..picture.scale import Scale
from .compare_cells import Entry, Table, shared_bar
from .options import DrawOptions

COMFORTABLE_WIDTH, SMALLEST_CELL, LARGEST_CELL, LOWEST_CELL = 1000, 96, 224, 64
LONGEST_NAME, NAME_LINES = 170, 3
GAP_BETWEEN, FOLDS = 8, 16


class Units(NamedTuple):
    """How the units of a map lie in its cell: rows and columns of them, each `tall` × `wide` pixels."""

    rows: int
    columns: int
    tall: int
    wide: int

    @classmethod
    def of(cls, plane: np.ndarray, high: int, wide: int) -> Units:
        """Those of a map enlarged by a whole number, as large as its cell allows."""
        rows, columns = plane.shape[:2]
        zoom = max(1, min(high // rows, wide // columns))
        return cls(rows, columns, zoom, zoom)

    @classmethod
    def folded(cls, count: int, high: int, wide: int) -> Units:
        """Those of a row of numbers, which goes on below where each would have less than two pixels; then one, where many."""
        most = wide // 2 if count <= FOLDS * (wide // 2) else wide
        rows = ceil(count / most)
        columns = ceil(count / rows)
        return cls(rows, columns, max(1, high // rows), max(1, wide // columns))

    @property
    def size(self) -> tuple[int, int]:
        """Height and width in pixels."""
        return self.rows * self.tall, self.columns * self.wide

    def draw(self, values: np.ndarray) -> np.ndarray:
        """The pixels of codes or colours in these units; those of a last row that isn't full are paper."""
        full = np.full((self.rows * self.columns, *values.shape[2:]), GAP, values.dtype)
        full[: values.shape[0] * values.shape[1]] = values.reshape(-1, *values.shape[2:])
        return full.reshape(self.rows, self.columns, *values.shape[2:]).repeat(self.tall, 0).repeat(self.wide, 1)


@dataclass(frozen=True)
class Grid:
    """Where everything lies, in pixels from the corner of the body: rows of their own heights and columns of one width.

    More columns than fit stand below, `across` in each block, with their names, photos and bars.
    """

    table: Table
    rule: Scale | None
    text: float
    across: int
    highs: tuple[int, ...]
    wide: int
    left: int
    over: int
    names: tuple[tuple[str, ...], ...]
    heads: tuple[tuple[str, ...], ...]
    ranges: tuple[tuple[tuple[str, ...], ...], ...]
    bars: dict[int, ColorBar]
    photo_high: int
    shift: int
    lowest: int

    @classmethod
    def of(cls, table: Table, rule: Scale | None, options: DrawOptions, measured: str) -> Grid:
        sizes = [size / SMALL for size in range(SMALL, LARGEST + 1)] if options.text is None else [options.text]
        for size in sizes:
            grid = cls._fitting(table, rule, size, options=options, measured=measured)
            if readable_text(grid.size[1]) <= grid.text:
                break
        return grid

    @classmethod
    def _fitting(cls, table: Table, rule: Scale | None, text: float, *, options: DrawOptions, measured: str) -> Grid:
        letters, bold = small(text), font(small(text).size, bold=True)
        beside = [line for lines in table.details for line in lines]
        beside += table.photo_words if table.photos is not None and not table.photos_down else ()
        longest = min(round(LONGEST_NAME * text), max(bold.widest(table.rows), letters.widest(beside)))
        gap = round(GAP_BETWEEN * text)
        left = longest + 2 * gap
        bars: dict[int, ColorBar] = {}
        if rule is not None and rule.per == "row" and options.bar:
            for row in with_values(table, "row"):
                bars[row] = ColorBar(*shared_bar(table, rule, row, slice(None)), text, "" if bars else measured)
        shift = int(table.photos is not None and table.photos_down)
        smallest, lowest = round(SMALLEST_CELL * options.size), round(LOWEST_CELL * options.size)
        room = round(COMFORTABLE_WIDTH * options.size) - left - max((bar.width for bar in bars.values()), default=0)
        count = len(table.columns)
        fit = max(1, room // (smallest + gap) - shift)
        across = min(count, options.columns or ceil(count / ceil(count / fit)))
        planes = [entry.plane for row in table.entries for entry in row if entry.plane is not None and not entry.flat]
        longest_sides = [max(plane.shape[:2]) for plane in planes]
        side = _side(longest_sides, room // (across + shift) - gap, options.size)
        sizes = [
            [units_of(entry, lowest if entry.flat else side, side).size for entry in row if entry.plane is not None]
            for row in table.entries
        ]
        wide = max(smallest, *(width for row in sizes for _, width in row))
        names = _cut_names(table.rows, bold, longest)
        highs = []
        for row, lines in enumerate(names):
            written = (len(lines) + len(table.details[row] if table.details else ())) * letters.height
            least = bars[row].least if row in bars else 0
            highs.append(max(lowest, written, least, *(height for height, _ in sizes[row])))
        heads = _cut_names(table.columns, bold, wide)
        over = max(len(table.photo_words) if shift else 1, *map(len, heads)) * letters.height + 2
        over = max(over, *(bar.above for bar in bars.values())) if bars else over
        photo_high = 0 if table.photos is None or shift else _photo_height(table, wide, max(highs), letters)
        hidden = rule is not None and rule.per == "column" and not options.bar
        ranges = () if hidden else _ranges(table, rule, wide, letters)
        return cls(
            table,
            rule,
            text,
            across,
            tuple(highs),
            wide,
            left,
            over,
            names,
            heads,
            ranges,
            bars,
            photo_high,
            shift,
            lowest,
        )

    @property
    def letters(self) -> Font:
        return small(self.text)

    @property
    def gap(self) -> int:
        """The pixels between two cells; a bar that lies is as thick, and blocks are three times as far apart."""
        return round(GAP_BETWEEN * self.text)

    @property
    def blocks(self) -> range:
        return range(ceil(len(self.table.columns) / self.across))

    @property
    def below(self) -> int:
        """The pixels below each row that the ranges of its cells take."""
        own = self.rule is not None and self.rule.per == "cell"
        return self._range_lines * self.letters.height if own else 0

    @property
    def foot(self) -> int:
        """The pixels below a block that the bars of its columns take."""
        bars = self.rule is not None and self.rule.per == "column" and self.ranges
        return self.gap + 2 + self._range_lines * self.letters.height if bars else 0

    @property
    def _range_lines(self) -> int:
        return max((len(lines) for row in self.ranges for lines in row), default=0)

    @property
    def step_across(self) -> int:
        return self.wide + self.gap

    @property
    def block(self) -> int:
        """The height of a block: names, photos, rows and the bars of its columns."""
        return self._top(len(self.highs)) - self.gap + (self.gap + self.foot if self.foot else 0)

    @property
    def size(self) -> tuple[int, int]:
        beside = max((bar.width for bar in self.bars.values()), default=0)
        height = len(self.blocks) * (self.block + 3 * self.gap) - 3 * self.gap
        return height, self.bar_left + beside

    @property
    def bar_left(self) -> int:
        """Where the maps of a block end and the bars of its rows begin."""
        return self.left + (self.across + self.shift) * self.step_across - self.gap

    def block_top(self, block: int) -> int:
        return block * (self.block + 3 * self.gap)

    def _top(self, row: int) -> int:
        """The upper edge of a row in its block; of the one behind the last, where its gap ends."""
        photos = self.photo_high + self.gap if self.photo_high else 0
        return self.over + photos + sum(high + self.below + self.gap for high in self.highs[:row])

    def units(self, row: int, column: int) -> Units:
        """How the units of a cell lie in it; a single one for a cell without a map."""
        entry = self.table.entries[row][column]
        high = min(self.highs[row], self.lowest) if entry.flat else self.highs[row]
        return Units(1, 1, 1, 1) if entry.plane is None else units_of(entry, high, self.wide)

    def corner(self, row: int, column: int) -> tuple[int, int]:
        """The corner of a cell."""
        block, place = divmod(column, self.across)
        return self.block_top(block) + self._top(row), self.left + (place + self.shift) * self.step_across

    def photo_box(self, image: int) -> tuple[int, int, int]:
        """The corner of a photo's cell and its height: above a column, or in front of a row of the first block."""
        if self.table.photos_down:
            return self._top(image), self.left, self.highs[image]
        y, x = self.corner(0, image)
        return y - self.gap - self.photo_high, x, self.photo_high


def _side(sizes: Sequence[int], room: int, size: float) -> int:
    """The side of the cells: about as large as there is room for, and such that whole numbers enlarge all maps to about it.

    `size` is how many times as large as on a screen they are to be.
    """
    smallest, largest = round(SMALLEST_CELL * size), round(LARGEST_CELL * size)
    room = min(largest, max(smallest, room))
    most = min(largest, room * 5 // 4)

    def score(side: int) -> tuple[float, int]:
        fill = min((min(1.0, max(1, side // size) * size / side) for size in sizes), default=1.0)
        return fill * sqrt(min(side, room)) * (1 if side <= room else 0.9), -side

    return max(range(max(smallest, room // 2), most + 1), key=score)


def _photo_height(table: Table, wide: int, high: int, letters: Font) -> int:
    """The height of the row of photos, each as large as its cell allows, and of the words in front of it."""
    shapes = [photo.pixels.shape for photo in table.photos or () if photo is not None]
    highest = max((round(shape[0] * min(high / shape[0], wide / shape[1])) for shape in shapes), default=LOWEST_CELL)
    return max(highest, len(table.photo_words) * letters.height)


def _cut_names(names: Sequence[str], letters: Font, room: int) -> tuple[tuple[str, ...], ...]:
    """The lines of each name. Where cutting takes what tells two apart, what all begin with gives way instead."""
    cut = tuple(tuple(letters.cut_text(name, room, NAME_LINES)) for name in names)
    shared = "".join(signs[0] for signs in takewhile(lambda signs: len(set(signs)) == 1, zip(*names, strict=False)))
    if len(set(cut)) == len(set(names)) or not shared:
        return cut
    # One part that they share stays: layer_3, not 3.
    ends = [end + 1 for end, sign in enumerate(shared) if sign in SEAMS][-2:]
    return tuple(
        tuple(letters.cut_text(f"…{name[ends[0] if ends else len(shared) :]}", room, NAME_LINES)) for name in names
    )


def with_values(table: Table, rule: str) -> list[int]:
    """The rows or columns that a bar says something of: those with a finite value."""
    groups = table.values(rule).items()
    return [key for key, indices in groups if any(np.isfinite(table.plane(index)).any() for index in indices)]


def _ranges(table: Table, rule: Scale | None, room: int, letters: Font) -> tuple[tuple[tuple[str, ...], ...], ...]:
    """The range of each cell, or in one row that of each column, in one or two lines."""
    if rule is None or rule.per not in ("cell", "column"):
        return ()
    if rule.per == "column":
        shown = with_values(table, "column")
        ranges = {column: shared_bar(table, rule, slice(None), column)[0].range() for column in shown}
        lines = [
            _range_lines(*ranges[column], room, letters) if column in ranges else ()
            for column in range(len(table.columns))
        ]
        return (tuple(lines),)
    return tuple(
        tuple(
            ()
            if entry.plane is None or entry.colored or not np.isfinite(entry.plane).any()
            else _range_lines(*rule.range(row, column), room, letters)
            for column, entry in enumerate(entries)
        )
        for row, entries in enumerate(table.entries)
    )


def _range_lines(low: float, high: float, room: int, letters: Font) -> tuple[str, ...]:
    if low == high:
        return (number(low),)
    spans = [short_span(low, high, digits) for digits in (3, 2)]
    for first, last in spans:
        if letters.width(f"{first}…{last}") <= room:
            return (f"{first}…{last}",)
    return f"{spans[0][0]}…", spans[0][1]


def units_of(entry: Entry, high: int, wide: int) -> Units:
    """How the units of what an entry shows lie in a cell of that size."""
    assert entry.plane is not None
    return Units.folded(entry.plane.shape[1], high, wide) if entry.flat else Units.of(entry.plane, high, wide)
