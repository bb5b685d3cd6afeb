"""What stands above a picture (its title, and a line of what it is and where from) and below it (notes, legend of marks)."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence

from ..core.note import kind_of
from .codes import INK_MIDDLE
from .colorbar import TileKey
from .font import LARGE, MEDIUM, font, small
from .shapes import Box, Text

MARGIN, GAP_BELOW_HEADING, GAP_ABOVE_NOTES = 24, 12, 16
KEY_WIDTH, KEY_GAP = 66, 6


def key_width(key: TileKey, text: float) -> int:
    """The pixels that the key of tiles takes in the legend."""
    letters = small(text)
    return letters.width(key.before) + letters.width(key.after) + round(KEY_WIDTH * text) + 2 * round(KEY_GAP * text)


class Heading:
    """The title in large letters and the line below it in grey ones, wrapped to `width` pixels."""

    def __init__(self, title: str, subject: str, *, width: int, text: float = 1) -> None:
        self.text, self.margin = text, round(MARGIN * text)
        self.large, self.medium = font(round(LARGE * text), bold=True), font(round(MEDIUM * text))
        self.title = self.large.wrap(title, width) if title else []
        self.subject = self.medium.wrap(subject, width) if subject else []
        self.between = round(4 * text) if title else 0
        self.height = len(self.title) * self.large.height + self.between + len(self.subject) * self.medium.height
        self.height += round(GAP_BELOW_HEADING * text) if title or subject else 0

    def texts(self) -> Iterator[Text]:
        """Every line of text, from top to bottom."""
        y = self.margin
        for line in self.title:
            yield Text(self.margin, y, line, self.large.size, bold=True)
            y += self.large.height
        y += self.between
        for line in self.subject:
            yield Text(self.margin, y, line, self.medium.size, INK_MIDDLE)
            y += self.medium.height


class Notes:
    """The legend of `marks` with their names and the notes, wrapped to `width` pixels, from `top` of the picture down.

    `key` is the first entry of the legend.
    """

    def __init__(
        self,
        notes: Sequence[str],
        marks: Mapping[int, str],
        *,
        width: int,
        top: int,
        text: float = 1,
        key: TileKey | None = None,
    ) -> None:
        self.key = key
        self.names = marks
        self.text, self.margin, self.small = text, round(MARGIN * text), small(text)
        self.step = self.small.height + round(3 * text)
        flowing = " ".join(note for note in notes if note and kind_of(note) != "frame")
        self.notes = self.small.wrap(flowing, width) if flowing else []
        self.notes += [note for note in notes if kind_of(note) == "frame"]
        self.marks = self._legend_rows(sorted(marks), width)
        rows = len(self.notes) + len(self.marks)
        gap = round(GAP_ABOVE_NOTES * text) if rows else 0
        self.top, self.height = top + gap, gap + rows * self.step

    def _legend_rows(self, marks: Sequence[int], width: int) -> list[list[tuple[int, int]]]:
        """The legend as rows of (x, mark) that fit the width."""
        rows: list[list[tuple[int, int]]] = [[]] if self.key else []
        x = key_width(self.key, self.text) + round(16 * self.text) if self.key else 0
        for mark in marks:
            wide = self.small.height + self.small.width(self.names[mark])
            if not rows or x + wide > width:
                rows.append([])
                x = 0
            rows[-1].append((x, mark))
            x += wide + round(16 * self.text)
        return rows

    def texts(self) -> Iterator[Text]:
        """Every line of text, from top to bottom and from left to right."""
        if self.key:
            _, right = self._ramp_ends()
            yield Text(self.margin, self.top, self.key.before, self.small.size, INK_MIDDLE)
            yield Text(right + round(KEY_GAP * self.text), self.top, self.key.after, self.small.size, INK_MIDDLE)
        for x, y, mark in self._squares():
            yield Text(x + self.small.height, y, self.names[mark], self.small.size, INK_MIDDLE)
        y = self.top + len(self.marks) * self.step
        for line in self.notes:
            yield Text(self.margin, y, line, self.small.size, INK_MIDDLE)
            y += self.step

    def boxes(self) -> Iterator[Box]:
        """The boxes of the legend: the colours of the key, and a square for each mark; with a line around, as they may be as
        light as paper."""
        line = max(1, round(self.text))
        inset = max(1, round(2 * self.text))
        side = self.small.height - 2 * inset
        if self.key:
            left, right = self._ramp_ends()
            yield Box(left, self.top + inset, right - left, side, INK_MIDDLE)
            start, wide, count = left + line, right - left - 2 * line, len(self.key.colors)
            for step, color in enumerate(self.key.colors):
                first, last = step * wide // count, (step + 1) * wide // count
                yield Box(start + first, self.top + inset + line, last - first, side - 2 * line, color)
        for x, top, mark in self._squares():
            y = top + inset
            yield Box(x, y, side, line, INK_MIDDLE)
            yield Box(x, y + side - line, side, line, INK_MIDDLE)
            yield Box(x, y + line, line, side - 2 * line, INK_MIDDLE)
            yield Box(x + side - line, y + line, line, side - 2 * line, INK_MIDDLE)
            yield Box(x + line, y + line, side - 2 * line, side - 2 * line, mark)

    def _ramp_ends(self) -> tuple[int, int]:
        """The first pixel of the key's colours, and the one behind the last."""
        left = self.margin + (self.small.width(self.key.before) if self.key else 0) + round(KEY_GAP * self.text)
        return left, left + round(KEY_WIDTH * self.text)

    def _squares(self) -> Iterator[tuple[int, int, int]]:
        """Left end and upper edge of the row, and mark, of each square in the legend."""
        for row, marks in enumerate(self.marks):
            for x, mark in marks:
                yield self.margin + x, self.top + row * self.step, mark
