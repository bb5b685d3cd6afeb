"""Sums, ranges and counts of each channel in float64, in one walk through memory."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

from .ranges import down

# What is looked at in one go stays in the processor's cache while all figures are taken from it.
BLOCK = 1 << 16

# Squares less the squared mean lose this many of their digits where a channel lies far from 0: then it is read again.
FAR_FROM_ZERO = 1e6


@dataclass(eq=False)
class Moments:
    """Figures by channel, each an array `[channel]`; NaN and ±inf are counted and left out of everything else.

    `count` is the number of finite values, `total` and `squares` their sum and the sum of their squares, `image` and
    `position` the first position of the largest one (counted row by row).
    """

    count: np.ndarray
    low: np.ndarray
    high: np.ndarray
    total: np.ndarray
    squares: np.ndarray
    zeros: np.ndarray
    positive: np.ndarray
    nan: np.ndarray
    inf: np.ndarray
    image: np.ndarray
    position: np.ndarray
    variance: np.ndarray

    @classmethod
    def empty(cls, channels: int) -> Moments:
        counts = {name: np.zeros(channels, np.int64) for name in cls.__dataclass_fields__}
        sums = {name: np.zeros(channels) for name in ("total", "squares", "variance")}
        ends = {name: np.full(channels, np.nan) for name in ("low", "high")}
        return cls(**{**counts, **sums, **ends})

    @property
    def mean(self) -> np.ndarray:
        return _share(self.total, self.count)

    def add(self, other: Moments, image: int) -> None:
        """Take in what was counted in one more image."""
        first = np.isnan(self.high) & ~np.isnan(other.high) | (other.high > self.high)
        self.image[first], self.position[first] = image, other.position[first]
        self.low, self.high = np.fmin(self.low, other.low), np.fmax(self.high, other.high)
        for name in ("count", "total", "squares", "zeros", "positive", "nan", "inf"):
            getattr(self, name)[:] += getattr(other, name)


def moments(values: np.ndarray, step: Callable[[int], object] = int) -> Moments:
    """The figures of float32 `[image, *spatial, channel]`, whichever axis lies together in memory; `step` is told of each
    image."""
    channels = values.shape[-1]
    whole = Moments.empty(channels)
    for index, image in enumerate(values):
        flat = image.reshape(-1, channels)
        rows = abs(flat.strides[1]) <= abs(flat.strides[0])
        counts = _by_rows(flat) if rows else _by_planes(flat)
        for channel in np.flatnonzero(~(np.isfinite(counts.low) & np.isfinite(counts.high))).tolist():
            _finite_only(counts, channel, flat[:, channel])
        whole.add(counts, index)
        step(1)
    whole.variance = _variance(values, whole)
    return whole


def _variance(values: np.ndarray, whole: Moments) -> np.ndarray:
    mean = whole.mean
    variance = _share(whole.squares, whole.count) - np.square(mean)
    with np.errstate(invalid="ignore"):
        again = ~(np.square(mean) <= FAR_FROM_ZERO * variance) & (whole.low < whole.high)
    variance = np.where(whole.low == whole.high, 0, variance)
    for channel in np.flatnonzero(again).tolist():
        plane = values[..., channel].astype(np.float64)
        variance[channel] = np.square(plane[np.isfinite(plane)] - mean[channel]).mean()
    return np.maximum(variance, 0)


def _by_rows(flat: np.ndarray) -> Moments:
    """`[position, channel]` with the channels of a position together in memory."""
    positions, channels = flat.shape
    counts = Moments.empty(channels)
    counts.count[:] = positions
    step = max(1, BLOCK // channels)
    wide = np.empty((min(step, positions), channels))
    same = np.empty(wide.shape, bool)
    lows, highs = [], []
    with np.errstate(invalid="ignore", over="ignore"):
        for start in range(0, positions, step):
            block = flat[start : start + step]
            count = len(block)
            lows.append(down(np.minimum, block))
            highs.append(down(np.maximum, block))
            np.copyto(wide[:count], block)
            counts.total += np.ones(count) @ wide[:count]
            counts.squares += np.einsum("ij,ij->j", wide[:count], wide[:count])
            zeros = down(np.add, np.equal(block, 0, out=same[:count]).view(np.uint8))
            counts.zeros += zeros
            if lows[-1].min() >= 0:
                counts.positive += count - zeros
            else:
                counts.positive += down(np.add, np.greater(block, 0, out=same[:count]).view(np.uint8))
    counts.low, counts.high = (np.array(ends, np.float64) for ends in (np.min(lows, 0), np.max(highs, 0)))
    # The largest is looked for in its own block alone.
    blocks = np.argmax(highs, axis=0)
    for number in np.unique(blocks).tolist():
        here = np.flatnonzero(blocks == number)
        block = flat[number * step : (number + 1) * step]
        counts.position[here] = number * step + (block if len(here) == channels else block[:, here]).argmax(0)
    return counts


def _by_planes(flat: np.ndarray) -> Moments:
    """`[position, channel]` with the positions of a channel together in memory."""
    positions, channels = flat.shape
    counts = Moments.empty(channels)
    counts.count[:] = positions
    together = min(channels, max(1, BLOCK // positions))
    # Taken once: fresh memory for every block would cost more than the arithmetic.
    space, same, ones = np.empty((together, positions)), np.empty((together, positions), bool), np.ones(positions)
    with np.errstate(invalid="ignore", over="ignore"):
        for first in range(0, channels, together):
            here = slice(first, first + together)
            planes = flat.T[here]
            wide, mask = space[: len(planes)], same[: len(planes)]
            np.copyto(wide, planes)
            counts.position[here] = planes.argmax(1)
            counts.high[here] = planes[np.arange(len(planes)), counts.position[here]]
            counts.low[here] = planes.min(1)
            if together == 1:
                counts.total[here], counts.squares[here] = wide[0] @ ones, wide[0] @ wide[0]
            else:
                counts.total[here], counts.squares[here] = wide.sum(1), np.einsum("ij,ij->i", wide, wide)
            counts.zeros[here] = _across(np.equal(planes, 0, out=mask))
            if counts.low[here].min() >= 0:
                counts.positive[here] = positions - counts.zeros[here]
            else:
                counts.positive[here] = _across(np.greater(planes, 0, out=mask))
    return counts


def _across(same: np.ndarray) -> np.ndarray:
    """How many of each row are true; one by one where the rows are long, as that is ten times as fast."""
    if len(same) <= 16:
        return np.array([np.count_nonzero(row) for row in same])
    return np.count_nonzero(same, axis=1)


def _finite_only(counts: Moments, channel: int, plane: np.ndarray) -> None:
    finite = np.isfinite(plane)
    kept = plane[finite].astype(np.float64)
    counts.count[channel] = kept.size
    counts.low[channel], counts.high[channel] = (kept.min(), kept.max()) if kept.size else (np.nan, np.nan)
    counts.total[channel], counts.squares[channel] = kept.sum(), np.square(kept).sum()
    counts.zeros[channel], counts.positive[channel] = (kept == 0).sum(), (kept > 0).sum()
    counts.nan[channel], counts.inf[channel] = np.isnan(plane).sum(), np.isinf(plane).sum()
    counts.position[channel] = np.where(finite, plane, -np.inf).argmax()


def _share(part: np.ndarray, whole: np.ndarray) -> np.ndarray:
    """`part / whole`, NaN where there is nothing."""
    return np.divide(part, whole, out=np.full(len(part), np.nan), where=whole > 0)
