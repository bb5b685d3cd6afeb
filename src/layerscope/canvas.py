"""The frame around a map: caption above, colour bar beside, legend of marks; drawn in codes, so that it costs nothing."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from dataclasses import dataclass
from math import ceil, floor, log10

import numpy as np

from .encoding import ABOVE, BELOW, GAP, INK, INK_LIGHT, INK_MIDDLE
from .picture import Bar
from .scale import MARKS, Scale, number
from .text import LARGE, SMALL, font, wrap

MARGIN = 10
NARROWEST = 440
BAR_WIDTH, BAR_GAP, BAR_TALLEST = 16, 14, 448
STRENGTHS = np.array([GAP, INK_LIGHT, INK_MIDDLE, INK], np.uint8)
MUTED = np.array([GAP, INK_LIGHT, INK_MIDDLE, INK_MIDDLE], np.uint8)


@dataclass(frozen=True)
class Canvas:
    """A picture in the making: all codes, and the part of them that the map goes into."""

    codes: np.ndarray
    x: int
    y: int
    width: int
    height: int
    bar: Bar | None

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
) -> Canvas:
    """A canvas for a map of `height` × `width` pixels, with its caption, its bar and the legend of `marks` drawn."""
    ticks = bar_ticks(bar) if bar else []
    labels = max((len(text) for _, text in ticks), default=0)
    beside = BAR_GAP + BAR_WIDTH + 6 + labels * font(SMALL).width if bar else 0
    whole = max(width + beside, NARROWEST)
    top = _Caption(title, lines, marks, whole)
    tall = min(max(height, 120), BAR_TALLEST) if bar else 0
    codes = np.full((MARGIN + top.height + max(height, tall) + MARGIN, whole + 2 * MARGIN), GAP, np.uint8)
    top.draw(codes)
    place = None
    if bar:
        place = draw_bar(codes, MARGIN + width + BAR_GAP, MARGIN + top.height, tall, bar, marks, ticks)
    return Canvas(codes, MARGIN, MARGIN + top.height, width, height, place)


class _Caption:
    def __init__(self, title: str, lines: Sequence[str], marks: Collection[int], width: int) -> None:
        self.large, self.small = font(LARGE), font(SMALL)
        self.title = wrap(title, width // self.large.width)
        self.lines = [part for line in lines for part in wrap(line, width // self.small.width)]
        self.marks = sorted(marks)
        rows = len(self.lines) + bool(self.marks)
        self.height = len(self.title) * (self.large.height + 1) + rows * (self.small.height + 2) + 8

    def draw(self, codes: np.ndarray) -> None:
        y = MARGIN
        for line in self.title:
            write(codes, MARGIN, y, self.large.line(line))
            y += self.large.height + 1
        y += 2
        # All lines in one go: a call for each would take longer than the letters.
        for ink in self.small.lines(self.lines, max(map(len, self.lines), default=0)):
            write(codes, MARGIN, y, ink)
            y += self.small.height + 2
        x = MARGIN
        for mark in self.marks:
            codes[y + 2 : y + self.small.height - 2, x : x + self.small.height - 4] = mark
            x += self.small.height
            write(codes, x, y, self.small.line(MARKS[mark][0]))
            x += (len(MARKS[mark][0]) + 2) * self.small.width


def write(codes: np.ndarray, x: int, y: int, ink: np.ndarray, inks: np.ndarray = STRENGTHS) -> None:
    """Draw a line of text, cut at the edge of the picture."""
    box = codes[y : y + ink.shape[0], x : x + ink.shape[1]]
    box[:] = inks.take(ink[: box.shape[0], : box.shape[1]])


def draw_bar(
    codes: np.ndarray,
    x: int,
    y: int,
    height: int,
    scale: Scale,
    marks: Collection[int],
    ticks: Sequence[tuple[float, str]],
) -> Bar:
    """Draw the bar of `scale` with its ticks. Its rows go through the same `codes` as the map."""
    cap = 10
    if ABOVE in marks:
        codes[y : y + cap, x : x + BAR_WIDTH] = ABOVE
        y, height = y + cap, height - cap
    if BELOW in marks:
        codes[y + height - cap : y + height, x : x + BAR_WIDTH] = BELOW
        height -= cap
    low, high = scale.limits
    # From the two ends inwards, so that the ends stay right where `high - low` overflows.
    share = (np.arange(height) + 0.5) / height
    codes[y : y + height, x : x + BAR_WIDTH] = scale.codes(high * (1 - share) + low * share)[:, None]
    letters = font(SMALL)
    taken: list[int] = []
    for value, text in ticks:
        share_down = 0.0 if high == low else (high / 2 - value / 2) / (high / 2 - low / 2)
        at = y + min(height - 1, max(0, round(share_down * height - 0.5)))
        top = min(max(y, at - letters.height // 2), y + height - letters.height)
        if any(abs(top - other) < letters.height for other in taken):
            continue
        taken.append(top)
        codes[at, x + BAR_WIDTH : x + BAR_WIDTH + 4] = INK
        write(codes, x + BAR_WIDTH + 6, top, letters.line(text))
    return Bar(x, y, BAR_WIDTH, height, low, high)


def bar_ticks(scale: Scale) -> list[tuple[float, str]]:
    """(value, label) for a bar: both limits first, then round numbers between them."""
    low, high = scale.limits
    if low == high:
        return [(low, number(low))]
    inner = [each for each in round_numbers(low, high) if low < each < high]
    if scale.center is not None and low < scale.center < high:
        inner.insert(0, scale.center)
    ticks: dict[str, float] = {}
    for each in (high, low, *inner):
        # Numbers that read the same would only repeat each other on a narrow range.
        ticks.setdefault(number(each), each)
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
    return [float(f"{each * step:.12g}") for each in range(first, last + 1)]
