"""What facts and evidence of several frameworks share: a digest of weights, pixels that a model scales itself, BatchNorms."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterable, Sequence
from typing import Any, NoReturn

import numpy as np

from ...core.placement import Size
from ..protocol import Evidence, trained
from .run import Stop

SAMPLES = 64
PROBES = ((96, 160), (192, 320))  # sizes of one proportion: what keeps it gives the same for both, too


def sample(flat: Any) -> Any:
    """64 evenly spaced values of a flat array."""
    step = max(1, len(flat) // SAMPLES)
    return flat[: step * SAMPLES : step]


def sampled_digest(weights: Iterable[tuple[str, bytes]]) -> str:
    """A hash over the description and the sampled bytes of each weight; `""` for a model without any."""
    parts = [part for description, values in weights for part in (description.encode(), values)]
    return f"sampled-sha256:{hashlib.sha256(b''.join(parts)).hexdigest()}" if parts else ""


def recipe_of_scaling(scale: Any, offset: Any) -> str | None:
    """The recipe whose pixels `x * scale + offset` is made for: "raw" (0–255) or "unit" (0–1), `None` where that's unclear.

    What becomes zero is a value in the middle of the input's range; without an offset, the scale is a division by the range.

    >>> [recipe_of_scaling(*numbers) for numbers in ((1 / 127.5, -1), ([2, 2, 2], -1), (1 / 255, 0), (1, -0.001))]
    ['raw', 'unit', 'raw', None]
    """
    factors, offsets = np.broadcast_arrays(np.asarray(scale, np.float64), np.asarray(offset, np.float64))
    factors, offsets = factors.reshape(-1), offsets.reshape(-1)
    if not factors.size or not np.isfinite([factors, offsets]).all() or not factors.all():
        return None
    factor = float(np.abs(factors).mean())
    if not offsets.any():
        return "raw" if factor <= 0.1 else "unit" if factor >= 100 else None
    middle = float((-offsets / factors).mean())
    if middle > 2:
        return "raw"
    return "unit" if 0.05 < middle <= 1 else None


def resizes_by_itself(shape_at_weights: Callable[[Size], Sequence[int] | None]) -> bool:
    """Whether a model brings images of any size to its own: its first layer with weights sees as much of a larger one.

    `shape_at_weights` is the shape of what that layer takes, for an image of a size. Models that fail tell nothing.

    >>> resizes_by_itself(lambda size: (1, 32, 32, 3)), resizes_by_itself(lambda size: (1, *size, 3))
    (True, False)
    """
    try:
        small, large = (shape_at_weights(size) for size in PROBES)
    except Exception:  # whatever the user's own code does with a blank image
        return False
    return small is not None and large is not None and len(small) == 4 and tuple(small) == tuple(large)


def names_in_code(cls: type, library: Callable[[type], bool]) -> str:
    """The names that the methods of a class use, in lower case; those that it has from a library are left out."""
    functions = [
        value for base in cls.__mro__ if base is not object and not library(base) for value in vars(base).values()
    ]
    codes = [getattr(getattr(value, "__wrapped__", value), "__code__", None) for value in functions]
    return " ".join(name for code in codes if code is not None for name in code.co_names).lower()


class NormSearch:
    """Follows a run up to the first BatchNorm, which it stops at, or at the second layer with weights before it."""

    def __init__(self) -> None:
        self.evidence: Evidence | None = None
        self._weighted = 0

    def passed(self, weighted: bool) -> None:
        """A layer ran, with weights or without."""
        self._weighted += weighted
        if self._weighted > 1:
            raise Stop(self)

    def reached(self, evidence: Evidence | None) -> NoReturn:
        """The first BatchNorm is there."""
        self.evidence = evidence
        raise Stop(self)


class FirstShape:
    """Follows a run up to the first layer with weights, which it stops at."""

    def __init__(self) -> None:
        self.shape: Sequence[int] | None = None

    def reached(self, shape: Sequence[int] | None) -> NoReturn:
        """That layer is there, and takes a tensor of this shape."""
        self.shape = shape
        raise Stop(self)


def compare(path: str, values: np.ndarray, mean: Any, variance: Any, axis: int) -> Evidence | None:
    """What reaches the BatchNorm at `path` against its statistics; `None` unless both are of the channels of pictures."""
    mean, variance = np.asarray(mean, np.float64), np.asarray(variance, np.float64)
    if values.ndim != 4 or values.shape[axis] != mean.size or not trained(mean, variance):
        return None
    values = np.moveaxis(values.astype(np.float32, copy=False), axis, -1)
    return Evidence(path, mean, variance, values.mean((1, 2)), values.var((1, 2)))
