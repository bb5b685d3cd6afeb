"""A hairline around a tile whose border is about the colour of light or of dark paper, so that no one sees where it ends."""

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
    """The lines around those of the cells that need them, on paper alone.

    `codes` say where there is paper; `pixels` are colours, or the picture's palette where it has nothing but codes.
    """
    if len(cells) > MOST:
        return
    for x, y, width, height in (cell[:4] for cell in cells):
        tile = (pixels if pixels.ndim == 3 else codes)[y : y + height, x : x + width]
        sides = (tile[0], tile[-1], tile[:, 0], tile[:, -1])
        if not any(near_paper(side if pixels.ndim == 3 else pixels[side]).mean() > 0.5 for side in sides):
            continue
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
