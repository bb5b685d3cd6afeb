"""A hairline around tiles where the border of one is about as light or dark as paper, so that no one sees where it ends."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import numpy as np

from .codes import GAP, INK_LIGHT
from .shapes import Box, Cell

LIGHT, DARK = 240, 48  # levels that can't be told from the papers of the themes
MOST = 256  # of more tiles, which are small, nobody looks for the edge of one


def near_paper(colors: np.ndarray) -> np.ndarray:
    """Whether each of uint8 `[…, 3]` colours is about that of light or of dark paper.

    >>> near_paper(np.array([[250, 255, 255], [10, 20, 40], [68, 1, 84]], np.uint8)).tolist()
    [True, True, False]
    """
    near: np.ndarray = (colors.min(-1) >= LIGHT) | (colors.max(-1) <= DARK)
    return near


def edge_boxes(cells: Sequence[Cell], codes: np.ndarray, pixels: np.ndarray, line: int) -> Iterator[Box]:
    """The lines around the cells of each size where one of them needs it, on paper alone: one alone would look chosen.

    `codes` say where there is paper; `pixels` are colours, or the picture's palette where it has nothing but codes.
    """
    if len(cells) > MOST:
        return
    shown = pixels if pixels.ndim == 3 else codes
    sizes = {cell[2:4] for cell in cells if _ends_unseen(shown[_box(cell)], None if pixels.ndim == 3 else pixels)}
    for x, y, width, height in (cell[:4] for cell in cells if cell[2:4] in sizes):
        wide = width + 2 * line
        around = (
            Box(x - line, y - line, wide, line, INK_LIGHT),
            Box(x - line, y + height, wide, line, INK_LIGHT),
            Box(x - line, y, line, height, INK_LIGHT),
            Box(x + width, y, line, height, INK_LIGHT),
        )
        for box in around:
            under = codes[max(box.y, 0) : box.y + box.height, max(box.x, 0) : box.x + box.width]
            if under.shape == (box.height, box.width) and (under == GAP).all():
                yield box


def _box(cell: Cell) -> tuple[slice, slice]:
    return slice(cell.y, cell.y + cell.height), slice(cell.x, cell.x + cell.width)


def _ends_unseen(tile: np.ndarray, palette: np.ndarray | None) -> bool:
    """Whether most of a side of a tile, in codes of a palette or in colours, is about the colour of paper."""
    sides = (tile[0], tile[-1], tile[:, 0], tile[:, -1])
    return any(near_paper(side if palette is None else palette[side]).mean() > 0.5 for side in sides)
