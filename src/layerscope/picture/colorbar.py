"""The colour bar: its colours through the same codes as the map, its ticks, and what lies beyond its ends."""

from __future__ import annotations

from collections.abc import Collection, Iterator, Sequence
from dataclasses import dataclass, replace
from math import ceil, floor, log10

import numpy as np

from .codes import ABOVE, BELOW, INK, INK_MIDDLE, TOP
from .font import Font, small
from .norms import decades
from .numbers import beyond_text, digits_for, number
from .scale import Scale
from .shapes import Bar, Box, Ramp, Text

BAR_WIDTH, BAR_GAP, BAR_TICK = 16, 16, 7
KEY_CODES = tuple(round(step * TOP / 31) for step in range(32))


@dataclass(frozen=True, eq=False)
class DrawnBar:
    """A bar and its parts: colours, a line and a label for each tick, caps for values beyond and how far they go."""

    bar: Bar
    ramp: Ramp
    ticks: tuple[Box, ...]
    labels: tuple[Text, ...]
    caps: tuple[Box, ...] = ()
    beyond: tuple[Text, ...] = ()


@dataclass(frozen=True, eq=False)
class ColorBar:
    """A bar to be drawn: its scale, and which `marks` (`ABOVE`, `BELOW`) of values beyond its ends it shows.

    `reach` is how far the values themselves go, printed at the end of the bar that they exceed. Everything is `text`
    times as large as on a screen. `quantity` is what it measures, written above it.
    """

    scale: Scale
    marks: Collection[int] = ()
    reach: tuple[float, float] | None = None
    text: float = 1
    quantity: str = ""

    @property
    def measures(self) -> bool:
        """Whether it says anything: of a map without a finite value it doesn't."""
        low, high = self.scale.limits
        return low < high or self.reach is None or bool(np.isfinite(self.reach).all())

    @property
    def letters(self) -> Font:
        return small(self.text)

    @property
    def above(self) -> int:
        """The pixels above it that the name of its quantity takes."""
        return self.letters.height + round(2 * self.text) if self.quantity else 0

    @property
    def least(self) -> int:
        """The height that it needs for the labels of its two ends and of its centre, caps included."""
        low, high = self.scale.limits
        center = self.scale.center is not None and low < self.scale.center < high
        labels = 2 + center + len({ABOVE, BELOW}.intersection(self.marks))
        return labels * (self.letters.height + round(2 * self.text))

    @property
    def width(self) -> int:
        """The pixels that it takes beside a map, with its gap and its labels."""
        texts = [label for _, label in bar_ticks(self.scale)]
        texts += [text for text in self._beyond() if text]
        beside = round((BAR_WIDTH + BAR_TICK) * self.text) + self.letters.widest(texts)
        return round(BAR_GAP * self.text) + max(beside, self.letters.width(self.quantity))

    def draw(self, x: int, y: int, height: int) -> DrawnBar:
        """The parts of the bar whose upper left corner is at `x`, `y`, caps included.

        Where values lie beyond the limits there is a cap in the colour that they have: a block for limits that were
        given, a point for limits that are clipped at percentiles.
        """
        letters, wide, scale = self.letters, round(BAR_WIDTH * self.text), self.scale
        left, line = x + round((BAR_WIDTH + BAR_TICK) * self.text), max(1, round(self.text))
        highest, lowest = self._beyond()
        cap = letters.height + round(2 * self.text)
        pointed = scale.clip is not None
        caps: list[Box] = []
        texts: list[Text] = []
        if self.quantity:
            texts.append(Text(x, y - self.above, self.quantity, letters.size, INK_MIDDLE))
        if ABOVE in self.marks:
            caps += cap_boxes(Box(x, y, wide, letters.height, ABOVE), "up" if pointed else "")
            texts.append(Text(left, y, highest, letters.size, INK_MIDDLE))
            y, height = y + cap, height - cap
        if BELOW in self.marks:
            under = y + height - letters.height
            caps += cap_boxes(Box(x, under, wide, letters.height, BELOW), "down" if pointed else "")
            texts.append(Text(left, under, lowest, letters.size, INK_MIDDLE))
            height -= cap
        low, high = scale.limits
        bar = Bar(x, y, wide, height, low, high)
        placed = list(placed_ticks(bar, scale, self.text))
        ticks = tuple(Box(x + wide, row, 4 * line, min(line, y + height - row), INK) for row, _ in placed)
        ramp = Ramp(x, y, wide, height, ramp_codes(scale, height))
        return DrawnBar(bar, ramp, ticks, tuple(text for _, text in placed), tuple(caps), tuple(texts))

    def _beyond(self) -> tuple[str, str]:
        """How far the values go above and below, as it stands at the bar's caps."""
        if self.reach is None or not np.isfinite(self.reach).all():
            return "above" if ABOVE in self.marks else "", "below" if BELOW in self.marks else ""
        least, most = self.reach
        low, high = self.scale.limits
        return (
            f"max {beyond_text(most, high, low, high)}" if ABOVE in self.marks else "",
            f"min {beyond_text(least, low, low, high)}" if BELOW in self.marks else "",
        )


@dataclass(frozen=True)
class ColorKey:
    """What stands in the place of a bar where a colour is a name: `entries` of (red, green and blue, what it means).

    `quantity` is what the numbers of the entries are, written above them.
    """

    entries: tuple[tuple[tuple[int, int, int], str], ...]
    text: float = 1
    quantity: str = ""

    @property
    def letters(self) -> Font:
        return small(self.text)

    @property
    def step(self) -> int:
        """From one entry to the next."""
        return self.letters.height + round(6 * self.text)

    @property
    def width(self) -> int:
        """The pixels that it takes beside a map, with its gap."""
        names = round((BAR_WIDTH + BAR_TICK) * self.text) + self.letters.widest([name for _, name in self.entries])
        return round(BAR_GAP * self.text) + max(names, self.letters.width(self.quantity))

    @property
    def above(self) -> int:
        """The pixels that the name of its quantity takes."""
        return self.step if self.quantity else 0

    @property
    def height(self) -> int:
        return self.above + len(self.entries) * self.step

    def boxes(self, x: int, y: int) -> Iterator[Box]:
        """A box for each entry, from `x`, `y` down."""
        for row, (color, _) in enumerate(self.entries):
            yield Box(x, y + self.above + row * self.step, round(BAR_WIDTH * self.text), self.letters.height, color)

    def texts(self, x: int, y: int) -> Iterator[Text]:
        """The quantity, and the names beside the boxes."""
        if self.quantity:
            yield Text(x, y, self.quantity, self.letters.size, INK_MIDDLE)
        left = x + round((BAR_WIDTH + BAR_TICK) * self.text)
        for row, (_, name) in enumerate(self.entries):
            yield Text(left, y + self.above + row * self.step, name, self.letters.size)


@dataclass(frozen=True)
class TileKey:
    """What the colours of tiles with ranges of their own mean: a short ramp of `colors`, with words at its two ends."""

    colors: tuple[int | tuple[int, int, int], ...]
    before: str
    after: str

    @classmethod
    def of(cls, scale: Scale) -> TileKey:
        """The key of a scale with a range for each tile; a range that is centred ends as far below as above."""
        if scale.center is None:
            lowest, highest = ("lower", "upper limit") if scale.clip else ("lowest", "highest value")
            lowest += " above 0" if scale.norm == "log" and not scale.clip else ""
            return cls(KEY_CODES, lowest, f"{highest} of each tile")
        if scale.center == 0:
            return cls(
                KEY_CODES,
                "−m",
                f"+m, m = largest {'limit' if scale.clip else 'magnitude'} of each tile; 0 in the middle",
            )
        middle = number(scale.center)
        return cls(KEY_CODES, f"{middle} − m", f"{middle} + m, m = largest distance from {middle} in each tile")

    def painted(self, table: np.ndarray) -> TileKey:
        """The key in the colours of a palette, for pictures that have another one."""
        return replace(self, colors=tuple(map(tuple, table[list(self.colors)].tolist())))


def ramp_codes(scale: Scale, length: int, rising: bool = False) -> np.ndarray:
    """The codes of a bar of so many pixels, from its upper end down; `rising`: from its lower end up."""
    rows = (np.arange(length) + 0.5) / length
    return scale.codes(scale.at(rows if rising else rows[::-1]))


def cap_boxes(box: Box, points: str = "") -> list[Box]:
    """A block, or rows that make a point whose tip lies `"up"`, `"down"`, `"left"` or `"right"`: values beyond a bar's end."""
    x, y, width, height, color = box
    if not points:
        return [box]
    across = points in ("left", "right")
    length, breadth = (width, height) if across else (height, width)
    boxes = []
    for step in range(length):
        side = (length - 1 - step) * breadth // (2 * length)
        along = step if points in ("up", "left") else length - 1 - step
        if across:
            boxes.append(Box(x + along, y + side, 1, breadth - 2 * side, color))
        else:
            boxes.append(Box(x + side, y + along, breadth - 2 * side, 1, color))
    return boxes


def bar_ticks(scale: Scale) -> list[tuple[float, str]]:
    """(value, label) for a bar: both limits, its centre, then round numbers; at equal steps all in as many decimals.

    >>> [text for _, text in bar_ticks(Scale((13.5, 22.32)))]
    ['22.32', '13.50', '14.00', '16.00', '18.00', '20.00', '22.00']
    """
    low, high = scale.limits
    center = [scale.center] if scale.center is not None and low < scale.center < high else []
    values = dict.fromkeys((high, low, *center, *(value for value in round_values(scale) if low < value < high)))
    texts = _aligned([*values], low, high) if _at_equal_steps(scale) else []
    ticks: dict[str, float] = {}
    for value, text in zip(values, texts or map(scale.reading, values), strict=True):
        ticks.setdefault(text, value)
    return [(value, text) for text, value in ticks.items()]


def _aligned(values: Sequence[float], low: float, high: float) -> list[str]:
    """Numbers of a bar from `low` to `high` in as many decimals each; none where they are too large or small for plain ones."""
    largest = max(abs(low), abs(high))
    if not 1e-3 <= largest < 1e5:
        return []
    decimals = max(0, digits_for(low, high) - 1 - floor(log10(largest)))
    while decimals and all(f"{value:.{decimals}f}".endswith("0") for value in values):
        decimals -= 1
    plain = (f"{value:.{decimals}f}" for value in values)
    # A limit near 0 doesn't read as 0, and 0 itself needs no decimals.
    return [text.replace("-", "−") if float(text) else number(value) for text, value in zip(plain, values, strict=True)]


def _at_equal_steps(scale: Scale) -> bool:
    """Whether the round numbers of a scale lie at equal steps rather than at powers of ten."""
    low, high = scale.limits
    return scale.norm == "linear" or low == high or (scale.norm == "log" and high <= 10 * low)


def round_values(scale: Scale) -> list[float]:
    """Round numbers along a bar: at equal steps, or at powers of ten."""
    low, high = scale.limits
    if _at_equal_steps(scale):
        return round_numbers(low, high)
    if scale.norm == "log":
        return decades(low, high)
    within = float(scale.curve.over(low, high).within)
    # The same for both signs, from the larger one's decades.
    every = decades(within, max(-low, high), 3)
    return [value for value in (*(-value for value in every[::-1]), 0.0, *every) if low < value < high]


def placed_ticks(bar: Bar, scale: Scale, text: float = 1) -> Iterator[tuple[int, Text]]:
    """The row of each tick of a scale and its label; a round number keeps a gap to those in front of it."""
    letters = small(text)
    left = bar.x + bar.width + round(BAR_TICK * text)
    taken: list[int] = []
    ticks = bar_ticks(scale)
    shares_down = scale.places([value for value, _ in ticks], down=True)
    for (value, label), share_down in zip(ticks, shares_down.tolist(), strict=True):
        row = bar.y + min(bar.height - 1, max(0, round(share_down * bar.height - 0.5)))
        top = min(max(bar.y, row - letters.height // 2), bar.y + bar.height - letters.height)
        apart = letters.height * (2 if value in (*scale.limits, scale.center) else 3) // 2
        if any(abs(top - other) < apart for other in taken):
            continue
        taken.append(top)
        yield row, Text(left, top, label, letters.size)


def round_numbers(low: float, high: float, about: int = 5) -> list[float]:
    """Multiples of 1, 2 or 5 times a power of ten, about that many, from `low` to `high`.

    >>> round_numbers(-0.3, 1.7)
    [0.0, 0.5, 1.0, 1.5]
    """
    rough = high / about - low / about
    if not np.isfinite(rough) or rough < 1e-300:
        return []
    power = 10.0 ** floor(log10(rough))
    step = next(factor * power for factor in (1, 2, 5, 10) if factor * power >= rough * 0.999)
    first, last = ceil(low / step - 1e-9), floor(high / step + 1e-9)
    if last - first > 4 * about:
        return []
    digits = min(17, max(12, digits_for(low, high) + 1))
    return [float(f"{multiple * step:.{digits}g}") for multiple in range(first, last + 1)]
