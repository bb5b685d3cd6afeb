"""Norms: the curve between a value and its place on a scale, straight, logarithmic, or logarithmic on both sides of 0.

A scale takes equal steps along the curve. `symlog` is that of matplotlib's `SymLogNorm` with `linscale=1`: straight between
−`within` and `within`, a stretch as long as a decade on either side, and logarithmic beyond.
"""

from __future__ import annotations

import warnings
from math import ceil, floor, log, log10
from typing import Any, NamedTuple

import numpy as np

from ..arrays.ranges import down, extent_of
from ..errors import BadScale, LayerscopeWarning, caller_level, near
from ..surface import option

NORMS = ("linear", "log", "symlog")

# Symlog shows the largest three decades of either sign as such: with the straight part that is 30 steps a decade.
WITHIN = 1e-3
SLOPE = log(10) / 0.9

# The share of values below 0 from which `log` leaves out too much.
MANY = 0.2

# What float32 holds with all its digits, with room for a share of it.
LEAST, MOST = 1e-30, 1e30


class Curve(NamedTuple):
    """A norm and the value in the middle of its colours; `within` is where `symlog` is straight, an array fits the values."""

    norm: str = "linear"
    center: float | None = None
    within: Any = 1.0

    def over(self, low: Any, high: Any) -> Curve:
        """The curve for limits."""
        if self.norm != "symlog":
            return self
        reach = np.maximum(np.abs(low), np.abs(high))
        return self._replace(within=np.where(reach > 0, reach * WITHIN, 1.0))

    def forward(self, values: Any) -> Any:
        """Where values lie on the curve, float64; for `log` they are above 0."""
        if self.norm == "linear":
            return values
        values = np.asarray(values, np.float64)
        with np.errstate(all="ignore"):
            if self.norm == "log":
                return np.log(values)
            size = np.abs(values / self.within)
            return np.copysign(SLOPE * np.minimum(size, 1) + np.log(np.maximum(size, 1)), values)

    def inverse(self, places: Any) -> Any:
        """The values at places on the curve, float64."""
        if self.norm == "linear":
            return places
        places = np.asarray(places, np.float64)
        with np.errstate(all="ignore"):
            if self.norm == "log":
                return np.exp(places)
            size = np.abs(places)
            beyond = np.exp(np.maximum(size - SLOPE, 0))
            return np.copysign(np.minimum(size / SLOPE, 1) * beyond * self.within, places)

    def resolved(self, limits: np.ndarray) -> np.ndarray:
        """bool `[channel]`: whether float32 holds what `place` makes of values within limits `[channel, 2]`."""
        if self.norm == "linear":
            return np.ones(len(limits), bool)
        least = limits[:, 0] if self.norm == "log" else self.within
        return np.asarray((least > LEAST) & (np.abs(limits).max(1) < MOST))

    def where(self, plain: np.ndarray) -> Curve:
        """The curve with an array `[channel]` of float32, which is 1 where a channel isn't `plain`, for `place`."""
        if self.norm == "linear":
            return self
        return self._replace(within=np.where(plain, self.within, 1).astype(np.float32))

    def place(self, values: np.ndarray, within: np.ndarray, out: np.ndarray) -> None:
        """`forward` in float32 into `out`, for a norm that isn't linear; `log` takes 0 and below as the least number."""
        if self.norm == "log":
            np.maximum(values, np.float32(LEAST), out=out)
            np.log(out, out=out)
            return
        np.divide(values, within, out=out)
        straight = np.clip(out, -1, 1)
        np.abs(out, out=out)
        np.maximum(out, 1, out=out)
        np.log(out, out=out)
        np.copysign(out, straight, out=out)
        straight *= np.float32(SLOPE)
        out += straight


def check_norm(norm: Any) -> None:
    if norm not in NORMS:
        raise BadScale(f"{option('norm', norm)}: use {', '.join(map(repr, NORMS))}{near(str(norm), NORMS)}")


def check_limits(norm: str, limits: np.ndarray, center: float | None) -> None:
    """Raises `BadScale` for limits, or a centre, that a norm can't have."""
    if norm == "log" and ((limits[..., 0] <= 0) & (limits[..., 0] < limits[..., 1])).any():
        raise BadScale(
            f"a lower limit of {limits[..., 0].min():g} has no logarithm: use limits above 0 with {option('norm', 'log')},"
            f" or {option('norm', 'symlog')}, which takes every number"
        )
    if norm == "log" and center is not None:
        raise BadScale(
            f"center={center:g}: a logarithmic scale has no centre; {option('norm', 'symlog')} is centred on 0"
        )
    if norm == "symlog" and center:
        raise BadScale(f"center={center:g}: {option('norm', 'symlog')} is centred on 0; leave center out")


def positive(values: np.ndarray, extent: np.ndarray) -> np.ndarray:
    """`extent` `[image, channel, 2]` of `values`, of those alone that have a logarithm; (0, 0) where none has one.

    A channel of one value keeps it.
    """
    result = extent.copy()
    low, high = result[..., 0], result[..., 1]
    for image in range(len(values)):
        mixed = (low[image] <= 0) & (low[image] < high[image])
        if mixed.any():
            chosen = values[image] if mixed.all() else values[image][..., mixed]
            low[image, mixed] = np.where(high[image, mixed] > 0, least_above_0(chosen), 0)
            high[image, mixed] = np.maximum(high[image, mixed], 0)
    return result


def least_above_0(values: np.ndarray) -> np.ndarray:
    """The smallest value above 0 of each channel of `[*spatial, channel]`, inf where none is."""
    flat = values.reshape(-1, values.shape[-1])
    least = np.full(flat.shape[1], np.inf)
    # In blocks that stay in the cache.
    step = max(1, (1 << 16) // flat.shape[1])
    for start in range(0, len(flat), step):
        part = flat[start : start + step]
        # 0 where a value is above 0, else inf: without a branch for each value, as `np.where` has it, in a sixth of the time.
        barred = (part > 0).astype(np.float32)
        with np.errstate(divide="ignore"):
            np.divide(1, barred, out=barred)
        barred -= 1
        np.minimum(least, down(np.minimum, np.fmax(part, barred)), out=least)
    return least


def require_positive(values: np.ndarray, limits: Any) -> None:
    """Raises `BadScale` where nothing for a logarithmic scale of these limits has a logarithm; warns where much has none."""
    if not (np.asarray(limits)[..., 1] > 0).any():
        extent = extent_of(values)
        if (extent[..., 0] < 0).any():
            raise BadScale(
                f"no value is above 0 (the largest is {np.nanmax(extent):g}), so none has a logarithm: use "
                f"{option('norm', 'symlog')}, which takes every number"
            )
    below = np.count_nonzero(values < 0) / max(values.size, 1)
    if below > MANY:
        warnings.warn(
            LayerscopeWarning(
                f"{option('norm', 'log')} shows nothing of the {below:.0%} of values below 0: use"
                f" {option('norm', 'symlog')}, which takes every number"
            ),
            stacklevel=caller_level(),
        )


def decades(low: float, high: float, most: int = 7) -> list[float]:
    """Powers of ten between two numbers above 0, at most about so many; where they are few, 2 and 5 times them as well.

    >>> decades(0.002, 300), decades(1, 30)
    ([0.01, 0.1, 1.0, 10.0, 100.0], [1.0, 2.0, 5.0, 10.0, 20.0])
    """
    first, last = floor(log10(low)), ceil(log10(high))
    span = log10(high) - log10(low)
    every = max(1, ceil(span / most))
    factors = (1, 2, 5) if span <= 2 else (1,)
    powers = [power for power in range(first, last + 1) if power % every == 0]
    values = [float(f"{factor}e{power}") for power in powers for factor in factors]
    return [value for value in values if low <= value <= high]
