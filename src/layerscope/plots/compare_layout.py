"""A table of maps as one picture: rows and columns with their names, each map in its cell, the bars beside them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from ..errors import BadOption
from ..picture.canvas import Canvas, Frame, draw_text
from ..picture.codes import ABOVE, BELOW, INK_LIGHT, INK_MIDDLE
from ..picture.colorbar import BAR_GAP, ColorBar, cap_boxes, ramp_codes
from ..picture.font import SMALL, font
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
GAP_BETWEEN, BAR_HEIGHT = 8, 8
MOST_PIXELS = 48_000_000
PHOTO = "photo"


@dataclass(frozen=True)
class _Grid:
    """Where everything lies, in pixels from the corner of the body."""

    table: Table
    rule: Scale | None
    high: int
    wide: int
    left: int
    over: int
    names: tuple[tuple[str, ...], ...]
    heads: tuple[tuple[str, ...], ...]
    under: tuple[tuple[tuple[str, ...], ...], ...]
    below: tuple[tuple[str, ...], ...]
    beside: int
    shift: tuple[int, int]
    letters: Any = field(default_factory=lambda: font(SMALL))

    @classmethod
    def of(cls, table: Table, rule: Scale | None, *, with_bars: bool) -> _Grid:
        letters = font(SMALL)
        down, across = (0, 0) if table.photos is None else (0, 1) if table.photos_down else (1, 0)
        columns = len(table.columns) + across
        longest = min(LONGEST_NAME, letters.widest((PHOTO, *table.rows)))
        left = longest + GAP_BETWEEN
        side = min(LARGEST_CELL, max(SMALLEST_CELL, (COMFORTABLE_WIDTH - left) // columns - GAP_BETWEEN))
        sizes = [_zoomed(entry.plane, side) for row in table.entries for entry in row if entry.plane is not None]
        high = max(LOWEST_CELL, *(height for height, _ in sizes))
        wide = max(SMALLEST_CELL, *(width for _, width in sizes))
        names = tuple(tuple(letters.cut_text(name, longest, high // letters.height)) for name in table.rows)
        heads = tuple(tuple(letters.cut_text(name, wide, NAME_LINES)) for name in table.columns)
        texts = _ranges(table, rule, wide)
        own = rule is not None and rule.per == "cell"
        under = texts if own else ()
        below = texts[0] if rule is not None and rule.per == "column" and with_bars else ()
        beside = 0
        if rule is not None and rule.per == "row" and with_bars:
            bars = [ColorBar(*shared_bar(table, rule, row, slice(None))) for row in _with_values(table, "row")]
            beside = max((bar.width for bar in bars), default=0)
        over = max(map(len, heads), default=1) * letters.height + 2
        return cls(table, rule, high, wide, left, over, names, heads, under, below, beside, (down, across), letters)

    @property
    def step_down(self) -> int:
        lines = max((len(lines) for row in self.under for lines in row), default=0)
        return self.high + lines * self.letters.height + GAP_BETWEEN

    @property
    def step_across(self) -> int:
        return self.wide + GAP_BETWEEN

    @property
    def size(self) -> tuple[int, int]:
        lines = max(map(len, self.below), default=0)
        foot = BAR_HEIGHT + 2 + lines * self.letters.height if self.below else 0
        rows, columns = len(self.table.rows) + self.shift[0], len(self.table.columns) + self.shift[1]
        return self.over + rows * self.step_down + foot, self.left + columns * self.step_across + self.beside

    def corner(self, row: int, column: int) -> tuple[int, int]:
        """The corner of a cell."""
        down, across = self.shift
        return self.over + (row + down) * self.step_down, self.left + (column + across) * self.step_across

    def photo_corner(self, image: int) -> tuple[int, int]:
        """The corner of a photo's cell."""
        return self.corner(image, -1) if self.table.photos_down else self.corner(-1, image)


def draw_table(
    table: Table,
    rule: Scale | None,
    *,
    title: str,
    lines: tuple[str, ...],
    provenance: Mapping[str, Any],
    options: DrawOptions,
) -> Picture:
    """The picture of the table."""
    grid = _Grid.of(table, rule, with_bars=options.bar)
    if grid.size[0] * grid.size[1] > MOST_PIXELS:
        raise BadOption(
            f"{len(table.rows)} × {len(table.columns)} cells make {grid.size[0] * grid.size[1] / 1e6:.0f} megapixels, more than"
            f" {MOST_PIXELS // 1_000_000}: compare fewer images or layers at a time"
        )
    codes, marks = _encode(table, rule)
    beyond = all_beyond(table, rule)
    lines += beyond.words(rule, options.clip) if rule is not None else ()
    bar = rule if rule is not None and rule.single else None
    frame = Frame(title, lines[0], lines[1:], bar, marks, (beyond.least, beyond.most))
    canvas = options.framed(frame).around(*grid.size, beside=(grid.over, grid.size[0] - GAP_BETWEEN))
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
            y, x = grid.photo_corner(index)
            _draw_reason(canvas.body[y : y + grid.high, x : x + grid.wide], "no photo", grid)
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
    y, x = grid.corner(*index)
    entry = grid.table.entries[index[0]][index[1]]
    note = f"{grid.table.rows[index[0]]} · {grid.table.columns[index[1]]}"
    if entry.blank is not None:
        _draw_reason(canvas.body[y : y + grid.high, x : x + grid.wide], entry.blank.text, grid)
        box = canvas.x + x, canvas.y + y, grid.wide, grid.high
        return Cell(*box, entry.image, -1, 0.0, 0.0, f"{note}: {entry.blank.text}"), 1
    assert entry.plane is not None
    height, width = entry.plane.shape[:2]
    zoom = max(1, min(grid.high // height, grid.wide // width))
    top, left = y + (grid.high - height * zoom) // 2, x + (grid.wide - width * zoom) // 2
    if codes is not None:
        canvas.body[top : top + height * zoom, left : left + width * zoom] = codes.repeat(zoom, 0).repeat(zoom, 1)
    for row, line in enumerate(grid.under[index[0]][index[1]] if grid.under else ()):
        canvas.write(x, y + grid.high + row * grid.letters.height, line, muted=True)
    low, high = (0.0, 0.0) if entry.colored or grid.rule is None else grid.rule.range(*index)
    box = canvas.x + left, canvas.y + top, width * zoom, height * zoom
    return Cell(*box, entry.image, entry.channel, low, high, note), zoom


def _draw_reason(box: np.ndarray, reason: str, grid: _Grid) -> None:
    """An empty frame with the reason in it."""
    box[[0, -1]], box[:, [0, -1]] = INK_LIGHT, INK_LIGHT
    letters = grid.letters
    lines = letters.cut_text(reason, grid.wide - 8, (grid.high - 4) // letters.height)
    top = (grid.high - len(lines) * letters.height) // 2
    for row, line in enumerate(lines):
        left = (grid.wide - letters.width(line)) // 2
        draw_text(box, Text(left, top + row * letters.height, line, SMALL, INK_MIDDLE))


def _write_names(canvas: Canvas, grid: _Grid) -> None:
    letters = grid.letters
    for column, lines in enumerate(grid.heads):
        for row, line in enumerate(reversed(lines)):
            _, x = grid.corner(0, column)
            canvas.write(x, grid.over - 2 - (row + 1) * letters.height, line)
    for row, lines in enumerate(grid.names):
        y, _ = grid.corner(row, 0)
        for below, line in enumerate(lines):
            canvas.write(0, y + below * letters.height, line)
    if grid.table.photos is not None:
        y, x = (grid.over - 2 - letters.height, grid.left) if grid.table.photos_down else (grid.over, 0)
        canvas.write(x, y, PHOTO, muted=True)


def _draw_photos(canvas: Canvas, pixels: np.ndarray, grid: _Grid) -> list[Cell]:
    """A small copy of each photo in the first row or column."""
    from PIL import Image

    cells: list[Cell] = []
    for image, photo in enumerate(grid.table.photos or ()):
        y, x = grid.photo_corner(image)
        if photo is None:
            cells.append(Cell(canvas.x + x, canvas.y + y, grid.wide, grid.high, image, -1, 0.0, 0.0, "no photo"))
            continue
        share = min(grid.high / photo.shape[0], grid.wide / photo.shape[1])
        height, width = (max(1, round(side * share)) for side in photo.shape[:2])
        small = np.asarray(Image.fromarray(photo).resize((width, height), Image.Resampling.LANCZOS, reducing_gap=2))
        top, left = canvas.y + y + (grid.high - height) // 2, canvas.x + x + (grid.wide - width) // 2
        pixels[top : top + height, left : left + width] = small
        cells.append(Cell(left, top, width, height, image, -1, 0.0, 0.0, PHOTO))
    return cells


def _draw_bars(canvas: Canvas, grid: _Grid, rule: Scale) -> None:
    """The bars of ranges for each row, to the right, or for each column, below."""
    table = grid.table
    if rule.per == "row":
        for row in _with_values(table, "row"):
            y, _ = grid.corner(row, 0)
            x = canvas.width - grid.beside + BAR_GAP - GAP_BETWEEN
            canvas.draw_bar(x, y, grid.high, ColorBar(*shared_bar(table, rule, row, slice(None))))
    if rule.per == "column":
        y = grid.over + (len(table.rows) + grid.shift[0]) * grid.step_down
        for column in _with_values(table, "column"):
            _, x = grid.corner(0, column)
            scale, marks, _ = shared_bar(table, rule, slice(None), column)
            _draw_bar_across(canvas, (x, y, grid.wide), scale, marks)
            for row, line in enumerate(grid.below[column]):
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


def _ranges(table: Table, rule: Scale | None, room: int) -> tuple[tuple[tuple[str, ...], ...], ...]:
    """The range of each cell, or in one row that of each column, in one or two lines."""
    if rule is None or rule.per not in ("cell", "column"):
        return ()
    if rule.per == "column":
        shown = _with_values(table, "column")
        ranges = {column: shared_bar(table, rule, slice(None), column)[0].range() for column in shown}
        lines = [
            _range_lines(*ranges[column], room) if column in ranges else () for column in range(len(table.columns))
        ]
        return (tuple(lines),)
    return tuple(
        tuple(
            () if entry.plane is None or entry.colored else _range_lines(*rule.range(row, column), room)
            for column, entry in enumerate(entries)
        )
        for row, entries in enumerate(table.entries)
    )


def _range_lines(low: float, high: float, room: int) -> tuple[str, ...]:
    spans = [short_span(low, high, digits) for digits in (3, 2)]
    for first, last in spans:
        if font(SMALL).width(f"{first}…{last}") <= room:
            return (f"{first}…{last}",)
    return f"{spans[0][0]}…", spans[0][1]


def _zoomed(plane: np.ndarray, side: int) -> tuple[int, int]:
    """The size of a map enlarged by the whole number that brings it closest to `side`, and never beyond."""
    height, width = plane.shape[:2]
    zoom = max(1, side // max(height, width))
    return height * zoom, width * zoom
