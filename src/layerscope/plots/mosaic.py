"""Labelled tiles of one size in rows, with one scale for all: slices of a volume, kernels of a convolution, frames."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from math import ceil
from typing import Any, NamedTuple

import numpy as np

from ..picture.canvas import Canvas, Frame
from ..picture.codes import OWN
from ..picture.font import Font, font, small
from ..picture.palette import palette
from ..picture.picture import Picture
from ..picture.shapes import Cell
from .options import DrawOptions
from .tiles import PAGE_PIXELS, even_columns

COMFORTABLE, LARGEST, SMALLEST = 960, 256, 72


class Tile(NamedTuple):
    """A number and words above a tile, and what its `Cell` says: image, channel, a note, and its range where it has its own."""

    number: str
    image: int
    channel: int
    note: str = ""
    limits: tuple[float, float] | None = None
    words: str = ""

    def width(self, letters: Font) -> int:
        """The pixels of what stands above it."""
        return font(letters.size, bold=True).width(self.number) + (letters.width(f" {self.words}") if self.words else 0)


@dataclass(frozen=True)
class Mosaic:
    """How tiles of `height` × `width` units lie: `zoom` pixels per unit, `columns` per row, at most `most` per page;
    `labels` is the width of the longest label.

    Letters are `text` times as large as on a screen.
    """

    height: int
    width: int
    zoom: int
    columns: int
    labels: int
    most: int
    text: float = 1

    @classmethod
    def fitting(cls, size: tuple[int, int], tiles: Sequence[Tile], options: DrawOptions) -> Mosaic:
        """As large as fits a comfortable page, but never smaller than can be read; the columns are those of a sheet."""
        (height, width), text, count = size, options.size, len(tiles)
        labels = max(tile.width(small(text)) for tile in tiles)
        least = max(1, ceil(SMALLEST * text / max(size)))
        zooms = (
            range(max(least, int(LARGEST * text) // max(size)), least - 1, -1)
            if options.zoom is None
            else (options.zoom,)
        )
        page = round(COMFORTABLE * text)
        grid = cls(height, width, zooms[-1], 1, labels, 1, text)
        fit = max(1, (page + grid.space) // grid.pitch_x)
        columns = min(options.columns or min(even_columns(count, height / width), fit), count)
        for zoom in zooms:
            grid = replace(grid, zoom=zoom, columns=columns)
            if columns * grid.pitch_x - grid.space <= page and ceil(count / columns) * grid.pitch_y <= page:
                break
        text = options.letters(columns * grid.width * grid.zoom)
        grid = replace(grid, text=text, labels=max(tile.width(small(text)) for tile in tiles))
        rows = max(1, PAGE_PIXELS // (grid.pitch_y * grid.pitch_x * columns))
        return replace(grid, most=rows * columns)

    @property
    def space(self) -> int:
        return max(round(2 * self.text), min(round(8 * self.text), self.width * self.zoom // 16))

    @property
    def above(self) -> int:
        """The rows of pixels that labels take."""
        return small(self.text).height if self.labels else 0

    @property
    def pitch_x(self) -> int:
        return max(self.width * self.zoom + self.space, self.labels + round(8 * self.text))

    @property
    def pitch_y(self) -> int:
        return self.height * self.zoom + self.above + self.space

    def picture(
        self, tiles: np.ndarray, labels: Sequence[Tile], frame: Frame, provenance: Mapping[str, Any]
    ) -> Picture:
        """The picture of tiles, codes `[tile, height, width]` of the frame's scale or colours `[tile, height, width, 3]`."""
        rule = frame.bar
        rows = ceil(len(tiles) / self.columns)
        wide = self.columns * self.pitch_x - (self.pitch_x - self.width * self.zoom if self.columns == 1 else 0)
        wide = max(wide, self.labels)
        last = rows * self.pitch_y - self.space
        canvas = replace(frame, text=self.text).around(last, wide, beside=(self.above, last))
        cells = []
        for index, (tile, label) in enumerate(zip(tiles, labels, strict=True)):
            x, y, across, high = self._box(canvas, index)
            if self.above:
                left, line = x - canvas.x, y - canvas.y - self.above
                canvas.write(left, line, label.number, bold=True, tile=index)
                if label.words:
                    right = left + label.width(canvas.letters) - canvas.letters.width(label.words)
                    canvas.write(right, line, label.words, muted=True, tile=index)
            shown = OWN if rule is None else tile.repeat(self.zoom, 0).repeat(self.zoom, 1)
            canvas.codes[y : y + high, x : x + across] = shown
            limits = label.limits or (rule.range() if rule else (0.0, 0.0))
            cells.append(Cell(x, y, across, high, label.image, label.channel, *limits, label.note))
        colours = None if rule is not None else self._colours(canvas, cells, tiles)
        return canvas.picture(cells, rule, provenance, colours, zoom=self.zoom)

    def _box(self, canvas: Canvas, index: int) -> tuple[int, int, int, int]:
        """Where a tile lies: x, y, width, height."""
        row, column = divmod(index, self.columns)
        x, y = canvas.x + column * self.pitch_x, canvas.y + row * self.pitch_y + self.above
        return x, y, self.width * self.zoom, self.height * self.zoom

    def _colours(self, canvas: Canvas, cells: Sequence[Cell], tiles: np.ndarray) -> np.ndarray:
        """The canvas as RGB, with colours of their own in its cells."""
        pixels = np.take(palette(None), canvas.codes, axis=0)
        for tile, cell in zip(tiles, cells, strict=True):
            shown = tile.repeat(self.zoom, 0).repeat(self.zoom, 1)
            pixels[cell.y : cell.y + cell.height, cell.x : cell.x + cell.width] = shown
        return pixels
