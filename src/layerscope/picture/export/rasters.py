"""The images of an export: each tile's own pixels, or one image of them all, without what is text or a box there."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING, NamedTuple

import numpy as np

from ..codes import GAP
from ..shapes import Cell

if TYPE_CHECKING:
    from ..picture import Picture

# Above this many tiles one image holds them all: an axes takes matplotlib 10 ms, and an image a kilobyte of SVG.
MOST_TILES = 256


class Raster(NamedTuple):
    """Pixels as in a picture (codes or RGB) and the box that they fill; `cell` where they are those of one tile."""

    x: int
    y: int
    width: int
    height: int
    pixels: np.ndarray
    cell: Cell | None = None


def rasters(picture: Picture) -> Iterator[Raster]:
    """Each tile; or one image of all of them, or of everything where the picture has no record of what is what."""
    if picture.drawing is None:
        yield Raster(0, 0, picture.width, picture.height, picture.pixels)
    elif len(picture.cells) > MOST_TILES:
        yield all_tiles(picture)
    else:
        for cell in picture.cells:
            pixels = picture.codes(cell) if picture.indexed else pixels_of(picture, cell)
            yield Raster(*cell[:4], pixels, cell)


def pixels_of(picture: Picture, cell: Cell) -> np.ndarray:
    """The pixels of the picture that a tile covers."""
    return picture.pixels[cell.y : cell.y + cell.height, cell.x : cell.x + cell.width]


def all_tiles(picture: Picture) -> Raster:
    """All tiles on bare paper, in the smallest box that holds them."""
    cells = picture.cells
    left, top = min(cell.x for cell in cells), min(cell.y for cell in cells)
    right, bottom = max(cell.x + cell.width for cell in cells), max(cell.y + cell.height for cell in cells)
    pixels = np.empty_like(picture.pixels[top:bottom, left:right])
    pixels[:] = GAP if picture.indexed else picture.palette()[GAP]
    for cell in cells:
        y, x = cell.y - top, cell.x - left
        pixels[y : y + cell.height, x : x + cell.width] = pixels_of(picture, cell)
    return Raster(left, top, right - left, bottom - top, pixels)
