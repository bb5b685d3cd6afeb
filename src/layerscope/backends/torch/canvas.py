"""Arrays into which a model writes part by part: frames around a picture, padded batches, tiles put together."""

from __future__ import annotations

from typing import NamedTuple

import torch

from ..common.field import Positions, constant
from ..common.field_rules import Operation


class Region(NamedTuple):
    """A part of an array: the positions along each of its dimensions, and which dimension of the view that is, if any."""

    ranges: tuple[range, ...]
    dims: tuple[int | None, ...]

    def outside(self, other: Region) -> bool:
        """Whether the regions have no position in common."""
        return any(one[0] > two[-1] or one[-1] < two[0] for one, two in zip(self.ranges, other.ranges, strict=True))


def region_of(base: torch.Tensor, view: torch.Tensor) -> Region | None:
    """Which part of an array a view shows; `None` where it isn't a part made by slices and single indices."""
    if not base.is_contiguous() or not view.numel():
        return None
    offset, dim = view.storage_offset() - base.storage_offset(), 0
    ranges: list[range] = []
    dims: list[int | None] = []
    for size, stride in zip(base.shape, base.stride(), strict=True):
        start, offset = divmod(offset, stride)
        shown, step = 1, 1
        if dim < view.ndim and (view.shape[dim] == 1 or view.stride(dim) % stride == 0):
            shown, step = view.shape[dim], view.stride(dim) // stride if view.shape[dim] > 1 else 1
        if step < 1 or start + (shown - 1) * step >= size:
            return None
        matched = dim < view.ndim and (shown > 1 or view.shape[dim] == 1)
        ranges.append(range(start, start + (shown - 1) * step + 1, step))
        dims.append(dim if matched else None)
        dim += matched
    return Region(tuple(ranges), tuple(dims)) if dim == view.ndim else None


def paste(part: Positions, region: Region, shape: tuple[int, ...]) -> Positions:
    """The positions of an array of this shape of which only a region was written."""
    dims = [constant((1,)).dims[0] if dim is None else part.dims[dim] for dim in region.dims]
    whole = Positions(tuple(dims), part.fields)
    for dim, written in enumerate(region.ranges):
        if (written.start, written.step, len(written)) != (0, 1, shape[dim]):
            after = (*whole.shape[:dim], shape[dim], *whole.shape[dim + 1 :])
            kind, padding = ("window", written.start) if written.step == 1 else ("transposed", -written.start)
            whole = Operation(kind, [whole], [dim], stride=written.step, padding=padding).after(after)
    return whole
