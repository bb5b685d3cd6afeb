"""A page of a sheet as a picture: its tiles and what is written around them, straight into the body."""

from __future__ import annotations

from dataclasses import dataclass, replace
from functools import partial
from itertools import repeat
from math import ceil

import numpy as np

from ..core.feature_map import FeatureMap
from ..picture.canvas import Canvas, Frame
from ..picture.caption import about, quantity
from ..picture.codes import CONSTANT, GAP, INK, encode
from ..picture.picture import Picture
from ..picture.scale import Scale
from ..picture.shapes import Cell, Text
from .sequence import row_numbers_width, write_column_numbers, write_row_numbers
from .tiles import Below, Grid, Labels, Tiles


@dataclass(frozen=True)
class SheetLayout:
    """What one page holds, of the image with this number."""

    grid: Grid
    tiles: Tiles
    labels: Labels
    below: Below | None
    image: int

    @property
    def top(self) -> int:
        """Pixels above all tiles, for the numbers of columns."""
        return self.grid.letters.height if self.grid.margins else 0

    @property
    def left(self) -> int:
        """Pixels left of all tiles, for the numbers of rows."""
        return row_numbers_width(self.tiles.channels, self.grid.text) if self.grid.margins else 0

    @property
    def above(self) -> int:
        """Pixels above a tile, for its label."""
        return self.labels.lines * self.grid.letters.height

    @property
    def bottom(self) -> int:
        """Where a tile ends, in the slot that it has."""
        return self.above + self.grid.tile_height

    @property
    def pitch_y(self) -> int:
        """From one row of tiles to the next."""
        under = len(self.below.lines) * self.grid.letters.height if self.below else 0
        pitch, line = self.bottom + under + self.grid.space, self.grid.letters.height
        # A little more makes room for the number of each row.
        return line if self.grid.margins and pitch < line <= 1.25 * pitch else pitch


def compose(one: FeatureMap, layout: SheetLayout, rule: Scale, frame: Frame) -> Picture:
    grid, tiles = layout.grid, layout.tiles
    rows, pitch_y = ceil(len(tiles.channels) / grid.columns), layout.pitch_y
    top, left = layout.top, layout.left
    size = top + rows * pitch_y, left + grid.columns * grid.pitch
    reach = (float(np.fmin.reduce(tiles.extent[:, 0])), float(np.fmax.reduce(tiles.extent[:, 1])))
    bar = rule if rule.single else None
    marks = tiles.unexplained if layout.labels.inside == tiles.blank else tiles.marks
    frame = replace(frame, bar=bar, ranges=rule, marks=marks, reach=reach, text=grid.caption, quantity=quantity(one))
    canvas = frame.around(*size, beside=(top + layout.above, top + (rows - 1) * pitch_y + layout.bottom))
    body, cells = canvas.body[top:, left:], _cells(canvas, layout)
    # A view [row, column, y, x] of the tiles' slots: everything is written straight into the picture.
    spaced = np.lib.stride_tricks.as_strided(
        body,
        (rows, grid.columns, pitch_y, grid.pitch),
        (pitch_y * body.strides[0], grid.pitch * body.strides[1], *body.strides),
    )
    _draw_tiles(spaced[:, :, layout.above : layout.bottom, : grid.tile_width], layout, rule)
    canvas.labels.extend(layout.labels.draw(spaced, grid))
    if grid.margins:
        _write_margins(canvas, layout, rows)
    _write_inside(canvas, cells, layout)
    if layout.below is not None:
        canvas.labels.extend(layout.below.draw(spaced, layout.bottom, grid))
    return canvas.picture(cells, rule, about(one, rule), zoom=grid.zoom)


def _write_inside(canvas: Canvas, cells: tuple[Cell, ...], layout: SheetLayout) -> None:
    """A word in the middle of each tile that has one, or of its first slice."""
    letters = layout.grid.letters
    across = layout.tiles.values.shape[2] * layout.grid.zoom
    words = {word: letters.line(word) for word in set(layout.labels.inside.values())}
    for tile, word in layout.labels.inside.items():
        cell, drawn = cells[tile], words[word]
        high, wide = drawn.shape
        x, y = cell.x + (across - wide) // 2, cell.y + (cell.height - high) // 2
        line = Text(x, y, word, letters.size, INK, tile)
        canvas.codes[line.y : line.y + high, line.x : line.x + wide] = np.where(drawn == GAP, CONSTANT, drawn)
        canvas.lines.append(line)


def _write_margins(canvas: Canvas, layout: SheetLayout, rows: int) -> None:
    """The first channel of each row in front of it, and above the columns what is to be added."""
    grid = layout.grid
    numbers = layout.tiles.channels[:: grid.columns]
    write_row_numbers(canvas, numbers, layout.pitch_y, top=layout.top, height=rows * layout.pitch_y, left=layout.left)
    texts = [f"+{column}" for column in range(min(grid.columns, len(layout.tiles.channels)))]
    write_column_numbers(canvas, texts, grid.pitch, middle=layout.left + grid.tile_width // 2)


def _draw_tiles(slots: np.ndarray, layout: SheetLayout, rule: Scale) -> None:
    """Write the codes of the tiles into their slots `[row, column, y, x]`."""
    grid, tiles = layout.grid, layout.tiles
    if grid.zoom == 1:
        _encode(tiles, slots, rule)
        return
    codes = np.empty((*slots.shape[:2], grid.height, grid.width), np.uint8)
    _encode(tiles, codes, rule)
    wide = codes.repeat(grid.zoom, axis=3)
    for line in range(grid.zoom):
        slots[:, :, line :: grid.zoom] = wide


def _encode(tiles: Tiles, out: np.ndarray, rule: Scale) -> None:
    """Write `[row, column, height, width]`, slice by slice with a bare column between two."""
    width = tiles.values.shape[2]
    for start, values in zip(range(0, out.shape[-1], width + 1), tiles.values, strict=True):
        out[..., start + width : start + width + 1] = GAP
        here = out[..., start : start + width]
        encode(values, here, tiles.limits, curve=rule.curve, exact=tiles.exact, extent=tiles.raw)


def _cells(canvas: Canvas, layout: SheetLayout) -> tuple[Cell, ...]:
    grid, tiles = layout.grid, layout.tiles
    count = len(tiles.channels)
    xs = canvas.x + layout.left + np.arange(count) % grid.columns * grid.pitch
    ys = canvas.y + layout.top + np.arange(count) // grid.columns * layout.pitch_y + layout.above
    boxes = zip(
        xs.tolist(),
        ys.tolist(),
        repeat(grid.tile_width),
        repeat(grid.tile_height),
        repeat(layout.image),
        tiles.channels,
        tiles.limits[:, 0].tolist(),
        tiles.limits[:, 1].tolist(),
        tiles.words,
        strict=False,
    )
    # As Cell(*box), without a call into Python for each of 2,048.
    return tuple(map(partial(tuple.__new__, Cell), boxes))
