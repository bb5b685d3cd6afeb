"""The frame around a map: caption above, colour bar beside, legend of marks; drawn in codes, so that it costs nothing."""

from __future__ import annotations

from collections.abc import Collection, Iterator, Sequence
from dataclasses import dataclass, field
from math import ceil, floor, log10
from typing import Any

import numpy as np

from ..errors import BadOption
from .codes import ABOVE, BELOW, GAP, INK, INK_LIGHT, INK_MIDDLE, OWN
from .font import LARGE, SMALL, Font, font, wrap
from .numbers import beyond_text, digits_for, reading
from .scale import MARKS, Scale
from .shapes import Bar, Swatch, Text

MARGIN = 10


NARROWEST = 440


BAR_WIDTH, BAR_GAP, BAR_TICK, BAR_TALLEST = 16, 14, 6, 448


CAPTION_GAP = 8


STRENGTHS = np.array([GAP, INK_LIGHT, INK_MIDDLE, INK], np.uint8)


MUTED = np.array([GAP, INK_LIGHT, INK_MIDDLE, INK_MIDDLE], np.uint8)


@dataclass(frozen=True)
class Canvas:
    """A picture in the making: all codes, and the part of them that the map goes into.

    `text` is the size of its letters, `texts` what was written besides the caption and the bar.
    """

    codes: np.ndarray
    x: int
    y: int
    width: int
    height: int
    bar: Bar | None
    text: int = 1
    texts: list[Text] = field(default_factory=list)

    @property
    def letters(self) -> Font:
        return font(SMALL * self.text)

    def write(self, x: int, y: int, text: str, muted: bool = False) -> None:
        """Write a line from `x`, `y` of the body on, and remember it for files that hold text as text."""
        x, y = self.x + x, self.y + y
        write(self.codes, x, y, self.letters.line(text), MUTED if muted else STRENGTHS)
        self.texts.append(Text(x, y, text, SMALL * self.text))

    def own(self, x: int, y: int, width: int, height: int) -> None:
        """Mark a box that is painted in colours of its own, which no theme changes."""
        self.codes[y : y + height, x : x + width] = OWN

    @property
    def body(self) -> np.ndarray:
        return self.codes[self.y : self.y + self.height, self.x : self.x + self.width]


def frame(
    height: int,
    width: int,
    title: str,
    lines: Sequence[str],
    *,
    bar: Scale | None = None,
    marks: Collection[int] = (),
    reach: tuple[float, float] | None = None,
    text: int = 1,
) -> Canvas:
    """A canvas for a map of `height` × `width` pixels, with its caption, its bar and the legend of `marks` drawn.

    `reach` is how far the values themselves go; it stands at the ends of the bar where values lie beyond it. Letters, gaps and
    the bar are `text` times as large as on a screen (1 to 4), drawn at that size.
    """
    beside = bar_width(bar, marks, reach, text) if bar else 0
    margin = MARGIN * text
    whole = max(width + beside, NARROWEST * text)
    top = Caption(title, lines, marks, whole, text)
    tall = min(max(height, 120 * text), BAR_TALLEST * text) if bar else 0
    codes = np.full((margin + top.height + max(height, tall) + margin, whole + 2 * margin), GAP, np.uint8)
    top.draw(codes)
    place = None
    if bar:
        place = draw_bar(codes, margin + width + BAR_GAP * text, margin + top.height, tall, bar, marks, reach, text)
    return Canvas(codes, margin, margin + top.height, width, height, place, text)


def check_text(text: Any) -> None:
    """Raises `BadOption` for a size of text that isn't offered."""
    if isinstance(text, bool) or text not in (1, 2, 3, 4):
        raise BadOption(f"text={text!r}: use 1 (for a screen), 2, 3 (for print at 300 dpi) or 4")


def check_whole(**options: Any) -> None:
    """Raises `BadOption` for what is neither `None` nor a whole number from 1."""
    for name, value in options.items():
        if value is not None and (not isinstance(value, int | np.integer) or isinstance(value, bool) or value < 1):
            raise BadOption(f"{name}={value!r}: use a whole number from 1")


class Caption:
    """Title, lines and legend of marks as they stand at the top of a picture, wrapped to `width` pixels."""

    def __init__(self, title: str, lines: Sequence[str], marks: Collection[int], width: int, text: int = 1) -> None:
        self.large, self.small, self.text = font(LARGE * text), font(SMALL * text), text
        self.title = wrap(title, width // self.large.width)
        self.lines = [part for line in lines for part in wrap(line, width // self.small.width)]
        self.marks = self._rows(sorted(marks), width)
        self.step = self.small.height + 2 * text
        self.legend = MARGIN * text + len(self.title) * (self.large.height + text) + 2 * text
        self.legend += len(self.lines) * self.step
        rows = len(self.lines) + len(self.marks)
        self.height = len(self.title) * (self.large.height + text) + rows * self.step + CAPTION_GAP * text

    def _rows(self, marks: Sequence[int], width: int) -> list[list[tuple[int, int]]]:
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
        """Every line of text, from top to bottom and from left to right."""
        x = y = MARGIN * self.text
        for line in self.title:
            yield Text(x, y, line, LARGE * self.text)
            y += self.large.height + self.text
        y += 2 * self.text
        for line in self.lines:
            yield Text(x, y, line, SMALL * self.text)
            y += self.step
        for x, y, mark in self._places():
            yield Text(x + self.small.height, y - 2 * self.text, MARKS[mark][0], SMALL * self.text)

    def swatches(self) -> Iterator[Swatch]:
        """The boxes of the legend: a square for each mark with a line around, as marks may be as light as paper."""
        side, line = self.small.height - 4 * self.text, self.text
        for x, y, mark in self._places():
            yield Swatch(x, y, side, line, INK_MIDDLE)
            yield Swatch(x, y + side - line, side, line, INK_MIDDLE)
            yield Swatch(x, y + line, line, side - 2 * line, INK_MIDDLE)
            yield Swatch(x + side - line, y + line, line, side - 2 * line, INK_MIDDLE)
            yield Swatch(x + line, y + line, side - 2 * line, side - 2 * line, mark)

    def _places(self) -> Iterator[tuple[int, int, int]]:
        """Upper left corner and mark of each square in the legend."""
        for at, row in enumerate(self.marks):
            for x, mark in row:
                yield MARGIN * self.text + x, self.legend + at * self.step + 2 * self.text, mark

    def draw(self, codes: np.ndarray) -> None:
        placed = list(self.texts())
        below = placed[len(self.title) :]
        for each in placed[: len(self.title)]:
            write(codes, each.x, each.y, self.large.line(each.text))
        # All lines in one go: a call for each would take longer than the letters.
        texts = [each.text for each in below]
        for each, ink in zip(below, self.small.lines(texts, max(map(len, texts), default=0)), strict=True):
            write(codes, each.x, each.y, ink)
        # After the names, whose blanks reach over the boxes.
        for x, y, width, height, mark in self.swatches():
            codes[y : y + height, x : x + width] = mark


def write(codes: np.ndarray, x: int, y: int, ink: np.ndarray, inks: np.ndarray = STRENGTHS) -> None:
    """Draw a line of text, cut at the edge of the picture."""
    box = codes[y : y + ink.shape[0], x : x + ink.shape[1]]
    box[:] = inks.take(ink[: box.shape[0], : box.shape[1]])


def bar_width(
    scale: Scale, marks: Collection[int] = (), reach: tuple[float, float] | None = None, text: int = 1
) -> int:
    """The pixels that a bar takes beside a map, with its gap and its labels."""
    texts = [each for _, each in bar_ticks(scale)]
    texts += [each for each in _far(scale, reach, marks) if each]
    return text * (BAR_GAP + BAR_WIDTH + BAR_TICK) + max(map(len, texts)) * font(SMALL * text).width


def draw_bar(
    codes: np.ndarray,
    x: int,
    y: int,
    height: int,
    scale: Scale,
    marks: Collection[int] = (),
    reach: tuple[float, float] | None = None,
    text: int = 1,
) -> Bar:
    """Draw the bar of `scale` with its ticks. Its rows go through the same `codes` as the map.

    Where values lie beyond the limits (`ABOVE` or `BELOW` in `marks`) there is a cap in the colour that they have: a block
    for limits that were given, a point for limits that are cut at percentiles. All is drawn `text` times as large.
    """
    letters, wide = font(SMALL * text), BAR_WIDTH * text
    highest, lowest = _far(scale, reach, marks)
    space = 2 * text
    cap = letters.height + space
    if ABOVE in marks:
        draw_cap(codes[y : y + cap - space, x : x + wide], ABOVE, scale.clip is not None)
        write(codes, x + wide + BAR_TICK * text, y, letters.line(highest), MUTED)
        y, height = y + cap, height - cap
    if BELOW in marks:
        under = y + height - cap + space
        draw_cap(codes[under : under + cap - space, x : x + wide][::-1], BELOW, scale.clip is not None)
        write(codes, x + wide + BAR_TICK * text, under, letters.line(lowest), MUTED)
        height -= cap
    low, high = scale.limits
    # From the two ends inwards, so that the ends stay right where `high - low` overflows.
    share = (np.arange(height) + 0.5) / height
    codes[y : y + height, x : x + wide] = scale.codes(high * (1 - share) + low * share)[:, None]
    bar = Bar(x, y, wide, height, low, high)
    for at, each in placed_ticks(bar, bar_ticks(scale), text):
        codes[at : min(at + text, y + height), x + wide : x + wide + 4 * text] = INK
        write(codes, each.x, each.y, letters.line(each.text))
    return bar


def placed_ticks(bar: Bar, ticks: Sequence[tuple[float, str]], text: int = 1) -> Iterator[tuple[int, Text]]:
    """The row of each tick and its label, without those that would touch an earlier one."""
    letters = font(SMALL * text)
    taken: list[int] = []
    for value, label in ticks:
        share_down = 0.0 if bar.high == bar.low else (bar.high / 2 - value / 2) / (bar.high / 2 - bar.low / 2)
        at = bar.y + min(bar.height - 1, max(0, round(share_down * bar.height - 0.5)))
        top = min(max(bar.y, at - letters.height // 2), bar.y + bar.height - letters.height)
        if any(abs(top - other) < letters.height for other in taken):
            continue
        taken.append(top)
        yield at, Text(bar.x + bar.width + BAR_TICK * text, top, label, SMALL * text)


def draw_cap(box: np.ndarray, mark: int, pointed: bool) -> None:
    """A block, or a point whose tip is the first row: what lies beyond the end of a bar."""
    height, width = box.shape
    for row in range(height):
        side = (height - 1 - row) * width // (2 * height) if pointed else 0
        box[row, side : width - side] = mark


def _far(scale: Scale, reach: tuple[float, float] | None, marks: Collection[int]) -> tuple[str, str]:
    """How far the values go above and below, as it stands at the bar's caps."""
    if reach is None or not np.isfinite(reach).all():
        return "above" if ABOVE in marks else "", "below" if BELOW in marks else ""
    least, most = reach
    low, high = scale.limits
    return (
        f"max {beyond_text(most, high, low, high)}" if ABOVE in marks else "",
        f"min {beyond_text(least, low, low, high)}" if BELOW in marks else "",
    )


def bar_ticks(scale: Scale) -> list[tuple[float, str]]:
    """(value, label) for a bar: both limits first, then round numbers between them, with the digits that the range needs."""
    low, high = scale.limits
    inner = [each for each in round_numbers(low, high) if low < each < high]
    if scale.center is not None and low < scale.center < high:
        inner.insert(0, scale.center)
    ticks: dict[str, float] = {}
    for each in (high, low, *inner):
        ticks.setdefault(reading(each, low, high), each)
    return [(value, text) for text, value in ticks.items()]


def round_numbers(low: float, high: float, about: int = 5) -> list[float]:
    """Multiples of 1, 2 or 5 times a power of ten, about that many, from `low` to `high`.

    >>> round_numbers(-0.3, 1.7)
    [0.0, 0.5, 1.0, 1.5]
    """
    rough = high / about - low / about
    if not np.isfinite(rough) or rough < 1e-300:
        return []
    power = 10.0 ** floor(log10(rough))
    step = next(each * power for each in (1, 2, 5, 10) if each * power >= rough * 0.999)
    first, last = ceil(low / step - 1e-9), floor(high / step + 1e-9)
    if last - first > 4 * about:
        return []
    digits = min(17, max(12, digits_for(low, high) + 1))
    return [float(f"{each * step:.{digits}g}") for each in range(first, last + 1)]


SMALLEST = 8


def outline(body: np.ndarray, top: int, left: int, height: int, width: int, dark: Any, light: Any) -> None:
    """Two lines inside a box of `body` (the part of it that is there), away from its edge; nothing where there is no room."""
    bottom, right = min(top + height, body.shape[0]), min(left + width, body.shape[1])
    top, left = max(top, 0), max(left, 0)
    if min(bottom - top, right - left) < SMALLEST:
        return
    for inset, color in ((1, dark), (2, light)):
        box = body[top + inset : bottom - inset, left + inset : right - inset]
        box[[0, -1]] = color
        box[:, [0, -1]] = color
