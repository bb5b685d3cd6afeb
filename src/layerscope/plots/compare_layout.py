"""A comparison drawn: names, photos, each map in its cell, the bars beside them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any

import numpy as np

from ..errors import BadOption
from ..picture.canvas import Canvas, Frame, draw_text
from ..picture.codes import ABOVE, BELOW, INK_LIGHT, INK_MIDDLE
from ..picture.colorbar import BAR_GAP, cap_boxes, ramp_codes
from ..picture.font import Font, font
from ..picture.palette import marks_of, palette
from ..picture.picture import Picture
from ..picture.pixels import paint_cell
from ..picture.scale import Scale
from ..picture.shapes import Box, Cell, Text
from .compare_cells import PHOTO, Table, all_beyond, shared_bar
from .compare_grid import Grid, Units, with_values
from .options import DrawOptions
from .rgb import paper, rgb_colors

MOST_PIXELS = 48_000_000


def draw_table(
    table: Table,
    rule: Scale | None,
    frame: Frame,
    *,
    provenance: Mapping[str, Any],
    options: DrawOptions,
) -> Picture:
    """The picture of the table; `frame` is what is written around it."""
    grid = Grid.of(table, rule, options, frame.quantity)
    if grid.size[0] * grid.size[1] > MOST_PIXELS:
        raise BadOption(
            f"{len(table.rows)} × {len(table.columns)} cells make {grid.size[0] * grid.size[1] / 1e6:.0f} megapixels, more than"
            f" {MOST_PIXELS // 1_000_000}: compare fewer images or layers at a time"
        )
    codes, marks = _encode(table, rule)
    beyond = all_beyond(table, rule)
    notes = (*frame.notes, *(beyond.words(rule, options.clip) if rule is not None else ()))
    bar = rule if rule is not None and rule.single else None
    mixed = rule is not None and rule.mixed
    # Their colours at the ends of one bar aren't those at the ends of another.
    marks = marks - {BELOW, ABOVE} if mixed else marks
    frame = replace(
        frame, notes=notes, bar=bar, ranges=rule, marks=marks, reach=(beyond.least, beyond.most), text=grid.text
    )
    canvas = options.framed(frame).around(*grid.size, beside=(grid.corner(0, 0)[0], grid.block))
    _write_names(canvas, grid)
    for index, photo in enumerate(table.photos or ()):
        if photo is None:
            y, x, high = grid.photo_box(index)
            _draw_reason(canvas.body[y : y + high, x : x + grid.wide], "no photo", grid.letters)
    indices = [(row, column) for row in range(len(table.rows)) for column in range(len(table.columns))]
    cells = [_draw_cell(canvas, grid, index, codes.get(index)) for index in indices]
    units = [grid.units(*index) for index in indices]
    bars = _draw_bars(canvas, grid, rule) if rule is not None and options.bar else []
    zooms, talls = tuple(unit.wide for unit in units), tuple(unit.tall for unit in units)
    talls = () if zooms == talls else talls
    if table.photos is None and not mixed and not any(entry.colored for row in table.entries for entry in row):
        return canvas.picture(cells, rule, provenance, zooms=zooms, talls=talls)
    pixels = paper(canvas, rule.palette() if rule else palette(None))
    if rule is not None and mixed:
        for cell in cells:
            paint_cell(pixels, canvas.codes, cell, rule)
        for scale, boxes in bars:
            _paint_bar(canvas, scale, boxes)
    photos = _draw_colours(canvas, grid, cells, pixels)
    ones = (1,) * len(photos)
    return canvas.picture(
        (*photos, *cells), rule, provenance, pixels, zooms=(*ones, *zooms), talls=talls and (*ones, *talls)
    )


def _draw_colours(canvas: Canvas, grid: Grid, cells: Sequence[Cell], pixels: np.ndarray) -> list[Cell]:
    """The photos and the maps that are colours; returns the cells of the photos."""
    table = grid.table
    entries = [entry for row in table.entries for entry in row]
    for entry, cell in zip(entries, cells, strict=True):
        if entry.colored and entry.plane is not None:
            shown = Units.of(entry.plane, cell.height, cell.width).draw(rgb_colors(entry.plane, entry.low, entry.high))
            pixels[cell.y : cell.y + cell.height, cell.x : cell.x + cell.width] = shown
            canvas.own(*cell[:4])
    photos = _draw_photos(canvas, pixels, grid)
    for cell in photos:
        if cell.note == PHOTO:
            canvas.own(*cell[:4])
    return photos


def _paint_bar(canvas: Canvas, scale: Scale, parts: Sequence[Box]) -> None:
    """A bar in the colours of its own scale, which the palette of the picture doesn't have."""
    colors = scale.palette()
    for box in parts:
        assert isinstance(box.color, int)
        red, green, blue = colors[box.color].tolist()
        canvas.paint(box._replace(color=(red, green, blue)))


def _encode(table: Table, rule: Scale | None) -> tuple[dict[tuple[int, ...], np.ndarray], set[int]]:
    """The codes of each cell with a scale, and the marks among them."""
    codes: dict[tuple[int, ...], np.ndarray] = {}
    if rule is not None:
        for index in table.values("all")[0]:
            codes[index] = rule.codes(table.plane(index), *index)
    return codes, set().union(*map(marks_of, codes.values()))


def _draw_cell(canvas: Canvas, grid: Grid, index: tuple[int, int], codes: np.ndarray | None) -> Cell:
    """Draw one cell."""
    (y, x), high, wide = grid.corner(*index), grid.highs[index[0]], grid.wide
    entry = grid.table.entries[index[0]][index[1]]
    note = f"{grid.table.rows[index[0]]} · {grid.table.columns[index[1]]}"
    if entry.blank is not None:
        _draw_reason(canvas.body[y : y + high, x : x + wide], entry.blank.text, grid.letters)
        box = canvas.x + x, canvas.y + y, wide, high
        return Cell(*box, entry.image, -1, 0.0, 0.0, f"{note}: {entry.blank.text}")
    units = grid.units(*index)
    height, width = units.size
    top, left = y + (high - height) // 2, x + (wide - width) // 2
    if codes is not None:
        canvas.body[top : top + height, left : left + width] = units.draw(codes)
    for row, line in enumerate(grid.ranges[index[0]][index[1]] if grid.below else ()):
        canvas.write(x, y + high + row * grid.letters.height, line, muted=True)
    low, high_end = (0.0, 0.0) if entry.colored or grid.rule is None else grid.rule.range(*index)
    box = canvas.x + left, canvas.y + top, width, height
    return Cell(*box, entry.image, entry.channel, low, high_end, note)


def _draw_reason(box: np.ndarray, reason: str, letters: Font) -> None:
    """An empty frame with the reason in it."""
    box[[0, -1]], box[:, [0, -1]] = INK_LIGHT, INK_LIGHT
    high, wide = box.shape
    lines = letters.cut_text(reason, wide - 8, (high - 4) // letters.height)
    top = (high - len(lines) * letters.height) // 2
    for row, line in enumerate(lines):
        left = (wide - letters.width(line)) // 2
        draw_text(box, Text(left, top + row * letters.height, line, letters.size, INK_MIDDLE))


def _write_names(canvas: Canvas, grid: Grid) -> None:
    """The names of the columns above their middles, those of the rows in front, with what else is said of them."""
    step, bold = grid.letters.height, font(grid.letters.size, bold=True)
    table = grid.table
    for column, lines in enumerate(grid.heads):
        _, x = grid.corner(0, column)
        foot = grid.block_top(column // grid.across) + grid.over - 2
        for row, line in enumerate(reversed(lines)):
            canvas.write(x + (grid.wide - bold.width(line)) // 2, foot - (row + 1) * step, line, bold=True)
    for block in grid.blocks:
        for row, lines in enumerate(grid.names if block == 0 or len(grid.names) > 1 else ()):
            y, _ = grid.corner(row, block * grid.across)
            for below, line in enumerate(lines):
                canvas.write(0, y + below * step, line, bold=True)
            for below, line in enumerate(table.details[row] if table.details else (), len(lines)):
                canvas.write(0, y + below * step, grid.letters.cut_text(line, grid.left - grid.gap)[0], muted=True)
        if grid.photo_high:
            for below, line in enumerate(table.photo_words):
                text = grid.letters.cut_text(line, grid.left - grid.gap)[0]
                canvas.write(0, grid.block_top(block) + grid.over + below * step, text, muted=True)
    if grid.shift:
        for above, line in enumerate(reversed(table.photo_words)):
            x = grid.left + (grid.wide - grid.letters.width(line)) // 2
            canvas.write(x, grid.over - 2 - (above + 1) * step, line, muted=True)


def _draw_photos(canvas: Canvas, pixels: np.ndarray, grid: Grid) -> list[Cell]:
    """A small copy of each photo in the first row or column."""
    from PIL import Image

    cells: list[Cell] = []
    for image, one in enumerate(grid.table.photos or ()):
        photo = None if one is None else one.pixels
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


def _draw_bars(canvas: Canvas, grid: Grid, rule: Scale) -> list[tuple[Scale, list[Box]]]:
    """The bars of ranges for each row, to the right, or for each column, below.

    Returns those that have other colours than the picture, with the boxes that they are to be painted in.
    """
    others: list[tuple[Scale, list[Box]]] = []
    for block in grid.blocks:
        for row, bar in grid.bars.items():
            y, _ = grid.corner(row, block * grid.across)
            start = len(canvas.ramps), len(canvas.boxes)
            canvas.draw_bar(grid.bar_left + round(BAR_GAP * grid.text), y, grid.highs[row], bar)
            others += _others(canvas, start, rule, bar.scale)
    if rule.per == "column":
        for column in with_values(grid.table, "column"):
            _, x = grid.corner(0, column)
            y = grid.block_top(column // grid.across) + grid.block - grid.foot
            scale, marks, _ = shared_bar(grid.table, rule, slice(None), column)
            start = len(canvas.ramps), len(canvas.boxes)
            _draw_bar_across(canvas, Box(x, y, grid.wide, grid.gap, 0), scale, marks)
            others += _others(canvas, start, rule, scale)
            for row, line in enumerate(grid.ranges[0][column]):
                canvas.write(x, y + grid.gap + 2 + row * grid.letters.height, line, muted=True)
    return others


def _others(canvas: Canvas, start: tuple[int, int], rule: Scale, scale: Scale) -> list[tuple[Scale, list[Box]]]:
    """Take ramp and caps drawn since `start` from the canvas, where their colours aren't those of the picture."""
    if scale.colors == rule.colors:
        return []
    ramps, boxes = canvas.ramps[start[0] :], canvas.boxes[start[1] :]
    caps = [box for box in boxes if box.color in (ABOVE, BELOW)]
    del canvas.ramps[start[0] :]
    canvas.boxes[start[1] :] = [box for box in boxes if box.color not in (ABOVE, BELOW)]
    return [(scale, [*caps, *(box for ramp in ramps for box in ramp.boxes())])]


def _draw_bar_across(canvas: Canvas, box: Box, scale: Scale, marks: set[int]) -> None:
    """A bar that lies in a box; it has a point at an end that values lie beyond."""
    x, y, width, high, _ = box
    tip, pointed = high + 2, scale.clip is not None
    if ABOVE in marks:
        for cap in cap_boxes(Box(x + width - high, y, high, high, ABOVE), "right" if pointed else ""):
            canvas.fill(*cap[:4], color=ABOVE)
        width -= tip
    if BELOW in marks:
        for cap in cap_boxes(Box(x, y, high, high, BELOW), "left" if pointed else ""):
            canvas.fill(*cap[:4], color=BELOW)
        x, width = x + tip, width - tip
    canvas.draw_ramp(x, y, ramp_codes(scale, width, rising=True), high)
