"""The counting of one layer in one unit, batch by batch: the tally, and what each image's maps come to."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from .tally import BINS, SHIFT, Tally

BLOCK = 1 << 16  # values that are looked at together stay in the processor's cache


class Counter:
    """The tally of one layer in one unit, filled batch by batch, and what each image's maps come to.

    `mean`, `high` and `place` are `[image, channel]`: of the finite values of each map; NaN and -1 in the rows of images that
    aren't there.
    """

    def __init__(self, images: int, channels: int, top: int) -> None:
        self.tally = Tally.empty(channels, top)
        self.mean = np.full((images, channels), np.nan, np.float32)
        self.high = np.full((images, channels), np.nan, np.float32)
        self.place = np.full((images, channels), -1, np.int32)

    def add(self, values: np.ndarray, halves: np.ndarray, rows: Sequence[int]) -> None:
        """Count float32 `[image, channel, position]` and the same as float16, of images in these rows of the unit."""
        images, channels, positions = values.shape
        shape = (images, channels)
        counts = _count(values.reshape(-1, positions))
        tally = self.tally
        tally.count += counts.count.reshape(shape).sum(0)
        tally.zeros += counts.zeros.reshape(shape).sum(0)
        tally.positive += counts.positive.reshape(shape).sum(0)
        tally.nan += counts.nan.reshape(shape).sum(0)
        tally.inf += counts.inf.reshape(shape).sum(0)
        tally.total += counts.total.reshape(shape).sum(0)
        tally.squares += counts.squares.reshape(shape).sum(0)
        np.minimum(tally.low, counts.low.reshape(shape).min(0), out=tally.low)
        np.maximum(tally.high, counts.high.reshape(shape).max(0), out=tally.high)
        finite = counts.count > 0
        mean = np.divide(counts.total, counts.count, out=np.full(len(finite), np.nan), where=finite)
        self.mean[rows] = mean.reshape(shape)
        self.high[rows] = np.where(finite, counts.high, np.nan).reshape(shape)
        self.place[rows] = np.where(finite, counts.place, -1).reshape(shape)
        _add_histogram(tally.histogram, halves, None if finite.all() and not counts.odd else np.isfinite(values))

    def finished(self, first: int) -> Tally:
        """The tally, with the top images of the unit, whose first row in the manifest is `first`."""
        value = np.where(np.isnan(self.high), -np.inf, self.high).T
        image = np.where(np.isneginf(value), -1, np.arange(first, first + value.shape[1]))
        self.tally.set_top(value, image, self.place.T)
        return self.tally


@dataclass(eq=False)
class _Rows:
    """Figures of rows of values; `odd` says that some aren't finite."""

    count: np.ndarray
    zeros: np.ndarray
    positive: np.ndarray
    nan: np.ndarray
    inf: np.ndarray
    low: np.ndarray
    high: np.ndarray
    place: np.ndarray
    total: np.ndarray
    squares: np.ndarray
    odd: bool = False


def _count(flat: np.ndarray) -> _Rows:
    """The figures of float32 `[row, position]`."""
    rows, positions = flat.shape
    figures = _Rows(
        count=np.full(rows, positions, np.int64),
        nan=np.zeros(rows, np.int64),
        inf=np.zeros(rows, np.int64),
        low=np.empty(rows, np.float32),
        high=np.empty(rows, np.float32),
        total=np.empty(rows),
        squares=np.empty(rows),
        zeros=np.empty(rows, np.int64),
        positive=np.empty(rows, np.int64),
        place=np.empty(rows, np.int64),
    )
    together = min(rows, max(1, BLOCK // positions))
    # Taken once: fresh memory for every block would cost more than the arithmetic.
    wide, same = np.empty((together, positions)), np.empty((together, positions), bool)
    numbers = np.arange(together)
    with np.errstate(invalid="ignore", over="ignore"):
        for start in range(0, rows, together):
            block = flat[start : start + together]
            here, count = slice(start, start + len(block)), len(block)
            place = block.argmax(1)
            figures.place[here] = place
            figures.high[here] = block[numbers[:count], place]
            figures.low[here] = block.min(1)
            np.copyto(wide[:count], block)
            figures.total[here] = wide[:count].sum(1)
            figures.squares[here] = np.einsum("ij,ij->i", wide[:count], wide[:count])
            figures.zeros[here] = _true(np.equal(block, 0, out=same[:count]))
            if figures.low[here].min() >= 0:
                figures.positive[here] = positions - figures.zeros[here]
            else:
                figures.positive[here] = _true(np.greater(block, 0, out=same[:count]))
    for row in np.flatnonzero(~np.isfinite(figures.squares)).tolist():
        _of_finite(figures, row, flat[row])
    return figures


def _true(mask: np.ndarray) -> np.ndarray:
    """How many of each row are true: bytes are summed eight at a time where the rows allow it."""
    return np.add.reduce(mask.view(np.uint8), axis=1, dtype=np.int64)


def _of_finite(figures: _Rows, row: int, values: np.ndarray) -> None:
    """The figures of a row that holds NaN or ±inf, or squares beyond float64."""
    finite = np.isfinite(values)
    kept = values[finite]
    figures.odd = figures.odd or not finite.all()
    figures.count[row] = kept.size
    figures.nan[row], figures.inf[row] = np.isnan(values).sum(), np.isinf(values).sum()
    figures.zeros[row], figures.positive[row] = (kept == 0).sum(), (kept > 0).sum()
    figures.low[row], figures.high[row] = kept.min(initial=np.inf), kept.max(initial=-np.inf)
    figures.place[row] = np.where(finite, values, -np.inf).argmax()
    wide = kept.astype(np.float64)
    figures.total[row], figures.squares[row] = wide.sum(), np.square(wide).sum()


def _add_histogram(histogram: np.ndarray, halves: np.ndarray, finite: np.ndarray | None) -> None:
    """Count float16 `[image, channel, position]` in the bins of their channels; only where they are finite."""
    channels = len(histogram)
    bins = (halves.view(np.uint16) >> SHIFT).astype(np.intp)
    bins += (np.arange(channels) * BINS)[:, None]
    chosen = bins.ravel() if finite is None else bins[finite]
    histogram += np.bincount(chosen, minlength=channels * BINS).reshape(channels, BINS)
