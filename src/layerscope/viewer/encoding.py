"""Values as the numbers that travel: float16 where nothing is lost, shifted or scaled where that helps, else float32."""

from __future__ import annotations

from collections.abc import Iterator
from typing import NamedTuple

import numpy as np

LARGEST = 65504.0  # of float16
LEAST = 2.0**-14  # from which on float16 keeps all its digits
PARTS = 480  # of a range: half a code of the scale
CLOSE = 1 / 512  # of a value: less than half a code of a logarithmic scale
BLOCK = 1 << 17


class Encoding(NamedTuple):
    """`values` float16 or float32, `[channel, *spatial]`; the numbers are `values * 2**exponent + offsets`."""

    values: np.ndarray
    exponent: int = 0
    offsets: np.ndarray | None = None


class Range(NamedTuple):
    """How closely channels are looked at, `[channel]` each: `low` to `high` hold nearly all values, `full` is what all span.

    `middle` is a value in their midst; `zero` says whether 0 lies among them.
    """

    low: np.ndarray
    high: np.ndarray
    middle: np.ndarray
    full: np.ndarray
    zero: np.ndarray


def encode(planes: np.ndarray, ranges: Range) -> Encoding:
    """float32 `planes` `[channel, *spatial]` in as few bytes as keep them.

    Float16 keeps them where no finite number becomes ±inf, none but 0 becomes 0 or loses digits for being small, and none is
    off by more than half a code of a scale over its channel's range, nor over the range that holds nearly all of it. A power of
    two moves numbers that are all large, or all small, to where float16 has them; an offset does it for channels whose numbers
    lie far from 0 beside their range. Whatever it wouldn't keep stays float32.

    >>> def over(low, high): return Range(*np.array([[low], [high], [low], [high - low]]), np.array([False]))
    >>> encode(np.array([[1.0, 2.0]], np.float32), over(1, 2)).values.dtype
    dtype('float16')
    >>> encode(np.array([[1e6, 2e6]], np.float32), over(1e6, 2e6)).exponent
    6
    >>> encode(np.array([[1000.0, 1000.3]], np.float32), over(1000, 1000.3)).offsets.tolist()
    [1000.0]
    >>> encode(np.array([[1e-9, 1e9]], np.float32), over(1e-9, 1e9)).values.dtype
    dtype('float32')
    """
    least, most = _sizes(planes)
    exponent = 0
    if most and not (least >= LEAST and most <= LARGEST):
        # The largest lies between 2^14 and 2^15: that leaves the most room below, and some above for an offset.
        exponent = int(np.frexp(most)[1]) - 15
        if np.ldexp(np.float64(least), -exponent) < LEAST:
            return Encoding(planes)
    halves = np.empty(planes.shape, np.float16)
    off = ~_fill(planes, halves, exponent, ranges)
    if not off.any():
        return Encoding(halves, exponent)
    # Where 0 is among the values, an offset that float16 has itself: 0 stays 0.
    near = decode(np.ldexp(ranges.middle, -exponent).astype(np.float16), exponent)
    offsets = np.where(off, np.where(ranges.zero, near, ranges.middle), 0).astype(np.float32)
    others, part = np.empty((int(off.sum()), *planes.shape[1:]), np.float16), planes[off]
    if not _fill(part, others, exponent, Range(*(each[off] for each in ranges)), offsets=offsets[off]).all():
        return Encoding(planes)
    halves[off] = others
    return Encoding(halves, exponent, offsets)


def decode(values: np.ndarray, exponent: int = 0, offsets: np.ndarray | None = None) -> np.ndarray:
    """float32 of what `encode` gave, `[channel, …]`, as the page reads it.

    >>> decode(np.array([[1.5]], np.float16), 3, np.array([100.0])).tolist()
    [[112.0]]
    """
    if not exponent and offsets is None:
        return values.astype(np.float32)
    numbers = np.ldexp(values.astype(np.float64), exponent)
    if offsets is not None:
        numbers += offsets.reshape(-1, *(1,) * (values.ndim - 1))
    return numbers.astype(np.float32)


def _sizes(planes: np.ndarray) -> tuple[float, float]:
    """The smallest and the largest size of a finite number other than 0; (0, 0) without one."""
    least, most = np.inf, 0.0
    for _, part in _blocks(planes):
        size = np.abs(part)
        np.copyto(size, np.nan, where=~((size > 0) & np.isfinite(size)))
        least = min(least, float(np.fmin.reduce(size, None, initial=np.inf)))
        most = max(most, float(np.fmax.reduce(size, None, initial=0)))
    return (least, most) if most else (0.0, 0.0)


def _fill(
    planes: np.ndarray, halves: np.ndarray, exponent: int, ranges: Range, *, offsets: np.ndarray | None = None
) -> np.ndarray:
    """Write the planes as float16 into `halves`; bool `[channel]`, whether that keeps them."""
    flat, close = halves.reshape(len(planes), -1), np.ones(len(planes), bool)
    for (channels, places), part in _blocks(planes):
        shift = None if offsets is None else offsets[channels]
        differences = part if shift is None else part - shift[:, None]
        with np.errstate(over="ignore"):  # which `_is_close` sees
            flat[channels, places] = np.ldexp(differences, -exponent) if exponent else differences
        again = decode(flat[channels, places], exponent, shift)
        close[channels] &= _is_close(part, again, Range(*(each[channels] for each in ranges)), shift is not None)
    return close


def _is_close(values: np.ndarray, again: np.ndarray, ranges: Range, offset: bool) -> np.ndarray:
    """bool `[channel]`: whether what is read again is close enough to the values `[channel, position]`."""
    with np.errstate(invalid="ignore"):
        error = np.abs(again - values)  # NaN for NaN and for inf - inf, which are kept
        full, nearly = ranges.full / PARTS, (ranges.high - ranges.low) / PARTS
        worst = np.fmax.reduce(error, 1, initial=0)
        close = worst <= full
        doubtful = close & (worst > nearly)
        if doubtful.any():
            part, low, high = values[doubtful], ranges.low[doubtful, None], ranges.high[doubtful, None]
            inside = np.where((part >= low) & (part <= high), error[doubtful], 0)
            close[doubtful] = np.fmax.reduce(inside, 1, initial=0) <= nearly[doubtful]
        if offset:  # else float16 has the digits of each value, as it is none of the small ones
            close &= ~(error > CLOSE * np.abs(values)).any(1)
    return close


def _blocks(planes: np.ndarray) -> Iterator[tuple[tuple[slice, slice], np.ndarray]]:
    """Parts `[channel, position]` that stay in the cache, and where they lie."""
    flat = planes.reshape(len(planes), -1)
    positions = max(1, flat.shape[1])
    channels, across = max(1, BLOCK // positions), min(positions, BLOCK)
    for first in range(0, len(flat), channels):
        for start in range(0, flat.shape[1], across):
            here = slice(first, first + channels), slice(start, start + across)
            yield here, flat[here]
