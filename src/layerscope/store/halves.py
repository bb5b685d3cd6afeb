"""What of a layer's values a float16 can hold, and what is kept or said where it can't."""

from __future__ import annotations

import numpy as np

from ..arrays.float16 import halves
from ..safe_text import counted
from .tally import Tally

LARGEST = 65504.0
BEYOND = 65520.0  # from here on a float16 is infinite
SMALLEST = 2.0**-14  # below, it has few digits or none


def narrow(maps: np.ndarray) -> np.ndarray:
    """Maps `[map, *spatial]` as float16; where one of them would get lost as such, as float32, the others rounded as float16.

    >>> narrow(np.float32([[1], [2]])).dtype, narrow(np.float32([[1.0001], [1e6], [1e-9]])).ravel().tolist()
    (dtype('float16'), [1.0, 1000000.0, 9.999999717180685e-10])
    """
    if maps.dtype == np.float16 or not maps.size:
        return maps.astype(np.float16, copy=False)
    near, sizes = halves(maps), _sizes(maps)
    lost = (sizes >= BEYOND) | ((sizes > 0) & (sizes < SMALLEST))
    if not lost.any():
        return near
    wide = near.astype(np.float32)
    wide[lost] = maps[lost]
    return wide


def _sizes(maps: np.ndarray) -> np.ndarray:
    """The largest finite size in each map."""
    axes = tuple(range(1, maps.ndim))
    sizes = np.maximum(maps.max(axes, initial=0), -maps.min(axes, initial=0))
    if not np.isfinite(sizes).all():
        sizes = np.abs(np.where(np.isfinite(maps), maps, 0)).max(axes, initial=0)
    return np.asarray(sizes)


def loss(tally: Tally) -> str:
    """What would become of some values as float16, in words; `""` where it holds them all.

    >>> tally = Tally.empty(1, 1)
    >>> tally.low[:], tally.high[:] = 0, 2e-7
    >>> loss(tally)
    'all values are below 0.00006 and have few digits or none'
    """
    if count := int(tally.beyond.sum()):
        return f"{counted(count, 'value')} beyond ±{LARGEST:,.0f} {'is' if count == 1 else 'are'} infinite"
    return _small(float(tally.low.min()), float(tally.high.max()))


def loss_of(values: np.ndarray) -> str:
    """The same of a few images' values."""
    finite = values[np.isfinite(values)]
    low, high = float(finite.min(initial=np.inf)), float(finite.max(initial=-np.inf))
    return f"values beyond ±{LARGEST:,.0f} are infinite" if max(high, -low) >= BEYOND else _small(low, high)


def _small(low: float, high: float) -> str:
    small = 0 < max(high, -low) < SMALLEST
    return "all values are below 0.00006 and have few digits or none" if small else ""
