"""A table of maps as one picture: rows and columns with their names, each map in its cell, the bars beside them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from math import ceil, sqrt
from typing import Any

import numpy as np

from ..errors import BadOption
from ..picture.canvas import Canvas, Frame, draw_text
from ..picture.codes import ABOVE, BELOW, INK_LIGHT, INK_MIDDLE
from ..picture.colorbar import BAR_GAP, ColorBar, cap_boxes, ramp_codes
from ..picture.font import LARGEST, SMALL, Font, font, readable_text, small
from ..picture.numbers import short_span
from ..picture.palette import marks_of, palette
from ..picture.picture import Picture
from ..picture.scale import Scale
from ..picture.shapes import Box, Cell, Text
from .compare_cells import Table, all_beyond, shared_bar
from .options import DrawOptions
from .rgb import paper, rgb_colors

COMFORTABLE_WIDTH, SMALLEST_CELL, LARGEST_CELL, LOWEST_CELL = 1000, 96, 224, 64
LONGEST_NAME, NAME_LINES = 170, 3
GAP_BETWEEN, GAP_BLOCKS, BAR_HEIGHT = 8, 24, 8
MOST_PIXELS = 48_000_000
PHOTO = "photo"


@dataclass(frozen=True)
class _Grid:
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

    @classmethod
    def of(cls, table: Table, rule: Scale | None, options: DrawOptions, measured: str) -> _Grid:
        for size in range(SMALL, LARGEST + 1):
            grid = cls._fitting(table, rule, size / SMALL, options=options, measured=measured)
            if readable_text(grid.size[1]) <= grid.text:
                break
        return grid

    @classmethod
    def _fitting(cls, table: Table, rule: Scale | None, text: float, *, options: DrawOptions, measured: str) -> _Grid:
        letters, bold = small(text), font(small(text).size, bold=True)
        planes = [[entry.plane for entry in row if entry.plane is not None] for row in table.entries]
        longest = max(
            bold.widest((PHOTO, *table.rows)), letters.widest([line for lines in table.details for line in lines])
        )
        longest = min(round(LONGEST_NAME * text), longest)
        left = longest + 2 * GAP_BETWEEN
        bars: dict[int, ColorBar] = {}
        if rule is not None and rule.per == "row" and options.bar:
            for row in _with_values(table, "row"):
                bars[row] = ColorBar(*shared_bar(table, rule, row, slice(None)), text, "" if bars else measured)
        shift = int(table.photos is not None and table.photos_down)
        room = COMFORTABLE_WIDTH - left - max((bar.width for bar in bars.values()), default=0)
        count = len(table.columns)
        fit = max(1, room // (SMALLEST_CELL + GAP_BETWEEN) - shift)
        across = min(count, options.columns or ceil(count / ceil(count / fit)))
        side = _side([max(plane.shape[:2]) for row in planes for plane in row], room // (across + shift) - GAP_BETWEEN)
        sizes = [[_zoomed(plane, side) for plane in row] for row in planes]
        wide = max(SMALLEST_CELL, *(width for row in sizes for _, width in row))
        names = tuple(tuple(bold.cut_text(name, longest, NAME_LINES)) for name in table.rows)
        highs = []
        for row, lines in enumerate(names):
            written = (len(lines) + len(table.details[row] if table.details else ())) * letters.height
            least = bars[row].least if row in bars else 0
            highs.append(max(LOWEST_CELL, written, least, *(height for height, _ in sizes[row])))
        heads = tuple(tuple(bold.cut_text(name, wide, NAME_LINES)) for name in table.columns)
        over = max(map(len, heads), default=1) * letters.height + 2
        over = max(over, *(bar.above for bar in bars.values())) if bars else over
        photo_high = 0 if table.photos is None or shift else _photo_height(table, wide, max(highs))
        hidden = rule is not None and rule.per == "column" and not options.bar
        ranges = () if hidden else _ranges(table, rule, wide, letters)
        return cls(
            table, rule, text, across, tuple(highs), wide, left, over, names, heads, ranges, bars, photo_high, shift
        )

    @property
    def letters(self) -> Font:
        return small(self.text)

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
        return BAR_HEIGHT + 2 + self._range_lines * self.letters.height if bars else 0

    @property
    def _range_lines(self) -> int:
        return max((len(lines) for row in self.ranges for lines in row), default=0)

    @property
    def step_across(self) -> int:
        return self.wide + GAP_BETWEEN

    @property
    def block(self) -> int:
        """The height of a block: names, photos, rows and the bars of its columns."""
        return self._top(len(self.highs)) - GAP_BETWEEN + (GAP_BETWEEN + self.foot if self.foot else 0)

    @property
    def size(self) -> tuple[int, int]:
        beside = max((bar.width for bar in self.bars.values()), default=0)
        height = len(self.blocks) * (self.block + GAP_BLOCKS) - GAP_BLOCKS
        return height, self.bar_left + beside

    @property
    def bar_left(self) -> int:
        """Where the maps of a block end and the bars of its rows begin."""
        return self.left + (self.across + self.shift) * self.step_across - GAP_BETWEEN

    def block_top(self, block: int) -> int:
        return block * (self.block + GAP_BLOCKS)

    def _top(self, row: int) -> int:
        """The upper edge of a row in its block; of the one behind the last, where its gap ends."""
        photos = self.photo_high + GAP_BETWEEN if self.photo_high else 0
        return self.over + photos + sum(high + self.below + GAP_BETWEEN for high in self.highs[:row])

    def corner(self, row: int, column: int) -> tuple[int, int]:
        """The corner of a cell."""
        block, place = divmod(column, self.across)
        return self.block_top(block) + self._top(row), self.left + (place + self.shift) * self.step_across

    def photo_box(self, image: int) -> tuple[int, int, int]:
        """The corner of a photo's cell and its height: above a column, or in front of a row of the first block."""
        if self.table.photos_down:
            return self._top(image), self.left, self.highs[image]
        y, x = self.corner(0, image)
        return y - GAP_BETWEEN - self.photo_high, x, self.photo_high


def _side(sizes: Sequence[int], room: int) -> int:
    """The side of the cells: about as large as there is room for, and such that whole numbers enlarge all maps to about it."""
    room = min(LARGEST_CELL, max(SMALLEST_CELL, room))
    most = min(LARGEST_CELL, room * 5 // 4)

    def score(side: int) -> tuple[float, int]:
        fill = min(min(1.0, max(1, side // size) * size / side) for size in sizes)
        return fill * sqrt(min(side, room)) * (1 if side <= room else 0.9), -side

    return max(range(max(SMALLEST_CELL, room // 2), most + 1), key=score)


def _photo_height(table: Table, wide: int, high: int) -> int:
    """The height of the row of photos, each as large as its cell allows."""
    shapes = [photo.shape for photo in table.photos or () if photo is not None]
    return max(
        (max(1, round(shape[0] * min(high / shape[0], wide / shape[1]))) for shape in shapes), default=LOWEST_CELL
    )


def draw_table(
    table: Table,
    rule: Scale | None,
    frame: Frame,
    *,
    provenance: Mapping[str, Any],
    options: DrawOptions,
) -> Picture:
    """The picture of the table; `frame` is what is written around it."""
    grid = _Grid.of(table, rule, options, frame.quantity)
    if grid.size[0] * grid.size[1] > MOST_PIXELS:
        raise BadOption(
            f"{len(table.rows)} × {len(table.columns)} cells make {grid.size[0] * grid.size[1] / 1e6:.0f} megapixels, more than"
            f" {MOST_PIXELS // 1_000_000}: compare fewer images or layers at a time"
        )
    codes, marks = _encode(table, rule)
    beyond = all_beyond(table, rule)
    notes = (*frame.notes, *(beyond.words(rule, options.clip) if rule is not None else ()))
    bar = rule if rule is not None and rule.single else None
    frame = replace(frame, notes=notes, bar=bar, marks=marks, reach=(beyond.least, beyond.most), text=grid.text)
    canvas = options.framed(frame).around(*grid.size, beside=(grid.corner(0, 0)[0], grid.block))
    _write_names(canvas, grid)
    cells, zooms = [], []
    for index in np.ndindex(len(table.rows), len(table.columns)):
        cell, zoom = _draw_cell(canvas, grid, (index[0], index[1]), codes.get(index))
        cells.append(cell)
        zooms.append(zoom)
    if rule is not None and options.bar:
        _draw_bars(canvas, grid, rule)
    if table.photos is None and not any(entry.colored for row in table.entries for entry in row):
        return canvas.picture(cells, rule, provenance, zooms=tuple(zooms))
    pixels, photos = _draw_colours(canvas, grid, cells)
    return canvas.picture((*photos, *cells), rule, provenance, pixels)


def _draw_colours(canvas: Canvas, grid: _Grid, cells: Sequence[Cell]) -> tuple[np.ndarray, list[Cell]]:
    """The canvas as RGB, with the photos and the maps that are colours; and the cells of the photos."""
    table, rule = grid.table, grid.rule
    for index, photo in enumerate(table.photos or ()):
        if photo is None:
            y, x, high = grid.photo_box(index)
            _draw_reason(canvas.body[y : y + high, x : x + grid.wide], "no photo", grid.letters)
    pixels = paper(canvas, rule.palette() if rule else palette(None))
    entries = [entry for row in table.entries for entry in row]
    for entry, cell in zip(entries, cells, strict=True):
        if entry.colored and entry.plane is not None:
            zoom = cell.width // entry.plane.shape[1]
            shown = rgb_colors(entry.plane, entry.low, entry.high).repeat(zoom, 0).repeat(zoom, 1)
            pixels[cell.y : cell.y + cell.height, cell.x : cell.x + cell.width] = shown
            canvas.own(*cell[:4])
    photos = _draw_photos(canvas, pixels, grid)
    for cell in photos:
        if cell.note == PHOTO:
            canvas.own(*cell[:4])
    return pixels, photos


def _encode(table: Table, rule: Scale | None) -> tuple[dict[tuple[int, ...], np.ndarray], set[int]]:
    """The codes of each cell with a scale, and the marks among them."""
    codes: dict[tuple[int, ...], np.ndarray] = {}
    if rule is not None:
        for index in table.values("all")[0]:
            codes[index] = rule.codes(table.plane(index), *index)
    return codes, set().union(*map(marks_of, codes.values()))


def _draw_cell(canvas: Canvas, grid: _Grid, index: tuple[int, int], codes: np.ndarray | None) -> tuple[Cell, int]:
    """Draw one cell; returns it, and the pixels that a unit has."""
    (y, x), high, wide = grid.corner(*index), grid.highs[index[0]], grid.wide
    entry = grid.table.entries[index[0]][index[1]]
    note = f"{grid.table.rows[index[0]]} · {grid.table.columns[index[1]]}"
    if entry.blank is not None:
        _draw_reason(canvas.body[y : y + high, x : x + wide], entry.blank.text, grid.letters)
        box = canvas.x + x, canvas.y + y, wide, high
        return Cell(*box, entry.image, -1, 0.0, 0.0, f"{note}: {entry.blank.text}"), 1
    assert entry.plane is not None
    height, width = entry.plane.shape[:2]
    zoom = max(1, min(high // height, wide // width))
    top, left = y + (high - height * zoom) // 2, x + (wide - width * zoom) // 2
    if codes is not None:
        canvas.body[top : top + height * zoom, left : left + width * zoom] = codes.repeat(zoom, 0).repeat(zoom, 1)
    for row, line in enumerate(grid.ranges[index[0]][index[1]] if grid.below else ()):
        canvas.write(x, y + high + row * grid.letters.height, line, muted=True)
    low, high_end = (0.0, 0.0) if entry.colored or grid.rule is None else grid.rule.range(*index)
    box = canvas.x + left, canvas.y + top, width * zoom, height * zoom
    return Cell(*box, entry.image, entry.channel, low, high_end, note), zoom


def _draw_reason(box: np.ndarray, reason: str, letters: Font) -> None:
    """An empty frame with the reason in it."""
    box[[0, -1]], box[:, [0, -1]] = INK_LIGHT, INK_LIGHT
    high, wide = box.shape
    lines = letters.cut_text(reason, wide - 8, (high - 4) // letters.height)
    top = (high - len(lines) * letters.height) // 2
    for row, line in enumerate(lines):
        left = (wide - letters.width(line)) // 2
        draw_text(box, Text(left, top + row * letters.height, line, letters.size, INK_MIDDLE))


def _write_names(canvas: Canvas, grid: _Grid) -> None:
    """The names of the columns above their middles, those of the rows in front, with what else is said of them."""
    step, bold = grid.letters.height, font(grid.letters.size, bold=True)
    table = grid.table
    for column, lines in enumerate(grid.heads):
        _, x = grid.corner(0, column)
        foot = grid.block_top(column // grid.across) + grid.over - 2
        for row, line in enumerate(reversed(lines)):
            canvas.write(x + (grid.wide - bold.width(line)) // 2, foot - (row + 1) * step, line, bold=True)
    for block in grid.blocks:
        for row, lines in enumerate(grid.names):
            y, _ = grid.corner(row, block * grid.across)
            for below, line in enumerate(lines):
                canvas.write(0, y + below * step, line, bold=True)
            for below, line in enumerate(table.details[row] if table.details else (), len(lines)):
                canvas.write(0, y + below * step, grid.letters.cut_text(line, grid.left - GAP_BETWEEN)[0], muted=True)
        if grid.photo_high:
            canvas.write(0, grid.block_top(block) + grid.over, PHOTO, muted=True)
    if grid.shift:
        canvas.write(grid.left + (grid.wide - grid.letters.width(PHOTO)) // 2, grid.over - 2 - step, PHOTO, muted=True)


def _draw_photos(canvas: Canvas, pixels: np.ndarray, grid: _Grid) -> list[Cell]:
    """A small copy of each photo in the first row or column."""
    from PIL import Image

    cells: list[Cell] = []
    for image, photo in enumerate(grid.table.photos or ()):
        (y, x, high), wide = grid.photo_box(image), grid.wide
        if photo is None:
            cells.append(Cell(canvas.x + x, canvas.y + y, wide, high, image, -1, 0.0, 0.0, "no photo"))
            continue
        share = min(high / photo.shape[0], wide / photo.shape[1])
        height, width = (max(1, round(side * share)) for side in photo.shape[:2])
        small_copy = Image.fromarray(photo).resize((width, height), Image.Resampling.LANCZOS, reducing_gap=2)
        top, left = canvas.y + y + (high - height) // 2, canvas.x + x + (wide - width) // 2
        pixels[top : top + height, left : left + width] = np.asarray(small_copy)
        cells.append(Cell(left, top, width, height, image, -1, 0.0, 0.0, PHOTO))
    return cells


def _draw_bars(canvas: Canvas, grid: _Grid, rule: Scale) -> None:
    """The bars of ranges for each row, to the right, or for each column, below."""
    for block in grid.blocks:
        for row, bar in grid.bars.items():
            y, _ = grid.corner(row, block * grid.across)
            canvas.draw_bar(grid.bar_left + round(BAR_GAP * grid.text), y, grid.highs[row], bar)
    if rule.per == "column":
        for column in _with_values(grid.table, "column"):
            _, x = grid.corner(0, column)
            y = grid.block_top(column // grid.across) + grid.block - grid.foot
            scale, marks, _ = shared_bar(grid.table, rule, slice(None), column)
            _draw_bar_across(canvas, (x, y, grid.wide), scale, marks)
            for row, line in enumerate(grid.ranges[0][column]):
                canvas.write(x, y + BAR_HEIGHT + 2 + row * grid.letters.height, line, muted=True)


def _with_values(table: Table, rule: str) -> list[int]:
    """The rows or columns that a bar says something of: those with a finite value."""
    groups = table.values(rule).items()
    return [key for key, indices in groups if any(np.isfinite(table.plane(index)).any() for index in indices)]


def _draw_bar_across(canvas: Canvas, spot: tuple[int, int, int], scale: Scale, marks: set[int]) -> None:
    """A bar that lies at x, y with a width; it has a point at an end that values lie beyond."""
    x, y, width = spot
    tip, pointed = BAR_HEIGHT + 2, scale.clip is not None
    if ABOVE in marks:
        for cap in cap_boxes(Box(x + width - BAR_HEIGHT, y, BAR_HEIGHT, BAR_HEIGHT, ABOVE), "right" if pointed else ""):
            canvas.fill(*cap[:4], color=ABOVE)
        width -= tip
    if BELOW in marks:
        for cap in cap_boxes(Box(x, y, BAR_HEIGHT, BAR_HEIGHT, BELOW), "left" if pointed else ""):
            canvas.fill(*cap[:4], color=BELOW)
        x, width = x + tip, width - tip
    canvas.draw_ramp(x, y, ramp_codes(scale, width, rising=True), BAR_HEIGHT)


def _ranges(table: Table, rule: Scale | None, room: int, letters: Font) -> tuple[tuple[tuple[str, ...], ...], ...]:
    """The range of each cell, or in one row that of each column, in one or two lines."""
    if rule is None or rule.per not in ("cell", "column"):
        return ()
    if rule.per == "column":
        shown = _with_values(table, "column")
        ranges = {column: shared_bar(table, rule, slice(None), column)[0].range() for column in shown}
        lines = [
            _range_lines(*ranges[column], room, letters) if column in ranges else ()
            for column in range(len(table.columns))
        ]
        return (tuple(lines),)
    return tuple(
        tuple(
            () if entry.plane is None or entry.colored else _range_lines(*rule.range(row, column), room, letters)
            for column, entry in enumerate(entries)
        )
        for row, entries in enumerate(table.entries)
    )


def _range_lines(low: float, high: float, room: int, letters: Font) -> tuple[str, ...]:
    spans = [short_span(low, high, digits) for digits in (3, 2)]
    for first, last in spans:
        if letters.width(f"{first}…{last}") <= room:
            return (f"{first}…{last}",)
    return f"{spans[0][0]}…", spans[0][1]


def _zoomed(plane: np.ndarray, side: int) -> tuple[int, int]:
    """The size of a map enlarged by the whole number that brings it closest to `side`, and never beyond."""
    height, width = plane.shape[:2]
    zoom = max(1, side // max(height, width))
    return height * zoom, width * zoom
