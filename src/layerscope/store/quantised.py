"""Maps in one byte a value: each map, one channel of one image, on the scale between its own smallest and largest value.

Codes 0 to 252 are values at equal steps from the smallest finite value of the map to its largest; 253, 254 and 255 are ∞, -∞
and NaN. A value that is read back is the nearest step, so half a step or less away: (largest - smallest) / 504, apart from the
rounding of float32. Both ends are stored exactly, beside the codes.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np

STEPS = 252
ODD = np.array([np.inf, -np.inf, np.nan], np.float32)  # of the codes behind the last step
HOLE = STEPS + 3


def lowest(maps: np.ndarray) -> np.ndarray:
    """The smallest finite value of each map of `[image, channel, *spatial]`; NaN where there is none."""
    flat = maps.reshape(*maps.shape[:2], -1)
    with np.errstate(invalid="ignore"):
        low = flat.min(2)
    for at in zip(*np.nonzero(~np.isfinite(low)), strict=True):
        low[at] = flat[at][np.isfinite(flat[at])].min(initial=np.inf)
    return np.where(np.isinf(low), np.float32(np.nan), low)


def codes_of(maps: np.ndarray, low: np.ndarray, high: np.ndarray) -> np.ndarray:
    """uint8 codes of float32 maps `[image, channel, *spatial]` between finite ends `[image, channel]`."""
    flat = maps.reshape(*maps.shape[:2], -1)
    start, step = _scale(low, high)
    with np.errstate(invalid="ignore", divide="ignore"):
        codes = np.rint((flat - start[..., None]) / step[..., None])
    finite = np.isfinite(flat)
    codes[~finite | np.isnan(codes)] = 0  # NaN: of a map that is the same everywhere
    whole = np.clip(codes, 0, STEPS).astype(np.uint8)
    if not finite.all():
        for number, mask in enumerate((np.isposinf(flat), np.isneginf(flat), np.isnan(flat)), STEPS + 1):
            whole[mask] = number
    return whole.reshape(maps.shape)


def values_of(codes: np.ndarray, low: np.ndarray, high: np.ndarray) -> np.ndarray:
    """The float32 values of codes; the ends have the first axes of the codes, those of images and channels that are there."""
    start, step = (end.reshape(*end.shape, *[1] * (codes.ndim - end.ndim)) for end in _scale(low, high))
    values = np.array(start + codes * step, np.float32)
    odd = codes > STEPS
    values[odd] = ODD[codes[odd] - STEPS - 1]
    return values


def _scale(low: np.ndarray, high: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    start = np.asarray(low, np.float64)
    return start, (np.asarray(high, np.float64) - start) / STEPS


@dataclass(frozen=True)
class Quantised:
    """An array of maps `[image, channel, *spatial]` that is read as values, with its codes and ends in arrays of zarr."""

    codes: Any
    low: Any
    high: Any

    @property
    def shape(self) -> tuple[int, ...]:
        shape: tuple[int, ...] = self.codes.shape
        return shape

    @property
    def dtype(self) -> np.dtype[Any]:
        return np.dtype(np.float32)

    @property
    def dimensions(self) -> tuple[str, ...]:
        """The names of the axes."""
        names: tuple[str, ...] = self.codes.metadata.dimension_names
        return names

    def __getitem__(self, key: Any) -> np.ndarray:
        """The values at whole numbers, slices and lists of numbers, each along its own axis."""
        key = key if isinstance(key, tuple) else (key,)
        codes, low, high = (
            np.asarray(array.oindex[part])
            for array, part in ((self.codes, key), (self.low, key[:2]), (self.high, key[:2]))
        )
        return values_of(codes, low, high)

    def lazily(self) -> Any:
        """As xarray holds what it reads when it is looked at."""
        from xarray.backends import BackendArray
        from xarray.core import indexing

        whole = self

        class Lazy(BackendArray):
            shape, dtype = whole.shape, whole.dtype

            def __getitem__(self, key: Any) -> Any:
                outer = indexing.IndexingSupport.OUTER
                return indexing.explicit_indexing_adapter(key, whole.shape, outer, whole.__getitem__)

        return indexing.LazilyIndexedArray(Lazy())
