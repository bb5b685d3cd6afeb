"""`Cell`, `Bar` and `Text`: where the tiles, the colour bar and what is written lie in a picture's pixels."""

from __future__ import annotations

from typing import NamedTuple

# MOVED


class Cell(NamedTuple):
    """One tile of a picture: its box in pixels, which image and channel it shows, its range of colours, what is special.

    A named tuple because a sheet of 2,048 channels makes 2,048 of them, and a frozen dataclass takes ten times as long.
    """

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
    """The colour bar's box in pixels, with the values at its lower and its upper end."""

    x: int
    y: int
    width: int
    height: int
    low: float
    high: float


class Text(NamedTuple):
    """A line of text: its upper left corner and its size in pixels."""

    x: int
    y: int
    text: str
    size: int


class Swatch(NamedTuple):
    """A box of one code: a part of a legend or of a bar."""

    x: int
    y: int
    width: int
    height: int
    code: int
