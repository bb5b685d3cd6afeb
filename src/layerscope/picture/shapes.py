"""The parts of a picture, each with its position in pixels: `Cell`, `Bar`, and what is drawn around them."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

from .codes import INK


class Cell(NamedTuple):
    """One tile of a picture: its box in pixels, which image and channel it shows, its range of colours, what is special.

    `low` and `high` are the values at the two ends of its colours, `note` is empty where nothing is special.

    >>> import layerscope as ls, numpy as np
    >>> cell = ls.heatmap(np.array([[0.0, 1.0], [2.0, 4.0]])).cells[0]
    >>> cell.width, cell.height, cell.channel, cell.low, cell.high
    (448, 448, 0, 0.0, 4.0)
    """

    # A named tuple, since a sheet of 2,048 channels makes 2,048 of them, and a frozen dataclass takes ten times as long.
    x: int
    y: int
    width: int
    height: int
    image: int
    channel: int
    low: float
    high: float
    note: str = ""


class Bar(NamedTuple):
    """The colour bar's box in pixels, with the values at its lower and its upper end.

    >>> import layerscope as ls, numpy as np
    >>> bar = ls.heatmap(np.array([[0.0, 1.0], [2.0, 4.0]])).bar
    >>> bar.width, bar.height, bar.low, bar.high
    (16, 448, 0.0, 4.0)
    """

    x: int
    y: int
    width: int
    height: int
    low: float
    high: float


class Text(NamedTuple):
    """A line of text: its upper left corner, its size in pixels, the code of its ink, and the tile that it names.

    `tile` is the tile's index in `Picture.cells`, -1 for a text that belongs to no tile; `bold` text is semi-bold.
    """

    x: int
    y: int
    text: str
    size: int
    ink: int = INK
    tile: int = -1
    bold: bool = False


class Box(NamedTuple):
    """A box of one colour: the code of a palette, or red, green and blue of its own."""

    x: int
    y: int
    width: int
    height: int
    color: int | tuple[int, int, int]


class Ramp(NamedTuple):
    """The colours of a bar: a code for each row of its box from top to bottom, or for each column where it lies `across`."""

    x: int
    y: int
    width: int
    height: int
    codes: np.ndarray
    across: bool = False

    def boxes(self) -> list[Box]:
        """The ramp as boxes, one for each run of equal codes."""
        starts = [0, *(np.flatnonzero(np.diff(self.codes.astype(int))) + 1).tolist()]
        ends = [*starts[1:], len(self.codes)]
        codes = self.codes[starts].tolist()
        if self.across:
            return [
                Box(self.x + start, self.y, end - start, self.height, code)
                for start, end, code in zip(starts, ends, codes, strict=True)
            ]
        return [
            Box(self.x, self.y + start, self.width, end - start, code)
            for start, end, code in zip(starts, ends, codes, strict=True)
        ]
