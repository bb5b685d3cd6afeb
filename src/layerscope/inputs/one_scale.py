"""Arrays that come together have one scale: a dark image among images of 0 to 255 isn't one of 0 to 1.

What is a batch is judged as one. Of a list or a stream, only floats of nothing but 0 and 1 say too little by themselves: they
have the scale of the others in the list, and in a stream that of those before them.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from typing import Any

import numpy as np

from .levels import Extent
from .photo import Member


def together(batch: np.ndarray) -> Iterator[Any]:
    """The images of a batch; those whose type alone doesn't say what white is, each with the extent of all of them."""
    if batch.dtype.kind not in "iuf" or batch.dtype == np.uint8:
        yield from batch
        return
    extent = Extent.of(_colours(batch))
    for image in batch:
        yield Member(image, extent)


def in_one_scale(items: Iterable[Any]) -> Iterator[Any]:
    """The images of a stream, in which floats of 0 and 1 alone are pixels after others that can only be pixels."""
    pixels: Extent | None = None
    for item in items:
        extent = _extent(item)
        if extent is not None and extent.is_pixels:
            pixels = extent
        yield Member(np.asarray(item), pixels) if pixels and extent is not None and extent.is_binary else item


def in_one_list(items: Sequence[Any]) -> list[Any]:
    """As `in_one_scale`, of images that are all there: their order doesn't matter."""
    if not any(_is_binary(item) for item in items):
        return list(items)
    extents = [_extent(item) for item in items]
    pixels = next((extent for extent in extents if extent is not None and extent.is_pixels), None)
    return [
        Member(np.asarray(item), pixels) if pixels and extent is not None and extent.is_binary else item
        for item, extent in zip(items, extents, strict=True)
    ]


def _extent(item: Any) -> Extent | None:
    """The extent of an array of floats; `None` for all else."""
    if isinstance(item, Member):
        return item.extent if item.values.dtype.kind == "f" else None
    return Extent.of(_colours(item)) if isinstance(item, np.ndarray) and item.dtype.kind == "f" else None


def _colours(values: np.ndarray) -> np.ndarray:
    """Without an alpha channel, which may have a scale of its own."""
    return values[..., :3] if values.ndim > 2 and values.shape[-1] == 4 else values


def _is_binary(item: Any) -> bool:
    extent = _extent(item)
    return extent is not None and extent.is_binary
