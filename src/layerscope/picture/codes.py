"""Numbers to codes, fast: the ranges of channels, and whole sheets of them written in one go."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np

from .norms import Curve

TOP = 240
GAP, NAN, POS_INF, NEG_INF, CONSTANT, BELOW, ABOVE = range(241, 248)

# In the frame of an RGB picture: the pixels that keep colours of their own.
OWN = 248

# Ink in rising strength, so that letters have smooth edges: the full one, the grey of what matters less, that of thin lines.
INKS = tuple(range(249, 256))
STRENGTHS = (0.13, 0.26, 0.39, 0.52, 0.65, 0.82, 1.0)
INK_LIGHT, INK_MIDDLE, INK = INKS[1], INKS[4], INKS[6]

BLOCK = 1 << 16

STRAIGHT = Curve()


def ends(low: Any, high: Any, center: float | None) -> tuple[Any, Any]:
    """The values of code 0 and code 240: the limits, or evenly around the centre far enough to reach both."""
    if center is None:
        return low, high
    reach = np.maximum(np.abs(low - center), np.abs(high - center))
    return center - reach, center + reach


def encode(
    values: np.ndarray,
    out: np.ndarray,
    limits: np.ndarray,
    *,
    curve: Curve = STRAIGHT,
    exact: np.ndarray,
    extent: np.ndarray,
) -> None:
    """Write the codes of `values` `[height, width, channel]` into `out` `[row, column, height, width]`, channel after channel.

    `limits` is `[channel, 2]`, `curve` the norm and the centre of the scale. `exact` marks the channels that need every value
    looked at: with NaN, inf, or no range at all; those whose range float32 can't resolve join them. All others take a
    multiply and an add, and where values lie outside the limits of some, two comparisons. `extent` is the channels' own
    minimum and maximum, NaN and inf included (`raw_extent`), `[channel, 2]`.

    The memory order decides the way, as a transpose of float32 would cost more than all the rest: planes one by one where
    they lie together, blocks of rows where the channels do.
    """
    channels = values.shape[-1]
    columns = out.shape[1]
    given, curve = curve, curve.over(limits[:, 0], limits[:, 1])
    low, high = map(curve.forward, ends(limits[:, 0], limits[:, 1], curve.center))
    with np.errstate(all="ignore"):
        step = TOP / (high - low)
        shift = 0.5 - low * step
    plain = ~exact & (np.abs(shift) < 1 << 14) & (step < 1e30) & (step > 1e-30) & curve.resolved(limits)
    if plain.any():
        factor = np.where(plain, step, 0).astype(np.float32)
        offset = np.where(plain, shift, 0).astype(np.float32)
        with np.errstate(all="ignore"):
            beyond = plain & ((extent[:, 0] < limits[:, 0]) | (extent[:, 1] > limits[:, 1]))
            steps = _Steps(factor, offset, within_float32(limits) if beyond.any() else None, curve.where(plain))
            if channels > 1 and abs(values.strides[-1]) <= abs(values.strides[1]):
                _encode_rows(values, steps, out)
            else:
                _encode_planes(values, steps, out)
    rows, across = np.divmod(np.arange(channels), columns)
    flat = exact & (limits[:, 0] == limits[:, 1]) & (extent == limits).all(1)
    if flat.any():
        out[rows[flat], across[flat]] = CONSTANT
    for channel in np.flatnonzero(~plain & ~flat):
        out[rows[channel], across[channel]] = marked(
            values[..., channel], float(limits[channel, 0]), float(limits[channel, 1]), given
        )
    for spare in range(channels, out.shape[0] * columns):
        out[spare // columns, spare % columns] = GAP


@dataclass(frozen=True, eq=False)
class _Steps:
    """A value times `factor` plus `offset`, cut to a whole number, is its code; `bounds` where values lie beyond the limits.

    By a norm that isn't linear it is the value's place on the `curve` that is multiplied.
    """

    factor: np.ndarray
    offset: np.ndarray
    bounds: np.ndarray | None
    curve: Curve


def _encode_planes(values: np.ndarray, steps: _Steps, out: np.ndarray) -> None:
    """Where the units of a channel lie together in memory."""
    bounds, curve = steps.bounds, steps.curve
    height, width, channels = values.shape
    planes = values.transpose(2, 0, 1)
    most = max(1, BLOCK // max(1, height * width))
    space = np.empty((min(most, channels, out.shape[1]), height, width), np.float32)
    marks = None if bounds is None else _Marks(space.shape)
    for row, start, stop in _runs(channels, out.shape[1], most):
        scratch = space[: stop - start]
        if curve.norm == "linear":
            np.multiply(planes[start:stop], steps.factor[start:stop, None, None], out=scratch)
        else:
            curve.place(planes[start:stop], curve.within[start:stop, None, None], scratch)
            scratch *= steps.factor[start:stop, None, None]
        scratch += steps.offset[start:stop, None, None]
        column = start - row * out.shape[1]
        target = out[row, column : column + stop - start]
        if marks is None or bounds is None:
            np.copyto(target, scratch, casting="unsafe")
        else:
            target[:] = marks.codes(planes[start:stop], scratch, bounds[start:stop].T[..., None, None])


def _encode_rows(values: np.ndarray, steps: _Steps, out: np.ndarray) -> None:
    """Where the channels of a unit lie together in memory."""
    height, width, channels = values.shape
    columns = out.shape[1]
    factors, offsets = np.tile(steps.factor, width), np.tile(steps.offset, width)
    curve = steps.curve
    within = np.tile(curve.within, width) if curve.norm != "linear" else factors
    block = min(height, max(1, BLOCK // 2 // max(1, width * channels)))
    # Taken once: fresh memory for every block would cost as much as the arithmetic.
    space, bytes_ = np.empty((block, width * channels), np.float32), np.empty((block, width, channels), np.uint8)
    marks = None if steps.bounds is None else _Marks(space.shape)
    bounds = None if steps.bounds is None else np.tile(steps.bounds.T, width)
    for top in range(0, height, block):
        count = min(block, height - top)
        scratch, codes = space[:count], bytes_[:count]
        part = values[top : top + count].reshape(count, -1)
        if curve.norm == "linear":
            np.multiply(part, factors, out=scratch)
        else:
            curve.place(part, within, scratch)
            scratch *= factors
        scratch += offsets
        if marks is None or bounds is None:
            np.copyto(codes.reshape(count, -1), scratch, casting="unsafe")
        else:
            codes.reshape(count, -1)[:] = marks.codes(part, scratch, bounds)
        planes = codes.transpose(2, 0, 1)
        # All full rows of the sheet in one copy, then the last one.
        full = channels // columns
        target = out[:full, :, top : top + count]
        target[:] = planes[: full * columns].reshape(full, columns, count, width)
        if full * columns < channels:
            out[full, : channels - full * columns, top : top + count] = planes[full * columns :]


class _Marks:
    """Space for the codes of a block in which some values lie outside their limits."""

    def __init__(self, shape: tuple[int, ...]) -> None:
        self._codes, self._outside = np.empty(shape, np.uint8), np.empty(shape, bool)

    def codes(self, values: np.ndarray, scaled: np.ndarray, bounds: np.ndarray) -> np.ndarray:
        """uint8: `scaled` in whole steps, BELOW and ABOVE where `values` lie outside `bounds`; `scaled` is written over."""
        codes, outside = self._codes[: len(scaled)], self._outside[: len(scaled)]
        np.maximum(scaled, 0, out=scaled)
        np.minimum(scaled, TOP + 0.5, out=scaled)
        np.copyto(codes, scaled, casting="unsafe")
        # The two marks are larger than the codes of all values; a mask as a factor is faster than one that selects.
        mark = outside.view(np.uint8)
        for compare, bound, code in ((np.less, bounds[0], BELOW), (np.greater, bounds[1], ABOVE)):
            compare(values, bound, out=outside)
            mark *= np.uint8(code)
            np.maximum(codes, mark, out=codes)
        return codes


def within_float32(limits: np.ndarray) -> np.ndarray:
    """float32 `[…, 2]`: the least and the largest number of float32 within each `[low, high]`.

    Comparing float32 with these gives what comparing with the limits themselves would, without going through float64.
    """
    with np.errstate(over="ignore"):
        inner = limits.astype(np.float32)
    low, high = inner[..., 0], inner[..., 1]
    np.copyto(low, np.nextafter(low, np.float32(np.inf)), where=low < limits[..., 0])
    np.copyto(high, np.nextafter(high, np.float32(-np.inf)), where=high > limits[..., 1])
    return inner


def _runs(channels: int, columns: int, most: int) -> Iterator[tuple[int, int, int]]:
    """(row, first channel, end) of runs of at most `most` channels that stay within a row of the sheet."""
    for row in range(-(-channels // columns)):
        stop = min(channels, (row + 1) * columns)
        for start in range(row * columns, stop, most):
            yield row, start, min(stop, start + most)


def marked(values: np.ndarray, low: float, high: float, curve: Curve = STRAIGHT) -> np.ndarray:
    """Codes with every special value marked, in float64."""
    values = values.astype(np.float64)
    finite = np.isfinite(values)
    if low == high or np.isnan(low):
        codes = np.full(values.shape, CONSTANT, np.uint8)
    else:
        curve = curve.over(low, high)
        start, end = map(curve.forward, ends(low, high, curve.center))
        inside = curve.forward(np.where(finite, np.clip(values, low, high), low))
        # Divided before it is multiplied, and halved, because the range itself may overflow.
        share = (inside / 2 - start / 2) / (end / 2 - start / 2)
        codes = np.asarray(np.floor(share * TOP + 0.5), np.uint8)
    codes[values < low] = BELOW
    codes[values > high] = ABOVE
    codes[np.isnan(values)] = NAN
    codes[values == np.inf] = POS_INF
    codes[values == -np.inf] = NEG_INF
    return codes
