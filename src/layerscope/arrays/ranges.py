"""Percentiles of maps, of all values or of each channel, for clipped limits."""

from __future__ import annotations

from typing import Any

import numpy as np

from ..errors import BadScale
from ..surface import option


def checked_clip(clip: Any) -> tuple[float, float]:
    """Two percentiles in order. Raises `BadScale`."""
    try:
        low, high = (float(percentile) for percentile in clip)
    except (TypeError, ValueError) as error:
        raise BadScale(f"{option('clip', clip)}: use two percentiles, such as (1, 99)") from error
    if not 0 <= low < high <= 100:
        raise BadScale(
            f"{option('clip', clip)}: use two percentiles from 0 to 100, the lower one first, such as (1, 99)"
        )
    return low, high


def percentiles(values: np.ndarray, clip: tuple[float, float], each: bool = False) -> np.ndarray:
    """float64 `[2]`: the percentiles of all finite values (0, 0 without any), or `[image, channel, 2]` of each channel.

    Between two neighbours in linear proportion, as `np.percentile` (Hyndman and Fan 1996, definition 7).
    """
    clip = checked_clip(clip)
    if not each:
        limits = _between(np.sort(values.ravel("K"))[None], clip)[0]
        return np.zeros(2) if np.isnan(limits[0]) else limits
    channels = values.shape[-1]
    flat = values.reshape(values.shape[0], -1, channels)
    return np.stack([_between(_sorted_planes(image), clip) for image in flat])


def every_percent(planes: np.ndarray) -> np.ndarray:
    """float64 `[channel + 1, 101]`: the percentiles 0 to 100 of each of `planes` `[channel, position]`, then of them all.

    NaN where no value is finite. As `percentiles`, in 101 places.
    """
    rising = np.sort(planes, axis=1)
    each = _between(rising, tuple(range(101)))
    rising = rising.reshape(1, -1)
    rising.sort(axis=1)
    return np.concatenate([each, _between(rising, tuple(range(101)))])


def _sorted_planes(flat: np.ndarray) -> np.ndarray:
    """`[channel, position]`, rising, of `[position, channel]`."""
    planes = np.empty(flat.shape[::-1], flat.dtype)
    # In blocks that stay in the cache; a plain transpose takes seven times as long.
    for start in range(0, len(flat), 512):
        planes[:, start : start + 512] = flat[start : start + 512].T
    # numpy sorts float32 by vector instructions, and picks several percentiles of many equal numbers ten times slower.
    planes.sort(axis=1)
    return planes


def _between(rising: np.ndarray, clip: tuple[float, ...]) -> np.ndarray:
    """float64 `[row, percentile]`: the percentiles of the finite numbers of each row (NaN without any)."""
    if rising.shape[1] == 0:
        return np.full((len(rising), len(clip)), np.nan)
    if not np.isfinite(rising[:, [0, -1]]).all():
        # NaN and +inf come last in a rising row.
        finite = [row[np.isfinite(row)][None] for row in rising]
        return np.concatenate([_between(row, clip) for row in finite])
    rank = np.array(clip) / 100 * (rising.shape[1] - 1)
    before = np.floor(rank).astype(int)
    low = rising[:, before].astype(np.float64)
    high = rising[:, np.minimum(before + 1, rising.shape[1] - 1)].astype(np.float64)
    return np.asarray(low + (high - low) * (rank - before))


def evenly(limits: np.ndarray, extent: np.ndarray, center: float | None) -> np.ndarray:
    """`limits` `[image, channel, 2]` as far on both sides of `center` as on the farther one, but not beyond the `extent`.

    Colours that diverge take that room anyway, so that values beyond have the end colour of their own sign.
    """
    if center is None:
        return limits
    reach = np.abs(limits - center).max(-1)
    return np.stack(
        [
            np.fmin(limits[..., 0], np.maximum(extent[..., 0], center - reach)),
            np.fmax(limits[..., 1], np.minimum(extent[..., 1], center + reach)),
        ],
        axis=-1,
    )


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
    for index, image in enumerate(values):
        flat = image.reshape(-1, channels)
        result[index, :, 0] = down(np.minimum, flat)
        result[index, :, 1] = down(np.maximum, flat)
    return result


def down(reduce: np.ufunc, rows: np.ndarray) -> np.ndarray:
    """`reduce` over the rows of `[position, channel]`, many rows a step where they lie together: three times the plain speed.

    Bytes are added up without overflow, as a lane sees at most 65 of them.
    """
    count, channels = rows.shape
    together = max(1, min(count, 2048 // max(1, channels))) if rows.flags.c_contiguous else 1
    dtype = rows.dtype if together > 1 or count <= 255 else None
    whole = count - count % together
    lanes = reduce.reduce(rows[:whole].reshape(-1, together * channels), axis=0, dtype=dtype)
    wider = np.int64 if reduce is np.add else None
    result = reduce.reduce(lanes.reshape(together, channels), axis=0, dtype=wider)
    return result if whole == count else reduce(result, reduce.reduce(rows[whole:], axis=0, dtype=wider))


def union(limits: np.ndarray, norm: str) -> np.ndarray:
    """One range that holds all the ranges; (0, 0) where there is no finite value, or by `"log"` none above 0."""
    low, high = limits[..., 0], limits[..., 1]
    kept = low > 0 if norm == "log" else ~np.isnan(low)
    return np.array([low[kept].min(), high[kept].max()]) if kept.any() else np.zeros(2)
