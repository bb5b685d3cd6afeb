"""The head of a picture: its title, the lines of its caption and the legend of its marks, wrapped to its width."""

from __future__ import annotations

from collections.abc import Collection, Iterator, Sequence

from .codes import INK_MIDDLE
from .font import LARGE, SMALL, font, wrap
from .palette import MARKS
from .shapes import Box, Text

MARGIN = 10
CAPTION_GAP = 8


class Heading:
    """Title, lines and legend of `marks`, wrapped to `width` pixels; `text` is the size of the letters."""

    def __init__(self, title: str, lines: Sequence[str], marks: Collection[int], *, width: int, text: int = 1) -> None:
        self.large, self.small, self.text = font(LARGE * text), font(SMALL * text), text
        self.title = wrap(title, width // self.large.width)
        self.lines = [part for line in lines for part in wrap(line, width // self.small.width)]
        self.marks = self._legend_rows(sorted(marks), width)
        self.step = self.small.height + 2 * text
        self.legend = MARGIN * text + len(self.title) * (self.large.height + text) + 2 * text
        self.legend += len(self.lines) * self.step
        rows = len(self.lines) + len(self.marks)
        self.height = len(self.title) * (self.large.height + text) + rows * self.step + CAPTION_GAP * text

    def _legend_rows(self, marks: Sequence[int], width: int) -> list[list[tuple[int, int]]]:
        """The legend as rows of (x, mark) that fit the width."""
        rows: list[list[tuple[int, int]]] = []
        x = 0
        for mark in marks:
            wide = self.small.height + len(MARKS[mark][0]) * self.small.width
            if not rows or x + wide > width:
                rows.append([])
                x = 0
            rows[-1].append((x, mark))
            x += wide + 2 * self.small.width
        return rows

    def texts(self) -> Iterator[Text]:
        """Every line of text, from top to bottom and from left to right; those of the title first."""
        x = y = MARGIN * self.text
        for line in self.title:
            yield Text(x, y, line, LARGE * self.text)
            y += self.large.height + self.text
        y += 2 * self.text
        for line in self.lines:
            yield Text(x, y, line, SMALL * self.text)
            y += self.step
        for x, y, mark in self._squares():
            yield Text(x + self.small.height, y - 2 * self.text, MARKS[mark][0], SMALL * self.text)

    def boxes(self) -> Iterator[Box]:
        """The boxes of the legend: a square for each mark with a line around, as marks may be as light as paper."""
        side, line = self.small.height - 4 * self.text, self.text
        for x, y, mark in self._squares():
            yield Box(x, y, side, line, INK_MIDDLE)
            yield Box(x, y + side - line, side, line, INK_MIDDLE)
            yield Box(x, y + line, line, side - 2 * line, INK_MIDDLE)
            yield Box(x + side - line, y + line, line, side - 2 * line, INK_MIDDLE)
            yield Box(x + line, y + line, side - 2 * line, side - 2 * line, mark)

    def _squares(self) -> Iterator[tuple[int, int, int]]:
        """Upper left corner and mark of each square in the legend."""
        for row, marks in enumerate(self.marks):
            for x, mark in marks:
                yield MARGIN * self.text + x, self.legend + row * self.step + 2 * self.text, mark
