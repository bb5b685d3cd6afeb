"""Percentiles of maps, of all values or of each channel, for limits that are cut there."""

from __future__ import annotations

from typing import Any

import numpy as np

from ..errors import BadScale


def checked_clip(clip: Any) -> tuple[float, float]:
    """Two percentiles in order. Raises `BadScale`."""
    try:
        low, high = (float(each) for each in clip)
    except (TypeError, ValueError) as error:
        raise BadScale(f"clip={clip!r}: use two percentiles, such as (1, 99)") from error
    if not 0 <= low < high <= 100:
        raise BadScale(f"clip={clip!r}: use two percentiles from 0 to 100, the lower one first, such as (1, 99)")
    return low, high


def percentiles(values: np.ndarray, clip: tuple[float, float], each: bool = False) -> np.ndarray:
    """float64 `[2]`: the percentiles of all finite values (0, 0 without any), or `[image, channel, 2]` of each channel.

    Between two neighbours in linear proportion, as `np.percentile` (Hyndman and Fan 1996, definition 7).
    """
    clip = checked_clip(clip)
    if not each:
        found = _between(np.sort(values.ravel("K"))[None], clip)[0]
        return np.zeros(2) if np.isnan(found[0]) else found
    channels = values.shape[-1]
    flat = values.reshape(values.shape[0], -1, channels)
    return np.stack([_between(_sorted_planes(image), clip) for image in flat])


def _sorted_planes(flat: np.ndarray) -> np.ndarray:
    """`[channel, position]`, rising, of `[position, channel]`."""
    planes = np.empty(flat.shape[::-1], flat.dtype)
    # In blocks that stay in the cache; a plain transpose takes seven times as long.
    for start in range(0, len(flat), 512):
        planes[:, start : start + 512] = flat[start : start + 512].T
    # numpy sorts float32 by vector instructions, and picks several percentiles of many equal numbers ten times slower.
    planes.sort(axis=1)
    return planes


def _between(rising: np.ndarray, clip: tuple[float, float]) -> np.ndarray:
    """float64 `[row, 2]`: the percentiles of the finite numbers of each row (NaN, NaN without any)."""
    if rising.shape[1] == 0:
        return np.full((len(rising), 2), np.nan)
    if not np.isfinite(rising[:, [0, -1]]).all():
        # NaN and +inf come last in a rising row.
        finite = [row[np.isfinite(row)][None] for row in rising]
        return np.concatenate([_between(row, clip) for row in finite])
    place = np.array(clip) / 100 * (rising.shape[1] - 1)
    before = np.floor(place).astype(int)
    low = rising[:, before].astype(np.float64)
    high = rising[:, np.minimum(before + 1, rising.shape[1] - 1)].astype(np.float64)
    return np.asarray(low + (high - low) * (place - before))


def extent_of(values: np.ndarray) -> np.ndarray:
    """float64 `[image, channel, 2]`: minimum and maximum of each channel over its finite values (NaN, NaN if none)."""
    result = raw_extent(values)
    for image, channel in np.argwhere(~np.isfinite(result).all(-1)):
        plane = values[image, ..., channel]
        plane = plane[np.isfinite(plane)]
        result[image, channel] = (plane.min(), plane.max()) if plane.size else (np.nan, np.nan)
    return result


def raw_extent(values: np.ndarray) -> np.ndarray:
    """float64 `[image, channel, 2]`: minimum and maximum of each channel; NaN and inf show in them."""
    images, channels = values.shape[0], values.shape[-1]
    result = np.empty((images, channels, 2))
    if values[0, ..., 0].size == 0:
        result[:] = np.nan
        return result
    for image in range(images):
        flat = _flat(values[image])
        if flat.flags.c_contiguous:
            result[image, :, 0] = _down(np.minimum, flat)
            result[image, :, 1] = _down(np.maximum, flat)
        else:
            result[image, :, 0] = flat.min(0)
            result[image, :, 1] = flat.max(0)
    return result


def _flat(values: np.ndarray) -> np.ndarray:
    """`[*spatial, channel]` as `[position, channel]`, a view where memory allows it."""
    return values.reshape(-1, values.shape[-1])


def _down(reduce: np.ufunc, flat: np.ndarray) -> np.ndarray:
    """`reduce` over the positions of a contiguous `[position, channel]`, many positions a step: three times the plain speed."""
    positions, channels = flat.shape
    together = max(1, min(positions, 2048 // max(1, channels)))
    whole = positions - positions % together
    wide = reduce.reduce(flat[:whole].reshape(-1, together * channels), axis=0).reshape(together, channels)
    result = reduce.reduce(wide, axis=0)
    if whole < positions:
        result = reduce(result, reduce.reduce(flat[whole:], axis=0))
    return result
