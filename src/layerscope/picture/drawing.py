"""`Drawing`: what was drawn on a picture around its tiles, remembered while it was drawn, for files that hold text as text."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import NamedTuple

from .codes import INK
from .colorbar import DrawnBar
from .heading import Heading, Notes
from .shapes import Box, Cell, Ramp, Text


class TileLabels(NamedTuple):
    """A line of text at each tile, `words[0]` at the first: from `x`, `y` of the tile's corner on."""

    words: Sequence[str]
    x: int
    y: int
    size: int
    ink: int = INK
    bold: bool = False

    def texts(self, cells: Sequence[Cell]) -> Iterator[Text]:
        """The lines that aren't empty."""
        for tile, (cell, word) in enumerate(zip(cells, self.words, strict=True)):
            if word:
                yield Text(cell.x + self.x, cell.y + self.y, word, self.size, self.ink, tile, self.bold)


@dataclass(frozen=True, eq=False)
class Drawing:
    """The parts of a picture besides its tiles. Drawn on paper in this order they make it: boxes, ramps, tiles, texts.

    `heading`, `foot` and `bar` (the one of `Picture.bar`) know their own parts; `boxes` and `ramps` are all other ones,
    `lines` the texts that belong to no tile, `labels` those that stand at the tiles; `size` is the (height, width) of the
    picture that they are in. Nothing is worked out before it is asked for, so that the record costs a picture that is only
    looked at nothing.
    """

    size: tuple[int, ...]
    heading: Heading
    foot: Notes
    bar: DrawnBar | None = None
    boxes: tuple[Box, ...] = ()
    ramps: tuple[Ramp, ...] = ()
    lines: tuple[Text, ...] = ()
    labels: tuple[TileLabels, ...] = ()
    cells: tuple[Cell, ...] | None = None  # of the picture that was drawn, which sets them

    def belongs_to(self, size: tuple[int, ...], cells: tuple[Cell, ...], scale: object) -> bool:
        """Whether this is the record of a picture of this size with these tiles, and with a scale where it has a bar."""
        return (
            self.size == size
            and (self.cells is cells or self.cells is None or self.cells == cells)
            and (self.bar is None or scale is not None)
        )

    def texts(self, cells: Sequence[Cell]) -> tuple[Text, ...]:
        """Every text besides the ticks of `bar`: heading and notes, then the lines, then what stands at the tiles."""
        beyond = self.bar.beyond if self.bar else ()
        labels = (text for labels in self.labels for text in labels.texts(cells))
        return *self.heading.texts(), *self.foot.texts(), *beyond, *self.lines, *labels

    def patches(self) -> tuple[Box, ...]:
        """Every box besides the colours and the ticks of `bar`."""
        return *self.boxes, *self.foot.boxes(), *(self.bar.caps if self.bar else ())
